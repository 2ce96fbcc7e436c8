//! What a caller hands in to be staged, and what it gets back.

use std::net::SocketAddr;
use std::sync::Arc;

use model::{LogOffset, QueueOffset};

use crate::queue::Queue;

/// A message about to be staged, its bytes borrowed from wherever they arrived.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Where it goes.
    pub queue: &'a Arc<Queue>,
    /// The user's flag, opaque to us.
    pub flag: i32,
    /// System flag; the two host bits are set by the encoder.
    pub sys_flag: i32,
    /// The client's clock, milliseconds since the Unix epoch.
    pub born_at: i64,
    /// Who sent it.
    pub born_host: SocketAddr,
    /// How often it was retried.
    pub reconsume_times: i32,
    /// Log offset of the record it came from, else 0.
    pub prepared_offset: u64,
    /// The body, compressed or not.
    pub body: &'a [u8],
    /// The property string, without `__CRC32#`; at most `PROPERTIES_MAX` bytes.
    pub properties: &'a str,
    /// The hash of its tag, 0 if it has none.
    pub tags_code: i64,
}

/// Where a record will lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Its position in the queue.
    pub queue_offset: QueueOffset,
    /// Its position in the log.
    pub log_offset: LogOffset,
    /// The position behind it: what a mark must reach.
    pub end: LogOffset,
    /// Our clock, milliseconds since the Unix epoch; never goes back.
    pub stored_at: i64,
}
