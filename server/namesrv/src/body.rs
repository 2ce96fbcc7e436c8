//! What a registration's body says, and how a route's body is written: the name server's side of
//! `remoting::body`.

use model::topic::DataVersion;
use remoting::body::{self, BodyError, Dialect, RegisterBroker, TopicRoute};
use serde_json::Value;

use crate::route::QueueData;

/// The broker version (3.0.11) from which a body can name filter servers.
const WITH_FILTER_SERVERS: i32 = 37;

/// What a registration's body says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registered {
    /// The version of the topic table.
    pub version: DataVersion,
    /// Topics and their queues.
    pub topics: Vec<(String, QueueData)>,
    /// Static topics: topic, broker name in the mapping, the mapping.
    pub mappings: Vec<(String, String, Value)>,
    /// Filter servers, if the body can name them.
    pub filter_servers: Option<Vec<String>>,
}

/// Apache's checksum of a body: CRC-32 without its top bit. Nothing has the sum 0.
pub fn crc32(body: &[u8]) -> i32 {
    (crc32fast::hash(body) & 0x7FFF_FFFF) as i32
}

/// Reads the body that a broker of `version` registers with; an empty one is an empty table.
pub fn read(body: &[u8], version: i32) -> Result<Registered, BodyError> {
    if body.is_empty() {
        return Ok(Registered::default());
    }
    let body = RegisterBroker::read(body, version)?;
    let table = body.topic_config_serialize_wrapper;
    let topics = table.topic_config_table.into_iter();
    let mappings = table.topic_queue_mapping_info_map.into_values();
    let named = |(key, topic): (String, body::TopicConfig)| {
        let data = QueueData::from(&topic);
        let name = topic.topic_name;
        (if name.is_empty() { key } else { name }, data)
    };
    Ok(Registered {
        version: table.data_version.into(),
        topics: topics.map(named).collect(),
        mappings: mappings.filter_map(mapping).collect(),
        filter_servers: (version >= WITH_FILTER_SERVERS).then_some(body.filter_server_list),
    })
}

/// A mapping with its topic and the broker name that it is kept under.
fn mapping(mapping: Value) -> Option<(String, String, Value)> {
    let text = |key| mapping.get(key).and_then(Value::as_str).map(str::to_owned);
    Some((text("topic")?, text("bname")?, mapping))
}

/// Writes a route. Standard JSON is kept in ASCII, as Apache keeps it.
pub fn write_route(route: &TopicRoute, dialect: Dialect, out: &mut Vec<u8>) {
    let start = out.len();
    body::write(route, dialect, out);
    if dialect == Dialect::Standard && !out[start..].is_ascii() {
        let text = String::from_utf8_lossy(&out[start..]).into_owned();
        out.truncate(start);
        escape(&text, out);
    }
}

/// JSON with everything beyond ASCII as `\uXXXX`. That stands in strings only.
fn escape(text: &str, out: &mut Vec<u8>) {
    let mut units = [0; 2];
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c as u8);
            continue;
        }
        for unit in c.encode_utf16(&mut units) {
            out.extend_from_slice(format!("\\u{unit:04X}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
