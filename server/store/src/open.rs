//! From records to queues and tables when a store opens, and the checkpoint that makes the next time
//! short.

use std::io;
use std::time::Duration;

use model::message::key;
use model::record::View;
use model::{LogOffset, QueueOffset, TopicName, tag};

use crate::checkpoint::Checkpoint;
use crate::disk::Wait;
use crate::error::Error;
use crate::lock;
use crate::log::segments::Segments;
use crate::queue::{Entry, Queues};
use crate::store::{Next, Store};
use crate::table::{self, Table};

/// How often the checkpoint is written while records arrive.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(500);

/// What is believed of a log whose checkpoint is gone: segments before the last were flushed.
pub(crate) fn without_checkpoint(segments: &Segments) -> Checkpoint {
    let last = segments.all().last().map_or(0, |segment| segment.base);
    Checkpoint {
        durable: LogOffset(last),
        ..Checkpoint::default()
    }
}

/// Shows recovered records to the queues, exactly as dispatch showed them before.
pub(crate) struct Show<'q> {
    queues: &'q Queues,
}

impl<'q> Show<'q> {
    pub fn new(queues: &'q Queues) -> Show<'q> {
        Show { queues }
    }

    /// One record, in log order.
    pub fn record(&mut self, view: &View<'_>) {
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
            tags_code: tag::tags_code(view.property(key::TAGS)),
        };
        self.queues.append(&queue, view.queue_offset(), entry);
        if view.topic() == table::TOPIC {
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
    while at < queue.end() {
        entries.clear();
        let read = store.queues.entries(queue, at, 256, &mut entries);
        read.map_err(|e| Error::Broken(format!("the tables' queue: {e}")))?;
        if entries.is_empty() {
            break;
        }
        for entry in entries.iter().filter(|entry| entry.size > 0) {
            bytes.clear();
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
    Ok(())
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
    match try_checkpoint(store) {
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

fn try_checkpoint(store: &Store) -> io::Result<()> {
    let marks = store.marks();
    let mut saved = lock(&store.checkpoint);
    let next = Checkpoint {
        durable: marks.flushed,
        stored_at: store.log.last_stored_at(),
        ..saved.last
    };
    store
        .queues
        .checkpoint(marks.flushed.min(marks.dispatched))?;
    if next != saved.last {
        saved.file.save(&next)?;
        saved.last = next;
    }
    Ok(())
}
