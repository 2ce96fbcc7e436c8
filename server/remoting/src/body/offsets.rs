//! Offsets of groups: all that are committed (43), those of running consumers (221, 223), and where a
//! group is sent (220, 222).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DataVersion, QueueMap, lenient};

/// Answer to 43.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerOffsets {
    /// The table's version.
    #[serde(deserialize_with = "lenient::or_default")]
    pub data_version: DataVersion,
    /// The topics of each group.
    #[serde(deserialize_with = "lenient::or_default")]
    pub group_topic_map: BTreeMap<String, Vec<String>>,
    /// By `topic@group`, then by queue.
    #[serde(deserialize_with = "lenient::or_default")]
    pub offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
}

/// Answer to 221: a consumer's offsets in a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueOffsets {
    /// The offset in each queue.
    #[serde(deserialize_with = "lenient::or_default")]
    pub message_queue_table: QueueMap<i64>,
}

/// Answer to 223: those of several consumers, by client id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerStatus {
    /// The offsets of each consumer.
    #[serde(deserialize_with = "lenient::or_default")]
    pub consumer_table: BTreeMap<String, QueueMap<i64>>,
}

/// Answer to 222, and the body of 220: where a group is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsets {
    /// The new offset in each queue.
    #[serde(deserialize_with = "lenient::or_default")]
    pub offset_table: QueueMap<i64>,
}

/// The body of 220 as the C++ client reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsetList {
    /// The new offset in each queue.
    pub offset_table: Vec<QueueOffset>,
}

/// One queue of a [`ResetOffsetList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueOffset {
    /// The broker.
    pub broker_name: String,
    /// The offset.
    pub offset: i64,
    /// The queue.
    pub queue_id: i32,
    /// The topic.
    pub topic: String,
}
