//! Where topics and brokers are: answers of name servers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::lenient;

/// Answer to 105, body of 217 (Apache `TopicRouteData`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicRoute {
    /// The brokers that hold the topic.
    #[serde(deserialize_with = "lenient::or_default")]
    pub broker_datas: Vec<BrokerData>,
    /// Legacy.
    #[serde(deserialize_with = "lenient::or_default")]
    pub filter_server_table: BTreeMap<String, Vec<String>>,
    /// `broker:queues;broker:queues` of an ordered topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_topic_conf: Option<String>,
    /// The topic's queues, one entry a broker.
    #[serde(deserialize_with = "lenient::or_default")]
    pub queue_datas: Vec<QueueData>,
    /// Static topics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_queue_mapping_by_broker: Option<serde_json::Value>,
}

/// The members of a broker set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerData {
    /// By broker id; 0 is the master. Go reads this object's text: no blanks in it.
    #[serde(deserialize_with = "lenient::or_default")]
    pub broker_addrs: BTreeMap<i64, String>,
    /// The set's name.
    #[serde(deserialize_with = "lenient::or_default")]
    pub broker_name: String,
    /// Its cluster.
    #[serde(deserialize_with = "lenient::or_default")]
    pub cluster: String,
    /// Whether a slave may stand in for the master.
    #[serde(deserialize_with = "lenient::truth")]
    pub enable_acting_master: bool,
    /// Its zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_name: Option<String>,
}

/// A topic's queues on one broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueData {
    /// The broker.
    #[serde(deserialize_with = "lenient::or_default")]
    pub broker_name: String,
    /// Bits: 1 inherit, 2 write, 4 read.
    #[serde(deserialize_with = "lenient::number")]
    pub perm: u32,
    /// Queues that consumers read.
    #[serde(deserialize_with = "lenient::number")]
    pub read_queue_nums: u32,
    /// Unit bits.
    #[serde(deserialize_with = "lenient::number")]
    pub topic_sys_flag: i32,
    /// Queues that producers write.
    #[serde(deserialize_with = "lenient::number")]
    pub write_queue_nums: u32,
}

/// Answer to 106.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterInfo {
    /// By broker name.
    #[serde(deserialize_with = "lenient::or_default")]
    pub broker_addr_table: BTreeMap<String, BrokerData>,
    /// Broker names by cluster.
    #[serde(deserialize_with = "lenient::or_default")]
    pub cluster_addr_table: BTreeMap<String, BTreeSet<String>>,
}

/// Answer to 901.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemberGroup {
    /// The set.
    #[serde(deserialize_with = "lenient::or_default")]
    pub broker_member_group: BrokerMembers,
}

/// A broker set, as 901 shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerMembers {
    /// By broker id.
    #[serde(deserialize_with = "lenient::or_default")]
    pub broker_addrs: BTreeMap<i64, String>,
    /// The set's name.
    #[serde(deserialize_with = "lenient::or_default")]
    pub broker_name: String,
    /// Its cluster.
    #[serde(deserialize_with = "lenient::or_default")]
    pub cluster: String,
}
