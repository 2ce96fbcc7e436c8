//! What a running consumer says of itself: answers to 307 and 309.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{QueueMap, SubscriptionData, lenient, lenient::named};

const STARTED_AT: &str = "PROP_CONSUMER_START_TIMESTAMP";

/// Answer to 307 (Apache `ConsumerRunningInfo`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunningInfo {
    /// What it has of each queue that it pulls.
    #[serde(deserialize_with = "lenient::or_default")]
    pub mq_table: QueueMap<HeldQueue>,
    /// What it has of each queue that it pops.
    #[serde(
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "QueueMap::is_empty"
    )]
    pub mq_pop_table: QueueMap<PoppedQueue>,
    /// See [`RunningInfo::PROPERTIES`].
    #[serde(deserialize_with = "lenient::or_default")]
    pub properties: BTreeMap<String, String>,
    /// How fast it is, by topic.
    #[serde(deserialize_with = "lenient::or_default")]
    pub status_table: BTreeMap<String, serde_json::Value>,
    /// What it wants.
    #[serde(deserialize_with = "lenient::or_default")]
    pub subscription_set: Vec<SubscriptionData>,
}

impl RunningInfo {
    /// The properties that Apache's tools read.
    pub const PROPERTIES: [&str; 5] = [
        "PROP_NAMESERVER_ADDR",
        "PROP_CONSUME_TYPE",
        "PROP_CLIENT_VERSION",
        STARTED_AT,
        "PROP_CONSUMEORDERLY",
    ];

    /// When it was started by its own clock, in milliseconds since the Unix epoch; if it says so.
    pub fn started_at(&self) -> Option<i64> {
        let said = self.properties.get(STARTED_AT)?.parse().ok();
        said.filter(|at| *at > 0)
    }

    /// Messages that it has and is not done with.
    pub fn in_hand(&self) -> u64 {
        let pulled = self.mq_table.0.iter();
        let pulled = pulled.map(|(_, own)| own.cached_msg_count);
        let popped = self.mq_pop_table.0.iter();
        let popped = popped.map(|(_, own)| own.wait_ack_count);
        let all = pulled.chain(popped);
        all.map(|count| u64::try_from(count).unwrap_or(0)).sum()
    }
}

/// What a consumer has of one queue (Apache `ProcessQueueInfo`). Times are milliseconds since the Unix
/// epoch, 0 for never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeldQueue {
    /// Messages that are not done.
    #[serde(deserialize_with = "lenient::number")]
    pub cached_msg_count: i64,
    /// The last one's offset.
    #[serde(deserialize_with = "lenient::number")]
    pub cached_msg_max_offset: i64,
    /// The first one's offset.
    #[serde(deserialize_with = "lenient::number")]
    pub cached_msg_min_offset: i64,
    /// Their size.
    #[serde(rename = "cachedMsgSizeInMiB", deserialize_with = "lenient::number")]
    pub cached_mib: i64,
    /// What may be committed.
    #[serde(deserialize_with = "lenient::number")]
    pub commit_offset: i64,
    /// It is somebody else's now (Java's spelling).
    #[serde(deserialize_with = "lenient::truth")]
    pub droped: bool,
    /// When a message was done.
    #[serde(deserialize_with = "lenient::number")]
    pub last_consume_timestamp: i64,
    /// When the broker said that it is locked for this consumer.
    #[serde(deserialize_with = "lenient::number")]
    pub last_lock_timestamp: i64,
    /// When it was pulled.
    #[serde(deserialize_with = "lenient::number")]
    pub last_pull_timestamp: i64,
    /// Whether the broker said that it is locked for this consumer.
    #[serde(deserialize_with = "lenient::truth")]
    pub locked: bool,
}

/// What a consumer has of one queue that it pops (Apache `PopProcessQueueInfo`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PoppedQueue {
    /// Messages that are not done.
    #[serde(deserialize_with = "lenient::number")]
    pub wait_ack_count: i64,
    /// It is somebody else's now (Java's spelling).
    #[serde(deserialize_with = "lenient::truth")]
    pub droped: bool,
    /// When it was popped, milliseconds since the Unix epoch.
    #[serde(deserialize_with = "lenient::number")]
    pub last_pop_timestamp: i64,
}

named! {
    /// What became of a message that was handed to one consumer.
    DirectOutcome {
        /// It is done.
        #[default]
        Success = "CR_SUCCESS",
        /// It is to come again.
        Later = "CR_LATER",
        /// Legacy.
        Rollback = "CR_ROLLBACK",
        /// Legacy.
        Commit = "CR_COMMIT",
        /// The handler failed.
        ThrowException = "CR_THROW_EXCEPTION",
        /// Java's handlers may return nothing.
        ReturnNull = "CR_RETURN_NULL",
    }
}

/// Answer to 309 (Apache `ConsumeMessageDirectlyResult`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DirectResult {
    /// Legacy.
    #[serde(deserialize_with = "lenient::truth")]
    pub auto_commit: bool,
    /// What became of it.
    #[serde(deserialize_with = "lenient::or_default")]
    pub consume_result: DirectOutcome,
    /// Whether the consumer is an orderly one.
    #[serde(deserialize_with = "lenient::truth")]
    pub order: bool,
    /// Why, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
    /// How long it took, in milliseconds.
    #[serde(deserialize_with = "lenient::number")]
    pub spent_time_mills: i64,
}
