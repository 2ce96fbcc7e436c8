//! Queue locks: which member of a group may consume a queue in order. They are in memory only, as with
//! Apache: a client renews them every 20 s and takes its own for lost after 30 s, so a lock that is
//! forgotten by a restart is asked for again before anybody else could use it.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use model::TopicName;

use crate::{Broker, Error, limits};

/// A queue as clients name it. They compare it with their own, field by field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageQueue {
    /// The topic.
    pub topic: String,
    /// The broker.
    pub broker: String,
    /// The queue.
    pub queue: i32,
}

#[derive(Debug)]
struct Held {
    client: String,
    until: Duration,
}

/// All locks, by group.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    groups: HashMap<String, HashMap<MessageQueue, Held>>,
    count: usize,
}

impl Locks {
    /// Locks or renews, until `until`; `false` if another member holds the queue at `now`.
    fn lock(
        &mut self,
        group: &str,
        client: &str,
        queue: &MessageQueue,
        now: Duration,
        until: Duration,
    ) -> Result<bool, Error> {
        let queues = self.groups.entry(group.to_owned()).or_default();
        if let Some(held) = queues.get_mut(queue) {
            let ours = held.client == client || held.until < now;
            if ours {
                held.until = until;
                client.clone_into(&mut held.client);
            }
            return Ok(ours);
        }
        if self.count >= limits::LOCKS {
            return Err(Error::Busy("there are too many queue locks"));
        }
        self.count += 1;
        let client = client.to_owned();
        queues.insert(queue.clone(), Held { client, until });
        Ok(true)
    }

    fn unlock(&mut self, group: &str, client: &str, queue: &MessageQueue) {
        if let Some(queues) = self.groups.get_mut(group)
            && queues.get(queue).is_some_and(|held| held.client == client)
        {
            queues.remove(queue);
            self.count -= 1;
            if queues.is_empty() {
                self.groups.remove(group);
            }
        }
    }

    /// Whether a member of the group holds a queue at `now`.
    pub fn any(&self, group: &str, now: Duration) -> bool {
        let queues = self.groups.get(group);
        queues.is_some_and(|queues| queues.values().any(|held| held.until >= now))
    }

    /// Forgets locks that are over.
    pub fn expire(&mut self, now: Duration) {
        self.groups.retain(|_, queues| {
            queues.retain(|_, held| held.until >= now);
            !queues.is_empty()
        });
        self.count = self.groups.values().map(HashMap::len).sum();
    }
}

impl Broker {
    /// Locks queues for a member of a group, for [`crate::Options::lock_life`]; returns those the
    /// member now holds (Apache `LOCK_BATCH_MQ`).
    ///
    /// # Errors
    /// [`Error::Busy`] when there are too many locks.
    pub fn lock(
        &self,
        group: &str,
        client: &str,
        queues: &[MessageQueue],
    ) -> Result<Vec<MessageQueue>, Error> {
        let now = self.clock.mono();
        let until = now + self.options.lock_life;
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = Vec::with_capacity(queues.len());
        for queue in queues {
            // What is kept must be short; the broker's own name cannot be longer than a topic's.
            let names = [group, &queue.topic, &queue.broker];
            let legal = names.iter().all(|name| TopicName::parse(name).is_ok());
            if !legal || client.len() > limits::CLIENT_ID {
                continue;
            }
            if locks.lock(group, client, queue, now, until)? {
                held.push(queue.clone());
            }
        }
        Ok(held)
    }

    /// Gives queues back (Apache `UNLOCK_BATCH_MQ`). What the member does not hold stays as it is.
    pub fn unlock(&self, group: &str, client: &str, queues: &[MessageQueue]) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        for queue in queues {
            locks.unlock(group, client, queue);
        }
    }
}

#[cfg(test)]
mod tests;
