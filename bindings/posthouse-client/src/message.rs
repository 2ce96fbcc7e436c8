//! A message to be sent.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use model::message::{NAME_END, PROPERTIES_MAX, VALUE_END, append, key};

use crate::clock;
use crate::error::MessageError;

/// A message to be sent.
///
/// ```
/// use posthouse_client::Message;
///
/// let message = Message::new("orders", "paid")
///     .tag("eu")
///     .key("order-17")
///     .property("customer", "7")
///     .sharding_key("order-17");
/// assert_eq!(message.keys, ["order-17"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub topic: Arc<str>,
    /// What. Brokers take no empty body.
    pub body: Bytes,
    /// What consumers' tag filters compare.
    pub tag: Option<Arc<str>>,
    /// What it can be found by.
    pub keys: Vec<String>,
    /// The sender's own properties. RocketMQ's names are refused.
    pub properties: Vec<(String, String)>,
    /// Messages with the same key go to the same queue, in the order they were sent.
    pub sharding_key: Option<String>,
    /// When consumers get it.
    pub when: Deliver,
    /// A number for the sender's own use.
    pub flag: i32,
    /// `false`: the broker answers before the message is as safe as it is configured to make it.
    pub wait: bool,
    /// Names the send, so that it can be repeated: only Posthouse's brokers keep such names.
    pub idempotency: Option<Idempotency>,
    /// The trace that the send is a part of, as RocketMQ keeps it. The same send again may be a part of another one.
    pub trace_context: Option<String>,
}

/// The name of a send. The broker stores the first message with a name, and answers the same one again,
/// for a day, as it answered the first. A topic has its own names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The name, up to 512 bytes.
    pub key: String,
    /// What tells another message with this name from the same one again; unset: all that is said of it.
    pub digest: Option<String>,
}

/// When a message is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deliver {
    /// At once.
    #[default]
    Now,
    /// Later by so much.
    After(Duration),
    /// At this time.
    At(SystemTime),
    /// Later by one of the broker's delay levels, from 1 on.
    Level(u8),
}

impl Message {
    /// A message without tag, keys or properties, delivered at once.
    pub fn new(topic: impl Into<Arc<str>>, body: impl Into<Bytes>) -> Message {
        Message {
            topic: topic.into(),
            body: body.into(),
            tag: None,
            keys: Vec::new(),
            properties: Vec::new(),
            sharding_key: None,
            when: Deliver::Now,
            flag: 0,
            wait: true,
            idempotency: None,
            trace_context: None,
        }
    }

    /// Sets the tag.
    pub fn tag(mut self, tag: impl Into<Arc<str>>) -> Message {
        self.tag = Some(tag.into());
        self
    }

    /// Adds a key.
    pub fn key(mut self, key: impl Into<String>) -> Message {
        self.keys.push(key.into());
        self
    }

    /// Adds a property.
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Message {
        self.properties.push((name.into(), value.into()));
        self
    }

    /// Sets the sharding key.
    pub fn sharding_key(mut self, key: impl Into<String>) -> Message {
        self.sharding_key = Some(key.into());
        self
    }

    /// Delivers it later.
    pub fn deliver(mut self, when: Deliver) -> Message {
        self.when = when;
        self
    }

    /// Names the send: repeated with the same key, the message is stored once, and each repetition gets the
    /// first one's answer ([`crate::Sent::replayed`]). A message of another content with this key is refused.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Message {
        let (key, digest) = (key.into(), None);
        self.idempotency = Some(Idempotency { key, digest });
        self
    }

    /// Does not wait until it is safe.
    pub fn no_wait(mut self) -> Message {
        self.wait = false;
        self
    }

    /// The property string, `id` being the `UNIQ_KEY`.
    pub(crate) fn property_string(&self, id: &str) -> Result<String, MessageError> {
        let mut out = String::with_capacity(64 + 16 * self.properties.len());
        self.push_properties(id, &mut out)?;
        Ok(out)
    }

    /// Appends them.
    pub(crate) fn push_properties(&self, id: &str, out: &mut String) -> Result<(), MessageError> {
        let begun = out.len();
        append(out, key::UNIQ_KEY, id);
        if let Some(context) = &self.trace_context {
            checked(out, TRACE_CONTEXT, context)?;
        }
        // What stands before belongs to this attempt: a repeated send has others.
        let behind_id = out.len();
        if !self.keys.is_empty() {
            let keys = self.keys.join(" ");
            checked(out, key::KEYS, &keys)?;
        }
        if let Some(tag) = &self.tag {
            checked(out, key::TAGS, tag)?;
        }
        if let Some(sharding) = &self.sharding_key {
            checked(out, SHARDING_KEY, sharding)?;
        }
        if !self.wait {
            append(out, key::WAIT, "false");
        }
        match self.when {
            Deliver::Now => {}
            Deliver::Level(level) => append(out, key::DELAY, &level.to_string()),
            Deliver::After(delay) => {
                let delay = delay.as_millis().to_string();
                append(out, key::TIMER_DELAY_MS, &delay);
            }
            Deliver::At(time) => {
                let time = clock::ms(time).to_string();
                append(out, key::TIMER_DELIVER_MS, &time);
            }
        }
        for (name, value) in &self.properties {
            if is_reserved(name) {
                return Err(MessageError::Reserved(name.clone()));
            }
            checked(out, name, value)?;
        }
        if let Some(named) = &self.idempotency {
            let digest = match &named.digest {
                Some(digest) => digest.clone(),
                None => self.digest(&out[behind_id..]),
            };
            checked(out, key::IDEMPOTENCY_KEY, &named.key)?;
            checked(out, key::IDEMPOTENCY_DIGEST, &digest)?;
        }
        match out.len() - begun {
            length if length > PROPERTIES_MAX => Err(MessageError::Properties(length)),
            _ => Ok(()),
        }
    }

    /// What tells this message from others: its properties without the id, its flag and its body.
    fn digest(&self, properties: &str) -> String {
        let mut content = md5::Context::new();
        content.consume((properties.len() as u64).to_le_bytes());
        content.consume(properties);
        content.consume(self.flag.to_le_bytes());
        content.consume(&self.body);
        format!("{:x}", content.finalize())
    }
}

/// Property of the key that orders messages (Java's spelling).
pub(crate) const SHARDING_KEY: &str = "__SHARDINGKEY";
/// Property of the trace that a send is a part of (Java's spelling).
const TRACE_CONTEXT: &str = "TRACE_CONTEXT";

pub(crate) fn checked(out: &mut String, name: &str, value: &str) -> Result<(), MessageError> {
    let bad = |text: &str| {
        let control = |b: u8| b == NAME_END || b == VALUE_END;
        text.is_empty() || text.bytes().any(control)
    };
    if bad(name) || bad(value) {
        return Err(MessageError::Property(name.to_owned()));
    }
    append(out, name, value);
    Ok(())
}

/// Whether a property's name is RocketMQ's own: names that Java's producer refuses too
/// (`MessageConst.STRING_HASH_SET`); or one by which Posthouse's brokers are told something.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with("__RMQ.") || RESERVED.contains(&name) || OWN.contains(&name)
}

const OWN: [&str; 3] = [
    key::IDEMPOTENCY_KEY,
    key::IDEMPOTENCY_DIGEST,
    key::EXPIRES_AT,
];

const RESERVED: [&str; 53] = [
    "KEYS",
    "TAGS",
    "WAIT",
    "DELAY",
    "RETRY_TOPIC",
    "REAL_TOPIC",
    "REAL_QID",
    "TRAN_MSG",
    "PGROUP",
    "MIN_OFFSET",
    "MAX_OFFSET",
    "BUYER_ID",
    "ORIGIN_MESSAGE_ID",
    "TRANSFER_FLAG",
    "CORRECTION_FLAG",
    "MQ2_FLAG",
    "RECONSUME_TIME",
    "MSG_REGION",
    "TRACE_ON",
    "UNIQ_KEY",
    "EXTEND_UNIQ_INFO",
    "MAX_RECONSUME_TIMES",
    "CONSUME_START_TIME",
    "TRAN_PREPARED_QUEUE_OFFSET",
    "__transactionId__",
    "TRANSACTION_CHECK_TIMES",
    "CHECK_IMMUNITY_TIME_IN_SECONDS",
    "INSTANCE_ID",
    "CORRELATION_ID",
    "REPLY_TO_CLIENT",
    "TTL",
    "ARRIVE_TIME",
    "PUSH_REPLY_TIME",
    "CLUSTER",
    "MSG_TYPE",
    "POP_CK",
    "POP_CK_OFFSET",
    "1ST_POP_TIME",
    "__SHARDINGKEY",
    "PROPERTY_FORWARD_QUEUE_ID",
    "REDIRECT",
    "INNER_MULTI_DISPATCH",
    "INNER_MULTI_QUEUE_OFFSET",
    TRACE_CONTEXT,
    "TIMER_DELAY_SEC",
    "TIMER_DELIVER_MS",
    "TIMER_ENQUEUE_MS",
    "TIMER_DEQUEUE_MS",
    "TIMER_ROLL_TIMES",
    "TIMER_OUT_MS",
    "TIMER_DELAY_MS",
    "INNER_NUM",
    "__CRC32#",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_rocketmqs() {
        let message = Message::new("t", "x")
            .tag("A")
            .key("k1")
            .key("k2")
            .property("colour", "red")
            .deliver(Deliver::Level(3))
            .no_wait();
        assert_eq!(
            message.property_string("ID").unwrap(),
            "UNIQ_KEY\u{1}ID\u{2}KEYS\u{1}k1 k2\u{2}TAGS\u{1}A\u{2}WAIT\u{1}false\u{2}DELAY\u{1}3\u{2}colour\u{1}red\u{2}"
        );
    }

    #[test]
    fn a_digest_tells_contents_apart_and_not_attempts() {
        let digest = |message: Message, id: &str| {
            let text = message.idempotency_key("k").property_string(id).unwrap();
            model::message::property(&text, key::IDEMPOTENCY_DIGEST)
                .unwrap()
                .to_owned()
        };
        let first = digest(Message::new("t", "x").tag("A"), "1");
        assert_eq!(digest(Message::new("t", "x").tag("A"), "2"), first);
        let traced = Message {
            trace_context: Some("00-1-2-01".to_owned()),
            ..Message::new("t", "x").tag("A")
        };
        let kept = traced.property_string("3").unwrap();
        assert!(kept.contains("TRACE_CONTEXT\u{1}00-1-2-01\u{2}"), "{kept}");
        assert_eq!(digest(traced, "3"), first);
        for other in [
            Message::new("t", "y").tag("A"),
            Message::new("t", "x").tag("B"),
            Message::new("t", "x").tag("A").deliver(Deliver::Level(1)),
        ] {
            assert_ne!(digest(other, "1"), first);
        }
    }

    #[test]
    fn what_a_broker_would_misread_is_refused() {
        let of = |name: &str, value: &str| {
            let message = Message::new("t", "x").property(name, value);
            message.property_string("ID")
        };
        assert!(matches!(of("TAGS", "x"), Err(MessageError::Reserved(_))));
        assert!(matches!(of("a", ""), Err(MessageError::Property(_))));
        assert!(matches!(of("a\u{1}", "x"), Err(MessageError::Property(_))));
        assert!(matches!(
            of("IDEMPOTENCY_KEY", "x"),
            Err(MessageError::Reserved(_))
        ));
        let long = "x".repeat(PROPERTIES_MAX);
        assert!(matches!(of("a", &long), Err(MessageError::Properties(_))));
    }
}
