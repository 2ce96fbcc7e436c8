//! When held requests have waited long enough. Time is monotonic: a clock that is set does not make
//! every long poll return.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use crate::server::{Again, ConnectionId};

/// A request that runs again: its bytes, and what it waits for.
pub(crate) struct Held {
    /// The whole frame.
    pub(crate) bytes: Vec<u8>,
    /// `None` while a cold job works for it.
    pub(crate) deadline: Option<Instant>,
    /// How many cold jobs it has had.
    pub(crate) jobs: u32,
}

/// Why a kept request is taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// To run again.
    Run(Again),
    /// Its job panicked: it is answered with an error.
    Failed,
}

/// The deadlines of one I/O thread. Who is woken early leaves its entry behind; when most entries
/// are such, they are swept.
#[derive(Default)]
pub(crate) struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, ConnectionId, u64)>>,
    /// How many requests are held in truth.
    pub(crate) live: usize,
}

impl Deadlines {
    /// Adds one. Whether it is the earliest now.
    pub(crate) fn push(
        &mut self,
        deadline: Instant,
        connection: ConnectionId,
        ticket: u64,
    ) -> bool {
        let earliest = self.next().is_none_or(|next| deadline < next);
        self.heap.push(Reverse((deadline, connection, ticket)));
        self.live += 1;
        earliest
    }

    /// Whether so many entries are dead that [`Deadlines::retain`] is due.
    pub(crate) fn is_stale(&self) -> bool {
        self.heap.len() > 2 * self.live + 1024
    }

    /// Drops the entries that are dead.
    pub(crate) fn retain(&mut self, is_live: impl Fn(ConnectionId, u64) -> bool) {
        self.heap
            .retain(|Reverse((_, connection, ticket))| is_live(*connection, *ticket));
    }

    /// The earliest.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((deadline, _, _))| *deadline)
    }

    /// Takes one whose time has come.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(ConnectionId, u64)> {
        let Reverse((deadline, connection, ticket)) = *self.heap.peek()?;
        if deadline > now {
            return None;
        }
        self.heap.pop();
        Some((connection, ticket))
    }
}
