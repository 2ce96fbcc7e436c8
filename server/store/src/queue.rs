//! The queues: for each, where its records lie in the log. In memory only, until the packed blocks on
//! disk stand: everything is rebuilt from the log when the store opens.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use model::{LogOffset, QueueId, QueueOffset, TopicName};

use crate::disk::Disk;
use crate::error::{Error, ReadError};

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

/// One queue of a topic.
#[derive(Debug)]
pub struct Queue {
    /// The topic.
    pub topic: TopicName,
    /// The number inside the topic.
    pub id: QueueId,
    /// A small number of its own, for tables with one row a queue; of a dropped queue it is used again.
    pub slot: u32,
    start: AtomicU64,
    end: AtomicU64,
    next: AtomicU64,
    dropped: AtomicBool,
    touched: AtomicBool,
    entries: Mutex<Vec<Entry>>,
}

impl Queue {
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

    /// Sets or clears the mark that dispatch uses to name a queue once a round; returns what it was.
    pub(crate) fn touch(&self, on: bool) -> bool {
        self.touched.swap(on, Ordering::Relaxed)
    }
}

/// All queues.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    topics: RwLock<HashMap<TopicName, Vec<Option<Arc<Queue>>>>>,
    slots: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queues {
    /// Opens what an earlier run left on the disk.
    pub fn open(_disk: &Arc<dyn Disk>) -> Result<Queues, Error> {
        Ok(Queues::default())
    }

    /// Every record below this is in the queues already and need not be appended again.
    pub fn covered(&self) -> LogOffset {
        LogOffset(0)
    }

    /// Recovery: forgets entries at or behind `cut`.
    pub fn truncate(&self, _cut: LogOffset) {}

    /// The queue, made if it is new.
    pub fn queue(&self, topic: &TopicName, id: QueueId) -> Arc<Queue> {
        if let Some(queue) = self.find(topic.as_str(), id.0) {
            return queue;
        }
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let list = topics.entry(topic.clone()).or_default();
        let at = id.0 as usize;
        if list.len() <= at {
            list.resize(at + 1, None);
        }
        let new = || {
            Arc::new(Queue {
                topic: topic.clone(),
                id,
                slot: self.slots.fetch_add(1, Ordering::Relaxed) as u32,
                start: AtomicU64::new(0),
                end: AtomicU64::new(0),
                next: AtomicU64::new(0),
                dropped: AtomicBool::new(false),
                touched: AtomicBool::new(false),
                entries: Mutex::default(),
            })
        };
        Arc::clone(list[at].get_or_insert_with(new))
    }

    /// The queue, if it is there.
    pub fn find(&self, topic: &str, id: u32) -> Option<Arc<Queue>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(topic)?.get(id as usize)?.clone()
    }

    /// Makes an entry visible. Entries of a queue come in order; one that is there already is
    /// skipped, and positions that were left out (their records were lost) get entries of size 0.
    pub fn append(&self, queue: &Queue, at: QueueOffset, entry: Entry) {
        let mut entries = lock(&queue.entries);
        let gap = Entry {
            size: 0,
            tags_code: 0,
            ..entry
        };
        if at.0 < entries.len() as u64 {
            return;
        }
        if queue.start().0 == entries.len() as u64 && at.0 > entries.len() as u64 {
            // Everything before it was deleted.
            queue.start.store(at.0, Ordering::Release);
        }
        entries.resize(at.0 as usize, gap);
        entries.push(entry);
        queue.end.store(at.0 + 1, Ordering::Release);
    }

    /// Up to `max` entries from `from` on; fewer at the end. `from` below the start begins at the start.
    pub fn entries(
        &self,
        queue: &Queue,
        from: QueueOffset,
        max: usize,
        out: &mut Vec<Entry>,
    ) -> Result<(), ReadError> {
        let entries = lock(&queue.entries);
        let from = from.0.max(queue.start().0) as usize;
        let end = from.saturating_add(max).min(entries.len());
        out.extend_from_slice(entries.get(from..end).unwrap_or_default());
        Ok(())
    }

    /// Takes the topic's queues out. `at` is the position of the record that says so: the disk may
    /// forget them only once that record is flushed.
    pub fn drop_topic(&self, topic: &str, _at: LogOffset) -> Vec<Arc<Queue>> {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let gone = topics.remove(topic).unwrap_or_default();
        gone.into_iter().flatten().collect()
    }

    /// All queues there are.
    pub fn all(&self) -> Vec<Arc<Queue>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.values().flatten().flatten().cloned().collect()
    }

    /// Writes entries of records below `limit` (which is dispatched and flushed) to the disk.
    pub fn checkpoint(&self, _limit: LogOffset) -> io::Result<()> {
        Ok(())
    }

    /// A queue whose records up to `end` were deleted continues there.
    pub fn raise_end(&self, queue: &Queue, end: QueueOffset) {
        let mut entries = lock(&queue.entries);
        if (entries.len() as u64) < end.0 {
            let lost = Entry {
                log_offset: LogOffset(0),
                size: 0,
                tags_code: 0,
            };
            entries.resize(end.0 as usize, lost);
            queue.start.store(end.0, Ordering::Release);
            queue.end.store(end.0, Ordering::Release);
        }
    }

    /// The log begins here now: entries below are gone.
    pub fn raise_start(&self, log_start: LogOffset) {
        for queue in self.all() {
            let entries = lock(&queue.entries);
            let start = entries.partition_point(|entry| entry.log_offset < log_start);
            queue.start.store(start as u64, Ordering::Release);
        }
    }
}
