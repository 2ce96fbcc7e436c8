//! Spare buffers of one I/O thread. A connection has a buffer only while something is in it: an idle
//! connection costs no buffers, a busy one no allocations.

use std::cell::{Cell, RefCell};

/// What is kept at most.
const KEPT: usize = 8 << 20;
/// A buffer that grew beyond this goes back to the allocator.
const LARGE: usize = 256 << 10;

/// A pile of empty buffers that have grown already.
#[derive(Default)]
pub(crate) struct Buffers {
    spare: RefCell<Vec<Vec<u8>>>,
    bytes: Cell<usize>,
}

impl Buffers {
    /// An empty buffer.
    pub(crate) fn take(&self) -> Vec<u8> {
        let Some(buffer) = self.spare.borrow_mut().pop() else {
            return Vec::with_capacity(1024);
        };
        self.bytes.set(self.bytes.get() - buffer.capacity());
        buffer
    }

    /// Takes a buffer back.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity == 0 || capacity > LARGE || self.bytes.get() + capacity > KEPT {
            return;
        }
        buffer.clear();
        self.bytes.set(self.bytes.get() + capacity);
        self.spare.borrow_mut().push(buffer);
    }
}
