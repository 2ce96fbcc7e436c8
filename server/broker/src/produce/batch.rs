//! The messages of a batch, with what the broker must know of each.

use std::borrow::Cow;

use model::batch::{self, BatchError};
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
pub(crate) fn parse(body: &[u8]) -> Result<Vec<Item<'_>>, Error> {
    // An item is never smaller than its fixed fields, so this allocates no more than was received.
    read(batch::items(body), body.len() / 128 + 1)
}

/// The messages of a batch that came as such.
pub(crate) fn of<'a>(items: &'a [batch::Item<'a>]) -> Result<Vec<Item<'a>>, Error> {
    read(items.iter().map(|item| Ok(*item)), items.len())
}

fn read<'a>(
    items: impl Iterator<Item = Result<batch::Item<'a>, BatchError>>,
    about: usize,
) -> Result<Vec<Item<'a>>, Error> {
    let mut read = Vec::with_capacity(about.min(limits::BATCH_MESSAGES));
    for item in items {
        if read.len() == limits::BATCH_MESSAGES {
            return Err(Error::BatchMalformed("it has too many messages"));
        }
        let item =
            item.map_err(|_| Error::BatchMalformed("a length is wrong, or a text is none"))?;
        if !item.is_intact() {
            return Err(Error::BodyCorrupt);
        }
        read.push(Item {
            flag: item.flag,
            body: item.body,
            properties: Cow::Borrowed(item.properties),
            facts: match item.known {
                Some(known) => Facts::known(known),
                None => facts(item.properties),
            },
        });
    }
    if read.is_empty() {
        return Err(Error::BatchMalformed("it has no message"));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use model::record::crc;

    use super::*;

    fn encode(items: &[(&[u8], &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        for &(body, properties) in items {
            let item = batch::Item {
                flag: 7,
                body,
                properties,
                checksum: 0,
                known: None,
            };
            assert!(batch::push(&mut out, &item));
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
