//! The keys of the newest records, on their way from staging to the index.
//!
//! Whoever stages a record knows its keys, so nobody has to read the log for them again. The feed is
//! bounded: when the index falls too far behind, what waits is dropped, and the index reads that part of
//! the log.

use std::collections::VecDeque;

use super::Item;

/// So many entries wait at most: 12 MiB.
const MAX: usize = 512 << 10;

/// Entries in log order, of all records between two positions.
#[derive(Debug)]
pub(crate) struct Feed {
    from: u64,
    to: u64,
    items: VecDeque<Item>,
}

impl Feed {
    /// Nothing yet; the next record lies at `end`.
    pub fn new(end: u64) -> Feed {
        Feed {
            from: end,
            to: end,
            items: VecDeque::new(),
        }
    }

    /// Takes the entries of what was written up to `to`.
    pub fn extend(&mut self, items: &mut Vec<Item>, to: u64) {
        if self.items.len() + items.len() > MAX {
            self.items.clear();
            self.from = to;
            items.clear();
        }
        self.items.extend(items.drain(..));
        self.to = to;
    }

    /// Moves the entries of `from..limit` to `out`, as far as they are here; returns the position behind
    /// them. `None` if those of `from` are not.
    pub fn take(&mut self, from: u64, limit: u64, out: &mut Vec<Item>) -> Option<u64> {
        let to = self.to.min(limit);
        if from < self.from || to < from {
            return None;
        }
        let old = self.items.partition_point(|item| item.at < from);
        self.items.drain(..old);
        let count = self.items.partition_point(|item| item.at < to);
        out.extend(self.items.drain(..count));
        self.from = to;
        Some(to)
    }

    /// Where it begins.
    pub fn from(&self) -> u64 {
        self.from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(at: u64) -> Item {
        Item {
            hash: at,
            at,
            stored_at: 0,
        }
    }

    #[test]
    fn entries_are_taken_once_and_only_up_to_the_limit() {
        let mut feed = Feed::new(100);
        feed.extend(&mut vec![item(100), item(100), item(150)], 200);
        feed.extend(&mut vec![item(230)], 300);
        let mut out = Vec::new();
        assert_eq!(feed.take(90, 300, &mut out), None);
        assert_eq!(feed.take(100, 150, &mut out), Some(150));
        assert_eq!(out, [item(100), item(100)]);
        assert_eq!(feed.take(100, 300, &mut out), None);
        out.clear();
        assert_eq!(feed.take(200, 500, &mut out), Some(300));
        assert_eq!(out, [item(230)]);
    }

    #[test]
    fn what_waits_is_dropped_when_it_is_too_much() {
        let mut feed = Feed::new(0);
        let mut many: Vec<Item> = (0..MAX as u64).map(item).collect();
        feed.extend(&mut many, MAX as u64);
        let end = MAX as u64 + 10;
        feed.extend(&mut vec![item(MAX as u64)], end);
        assert_eq!(feed.take(0, end, &mut Vec::new()), None);
        assert_eq!(feed.from(), end);
        feed.extend(&mut vec![item(end)], end + 5);
        let mut out = Vec::new();
        assert_eq!(feed.take(end, end + 5, &mut out), Some(end + 5));
        assert_eq!(out, [item(end)]);
    }
}
