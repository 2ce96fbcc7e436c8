//! What a request says of a topic, and how a topic is shown.

use std::hash::{DefaultHasher, Hash, Hasher};

use hyper::header::HeaderValue;
use posthouse_client::{Perm, TopicConfig, TopicName};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::call::Call;
use crate::problem::{self, Fault, Problem};

/// The attribute that keeps a topic's message type (Apache `TopicAttributes`).
const MESSAGE_TYPE: &str = "message.type";
/// What the door gives a topic unless told otherwise.
const QUEUES: u32 = 8;
/// The most queues that a request may ask for: what one consumer's share can still be computed from.
const QUEUES_MAX: u32 = 1_024;

/// What a request says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    message_type: Option<MessageType>,
    queues: Option<u32>,
    permission: Option<Permission>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum MessageType {
    Normal,
    Fifo,
    Delay,
    Transaction,
    Mixed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Permission {
    R,
    W,
    Rw,
}

impl MessageType {
    fn as_str(self) -> &'static str {
        match self {
            MessageType::Normal => "normal",
            MessageType::Fifo => "fifo",
            MessageType::Delay => "delay",
            MessageType::Transaction => "transaction",
            MessageType::Mixed => "mixed",
        }
    }

    /// What brokers take: everything, if a topic says nothing.
    fn of(topic: &TopicConfig) -> MessageType {
        let said = topic.attributes.get(MESSAGE_TYPE).map(String::as_str);
        match said.unwrap_or_default().to_ascii_uppercase().as_str() {
            "NORMAL" => MessageType::Normal,
            "FIFO" => MessageType::Fifo,
            "DELAY" => MessageType::Delay,
            "TRANSACTION" => MessageType::Transaction,
            _ => MessageType::Mixed,
        }
    }
}

impl Permission {
    fn as_str(self) -> &'static str {
        match self {
            Permission::R => "r",
            Permission::W => "w",
            Permission::Rw => "rw",
        }
    }

    fn perm(self) -> Perm {
        Perm(match self {
            Permission::R => Perm::READ,
            Permission::W => Perm::WRITE,
            Permission::Rw => Perm::READ | Perm::WRITE,
        })
    }

    /// `None`: neither read nor written.
    fn of(perm: Perm) -> Option<Permission> {
        match (perm.readable(), perm.writable()) {
            (true, true) => Some(Permission::Rw),
            (true, false) => Some(Permission::R),
            (false, true) => Some(Permission::W),
            (false, false) => None,
        }
    }
}

impl Settings {
    /// Reads the body; none is the defaults.
    pub(super) async fn read(call: &mut Call) -> Result<Settings, Problem> {
        let body = call.body(call.node.options.limits.request).await?;
        if body.is_empty() {
            return Ok(Settings::default());
        }
        let settings: Settings = serde_json::from_slice(&body)
            .map_err(|error| Problem::new(&problem::INVALID_REQUEST).detail(error.to_string()))?;
        let queues = settings.queues.unwrap_or(QUEUES);
        if !(1..=QUEUES_MAX).contains(&queues) {
            let fault = Fault::pointer("/queues", format!("1 to {QUEUES_MAX} queues"));
            return Err(Problem::new(&problem::INVALID_SETTING).faults(vec![fault]));
        }
        Ok(settings)
    }

    /// Whether a topic is what the request says.
    pub(super) fn describe(&self, topic: &TopicConfig) -> bool {
        self.message_type
            .is_none_or(|wanted| wanted == MessageType::of(topic))
            && self
                .queues
                .is_none_or(|wanted| wanted == topic.write_queues && wanted == topic.read_queues)
            && self
                .permission
                .is_none_or(|wanted| Some(wanted) == Permission::of(topic.perm))
    }

    /// The topic that the request asks for.
    pub(super) fn create(&self, name: TopicName) -> TopicConfig {
        let mut topic = TopicConfig::new(name, self.queues.unwrap_or(QUEUES));
        // Brokers refuse the word MIXED unless told otherwise, and mean the same by saying nothing.
        let typed = self.message_type.filter(|kind| *kind != MessageType::Mixed);
        if let Some(kind) = typed {
            let kind = kind.as_str().to_ascii_uppercase();
            topic.attributes.insert(MESSAGE_TYPE.to_owned(), kind);
        }
        topic.perm = self.permission.unwrap_or(Permission::Rw).perm();
        topic
    }
}

/// A topic as answers show it.
pub(super) fn shown(topic: &TopicConfig) -> Value {
    json!({
        "name": topic.name.as_str(),
        "message_type": MessageType::of(topic).as_str(),
        "queues": topic.write_queues,
        "permission": Permission::of(topic.perm).map(Permission::as_str),
    })
}

/// Changes whenever a setting does.
pub(super) fn etag(topic: &TopicConfig) -> HeaderValue {
    let mut hash = DefaultHasher::new();
    (
        topic.read_queues,
        topic.write_queues,
        topic.perm.0,
        topic.order,
    )
        .hash(&mut hash);
    topic.attributes.hash(&mut hash);
    let text = format!("\"{:016x}\"", hash.finish());
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("\"0\""))
}
