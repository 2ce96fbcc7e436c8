//! How far queues and groups are, and who is connected.

use remoting::Command;
use remoting::body::{
    Connection, ConsumeStats, ConsumerConnection, ProducerConnection, TopicStats,
};
use remoting::code::{request, response};
use remoting::header::admin::{ConsumeStatsHeader, TopicHeader};
use remoting::header::heartbeat::{ConsumerGroupHeader, ProducerGroupHeader};

use super::Admin;
use crate::error::Result;
use crate::queue::Queue;

/// What a queue holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStats {
    /// The queue.
    pub queue: Queue,
    /// The offset of the first message that is there.
    pub start: u64,
    /// The offset that the next message will get.
    pub end: u64,
    /// When the last message was stored, by the broker's clock: milliseconds since the Unix epoch.
    pub last_stored_at: Option<i64>,
}

/// How far a group is in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The queue; also one of the group's retry topic.
    pub queue: Queue,
    /// The offset that the next message will get.
    pub end: u64,
    /// The offset that the group goes on at.
    pub committed: u64,
    /// The offset that members pull next, if they do: what lies between it and `committed` is being
    /// handled.
    pub pulled: u64,
    /// When the last message that is done was stored, by the broker's clock: milliseconds since the Unix
    /// epoch.
    pub last_stored_at: Option<i64>,
}

impl Progress {
    /// Messages that are not done.
    pub fn lag(&self) -> u64 {
        self.end.saturating_sub(self.committed)
    }
}

impl Admin {
    /// What each queue of a topic holds, in the order of queues.
    ///
    /// # Errors
    /// [`Error::NoRoute`] if there is no such topic; else the first broker that refuses or gives no
    /// answer.
    pub async fn topic_stats(&self, topic: &str) -> Result<Vec<QueueStats>> {
        let command = Command::request(request::GET_TOPIC_STATS_INFO);
        let command = TopicHeader { topic }.fill(command);
        let brokers = self.brokers_of(topic).await?;
        let stats: Vec<TopicStats> = self.each(brokers, command, None).await?;
        let queues = stats.into_iter().flat_map(|stats| stats.offset_table.0);
        let mut all: Vec<QueueStats> = queues
            .map(|(queue, stats)| QueueStats {
                queue: Queue::from_wire(queue),
                start: offset(stats.min_offset),
                end: offset(stats.max_offset),
                last_stored_at: time(stats.last_update_timestamp),
            })
            .collect();
        all.sort_by(|a, b| a.queue.cmp(&b.queue));
        Ok(all)
    }

    /// How far a group is in each queue of a topic, or of every topic it has offsets in, in the order of
    /// queues.
    ///
    /// # Errors
    /// [`Error::NoRoute`] if there is no such topic; else the first broker that refuses or gives no
    /// answer.
    pub async fn progress(&self, group: &str, topic: Option<&str>) -> Result<Vec<Progress>> {
        let brokers = match topic {
            Some(topic) => self.brokers_of(topic).await?,
            None => self.masters().await?,
        };
        let header = ConsumeStatsHeader {
            consumer_group: group,
            topic,
            topics: None,
        };
        let command = header.fill(Command::request(request::GET_CONSUME_STATS));
        let stats: Vec<ConsumeStats> = self.each(brokers, command, None).await?;
        let queues = stats.into_iter().flat_map(|stats| stats.offset_table.0);
        let mut all: Vec<Progress> = queues
            .map(|(queue, stats)| Progress {
                queue: Queue::from_wire(queue),
                end: offset(stats.broker_offset),
                committed: offset(stats.consumer_offset),
                pulled: offset(stats.pull_offset),
                last_stored_at: time(stats.last_timestamp),
            })
            .collect();
        all.sort_by(|a, b| a.queue.cmp(&b.queue));
        Ok(all)
    }

    /// The members of a group that consume, each once, and what they subscribe to. Without connections if
    /// nobody is there.
    ///
    /// # Errors
    /// The first broker that refuses or gives no answer.
    pub async fn consumers(&self, group: &str) -> Result<ConsumerConnection> {
        let header = ConsumerGroupHeader {
            consumer_group: group,
        };
        let command = header.fill(Command::request(request::GET_CONSUMER_CONNECTION_LIST));
        let absent = Some(response::CONSUMER_NOT_ONLINE);
        let brokers = self.masters().await?;
        let answers: Vec<ConsumerConnection> = self.each(brokers, command, absent).await?;
        let mut all = ConsumerConnection::default();
        for here in answers {
            let mut connections = std::mem::take(&mut all.connection_set);
            let mut subscriptions = std::mem::take(&mut all.subscription_table);
            add(&mut connections, here.connection_set.clone());
            subscriptions.extend(here.subscription_table.clone());
            all = ConsumerConnection {
                connection_set: connections,
                subscription_table: subscriptions,
                ..here
            };
        }
        Ok(all)
    }

    /// The members of a group that produce, each once.
    ///
    /// # Errors
    /// The first broker that refuses or gives no answer.
    pub async fn producers(&self, group: &str) -> Result<ProducerConnection> {
        let header = ProducerGroupHeader {
            producer_group: group,
        };
        let command = header.fill(Command::request(request::GET_PRODUCER_CONNECTION_LIST));
        // That is how a broker says that nobody is there.
        let absent = Some(response::SYSTEM_ERROR);
        let brokers = self.masters().await?;
        let answers: Vec<ProducerConnection> = self.each(brokers, command, absent).await?;
        let mut all = ProducerConnection::default();
        for here in answers {
            add(&mut all.connection_set, here.connection_set);
        }
        Ok(all)
    }
}

/// Adds connections of clients that are not there yet: a client has one to each broker.
fn add(to: &mut Vec<Connection>, more: Vec<Connection>) {
    for one in more {
        if !to.iter().any(|own| own.client_id == one.client_id) {
            to.push(one);
        }
    }
}

/// Brokers say -1 where there is none.
fn offset(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}

fn time(ms: i64) -> Option<i64> {
    (ms > 0).then_some(ms)
}
