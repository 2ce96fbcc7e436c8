//! Queue locks: which member of a group may consume a queue in order.

use crate::{Broker, Error};

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

#[allow(clippy::todo)]
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
        let _ = (group, client, queues);
        todo!()
    }

    /// Gives queues back (Apache `UNLOCK_BATCH_MQ`). What the member does not hold stays as it is.
    pub fn unlock(&self, group: &str, client: &str, queues: &[MessageQueue]) {
        let _ = (group, client, queues);
        todo!()
    }
}
