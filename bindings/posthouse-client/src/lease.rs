//! A message on loan: who popped it, until when, and how it is given back.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use model::name::RETRY_PREFIX;
use remoting::body::BatchAck;

/// What a popped message is acked with: Apache's receipt handle and the topic that was popped. Its text
/// says everything, so it may be kept by whoever acks, and acked from another process.
///
/// ```
/// use posthouse_client::Lease;
///
/// let text = "orders 17 1764000000000 60000 3 0 broker-a 2 19";
/// let lease: Lease = text.parse().unwrap();
/// assert_eq!((lease.topic(), lease.broker(), lease.queue_id(), lease.offset()), ("orders", "broker-a", 2, 19));
/// assert_eq!(lease.to_string(), text);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    topic: Arc<str>,
    handle: String,
    parts: Parts,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Parts {
    popped_at: i64,
    invisible_ms: i64,
    retry: Retry,
    broker: Arc<str>,
    queue_id: u32,
    offset: u64,
}

/// Which topic the message lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Retry {
    No,
    /// `%RETRY%group_topic`
    First,
    /// `%RETRY%group+topic`
    Second,
}

/// The text is no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no lease")]
pub struct LeaseError;

/// What a pop's answer says of all its messages.
pub(crate) struct Pop<'a> {
    pub(crate) popped_at: i64,
    pub(crate) invisible_ms: i64,
    pub(crate) revive_queue: i32,
    pub(crate) broker: &'a str,
}

impl Lease {
    /// A lease on a message of a topic, with Apache's receipt handle (`POP_CK`).
    ///
    /// # Errors
    /// If the handle has not eight parts, or they are not what they should be.
    pub fn new(topic: impl Into<Arc<str>>, handle: &str) -> Result<Lease, LeaseError> {
        let parts: Vec<&str> = handle.split(' ').collect();
        let &[_, popped_at, invisible, _, retry, broker, queue, offset] = parts.as_slice() else {
            return Err(LeaseError);
        };
        let parts = Parts {
            popped_at: popped_at.parse().map_err(|_| LeaseError)?,
            invisible_ms: invisible.parse().map_err(|_| LeaseError)?,
            retry: match retry {
                "0" => Retry::No,
                "1" => Retry::First,
                "2" => Retry::Second,
                _ => return Err(LeaseError),
            },
            broker: broker.into(),
            queue_id: queue.parse().map_err(|_| LeaseError)?,
            offset: offset.parse().map_err(|_| LeaseError)?,
        };
        Ok(Lease {
            topic: topic.into(),
            handle: handle.to_owned(),
            parts,
        })
    }

    /// The handle of a message for which the broker made none: from what the answer says of all.
    pub(crate) fn handle(pop: &Pop<'_>, start: u64, queue_id: u32, offset: u64) -> String {
        let Pop {
            popped_at,
            invisible_ms,
            revive_queue,
            broker,
        } = pop;
        format!("{start} {popped_at} {invisible_ms} {revive_queue} 0 {broker} {queue_id} {offset}")
    }

    /// The lease after its time was changed.
    pub(crate) fn again(&self, popped_at: i64, invisible_ms: i64, revive_queue: i32) -> Lease {
        let Parts {
            retry,
            broker,
            queue_id,
            offset,
            ..
        } = &self.parts;
        let retry_flag = match retry {
            Retry::No => 0,
            Retry::First => 1,
            Retry::Second => 2,
        };
        Lease {
            topic: self.topic.clone(),
            handle: format!(
                "{offset} {popped_at} {invisible_ms} {revive_queue} {retry_flag} {broker} {queue_id} {offset}"
            ),
            parts: Parts {
                popped_at,
                invisible_ms,
                ..self.parts.clone()
            },
        }
    }

    /// What acks it together with others, without the bit that is its own.
    pub(crate) fn batch_ack(&self, group: &str) -> Option<BatchAck> {
        let mut parts = self.handle.split(' ');
        let (start, revive_queue) = (parts.next()?.parse().ok()?, parts.nth(2)?.parse().ok()?);
        Some(BatchAck {
            bits: String::new(),
            group: group.to_owned(),
            invisible_ms: self.parts.invisible_ms,
            popped_at: self.parts.popped_at,
            queue: i32::try_from(self.parts.queue_id).ok()?,
            retry: parts.next()?.to_owned(),
            revive_queue,
            start,
            topic: self.topic.to_string(),
        })
    }

    /// The topic that was popped.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Apache's receipt handle.
    pub fn receipt(&self) -> &str {
        &self.handle
    }

    /// The broker that lent it.
    pub fn broker(&self) -> &str {
        &self.parts.broker
    }

    /// The queue that the message lies in.
    pub fn queue_id(&self) -> u32 {
        self.parts.queue_id
    }

    /// The message's offset there.
    pub fn offset(&self) -> u64 {
        self.parts.offset
    }

    /// When it ends, by the broker's clock: milliseconds since the Unix epoch.
    pub fn ends_at(&self) -> i64 {
        self.parts.popped_at + self.parts.invisible_ms
    }

    /// The topic that the message lies in: of one that came before, the group's retry topic.
    pub(crate) fn real_topic(&self, group: &str) -> String {
        match self.parts.retry {
            Retry::No => self.topic.to_string(),
            Retry::First => format!("{RETRY_PREFIX}{group}_{}", self.topic),
            Retry::Second => format!("{RETRY_PREFIX}{group}+{}", self.topic),
        }
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.topic, self.handle)
    }
}

impl FromStr for Lease {
    type Err = LeaseError;

    fn from_str(text: &str) -> Result<Lease, LeaseError> {
        let (topic, handle) = text.split_once(' ').ok_or(LeaseError)?;
        Lease::new(topic, handle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_knows_where_its_message_lies() {
        let lease = |retry| Lease::new("t", &format!("1 2 3 4 {retry} b 5 6")).unwrap();
        assert_eq!(lease(0).real_topic("g"), "t");
        assert_eq!(lease(1).real_topic("g"), "%RETRY%g_t");
        assert_eq!(lease(2).real_topic("g"), "%RETRY%g+t");
        assert_eq!(lease(1).again(7, 8, 9).receipt(), "6 7 8 9 1 b 5 6");
        assert_eq!(lease(0).ends_at(), 5);
    }

    #[test]
    fn what_is_no_handle_is_refused() {
        for text in ["", "t", "t 1 2 3", "t 1 2 3 4 5 b 5 6", "t 1 x 3 4 0 b 5 6"] {
            assert_eq!(text.parse::<Lease>(), Err(LeaseError), "{text}");
        }
    }
}
