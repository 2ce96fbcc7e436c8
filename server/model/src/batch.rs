//! A batch's body: messages one behind the other.
//!
//! ```text
//! total 4 | magic 4 | checksum 4 | flag 4 | body 4+n | properties 2+n
//! ```
//! Clients write 0 as magic and checksum, and Apache's broker looks at neither. Who writes a checksum means
//! it, so [`Item::is_intact`] looks.

use crate::message::PROPERTIES_MAX;
use crate::record::crc;

/// One message of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// The user's flag.
    pub flag: i32,
    /// The message's body, never compressed.
    pub body: &'a [u8],
    /// Its own properties.
    pub properties: &'a str,
    /// CRC-32 of the body as its writer says it, of which the highest bit says nothing; 0 for none.
    pub checksum: u32,
    /// What stands in its properties, if who wrote them hands them over within the process. Bytes never say it.
    pub known: Option<Known<'a>>,
}

/// Properties that need not be read any more: beside these two they have nothing that a broker looks at in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known<'a> {
    /// `UNIQ_KEY`
    pub unique_key: &'a str,
    /// `TAGS`
    pub tag: Option<&'a str>,
}

impl Item<'_> {
    /// How many bytes it takes in a batch's body.
    pub fn encoded_len(&self) -> usize {
        FIXED + self.body.len() + 2 + self.properties.len()
    }

    /// Whether the body has the checksum that is said, if one is.
    pub fn is_intact(&self) -> bool {
        self.checksum == 0 || crc(self.body) == self.checksum & 0x7FFF_FFFF
    }
}

/// A batch whose lengths do not add up, or whose properties are no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the batch is broken at byte {0}")]
pub struct BatchError(pub usize);

/// Total size, magic, checksum, flag, body length.
const FIXED: usize = 20;

/// Walks a batch's messages. After an error comes nothing.
pub fn items(body: &[u8]) -> Items<'_> {
    Items { body, at: 0 }
}

/// See [`items`].
#[derive(Clone, Debug)]
pub struct Items<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.body.get(self.at..).filter(|rest| !rest.is_empty())?;
        match item(rest) {
            Some((item, size)) => {
                self.at += size;
                Some(Ok(item))
            }
            None => {
                let at = std::mem::replace(&mut self.at, self.body.len());
                Some(Err(BatchError(at)))
            }
        }
    }
}

/// The first message and its whole size.
fn item(bytes: &[u8]) -> Option<(Item<'_>, usize)> {
    let size = word(bytes, 0)?;
    let bytes = bytes.get(..size)?;
    let checksum = u32::from_be_bytes(*bytes.get(8..12)?.first_chunk()?);
    let flag = i32::from_be_bytes(*bytes.get(12..16)?.first_chunk()?);
    let body_end = FIXED.checked_add(word(bytes, 16)?)?;
    let body = bytes.get(FIXED..body_end)?;
    let properties = bytes.get(body_end..)?;
    let (length, properties) = properties.split_first_chunk::<2>()?;
    if usize::from(u16::from_be_bytes(*length)) != properties.len() {
        return None;
    }
    let item = Item {
        flag,
        body,
        properties: std::str::from_utf8(properties).ok()?,
        checksum,
        known: None,
    };
    Some((item, size))
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at + 4)?.first_chunk()?;
    usize::try_from(i32::from_be_bytes(*word)).ok()
}

/// Appends a message to a batch's body. Properties beyond [`PROPERTIES_MAX`] cannot be written.
pub fn push(out: &mut Vec<u8>, item: &Item<'_>) -> bool {
    if item.properties.len() > PROPERTIES_MAX {
        return false;
    }
    let size = item.encoded_len();
    out.extend_from_slice(&(size as u32).to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&item.checksum.to_be_bytes());
    out.extend_from_slice(&item.flag.to_be_bytes());
    out.extend_from_slice(&(item.body.len() as u32).to_be_bytes());
    out.extend_from_slice(item.body);
    out.extend_from_slice(&(item.properties.len() as u16).to_be_bytes());
    out.extend_from_slice(item.properties.as_bytes());
    true
}
