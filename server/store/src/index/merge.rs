//! Many runs of the key index become one, a page of each in memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::io;
use std::sync::Arc;

use super::Item;
use super::run::{Run, Writer};
use crate::disk::Disk;

/// Where one run is being read.
struct Cursor<'r> {
    run: &'r Run,
    next_page: usize,
    items: Vec<Item>,
    at: usize,
}

impl Cursor<'_> {
    fn next(&mut self) -> io::Result<Option<Item>> {
        if self.at == self.items.len() && self.next_page < self.run.pages() {
            self.items.clear();
            self.run.page(self.next_page, &mut self.items)?;
            self.next_page += 1;
            self.at = 0;
        }
        let item = self.items.get(self.at).copied();
        self.at += usize::from(item.is_some());
        Ok(item)
    }
}

/// Merges runs that follow each other.
pub(super) fn merge(disk: &dyn Disk, runs: &[Arc<Run>]) -> io::Result<Run> {
    let from = runs.first().map_or(0, |run| run.from);
    let to = runs.last().map_or(0, |run| run.to);
    let mut cursors: Vec<_> = (runs.iter())
        .map(|run| Cursor {
            run,
            next_page: 0,
            items: Vec::new(),
            at: 0,
        })
        .collect();
    let mut heap = BinaryHeap::new();
    for (number, cursor) in cursors.iter_mut().enumerate() {
        heap.extend(cursor.next()?.map(|item| Reverse((item, number))));
    }
    let mut writer = Writer::new(disk, from, to)?;
    while let Some(mut first) = heap.peek_mut() {
        let Reverse((item, number)) = *first;
        writer.push(&item)?;
        let next = match cursors.get_mut(number) {
            Some(cursor) => cursor.next()?,
            None => None,
        };
        match next {
            Some(next) => *first = Reverse((next, number)),
            None => drop(PeekMut::pop(first)),
        }
    }
    writer.finish(disk)
}
