//! The bytes of a row: how topics, groups and offsets stand in the store's tables. Each row begins
//! with the number of its format; integers are big-endian, texts have a length in front.

use std::collections::BTreeMap;

use model::flag::Perm;
use model::group::{ExponentialRetry, GroupConfig, RetryKind, RetryPolicy};
use model::topic::{DataVersion, FilterType, TopicConfig};
use model::{GroupName, TopicName};

const FORMAT: u8 = 1;

/// Reads a row from its front. `None` if it is not what it should be.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn u8(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*bytes))
    }

    fn i64(&mut self) -> Option<i64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i64::from_be_bytes(*bytes))
    }

    fn text(&mut self) -> Option<String> {
        let len = self.u32()? as usize;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        String::from_utf8(bytes.to_vec()).ok()
    }

    fn texts(&mut self) -> Option<BTreeMap<String, String>> {
        let count = self.u32()?;
        (0..count)
            .map(|_| Some((self.text()?, self.text()?)))
            .collect()
    }
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn push_texts(out: &mut Vec<u8>, texts: &BTreeMap<String, String>) {
    out.extend_from_slice(&(texts.len() as u32).to_be_bytes());
    for (key, value) in texts {
        push_text(out, key);
        push_text(out, value);
    }
}

/// A topic's row; its name is the key.
pub(crate) fn topic(config: &TopicConfig) -> Vec<u8> {
    let mut out = vec![FORMAT];
    for number in [config.read_queues, config.write_queues, config.perm.0] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&config.sys_flag.to_be_bytes());
    out.push(u8::from(config.filter == FilterType::MultiTag));
    out.push(u8::from(config.order));
    push_texts(&mut out, &config.attributes);
    out
}

/// Reads a topic's row.
pub(crate) fn read_topic(key: &[u8], value: &[u8]) -> Option<TopicConfig> {
    let name = TopicName::parse(std::str::from_utf8(key).ok()?).ok()?;
    let mut row = Reader(value);
    (row.u8()? == FORMAT).then_some(())?;
    Some(TopicConfig {
        name,
        read_queues: row.u32()?,
        write_queues: row.u32()?,
        perm: Perm(row.u32()?),
        sys_flag: row.u32()? as i32,
        filter: match row.u8()? {
            0 => FilterType::SingleTag,
            _ => FilterType::MultiTag,
        },
        order: row.u8()? != 0,
        attributes: row.texts()?,
    })
}

/// A group's row; its name is the key.
pub(crate) fn group(config: &GroupConfig) -> Vec<u8> {
    let mut out = vec![FORMAT];
    for set in [
        config.consume_enable,
        config.consume_from_min_enable,
        config.consume_broadcast_enable,
        config.consume_message_orderly,
        config.notify_ids_changed_enable,
        config.retry_policy.kind == RetryKind::Exponential,
    ] {
        out.push(u8::from(set));
    }
    for number in [
        config.retry_queues,
        config.retry_max_times as u32,
        config.sys_flag as u32,
        config.consume_timeout_minute as u32,
    ] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&config.broker_id.to_be_bytes());
    out.extend_from_slice(&config.which_broker_when_consume_slowly.to_be_bytes());
    let exponential = config.retry_policy.exponential;
    let steps = exponential.map(|retry| vec![retry.initial, retry.max, retry.multiplier]);
    for list in [&steps, &config.retry_policy.customized] {
        let len = list.as_ref().map_or(0, |list| list.len() as u32 + 1);
        out.extend_from_slice(&len.to_be_bytes());
        for number in list.iter().flatten() {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
    push_texts(&mut out, &config.attributes);
    // Only where there is one: rows from before it was kept end here too.
    if let Some(text) = &config.subscriptions {
        push_text(&mut out, text);
    }
    out
}

/// Reads a group's row.
pub(crate) fn read_group(key: &[u8], value: &[u8]) -> Option<GroupConfig> {
    let name = GroupName::parse(std::str::from_utf8(key).ok()?).ok()?;
    let mut row = Reader(value);
    (row.u8()? == FORMAT).then_some(())?;
    let mut set = [false; 6];
    for bit in &mut set {
        *bit = row.u8()? != 0;
    }
    let mut numbers = [0; 4];
    for number in &mut numbers {
        *number = row.u32()?;
    }
    let (broker_id, slow_broker) = (row.i64()? as u64, row.i64()? as u64);
    let mut list = || -> Option<Option<Vec<i64>>> {
        match row.u32()?.checked_sub(1) {
            None => Some(None),
            Some(len) => (0..len).map(|_| row.i64()).collect::<Option<_>>().map(Some),
        }
    };
    let (exponential, customized) = (list()?, list()?);
    Some(GroupConfig {
        name,
        consume_enable: set[0],
        consume_from_min_enable: set[1],
        consume_broadcast_enable: set[2],
        consume_message_orderly: set[3],
        notify_ids_changed_enable: set[4],
        retry_queues: numbers[0],
        retry_max_times: numbers[1] as i32,
        sys_flag: numbers[2] as i32,
        consume_timeout_minute: numbers[3] as i32,
        broker_id,
        which_broker_when_consume_slowly: slow_broker,
        retry_policy: RetryPolicy {
            kind: if set[5] {
                RetryKind::Exponential
            } else {
                RetryKind::Customized
            },
            exponential: match exponential.as_deref() {
                Some(&[initial, max, multiplier]) => Some(ExponentialRetry {
                    initial,
                    max,
                    multiplier,
                }),
                _ => None,
            },
            customized,
        },
        attributes: row.texts()?,
        subscriptions: match row.0 {
            [] => None,
            _ => Some(row.text()?),
        },
    })
}

/// The row of a table's version.
pub(crate) fn version(version: DataVersion) -> [u8; 24] {
    let mut out = [0; 24];
    out[..8].copy_from_slice(&version.state_version.to_be_bytes());
    out[8..16].copy_from_slice(&version.timestamp.to_be_bytes());
    out[16..].copy_from_slice(&version.counter.to_be_bytes());
    out
}

/// Reads the row of a table's version.
pub(crate) fn read_version(value: &[u8]) -> Option<DataVersion> {
    let mut row = Reader(value);
    Some(DataVersion {
        state_version: row.i64()?,
        timestamp: row.i64()?,
        counter: row.i64()?,
    })
}

/// Writes the key of a committed offset: group, 0, topic, 0, queue. Names have no byte 0.
pub(crate) fn offset_key(out: &mut Vec<u8>, group: &str, topic: &str, queue: u32) {
    out.extend_from_slice(group.as_bytes());
    out.push(0);
    out.extend_from_slice(topic.as_bytes());
    out.push(0);
    out.extend_from_slice(&queue.to_be_bytes());
}

/// The row of a committed offset: the offset 8; behind it a 1 if it is a reset that the group's
/// consumer has not heard of.
pub(crate) struct Offset {
    bytes: [u8; 9],
    len: usize,
}

impl Offset {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Writes the row of a committed offset.
pub(crate) fn offset(committed: i64, reset: bool) -> Offset {
    let mut bytes = [1; 9];
    bytes[..8].copy_from_slice(&committed.to_be_bytes());
    Offset {
        bytes,
        len: if reset { 9 } else { 8 },
    }
}

/// Reads the row of a committed offset: group, topic, queue, offset, whether it is a reset.
pub(crate) fn read_offset(
    key: &[u8],
    value: &[u8],
) -> Option<(GroupName, TopicName, u32, i64, bool)> {
    let (names, queue) = key.split_last_chunk::<4>()?;
    let names = std::str::from_utf8(names).ok()?.strip_suffix('\0')?;
    let (group, topic) = names.split_once('\0')?;
    let (offset, reset) = match value.split_first_chunk::<8>()? {
        (offset, []) => (offset, false),
        (offset, [1]) => (offset, true),
        _ => return None,
    };
    Some((
        GroupName::parse(group).ok()?,
        TopicName::parse(topic).ok()?,
        u32::from_be_bytes(*queue),
        i64::from_be_bytes(*offset),
        reset,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_comes_back_as_it_was() {
        let mut config = TopicConfig::new(TopicName::parse("t").unwrap(), 4);
        config.order = true;
        config.sys_flag = 3;
        config.filter = FilterType::MultiTag;
        config
            .attributes
            .insert("message.type".into(), "FIFO".into());
        assert_eq!(read_topic(b"t", &topic(&config)), Some(config));
    }

    #[test]
    fn a_group_comes_back_as_it_was() {
        let mut config = GroupConfig::new(GroupName::parse("g").unwrap());
        config.retry_max_times = -1;
        config.consume_enable = false;
        config.retry_policy.customized = Some(vec![1000, 5000]);
        config.retry_policy.exponential = Some(ExponentialRetry {
            initial: 1,
            max: 2,
            multiplier: 3,
        });
        let before = group(&config);
        assert_eq!(read_group(b"g", &before), Some(config.clone()));
        config.subscriptions = Some("[]".to_owned());
        let row = group(&config);
        assert!(row.starts_with(&before), "rows without it are read as ever");
        assert_eq!(read_group(b"g", &row), Some(config));
    }

    #[test]
    fn an_offset_comes_back_as_it_was() {
        let mut key = Vec::new();
        offset_key(&mut key, "g", "%RETRY%g", 7);
        for reset in [false, true] {
            let read = read_offset(&key, offset(-1, reset).bytes()).unwrap();
            assert_eq!(
                (read.0.as_str(), read.1.as_str(), read.2, read.3, read.4),
                ("g", "%RETRY%g", 7, -1, reset)
            );
        }
    }

    /// Rows come from a disk: any bytes are read or refused, never a panic.
    #[test]
    fn any_bytes_are_read_or_refused() {
        let mut rng = fastrand::Rng::with_seed(7);
        let whole = topic(&TopicConfig::new(TopicName::parse("t").unwrap(), 4));
        for _ in 0..20_000 {
            let mut bytes = if rng.bool() {
                whole.clone()
            } else {
                Vec::new()
            };
            bytes.resize(rng.usize(..80), rng.u8(..));
            if let Some(byte) = bytes.first_mut().filter(|_| rng.bool()) {
                *byte = FORMAT;
            }
            for _ in 0..rng.usize(..4) {
                let at = rng.usize(..bytes.len().max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = rng.u8(..);
                }
            }
            let _ = read_topic(b"t", &bytes);
            let _ = read_group(b"g", &bytes);
            let _ = read_version(&bytes);
            let _ = read_offset(&bytes, &bytes);
        }
    }
}
