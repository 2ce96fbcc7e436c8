//! What a topic is configured to be, and the version stamp of a table of topics.

use std::collections::BTreeMap;

use crate::flag::Perm;
use crate::name::TopicName;

/// A topic's configuration, as brokers register it (Apache `TopicConfig`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// The topic's name.
    pub name: TopicName,
    /// Queues that consumers read: `0..read_queues`.
    pub read_queues: u32,
    /// Queues that producers write: `0..write_queues`.
    pub write_queues: u32,
    /// Who may read, write, inherit.
    pub perm: Perm,
    /// One tag or several per message.
    pub filter: FilterType,
    /// Unit bits: 1 unit, 2 unit subscription.
    pub sys_flag: i32,
    /// Whether the topic is ordered (adds checks, registers an order configuration).
    pub order: bool,
    /// Attributes, keys without the `+` of a request: `queue.type`, `message.type`, …
    pub attributes: BTreeMap<String, String>,
}

impl TopicConfig {
    /// A readable and writable topic with `queues` queues and nothing special.
    pub fn new(name: TopicName, queues: u32) -> TopicConfig {
        TopicConfig {
            name,
            read_queues: queues,
            write_queues: queues,
            perm: Perm::READ_WRITE,
            filter: FilterType::SingleTag,
            sys_flag: 0,
            order: false,
            attributes: BTreeMap::new(),
        }
    }
}

/// How a topic's tags are meant (Apache `TopicFilterType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterType {
    /// `SINGLE_TAG`
    SingleTag,
    /// `MULTI_TAG`
    MultiTag,
}

impl FilterType {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            FilterType::SingleTag => "SINGLE_TAG",
            FilterType::MultiTag => "MULTI_TAG",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<FilterType> {
        match name {
            "SINGLE_TAG" => Some(FilterType::SingleTag),
            "MULTI_TAG" => Some(FilterType::MultiTag),
            _ => None,
        }
    }
}

/// The version of a table that brokers register or replicate (Apache `DataVersion`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DataVersion {
    /// Epoch of the broker that wrote the table.
    pub state_version: i64,
    /// Milliseconds since the Unix epoch of the last change.
    pub timestamp: i64,
    /// Number of changes.
    pub counter: i64,
}

impl DataVersion {
    /// The version after one more change at `now` (milliseconds since the Unix epoch).
    pub fn next(self, now: i64) -> DataVersion {
        DataVersion {
            timestamp: now,
            counter: self.counter + 1,
            ..self
        }
    }
}
