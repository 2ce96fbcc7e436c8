//! A full copy of the tables as records at the log's end, so that older records may be deleted and a
//! start folds few of them.
//!
//! It goes in chunks between a begin and an end. Changes may be staged between its chunks: whoever folds
//! from the begin on applies all in order and arrives at the same rows. It counts from its end on.

use std::sync::Arc;

use model::{LogOffset, QueueOffset};

use crate::disk::Wait;
use crate::error::StageError;
use crate::lock;
use crate::queue::Queue;
use crate::store::Store;
use crate::table::{self, BEGIN, END, Table};

/// About how many bytes a chunk has.
const CHUNK: usize = 64 << 10;

/// Takes a snapshot, written out and not flushed. Returns where it begins and the log offset behind it.
pub(crate) fn take(store: &Store) -> Result<(QueueOffset, LogOffset), StageError> {
    let mark = |key| {
        let mut body = Vec::new();
        table::encode(&[(Table::Snapshot, key, Some(b""))], &mut body);
        stage(store, &body)
    };
    let begin = mark(BEGIN)?;
    let max = CHUNK.min(store.log.options.segment_size as usize / 8);
    let mut body = Vec::new();
    let mut after = None;
    loop {
        body.clear();
        let tables = lock(&store.tables);
        after = tables.encode_some(after.as_ref(), max, &mut body);
        if after.is_none() {
            break;
        }
        // Under the tables' lock: no change of these rows may come between.
        stage(store, &body)?;
        drop(tables);
        written(store)?;
    }
    ends(store, max)?;
    let end = mark(END)?;
    written(store)?;
    Ok((begin.0, end.1))
}

/// Notes where each queue ends: one whose records are all deleted must not begin at 0 again.
fn ends(store: &Store, max: usize) -> Result<(), StageError> {
    let mut queues = store.queues.all();
    while !queues.is_empty() {
        let count = stage_ends(store, &mut queues, max)?;
        queues.drain(..count);
        written(store)?;
    }
    Ok(())
}

/// Stages where the first of `queues` end; returns how many that were. Those that were dropped since
/// they were listed are taken out: behind the record that drops it, a queue's old end would be that
/// of the next queue of its name.
pub(crate) fn stage_ends(
    store: &Store,
    queues: &mut Vec<Arc<Queue>>,
    max: usize,
) -> Result<usize, StageError> {
    let mut body = Vec::new();
    loop {
        body.clear();
        let mut count = 0;
        for queue in queues.iter() {
            let key = key(queue.topic.as_str(), queue.id.0);
            let end = queue.end().0.to_be_bytes();
            table::encode(&[(Table::Ends, &key, Some(&end))], &mut body);
            count += 1;
            if body.len() >= max {
                break;
            }
        }
        if count == 0 {
            return Ok(0);
        }
        let named = queues.get(..count).unwrap_or_default();
        let still = || !named.iter().any(|queue| queue.is_dropped());
        let draft = store.table_draft(&body);
        if store.log.stage_system_if(&draft, still)?.is_some() {
            return Ok(count);
        }
        queues.retain(|queue| !queue.is_dropped());
    }
}

fn key(topic: &str, id: u32) -> Vec<u8> {
    let mut key = topic.as_bytes().to_vec();
    key.extend_from_slice(&id.to_be_bytes());
    key
}

/// Topic, queue and end of an `Ends` row.
pub(crate) fn end_of(key: &[u8], value: &[u8]) -> Option<(String, u32, u64)> {
    let (topic, id) = key.split_last_chunk::<4>()?;
    let topic = std::str::from_utf8(topic).ok()?.to_owned();
    let end = u64::from_be_bytes(value.try_into().ok()?);
    Some((topic, u32::from_be_bytes(*id), end))
}

fn stage(store: &Store, body: &[u8]) -> Result<(QueueOffset, LogOffset), StageError> {
    let draft = store.table_draft(body);
    let staged = store.log.stage_system(&draft, |_| ())?;
    Ok((staged.queue_offset, staged.end))
}

fn written(store: &Store) -> Result<(), StageError> {
    store.write_out().map_err(|e| StageError::ReadOnly(e.0))
}

/// The log offset of a record of the tables' queue; `None` if it is gone.
pub(crate) fn position(store: &Store, at: QueueOffset) -> Option<LogOffset> {
    let mut entries = Vec::new();
    let queue = &store.table_queue;
    (store.queues)
        .entries(queue, at, 1, Wait::Yes, &mut entries)
        .ok()?;
    let first = entries.first().filter(|_| at >= queue.start())?;
    Some(first.log_offset)
}
