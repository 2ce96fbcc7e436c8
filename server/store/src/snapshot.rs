//! A full copy of the tables as records at the log's end, so that older records may be deleted and a
//! start folds few of them.
//!
//! It goes in chunks between a begin and an end. Changes may be staged between its chunks: whoever folds
//! from the begin on applies all in order and arrives at the same rows. It counts from its end on.

use model::{LogOffset, QueueOffset};

use crate::disk::Wait;
use crate::error::StageError;
use crate::lock;
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
    let mut body = Vec::new();
    for queue in store.queues.all() {
        let key = key(queue.topic.as_str(), queue.id.0);
        let end = queue.end().0.to_be_bytes();
        table::encode(&[(Table::Ends, &key, Some(&end))], &mut body);
        if body.len() >= max {
            stage(store, &body)?;
            written(store)?;
            body.clear();
        }
    }
    if !body.is_empty() {
        stage(store, &body)?;
    }
    Ok(())
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
