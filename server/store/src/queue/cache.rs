//! Which written blocks stay in memory: the last ones written or read, up to a number of bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::{Entry, Queue};
use crate::lock;

/// Written blocks in the order in which they came into memory.
#[derive(Debug)]
pub(super) struct Cache {
    limit: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    blocks: VecDeque<(Arc<Queue>, u64, usize)>,
}

impl Cache {
    pub fn new(limit: usize) -> Cache {
        Cache {
            limit,
            held: Mutex::default(),
        }
    }

    /// Notes that the block's entries are in memory, and lets the oldest others go. Never called with
    /// a queue's lock held.
    pub fn note(&self, queue: &Queue, base: u64, count: usize) {
        let bytes = count * size_of::<Entry>();
        let Some(queue) = queue.me.upgrade() else {
            return;
        };
        let mut held = lock(&self.held);
        held.bytes += bytes;
        held.blocks.push_back((queue, base, bytes));
        while held.bytes > self.limit {
            let Some((queue, base, bytes)) = held.blocks.pop_front() else {
                break;
            };
            held.bytes -= bytes;
            // A queue's lock is never held while this one is asked for.
            if let Some(block) = queue.list().block_mut(base)
                && block.place.is_written()
            {
                block.entries = None;
            }
        }
    }
}
