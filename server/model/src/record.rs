//! A message's bytes in the commit log, which are also its bytes in a pull's answer.
//!
//! ```text
//! total 4 | magic 4 | body CRC 4 | queue 4 | flag 4 | queue offset 8 | log offset 8 | system flag 4
//! born at 8 | born host 8 or 20 | stored at 8 | store host 8 or 20 | reconsume times 4
//! prepared offset 8 | body 4+n | topic 1+n (V1) or 2+n (V2) | properties 2+n
//! ```
//! All integers are big-endian. The last property is `__CRC32#`: ten decimal digits, least significant
//! first, over every byte of the record before that property (Apache's `enabledAppendPropCRC`). It
//! covers the position, so a record that was left behind by an earlier life of a segment is as
//! detectable as a flipped bit.

mod ready;
mod sparse;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::flag::sys;
use crate::message::{NAME_END, PROPERTIES_MAX, VALUE_END, key};
use crate::queue::{LogOffset, QueueId, QueueOffset};

pub use ready::Ready;
pub use sparse::{HEAD, properties_of};

/// Magic of a record whose topic length is one byte.
pub const MAGIC_V1: u32 = 0xDAA3_20A7;
/// Magic of a record whose topic length is two bytes.
pub const MAGIC_V2: u32 = 0xDAA3_20AB;
/// Magic of the filler at the end of a segment.
pub const MAGIC_BLANK: u32 = 0xCBD4_3194;
/// Bytes of `__CRC32#`, its separators and its ten digits.
pub const CRC_PROPERTY: usize = 20;
const LOG_OFFSET_AT: usize = 28;
/// Where the record's fields are, up to the born host.
const BORN_HOST_AT: usize = 48;

/// A message about to be stored, its bytes borrowed from wherever they arrived.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The topic, already checked.
    pub topic: &'a str,
    /// The queue inside the topic.
    pub queue: QueueId,
    /// The position in the queue.
    pub queue_offset: QueueOffset,
    /// The position in the log.
    pub log_offset: LogOffset,
    /// The user's flag, opaque to us.
    pub flag: i32,
    /// System flag; the two host bits are set by [`encode`].
    pub sys_flag: i32,
    /// The client's clock, milliseconds since the Unix epoch.
    pub born_at: i64,
    /// Who sent it.
    pub born_host: SocketAddr,
    /// Our clock, milliseconds since the Unix epoch.
    pub stored_at: i64,
    /// The advertised address of the broker that stored it.
    pub store_host: SocketAddr,
    /// How often the message was retried.
    pub reconsume_times: i32,
    /// Log offset of the message this one came from (half, timer, retry), else 0.
    pub prepared_offset: u64,
    /// The body, compressed or not.
    pub body: &'a [u8],
    /// The property string, without `__CRC32#`.
    pub properties: &'a str,
}

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Fewer bytes than the record says it has.
    #[error("the record is cut short")]
    Short,
    /// Neither V1 nor V2.
    #[error("the record has the unknown magic {0:#010x}")]
    Magic(u32),
    /// A length inside the record does not fit its total.
    #[error("the lengths inside the record contradict each other")]
    Lengths,
    /// The topic or the properties are not UTF-8.
    #[error("the record's text is not UTF-8")]
    Text,
    /// The checksum over the whole record differs.
    #[error("the record's checksum differs")]
    Crc,
    /// The record names another position than the one it was read from.
    #[error("the record belongs to another position")]
    Position,
}

/// CRC-32 (IEEE) as RocketMQ writes it: the top bit cleared.
pub fn crc(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes) & 0x7FFF_FFFF
}

/// The number of bytes [`encode`] will write.
pub fn encoded_len(record: &Record<'_>) -> usize {
    let topic_len = if record.topic.len() > 127 { 2 } else { 1 } + record.topic.len();
    let hosts = host_len(&record.born_host) + host_len(&record.store_host);
    72 + hosts + record.body.len() + topic_len + properties_len(record.properties)
}

fn host_len(host: &SocketAddr) -> usize {
    if host.is_ipv6() { 20 } else { 8 }
}

/// Length of the stored property string with its two length bytes, a closing separator and our
/// checksum. A string so long that the checksum would not fit the signed 16-bit length goes without
/// one; its record is then covered by its body CRC, its lengths and its position only.
fn properties_len(properties: &str) -> usize {
    2 + stored_properties(properties)
}

fn stored_properties(properties: &str) -> usize {
    let closed = closed_len(properties);
    if closed + CRC_PROPERTY <= PROPERTIES_MAX {
        closed + CRC_PROPERTY
    } else {
        properties.len()
    }
}

fn closed_len(properties: &str) -> usize {
    let open = properties
        .as_bytes()
        .last()
        .is_some_and(|&b| b != VALUE_END);
    properties.len() + usize::from(open)
}

/// Appends the record's bytes to `out` and returns how many there are.
///
/// # Panics
/// If topic or properties are longer than their length fields can say: the broker refuses such
/// messages before they get here.
pub fn encode(record: &Record<'_>, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    let total = encoded_len(record);
    out.reserve(total);
    push_head(record, total, crc(record.body), out);
    if push_rest(record, out) {
        let sum = crc(&out[start..]);
        push_crc(out, sum);
    }
    debug_assert_eq!(out.len() - start, total);
    total
}

/// Appends everything before the body.
fn push_head(record: &Record<'_>, total: usize, body_crc: u32, out: &mut Vec<u8>) {
    assert!(record.topic.len() <= 255 && record.properties.len() <= PROPERTIES_MAX);
    let mut sys_flag = record.sys_flag & !(sys::BORN_HOST_V6 | sys::STORE_HOST_V6);
    if record.born_host.is_ipv6() {
        sys_flag |= sys::BORN_HOST_V6;
    }
    if record.store_host.is_ipv6() {
        sys_flag |= sys::STORE_HOST_V6;
    }

    let magic = if has_long_topic(record) {
        MAGIC_V2
    } else {
        MAGIC_V1
    };
    // In pieces of a known size: this runs for every message.
    let mut fixed = [0; BORN_HOST_AT];
    fixed[0..4].copy_from_slice(&(total as u32).to_be_bytes());
    fixed[4..8].copy_from_slice(&magic.to_be_bytes());
    fixed[8..12].copy_from_slice(&body_crc.to_be_bytes());
    fixed[12..16].copy_from_slice(&record.queue.0.to_be_bytes());
    fixed[16..20].copy_from_slice(&record.flag.to_be_bytes());
    fixed[20..28].copy_from_slice(&record.queue_offset.0.to_be_bytes());
    fixed[28..36].copy_from_slice(&record.log_offset.0.to_be_bytes());
    fixed[36..40].copy_from_slice(&sys_flag.to_be_bytes());
    fixed[40..48].copy_from_slice(&record.born_at.to_be_bytes());
    let mut end = [0; 16];
    end[0..4].copy_from_slice(&record.reconsume_times.to_be_bytes());
    end[4..12].copy_from_slice(&record.prepared_offset.to_be_bytes());
    end[12..16].copy_from_slice(&(record.body.len() as u32).to_be_bytes());
    if let (IpAddr::V4(born), IpAddr::V4(store)) = (record.born_host.ip(), record.store_host.ip()) {
        let mut head = [0; BORN_HOST_AT + 40];
        head[..48].copy_from_slice(&fixed);
        head[48..56].copy_from_slice(&v4(born, record.born_host.port()));
        head[56..64].copy_from_slice(&record.stored_at.to_be_bytes());
        head[64..72].copy_from_slice(&v4(store, record.store_host.port()));
        head[72..].copy_from_slice(&end);
        out.extend_from_slice(&head);
    } else {
        out.extend_from_slice(&fixed);
        push_host(out, &record.born_host);
        out.extend_from_slice(&record.stored_at.to_be_bytes());
        push_host(out, &record.store_host);
        out.extend_from_slice(&end);
    }
}

/// Appends the body and what is behind it, up to the checksum; whether there is one.
fn push_rest(record: &Record<'_>, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(record.body);
    if has_long_topic(record) {
        out.extend_from_slice(&(record.topic.len() as u16).to_be_bytes());
    } else {
        out.push(record.topic.len() as u8);
    }
    out.extend_from_slice(record.topic.as_bytes());

    let stored = stored_properties(record.properties);
    out.extend_from_slice(&(stored as u16).to_be_bytes());
    out.extend_from_slice(record.properties.as_bytes());
    if stored == record.properties.len() {
        return false;
    }
    if closed_len(record.properties) != record.properties.len() {
        out.push(VALUE_END);
    }
    true
}

fn has_long_topic(record: &Record<'_>) -> bool {
    record.topic.len() > 127
}

fn push_host(out: &mut Vec<u8>, host: &SocketAddr) {
    match host.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&v4(ip, host.port())),
        IpAddr::V6(ip) => {
            out.extend_from_slice(&ip.octets());
            out.extend_from_slice(&u32::from(host.port()).to_be_bytes());
        }
    }
}

fn v4(ip: Ipv4Addr, port: u16) -> [u8; 8] {
    (u64::from(u32::from(ip)) << 32 | u64::from(port)).to_be_bytes()
}

/// The eight digits of a number below 100,000,000, least significant first: halves, then their halves,
/// at once.
fn low_digits(number: u32) -> [u8; 8] {
    let fours = u64::from(number / 10_000) << 32 | u64::from(number % 10_000);
    // 10,486 / 2^20 and 103 / 2^10 are a hundredth and a tenth, near enough for so few digits.
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007F_0000_007F;
    let pairs = fours + (hundreds << 16) - hundreds * 100;
    let tens = ((pairs * 103) >> 10) & 0x000F_000F_000F_000F;
    let digits = pairs + (tens << 8) - tens * 10;
    (digits | 0x3030_3030_3030_3030).to_le_bytes()
}

fn push_crc(out: &mut Vec<u8>, sum: u32) {
    const NAME: usize = key::CRC32.len() + 1;
    let mut property = [0; CRC_PROPERTY];
    property[..NAME - 1].copy_from_slice(key::CRC32.as_bytes());
    property[NAME - 1] = NAME_END;
    property[NAME..NAME + 8].copy_from_slice(&low_digits(sum % 100_000_000));
    let rest = (sum / 100_000_000) as u8;
    property[NAME + 8] = b'0' + rest % 10;
    property[NAME + 9] = b'0' + rest / 10;
    property[NAME + 10] = VALUE_END;
    out.extend_from_slice(&property);
}

/// The total size and the magic at the head of `bytes`, if there are eight of them.
pub fn head(bytes: &[u8]) -> Option<(u32, u32)> {
    Some((u32_at(bytes, 0)?, u32_at(bytes, 4)?))
}

/// A stored record, read in place.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    bytes: &'a [u8],
    body_at: usize,
    topic: &'a str,
    properties: &'a str,
}

/// Where the parts of a record lie. Every length was checked.
struct Layout<'a> {
    bytes: &'a [u8],
    body_at: usize,
    topic: &'a [u8],
    properties: &'a [u8],
}

impl<'a> Layout<'a> {
    fn read(bytes: &'a [u8]) -> Result<Layout<'a>, RecordError> {
        let (total, magic) = head(bytes).ok_or(RecordError::Short)?;
        if magic != MAGIC_V1 && magic != MAGIC_V2 {
            return Err(RecordError::Magic(magic));
        }
        let bytes = bytes.get(..total as usize).ok_or(RecordError::Short)?;
        let sys_flag = u32_at(bytes, 36).ok_or(RecordError::Lengths)? as i32;
        let host = |bit| if sys_flag & bit != 0 { 20 } else { 8 };
        let body_len_at =
            BORN_HOST_AT + host(sys::BORN_HOST_V6) + 8 + host(sys::STORE_HOST_V6) + 12;
        let body_at = body_len_at + 4;
        let body_len = u32_at(bytes, body_len_at).ok_or(RecordError::Lengths)? as usize;
        let topic_len_at = body_at.checked_add(body_len).ok_or(RecordError::Lengths)?;
        let (topic_len, topic_at) = if magic == MAGIC_V1 {
            let len = *bytes.get(topic_len_at).ok_or(RecordError::Lengths)?;
            (usize::from(len), topic_len_at + 1)
        } else {
            let len = u16_at(bytes, topic_len_at).ok_or(RecordError::Lengths)?;
            (usize::from(len), topic_len_at + 2)
        };
        let properties_len_at = topic_at + topic_len;
        let properties_len = u16_at(bytes, properties_len_at).ok_or(RecordError::Lengths)?;
        let properties_at = properties_len_at + 2;
        if properties_at + usize::from(properties_len) != bytes.len() {
            return Err(RecordError::Lengths);
        }
        Ok(Layout {
            bytes,
            body_at,
            topic: &bytes[topic_at..properties_len_at],
            properties: &bytes[properties_at..],
        })
    }
}

/// Whether a whole record of `at` lies at the head of `bytes`, as [`View::verify`] says, for who only
/// passes it on: how long it is. Its texts are not looked at again where the checksum covers them.
///
/// # Errors
/// Those of [`View::verify`].
pub fn verify(bytes: &[u8], at: LogOffset) -> Result<usize, RecordError> {
    let layout = Layout::read(bytes)?;
    let covered = layout.bytes.len().saturating_sub(CRC_PROPERTY);
    let whole = u64_at(layout.bytes, LOG_OFFSET_AT) == Some(at.0)
        && stored_crc(layout.properties).is_some_and(|sum| sum == crc(&layout.bytes[..covered]));
    match whole {
        true => Ok(layout.bytes.len()),
        false => View::verify(bytes, at).map(|view| view.len()),
    }
}

/// What the checksum at the end of a property string says, if there is one.
fn stored_crc(properties: &[u8]) -> Option<u32> {
    let property = properties.get(properties.len().checked_sub(CRC_PROPERTY)?..)?;
    let digits = property
        .strip_prefix(key::CRC32.as_bytes())?
        .strip_prefix(&[NAME_END])?;
    if digits.last() != Some(&VALUE_END) {
        return None;
    }
    let digits = &digits[..10];
    let sum = digits.iter().rev().try_fold(0u64, |sum, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum * 10 + u64::from(digit - b'0'))
    })?;
    u32::try_from(sum).ok()
}

impl<'a> View<'a> {
    /// Reads the record at the head of `bytes`; what follows it is ignored. Checks every length and
    /// the UTF-8 of the texts, not the checksum: see [`View::verify`].
    pub fn parse(bytes: &'a [u8]) -> Result<View<'a>, RecordError> {
        let layout = Layout::read(bytes)?;
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| RecordError::Text);
        Ok(View {
            bytes: layout.bytes,
            body_at: layout.body_at,
            topic: text(layout.topic)?,
            properties: text(layout.properties)?,
        })
    }

    /// Parses, then checks that the record belongs to `at` and that its checksum holds. Only a record
    /// whose properties left no room for the checksum may lack it; its body's CRC is then compared.
    pub fn verify(bytes: &'a [u8], at: LogOffset) -> Result<View<'a>, RecordError> {
        let view = View::parse(bytes)?;
        if view.log_offset() != at {
            return Err(RecordError::Position);
        }
        let no_room = view.stored_properties().len() > PROPERTIES_MAX - CRC_PROPERTY;
        let holds = match view.stored_crc() {
            Some(sum) => sum == crc(&view.bytes[..view.len() - CRC_PROPERTY]),
            None => no_room && view.body_crc() == crc(view.body()),
        };
        if holds {
            Ok(view)
        } else {
            Err(RecordError::Crc)
        }
    }

    fn stored_crc(&self) -> Option<u32> {
        stored_crc(self.properties.as_bytes())
    }

    /// All bytes of the record.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many bytes there are.
    #[allow(clippy::len_without_is_empty)] // a record is never empty
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// CRC of the body as it is stored.
    pub fn body_crc(&self) -> u32 {
        self.u32(8)
    }

    /// The queue inside the topic.
    pub fn queue(&self) -> QueueId {
        QueueId(self.u32(12))
    }

    /// The user's flag.
    pub fn flag(&self) -> i32 {
        self.u32(16) as i32
    }

    /// The position in the queue.
    pub fn queue_offset(&self) -> QueueOffset {
        QueueOffset(self.u64(20))
    }

    /// The position in the log.
    pub fn log_offset(&self) -> LogOffset {
        LogOffset(self.u64(LOG_OFFSET_AT))
    }

    /// The system flag, host bits included.
    pub fn sys_flag(&self) -> i32 {
        self.u32(36) as i32
    }

    /// When the client made it, milliseconds since the Unix epoch.
    pub fn born_at(&self) -> i64 {
        self.u64(40) as i64
    }

    /// Who sent it.
    pub fn born_host(&self) -> SocketAddr {
        self.host(BORN_HOST_AT, self.sys_flag() & sys::BORN_HOST_V6 != 0)
    }

    /// When it was stored, milliseconds since the Unix epoch.
    pub fn stored_at(&self) -> i64 {
        self.u64(self.stored_at_at()) as i64
    }

    /// Which broker stored it.
    pub fn store_host(&self) -> SocketAddr {
        self.host(
            self.stored_at_at() + 8,
            self.sys_flag() & sys::STORE_HOST_V6 != 0,
        )
    }

    /// How often it was retried.
    pub fn reconsume_times(&self) -> i32 {
        self.u32(self.body_at - 16) as i32
    }

    /// Log offset of the record this one came from, or 0.
    pub fn prepared_offset(&self) -> u64 {
        self.u64(self.body_at - 12)
    }

    /// The body as it is stored.
    pub fn body(&self) -> &'a [u8] {
        let len = self.u32(self.body_at - 4) as usize;
        &self.bytes[self.body_at..self.body_at + len]
    }

    /// The topic.
    pub fn topic(&self) -> &'a str {
        self.topic
    }

    /// The property string, our checksum included.
    pub fn stored_properties(&self) -> &'a str {
        self.properties
    }

    /// The property string as a user may see it: without our checksum.
    pub fn properties(&self) -> &'a str {
        let all = self.stored_properties();
        match self.stored_crc() {
            Some(_) => &all[..all.len() - CRC_PROPERTY],
            None => all,
        }
    }

    /// The value of one property.
    pub fn property(&self, name: &str) -> Option<&'a str> {
        crate::message::property(self.properties(), name)
    }

    fn stored_at_at(&self) -> usize {
        let v6 = self.sys_flag() & sys::BORN_HOST_V6 != 0;
        BORN_HOST_AT + if v6 { 20 } else { 8 }
    }

    fn host(&self, at: usize, v6: bool) -> SocketAddr {
        let (ip, port_at): (IpAddr, usize) = if v6 {
            let octets: [u8; 16] = self.bytes[at..at + 16].try_into().expect("sixteen bytes");
            (Ipv6Addr::from(octets).into(), at + 16)
        } else {
            let octets: [u8; 4] = self.bytes[at..at + 4].try_into().expect("four bytes");
            (Ipv4Addr::from(octets).into(), at + 4)
        };
        SocketAddr::new(ip, self.u32(port_at) as u16)
    }

    // `parse` proved that every fixed field lies inside the record.
    fn u32(&self, at: usize) -> u32 {
        u32_at(self.bytes, at).expect("checked by parse")
    }

    fn u64(&self, at: usize) -> u64 {
        u64_at(self.bytes, at).expect("checked by parse")
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(
        bytes.get(at..at.checked_add(2)?)?.try_into().ok()?,
    ))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(
        bytes.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(
        bytes.get(at..at.checked_add(8)?)?.try_into().ok()?,
    ))
}

#[cfg(test)]
mod tests;
