//! Property texts that a filter read, kept for the next one. Who filters is seldom alone (each group
//! reads all of a topic for its own share), and a full answer leaves off in the middle of what was read;
//! reaching into records, or reading and checking whole ones from the files, for the hundred bytes that a
//! filter looks at is most of what filtering costs.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use crate::lock;
use crate::queue::Entry;

/// So many entries, from a queue position that is a multiple of it, are kept together.
pub(crate) const TOGETHER: usize = 64;

/// The texts of [`TOGETHER`] records that were whole when they were read.
#[derive(Debug)]
pub(super) struct Group {
    /// Where the records lie.
    at: Box<[u64]>,
    bytes: Box<[u8]>,
    /// Where each text ends.
    ends: Box<[u32]>,
}

impl Group {
    /// `None` if these records are not to be kept: there are too few, or they have holes.
    pub fn new(entries: &[Entry], bytes: &[u8], ends: &[usize]) -> Option<Group> {
        let whole = entries.len() == TOGETHER && ends.len() == TOGETHER;
        if !whole || entries.iter().any(|entry| entry.size == 0) {
            return None;
        }
        Some(Group {
            at: entries.iter().map(|entry| entry.log_offset.0).collect(),
            bytes: bytes.into(),
            ends: (ends.iter().map(|&end| u32::try_from(end).ok())).collect::<Option<_>>()?,
        })
    }

    pub fn get(&self, n: usize) -> &[u8] {
        let end = |n: usize| self.ends.get(n).map(|&end| end as usize);
        let start = n.checked_sub(1).and_then(end).unwrap_or(0);
        let text = end(n).and_then(|end| self.bytes.get(start..end));
        text.unwrap_or_default()
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    fn is_of(&self, entries: &[Entry]) -> bool {
        let ours = |(&at, entry): (&u64, &Entry)| at == entry.log_offset.0;
        self.at.len() == entries.len() && self.at.iter().zip(entries).all(ours)
    }

    fn size(&self) -> usize {
        size_of::<Group>() + self.bytes.len() + self.at.len() * 8 + self.ends.len() * 4
    }
}

/// The groups read last, by where their first record lies; the oldest go.
#[derive(Debug)]
pub(super) struct Texts {
    limit: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    groups: HashMap<u64, Arc<Group>>,
    order: VecDeque<u64>,
    bytes: usize,
}

impl Texts {
    /// Keeps up to so many bytes.
    pub fn new(limit: usize) -> Texts {
        Texts {
            limit,
            held: Mutex::default(),
        }
    }

    /// The texts of just these records.
    pub fn find(&self, entries: &[Entry]) -> Option<Arc<Group>> {
        let first = entries.first().filter(|_| entries.len() == TOGETHER)?;
        let held = lock(&self.held);
        let group = held.groups.get(&first.log_offset.0)?;
        group.is_of(entries).then(|| Arc::clone(group))
    }

    pub fn keep(&self, group: Group) {
        let Some(&at) = group.at.first() else {
            return;
        };
        let mut held = lock(&self.held);
        held.bytes += group.size();
        match held.groups.insert(at, Arc::new(group)) {
            Some(before) => held.bytes -= before.size(),
            None => held.order.push_back(at),
        }
        while held.bytes > self.limit {
            let Some(oldest) = held.order.pop_front() else {
                break;
            };
            let size = held.groups.remove(&oldest).map_or(0, |group| group.size());
            held.bytes -= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use model::LogOffset;

    use super::*;

    fn entries(from: u64) -> Vec<Entry> {
        let entry = |n| Entry {
            log_offset: LogOffset(from + n * 100),
            size: 100,
            tags_code: 0,
        };
        (0..TOGETHER as u64).map(entry).collect()
    }

    fn group(entries: &[Entry]) -> Option<Group> {
        let ends: Vec<usize> = (1..=entries.len()).collect();
        Group::new(entries, &vec![b'x'; entries.len()], &ends)
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let one = group(&entries(0)).unwrap().size();
        let texts = Texts::new(one * 2);
        for from in [0, 10_000, 20_000, 20_000] {
            texts.keep(group(&entries(from)).unwrap());
        }
        assert!(texts.find(&entries(0)).is_none());
        for from in [10_000, 20_000] {
            assert_eq!(texts.find(&entries(from)).unwrap().get(63), b"x");
        }
        assert_eq!(lock(&texts.held).bytes, 2 * one);
    }

    #[test]
    fn other_records_that_begin_at_the_same_place_are_not_taken_for_these() {
        let texts = Texts::new(1 << 20);
        texts.keep(group(&entries(0)).unwrap());
        let mut others = entries(0);
        others[40].log_offset.0 += 1;
        assert!(texts.find(&others).is_none());
        assert!(texts.find(&entries(0)[..63]).is_none());
    }

    #[test]
    fn what_has_a_hole_is_not_kept() {
        let mut holed = entries(0);
        holed[7] = Entry::HOLE;
        assert!(group(&holed).is_none());
    }
}
