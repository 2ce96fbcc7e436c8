//! Positions: in a queue, in the commit log, and the watermarks that say how safe a position is.

use std::fmt;

/// A queue's number inside its topic, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u32);

/// A position in one queue, counted in messages from 0. Not a byte position: see [`LogOffset`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueOffset(pub u64);

/// A byte position in the commit log. Not a queue position: see [`QueueOffset`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogOffset(pub u64);

/// How safe a prefix of the commit log is. Each level implies the ones before it, except that
/// `Confirmed` may run ahead of `Flushed` when flushing is asynchronous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The write returned: a killed process loses nothing before this mark.
    Appended,
    /// `fdatasync` returned: a power cut loses nothing before this mark.
    Flushed,
    /// What the configured flush and replication mode asks for; consumers see nothing beyond it.
    Confirmed,
}

/// "Everything before `at` has reached `level`." What an answer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which watermark is waited for.
    pub level: Level,
    /// The end (exclusive) of what must be covered.
    pub at: LogOffset,
}

impl Mark {
    /// A mark every log has already reached.
    pub const REACHED: Mark = Mark {
        level: Level::Appended,
        at: LogOffset(0),
    };
}

macro_rules! display_number {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
display_number!(QueueId, QueueOffset, LogOffset);
