//! How far queues and groups are, and what went through: answers to 202, 208, 315 and 317.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{QueueMap, lenient};

/// Answer to 202 (Apache `TopicStatsTable`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicStats {
    /// By queue.
    pub offset_table: QueueMap<QueueStats>,
    /// Messages a second. Brokers before 5.0 do not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_put_tps: Option<f64>,
}

/// One queue's range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueStats {
    /// Store time of its newest message, milliseconds since the Unix epoch; 0 for none.
    #[serde(deserialize_with = "lenient::number")]
    pub last_update_timestamp: i64,
    /// Its end.
    #[serde(deserialize_with = "lenient::number")]
    pub max_offset: i64,
    /// Its start.
    #[serde(deserialize_with = "lenient::number")]
    pub min_offset: i64,
}

/// Answer to 208.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStats {
    /// Messages a second.
    pub consume_tps: f64,
    /// By queue.
    pub offset_table: QueueMap<QueueProgress>,
}

/// How far a group is in one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueProgress {
    /// The queue's end.
    #[serde(deserialize_with = "lenient::number")]
    pub broker_offset: i64,
    /// What is committed.
    #[serde(deserialize_with = "lenient::number")]
    pub consumer_offset: i64,
    /// Store time of the last consumed message, milliseconds since the Unix epoch.
    #[serde(deserialize_with = "lenient::number")]
    pub last_timestamp: i64,
    /// What was pulled.
    #[serde(deserialize_with = "lenient::number")]
    pub pull_offset: i64,
    /// How long the oldest message lies there that the group may get now, milliseconds. Ours, for whoever asks for
    /// it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_for: Option<i64>,
}

/// Answer to 315.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerStatsData {
    /// Over the last day.
    pub stats_day: BrokerStatsItem,
    /// Over the last hour.
    pub stats_hour: BrokerStatsItem,
    /// Over the last minute.
    pub stats_minute: BrokerStatsItem,
}

/// One window of a statistics item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BrokerStatsItem {
    /// Per request.
    pub avgpt: f64,
    /// All of it.
    #[serde(deserialize_with = "lenient::number")]
    pub sum: i64,
    /// A second.
    pub tps: f64,
}

/// Answer to 1007 (Apache `EpochEntryCache`), as far as it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EpochList {
    /// The epochs of its log, oldest first.
    #[serde(deserialize_with = "lenient::or_default")]
    pub epoch_list: Vec<Epoch>,
}

/// A time with one master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Epoch {
    /// Its number.
    #[serde(deserialize_with = "lenient::number")]
    pub epoch: i64,
}

/// Answer to 317 (Apache `ConsumeStatsList`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerConsumeStats {
    /// The broker's address.
    #[serde(deserialize_with = "lenient::or_default")]
    pub broker_addr: String,
    /// A map of one group each, to its topics.
    pub consume_stats_list: Vec<BTreeMap<String, Vec<ConsumeStats>>>,
    /// Messages that are not committed yet.
    #[serde(deserialize_with = "lenient::number")]
    pub total_diff: i64,
    /// Of these, those that were handed out.
    #[serde(deserialize_with = "lenient::number")]
    pub total_inflight_diff: i64,
}
