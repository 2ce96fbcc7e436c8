//! The small tables: a fold over records in the log.
//!
//! A record of the tables' own topic carries one or more changes that stand together. Topics, groups
//! and committed offsets are rows; the last change of a key wins.

use std::collections::BTreeMap;

use model::TopicName;

/// A table. The numbers are on disk and never change.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// The store's own: the key is a topic whose queues were dropped at this position.
    Dropped = 1,
    /// Topic configurations by name.
    Topics = 2,
    /// Subscription groups by name.
    Groups = 3,
    /// Committed offsets.
    Offsets = 4,
    /// Single values: data versions and the like.
    Values = 5,
    /// The store's own: a full snapshot begins or ends here.
    Snapshot = 6,
    /// The store's own: where a queue ended when a snapshot was taken.
    Ends = 7,
    /// How often producers were asked about half messages.
    Checks = 8,
    /// What is in flight of popped queues.
    Leases = 9,
    /// How a group asks for a topic's messages: by pulling or popping.
    Modes = 10,
    /// The store's own: where half messages lie whose first place was deleted.
    Moved = 11,
    /// Topics that a group may not read.
    Forbidden = 12,
    /// Operations on dead letters, and which of those are gone.
    Operations = 13,
    /// Whom brokers ask over HTTP about half messages, by topic.
    Checkers = 14,
    /// Settings that were changed while the broker ran, by name.
    Settings = 15,
}

/// Key of the change that begins a snapshot.
pub(crate) const BEGIN: &[u8] = b"begin";
/// Key of the change that ends one.
pub(crate) const END: &[u8] = b"end";

/// One change of a row: its new value, or `None` to delete it.
pub type Change<'a> = (Table, &'a [u8], Option<&'a [u8]>);

/// The topic whose records carry changes.
pub(crate) const TOPIC: &str = "rmq_sys_POSTHOUSE_TABLES";

/// [`TOPIC`] as a name.
pub(crate) fn topic() -> TopicName {
    TopicName::parse(TOPIC).expect("a legal name")
}

impl Table {
    fn of(number: u16) -> Option<Table> {
        [
            Table::Dropped,
            Table::Topics,
            Table::Groups,
            Table::Offsets,
            Table::Values,
            Table::Snapshot,
            Table::Ends,
            Table::Checks,
            Table::Leases,
            Table::Modes,
            Table::Moved,
            Table::Forbidden,
            Table::Operations,
            Table::Checkers,
            Table::Settings,
        ]
        .into_iter()
        .find(|&table| table as u16 == number)
    }
}

/// Appends a record's body: for each change, table 2, key length 4, key, value length + 1 (0 deletes)
/// 4, value. All integers are big-endian.
pub(crate) fn encode(changes: &[Change<'_>], out: &mut Vec<u8>) {
    for (table, key, value) in changes {
        out.extend_from_slice(&(*table as u16).to_be_bytes());
        out.extend_from_slice(&(key.len() as u32).to_be_bytes());
        out.extend_from_slice(key);
        let len = value.map_or(0, |value| value.len() as u32 + 1);
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(value.unwrap_or_default());
    }
}

/// Reads a record's body. `None` if it makes no sense.
pub(crate) fn decode(mut body: &[u8]) -> Option<Vec<Change<'_>>> {
    let mut changes = Vec::new();
    while !body.is_empty() {
        let (number, rest) = body.split_first_chunk::<2>()?;
        let (key_len, rest) = rest.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(u32::from_be_bytes(*key_len) as usize)?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (value, rest) = match u32::from_be_bytes(*len).checked_sub(1) {
            None => (None, rest),
            Some(len) => {
                let (value, rest) = rest.split_at_checked(len as usize)?;
                (Some(value), rest)
            }
        };
        changes.push((Table::of(u16::from_be_bytes(*number))?, key, value));
        body = rest;
    }
    Some(changes)
}

type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// The rows as they are now.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    rows: Rows,
    /// Rows of a snapshot that has begun and not ended. Only while records are folded.
    building: Option<Rows>,
}

impl Tables {
    /// Applies changes in order. A snapshot counts from its end on: what it left out is gone then.
    pub fn apply(&mut self, changes: &[Change<'_>]) {
        for &(table, key, value) in changes {
            match (table, key) {
                (Table::Snapshot, BEGIN) => self.building = Some(Rows::new()),
                (Table::Snapshot, END) => {
                    if let Some(whole) = self.building.take() {
                        self.rows = whole;
                    }
                }
                _ => {
                    change(&mut self.rows, table, key, value);
                    if let Some(building) = &mut self.building {
                        change(building, table, key, value);
                    }
                }
            }
        }
    }

    /// The value of one row.
    pub fn row(&self, table: Table, key: &[u8]) -> Option<&[u8]> {
        self.rows.get(&(table, key.to_vec())).map(Vec::as_slice)
    }

    /// All rows of a table, by key.
    pub fn rows(&self, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
        let from = (table, Vec::new());
        let of = self
            .rows
            .range(from..)
            .take_while(|((of, _), _)| *of == table);
        of.map(|((_, key), value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Encodes rows behind `after` as changes, up to about `max` bytes; returns the last one's key.
    pub fn encode_some(
        &self,
        after: Option<&(Table, Vec<u8>)>,
        max: usize,
        out: &mut Vec<u8>,
    ) -> Option<(Table, Vec<u8>)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let rows = self
            .rows
            .range((after.map_or(Unbounded, Excluded), Unbounded));
        let mut last = None;
        for ((table, key), value) in rows {
            if *table == Table::Ends {
                continue;
            }
            encode(&[(*table, key, Some(value))], out);
            last = Some((*table, key.clone()));
            if out.len() >= max {
                break;
            }
        }
        last
    }
}

fn change(rows: &mut Rows, table: Table, key: &[u8], value: Option<&[u8]>) {
    match value {
        _ if table == Table::Dropped => {
            let of_topic = |row: &[u8]| row.strip_prefix(key).is_some_and(|id| id.len() == 4);
            rows.retain(|(table, row), _| *table != Table::Ends || !of_topic(row));
        }
        Some(value) => {
            rows.insert((table, key.to_vec()), value.to_vec());
        }
        None => {
            rows.remove(&(table, key.to_vec()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_counts_only_when_it_is_whole() {
        let mut tables = Tables::default();
        let rows = |tables: &Tables| tables.rows(Table::Topics).len();
        tables.apply(&[(Table::Topics, b"gone", Some(b"1"))]);
        tables.apply(&[(Table::Snapshot, BEGIN, Some(b""))]);
        tables.apply(&[(Table::Topics, b"kept", Some(b"2"))]);
        assert_eq!(rows(&tables), 2);
        tables.apply(&[(Table::Snapshot, END, Some(b""))]);
        assert_eq!(
            tables.rows(Table::Topics),
            [(b"kept".to_vec(), b"2".to_vec())]
        );
    }

    #[test]
    fn cut_or_flipped_changes_never_panic() {
        let mut body = Vec::new();
        encode(
            &[
                (Table::Topics, b"key", Some(b"value")),
                (Table::Groups, b"g", None),
            ],
            &mut body,
        );
        assert_eq!(decode(&body).unwrap().len(), 2);
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            let mut bytes = body.clone();
            let at = rng.usize(..bytes.len());
            bytes[at] = rng.u8(..);
            bytes.truncate(rng.usize(..=bytes.len()));
            let _ = decode(&bytes);
        }
    }
}
