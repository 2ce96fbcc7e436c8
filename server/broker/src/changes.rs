//! The rows of the store's tables that a batch changed. They go into the log as one record, so that an
//! offset and the leases it stands for are never there one without the other.

use std::ops::Range;

use store::{Change, Table};

/// Rows to write.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    bytes: Vec<u8>,
    rows: Vec<(Table, Range<usize>, Option<Range<usize>>)>,
}

impl Changes {
    /// Adds a row: `key` appends its key, `value` its value; `false` deletes it.
    pub fn add(
        &mut self,
        table: Table,
        key: impl FnOnce(&mut Vec<u8>),
        value: impl FnOnce(&mut Vec<u8>) -> bool,
    ) {
        let start = self.bytes.len();
        key(&mut self.bytes);
        let middle = self.bytes.len();
        let kept = value(&mut self.bytes);
        let value = kept.then_some(middle..self.bytes.len());
        self.rows.push((table, start..middle, value));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows as the store takes them.
    pub fn list(&self) -> Vec<Change<'_>> {
        let bytes = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        (self.rows.iter())
            .map(|(table, key, value)| (*table, bytes(key), value.as_ref().map(bytes)))
            .collect()
    }
}
