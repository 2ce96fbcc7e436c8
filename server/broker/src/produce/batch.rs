//! A batch's body: messages one behind the other.
//!
//! ```text
//! total 4 | magic 4 | body CRC 4 | flag 4 | body 4+n | properties 2+n
//! ```

use std::borrow::Cow;

use model::record::crc;
use store::Keys;

use super::properties::{Facts, facts};
use crate::{Error, limits};

/// One message of a batch.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    pub flag: i32,
    pub body: &'a [u8],
    pub properties: Cow<'a, str>,
    pub facts: Facts<'a>,
}

impl Item<'_> {
    /// Its keys; if it got one here, the store looks.
    pub fn keys(&self) -> Keys<'_> {
        match self.facts.unique_key {
            Some(unique) => Keys::Read {
                unique,
                keys: self.facts.keys.unwrap_or_default(),
                once: "",
            },
            None => Keys::Unread,
        }
    }
}

/// Reads all messages of a batch; there is at least one.
pub(crate) fn parse(mut body: &[u8]) -> Result<Vec<Item<'_>>, Error> {
    // An item is never smaller than its fixed fields, so this allocates no more than was received.
    let mut items = Vec::with_capacity((body.len() / 128 + 1).min(limits::BATCH_MESSAGES));
    while !body.is_empty() {
        if items.len() == limits::BATCH_MESSAGES {
            return Err(Error::BatchMalformed("it has too many messages"));
        }
        let (item, rest) = parse_item(body).ok_or(Error::BatchMalformed("a length is wrong"))?;
        // Clients leave it 0, and Apache never looks; who does say one means it.
        if item.3 != 0 && crc(item.1) != item.3 & 0x7FFF_FFFF {
            return Err(Error::BodyCorrupt);
        }
        let text = std::str::from_utf8(item.2)
            .map_err(|_| Error::BatchMalformed("properties are not UTF-8"))?;
        items.push(Item {
            flag: item.0,
            body: item.1,
            properties: Cow::Borrowed(text),
            facts: facts(text),
        });
        body = rest;
    }
    if items.is_empty() {
        return Err(Error::BatchMalformed("it has no message"));
    }
    Ok(items)
}

/// Flag, body, properties, body CRC.
type Fields<'a> = (i32, &'a [u8], &'a [u8], u32);

fn parse_item(bytes: &[u8]) -> Option<(Fields<'_>, &[u8])> {
    let (total, _) = bytes.split_first_chunk()?;
    let (item, rest) = bytes.split_at_checked(u32::from_be_bytes(*total) as usize)?;
    let (checksum, item) = item.get(8..)?.split_first_chunk()?;
    let (flag, item) = item.split_first_chunk()?;
    let (len, item) = item.split_first_chunk()?;
    let (body, item) = item.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    let (len, item) = item.split_first_chunk()?;
    let properties = item.get(..usize::from(u16::from_be_bytes(*len)))?;
    let (flag, checksum) = (i32::from_be_bytes(*flag), u32::from_be_bytes(*checksum));
    Some(((flag, body, properties, checksum), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a batch, as Apache's client writes them.
    fn encode(items: &[(&[u8], &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (body, properties) in items {
            let total = 4 * 5 + body.len() + 2 + properties.len();
            for number in [total, 0, 0, 7, body.len()] {
                out.extend_from_slice(&(number as u32).to_be_bytes());
            }
            out.extend_from_slice(body);
            out.extend_from_slice(&(properties.len() as u16).to_be_bytes());
            out.extend_from_slice(properties.as_bytes());
        }
        out
    }

    #[test]
    fn each_message_has_its_own_properties() {
        let bytes = encode(&[(b"one", "TAGS\u{1}A\u{2}"), (b"two", "")]);
        let items = parse(&bytes).unwrap();
        assert_eq!(items.len(), 2);
        assert_eq!(
            (items[0].body, items[0].facts.tags_code, items[0].flag),
            (&b"one"[..], 65, 7)
        );
        assert_eq!((items[1].body, items[1].facts.tags_code), (&b"two"[..], 0));
    }

    #[test]
    fn a_crc_that_is_said_must_be_right() {
        let mut bytes = encode(&[(b"one", "")]);
        let with = |bytes: &mut [u8], sum: u32| bytes[8..12].copy_from_slice(&sum.to_be_bytes());
        with(&mut bytes, crc(b"one"));
        assert_eq!(parse(&bytes).unwrap().len(), 1);
        with(&mut bytes, crc(b"one") ^ 1);
        assert!(matches!(parse(&bytes), Err(Error::BodyCorrupt)));
    }

    /// A batch comes from the network: any bytes are read or refused, never a panic.
    #[test]
    fn any_bytes_are_read_or_refused() {
        let mut rng = fastrand::Rng::with_seed(11);
        let whole = encode(&[(b"one", "TAGS\u{1}A\u{2}"), (b"two", "")]);
        for _ in 0..50_000 {
            let mut bytes = whole.clone();
            bytes.truncate(rng.usize(..=whole.len()));
            for _ in 0..rng.usize(..3) {
                let at = rng.usize(..bytes.len().max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = rng.u8(..);
                }
            }
            let _ = parse(&bytes);
        }
        assert!(parse(b"").is_err());
        assert!(
            parse(&[0; 4]).is_err(),
            "a length of zero must not loop for ever"
        );
    }
}
