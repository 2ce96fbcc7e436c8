//! Who is connected: answers to 203 and 204.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ConsumeFromWhere, ConsumeType, MessageModel, SubscriptionData, lenient};

/// One connection of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Connection {
    /// `ip:port`.
    #[serde(deserialize_with = "lenient::or_default")]
    pub client_addr: String,
    /// The client's id.
    #[serde(deserialize_with = "lenient::or_default")]
    pub client_id: String,
    /// `JAVA`, `GO`, …
    #[serde(deserialize_with = "lenient::or_default")]
    pub language: String,
    /// See [`crate::version`].
    #[serde(deserialize_with = "lenient::number")]
    pub version: i32,
}

/// Answer to 203.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerConnection {
    /// The members.
    #[serde(deserialize_with = "lenient::or_default")]
    pub connection_set: Vec<Connection>,
    /// Where the group begins without an offset.
    #[serde(deserialize_with = "lenient::or_default")]
    pub consume_from_where: ConsumeFromWhere,
    /// How it gets its messages.
    #[serde(deserialize_with = "lenient::or_default")]
    pub consume_type: ConsumeType,
    /// Shared or each all.
    #[serde(deserialize_with = "lenient::or_default")]
    pub message_model: MessageModel,
    /// How the members disagree about what to consume, in words. Ours: Apache does not notice. Its
    /// tools pass over fields they do not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_divergence: Option<String>,
    /// By topic.
    #[serde(deserialize_with = "lenient::or_default")]
    pub subscription_table: BTreeMap<String, SubscriptionData>,
}

/// Answer to 204.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerConnection {
    /// The members.
    #[serde(deserialize_with = "lenient::or_default")]
    pub connection_set: Vec<Connection>,
}
