//! How far groups are: in every queue, what is stored, what is committed, what is handed out.

use std::sync::{Arc, PoisonError};

use model::GroupName;
use store::{Queue, Store};

use super::stored_at;
use crate::ordering::MessageQueue;
use crate::topic::Topic;
use crate::{Answer, Broker, Caller, Error};

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
    /// How long the oldest message lies there that the group may get now, in ms. `None` if there is none, or nobody
    /// asked.
    pub ready_for: Option<i64>,
}

/// How far a group is in each of its topics (in Apache's `ConsumeStatsList`).
#[derive(Clone, Debug)]
pub struct GroupProgress {
    /// The group.
    pub group: GroupName,
    /// A topic each.
    pub topics: Vec<ConsumeStats>,
}

impl ConsumeStats {
    /// Messages that are not committed yet.
    pub fn lag(&self) -> i64 {
        let lag = |queue: &QueueProgress| queue.broker_offset - queue.consumer_offset;
        self.queues.iter().map(lag).sum()
    }

    /// Of these, those that were handed out.
    pub fn in_flight(&self) -> i64 {
        let in_flight = |queue: &QueueProgress| queue.pull_offset - queue.consumer_offset;
        self.queues.iter().map(in_flight).sum()
    }
}

/// A queue, before the disk is asked.
struct SeenQueue {
    name: MessageQueue,
    /// If anybody used it.
    queue: Option<Arc<Queue>>,
    committed: Option<i64>,
    /// Where the next pull starts.
    pulled: Option<i64>,
    /// The first position that the group may get now, if that was asked for.
    ready: Option<u64>,
}

/// A group's numbers in one topic, before the disk is asked when messages were stored.
struct Seen {
    tps: f64,
    queues: Vec<SeenQueue>,
}

impl Broker {
    /// How far a group is: in these topics, or without any in all it has offsets for. As with Apache,
    /// a topic the live group does not subscribe to is left out. `ready`: also how long messages wait for it.
    ///
    /// # Errors
    /// [`Error::Busy`].
    pub fn consume_stats(
        &self,
        caller: &Caller,
        group: &str,
        topics: &[&str],
        ready: bool,
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
        let seen = topics.iter();
        let seen = seen.filter_map(|topic| self.see(group, topic, ready));
        let seen: Vec<Seen> = seen.collect();
        let (store, now) = (Arc::clone(&self.store), self.clock.wall());
        self.cold.answer(caller, move || {
            let mut stats = ConsumeStats {
                queues: Vec::new(),
                tps: 0.0,
            };
            for seen in seen {
                let more = seen.stats(&store, now);
                stats.tps += more.tps;
                stats.queues.extend(more.queues);
            }
            Ok(stats)
        })
    }

    /// How far every group is in every topic it has offsets for; or only in the ordered ones.
    ///
    /// # Errors
    /// [`Error::Busy`].
    pub fn all_consume_stats(
        &self,
        caller: &Caller,
        ordered: bool,
    ) -> Result<Answer<Vec<GroupProgress>>, Error> {
        let mut seen = Vec::new();
        for group in self.groups().0 {
            let name = group.name.as_str();
            let topics = self.offsets.topics_of(name);
            let topics = topics
                .iter()
                .filter_map(|topic| self.topics.find(topic.as_str()));
            let topics = topics.filter(|topic| !ordered || topic.config.order);
            let topics = topics.filter_map(|topic| self.see(name, &topic, false));
            let topics: Vec<Seen> = topics.collect();
            seen.push((group.name, topics));
        }
        let (store, now) = (Arc::clone(&self.store), self.clock.wall());
        self.cold.answer(caller, move || {
            let told = seen.into_iter().map(|(group, topics)| GroupProgress {
                group,
                topics: topics
                    .into_iter()
                    .map(|seen| seen.stats(&store, now))
                    .collect(),
            });
            Ok(told.collect())
        })
    }

    fn see(&self, group: &str, topic: &Topic, ready: bool) -> Option<Seen> {
        let name = topic.config.name.as_str();
        let subscribes = {
            let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
            clients.subscribes(group, name)
        };
        if subscribes == Some(false) {
            return None;
        }
        let now = self.clock.mono();
        let rate = self.offsets.look(group, name, |p| Some(p.rate(now)));
        let queue = |id| {
            // Committed first: what is stored only grows meanwhile, so the lag is never below 0.
            let at = |p: &crate::offset::Progress| Some((p.committed(id), p.pulled(id)));
            let (committed, pulled) = self.offsets.look(group, name, at).unwrap_or_default();
            let ready = ready.then(|| self.first_ready(group, name, id, committed.max(pulled)));
            SeenQueue {
                name: self.message_queue(name, id),
                queue: self.store.find_queue(name, id),
                committed,
                pulled,
                ready,
            }
        };
        Some(Seen {
            tps: rate.unwrap_or(0.0),
            queues: (0..topic.config.read_queues).map(queue).collect(),
        })
    }

    /// The first position that the group may get now. Of one that pops, what came back counts; of one that pulls,
    /// what its members pull next.
    fn first_ready(&self, group: &str, topic: &str, queue: u32, next: Option<i64>) -> u64 {
        let next = next.and_then(|next| u64::try_from(next).ok()).unwrap_or(0);
        let popped = self.pops.find(group, topic).and_then(|(line, which)| {
            let state = line.lock();
            let flight = state.flights.get(&(which, queue))?;
            Some((flight.ready(), flight.committed))
        });
        match popped {
            // Unless the group was sent elsewhere since it last popped.
            Some((ready, was)) if was == self.committed_of(group, topic, queue) => ready,
            _ => next,
        }
    }

    fn committed_of(&self, group: &str, topic: &str, queue: u32) -> Option<i64> {
        (self.offsets).look(group, topic, |progress| progress.committed(queue))
    }
}

impl Seen {
    /// May block.
    fn stats(self, store: &Store, now: i64) -> ConsumeStats {
        let progress = |seen: SeenQueue| {
            let SeenQueue {
                name,
                queue,
                committed,
                pulled,
                ready,
            } = seen;
            let consumed = committed.unwrap_or(0);
            let last = queue.as_ref().filter(|_| consumed > 0);
            let ready_at = queue.as_ref().zip(ready).and_then(|(queue, ready)| {
                let ready = ready.max(queue.start().0);
                let there = ready < queue.end().0;
                there.then(|| stored_at(store, queue, ready))
            });
            let ready_at = ready_at.filter(|&at| at > 0);
            QueueProgress {
                queue: name,
                broker_offset: queue.as_ref().map_or(0, |queue| queue.end().0 as i64),
                consumer_offset: consumed,
                pull_offset: consumed.max(pulled.unwrap_or(0)),
                ready_for: ready_at.map(|at| now.saturating_sub(at).max(0)),
                consumed_at: last.map_or(0, |queue| stored_at(store, queue, consumed as u64 - 1)),
            }
        };
        ConsumeStats {
            queues: self.queues.into_iter().map(progress).collect(),
            tps: self.tps,
        }
    }
}
