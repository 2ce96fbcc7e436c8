//! Where half messages lie now whose first place was deleted: their producers know only that one, and end
//! the transaction by it.
//!
//! A row of [`Table::Moved`] has as its key the first place in the log 8, and as its value the first place
//! in the queue 8 and where it lies now 8; all big-endian. It goes when the log no longer has the latter.

use std::collections::HashMap;

use model::{LogOffset, QueueOffset};

use super::Refused;
use crate::store::Store;
use crate::table::{Change, Table};

/// A half message that was appended again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Where it was first.
    pub from: LogOffset,
    /// Where it was first in its queue.
    pub queue_offset: QueueOffset,
    /// Where it is now.
    pub to: LogOffset,
}

/// Rows that are changed at once.
const AT_ONCE: usize = 1_000;

/// Notes these moves, and forgets those to what lies below `before`.
pub(super) fn note(store: &Store, moved: &[Moved], before: LogOffset) -> Result<(), Refused> {
    let known: Vec<Moved> = (store.rows(Table::Moved).iter())
        .filter_map(|(key, value)| read(key, value))
        .collect();
    let next: HashMap<LogOffset, LogOffset> = moved.iter().map(|m| (m.from, m.to)).collect();
    let mut rows = Vec::new();
    // One that was moved before is known by all its earlier places.
    for old in known {
        if let Some(&to) = next.get(&old.to) {
            rows.push((old.from, Some(value(&Moved { to, ..old }))));
        } else if old.to < before {
            rows.push((old.from, None));
        }
    }
    rows.extend(moved.iter().map(|moved| (moved.from, Some(value(moved)))));
    for rows in rows.chunks(AT_ONCE) {
        let keys: Vec<[u8; 8]> = rows.iter().map(|(from, _)| from.0.to_be_bytes()).collect();
        let changes: Vec<Change<'_>> = (rows.iter().zip(&keys))
            .map(|((_, value), key)| (Table::Moved, &key[..], value.as_ref().map(|v| &v[..])))
            .collect();
        store.put(&changes)?;
    }
    Ok(())
}

fn value(moved: &Moved) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&moved.queue_offset.0.to_be_bytes());
    value[8..].copy_from_slice(&moved.to.0.to_be_bytes());
    value
}

/// Reads a row.
pub(crate) fn read(key: &[u8], value: &[u8]) -> Option<Moved> {
    let number = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
    Some(Moved {
        from: LogOffset(number(key)?),
        queue_offset: QueueOffset(number(value.get(..8)?)?),
        to: LogOffset(number(value.get(8..)?)?),
    })
}
