//! Queue locks of orderly consumers (41, 42).

use serde::{Deserialize, Serialize};

use super::{MessageQueue, lenient};

/// Body of requests 41 and 42.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LockRequest {
    /// Who locks.
    #[serde(deserialize_with = "lenient::or_default")]
    pub client_id: String,
    /// For which group.
    #[serde(deserialize_with = "lenient::or_default")]
    pub consumer_group: String,
    /// Which queues.
    #[serde(deserialize_with = "lenient::or_default")]
    pub mq_set: Vec<MessageQueue>,
    /// Do not ask the other members of the broker set.
    #[serde(deserialize_with = "lenient::truth")]
    pub only_this_broker: bool,
}

/// Answer to 41: what the client holds now of what it asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LockAnswer {
    /// The queues, exactly as they were asked for.
    #[serde(rename = "lockOKMQSet", deserialize_with = "lenient::or_default")]
    pub locked: Vec<MessageQueue>,
}
