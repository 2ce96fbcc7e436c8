//! What can go wrong, named by what happened. No protocol numbers: `endpoint` maps these.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use model::{LogOffset, QueueId, QueueOffset, TopicName};

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the folder.
    #[error("{} is in use by {holder}", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Who holds it, as `process 4711`, or `another process`.
        holder: String,
    },
    /// The disk refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the file's name.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file, or a setting, says something that cannot be.
    #[error("{0}")]
    Broken(String),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }
}

/// Why nothing was staged. Nothing is half done: no offset was given out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// The disk has no room; heals by itself (14).
    #[error("the disk is full")]
    Full,
    /// A write or a flush failed: the store takes nothing more until it is opened again (14).
    #[error("the store is read-only: {0}")]
    ReadOnly(Arc<str>),
    /// The record, or the batch, can never fit.
    #[error("{0} bytes are more than a record may have")]
    TooLarge(usize),
    /// More is staged and unwritten than the limit allows (2).
    #[error("the staging buffer is full")]
    Busy,
    /// The topic is the store's own: its records are changes of the tables.
    #[error("the topic is reserved")]
    Reserved,
    /// The queue's topic was dropped: ask the store for the queue again.
    #[error("the topic was dropped")]
    Dropped,
}

/// The write of what was staged failed; the store is read-only from now on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store is read-only: {0}")]
pub struct WriteError(pub Arc<str>);

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The position was deleted, or never written, or is not the start of a record.
    #[error("there is no record at {0}")]
    Missing(LogOffset),
    /// The record's checksum differs.
    #[error("the record at {0} is damaged")]
    Damaged(LogOffset),
    /// A block of the queue's index differs from its checksum.
    #[error("the index of queue {queue} of {topic} is damaged at {at}")]
    Index {
        /// The topic.
        topic: TopicName,
        /// The queue.
        queue: QueueId,
        /// The first position that cannot be read.
        at: QueueOffset,
    },
    /// The disk refused.
    #[error("reading the log: {0}")]
    Io(#[from] io::Error),
}
