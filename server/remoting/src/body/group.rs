//! Group configurations.

use std::collections::BTreeMap;

use model::group::{ExponentialRetry, GroupConfig, RetryKind, RetryPolicy};
use model::{GroupName, NameError};
use serde::{Deserialize, Serialize};

use super::DataVersion;
use super::lenient::{self, named};

/// A consumer group's configuration (Apache `SubscriptionGroupConfig`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupConfig {
    /// Keys without `+`.
    #[serde(deserialize_with = "lenient::or_default")]
    pub attributes: BTreeMap<String, String>,
    /// The broker id normally read from.
    #[serde(deserialize_with = "lenient::number")]
    pub broker_id: i64,
    /// Whether members may consume in broadcasting mode.
    #[serde(deserialize_with = "lenient::truth")]
    pub consume_broadcast_enable: bool,
    /// Whether the group may consume at all.
    #[serde(deserialize_with = "lenient::truth")]
    pub consume_enable: bool,
    /// Kept for tools.
    #[serde(deserialize_with = "lenient::truth")]
    pub consume_from_min_enable: bool,
    /// Whether the group consumes in order.
    #[serde(deserialize_with = "lenient::truth")]
    pub consume_message_orderly: bool,
    /// Minutes after which clients send a message back.
    #[serde(deserialize_with = "lenient::number")]
    pub consume_timeout_minute: i32,
    /// The name.
    #[serde(deserialize_with = "lenient::or_default")]
    pub group_name: String,
    /// How long a retry waits.
    #[serde(deserialize_with = "lenient::or_default")]
    pub group_retry_policy: GroupRetryPolicy,
    /// Opaque bits for clients.
    #[serde(deserialize_with = "lenient::number")]
    pub group_sys_flag: i32,
    /// Whether members are told at once when the group changes.
    #[serde(deserialize_with = "lenient::truth")]
    pub notify_consumer_ids_changed_enable: bool,
    /// Deliveries before a message is dead-lettered.
    #[serde(deserialize_with = "lenient::number")]
    pub retry_max_times: i32,
    /// Queues of the retry topic.
    #[serde(deserialize_with = "lenient::number")]
    pub retry_queue_nums: i32,
    /// Subscriptions an operator fixed (5.x); kept as they came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data_set: Option<serde_json::Value>,
    /// The broker id suggested to a consumer that lags.
    #[serde(deserialize_with = "lenient::number")]
    pub which_broker_when_consume_slowly: i64,
}

named! {
    /// Which part of a [`GroupRetryPolicy`] applies.
    GroupRetryPolicyType {
        /// Growing waits.
        Exponential = "EXPONENTIAL",
        /// A table, or the delay levels.
        #[default]
        Customized = "CUSTOMIZED",
    }
}

/// How long a retry waits. Times are milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupRetryPolicy {
    /// A table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customized_retry_policy: Option<CustomizedRetryPolicy>,
    /// Growing waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exponential_retry_policy: Option<ExponentialRetryPolicy>,
    /// Which of them applies.
    #[serde(rename = "type", deserialize_with = "lenient::or_default")]
    pub kind: GroupRetryPolicyType,
}

/// The wait before each retry, milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CustomizedRetryPolicy {
    /// First, second, …; the last one repeats.
    #[serde(deserialize_with = "lenient::or_default")]
    pub next: Vec<i64>,
}

/// `min(max, initial * multiplier^n)` milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExponentialRetryPolicy {
    /// First wait.
    #[serde(deserialize_with = "lenient::number")]
    pub initial: i64,
    /// Longest wait.
    #[serde(deserialize_with = "lenient::number")]
    pub max: i64,
    /// Growth factor.
    #[serde(deserialize_with = "lenient::number")]
    pub multiplier: i64,
}

impl Default for ExponentialRetryPolicy {
    fn default() -> Self {
        ExponentialRetryPolicy {
            initial: 5_000,
            max: 7_200_000,
            multiplier: 2,
        }
    }
}

impl Default for SubscriptionGroupConfig {
    fn default() -> Self {
        SubscriptionGroupConfig {
            attributes: BTreeMap::new(),
            broker_id: 0,
            consume_broadcast_enable: true,
            consume_enable: true,
            consume_from_min_enable: true,
            consume_message_orderly: false,
            consume_timeout_minute: 15,
            group_name: String::new(),
            group_retry_policy: GroupRetryPolicy::default(),
            group_sys_flag: 0,
            notify_consumer_ids_changed_enable: true,
            retry_max_times: 16,
            retry_queue_nums: 1,
            subscription_data_set: None,
            which_broker_when_consume_slowly: 1,
        }
    }
}

impl From<&GroupConfig> for SubscriptionGroupConfig {
    fn from(config: &GroupConfig) -> Self {
        SubscriptionGroupConfig {
            attributes: config.attributes.clone(),
            broker_id: config.broker_id.cast_signed(),
            consume_broadcast_enable: config.consume_broadcast_enable,
            consume_enable: config.consume_enable,
            consume_from_min_enable: config.consume_from_min_enable,
            consume_message_orderly: config.consume_message_orderly,
            consume_timeout_minute: config.consume_timeout_minute,
            group_name: config.name.to_string(),
            group_retry_policy: (&config.retry_policy).into(),
            group_sys_flag: config.sys_flag,
            notify_consumer_ids_changed_enable: config.notify_ids_changed_enable,
            retry_max_times: config.retry_max_times,
            retry_queue_nums: config.retry_queues.cast_signed(),
            subscription_data_set: (config.subscriptions.as_deref())
                .and_then(|text| serde_json::from_str(text).ok()),
            which_broker_when_consume_slowly: config.which_broker_when_consume_slowly.cast_signed(),
        }
    }
}

impl TryFrom<&SubscriptionGroupConfig> for GroupConfig {
    type Error = NameError;

    /// Checks the name.
    fn try_from(config: &SubscriptionGroupConfig) -> Result<Self, NameError> {
        Ok(GroupConfig {
            name: GroupName::parse(&config.group_name)?,
            consume_enable: config.consume_enable,
            consume_from_min_enable: config.consume_from_min_enable,
            consume_broadcast_enable: config.consume_broadcast_enable,
            consume_message_orderly: config.consume_message_orderly,
            retry_queues: u32::try_from(config.retry_queue_nums).unwrap_or(0),
            retry_max_times: config.retry_max_times,
            retry_policy: (&config.group_retry_policy).into(),
            broker_id: u64::try_from(config.broker_id).unwrap_or(0),
            which_broker_when_consume_slowly: u64::try_from(
                config.which_broker_when_consume_slowly,
            )
            .unwrap_or(0),
            notify_ids_changed_enable: config.notify_consumer_ids_changed_enable,
            sys_flag: config.group_sys_flag,
            consume_timeout_minute: config.consume_timeout_minute,
            subscriptions: (config.subscription_data_set.as_ref())
                .map(serde_json::Value::to_string),
            attributes: config.attributes.clone(),
        })
    }
}

impl From<&RetryPolicy> for GroupRetryPolicy {
    fn from(policy: &RetryPolicy) -> Self {
        let exponential = policy.exponential.map(|policy| ExponentialRetryPolicy {
            initial: policy.initial,
            max: policy.max,
            multiplier: policy.multiplier,
        });
        let customized = policy.customized.clone();
        GroupRetryPolicy {
            customized_retry_policy: customized.map(|next| CustomizedRetryPolicy { next }),
            exponential_retry_policy: exponential,
            kind: match policy.kind {
                RetryKind::Exponential => GroupRetryPolicyType::Exponential,
                RetryKind::Customized => GroupRetryPolicyType::Customized,
            },
        }
    }
}

impl From<&GroupRetryPolicy> for RetryPolicy {
    fn from(policy: &GroupRetryPolicy) -> Self {
        let exponential = policy.exponential_retry_policy;
        let customized = policy.customized_retry_policy.as_ref();
        RetryPolicy {
            kind: match policy.kind {
                GroupRetryPolicyType::Exponential => RetryKind::Exponential,
                GroupRetryPolicyType::Customized => RetryKind::Customized,
            },
            exponential: exponential.map(|policy| ExponentialRetry {
                initial: policy.initial,
                max: policy.max,
                multiplier: policy.multiplier,
            }),
            customized: customized.map(|policy| policy.next.clone()),
        }
    }
}

/// Body of request 225.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupList {
    /// The groups.
    #[serde(deserialize_with = "lenient::or_default")]
    pub group_config_list: Vec<SubscriptionGroupConfig>,
}

/// Answer to 201.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupTable {
    /// The table's version.
    #[serde(deserialize_with = "lenient::or_default")]
    pub data_version: DataVersion,
    /// Topics that groups may not read, by group.
    #[serde(deserialize_with = "lenient::or_default")]
    pub forbidden_table: BTreeMap<String, BTreeMap<String, i32>>,
    /// By name.
    #[serde(deserialize_with = "lenient::or_default")]
    pub subscription_group_table: BTreeMap<String, SubscriptionGroupConfig>,
}
