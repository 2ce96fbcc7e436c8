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
}

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

/// The rows as they are now.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

impl Tables {
    /// Applies changes in order.
    pub fn apply(&mut self, changes: &[Change<'_>]) {
        for (table, key, value) in changes {
            match value {
                _ if *table == Table::Dropped => {}
                Some(value) => {
                    self.rows.insert((*table, key.to_vec()), value.to_vec());
                }
                None => {
                    self.rows.remove(&(*table, key.to_vec()));
                }
            }
        }
    }

    /// All rows of a table, by key.
    pub fn rows(&self, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
        let of = self.rows.iter().filter(|((of, _), _)| *of == table);
        of.map(|((_, key), value)| (key.clone(), value.clone()))
            .collect()
    }
}
