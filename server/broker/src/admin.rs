//! What administration tools ask: statistics of topics and groups, the broker's state, its settings.

use model::GroupName;
use model::topic::DataVersion;

use crate::ordering::MessageQueue;
use crate::{Answer, Broker, Caller, Error};

/// Statistics of a topic (Apache `TopicStatsTable`).
#[derive(Clone, Debug)]
pub struct TopicStats {
    /// Every queue, empty ones included.
    pub queues: Vec<QueueStats>,
    /// Messages a second over the last minute.
    pub put_tps: f64,
}

/// One queue in [`TopicStats`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStats {
    /// The queue.
    pub queue: MessageQueue,
    /// Its first kept position.
    pub min: i64,
    /// The position behind its last message.
    pub max: i64,
    /// When its last message was stored, ms since the Unix epoch; 0 if it is empty.
    pub updated_at: i64,
}

/// How far a group is (Apache `ConsumeStats`).
#[derive(Clone, Debug)]
pub struct ConsumeStats {
    /// Every queue of the topics asked for.
    pub queues: Vec<QueueProgress>,
    /// Messages a second over the last minute.
    pub tps: f64,
}

/// One queue in [`ConsumeStats`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueProgress {
    /// The queue.
    pub queue: MessageQueue,
    /// The position behind its last message.
    pub broker_offset: i64,
    /// The committed offset.
    pub consumer_offset: i64,
    /// Where the next pull would start.
    pub pull_offset: i64,
    /// When the last consumed message was stored, ms since the Unix epoch; 0 if unknown.
    pub consumed_at: i64,
}

#[allow(clippy::todo)]
impl Broker {
    /// Statistics of every queue of a topic.
    ///
    /// # Errors
    /// [`Error::TopicMissing`].
    pub fn topic_stats(&self, caller: &Caller, topic: &str) -> Result<Answer<TopicStats>, Error> {
        let _ = (caller, topic);
        todo!()
    }

    /// How far a group is: in these topics, or without any in all it has offsets for.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn consume_stats(
        &self,
        caller: &Caller,
        group: &str,
        topics: &[&str],
    ) -> Result<Answer<ConsumeStats>, Error> {
        let _ = (caller, group, topics);
        todo!()
    }

    /// The groups that consume a topic: those online, and those with offsets.
    pub fn consumed_by(&self, topic: &str) -> Vec<GroupName> {
        let _ = topic;
        todo!()
    }

    /// The broker's state by Apache's names (`GET_BROKER_RUNTIME_INFO`).
    pub fn runtime(&self) -> Vec<(String, String)> {
        todo!()
    }

    /// The effective configuration by RocketMQ's names, and its version.
    pub fn shown_config(&self) -> (Vec<(String, String)>, DataVersion) {
        todo!()
    }
}
