//! What a RocketMQ broker *means*: no protocol, no socket, no thread of its own.
//!
//! [`Broker`] is the whole door. Each method takes a [`Caller`] where it matters who asks, is a plain
//! function, and returns a [`Result`] of an [`Answer`]: ready, ready once a mark of the log is
//! reached, held, or waiting for cold bytes. Loops belong to whoever owns the broker: it calls
//! [`Broker::commit`] at the end of a batch, [`Broker::flushed`] after a flush, and
//! [`Broker::tick`] now and then.

pub mod admin;
mod call;
pub mod client;
mod error;
pub mod group;
pub mod limits;
mod notice;
pub mod offset;
pub mod options;
pub mod ordering;
pub mod produce;
pub mod pull;
pub mod query;
pub mod topic;

use std::time::Duration;

use model::{Level, LogOffset};

pub use admin::{ConsumeStats, QueueProgress, QueueStats, TopicStats};
pub use call::{Answer, Caller, ConnectionId, Job};
pub use client::{
    Beat, Connection, ConsumeFrom, ConsumeType, ConsumerConnections, ConsumerData, Heartbeat,
    MessageModel,
};
pub use error::{AskedFor, Error};
pub use notice::{Notice, Outlet, Registrar};
pub use offset::{Boundary, GroupOffsets};
pub use options::{Options, Role};
pub use ordering::MessageQueue;
pub use produce::{Produce, Produced, SendStatus, UniqueKey};
pub use pull::{Pull, Pulled, Verdict};
pub use query::{Queried, Query};
pub use topic::{Registration, TopicChange};

/// A broker. Shared by all doors behind an `Arc`.
pub struct Broker {
    options: Options,
}

#[allow(clippy::todo)]
impl Broker {
    /// The settings it was opened with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Ends a batch: writes out what was staged, shows consumers what may be seen, and wakes those
    /// who waited for it.
    ///
    /// # Errors
    /// [`Error::Store`]: nothing of the batch may be answered as stored.
    pub fn commit(&self) -> Result<(), Error> {
        todo!()
    }

    /// To be called after a step of the flush thread: shows consumers what has become safe.
    pub fn flushed(&self) {
        todo!()
    }

    /// How far a watermark of the log is.
    pub fn reached(&self, level: Level) -> LogOffset {
        let _ = level;
        todo!()
    }

    /// Does what is due by time: silent clients, queue locks, statistics. Returns when to call again.
    pub fn tick(&self) -> Duration {
        todo!()
    }
}
