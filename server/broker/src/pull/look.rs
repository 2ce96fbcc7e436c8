//! One look into a queue: which entries a pull gets, and what it is told if it gets none.

use std::cell::RefCell;

use model::QueueOffset;
use store::{Clock, Entry, Properties, Queue, ReadError, Reads, Store, Wait};

use super::{Pulled, Verdict};
use crate::filter::Filter;
use crate::offset::read_failed;
use crate::{Error, limits};

/// What is looked for, and where.
pub(super) struct Look<'a> {
    pub store: &'a Store,
    pub clock: &'a dyn Clock,
    pub queue: &'a Queue,
    pub filter: &'a Filter,
    pub wish: Wish,
    pub wait: Wait,
}

/// The plain part of it.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    /// The first position wanted, as it came.
    pub offset: i64,
    pub count_max: usize,
    pub bytes_max: usize,
    pub topic_sys_flag: i32,
    pub group_sys_flag: i32,
}

/// What one look brought.
pub(super) enum Looked {
    /// All of it; the records were appended.
    Here(Pulled),
    /// Index or records are not in memory: look again where waiting for the disk is allowed.
    Cold,
}

/// Records whose properties are fetched at once.
const GROUP: usize = Properties::TOGETHER;

#[derive(Default)]
struct Scratch {
    scanned: Vec<Entry>,
    wanted: Vec<Entry>,
    properties: Properties,
    bytes: usize,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// How far a scan came.
enum Scanned {
    /// Up to this position; what is wanted is in the scratch.
    To(u64),
    Cold,
}

impl Look<'_> {
    /// Looks into the queue once. Nothing is appended to `out` unless the verdict is `Found`.
    pub fn look(&self, out: &mut Vec<u8>) -> Result<Looked, Error> {
        let queue = self.queue;
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
            topic_sys_flag: self.wish.topic_sys_flag,
            group_sys_flag: self.wish.group_sys_flag,
        };
        let here = |verdict, status, next| Ok(Looked::Here(pulled(verdict, status, next)));
        let asked = self.wish.offset;
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
            scratch.wanted.clear();
            scratch.bytes = 0;
            let removed = || {
                let next = queue.start().0.max(from + 1);
                here(Verdict::RetryImmediately, "MESSAGE_WAS_REMOVING", next)
            };
            let scanned = match self.filter.reads_properties() {
                false => self.scan_entries(from, scratch),
                true => self.scan_records(from, scratch),
            };
            let next = match scanned {
                Ok(Scanned::To(next)) => next,
                Ok(Scanned::Cold) => return Ok(Looked::Cold),
                Err(ReadError::Missing(_)) => return removed(),
                Err(error) => return Err(read_failed(error)),
            };
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
            match self.store.read_runs(&scratch.wanted, out, self.wait) {
                Ok(Reads::WouldBlock) => Ok(Looked::Cold),
                // Damaged records are left out by the store: with none left, go on behind them.
                Ok(Reads::Done) if out.len() == before => {
                    here(Verdict::RetryImmediately, "MESSAGE_WAS_REMOVING", next)
                }
                Ok(Reads::Done) => Ok(Looked::Here(found)),
                Err(ReadError::Missing(_) | ReadError::Damaged(_)) => removed(),
                Err(error) => Err(read_failed(error)),
            }
        })
    }

    /// Chooses by what the queue's entries say alone.
    fn scan_entries(&self, from: u64, scratch: &mut Scratch) -> Result<Scanned, ReadError> {
        let count = match self.filter {
            Filter::All => self.wish.count_max,
            _ => limits::SCAN_ENTRIES,
        };
        if self.entries(from, count, scratch)? == Reads::WouldBlock {
            return Ok(Scanned::Cold);
        }
        let mut next = from;
        let Scratch {
            scanned,
            wanted,
            bytes,
            ..
        } = scratch;
        for entry in scanned.iter() {
            // A size of 0 is a position whose record was lost.
            if entry.size > 0
                && self.filter.passes(entry.tags_code, &[])
                && !self.take(entry, wanted, bytes)
            {
                break;
            }
            next += 1;
        }
        Ok(Scanned::To(next))
    }

    /// Chooses by the records' properties, group by group, and not for too long: what was looked at
    /// is behind the client even if nothing of it matched.
    fn scan_records(&self, from: u64, scratch: &mut Scratch) -> Result<Scanned, ReadError> {
        let (limit, began) = match self.wait {
            Wait::No => (limits::SCAN_TIME, self.clock.mono()),
            Wait::Yes => (limits::SCAN_TIME_COLD, self.clock.mono()),
        };
        let over = || self.clock.mono().saturating_sub(began) > limit;
        let every = match self.filter {
            Filter::Sql(expression) if expression.is_heavy() => 1,
            _ => GROUP,
        };
        let mut next = from;
        let end = (from + limits::SCAN_RECORDS as u64).next_multiple_of(GROUP as u64);
        while next < end {
            let (read, skip) = self.group(next, scratch)?;
            let Scratch {
                scanned,
                wanted,
                properties,
                bytes,
            } = &mut *scratch;
            let read = match read {
                Reads::Done => self
                    .store
                    .properties(scanned, Some(skip), self.wait, properties),
                Reads::WouldBlock => Ok(read),
            };
            match read {
                Ok(Reads::Done) if scanned.is_empty() => break,
                Ok(Reads::Done) => {}
                // What was found before is an answer; the next pull will ask the disk.
                Ok(Reads::WouldBlock) | Err(ReadError::Missing(_)) if next > from => break,
                Ok(Reads::WouldBlock) => return Ok(Scanned::Cold),
                Err(error) => return Err(error),
            }
            for (n, entry) in scanned.iter().enumerate().skip(skip) {
                // A damaged one is left out as if it had been asked for, whatever the filter says to nothing.
                if entry.size > 0
                    && !properties.is_damaged(n)
                    && self.filter.passes(entry.tags_code, properties.get(n))
                    && !self.take(entry, wanted, bytes)
                {
                    return Ok(Scanned::To(next));
                }
                next += 1;
                if (n + 1) % every == 0 && over() {
                    return Ok(Scanned::To(next));
                }
            }
        }
        Ok(Scanned::To(next))
    }

    /// Fetches the entries from `next` to the next multiple of [`GROUP`], and if they are there those
    /// from the multiple before: how many these are.
    fn group(&self, next: u64, scratch: &mut Scratch) -> Result<(Reads, usize), ReadError> {
        let skip = (next % GROUP as u64) as usize;
        let base = next - skip as u64;
        if skip > 0 && base >= self.queue.start().0 {
            let read = self.entries(base, GROUP, scratch);
            // Where the queue begins now, and no longer before, the entries are others than those that were asked for.
            let whole = self.queue.start().0 <= base && scratch.scanned.len() > skip;
            if whole && matches!(read, Ok(Reads::Done)) {
                return Ok((Reads::Done, skip));
            }
        }
        Ok((self.entries(next, GROUP - skip, scratch)?, 0))
    }

    fn entries(&self, from: u64, count: usize, scratch: &mut Scratch) -> Result<Reads, ReadError> {
        scratch.scanned.clear();
        let (from, scanned) = (QueueOffset(from), &mut scratch.scanned);
        self.store
            .entries(self.queue, from, count, self.wait, scanned)
    }

    /// Adds an entry to what the pull gets, unless the answer is full.
    fn take(&self, entry: &Entry, wanted: &mut Vec<Entry>, bytes: &mut usize) -> bool {
        *bytes += entry.size as usize;
        let full = *bytes > self.wish.bytes_max && !wanted.is_empty();
        if full || wanted.len() == self.wish.count_max {
            return false;
        }
        wanted.push(*entry);
        true
    }
}
