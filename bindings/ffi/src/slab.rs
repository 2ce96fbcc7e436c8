//! Many messages as one buffer, for a language that makes its objects itself.
//!
//! All numbers are little-endian; a string is a number in the table of strings, which each slab carries, so
//! that a topic is written once and not once a message. The table lies behind the messages, which can then stay where
//! they were written, and bodies are filled up with zeros to whole numbers, so that the next one can be written at once.
//!
//! ```text
//! sends    := u32 where the table begins, u32 messages, message*, table
//! table    := u32 strings, { u32 length, UTF-8 }*
//! message  := u32 topic, u32 tag + 1, u32 sharding key + 1, u32 idempotency key + 1, i32 flag,
//!             u32 kind (0 now, 1 after ms, 2 at ms, 3 level), u64 when,
//!             u32 keys, u32*, u32 properties, (u32 name, u32 value)*, u32 length, body, 0 to 3 zeros
//! ```
//! Received messages are the other way round: [`Received`]s become a [`Frame`], one buffer with all bodies
//! and property texts, and [`META`] numbers a message that say where they lie.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes};
use posthouse_client::{Deliver, Idempotency, Message, Received};

use crate::error::{Code, Error, Result};

/// Reads a slab of sends. Bodies share its bytes.
///
/// # Errors
/// [`Code::Internal`] for bytes that the language must not have written.
pub fn read_sends(mut slab: Bytes) -> Result<Vec<Message>> {
    let whole = slab.clone();
    let slab = &mut slab;
    let table = number(slab)?;
    let mut table = match table <= whole.len() {
        true => whole.slice(table..),
        false => return Err(broken("a table beyond the end")),
    };
    let count = number(&mut table)?;
    let mut strings: Vec<Arc<str>> = Vec::with_capacity(count.min(1 << 16));
    for _ in 0..count {
        let text = part(&mut table)?;
        let text = std::str::from_utf8(&text).map_err(|_| broken("a string that is no UTF-8"))?;
        strings.push(text.into());
    }
    let count = number(slab)?;
    let mut messages = Vec::with_capacity(count.min(1 << 16));
    for _ in 0..count {
        messages.push(message(slab, &strings)?);
    }
    Ok(messages)
}

fn message(slab: &mut Bytes, strings: &[Arc<str>]) -> Result<Message> {
    let known = |n: usize| strings.get(n).ok_or_else(|| broken("an unknown string"));
    let optional = |n: usize| n.checked_sub(1).map(known).transpose();
    let topic = known(number(slab)?)?.clone();
    let tag = optional(number(slab)?)?.cloned();
    let sharding_key = optional(number(slab)?)?.map(|key| key.to_string());
    let idempotency = optional(number(slab)?)?.map(|key| Idempotency {
        key: key.to_string(),
        digest: None,
    });
    let flag = i32::from_le_bytes((number(slab)? as u32).to_le_bytes());
    let kind = number(slab)?;
    let when = slab.try_get_u64_le().map_err(|_| broken("an end"))?;
    let when = match kind {
        0 => Deliver::Now,
        1 => Deliver::After(Duration::from_millis(when)),
        2 => Deliver::At(SystemTime::UNIX_EPOCH + Duration::from_millis(when)),
        3 => Deliver::Level(u8::try_from(when).unwrap_or(u8::MAX)),
        _ => return Err(broken("an unknown kind of delivery")),
    };
    let mut keys = Vec::new();
    for _ in 0..number(slab)? {
        keys.push(known(number(slab)?)?.to_string());
    }
    let mut properties = Vec::new();
    for _ in 0..number(slab)? {
        let (name, value) = (known(number(slab)?)?, known(number(slab)?)?);
        properties.push((name.to_string(), value.to_string()));
    }
    let body = part(slab)?;
    let zeros = body.len().next_multiple_of(4) - body.len();
    if zeros > slab.len() {
        return Err(broken("an end"));
    }
    slab.advance(zeros);
    Ok(Message {
        tag,
        keys,
        properties,
        sharding_key,
        idempotency,
        when,
        flag,
        ..Message::new(topic, body)
    })
}

fn number(slab: &mut Bytes) -> Result<usize> {
    let number = slab.try_get_u32_le();
    Ok(number.map_err(|_| broken("an end"))? as usize)
}

fn part(slab: &mut Bytes) -> Result<Bytes> {
    let length = number(slab)?;
    if length > slab.len() {
        return Err(broken("a length beyond the end"));
    }
    Ok(slab.split_to(length))
}

fn broken(what: &str) -> Error {
    Error::new(Code::Internal, format!("a slab of sends has {what}"))
}

/// Received messages as one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Bodies and property texts (`name \x01 value \x02 …`).
    pub slab: Vec<u8>,
    /// [`META`] numbers a message, in the order of [`Field`].
    pub meta: Vec<u32>,
    /// What the numbers of strings mean.
    pub strings: Vec<Arc<str>>,
}

/// Numbers a message.
pub const META: usize = 24;

/// Where a message's numbers stand. A number of 64 bits takes two places, the low half first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // named as in `Received`
pub enum Field {
    Topic = 0,
    QueueTopic = 1,
    Broker = 2,
    Queue = 3,
    QueueOffset = 4,
    LogOffset = 6,
    BornAt = 8,
    StoredAt = 10,
    Flag = 12,
    SysFlag = 13,
    ReconsumeTimes = 14,
    StoreSize = 15,
    /// String `ip:port`.
    BornHost = 16,
    /// String `ip:port`.
    StoreHost = 17,
    BodyStart = 18,
    BodyLength = 19,
    PropertiesStart = 20,
    PropertiesLength = 21,
    /// By which it is settled or acked; the caller's.
    Id = 22,
}

/// Puts received messages, each with the number by which it is settled or acked, into one buffer.
pub fn write_received<'m>(
    messages: impl IntoIterator<Item = (u64, &'m Received), IntoIter: Clone>,
) -> Frame {
    let messages = messages.into_iter();
    let bytes = |(_, message): (u64, &Received)| message.body.len() + message.property_text().len();
    let mut slab = Vec::with_capacity(messages.clone().map(bytes).sum());
    let mut all = Vec::with_capacity(messages.size_hint().0 * META);
    let mut strings = Strings::default();
    let (mut topics, mut queue_topics, mut brokers) = <(Last<_>, Last<_>, Last<_>)>::default();
    let (mut born_hosts, mut store_hosts) = <(Last<_>, Last<_>)>::default();
    for (id, message) in messages {
        let queue = &message.queue;
        let mut meta = [0_u32; META];
        let mut set = |field: Field, value: u32| meta[field as usize] = value;
        set(Field::Topic, topics.number(&message.topic, &mut strings));
        let topic = queue_topics.number(&queue.topic, &mut strings);
        set(Field::QueueTopic, topic);
        set(Field::Broker, brokers.number(&queue.broker, &mut strings));
        let host = born_hosts.number(&message.born_host, &mut strings);
        set(Field::BornHost, host);
        let host = store_hosts.number(&message.store_host, &mut strings);
        set(Field::StoreHost, host);
        set(Field::Queue, queue.id);
        set(Field::Flag, message.flag.cast_unsigned());
        set(Field::SysFlag, message.sys_flag.cast_unsigned());
        set(
            Field::ReconsumeTimes,
            message.reconsume_times.cast_unsigned(),
        );
        set(Field::StoreSize, message.store_size);
        let properties = message.property_text().as_bytes();
        set(Field::BodyStart, slab.len() as u32);
        set(Field::BodyLength, message.body.len() as u32);
        slab.extend_from_slice(&message.body);
        set(Field::PropertiesStart, slab.len() as u32);
        set(Field::PropertiesLength, properties.len() as u32);
        slab.extend_from_slice(properties);
        for (field, value) in [
            (Field::QueueOffset, message.queue_offset),
            (Field::LogOffset, message.log_offset),
            (Field::BornAt, message.born_at.cast_unsigned()),
            (Field::StoredAt, message.stored_at.cast_unsigned()),
            (Field::Id, id),
        ] {
            meta[field as usize] = value as u32;
            meta[field as usize + 1] = (value >> 32) as u32;
        }
        all.extend_from_slice(&meta);
    }
    Frame {
        slab,
        meta: all,
        strings: strings.all,
    }
}

/// A table of strings that is being made: each is in it once.
#[derive(Default)]
pub struct Strings {
    all: Vec<Arc<str>>,
    known: HashMap<Arc<str>, u32>,
}

impl Strings {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.known.get(text) {
            return *number;
        }
        let (number, text) = (self.all.len() as u32, Arc::<str>::from(text));
        self.all.push(text.clone());
        self.known.insert(text, number);
        number
    }

    /// The strings, by their numbers.
    pub fn into_texts(self) -> Vec<String> {
        self.all.iter().map(|text| text.to_string()).collect()
    }
}

/// The string that a field had last, which the next message has too, most often.
pub struct Last<T>(Option<(T, u32)>);

impl<T> Default for Last<T> {
    fn default() -> Last<T> {
        Last(None)
    }
}

impl<T: Clone + PartialEq + ToString> Last<T> {
    /// The number of a value's text.
    pub fn number(&mut self, value: &T, strings: &mut Strings) -> u32 {
        match &self.0 {
            Some((last, number)) if last == value => *number,
            _ => {
                let number = strings.number(&value.to_string());
                self.0 = Some((value.clone(), number));
                number
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(out: &mut Vec<u8>, numbers: &[u32]) {
        for number in numbers {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn slab() -> Vec<u8> {
        let mut out = Vec::new();
        // where the table begins, one message
        number(&mut out, &[68, 1]);
        // topic, tag, no sharding key, idempotency key, flag, level 3, one key, one property
        number(&mut out, &[0, 2, 0, 6, 7, 3]);
        out.extend_from_slice(&3_u64.to_le_bytes());
        number(&mut out, &[1, 2, 1, 3, 4, 2]);
        out.extend_from_slice(b"\0x\0\0");
        assert_eq!(out.len(), 68);
        let strings = ["orders", "eu", "key-7", "colour", "red", "once"];
        number(&mut out, &[strings.len() as u32]);
        for text in strings {
            number(&mut out, &[text.len() as u32]);
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    #[test]
    fn a_slab_of_sends_is_read_back() {
        let messages = read_sends(slab().into()).unwrap();
        let expected = Message {
            flag: 7,
            when: Deliver::Level(3),
            ..Message::new("orders", &b"\0x"[..])
                .tag("eu")
                .key("key-7")
                .property("colour", "red")
                .idempotency_key("once")
        };
        assert_eq!(messages, [expected]);
    }

    #[test]
    fn a_slab_that_is_cut_anywhere_is_an_error_and_no_panic() {
        let whole = slab();
        for cut in 0..whole.len() {
            let cut = Bytes::copy_from_slice(&whole[..cut]);
            assert_eq!(read_sends(cut).unwrap_err().code, Code::Internal);
        }
    }
}
