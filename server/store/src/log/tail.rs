//! The log's end, kept in memory for those who read what was just written.
//!
//! The staging buffers themselves are kept when they are large, small ones are copied together; so a
//! lively reader costs neither a system call nor a page fault.

use std::collections::VecDeque;

/// Buffers smaller than this are copied together.
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
        if bytes.len() >= CHUNK / 2 {
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

    /// The bytes from `at` on, as far as one chunk has them; `None` if they are not held.
    pub fn from(&self, at: u64) -> Option<&[u8]> {
        let n = self.chunks.partition_point(|chunk| chunk.base <= at);
        let chunk = self.chunks.get(n.checked_sub(1)?)?;
        chunk.bytes.get((at - chunk.base) as usize..)
    }

    /// Exactly the bytes `at..at + len`.
    pub fn run(&self, at: u64, len: usize) -> Option<&[u8]> {
        self.from(at)?.get(..len)
    }
}
