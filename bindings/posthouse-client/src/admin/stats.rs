//! How far queues and groups are, and who is connected.

use std::time::Duration;

use remoting::body::{
    BrokerStatsData, Connection, ConsumeStats, ConsumerConnection, ProducerConnection, TopicStats,
};
use remoting::code::{request, response};
use remoting::header::admin::{BrokerStatsHeader, ConsumeStatsHeader, TopicStatsHeader};
use remoting::header::heartbeat::{ConsumerGroupHeader, ProducerGroupHeader};
use remoting::{Answer, Command};

use super::Admin;
use crate::channel::Channel;
use crate::client::Inner;
use crate::error::{Error, Result};
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

/// What a topic holds, and what goes through it. `None`: a broker of it does not say so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicFigures {
    /// Its queues, in their order.
    pub queues: Vec<QueueStats>,
    /// Messages stored a second, over the last minute.
    pub put_rate: Option<f64>,
    /// The length of its messages in the log, with all that is stored beside their bodies. Posthouse's
    /// brokers say so, as the following.
    pub bytes: Option<u64>,
    /// Delayed messages that go to it, and are not due.
    pub scheduled: Option<u64>,
    /// Half messages for it that nobody decided about.
    pub half: Option<u64>,
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
    /// How long the oldest message lies there that the group may get now, by the broker's clock. Posthouse's
    /// brokers say so, if there is one.
    pub ready_for: Option<Duration>,
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
        Ok(self.topic_figures(topic).await?.queues)
    }

    /// What a topic holds, and what goes through it, at all its brokers together.
    ///
    /// # Errors
    /// [`Error::NoRoute`] if there is no such topic; else the first broker that refuses or gives no
    /// answer.
    pub async fn topic_figures(&self, topic: &str) -> Result<TopicFigures> {
        let header = TopicStatsHeader {
            topic,
            held: Some(true),
        };
        let command = header.fill(Command::request(request::GET_TOPIC_STATS_INFO));
        let mut whole = TopicFigures {
            put_rate: Some(0.0),
            bytes: Some(0),
            scheduled: Some(0),
            half: Some(0),
            ..TopicFigures::default()
        };
        for address in self.brokers_of(topic).await? {
            let channel = self.client.channels.to(&address).await?;
            let limit = self.client.config.timeout;
            let answer = channel.call(command.clone(), limit).await?;
            let stats: TopicStats = Inner::body(&channel, &answer)?;
            let rate = match stats.topic_put_tps {
                Some(rate) => Some(rate),
                None => self.put_rate(&channel, topic).await?,
            };
            whole.put_rate = add_up(whole.put_rate, rate);
            for (own, name) in [
                (&mut whole.bytes, "bytes"),
                (&mut whole.scheduled, "scheduled"),
                (&mut whole.half, "half"),
            ] {
                *own = add_up(*own, field(&channel, &answer, name)?);
            }
            let queues = stats.offset_table.0.into_iter();
            whole.queues.extend(queues.map(|(queue, stats)| QueueStats {
                queue: Queue::from_wire(queue),
                start: offset(stats.min_offset),
                end: offset(stats.max_offset),
                last_stored_at: time(stats.last_update_timestamp),
            }));
        }
        whole.queues.sort_by(|a, b| a.queue.cmp(&b.queue));
        Ok(whole)
    }

    /// What one broker counted in the last minute, asked for by itself: before 5.0 its figures of a topic do
    /// not have it. It refuses what it never counted.
    async fn put_rate(&self, channel: &Channel, topic: &str) -> Result<Option<f64>> {
        let header = BrokerStatsHeader {
            name: "TOPIC_PUT_NUMS",
            key: topic,
        };
        let command = header.fill(Command::request(request::VIEW_BROKER_STATS_DATA));
        match channel.call(command, self.client.config.timeout).await {
            Ok(answer) => {
                let stats: BrokerStatsData = Inner::body(channel, &answer)?;
                Ok(Some(stats.stats_minute.tps))
            }
            Err(Error::Refused(refusal)) if refusal.code == response::SYSTEM_ERROR => Ok(Some(0.0)),
            Err(Error::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
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
            ready: Some(true),
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
                ready_for: stats.ready_for.map(milliseconds),
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

fn milliseconds(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// The sum, if both are known.
fn add_up<T: std::ops::Add<Output = T>>(a: Option<T>, b: Option<T>) -> Option<T> {
    Some(a? + b?)
}

/// A number among an answer's named fields.
fn field(channel: &Channel, answer: &Answer, name: &str) -> Result<Option<u64>> {
    let number = answer.read(|frame| frame.ext.get(name).and_then(|text| text.parse().ok()));
    number.map_err(|error| Error::malformed(channel.address(), error.to_string()))
}

/// Brokers say -1 where there is none.
fn offset(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}

fn time(ms: i64) -> Option<i64> {
    (ms > 0).then_some(ms)
}
