//! Topic configurations and their version.

use std::collections::BTreeMap;

use model::flag::Perm;
use model::topic::FilterType;
use model::{NameError, TopicName};
use serde::{Deserialize, Serialize};

use super::lenient;

/// A topic's configuration (Apache `TopicConfig`). 4.x has no attributes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfig {
    /// Keys without the `+` of a request; in a request, with it.
    #[serde(deserialize_with = "lenient::or_default")]
    pub attributes: BTreeMap<String, String>,
    /// Whether the topic is ordered.
    #[serde(deserialize_with = "lenient::truth")]
    pub order: bool,
    /// Bits: 1 inherit, 2 write, 4 read.
    #[serde(deserialize_with = "lenient::number")]
    pub perm: u32,
    /// Queues that consumers read.
    #[serde(deserialize_with = "lenient::number")]
    pub read_queue_nums: u32,
    /// `SINGLE_TAG` or `MULTI_TAG`.
    #[serde(deserialize_with = "lenient::or_default")]
    pub topic_filter_type: String,
    /// The name.
    #[serde(deserialize_with = "lenient::or_default")]
    pub topic_name: String,
    /// Unit bits.
    #[serde(deserialize_with = "lenient::number")]
    pub topic_sys_flag: i32,
    /// Queues that producers write.
    #[serde(deserialize_with = "lenient::number")]
    pub write_queue_nums: u32,
}

impl Default for TopicConfig {
    fn default() -> TopicConfig {
        TopicConfig {
            attributes: BTreeMap::new(),
            order: false,
            perm: 6,
            read_queue_nums: 16,
            topic_filter_type: FilterType::SingleTag.as_str().to_owned(),
            topic_name: String::new(),
            topic_sys_flag: 0,
            write_queue_nums: 16,
        }
    }
}

impl From<&model::topic::TopicConfig> for TopicConfig {
    fn from(config: &model::topic::TopicConfig) -> TopicConfig {
        TopicConfig {
            attributes: config.attributes.clone(),
            order: config.order,
            perm: config.perm.0,
            read_queue_nums: config.read_queues,
            topic_filter_type: config.filter.as_str().to_owned(),
            topic_name: config.name.to_string(),
            topic_sys_flag: config.sys_flag,
            write_queue_nums: config.write_queues,
        }
    }
}

impl TryFrom<&TopicConfig> for model::topic::TopicConfig {
    type Error = NameError;

    /// Checks the name. An unknown filter type is `SINGLE_TAG`.
    fn try_from(config: &TopicConfig) -> Result<Self, NameError> {
        let filter = FilterType::parse(&config.topic_filter_type);
        Ok(model::topic::TopicConfig {
            name: TopicName::parse(&config.topic_name)?,
            read_queues: config.read_queue_nums,
            write_queues: config.write_queue_nums,
            perm: Perm(config.perm),
            filter: filter.unwrap_or(FilterType::SingleTag),
            sys_flag: config.topic_sys_flag,
            order: config.order,
            attributes: config.attributes.clone(),
        })
    }
}

/// Body of request 18.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigList {
    /// The topics.
    #[serde(deserialize_with = "lenient::or_default")]
    pub topic_config_list: Vec<TopicConfig>,
}

/// The version of a table (Apache `DataVersion`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataVersion {
    /// Number of changes.
    #[serde(deserialize_with = "lenient::number")]
    pub counter: i64,
    /// Epoch of the broker that wrote it.
    #[serde(deserialize_with = "lenient::number")]
    pub state_version: i64,
    /// Milliseconds since the Unix epoch of the last change.
    #[serde(deserialize_with = "lenient::number")]
    pub timestamp: i64,
}

impl From<model::topic::DataVersion> for DataVersion {
    fn from(version: model::topic::DataVersion) -> DataVersion {
        DataVersion {
            counter: version.counter,
            state_version: version.state_version,
            timestamp: version.timestamp,
        }
    }
}

impl From<DataVersion> for model::topic::DataVersion {
    fn from(version: DataVersion) -> model::topic::DataVersion {
        model::topic::DataVersion {
            state_version: version.state_version,
            timestamp: version.timestamp,
            counter: version.counter,
        }
    }
}

/// All topics of a broker: answer to 21, and part of a registration (Apache
/// `TopicConfigAndMappingSerializeWrapper`). Static topics do not exist here, so their maps are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigTable {
    /// The table's version.
    #[serde(deserialize_with = "lenient::or_default")]
    pub data_version: DataVersion,
    /// Version of the static topics' table.
    #[serde(deserialize_with = "lenient::or_default")]
    pub mapping_data_version: DataVersion,
    /// By name.
    #[serde(deserialize_with = "lenient::or_default")]
    pub topic_config_table: BTreeMap<String, TopicConfig>,
    /// Static topics.
    #[serde(deserialize_with = "lenient::or_default")]
    pub topic_queue_mapping_detail_map: BTreeMap<String, serde_json::Value>,
    /// Static topics.
    #[serde(deserialize_with = "lenient::or_default")]
    pub topic_queue_mapping_info_map: BTreeMap<String, serde_json::Value>,
}

impl TopicConfigTable {
    /// These topics under a version of the table. That of the static topics' is as old, with no change.
    pub fn new<'a>(
        version: model::topic::DataVersion,
        topics: impl IntoIterator<Item = &'a model::topic::TopicConfig>,
    ) -> TopicConfigTable {
        let topics = topics.into_iter();
        TopicConfigTable {
            data_version: version.into(),
            mapping_data_version: DataVersion {
                timestamp: version.timestamp,
                ..DataVersion::default()
            },
            topic_config_table: topics.map(|t| (t.name.to_string(), t.into())).collect(),
            ..TopicConfigTable::default()
        }
    }
}
