//! From records to queues and tables when a store opens, and the checkpoint that makes the next time
//! short.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::message::key;
use model::record::View;
use model::{LogOffset, QueueId, QueueOffset, TopicName, tag};

use crate::checkpoint::Checkpoint;
use crate::disk::{Disk, Wait};
use crate::error::{Error, StageError, WriteError};
use crate::lock;
use crate::log::segments::{Segment, Segments};
use crate::pending::{self, Kind, Pending, Transition};
use crate::queue::{Entry, Queues};
use crate::snapshot;
use crate::store::{Next, Store};
use crate::table::{self, Table, Tables};

/// How often the checkpoint is written while records arrive.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(500);

/// After so many bytes of changes a snapshot is taken.
const SNAPSHOT_AFTER: u64 = 8 << 20;

/// What is believed of a log whose checkpoint is gone: segments before the last used one were flushed.
pub(crate) fn without_checkpoint(segments: &Segments) -> Checkpoint {
    let begun = |segment: &&Arc<Segment>| {
        let mut head = [0; 36];
        let read = segment.file.read_at(&mut head, 0);
        let position = head.last_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        read.is_ok_and(|count| count == head.len()) && position == Some(segment.base)
    };
    let all = segments.all();
    let last = all.iter().rev().find(begun);
    Checkpoint {
        durable: LogOffset(last.map_or(0, |segment| segment.base)),
        ..Checkpoint::default()
    }
}

/// What a queue entry says of the record's tag; of a delayed message's, when it is due.
pub(crate) fn tags_code(view: &View<'_>) -> i64 {
    match Kind::of(view.topic()) {
        Some(Kind::Timer) => pending::timer_out(view).unwrap_or_default(),
        _ => tag::tags_code(view.property(key::TAGS)),
    }
}

/// Shows recovered records to the queues and to what waits, exactly as dispatch showed them before.
pub(crate) struct Show<'q> {
    queues: &'q Queues,
    pending: &'q Pending,
    /// Who is shown what from where on; `None`: nothing.
    queues_from: Option<LogOffset>,
    pending_from: Option<LogOffset>,
}

impl<'q> Show<'q> {
    pub fn new(queues: &'q Queues, pending: &'q Pending) -> Show<'q> {
        Show {
            queues,
            pending,
            queues_from: Some(queues.covered()),
            pending_from: Some(pending.covered()),
        }
    }

    /// The log ends at `end`. True if somebody knew more: all records are to be shown to that one again.
    pub fn truncate(&mut self, disk: &dyn Disk, end: LogOffset) -> Result<bool, Error> {
        let failed = |what| Error::io(what);
        let queues = self.queues.truncate(end);
        let pending = self.pending.truncate(disk, end);
        let again = |emptied: bool| emptied.then_some(LogOffset(0));
        self.queues_from = again(queues.map_err(failed("emptying the queues"))?);
        self.pending_from = again(pending.map_err(failed("emptying what waits"))?);
        Ok(self.queues_from.or(self.pending_from).is_some())
    }

    /// One record, in log order.
    pub fn record(&mut self, view: &View<'_>) {
        let at = view.log_offset();
        if self.pending_from.is_some_and(|from| at >= from) {
            self.pending.apply(&Transition::of(view));
        }
        if self.queues_from.is_some_and(|from| at >= from) {
            self.entry(view);
        }
    }

    fn entry(&self, view: &View<'_>) {
        let queue = match self.queues.find(view.topic(), view.queue().0) {
            Some(queue) => queue,
            None => match TopicName::parse(view.topic()) {
                Ok(topic) => self.queues.queue(&topic, view.queue()),
                Err(error) => {
                    tracing::error!(at = view.log_offset().0, %error, "a record of no legal topic");
                    return;
                }
            },
        };
        let entry = Entry {
            log_offset: view.log_offset(),
            size: view.len() as u32,
            tags_code: tags_code(view),
        };
        self.queues.append(&queue, view.queue_offset(), entry);
        if view.topic() == table::TOPIC && view.queue() == QueueId(0) {
            self.drops(view);
        }
    }

    fn drops(&self, view: &View<'_>) {
        for (table, key, _) in table::decode(view.body()).unwrap_or_default() {
            if table == Table::Dropped
                && let Ok(topic) = std::str::from_utf8(key)
            {
                self.queues.drop_topic(topic, view.log_offset());
            }
        }
    }
}

/// Builds the tables from the records of their queue.
pub(crate) fn fold_tables(store: &Store, from: QueueOffset) -> Result<(), Error> {
    let mut tables = lock(&store.tables);
    let mut entries = Vec::new();
    let mut bytes = Vec::new();
    let queue = &store.table_queue;
    let mut at = from.max(queue.start());
    let mut folded = 0;
    while at < queue.end() {
        entries.clear();
        let read = (store.queues).entries(queue, at, 256, Wait::Yes, &mut entries);
        read.map_err(|e| Error::Broken(format!("the tables' queue: {e}")))?;
        if entries.is_empty() {
            break;
        }
        for entry in entries.iter().filter(|entry| entry.size > 0) {
            bytes.clear();
            folded += u64::from(entry.size);
            if let Err(error) = store.log.record(entry.log_offset, Wait::Yes, &mut bytes) {
                tracing::error!(at = entry.log_offset.0, %error, "a change of the tables is lost");
                continue;
            }
            let changes = View::parse(&bytes)
                .ok()
                .and_then(|view| table::decode(view.body()));
            match changes {
                Some(changes) => tables.apply(&changes),
                None => {
                    tracing::error!(
                        at = entry.log_offset.0,
                        "a change of the tables makes no sense"
                    );
                }
            }
        }
        at = QueueOffset(at.0 + entries.len() as u64);
    }
    store.table_bytes.store(folded, Ordering::Relaxed);
    continue_queues(store, &tables);
    Ok(())
}

/// Queues whose records were all deleted go on where they ended.
fn continue_queues(store: &Store, tables: &Tables) {
    for (key, value) in tables.rows(Table::Ends) {
        if let Some((topic, id, end)) = snapshot::end_of(&key, &value)
            && let Ok(topic) = TopicName::parse(&topic)
        {
            let queue = store.queues.queue(&topic, QueueId(id));
            store.queues.raise_end(&queue, QueueOffset(end));
            queue.set_next(queue.next().max(queue.end().0));
        }
    }
}

/// Notes that everything recovered is flushed.
pub(crate) fn save_checkpoint(store: &Store, durable: LogOffset) -> Result<(), Error> {
    let mut saved = lock(&store.checkpoint);
    let next = Checkpoint {
        durable,
        ..saved.last
    };
    if next != saved.last || durable == LogOffset(0) {
        saved
            .file
            .save(&next)
            .map_err(Error::io("writing the checkpoint"))?;
        saved.last = next;
    }
    Ok(())
}

/// One checkpoint: first the queues, then what says that they are there.
pub(crate) fn checkpoint(store: &Store) -> Next {
    if store.failure().is_some() {
        return Next::Never;
    }
    if store.table_bytes.load(Ordering::Relaxed) > SNAPSHOT_AFTER
        && let Err(error) = snapshot(store)
    {
        tracing::warn!(%error, "no snapshot of the tables; the next start will fold more");
    }
    match try_checkpoint(store, false) {
        Ok(()) => Next::After(CHECKPOINT_EVERY),
        Err(e) if e.kind() == io::ErrorKind::StorageFull => {
            tracing::warn!("no space for a checkpoint; the next start will read more");
            Next::After(CHECKPOINT_EVERY)
        }
        Err(e) => {
            store.log.fail(format!("writing a checkpoint: {e}"));
            Next::Never
        }
    }
}

/// Takes a snapshot, flushes it and notes that the tables are to be folded from there.
pub(crate) fn snapshot(store: &Store) -> Result<(), StageError> {
    store.table_bytes.store(0, Ordering::Relaxed);
    let (begin, end) = snapshot::take(store)?;
    let read_only = |e: WriteError| StageError::ReadOnly(e.0);
    store.log.flush_all().map_err(read_only)?;
    if store.marks().flushed >= end {
        lock(&store.checkpoint).next_tables_from = begin;
    }
    Ok(())
}

/// `full`: the queues too, even if not much happened since the last time.
pub(crate) fn try_checkpoint(store: &Store, full: bool) -> io::Result<()> {
    store.pending.checkpoint(store, full)?;
    let marks = store.marks();
    let mut saved = lock(&store.checkpoint);
    let next = Checkpoint {
        durable: marks.flushed,
        stored_at: store.log.last_stored_at(),
        tables_from: saved.next_tables_from,
    };
    let limit = marks.flushed.min(marks.dispatched);
    match full {
        true => store.queues.checkpoint(limit)?,
        false => store.queues.checkpoint_if_due(limit)?,
    }
    if next != saved.last {
        saved.file.save(&next)?;
        saved.last = next;
    }
    Ok(())
}
