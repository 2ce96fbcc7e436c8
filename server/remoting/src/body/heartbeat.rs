//! Heartbeats (34) and the check of a client's filters (46).

use model::subscription::{ExpressionKind, Subscription};
use model::{NameError, TopicName};
use serde::{Deserialize, Serialize};

use super::lenient::{self, named};

named! {
    /// How a consumer gets its messages.
    ConsumeType {
        /// It pulls when it likes.
        ConsumeActively = "CONSUME_ACTIVELY",
        /// It has them pushed (by long pulls).
        #[default]
        ConsumePassively = "CONSUME_PASSIVELY",
        /// It pops them.
        ConsumePop = "CONSUME_POP",
    }
}

named! {
    /// Whether members share the messages or each gets all.
    MessageModel {
        /// Each gets all.
        Broadcasting = "BROADCASTING",
        /// They share.
        #[default]
        Clustering = "CLUSTERING",
    }
}

named! {
    /// Where a group without offsets begins. Only clients act on it.
    ConsumeFromWhere {
        /// At the end.
        #[default]
        LastOffset = "CONSUME_FROM_LAST_OFFSET",
        /// Legacy.
        LastOffsetAndFromMinWhenBootFirst = "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
        /// Legacy.
        MinOffset = "CONSUME_FROM_MIN_OFFSET",
        /// Legacy.
        MaxOffset = "CONSUME_FROM_MAX_OFFSET",
        /// At the beginning.
        FirstOffset = "CONSUME_FROM_FIRST_OFFSET",
        /// At a time.
        Timestamp = "CONSUME_FROM_TIMESTAMP",
    }
}

/// Body of a heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeartbeatData {
    /// The client's id: `ip@instance`, with `@STREAM` behind it for pull consumers of Java.
    #[serde(rename = "clientID", deserialize_with = "lenient::or_default")]
    pub client_id: String,
    /// Its consumer groups.
    #[serde(deserialize_with = "lenient::or_default")]
    pub consumer_data_set: Vec<ConsumerData>,
    /// Hash of the heartbeat without ids and versions (`useHeartbeatV2`); 0 in version 1.
    #[serde(deserialize_with = "lenient::number")]
    pub heartbeat_fingerprint: i32,
    /// Its producer groups.
    #[serde(deserialize_with = "lenient::or_default")]
    pub producer_data_set: Vec<ProducerData>,
    /// The subscriptions are left out because the fingerprint did not change.
    #[serde(deserialize_with = "lenient::truth")]
    pub without_sub: bool,
}

/// A consumer group of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerData {
    /// Where it begins without an offset.
    #[serde(deserialize_with = "lenient::or_default")]
    pub consume_from_where: ConsumeFromWhere,
    /// How it gets its messages.
    #[serde(deserialize_with = "lenient::or_default")]
    pub consume_type: ConsumeType,
    /// The group.
    #[serde(deserialize_with = "lenient::or_default")]
    pub group_name: String,
    /// Shared or each all.
    #[serde(deserialize_with = "lenient::or_default")]
    pub message_model: MessageModel,
    /// What it wants.
    #[serde(deserialize_with = "lenient::or_default")]
    pub subscription_data_set: Vec<SubscriptionData>,
    /// Unit mode.
    #[serde(deserialize_with = "lenient::truth")]
    pub unit_mode: bool,
}

/// A producer group of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerData {
    /// The group.
    #[serde(deserialize_with = "lenient::or_default")]
    pub group_name: String,
    /// Ours: it answers for producers that are away, and is asked about half messages behind those that are
    /// there.
    #[serde(
        deserialize_with = "lenient::truth",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub stands_in: bool,
}

/// One topic that a consumer wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionData {
    /// Legacy.
    #[serde(deserialize_with = "lenient::truth")]
    pub class_filter_mode: bool,
    /// Hashes of the tags. Go writes them as strings.
    #[serde(deserialize_with = "lenient::numbers")]
    pub code_set: Vec<i32>,
    /// `TAG` or `SQL92`; older clients leave it out.
    #[serde(deserialize_with = "lenient::or_default")]
    pub expression_type: Option<String>,
    /// The expression.
    #[serde(deserialize_with = "lenient::or_default")]
    pub sub_string: String,
    /// The client's version of it.
    #[serde(deserialize_with = "lenient::number")]
    pub sub_version: i64,
    /// The tags.
    #[serde(deserialize_with = "lenient::or_default")]
    pub tags_set: Vec<String>,
    /// The topic.
    #[serde(deserialize_with = "lenient::or_default")]
    pub topic: String,
}

impl Default for SubscriptionData {
    fn default() -> Self {
        SubscriptionData {
            class_filter_mode: false,
            code_set: Vec::new(),
            expression_type: Some("TAG".to_owned()),
            sub_string: String::new(),
            sub_version: 0,
            tags_set: Vec::new(),
            topic: String::new(),
        }
    }
}

impl From<&Subscription> for SubscriptionData {
    fn from(subscription: &Subscription) -> Self {
        SubscriptionData {
            class_filter_mode: subscription.class_filter,
            code_set: subscription.codes.clone(),
            expression_type: Some(subscription.kind.as_str().to_owned()),
            sub_string: subscription.expression.clone(),
            sub_version: subscription.version,
            tags_set: subscription.tags.clone(),
            topic: subscription.topic.to_string(),
        }
    }
}

impl TryFrom<&SubscriptionData> for Subscription {
    type Error = NameError;

    /// Checks the topic's name.
    fn try_from(data: &SubscriptionData) -> Result<Self, NameError> {
        Ok(Subscription {
            topic: TopicName::parse(&data.topic)?,
            expression: data.sub_string.clone(),
            kind: ExpressionKind::parse(data.expression_type.as_deref()),
            version: data.sub_version,
            tags: data.tags_set.clone(),
            codes: data.code_set.clone(),
            class_filter: data.class_filter_mode,
        })
    }
}

/// Body of request 46.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckClient {
    /// The client's id.
    #[serde(deserialize_with = "lenient::or_default")]
    pub client_id: String,
    /// The consumer group.
    #[serde(deserialize_with = "lenient::or_default")]
    pub group: String,
    /// The client's namespace, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What is to be checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
}
