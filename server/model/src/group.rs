//! What a consumer group is configured to be.

use std::collections::BTreeMap;

use crate::name::GroupName;

/// A consumer group's configuration (Apache `SubscriptionGroupConfig`, with its defaults).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// The group's name.
    pub name: GroupName,
    /// Whether the group may consume at all.
    pub consume_enable: bool,
    /// Kept for administration tools; no broker reads it.
    pub consume_from_min_enable: bool,
    /// Whether members may consume in broadcasting mode.
    pub consume_broadcast_enable: bool,
    /// Kept for administration tools and POP.
    pub consume_message_orderly: bool,
    /// Queues of the retry topic; 0 drops what is sent back.
    pub retry_queues: u32,
    /// Deliveries before a message is dead-lettered.
    pub retry_max_times: i32,
    /// How long a retry waits.
    pub retry_policy: RetryPolicy,
    /// The broker id normally read from.
    pub broker_id: u64,
    /// The broker id suggested to a consumer that lags.
    pub which_broker_when_consume_slowly: u64,
    /// Whether members are told at once when the group changes.
    pub notify_ids_changed_enable: bool,
    /// Opaque bits for clients.
    pub sys_flag: i32,
    /// Minutes after which clients send a message back.
    pub consume_timeout_minute: i32,
    /// Subscriptions that an operator fixed (`subscriptionDataSet`), as their JSON text. Kept for
    /// administration tools; no broker reads it.
    pub subscriptions: Option<String>,
    /// Attributes, keys without `+`.
    pub attributes: BTreeMap<String, String>,
}

impl GroupConfig {
    /// The configuration a group gets when it is created by its first heartbeat.
    pub fn new(name: GroupName) -> GroupConfig {
        GroupConfig {
            name,
            consume_enable: true,
            consume_from_min_enable: true,
            consume_broadcast_enable: true,
            consume_message_orderly: false,
            retry_queues: 1,
            retry_max_times: 16,
            retry_policy: RetryPolicy::default(),
            broker_id: 0,
            which_broker_when_consume_slowly: 1,
            notify_ids_changed_enable: true,
            sys_flag: 0,
            consume_timeout_minute: 15,
            subscriptions: None,
            attributes: BTreeMap::new(),
        }
    }
}

/// How long a retry waits (Apache `GroupRetryPolicy`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Which of the two applies.
    pub kind: RetryKind,
    /// Used when `kind` is exponential.
    pub exponential: Option<ExponentialRetry>,
    /// Milliseconds before each retry, used when `kind` is customized and it is given.
    pub customized: Option<Vec<i64>>,
}

/// The kind of a [`RetryPolicy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryKind {
    /// `EXPONENTIAL`
    Exponential,
    /// `CUSTOMIZED`: the delay levels unless a table is given.
    #[default]
    Customized,
}

/// `min(max, initial * multiplier^n)`, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExponentialRetry {
    /// First wait.
    pub initial: i64,
    /// Longest wait.
    pub max: i64,
    /// Growth factor.
    pub multiplier: i64,
}
