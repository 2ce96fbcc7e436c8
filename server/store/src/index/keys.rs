//! Which keys a message has: its `UNIQ_KEY`, each blank-separated item of its `KEYS`, and its
//! `IDEMPOTENCY_KEY`.

use model::flag::sys;
use model::message::{self, key};

use super::Item;
use super::hash;

/// A message's keys. Whoever reads its properties anyway says what they are.
#[derive(Clone, Copy, Debug)]
pub enum Keys<'a> {
    /// Nobody looked yet: the store reads the property string.
    Unread,
    /// What the properties say; of duplicates the last one, empty if there is none.
    Read {
        /// `UNIQ_KEY`
        unique: &'a str,
        /// `KEYS`
        keys: &'a str,
        /// `IDEMPOTENCY_KEY`
        once: &'a str,
    },
}

impl Keys<'_> {
    /// Reads a property string.
    pub fn of(properties: &str) -> Keys<'_> {
        let (mut unique, mut keys, mut once) = ("", "", "");
        for (name, value) in message::properties(properties) {
            match name {
                key::UNIQ_KEY => unique = value,
                key::KEYS => keys = value,
                key::IDEMPOTENCY_KEY => once = value,
                _ => {}
            }
        }
        Keys::Read { unique, keys, once }
    }
}

/// A key of its own kind: no `KEYS` of a user finds it.
pub(crate) fn once(key: &str) -> String {
    format!("\u{1}{key}")
}

/// Where hashing the keys of a topic begins.
pub(crate) fn seed(topic: &str) -> u64 {
    hash::of(&[topic])
}

/// Appends the entries of a record: none of a rolled-back one.
pub(crate) fn push(
    seed: u64,
    (at, stored_at): (u64, i64),
    sys_flag: i32,
    keys: Keys<'_>,
    properties: &str,
    out: &mut Vec<Item>,
) {
    let keys = match keys {
        Keys::Unread => Keys::of(properties),
        read => read,
    };
    let Keys::Read {
        unique,
        keys,
        once: named,
    } = keys
    else {
        return;
    };
    if sys_flag & sys::TRANSACTION_MASK == sys::TRANSACTION_ROLLBACK {
        return;
    }
    let mut add = |key: &str| {
        if !key.is_empty() {
            let hash = hash::add(seed, key.as_bytes());
            out.push(Item {
                hash,
                at,
                stored_at,
            });
        }
    };
    add(unique);
    if !named.is_empty() {
        add(&once(named));
    }
    if !keys.is_empty() {
        keys.split(' ').for_each(add);
    }
}
