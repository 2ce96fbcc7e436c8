//! The queues: for each, where its records lie in the log.
//!
//! There is no file for a queue. A queue's newest entries are a small vector in memory (its tail).
//! When the tail has [`BLOCK`] entries it becomes a block; blocks of all queues are packed one behind
//! the other into a few append-only files, and a queue keeps only where its blocks lie. Tails and
//! places go into a checkpoint now and then. All of it is derived: what is damaged is thrown away and
//! built from the log again.

mod block;
mod cache;
mod checkpoint;
mod files;
mod list;
mod registry;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use model::{LogOffset, QueueId, QueueOffset, TopicName};

pub(crate) use registry::Queues;

use list::List;

use crate::index::keys;
use crate::lock;
use crate::pending::Kind;
use crate::table;

/// How many entries a full block has.
const BLOCK: usize = 512;

/// Where one record of a queue lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position in the log.
    pub log_offset: LogOffset,
    /// Its length in bytes; 0 for a position whose record was lost.
    pub size: u32,
    /// The hash of its tag, 0 if it has none.
    pub tags_code: i64,
}

impl Entry {
    /// Stands for a position whose record was lost.
    pub const HOLE: Entry = Entry {
        log_offset: LogOffset(0),
        size: 0,
        tags_code: 0,
    };
}

/// One queue of a topic.
#[derive(Debug)]
pub struct Queue {
    /// The topic.
    pub topic: TopicName,
    /// The number inside the topic.
    pub id: QueueId,
    /// What its records wait for, if they wait: see [`crate::pending`].
    pub kind: Option<Kind>,
    /// Where hashing its messages' keys begins; the tables' records have no keys.
    pub(crate) key_seed: Option<u64>,
    /// A small number of its own, for tables with one row a queue; of a dropped queue it is used again.
    pub slot: u32,
    start: AtomicU64,
    end: AtomicU64,
    next: AtomicU64,
    dropped: AtomicBool,
    /// Where its growth stands in the round of dispatch that runs, or stood in an earlier one.
    place: AtomicUsize,
    list: Mutex<List>,
    /// For those who keep it longer than the call.
    me: Weak<Queue>,
}

impl Queue {
    fn new(topic: TopicName, id: QueueId, slot: u32) -> Arc<Queue> {
        Arc::new_cyclic(|me| Queue {
            me: me.clone(),
            kind: Kind::of(topic.as_str()),
            key_seed: (topic.as_str() != table::TOPIC).then(|| keys::seed(topic.as_str())),
            topic,
            id,
            slot,
            start: AtomicU64::new(0),
            end: AtomicU64::new(0),
            next: AtomicU64::new(0),
            dropped: AtomicBool::new(false),
            place: AtomicUsize::new(0),
            list: Mutex::default(),
        })
    }

    /// The first position that still has a record.
    pub fn start(&self) -> QueueOffset {
        QueueOffset(self.start.load(Ordering::Acquire))
    }

    /// The position behind the last one consumers may see.
    pub fn end(&self) -> QueueOffset {
        QueueOffset(self.end.load(Ordering::Acquire))
    }

    /// The position the next staged record gets. Only used under the staging lock.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Only used under the staging lock.
    pub(crate) fn set_next(&self, next: u64) {
        self.next.store(next, Ordering::Relaxed);
    }

    /// Whether the topic was dropped. Set and asked under the staging lock.
    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn set_dropped(&self) {
        self.dropped.store(true, Ordering::Relaxed);
    }

    /// Only used by who dispatches, under the lock of that.
    pub(crate) fn place(&self) -> usize {
        self.place.load(Ordering::Relaxed)
    }

    /// As [`Queue::place`].
    pub(crate) fn set_place(&self, place: usize) {
        self.place.store(place, Ordering::Relaxed);
    }

    fn list(&self) -> MutexGuard<'_, List> {
        lock(&self.list)
    }
}
