//! The body of a registration: JSON, or one zlib stream of lengths and texts.
//!
//! A 5.3.3 broker with `compressedRegister` sends the compressed form while its header says it is not
//! (Apache's own name server then fails), so the first byte decides: `0x78` never begins JSON. Brokers
//! before 3.0.11 send only the topic table. Nothing is allocated from a length that a peer claims, and
//! what a stream may inflate to has a limit.

use std::io::Read as _;

use model::topic::DataVersion;
use serde::Deserialize;
use serde_json::Value;

use crate::route::QueueData;

/// The most that a compressed body may inflate to: 100,000 topics need about 15 MiB.
const MAX_INFLATED: u64 = 128 << 20;
/// The broker version (3.0.11) from which a body has filter servers beside the topic table.
const WITH_FILTER_SERVERS: i32 = 37;
/// The broker version (5.0.0) from which a compressed body ends in mappings of static topics.
const WITH_MAPPINGS: i32 = 413;

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

/// Why a body was not understood.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Not the JSON that was expected.
    #[error("the register body is not readable: {0}")]
    Json(#[from] serde_json::Error),
    /// Not a zlib stream, or one that ends early or inflates to too much.
    #[error("the register body cannot be inflated: {0}")]
    Inflate(#[from] std::io::Error),
    /// A compressed part that does not have its form.
    #[error("the register body has a broken {0}")]
    Broken(&'static str),
}

/// Apache's checksum of a body: CRC-32 without its top bit. Nothing has the sum 0.
pub fn crc32(body: &[u8]) -> i32 {
    (crc32fast::hash(body) & 0x7FFF_FFFF) as i32
}

/// Reads the body that a broker of `version` registers with.
pub fn read(body: &[u8], compressed: bool, version: i32) -> Result<Registered, BodyError> {
    if body.is_empty() {
        return Ok(Registered::default());
    }
    if version < WITH_FILTER_SERVERS {
        return Ok(serde_json::from_slice::<Wrapper>(body)?.registered(None));
    }
    if compressed || body.first() == Some(&0x78) {
        return inflate(body, version);
    }
    let body: Body = serde_json::from_slice(body)?;
    let servers = body.filter_server_list.unwrap_or_default();
    Ok(body
        .topic_config_serialize_wrapper
        .registered(Some(servers)))
}

/// Reads a data version (322).
pub fn read_version(body: &[u8]) -> Option<DataVersion> {
    serde_json::from_slice::<Version>(body)
        .ok()
        .map(Version::model)
}

/// Writes a data version (322).
pub fn write_version(version: DataVersion) -> String {
    format!(
        "{{\"counter\":{},\"stateVersion\":{},\"timestamp\":{}}}",
        version.counter, version.state_version, version.timestamp
    )
}

/// Reads the queues of 217's body (Apache `TopicRouteData`).
pub fn read_queues(body: &[u8]) -> Option<Vec<(String, QueueData)>> {
    let route: RouteBody = serde_json::from_slice(body).ok()?;
    let queues = route.queue_datas.into_iter();
    Some(queues.map(|q| (q.broker_name.clone(), q.data())).collect())
}

fn inflate(body: &[u8], version: i32) -> Result<Registered, BodyError> {
    let mut bytes = Vec::new();
    let stream = flate2::read::ZlibDecoder::new(body);
    stream.take(MAX_INFLATED + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_INFLATED {
        return Err(BodyError::Broken("size: it inflates to too much"));
    }
    let mut parts = Parts(&bytes);
    let table: Version = serde_json::from_slice(parts.part("data version")?)?;
    let mut registered = Registered {
        version: table.model(),
        ..Registered::default()
    };
    for _ in 0..parts.count("topic count")? {
        let topic = topic(parts.part("topic")?);
        registered
            .topics
            .push(topic.ok_or(BodyError::Broken("topic"))?);
    }
    let servers = serde_json::from_slice(parts.part("list of filter servers")?);
    registered.filter_servers = Some(servers.unwrap_or_default());
    if version >= WITH_MAPPINGS {
        for _ in 0..parts.count("mapping count")? {
            let mapping: Value = serde_json::from_slice(parts.part("mapping")?)?;
            registered.mappings.extend(named(mapping));
        }
    }
    Ok(registered)
}

/// A topic as text: `name readQ writeQ perm SINGLE_TAG {attributes}`.
fn topic(text: &[u8]) -> Option<(String, QueueData)> {
    let mut words = std::str::from_utf8(text).ok()?.split(' ');
    let name = words.next()?.to_owned();
    let data = QueueData {
        read_queues: words.next()?.parse().ok()?,
        write_queues: words.next()?.parse().ok()?,
        perm: words.next()?.parse().ok()?,
        sys_flag: 0,
    };
    words.next().map(|_| (name, data))
}

/// A mapping with its topic and the broker name that it is kept under.
fn named(mapping: Value) -> Option<(String, String, Value)> {
    let text = |key| mapping.get(key).and_then(Value::as_str).map(str::to_owned);
    Some((text("topic")?, text("bname")?, mapping))
}

/// Lengths and bytes, one after the other.
struct Parts<'b>(&'b [u8]);

impl<'b> Parts<'b> {
    fn count(&mut self, what: &'static str) -> Result<u32, BodyError> {
        let broken = BodyError::Broken(what);
        let Some((word, rest)) = self.0.split_first_chunk::<4>() else {
            return Err(broken);
        };
        self.0 = rest;
        let count = i32::from_be_bytes(*word);
        u32::try_from(count).map_err(|_| broken)
    }

    fn part(&mut self, what: &'static str) -> Result<&'b [u8], BodyError> {
        let length = self.count(what)? as usize;
        let split = self.0.split_at_checked(length);
        let (part, rest) = split.ok_or(BodyError::Broken(what))?;
        self.0 = rest;
        Ok(part)
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    #[serde(deserialize_with = "or_default")]
    topic_config_serialize_wrapper: Wrapper,
    filter_server_list: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wrapper {
    #[serde(deserialize_with = "or_default")]
    data_version: Version,
    #[serde(deserialize_with = "or_default")]
    topic_config_table: std::collections::BTreeMap<String, Topic>,
    #[serde(deserialize_with = "or_default")]
    topic_queue_mapping_info_map: std::collections::BTreeMap<String, Value>,
}

impl Wrapper {
    fn registered(self, filter_servers: Option<Vec<String>>) -> Registered {
        let topics = self.topic_config_table.into_iter();
        let mappings = self.topic_queue_mapping_info_map.into_values();
        Registered {
            version: self.data_version.model(),
            topics: topics.map(|(key, topic)| topic.entry(key)).collect(),
            mappings: mappings.filter_map(named).collect(),
            filter_servers,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Version {
    #[serde(deserialize_with = "number")]
    state_version: i64,
    #[serde(deserialize_with = "number")]
    timestamp: i64,
    #[serde(deserialize_with = "number")]
    counter: i64,
}

impl Version {
    fn model(self) -> DataVersion {
        DataVersion {
            state_version: self.state_version,
            timestamp: self.timestamp,
            counter: self.counter,
        }
    }
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Topic {
    topic_name: Option<String>,
    #[serde(deserialize_with = "number")]
    read_queue_nums: i64,
    #[serde(deserialize_with = "number")]
    write_queue_nums: i64,
    #[serde(deserialize_with = "number")]
    perm: i64,
    #[serde(deserialize_with = "number")]
    topic_sys_flag: i64,
}

/// What a field means that a broker leaves out (Apache `TopicConfig`).
impl Default for Topic {
    fn default() -> Topic {
        Topic {
            topic_name: None,
            read_queue_nums: 16,
            write_queue_nums: 16,
            perm: 6,
            topic_sys_flag: 0,
        }
    }
}

impl Topic {
    fn entry(self, key: String) -> (String, QueueData) {
        let data = QueueData {
            read_queues: clamp(self.read_queue_nums),
            write_queues: clamp(self.write_queue_nums),
            perm: clamp(self.perm),
            sys_flag: clamp(self.topic_sys_flag),
        };
        (self.topic_name.unwrap_or(key), data)
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RouteBody {
    #[serde(deserialize_with = "or_default")]
    queue_datas: Vec<QueueBody>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct QueueBody {
    broker_name: String,
    #[serde(deserialize_with = "number")]
    read_queue_nums: i64,
    #[serde(deserialize_with = "number")]
    write_queue_nums: i64,
    #[serde(deserialize_with = "number")]
    perm: i64,
    #[serde(deserialize_with = "number")]
    topic_sys_flag: i64,
}

impl QueueBody {
    fn data(&self) -> QueueData {
        QueueData {
            read_queues: clamp(self.read_queue_nums),
            write_queues: clamp(self.write_queue_nums),
            perm: clamp(self.perm),
            sys_flag: clamp(self.topic_sys_flag),
        }
    }
}

fn clamp(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}

/// A number, also in quotes; null is 0.
fn number<'de, D: serde::Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let value = Value::deserialize(from)?;
    let number = match &value {
        Value::Null => Some(0),
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| serde::de::Error::custom(format!("{value} is not a number")))
}

/// A value, or null for its default.
fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
