//! Pulls: what is checked, how much is returned, and what a consumer is told when there is nothing.

use std::time::Duration;

use model::QueueOffset;

use crate::{Answer, Broker, Caller, Error};

/// A pull (Apache `PullMessageRequestHeader`).
#[derive(Clone, Copy, Debug)]
pub struct Pull<'a> {
    /// The consumer group, unchecked.
    pub group: &'a str,
    /// The topic, unchecked.
    pub topic: &'a str,
    /// The queue.
    pub queue: i32,
    /// The first position wanted.
    pub offset: i64,
    /// How many messages at most; one is always returned.
    pub max: i32,
    /// Commit this offset on the way (the system flag's bit 0).
    pub commit: Option<i64>,
    /// Hold the pull for so long if there is nothing (the system flag's bit 1).
    pub suspend: Option<Duration>,
    /// The expression to filter by (the system flag's bit 2); without it, the heartbeat's.
    pub expression: Option<&'a str>,
    /// The kind of the expression, as it came.
    pub expression_kind: Option<&'a str>,
    /// The version of the subscription the client pulls for.
    pub version: i64,
    /// A lite pull.
    pub lite: bool,
}

/// What a pull found. The records themselves were appended to the output buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// What the client is to do.
    pub verdict: Verdict,
    /// Why (Apache's `GetMessageStatus`; it is the answer's remark).
    pub status: &'static str,
    /// How many messages were appended.
    pub count: usize,
    /// Where to pull next.
    pub next: QueueOffset,
    /// The queue's first kept position.
    pub min: QueueOffset,
    /// The position behind the queue's last message.
    pub max: QueueOffset,
    /// The broker id to pull from next.
    pub suggested_broker: u64,
    /// The topic's system flag.
    pub topic_sys_flag: i32,
    /// The group's system flag.
    pub group_sys_flag: i32,
}

/// What a consumer is to do after a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Take the messages.
    Found,
    /// There is nothing new.
    NotFound,
    /// All that was looked at was filtered out: go on from `next`.
    RetryImmediately,
    /// The position does not exist: go to `next`.
    OffsetMoved,
}

impl Broker {
    /// Appends the next messages of a queue to `out`.
    ///
    /// # Errors
    /// In the order of the checks of Apache's `PullMessageProcessor`.
    #[allow(clippy::todo)]
    pub fn pull(
        &self,
        caller: &Caller,
        pull: &Pull<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Answer<Pulled>, Error> {
        let _ = (caller, pull, out);
        todo!()
    }
}
