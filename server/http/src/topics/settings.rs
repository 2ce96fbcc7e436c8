//! What a request says of a topic, and how a topic is shown.

use hyper::header::HeaderValue;
use posthouse_client::{Perm, TopicConfig, TopicName};
use serde_json::Value;

use crate::etag;
use crate::json::{self, At, Faults};
use crate::problem::{self, Problem};

/// The attribute that keeps a topic's message type (Apache `TopicAttributes`).
const MESSAGE_TYPE: &str = "message.type";
/// What the door gives a topic unless told otherwise.
const QUEUES: u32 = 8;
/// The most queues that a request may ask for: what one consumer's share can still be computed from.
const QUEUES_MAX: u32 = 1_024;

/// What a request says.
#[derive(Debug, Default)]
pub(super) struct Settings {
    message_type: Option<MessageType>,
    queues: Option<u32>,
    permission: Option<Permission>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageType {
    Normal,
    Fifo,
    Delay,
    Transaction,
    Mixed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permission {
    R,
    W,
    Rw,
}

const FIELDS: &[&str] = &["message_type", "queues", "permission"];

impl MessageType {
    const WORDS: &[&str] = &["normal", "fifo", "delay", "transaction", "mixed"];

    fn parse(word: &str) -> Option<MessageType> {
        use MessageType::{Delay, Fifo, Mixed, Normal, Transaction};
        let all = [Normal, Fifo, Delay, Transaction, Mixed];
        all.into_iter().find(|kind| kind.as_str() == word)
    }

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
    const WORDS: &[&str] = &["r", "w", "rw"];

    fn parse(word: &str) -> Option<Permission> {
        let all = [Permission::R, Permission::W, Permission::Rw];
        all.into_iter().find(|kind| kind.as_str() == word)
    }

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
    /// Reads a body: all settings of a resource that is put, or a patch of some.
    pub(super) fn parse(body: &[u8]) -> Result<Settings, Problem> {
        let mut settings = Settings::default();
        let (mut faults, top) = (Faults::default(), At::Root);
        let members = faults.object(top, json::parse(body)?);
        for (name, value) in members.into_iter().flatten() {
            let at = top.member(&name);
            match &*name {
                "message_type" => {
                    let word = faults.word(at, value, MessageType::WORDS);
                    settings.message_type = word.and_then(MessageType::parse);
                }
                "permission" => {
                    let word = faults.word(at, value, Permission::WORDS);
                    settings.permission = word.and_then(Permission::parse);
                }
                "queues" => match faults.number(at, value) {
                    Some(queues) if (1..=u64::from(QUEUES_MAX)).contains(&queues) => {
                        settings.queues = u32::try_from(queues).ok();
                    }
                    Some(_) => {
                        let detail = format!("1 to {QUEUES_MAX} queues");
                        faults.refuse(&problem::INVALID_SETTING, at, detail);
                    }
                    None => {}
                },
                _ => faults.unknown(top, &name, FIELDS),
            }
        }
        faults.check()?;
        Ok(settings)
    }

    /// Changes what the request says, and leaves the rest.
    pub(super) fn change(&self, topic: &mut TopicConfig) {
        match self.message_type {
            // Brokers refuse the word MIXED unless told otherwise, and mean the same by saying nothing.
            Some(MessageType::Mixed) => {
                topic.attributes.remove(MESSAGE_TYPE);
            }
            Some(kind) => {
                let kind = kind.as_str().to_ascii_uppercase();
                topic.attributes.insert(MESSAGE_TYPE.to_owned(), kind);
            }
            None => {}
        }
        if let Some(queues) = self.queues {
            (topic.read_queues, topic.write_queues) = (queues, queues);
        }
        if let Some(permission) = self.permission {
            topic.perm = permission.perm();
        }
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
        let mut topic = TopicConfig::new(name, QUEUES);
        self.change(&mut topic);
        topic
    }
}

/// A topic as answers show it.
pub(super) fn shown(topic: &TopicConfig) -> Value {
    serde_json::json!({
        "name": topic.name.as_str(),
        "message_type": MessageType::of(topic).as_str(),
        "queues": topic.write_queues,
        "permission": Permission::of(topic.perm).map(Permission::as_str),
    })
}

/// Changes whenever a setting does.
pub(super) fn etag(topic: &TopicConfig) -> HeaderValue {
    etag::of((
        topic.read_queues,
        topic.write_queues,
        topic.perm.0,
        topic.order,
        &topic.attributes,
    ))
}
