//! What a broker tells a name server (103): its topics, as JSON or compressed.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};

use super::fastjson::{self, BodyError};
use super::{DataVersion, TopicConfig, TopicConfigTable, lenient};
use crate::version;

/// Body of request 103 (Apache `RegisterBrokerBody`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegisterBroker {
    /// Legacy.
    #[serde(deserialize_with = "lenient::or_default")]
    pub filter_server_list: Vec<String>,
    /// The topics and their version.
    #[serde(deserialize_with = "lenient::or_default")]
    pub topic_config_serialize_wrapper: TopicConfigs,
}

/// The topics of a registration.
pub type TopicConfigs = TopicConfigTable;

/// The first byte of a zlib stream.
const ZLIB: u8 = 0x78;
/// The largest table a compressed body may unfold to.
const INFLATED_MAX: u64 = 128 * 1024 * 1024;

impl RegisterBroker {
    /// Reads a body of either form, from a broker of this version. A body that is zlib is read as
    /// such whatever the request's `compressed` says: 5.3.3 sends `false` with some settings.
    ///
    /// # Errors
    /// If it is neither.
    pub fn read(body: &[u8], version: i32) -> Result<RegisterBroker, BodyError> {
        if body.first() == Some(&ZLIB) {
            return read_compressed(body, version);
        }
        if version < version::V3_0_11 {
            return Ok(RegisterBroker {
                filter_server_list: Vec::new(),
                topic_config_serialize_wrapper: fastjson::from_slice(body)?,
            });
        }
        fastjson::from_slice(body)
    }

    /// The JSON form.
    pub fn to_json(&self) -> Vec<u8> {
        fastjson::to_vec(self)
    }

    /// The compressed form. It has no room for a topic's order and system flag.
    ///
    /// # Errors
    /// None in practice: it is written into memory.
    pub fn to_compressed(&self) -> std::io::Result<Vec<u8>> {
        let table = &self.topic_config_serialize_wrapper;
        let mut out = ZlibEncoder::new(Vec::new(), Compression::best());
        write_item(&mut out, &fastjson::to_vec(&table.data_version))?;
        out.write_all(&(table.topic_config_table.len() as u32).to_be_bytes())?;
        for config in table.topic_config_table.values() {
            write_item(&mut out, topic_line(config).as_bytes())?;
        }
        write_item(&mut out, &fastjson::to_vec(&self.filter_server_list))?;
        out.write_all(&0u32.to_be_bytes())?;
        out.finish()
    }
}

fn write_item(out: &mut impl Write, item: &[u8]) -> std::io::Result<()> {
    out.write_all(&(item.len() as u32).to_be_bytes())?;
    out.write_all(item)
}

/// `name readQueues writeQueues perm SINGLE_TAG {attributes}`
fn topic_line(config: &TopicConfig) -> String {
    let attributes = fastjson::to_vec(&config.attributes);
    format!(
        "{} {} {} {} {} {}",
        config.topic_name,
        config.read_queue_nums,
        config.write_queue_nums,
        config.perm,
        config.topic_filter_type,
        String::from_utf8_lossy(&attributes)
    )
}

fn read_topic_line(line: &str) -> Option<TopicConfig> {
    let mut parts = line.splitn(6, ' ');
    Some(TopicConfig {
        topic_name: parts.next()?.to_owned(),
        read_queue_nums: parts.next()?.parse().ok()?,
        write_queue_nums: parts.next()?.parse().ok()?,
        perm: parts.next()?.parse().ok()?,
        topic_filter_type: parts.next()?.to_owned(),
        attributes: match parts.next() {
            Some(json) if !json.is_empty() => fastjson::from_slice(json.as_bytes()).ok()?,
            _ => BTreeMap::new(),
        },
        ..TopicConfig::default()
    })
}

fn read_compressed(body: &[u8], version: i32) -> Result<RegisterBroker, BodyError> {
    let mut bytes = Vec::new();
    let inflated = ZlibDecoder::new(body)
        .take(INFLATED_MAX + 1)
        .read_to_end(&mut bytes);
    if inflated.is_err() {
        return Err(BodyError::Syntax(0));
    }
    if bytes.len() as u64 > INFLATED_MAX {
        return Err(BodyError::TooLarge);
    }
    let mut items = Items {
        bytes: &bytes,
        at: 0,
    };
    let mut register = RegisterBroker::default();
    let table = &mut register.topic_config_serialize_wrapper;
    table.data_version = fastjson::from_slice::<DataVersion>(items.item()?)?;
    for _ in 0..items.count()? {
        let at = items.at;
        let line = std::str::from_utf8(items.item()?).ok();
        let config = line.and_then(read_topic_line);
        let config = config.ok_or(BodyError::Syntax(at))?;
        (table.topic_config_table).insert(config.topic_name.clone(), config);
    }
    let filters = items.item()?;
    if !filters.is_empty() {
        register.filter_server_list = fastjson::from_slice(filters)?;
    }
    // The mappings of static topics follow from 5.0.0 on; some brokers leave even the count out.
    if version >= version::V5_0_0 && items.at < bytes.len() {
        for _ in 0..items.count()? {
            let mapping: serde_json::Value = fastjson::from_slice(items.item()?)?;
            let topic = mapping.get("topic").and_then(serde_json::Value::as_str);
            if let Some(topic) = topic.map(str::to_owned) {
                let mappings = &mut register.topic_config_serialize_wrapper;
                (mappings.topic_queue_mapping_info_map).insert(topic, mapping);
            }
        }
    }
    Ok(register)
}

/// Length-prefixed pieces.
struct Items<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Items<'b> {
    fn count(&mut self) -> Result<u32, BodyError> {
        let broken = BodyError::Syntax(self.at);
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let count = rest.first_chunk::<4>().ok_or(broken)?;
        self.at += 4;
        Ok(u32::from_be_bytes(*count))
    }

    fn item(&mut self) -> Result<&'b [u8], BodyError> {
        let length = self.count()? as usize;
        let end = self.at.saturating_add(length);
        let item = self.bytes.get(self.at..end);
        let item = item.ok_or(BodyError::Syntax(self.at))?;
        self.at = end;
        Ok(item)
    }
}
