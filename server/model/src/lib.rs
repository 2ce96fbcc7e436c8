//! RocketMQ's nouns and the bytes of a message.
//!
//! Everything here is plain data and pure functions: no I/O, no clock, no serde, no async. The wire
//! (`remoting`) and the disk (`store`) both speak in these words, so that a record read from the log
//! is the record a client decodes.

pub mod batch;
pub mod flag;
pub mod group;
pub mod id;
pub mod message;
pub mod name;
pub mod queue;
pub mod receipt;
pub mod record;
pub mod subscription;
pub mod tag;
pub mod topic;

pub use name::{GroupName, NameError, TopicName};
pub use queue::{Level, LogOffset, Mark, QueueId, QueueOffset};
