//! A queue: one part of a topic on one broker.

use std::fmt;
use std::sync::Arc;

use remoting::body::MessageQueue;

/// One queue of a topic on one broker. Queues are ordered as Java orders them: by topic, broker, number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Queue {
    /// The topic.
    pub topic: Arc<str>,
    /// The broker's name.
    pub broker: Arc<str>,
    /// The queue's number there.
    pub id: u32,
}

impl Queue {
    /// A queue.
    pub fn new(topic: impl Into<Arc<str>>, broker: impl Into<Arc<str>>, id: u32) -> Queue {
        Queue {
            topic: topic.into(),
            broker: broker.into(),
            id,
        }
    }

    /// From a body.
    pub(crate) fn from_wire(queue: MessageQueue) -> Queue {
        let MessageQueue {
            broker_name,
            queue_id,
            topic,
        } = queue;
        Queue::new(topic, broker_name, queue_id.unsigned_abs())
    }

    /// As bodies write it.
    pub(crate) fn wire(&self) -> MessageQueue {
        MessageQueue {
            broker_name: self.broker.to_string(),
            queue_id: self.id as i32,
            topic: self.topic.to_string(),
        }
    }
}

/// As Java shows it; its consistent hashing hashes this text.
impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Queue { topic, broker, id } = self;
        write!(
            f,
            "MessageQueue [topic={topic}, brokerName={broker}, queueId={id}]"
        )
    }
}
