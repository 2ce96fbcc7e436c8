//! The snapshot of what waits, so that a start reads only the log behind it.
//!
//! ```text
//! covered 8 | entries x (log offset 8 | size 4 | due 8 | key 8 | topic 8 | class 1)
//! ```
//! All integers are big-endian; magic and checksum are those of a sealed file. It holds what was stored
//! before `covered` and waited while it was written: it is copied a piece at a time while the set goes on,
//! so something that was decided meanwhile may be in it or not. Either is right, because the record that
//! decided lies behind `covered` and is flushed before the snapshot counts.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::LogOffset;

use super::Pending;
use super::set::{Set, Slot};
use super::transition::Class;
use crate::bytes::Reader;
use crate::disk::Disk;
use crate::sealed;
use crate::store::Store;

const MAGIC: u32 = 0x5048_5032; // "PHP2"
const PATH: &str = "pending";
/// So many entries are copied while others wait.
const PIECE: usize = 4096;
/// A snapshot is due each time the log grew by this many bytes, or by this many times its own size. In
/// the crate's own tests always, so that the crash simulator meets many.
const EVERY: u64 = if cfg!(test) { 1 } else { 64 << 20 };
const TIMES: u64 = if cfg!(test) { 0 } else { 8 };

impl Pending {
    /// What the snapshot says. If it is missing or damaged, nothing waits and [`Pending::covered`] is
    /// 0: apply every record of the log.
    pub(crate) fn open(disk: &Arc<dyn Disk>, log_start: LogOffset) -> io::Result<Pending> {
        let bytes = sealed::read(&**disk, PATH, MAGIC)?;
        let loaded = bytes.as_deref().and_then(|bytes| load(bytes, log_start));
        if let (Some(bytes), Some((covered, set))) = (&bytes, loaded) {
            return Ok(Pending::new(set, covered, bytes.len() as u64));
        }
        if bytes.is_some() {
            tracing::warn!("the snapshot of what waits is of no use: building from the log");
        }
        sealed::remove(&**disk, PATH)?;
        Ok(Pending::new(Set::default(), LogOffset(0), 0))
    }

    /// Records before this need not be applied again.
    pub(crate) fn covered(&self) -> LogOffset {
        LogOffset(self.covered.load(Ordering::Acquire))
    }

    /// Recovery: the log ends at `cut`. True if the snapshot knew records behind it: then nothing waits
    /// any more, and every record must be applied again.
    pub(crate) fn truncate(&self, disk: &dyn Disk, cut: LogOffset) -> io::Result<bool> {
        if self.covered() <= cut {
            return Ok(false);
        }
        self.reset(disk)?;
        Ok(true)
    }

    /// Forgets everything, on the disk too.
    pub(crate) fn reset(&self, disk: &dyn Disk) -> io::Result<()> {
        sealed::remove(disk, PATH)?;
        self.set().clear();
        self.covered.store(0, Ordering::Release);
        Ok(())
    }

    /// Writes a snapshot if the log grew so far that it is worth its bytes, or if it must (`full`).
    pub(crate) fn checkpoint(&self, store: &Store, full: bool) -> io::Result<()> {
        let marks = store.marks();
        let limit = marks.flushed.min(marks.dispatched);
        let every = EVERY.max(TIMES * self.snapshot_len.load(Ordering::Relaxed));
        let grown = limit.0.saturating_sub(self.covered().0);
        if grown == 0 || (!full && grown < every) {
            return Ok(());
        }
        let mut writer = sealed::Writer::new(&*store.disk, PATH, MAGIC)?;
        writer.buffer().extend_from_slice(&limit.0.to_be_bytes());
        let mut piece = Vec::with_capacity(PIECE);
        let mut from = 0;
        loop {
            piece.clear();
            self.set()
                .copy(from, limit.0, PIECE, self.now_skew(), &mut piece);
            let Some((last, _)) = piece.last() else {
                break;
            };
            from = last + 1;
            piece
                .iter()
                .for_each(|&(at, slot)| put(at, slot, writer.buffer()));
            writer.spill()?;
        }
        let finished = writer.finish()?;
        // What is not in it any more was decided by records that must not be lost now.
        let applied = self.set().applied;
        if applied > store.marks().flushed && !store.planted.hasty_snapshot {
            (store.log.flush_all()).map_err(|error| io::Error::other(error.to_string()))?;
        }
        let len = finished.len;
        finished.publish(&*store.disk)?;
        self.covered.store(limit.0, Ordering::Release);
        self.snapshot_len.store(len, Ordering::Relaxed);
        Ok(())
    }

    /// Whether two sets hold the same; in words, what the first difference is.
    pub(crate) fn difference(&self, other: &Pending) -> Option<String> {
        let copy = |pending: &Pending| {
            let mut all = Vec::new();
            pending.set().copy(0, u64::MAX, usize::MAX, 0, &mut all);
            all.into_iter()
        };
        let (mut ours, mut theirs) = (copy(self), copy(other));
        loop {
            let (ours, theirs) = (ours.next(), theirs.next());
            let same = match (ours, theirs) {
                (None, None) => return None,
                // Due times may have been postponed in memory.
                (Some((at, a)), Some((other_at, b))) => {
                    let what = |slot: Slot| (slot.key, slot.topic, slot.size, slot.class);
                    at == other_at && what(a) == what(b)
                }
                _ => false,
            };
            if !same {
                let name = |slot: Option<(u64, Slot)>| {
                    slot.map_or("nothing".to_owned(), |(at, _)| format!("one at {at}"))
                };
                let (ours, theirs) = (name(ours), name(theirs));
                return Some(format!("what waits is {ours}, by the log {theirs}"));
            }
        }
    }
}

fn put(at: u64, slot: Slot, out: &mut Vec<u8>) {
    out.extend_from_slice(&at.to_be_bytes());
    out.extend_from_slice(&slot.size.to_be_bytes());
    out.extend_from_slice(&slot.due.to_be_bytes());
    out.extend_from_slice(&slot.key.to_be_bytes());
    out.extend_from_slice(&slot.topic.to_be_bytes());
    out.push(slot.class as u8);
}

fn load(bytes: &[u8], log_start: LogOffset) -> Option<(LogOffset, Set)> {
    let mut reader = Reader(bytes);
    let covered = reader.u64()?;
    let mut set = Set::default();
    while !reader.is_empty() {
        let at = reader.u64()?;
        let slot = Slot {
            size: reader.u32()?,
            due: reader.u64()? as i64,
            key: reader.u64()?,
            topic: reader.u64()?,
            class: Class::of(*reader.take(1)?.first()?)?,
            claimed: false,
        };
        if at >= covered {
            return None;
        }
        // What lay in deleted segments was decided there, or was appended again behind them.
        if at >= log_start.0 {
            set.insert(at, slot);
        }
    }
    Some((LogOffset(covered), set))
}

impl Default for Pending {
    fn default() -> Pending {
        Pending::new(Set::default(), LogOffset(0), 0)
    }
}
