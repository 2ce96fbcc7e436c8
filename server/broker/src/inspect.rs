//! What tools look up about groups and queues one by one: how old a group's messages are, what stands in
//! a queue's index, which topics a group consumes.

use std::sync::{Arc, PoisonError};

use model::QueueOffset;
use model::subscription::Subscription;
use store::Entry;

use crate::admin::stored_at;
use crate::offset::read_failed;
use crate::ordering::MessageQueue;
use crate::topic::topic_missing;
use crate::{Answer, AskedFor, Broker, Caller, Error, limits};

/// How old the messages of a queue are, and how far a group is in it (Apache `QueueTimeSpan`). Times are
/// in ms since the Unix epoch, -1 where there is no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeSpan {
    /// The queue.
    pub queue: MessageQueue,
    /// When its first message was stored.
    pub min: i64,
    /// When its last message was stored.
    pub max: i64,
    /// When the last message that the group consumed was stored.
    pub consumed: i64,
    /// How long the next one has waited, in ms.
    pub delay: i64,
}

/// A part of a queue's index (Apache `QueryConsumeQueueResponseBody`).
#[derive(Clone, Debug)]
pub struct Index {
    /// The queue's first kept position.
    pub min: i64,
    /// The position behind its last message.
    pub max: i64,
    /// The entries asked for.
    pub entries: Vec<Entry>,
    /// What the group subscribes to, if it is online; each entry is judged by it.
    pub subscription: Option<Subscription>,
}

impl Broker {
    /// The ages of a topic's queues for a group (Apache `QUERY_CONSUME_TIME_SPAN`).
    ///
    /// # Errors
    /// [`Error::TopicMissing`].
    pub fn time_spans(
        &self,
        caller: &Caller,
        group: &str,
        topic: &str,
    ) -> Result<Answer<Vec<TimeSpan>>, Error> {
        let found = self.topics.find(topic);
        let found = found.ok_or_else(|| topic_missing(topic, AskedFor::Stats))?;
        let queues: Vec<_> = (0..found.config.write_queues)
            .map(|id| {
                let committed = self.offsets.look(group, topic, |p| p.committed(id));
                let queue = self.store.find_queue(topic, id);
                (self.message_queue(topic, id), queue, committed.unwrap_or(0))
            })
            .collect();
        let (store, now) = (Arc::clone(&self.store), self.clock.wall());
        self.cold.answer(caller, move || {
            let span =
                |(name, queue, committed): (MessageQueue, Option<Arc<store::Queue>>, i64)| {
                    let at = |position: i64| match (&queue, u64::try_from(position)) {
                        (Some(queue), Ok(position)) => stored_at(&store, queue, position),
                        _ => -1,
                    };
                    let (start, end) = queue.as_ref().map_or((0, 0), |queue| {
                        (queue.start().0 as i64, queue.end().0 as i64)
                    });
                    let min = if end > start { at(start) } else { -1 };
                    let waits = committed < end;
                    TimeSpan {
                        queue: name,
                        min,
                        max: at(end - 1),
                        consumed: if committed > 0 {
                            at(committed - 1)
                        } else {
                            min
                        },
                        delay: if waits {
                            now - at(committed.max(start))
                        } else {
                            0
                        },
                    }
                };
            Ok(queues.into_iter().map(span).collect())
        })
    }

    /// Entries of a queue's index (Apache `QUERY_CONSUME_QUEUE`).
    ///
    /// # Errors
    /// [`Error::TopicMissing`], [`Error::Store`].
    pub fn index_of(
        &self,
        group: &str,
        topic: &str,
        queue: i32,
        from: i64,
        count: i32,
    ) -> Result<Index, Error> {
        if self.topics.find(topic).is_none() {
            return Err(topic_missing(topic, AskedFor::Stats));
        }
        let subscription = self.subscription_of(group, topic);
        let mut index = Index {
            min: 0,
            max: 0,
            entries: Vec::new(),
            subscription,
        };
        let Some(queue) = self.find_queue(topic, queue) else {
            return Ok(index);
        };
        (index.min, index.max) = (queue.start().0 as i64, queue.end().0 as i64);
        let from = from.max(index.min) as u64;
        let count = (count.max(0) as usize).min(limits::SCAN_ENTRIES);
        if (from as i64) < index.max {
            (self.store)
                .entries(
                    &queue,
                    QueueOffset(from),
                    count,
                    store::Wait::Yes,
                    &mut index.entries,
                )
                .map_err(read_failed)?;
        }
        Ok(index)
    }

    /// What an online group subscribes to in a topic: its newest member's subscription.
    pub fn subscription_of(&self, group: &str, topic: &str) -> Option<Subscription> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        let group = clients.consumer_connections(group)?;
        let mut all = group.subscriptions.into_iter();
        all.find(|subscription| subscription.topic.as_str() == topic)
    }

    /// The topics that a group has offsets in.
    pub fn topics_consumed_by(&self, group: &str) -> Vec<String> {
        let names = self.offsets.topics_of(group).into_iter();
        names.map(|name| name.to_string()).collect()
    }
}
