//! One look into a queue: which entries a pull gets, and what it is told if it gets none.

use std::cell::RefCell;

use model::QueueOffset;
use store::{Entry, ReadError, Reads, Wait};

use super::{Checked, Pull, Pulled, Verdict};
use crate::offset::read_failed;
use crate::{Broker, Error, limits};

/// What one look brought.
pub(super) enum Looked {
    /// All of it; the records were appended.
    Here(Pulled),
    /// The records of these entries are not in memory.
    Cold(Vec<Entry>, Pulled),
}

#[derive(Default)]
struct Scratch {
    scanned: Vec<Entry>,
    wanted: Vec<Entry>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Broker {
    /// Looks into the queue once. Nothing is appended to `out` unless the verdict is `Found`.
    pub(super) fn look(
        &self,
        checked: &Checked,
        pull: &Pull<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Looked, Error> {
        let queue = &checked.queue;
        // The end first: it must not be older than what the entries show.
        let (min, max) = (queue.start().0, queue.end().0);
        let pulled = |verdict, status, next: u64| Pulled {
            verdict,
            status,
            count: 0,
            next: QueueOffset(next),
            min: QueueOffset(min),
            max: QueueOffset(max),
            suggested_broker: 0,
            topic_sys_flag: checked.topic.config.sys_flag,
            group_sys_flag: checked.group.sys_flag,
        };
        let here = |verdict, status, next| Ok(Looked::Here(pulled(verdict, status, next)));
        let asked = pull.offset;
        let from = match u64::try_from(asked) {
            _ if max == 0 => {
                let verdict = if asked == 0 {
                    Verdict::NotFound
                } else {
                    Verdict::OffsetMoved
                };
                return here(verdict, "NO_MESSAGE_IN_QUEUE", 0);
            }
            Ok(from) if from > max => {
                return here(Verdict::OffsetMoved, "OFFSET_OVERFLOW_BADLY", max);
            }
            Ok(from) if from == max => {
                return here(Verdict::NotFound, "OFFSET_OVERFLOW_ONE", max);
            }
            Ok(from) if from >= min => from,
            _ => return here(Verdict::OffsetMoved, "OFFSET_TOO_SMALL", min),
        };
        SCRATCH.with_borrow_mut(|scratch| {
            let next = self.choose(checked, pull, from, scratch)?;
            let now = queue.start().0;
            if now > from {
                return here(Verdict::OffsetMoved, "OFFSET_TOO_SMALL", now);
            }
            if next == from {
                return here(Verdict::NotFound, "OFFSET_FOUND_NULL", from);
            }
            if scratch.wanted.is_empty() {
                return here(Verdict::RetryImmediately, "NO_MATCHED_MESSAGE", next);
            }
            let mut found = pulled(Verdict::Found, "FOUND", next);
            found.count = scratch.wanted.len();
            let before = out.len();
            match self.store.read_runs(&scratch.wanted, out, Wait::No) {
                Ok(Reads::WouldBlock) => Ok(Looked::Cold(scratch.wanted.clone(), found)),
                // Damaged records are left out by the store: with none left, go on behind them.
                Ok(Reads::Done) if out.len() == before => {
                    here(Verdict::RetryImmediately, "MESSAGE_WAS_REMOVING", next)
                }
                Ok(Reads::Done) => Ok(Looked::Here(found)),
                Err(ReadError::Missing(_) | ReadError::Damaged(_)) => {
                    let next = queue.start().0.max(from + 1);
                    here(Verdict::RetryImmediately, "MESSAGE_WAS_REMOVING", next)
                }
                Err(error) => Err(read_failed(error)),
            }
        })
    }

    /// Puts the entries the pull gets into `wanted`; returns the position behind the last one looked
    /// at.
    fn choose(
        &self,
        checked: &Checked,
        pull: &Pull<'_>,
        from: u64,
        scratch: &mut Scratch,
    ) -> Result<u64, Error> {
        let count_max = (pull.max.max(1) as usize).min(self.options.pull_count_max);
        let scan = match checked.filter {
            crate::filter::Filter::All => count_max,
            crate::filter::Filter::Tags(_) => limits::SCAN_ENTRIES,
        };
        scratch.scanned.clear();
        scratch.wanted.clear();
        let read = self.store.entries(
            &checked.queue,
            QueueOffset(from),
            scan,
            &mut scratch.scanned,
        );
        read.map_err(read_failed)?;
        let (mut next, mut bytes) = (from, 0);
        for entry in &scratch.scanned {
            // A size of 0 is a position whose record was lost.
            if entry.size > 0 && checked.filter.accepts(entry.tags_code) {
                bytes += entry.size as usize;
                let full = bytes > self.options.pull_bytes_max && !scratch.wanted.is_empty();
                if full || scratch.wanted.len() == count_max {
                    break;
                }
                scratch.wanted.push(*entry);
            }
            next += 1;
        }
        Ok(next)
    }
}
