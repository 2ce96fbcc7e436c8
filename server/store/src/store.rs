//! The door of the store.

use std::sync::Arc;
use std::time::Duration;

use model::{Level, LogOffset, Mark, QueueId, QueueOffset, TopicName};

use crate::clock::Clock;
use crate::disk::{Disk, Reads, Wait};
use crate::error::{Error, ReadError, StageError, WriteError};
use crate::log::stage::{Draft, Staged};
use crate::marks::{Marks, MarksView};
use crate::options::Options;
use crate::queue::{Entry, Queue, Queues};
use crate::table::{Change, Table};

/// When a step wants to be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At once: there is more to do.
    Now,
    /// After this time, or earlier if something new arrives.
    After(Duration),
    /// Never again: the store is read-only.
    Never,
}

/// Which of several records with one timestamp is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// The first.
    Lower,
    /// The last.
    Upper,
}

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes behind the log's end that were cut off: an append that never ended.
    pub cut: u64,
    /// Damaged ranges below the durable mark. They are kept, and not readable.
    pub quarantined: Vec<(LogOffset, LogOffset)>,
    /// Bytes of the log that were read.
    pub scanned: u64,
    /// How long it took.
    pub took: Duration,
    /// Where the log begins and ends.
    pub log: (LogOffset, LogOffset),
}

/// A store. Shared behind an `Arc`; owns no thread.
pub struct Store {
    pub(crate) options: Options,
    pub(crate) queues: Queues,
    pub(crate) marks: Marks,
}

#[allow(clippy::todo, unused_variables)]
impl Store {
    /// Opens the store in `disk`'s root, and recovers what a crash left.
    ///
    /// # Errors
    /// If another process has it, if the disk refuses, or if a file says what cannot be.
    pub fn open(
        options: Options,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Store, Recovery), Error> {
        let queues = Queues::open(&disk)?;
        let marks = Marks::new(options.flush, LogOffset(0));
        let store = Store {
            options,
            queues,
            marks,
        };
        Ok((store, Recovery::default()))
    }

    /// Sets the address that goes into each record's store host.
    pub fn set_store_host(&self, host: std::net::SocketAddr) {
        todo!()
    }

    /// The queue, made if it is new.
    pub fn queue(&self, topic: &TopicName, id: QueueId) -> Arc<Queue> {
        self.queues.queue(topic, id)
    }

    /// The queue, if it is there.
    pub fn find_queue(&self, topic: &str, id: u32) -> Option<Arc<Queue>> {
        self.queues.find(topic, id)
    }

    /// All queues there are.
    pub fn all_queues(&self) -> Vec<Arc<Queue>> {
        self.queues.all()
    }

    /// Drops all queues of a topic. A topic of that name made later begins at position 0. Like any
    /// staged record it needs [`Store::write_out`].
    pub fn drop_topic(&self, topic: &TopicName) -> Result<Mark, StageError> {
        todo!()
    }

    /// Gives the record its positions and encodes it into the staging buffer.
    pub fn stage(&self, draft: &Draft<'_>) -> Result<Staged, StageError> {
        todo!()
    }

    /// Stages all or none, one behind the other in one segment. `out` is appended to.
    pub fn stage_all(&self, drafts: &[Draft<'_>], out: &mut Vec<Staged>) -> Result<(), StageError> {
        todo!()
    }

    /// Writes all that is staged: the first to arrive does it for all, the others find it done.
    pub fn write_out(&self) -> Result<(), WriteError> {
        todo!()
    }

    /// Makes records up to `confirmed` visible, and names each queue that grew, once.
    pub fn dispatch(&self, grown: &mut dyn FnMut(&Arc<Queue>)) {
        todo!()
    }

    /// How far a mark is.
    pub fn reached(&self, level: Level) -> LogOffset {
        self.marks.reached(level)
    }

    /// All marks.
    pub fn marks(&self) -> MarksView {
        self.marks.view()
    }

    /// Why the store is read-only, if it is.
    pub fn failure(&self) -> Option<Arc<str>> {
        todo!()
    }

    /// Flushes what is due. `SYNC_FLUSH`: everything appended; call it again as soon as
    /// [`Store::wait_flush`] returns. `ASYNC_FLUSH`: what is older than the interval.
    pub fn flush_step(&self) -> Result<Next, WriteError> {
        todo!()
    }

    /// Blocks until there may be something to flush, or `limit` is over.
    pub fn wait_flush(&self, limit: Duration) {
        todo!()
    }

    /// Writes zeros ahead of the cursor and prepares the next segment. Best on a thread of its own.
    pub fn ahead_step(&self) -> Next {
        todo!()
    }

    /// Brings the key index up to `dispatched`, a piece at a time.
    pub fn derive_step(&self) -> Next {
        todo!()
    }

    /// Deletes or recycles what is older than configured. `now`: milliseconds since the Unix epoch.
    pub fn retain_step(&self, now: i64) -> Next {
        todo!()
    }

    /// Writes down how far queues, tables and marks are, so that the next start reads little.
    pub fn checkpoint_step(&self) -> Next {
        todo!()
    }

    /// Where the kept log begins.
    pub fn log_start(&self) -> LogOffset {
        todo!()
    }

    /// Up to `max` entries of a queue from `from` on, appended to `out`; fewer at its end.
    pub fn entries(
        &self,
        queue: &Queue,
        from: QueueOffset,
        max: usize,
        out: &mut Vec<Entry>,
    ) -> Result<(), ReadError> {
        self.queues.entries(queue, from, max, out)
    }

    /// Appends the records of `entries` to `out`, or nothing. A record that turns out damaged is left
    /// out and reported once in the log.
    pub fn read_runs(
        &self,
        entries: &[Entry],
        out: &mut Vec<u8>,
        wait: Wait,
    ) -> Result<Reads, ReadError> {
        todo!()
    }

    /// Appends one whole verified record to `out`.
    pub fn record(&self, at: LogOffset, wait: Wait, out: &mut Vec<u8>) -> Result<Reads, ReadError> {
        todo!()
    }

    /// When the record there was stored, milliseconds since the Unix epoch. May block.
    pub fn stored_at(&self, at: LogOffset) -> Result<i64, ReadError> {
        todo!()
    }

    /// The position of the record stored at `timestamp` as Apache finds it. May block.
    pub fn offset_at(
        &self,
        queue: &Queue,
        timestamp: i64,
        boundary: Boundary,
    ) -> Result<QueueOffset, ReadError> {
        todo!()
    }

    /// Records of a topic that may have the key, stored from `begin` to `end` (milliseconds), newest
    /// first. The caller compares the real key. May block.
    pub fn find(
        &self,
        topic: &str,
        key: &str,
        begin: i64,
        end: i64,
        max: usize,
    ) -> Result<Vec<LogOffset>, ReadError> {
        todo!()
    }

    /// All rows of a table, sorted by key.
    pub fn rows(&self, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
        todo!()
    }

    /// Changes rows, all or none, as one record. Visible in [`Store::rows`] at once; needs
    /// [`Store::write_out`] like any staged record.
    pub fn put(&self, changes: &[Change<'_>]) -> Result<Mark, StageError> {
        todo!()
    }
}
