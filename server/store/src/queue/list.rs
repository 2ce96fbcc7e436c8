//! One queue's entries: its blocks, wherever they are, and its tail.

use std::sync::Arc;

use model::LogOffset;

use super::{BLOCK, Entry};

/// Where a block lies on the disk. File 0 does not exist: the block is not written yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub file: u32,
    /// Bytes from the file's beginning.
    pub at: u32,
}

impl Place {
    pub fn is_written(self) -> bool {
        self.file != 0
    }
}

/// A run of entries that will not change any more.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// Queue offset of the first entry.
    pub base: u64,
    /// Log offset of the last entry.
    pub last: LogOffset,
    pub place: Place,
    pub count: u16,
    /// Length of the records of its entries.
    pub bytes: u64,
    /// The entries, if they are in memory; always while the block is not written.
    pub entries: Option<Arc<Vec<Entry>>>,
}

impl Block {
    pub fn end(&self) -> u64 {
        self.base + u64::from(self.count)
    }
}

/// What is found at a position.
pub(super) enum Found {
    /// This many entries were appended.
    Copied(usize),
    /// They are in this block, which is on the disk only.
    Cold(Block),
    /// The position is at or behind the end.
    End,
}

#[derive(Debug, Default)]
pub(super) struct List {
    /// In order; there may be gaps between them, where records were lost.
    pub blocks: Vec<Block>,
    /// Queue offset of the tail's first entry.
    pub base: u64,
    pub tail: Vec<Entry>,
}

impl List {
    pub fn end(&self) -> u64 {
        self.base + self.tail.len() as u64
    }

    /// Drops the tail's entries, not its end; returns how many it had room for.
    pub fn forget_tail(&mut self) -> usize {
        self.base = self.end();
        std::mem::take(&mut self.tail).capacity()
    }

    /// Turns the tail into a block that is not written yet. The tail must not be empty.
    pub fn seal(&mut self, room: usize) -> u64 {
        let entries = std::mem::replace(&mut self.tail, Vec::with_capacity(room));
        let base = self.base;
        self.base += entries.len() as u64;
        self.blocks.push(Block {
            base,
            last: entries.last().map_or(LogOffset(0), |e| e.log_offset),
            place: Place::default(),
            count: entries.len() as u16,
            bytes: length(&entries),
            entries: Some(Arc::new(entries)),
        });
        base
    }

    /// The block that begins at `base`.
    pub fn block_mut(&mut self, base: u64) -> Option<&mut Block> {
        let at = self.blocks.binary_search_by_key(&base, |b| b.base).ok()?;
        self.blocks.get_mut(at)
    }

    /// Appends up to `max` entries from `from` on to `out`; may be fewer than there are.
    pub fn copy(&self, from: u64, max: usize, out: &mut Vec<Entry>) -> Found {
        if from >= self.base {
            let at = ((from - self.base) as usize).min(self.tail.len());
            let count = max.min(self.tail.len() - at);
            out.extend_from_slice(&self.tail[at..at + count]);
            return if count == 0 {
                Found::End
            } else {
                Found::Copied(count)
            };
        }
        let next = self.blocks.partition_point(|block| block.base <= from);
        if let Some(block) = next.checked_sub(1).and_then(|at| self.blocks.get(at))
            && from < block.end()
        {
            let Some(entries) = &block.entries else {
                return Found::Cold(block.clone());
            };
            let rest = entries
                .get((from - block.base) as usize..)
                .unwrap_or_default();
            let count = max.min(rest.len());
            out.extend_from_slice(&rest[..count]);
            return Found::Copied(count);
        }
        let until = self.blocks.get(next).map_or(self.base, |block| block.base);
        let count = max.min((until - from) as usize);
        out.resize(out.len() + count, Entry::HOLE);
        Found::Copied(count)
    }

    /// The length of all records from `start` on; with it the block in whose middle that lies, of which nothing
    /// is counted.
    pub fn bytes(&self, start: u64) -> (u64, Option<Block>) {
        let at = start.saturating_sub(self.base).min(self.tail.len() as u64) as usize;
        let tail = length(&self.tail[at..]);
        let next = self.blocks.partition_point(|block| block.base < start);
        let whole = self.blocks.get(next..).unwrap_or_default();
        let blocks: u64 = whole.iter().map(|block| block.bytes).sum();
        let before = next.checked_sub(1).and_then(|at| self.blocks.get(at));
        let cut = before.filter(|block| start < block.end());
        (blocks + tail, cut.cloned())
    }

    /// How much room a new tail begins with: a queue that filled a block will fill another.
    pub fn room(&self) -> usize {
        if self.tail.len() == BLOCK { BLOCK } else { 0 }
    }
}

fn length(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| u64::from(entry.size)).sum()
}
