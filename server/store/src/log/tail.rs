//! The log's end, kept in memory for those who read what was just written.
//!
//! The staging buffers themselves are kept when they are large, small ones are copied together; so a
//! lively reader costs neither a system call nor a page fault.

use std::collections::VecDeque;

/// Buffers smaller than this are copied together,
const KEPT: usize = 16 << 10;
/// into chunks of this.
const CHUNK: usize = 256 << 10;

struct Chunk {
    base: u64,
    bytes: Vec<u8>,
}

/// Chunks in log order. They may have gaps where a segment's end was filled.
pub(crate) struct Tail {
    chunks: VecDeque<Chunk>,
    held: usize,
    max: usize,
}

impl Tail {
    /// An empty tail of at most `max` bytes.
    pub fn new(max: usize) -> Tail {
        Tail {
            chunks: VecDeque::new(),
            held: 0,
            max,
        }
    }

    /// Log offset of the first byte held; `u64::MAX` if there is none.
    pub fn start(&self) -> u64 {
        self.chunks.front().map_or(u64::MAX, |chunk| chunk.base)
    }

    /// Takes what was written at `base`; gives back a buffer for the next staging, empty.
    pub fn push(&mut self, base: u64, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.max == 0 {
            bytes.clear();
            return bytes;
        }
        if bytes.len() >= KEPT {
            self.held += bytes.capacity();
            self.chunks.push_back(Chunk { base, bytes });
            return self.evict();
        }
        match self.chunks.back_mut() {
            Some(last)
                if last.base + last.bytes.len() as u64 == base
                    && last.bytes.len() + bytes.len() <= last.bytes.capacity() =>
            {
                last.bytes.extend_from_slice(&bytes);
            }
            _ => {
                let mut chunk = self.evict();
                chunk.reserve(CHUNK);
                chunk.extend_from_slice(&bytes);
                self.held += chunk.capacity();
                self.chunks.push_back(Chunk { base, bytes: chunk });
            }
        }
        bytes.clear();
        bytes
    }

    /// Drops the oldest chunks over the limit; returns the last one's buffer, or a new one.
    fn evict(&mut self) -> Vec<u8> {
        let mut spare = Vec::new();
        while self.held > self.max {
            let Some(mut oldest) = self.chunks.pop_front() else {
                break;
            };
            self.held -= oldest.bytes.capacity();
            oldest.bytes.clear();
            spare = oldest.bytes;
        }
        spare
    }

    /// Exactly the bytes `at..at + len`. `near` is the chunk that was found last, and is moved: runs are
    /// mostly asked for in order.
    pub fn run(&self, at: u64, len: usize, near: &mut usize) -> Option<&[u8]> {
        let inside = |n: usize| {
            let chunk = self.chunks.get(n)?;
            let from = at.checked_sub(chunk.base)? as usize;
            chunk.bytes.get(from..from.checked_add(len)?)
        };
        for n in [*near, *near + 1] {
            if let Some(bytes) = inside(n) {
                *near = n;
                return Some(bytes);
            }
        }
        *near = (self.chunks)
            .partition_point(|chunk| chunk.base <= at)
            .checked_sub(1)?;
        inside(*near)
    }
}
