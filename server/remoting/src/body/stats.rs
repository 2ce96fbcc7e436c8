//! How far queues and groups are: answers to 202 and 208.

use serde::{Deserialize, Serialize};

use super::{QueueMap, lenient};

/// Answer to 202 (Apache `TopicStatsTable`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicStats {
    /// By queue.
    pub offset_table: QueueMap<QueueStats>,
    /// Messages a second.
    pub topic_put_tps: f64,
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
}
