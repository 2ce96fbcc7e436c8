//! What administration tools ask: statistics of topics and groups, the broker's state, its settings.

mod runtime;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use model::topic::DataVersion;
use model::{GroupName, QueueOffset};
use store::{Queue, Store};

use crate::ordering::MessageQueue;
use crate::topic::{Topic, topic_missing};
use crate::{Answer, AskedFor, Broker, Caller, Error};

const MINUTE: Duration = Duration::from_secs(60);

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

impl Broker {
    /// Statistics of every queue of a topic.
    ///
    /// # Errors
    /// [`Error::TopicMissing`].
    pub fn topic_stats(&self, caller: &Caller, topic: &str) -> Result<Answer<TopicStats>, Error> {
        let found = self.topics.find(topic);
        let found = found.ok_or_else(|| topic_missing(topic, AskedFor::Stats))?;
        let put_tps = found.put.rate(self.clock.mono(), MINUTE);
        let queues: Vec<_> = (0..found.queue_count())
            .map(|id| {
                (
                    self.message_queue(topic, id),
                    self.store.find_queue(topic, id),
                )
            })
            .collect();
        let store = Arc::clone(&self.store);
        self.cold.answer(caller, move || {
            let queues = queues.into_iter().map(|(name, queue)| {
                let (min, max) = queue.as_ref().map_or((0, 0), |q| (q.start().0, q.end().0));
                let last = queue.filter(|_| max > min);
                QueueStats {
                    queue: name,
                    min: min as i64,
                    max: max as i64,
                    updated_at: last.map_or(0, |queue| stored_at(&store, &queue, max - 1)),
                }
            });
            Ok(TopicStats {
                queues: queues.collect(),
                put_tps,
            })
        })
    }

    /// How far a group is: in these topics, or without any in all it has offsets for. As with Apache,
    /// a topic the live group does not subscribe to is left out.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn consume_stats(
        &self,
        caller: &Caller,
        group: &str,
        topics: &[&str],
    ) -> Result<Answer<ConsumeStats>, Error> {
        let topics: Vec<Arc<Topic>> = match topics {
            [] => (self.offsets.topics_of(group).iter())
                .filter_map(|name| self.topics.find(name.as_str()))
                .collect(),
            names => names
                .iter()
                .filter_map(|name| self.topics.find(name))
                .collect(),
        };
        let now = self.clock.mono();
        let (mut tps, mut progress) = (0.0, Vec::new());
        for topic in topics {
            let name = topic.config.name.as_str();
            let subscribes = {
                let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
                clients.subscribes(group, name)
            };
            if subscribes == Some(false) {
                continue;
            }
            let rate = self
                .offsets
                .look(group, name, |p| Some(p.got.rate(now, MINUTE)));
            tps += rate.unwrap_or(0.0);
            for id in 0..topic.config.read_queues {
                let at = self
                    .offsets
                    .look(group, name, |p| Some((p.committed(id), p.pulled(id))));
                let (committed, pulled) = at.unwrap_or_default();
                let queue = self.store.find_queue(name, id);
                progress.push((self.message_queue(name, id), queue, committed, pulled));
            }
        }
        let store = Arc::clone(&self.store);
        self.cold.answer(caller, move || {
            let queues = progress
                .into_iter()
                .map(|(name, queue, committed, pulled)| {
                    let consumed = committed.unwrap_or(0);
                    let last = queue.as_ref().filter(|_| consumed > 0);
                    QueueProgress {
                        queue: name,
                        broker_offset: queue.as_ref().map_or(0, |queue| queue.end().0 as i64),
                        consumer_offset: consumed,
                        pull_offset: pulled.unwrap_or(consumed),
                        consumed_at: last
                            .map_or(0, |queue| stored_at(&store, queue, consumed as u64 - 1)),
                    }
                });
            Ok(ConsumeStats {
                queues: queues.collect(),
                tps,
            })
        })
    }

    /// The groups that consume a topic: those online, and those with offsets.
    pub fn consumed_by(&self, topic: &str) -> Vec<GroupName> {
        let mut groups = self.offsets.groups_of(topic);
        {
            let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
            groups.extend(clients.groups_of(topic));
        }
        groups.sort();
        groups.dedup();
        groups
    }

    /// The effective configuration by RocketMQ's names, and its version.
    pub fn shown_config(&self) -> (Vec<(String, String)>, DataVersion) {
        let version = DataVersion {
            timestamp: self.started_at,
            ..DataVersion::default()
        };
        (self.options.shown.clone(), version)
    }

    fn message_queue(&self, topic: &str, id: u32) -> MessageQueue {
        MessageQueue {
            topic: topic.to_owned(),
            broker: self.options.name.clone(),
            queue: id as i32,
        }
    }
}

/// When the record at a position of a queue was stored; 0 if there is none. May block.
fn stored_at(store: &Store, queue: &Queue, at: u64) -> i64 {
    if at < queue.start().0 {
        return 0;
    }
    let mut entry = Vec::with_capacity(1);
    let read = store.entries(queue, QueueOffset(at), 1, &mut entry);
    match (read, entry.first()) {
        (Ok(()), Some(entry)) => store.stored_at(entry.log_offset).unwrap_or(0),
        _ => 0,
    }
}
