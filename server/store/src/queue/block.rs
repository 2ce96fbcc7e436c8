//! A block's bytes on the disk.
//!
//! ```text
//! magic 4 | topic hash 8 | queue 4 | base queue offset 8 | first log offset 8 | last log offset 8
//! count 4 | CRC 4 (of the 44 bytes before and of the entries) | count x (log offset 8 | size 4 | tag hash 8)
//! ```
//! All integers are big-endian. The identity makes a block that is read from a wrong place as
//! detectable as a flipped bit.

use model::{LogOffset, TopicName};

use super::{BLOCK, Entry, Queue};
use crate::bytes::Reader;
use crate::index::hash;

const MAGIC: u32 = 0x5048_5142; // "PHQB"
const HEADER: usize = 48;
pub(super) const ENTRY: usize = 20;

/// What a block must say of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub topic: u64,
    pub queue: u32,
    pub base: u64,
    pub last: LogOffset,
    pub count: u16,
}

impl Identity {
    pub fn of(queue: &Queue, block: &super::list::Block) -> Identity {
        Identity {
            topic: topic_hash(&queue.topic),
            queue: queue.id.0,
            base: block.base,
            last: block.last,
            count: block.count,
        }
    }
}

fn topic_hash(topic: &TopicName) -> u64 {
    hash::of(&[topic.as_str()])
}

pub(super) fn encoded_len(count: u16) -> usize {
    HEADER + usize::from(count) * ENTRY
}

pub(super) fn put_entry(entry: &Entry, out: &mut Vec<u8>) {
    let mut bytes = [0; ENTRY];
    bytes[..8].copy_from_slice(&entry.log_offset.0.to_be_bytes());
    bytes[8..12].copy_from_slice(&entry.size.to_be_bytes());
    bytes[12..].copy_from_slice(&entry.tags_code.to_be_bytes());
    out.extend_from_slice(&bytes);
}

pub(super) fn take_entry(bytes: &mut Reader<'_>) -> Option<Entry> {
    Some(Entry {
        log_offset: LogOffset(bytes.u64()?),
        size: bytes.u32()?,
        tags_code: bytes.u64()? as i64,
    })
}

/// Appends a block.
pub(super) fn encode(identity: Identity, entries: &[Entry], out: &mut Vec<u8>) {
    let start = out.len();
    out.reserve(encoded_len(identity.count));
    let first = entries.first().map_or(LogOffset(0), |e| e.log_offset);
    out.extend_from_slice(&MAGIC.to_be_bytes());
    out.extend_from_slice(&identity.topic.to_be_bytes());
    out.extend_from_slice(&identity.queue.to_be_bytes());
    out.extend_from_slice(&identity.base.to_be_bytes());
    out.extend_from_slice(&first.0.to_be_bytes());
    out.extend_from_slice(&identity.last.0.to_be_bytes());
    out.extend_from_slice(&u32::from(identity.count).to_be_bytes());
    let sum_at = out.len();
    out.extend_from_slice(&[0; 4]);
    for entry in entries {
        put_entry(entry, out);
    }
    let sum = checksum(&out[start..]).to_be_bytes();
    out[sum_at..sum_at + 4].copy_from_slice(&sum);
}

fn checksum(block: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(block.get(..HEADER - 4).unwrap_or_default());
    sum.update(block.get(HEADER..).unwrap_or_default());
    sum.finalize()
}

/// Reads the block that must be this one; `None` if it is not, or is damaged.
pub(super) fn decode(identity: Identity, bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut reader = Reader(bytes);
    let magic = reader.u32()?;
    let found = Identity {
        topic: reader.u64()?,
        queue: reader.u32()?,
        base: reader.u64()?,
        last: reader.u64().and_then(|_| reader.u64()).map(LogOffset)?,
        count: u16::try_from(reader.u32()?).ok()?,
    };
    let sum = reader.u32()?;
    let fits = usize::from(found.count) <= BLOCK && bytes.len() == encoded_len(found.count);
    if magic != MAGIC || found != identity || !fits || sum != checksum(bytes) {
        return None;
    }
    let mut entries = Vec::with_capacity(usize::from(found.count));
    while !reader.is_empty() {
        entries.push(take_entry(&mut reader)?);
    }
    Some(entries)
}
