//! All committed offsets of a broker (43).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DataVersion, lenient};

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
