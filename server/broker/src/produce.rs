//! Sends: what is checked, in which order, and what the broker adds before a message is stored.

use std::net::SocketAddr;

use model::id::push_offset_id;
use model::{LogOffset, QueueId, QueueOffset};

use crate::{Answer, Broker, Caller, Error};

/// A send (Apache `SendMessageRequestHeader` and its body).
#[derive(Clone, Copy, Debug)]
pub struct Produce<'a> {
    /// The topic, unchecked.
    pub topic: &'a str,
    /// The topic a missing one is created after (`defaultTopic`).
    pub template: &'a str,
    /// The queues the client wants a created topic to have (`defaultTopicQueueNums`).
    pub template_queues: i32,
    /// The queue; below 0 the broker picks one.
    pub queue: i32,
    /// System flag bits.
    pub sys_flag: i32,
    /// The user's flag.
    pub flag: i32,
    /// The client's clock, ms since the Unix epoch.
    pub born_at: i64,
    /// The property string as it came.
    pub properties: &'a str,
    /// How often the message was retried.
    pub reconsume_times: i32,
    /// Whether a created topic gets the unit flag.
    pub unit_mode: bool,
    /// Whether the body holds several messages.
    pub batch: bool,
    /// The body, or the batch.
    pub body: &'a [u8],
}

/// Where a send went. The ids are written by [`Produced::push_ids`].
#[derive(Debug)]
pub struct Produced<'a> {
    /// Whether replicas were waited for in vain.
    pub status: SendStatus,
    /// The queue.
    pub queue: QueueId,
    /// The position in the queue; of a batch, its first message's.
    pub queue_offset: QueueOffset,
    /// The position in the log; of a batch, its first message's.
    pub log_offset: LogOffset,
    /// Of a batch, the log positions of its other messages.
    pub more: Vec<LogOffset>,
    /// The message's `UNIQ_KEY`; for a batch, the outer one, if it came with one.
    pub unique_key: Option<UniqueKey<'a>>,
    /// The address in the ids.
    pub store_host: SocketAddr,
}

/// What became of a send that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendStatus {
    /// As safe as configured.
    Stored,
    /// Stored here, but there is no slave to wait for (Apache `SLAVE_NOT_AVAILABLE`).
    SlaveNotAvailable,
}

/// A message's `UNIQ_KEY`.
#[derive(Debug, PartialEq, Eq)]
pub enum UniqueKey<'a> {
    /// The client sent it.
    Sent(&'a str),
    /// The client sent none; the broker made one.
    Made(Box<str>),
}

impl UniqueKey<'_> {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        match self {
            UniqueKey::Sent(key) => key,
            UniqueKey::Made(key) => key,
        }
    }
}

impl Produced<'_> {
    /// Appends the offset message id; of a batch, all of them, comma-joined.
    pub fn push_ids(&self, out: &mut String) {
        push_offset_id(out, self.store_host, self.log_offset);
        for &offset in &self.more {
            out.push(',');
            push_offset_id(out, self.store_host, offset);
        }
    }
}

impl Broker {
    /// Stores a message, or a batch of them.
    ///
    /// # Errors
    /// In the order of the checks of Apache's `SendMessageProcessor`.
    #[allow(clippy::todo)]
    pub fn produce<'a>(
        &self,
        caller: &Caller,
        send: &Produce<'a>,
    ) -> Result<Answer<Produced<'a>>, Error> {
        let _ = (caller, send);
        todo!()
    }
}
