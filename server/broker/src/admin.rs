//! What administration tools ask: statistics of topics and groups, the broker's state, its settings.

mod progress;
mod runtime;

pub use progress::{ConsumeStats, GroupProgress, QueueProgress};

use std::sync::{Arc, PoisonError};

use model::topic::DataVersion;
use model::{GroupName, QueueOffset};
use store::{Kind, Queue, Store, Wait};

use crate::offset::read_failed;
use crate::ordering::MessageQueue;
use crate::topic::topic_missing;
use crate::{Answer, AskedFor, Broker, Caller, Error};

/// Statistics of a topic (Apache `TopicStatsTable`).
#[derive(Clone, Debug)]
pub struct TopicStats {
    /// Every queue, empty ones included.
    pub queues: Vec<QueueStats>,
    /// Messages a second over the last minute.
    pub put_tps: f64,
    /// What is not in the queues' offsets, if it was asked for.
    pub held: Option<TopicHeld>,
}

/// What a topic holds besides numbers of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicHeld {
    /// The length of its records in the log.
    pub bytes: u64,
    /// Delayed messages that go to it, and are not due.
    pub scheduled: u64,
    /// Half messages for it that nobody decided about.
    pub half: u64,
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

impl Broker {
    /// Statistics of every queue of a topic; with what it `held` besides, if asked for.
    ///
    /// # Errors
    /// [`Error::TopicMissing`].
    pub fn topic_stats(
        &self,
        caller: &Caller,
        topic: &str,
        held: bool,
    ) -> Result<Answer<TopicStats>, Error> {
        let found = self.topics.find(topic);
        let found = found.ok_or_else(|| topic_missing(topic, AskedFor::Stats))?;
        let put_tps = found.put.rate(self.clock.mono());
        let queues: Vec<_> = (0..found.queue_count())
            .map(|id| {
                (
                    self.message_queue(topic, id),
                    self.store.find_queue(topic, id),
                )
            })
            .collect();
        let store = Arc::clone(&self.store);
        let topic = held.then(|| topic.to_owned());
        self.cold.answer(caller, move || {
            let held = topic.map(|topic| {
                let all = queues.iter().filter_map(|(_, queue)| queue.as_ref());
                held_of(&store, &topic, all)
            });
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
                held: held.transpose()?,
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
            counter: self.settings.changes(),
            ..DataVersion::default()
        };
        let mut shown = self.options.shown.clone();
        for (name, value) in self.settings.changed() {
            match shown.iter_mut().find(|(key, _)| key == name) {
                Some((_, own)) => *own = value,
                None => shown.push((name.to_owned(), value)),
            }
        }
        (shown, version)
    }

    pub(crate) fn message_queue(&self, topic: &str, id: u32) -> MessageQueue {
        MessageQueue {
            topic: topic.to_owned(),
            broker: self.options.name.clone(),
            queue: id as i32,
        }
    }
}

/// May block.
fn held_of<'q>(
    store: &Store,
    topic: &str,
    queues: impl Iterator<Item = &'q Arc<Queue>>,
) -> Result<TopicHeld, Error> {
    let mut bytes = 0;
    for queue in queues {
        bytes += store.bytes_of(queue).map_err(read_failed)?;
    }
    let waiting = |kind| store.pending().len_of(kind, topic) as u64;
    Ok(TopicHeld {
        bytes,
        scheduled: waiting(Kind::Timer),
        half: waiting(Kind::Half),
    })
}

/// When the record at a position of a queue was stored; 0 if there is none. May block.
pub(crate) fn stored_at(store: &Store, queue: &Queue, at: u64) -> i64 {
    if at < queue.start().0 {
        return 0;
    }
    let mut entry = Vec::with_capacity(1);
    let read = store.entries(queue, QueueOffset(at), 1, Wait::Yes, &mut entry);
    match (read, entry.first()) {
        (Ok(_), Some(entry)) => store.stored_at(entry.log_offset).unwrap_or(0),
        _ => 0,
    }
}
