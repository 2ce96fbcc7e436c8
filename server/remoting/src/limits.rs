//! What a server allows its peers, in one place. Everything that queues is bounded by bytes, not by
//! counts: one 4 MiB message and four thousand small ones cost the same.

use std::time::Duration;

/// Limits of one server. [`Limits::default`] is what a broker on a small machine wants.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of all listeners together; the next one is closed at once.
    pub connections: usize,
    /// While this much of a connection's answers is not written yet, its requests are not read. An
    /// answer is always taken whole, so a buffer may hold this and one answer more.
    pub out: usize,
    /// While answers that are written late, jobs and answers that wait for a mark hold this many
    /// bytes of one connection, it is not read. Held requests do not count.
    pub in_flight: usize,
    /// Bytes of held requests (long polls) of one connection; the next one is refused as busy.
    pub held: usize,
    /// Bytes of answers that wait for a mark, of one I/O thread; above, nothing is read.
    pub parked: usize,
    /// Bytes of answers that sockets did not take, of one I/O thread; above, who has some is not read.
    pub unwritten: usize,
    /// Bytes of frames that have not arrived whole, of all connections; above, who needs more waits.
    pub partial: usize,
    /// Jobs waiting for a thread of the blocking pool; the next one is refused as busy.
    pub cold_jobs: usize,
    /// Threads of the blocking pool. They are started when they are needed.
    pub cold_threads: usize,
    /// A connection on which nothing moves for this long is closed.
    pub idle: Duration,
    /// A connection that takes none of its answer's bytes for this long is closed.
    pub write_stall: Duration,
    /// A frame that has begun must go on arriving; without a byte for this long, its connection is
    /// closed.
    pub frame_stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 15_000,
            out: 1 << 20,
            in_flight: 8 << 20,
            held: 8 << 20,
            parked: 64 << 20,
            unwritten: 256 << 20,
            partial: 256 << 20,
            cold_jobs: 1024,
            cold_threads: 4,
            idle: Duration::from_secs(120),
            write_stall: Duration::from_secs(10),
            frame_stall: Duration::from_secs(60),
        }
    }
}

/// A tick is committed after this many frames of one connection: its client takes the first answers
/// while the rest is served. With 64 outstanding, half of them gave 1.25 times the rate of all of them.
pub(crate) const TICK_FRAMES: usize = 32;
/// It is also committed after this many bytes of requests that staged something.
pub(crate) const TICK_STAGED: usize = 256 << 10;
/// What an I/O thread reads at once, into a buffer that all its connections share.
pub(crate) const READ: usize = 256 << 10;
/// Bytes that may wait to be pushed to one connection; beyond, a push is refused.
pub(crate) const PUSHED: usize = 8 << 20;
/// Bytes that a client's callers may have staged on one connection; beyond, they wait.
pub(crate) const CLIENT_OUT: usize = 8 << 20;
/// What a client reads at least at once.
pub(crate) const CLIENT_READ: usize = 64 << 10;
