//! The door of the store: the log, and what is a fold over it, under one roof.

use std::any::Any;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{Level, LogOffset, Mark, QueueId, QueueOffset, TopicName};

use crate::checkpoint::{Checkpoint, CheckpointFile};
use crate::clock::Clock;
use crate::derive;
use crate::disk::{Disk, LockError, Reads, Space, Wait};
use crate::error::{Error, ReadError, StageError, WriteError};
use crate::index::{KeyIndex, Keys, Limits as KeyLimits};
use crate::lock;
use crate::log::Log;
use crate::log::properties::Properties;
use crate::log::segments::Segments;
use crate::log::stage::{Draft, Staged};
use crate::marks::MarksView;
use crate::open;
use crate::options::{Flush, Options};
use crate::pending::Pending;
use crate::queue::{Entry, Queue, Queues};
use crate::recover::{self, Planted};
use crate::retain::{self, Keep, Moved, Retention, moved};
use crate::table::{self, Change, Table, Tables};

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
    pub(crate) log: Log,
    pub(crate) queues: Queues,
    pub(crate) keys: KeyIndex,
    /// Who brings the key index forward.
    pub(crate) deriving: Mutex<()>,
    pub(crate) pending: Pending,
    pub(crate) tables: Mutex<Tables>,
    pub(crate) table_queue: Arc<Queue>,
    pub(crate) checkpoint: Mutex<Saved>,
    /// Bytes of changes since the last snapshot.
    pub(crate) table_bytes: AtomicU64,
    pub(crate) planted: Planted,
    pub(crate) retention: Mutex<Retention>,
    pub(crate) disk: Arc<dyn Disk>,
    _lock: Box<dyn Any + Send + Sync>,
}

/// What an answer waits for that only needs what is configured.
fn confirmed(staged: Staged) -> Mark {
    Mark {
        level: Level::Confirmed,
        at: staged.end,
    }
}

/// The checkpoint file and what it says.
pub(crate) struct Saved {
    pub file: CheckpointFile,
    pub last: Checkpoint,
    /// Where the newest flushed snapshot begins.
    pub next_tables_from: QueueOffset,
}

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
        Store::open_planted(options, disk, clock, Planted::default())
    }

    pub(crate) fn open_planted(
        options: Options,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        planted: Planted,
    ) -> Result<(Store, Recovery), Error> {
        let began = clock.mono();
        options.check().map_err(Error::Broken)?;
        let lock = disk.lock("store.lock").map_err(|e| match e {
            LockError::Held(pid) => Error::Locked {
                path: disk.describe().into(),
                holder: match pid.is_empty() {
                    true => "another process".to_owned(),
                    false => format!("process {pid}"),
                },
            },
            LockError::Io(source) => Error::Io {
                what: "store.lock".to_owned(),
                source,
            },
        })?;
        let (file, found) = CheckpointFile::open(&*disk)?;
        let segments = Segments::open(
            Arc::clone(&disk),
            options.segment_size,
            options.reserve_step,
        )?;
        let opened = Queues::open(&disk, LogOffset(segments.start()));
        let queues = opened.map_err(Error::io("opening the queues"))?;
        // The tables come from a queue: damage there cannot wait until somebody reads it.
        (queues.check_readable(table::TOPIC, 0)).map_err(Error::io("opening the queues"))?;
        let last = found.unwrap_or_else(|| open::without_checkpoint(&segments));
        let pending = Pending::open(&disk, LogOffset(segments.start()));
        let pending = pending.map_err(Error::io("opening what waits"))?;
        let from = recover::From {
            durable: last.durable,
            covered: queues.covered().min(pending.covered()),
            stored_at: last.stored_at,
        };
        let mut show = open::Show::new(&queues, &pending);
        let (position, mut recovery) =
            recover::recover(&segments, &from, planted, &mut |view| show.record(view))?;
        if show.truncate(&*disk, position.end)? {
            let from = recover::From {
                covered: LogOffset(0),
                ..from
            };
            recover::recover(&segments, &from, planted, &mut |view| show.record(view))?;
        }
        let kept = LogOffset(segments.start());
        let keys = KeyIndex::open(&disk, kept, position.end, KeyLimits::default());
        let keys = keys.map_err(Error::io("opening the key index"))?;
        for queue in queues.all() {
            queue.set_next(queue.end().0);
        }
        let retention = Mutex::new(Retention::of(&options));
        let log = Log::new(
            options,
            Arc::clone(&clock),
            segments,
            &position,
            pending.skew(),
        )
        .map_err(Error::io("making a segment"))?;
        let topic = table::topic();
        let table_queue = queues.queue(&topic, QueueId(0));
        let store = Store {
            log,
            queues,
            keys,
            deriving: Mutex::default(),
            pending,
            planted,
            retention,
            tables: Mutex::default(),
            table_queue,
            checkpoint: Mutex::new(Saved {
                file,
                last,
                next_tables_from: last.tables_from,
            }),
            table_bytes: AtomicU64::new(0),
            disk,
            _lock: lock,
        };
        open::fold_tables(&store, last.tables_from)?;
        open::save_checkpoint(&store, position.end)?;
        recovery.took = clock.mono().saturating_sub(began);
        Ok((store, recovery))
    }

    /// Sets the address that goes into each record's store host.
    pub fn set_store_host(&self, host: SocketAddr) {
        self.log.set_store_host(host);
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
        if topic.as_str() == table::TOPIC {
            return Err(StageError::Reserved);
        }
        let change = (Table::Dropped, topic.as_str().as_bytes(), None);
        let drop = |staged: &Staged| {
            for queue in self.queues.drop_topic(topic.as_str(), staged.log_offset) {
                queue.set_dropped();
            }
        };
        Ok(confirmed(self.stage_changes(&[change], drop)?))
    }

    /// Gives the record its positions and encodes it into the staging buffer.
    pub fn stage(&self, draft: &Draft<'_>) -> Result<Staged, StageError> {
        if Arc::ptr_eq(draft.queue, &self.table_queue) {
            return Err(StageError::Reserved);
        }
        self.leave_first(draft)?;
        self.log.stage(draft)
    }

    /// Stages all or none, one behind the other in one segment. `out` is appended to.
    pub fn stage_all(&self, drafts: &[Draft<'_>], out: &mut Vec<Staged>) -> Result<(), StageError> {
        let ours = |draft: &Draft<'_>| Arc::ptr_eq(draft.queue, &self.table_queue);
        if drafts.iter().any(ours) {
            return Err(StageError::Reserved);
        }
        drafts
            .iter()
            .try_for_each(|draft| self.leave_first(draft))?;
        self.log.stage_all(drafts, out)
    }

    /// A prepared offset of 0 means none, so nothing that waits may lie at 0.
    fn leave_first(&self, draft: &Draft<'_>) -> Result<(), StageError> {
        if draft.queue.kind.is_some() && self.log.marks.staged() == LogOffset(0) {
            self.put(&[])?;
        }
        Ok(())
    }

    /// What waits in the log: delayed and half messages.
    pub fn pending(&self) -> &Pending {
        &self.pending
    }

    /// Writes all that is staged: the first to arrive does it for all, the others find it done.
    ///
    /// # Errors
    /// A failed write is final: the store is read-only from then on.
    pub fn write_out(&self) -> Result<(), WriteError> {
        self.log.write_out()
    }

    /// Makes records up to `confirmed` visible, and names each queue that grew, once.
    pub fn dispatch(&self, grown: &mut dyn FnMut(&Arc<Queue>)) {
        self.log.dispatch(&self.queues, &self.pending, grown);
    }

    /// How far a mark is.
    pub fn reached(&self, level: Level) -> LogOffset {
        self.log.marks.reached(level)
    }

    /// All marks.
    pub fn marks(&self) -> MarksView {
        self.log.marks.view()
    }

    /// Where the store is, for messages.
    pub fn place(&self) -> String {
        self.disk.describe()
    }

    /// How full the partition is; `None` if the disk does not say.
    pub fn space(&self) -> Option<Space> {
        self.disk.space().ok()
    }

    /// Why the store is read-only, if it is.
    pub fn failure(&self) -> Option<Arc<str>> {
        self.log.failure()
    }

    /// Flushes what is due. `SYNC_FLUSH`: everything appended; call it again as soon as
    /// [`Store::wait_flush`] returns. `ASYNC_FLUSH`: what is older than the interval.
    ///
    /// # Errors
    /// A failed flush is final: the store is read-only from then on.
    pub fn flush_step(&self) -> Result<Next, WriteError> {
        self.log.flush_step()
    }

    /// Blocks until there may be something to flush, or `limit` is over. For one thread.
    pub fn wait_flush(&self, limit: Duration) {
        self.log.wait_flush(limit);
    }

    /// Writes zeros ahead of the cursor, prepares the next segment, and gives back the memory of what is
    /// far behind. Best on a thread of its own.
    pub fn ahead_step(&self) -> Next {
        self.log.ahead_step()
    }

    /// Brings the key index up to `dispatched`, a piece at a time.
    pub fn derive_step(&self) -> Next {
        derive::step(self)
    }

    /// Deletes or recycles what is older than configured, and refuses producers while the partition is
    /// too full. `now`: milliseconds since the Unix epoch.
    pub fn retain_step(&self, now: i64, keep: &mut Keep<'_>) -> Next {
        retain::step(self, now, keep)
    }

    /// Blocks until room is wanted, which [`Store::retain_step`] may make, or `limit` is over; whether it is. For the
    /// thread that calls that step, behind it.
    pub fn wait_room(&self, limit: Duration) -> bool {
        self.log.room.wait(limit)
    }

    /// Blocks until whoever waits in [`Store::wait_room`] has looked, at most so long.
    pub fn ask_room(&self, limit: Duration) {
        self.log.room.ask(limit);
    }

    /// Whether old messages go for new ones, so that a full disk is worth a second try behind [`Store::ask_room`].
    pub fn makes_room(&self) -> bool {
        self.log.options.disk_room > 0
    }

    /// Stages one of the broker's own records, which is also taken while producers are refused.
    ///
    /// # Errors
    /// As [`Store::stage`].
    pub fn stage_own(&self, draft: &Draft<'_>) -> Result<Staged, StageError> {
        self.log.stage_system(draft, |_| ())
    }

    /// When its records count as confirmed.
    pub fn flushes(&self) -> Flush {
        self.log.options.flush
    }

    /// How often a reader met a damaged record since the start, and was given the others.
    pub fn damaged(&self) -> u64 {
        self.log.damaged.load(Ordering::Relaxed)
    }

    /// Where the half message lies now that was first stored at `from`, if that place was deleted.
    pub fn moved(&self, from: LogOffset) -> Option<Moved> {
        let key = from.0.to_be_bytes();
        let tables = lock(&self.tables);
        moved::read(&key, tables.row(Table::Moved, &key)?)
    }

    /// Writes down how far queues, tables and marks are, so that the next start reads little.
    pub fn checkpoint_step(&self) -> Next {
        open::checkpoint(self)
    }

    /// Ends the work: writes, flushes, shows and writes down everything. The store stays usable.
    ///
    /// # Errors
    /// As [`Store::write_out`] and [`Store::flush_step`].
    pub fn settle(&self) -> Result<(), WriteError> {
        self.write_out()?;
        self.log.flush_all()?;
        self.dispatch(&mut |_| ());
        self.checkpoint_step();
        derive::seal(self);
        Ok(())
    }

    /// Where the kept log begins.
    pub fn log_start(&self) -> LogOffset {
        LogOffset(self.log.segments.start())
    }

    /// Up to `max` entries of a queue from `from` on, appended to `out`; fewer at its end. With
    /// [`Wait::No`] also fewer before entries that are not in memory; `WouldBlock` only if the first
    /// one is not.
    pub fn entries(
        &self,
        queue: &Queue,
        from: QueueOffset,
        max: usize,
        wait: Wait,
        out: &mut Vec<Entry>,
    ) -> Result<Reads, ReadError> {
        self.queues.entries(queue, from, max, wait, out)
    }

    /// The length of all records that a queue has, from its start on. May block.
    ///
    /// # Errors
    /// As [`Store::entries`].
    pub fn bytes_of(&self, queue: &Queue) -> Result<u64, ReadError> {
        self.queues.bytes(queue)
    }

    /// Fills `out` with the property texts of the records of `entries`, for filters: not verified, and
    /// empty where there is none. With `from` they lie from a multiple of [`Properties::TOGETHER`] of their
    /// queue on, are kept together, and those before `from` need not be there; without, they lie anywhere.
    ///
    /// # Errors
    /// [`ReadError::Missing`]: the log does not reach back that far any more.
    pub fn properties(
        &self,
        entries: &[Entry],
        from: Option<usize>,
        wait: Wait,
        out: &mut Properties,
    ) -> Result<Reads, ReadError> {
        self.log.properties(entries, from, wait, out)
    }

    /// Appends the records of `entries` to `out`, or nothing. A record that turns out damaged is left
    /// out and reported in the log.
    pub fn read_runs(
        &self,
        entries: &[Entry],
        out: &mut Vec<u8>,
        wait: Wait,
    ) -> Result<Reads, ReadError> {
        self.log.read_runs(entries, out, wait)
    }

    /// Appends one whole verified record to `out`.
    ///
    /// # Errors
    /// [`ReadError::Missing`] also for what is not dispatched yet.
    pub fn record(&self, at: LogOffset, wait: Wait, out: &mut Vec<u8>) -> Result<Reads, ReadError> {
        if at >= self.log.marks.dispatched() {
            return Err(ReadError::Missing(at));
        }
        self.log.record(at, wait, out)
    }

    /// When the record there was stored, milliseconds since the Unix epoch. May block.
    pub fn stored_at(&self, at: LogOffset) -> Result<i64, ReadError> {
        self.log.stored_at(at)
    }

    /// Apache's time search (`ConsumeQueue#getOffsetInQueueByTime`): `Lower` is the first record
    /// stored at `timestamp` or later, `Upper` the last one stored at `timestamp` or earlier; beyond
    /// the ends, `Lower` answers the end and `Upper` the last, or `Upper` 0 before the first. May block.
    pub fn offset_at(
        &self,
        queue: &Queue,
        timestamp: i64,
        boundary: Boundary,
    ) -> Result<QueueOffset, ReadError> {
        let (start, end) = (queue.start().0, queue.end().0);
        // The first record that is later than what is sought.
        let later = |stored_at: i64| match boundary {
            Boundary::Lower => stored_at >= timestamp,
            Boundary::Upper => stored_at > timestamp,
        };
        let (mut low, mut high) = (start, end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.stored_from(queue, middle, high)?.is_none_or(later) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(QueueOffset(match boundary {
            Boundary::Lower => low,
            Boundary::Upper if low == start => 0,
            Boundary::Upper => low - 1,
        }))
    }

    /// When the first readable record from `from` on, before `to`, was stored.
    fn stored_from(&self, queue: &Queue, from: u64, to: u64) -> Result<Option<i64>, ReadError> {
        let mut entries = Vec::new();
        for at in from..to {
            entries.clear();
            self.entries(queue, QueueOffset(at), 1, Wait::Yes, &mut entries)?;
            if let Some(entry) = entries.first().filter(|entry| entry.size > 0) {
                return self.stored_at(entry.log_offset).map(Some);
            }
        }
        Ok(None)
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
        let found = (self.keys).find(topic, key, (begin, end), max, self.log_start());
        Ok(found?)
    }

    /// Brings the key index forward to what consumers see now, so that whoever was answered finds its message.
    /// After a start that has much to read it gives up early. May block.
    pub fn index_what_is_visible(&self) {
        derive::catch_up(self);
    }

    /// The same of records with this `IDEMPOTENCY_KEY`.
    pub fn find_once(
        &self,
        topic: &str,
        key: &str,
        (begin, end): (i64, i64),
        max: usize,
    ) -> Result<Vec<LogOffset>, ReadError> {
        self.find(topic, &crate::index::keys::once(key), begin, end, max)
    }

    /// How far [`Store::find`] knows the log.
    pub fn indexed(&self) -> LogOffset {
        self.keys.next()
    }

    /// All rows of a table, sorted by key.
    pub fn rows(&self, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
        lock(&self.tables).rows(table)
    }

    /// Changes rows, all or none, as one record. Visible in [`Store::rows`] at once; needs
    /// [`Store::write_out`] like any staged record. The mark is the `confirmed` one; who needs less
    /// waits for a lower level at the same position.
    pub fn put(&self, changes: &[Change<'_>]) -> Result<Mark, StageError> {
        Ok(confirmed(self.stage_changes(changes, |_| ())?))
    }

    /// The tables' lock is held across the staging, so that rows change in log order.
    pub(crate) fn stage_changes(
        &self,
        changes: &[Change<'_>],
        then: impl FnOnce(&Staged),
    ) -> Result<Staged, StageError> {
        let mut body = Vec::new();
        table::encode(changes, &mut body);
        let mut tables = lock(&self.tables);
        let staged = self.log.stage_system(&self.table_draft(&body), then)?;
        tables.apply(changes);
        self.table_bytes
            .fetch_add(body.len() as u64, Ordering::Relaxed);
        Ok(staged)
    }

    /// A record of the tables' queue.
    pub(crate) fn table_draft<'a>(&'a self, body: &'a [u8]) -> Draft<'a> {
        Draft {
            queue: &self.table_queue,
            flag: 0,
            sys_flag: 0,
            born_at: self.log.clock.wall(),
            born_host: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            reconsume_times: 0,
            prepared_offset: 0,
            body,
            properties: "",
            tags_code: 0,
            keys: Keys::Unread,
        }
    }
}
