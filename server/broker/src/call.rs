//! What every request comes with, and what every answer may be: the whole contract between a door
//! and the broker, without a protocol in sight.

use std::net::SocketAddr;
use std::time::Duration;

use model::Mark;

/// A connection of a door. Numbers are never used twice in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The connection the request came on.
    pub connection: ConnectionId,
    /// Names the request on its connection while it is held: see [`crate::Outlet::runnable`].
    pub ticket: u64,
    /// The client's address, after a proxy header.
    pub remote: SocketAddr,
    /// RocketMQ's language number of the client.
    pub language: u8,
    /// RocketMQ's version number of the client.
    pub version: i32,
    /// Whether the request may be held. False when it runs again after it was held or read cold.
    pub may_wait: bool,
    /// Nobody waits for the answer.
    pub oneway: bool,
}

/// Work that may block, for the blocking pool.
pub type Job = Box<dyn FnOnce() + Send>;

/// How a request was answered.
pub enum Answer<T> {
    /// The answer may leave now.
    Ready(T),
    /// The answer may leave once the mark is reached; something was staged.
    After(Mark, T),
    /// Nothing yet. Run the request again with [`Caller::may_wait`] off when the outlet says so, or
    /// after this time.
    Hold(Duration),
    /// The answer needs bytes that are not in memory. Run the job where blocking is allowed, then the
    /// request again with [`Caller::may_wait`] off.
    Cold(Job),
}

impl<T> Answer<T> {
    /// Changes what is answered, not when.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Answer::Ready(value) => Answer::Ready(change(value)),
            Answer::After(mark, value) => Answer::After(mark, change(value)),
            Answer::Hold(limit) => Answer::Hold(limit),
            Answer::Cold(job) => Answer::Cold(job),
        }
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Answer::Ready(value) => f.debug_tuple("Ready").field(value).finish(),
            Answer::After(mark, value) => f.debug_tuple("After").field(mark).field(value).finish(),
            Answer::Hold(limit) => f.debug_tuple("Hold").field(limit).finish(),
            Answer::Cold(_) => f.write_str("Cold"),
        }
    }
}
