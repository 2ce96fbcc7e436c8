//! A record with a long body: what takes long is done before its position is known.

use super::{CRC_PROPERTY, Record, encoded_len, push_crc, push_head, push_rest};

/// A record's bytes without its head, which whoever gives out positions adds.
#[derive(Debug)]
pub struct Ready {
    bytes: Vec<u8>,
    head: usize,
    body_crc: u32,
    /// Over what is behind the head, up to the checksum, if there is one.
    rest: Option<crc32fast::Hasher>,
}

impl Ready {
    /// The bytes of a record. Its positions and when it is stored are not known yet.
    ///
    /// # Panics
    /// As [`super::encode`].
    pub fn new(record: &Record<'_>) -> Ready {
        let total = encoded_len(record);
        let mut bytes = Vec::with_capacity(total);
        push_head(record, total, 0, &mut bytes);
        let head = bytes.len();
        let mut body = crc32fast::Hasher::new();
        body.update(record.body);
        let body_crc = body.clone().finalize() & 0x7FFF_FFFF;
        let rest = push_rest(record, &mut bytes).then(|| {
            body.update(&bytes[head + record.body.len()..]);
            push_crc(&mut bytes, 0);
            body
        });
        Ready {
            bytes,
            head,
            body_crc,
            rest,
        }
    }

    /// The same record as [`super::encode`] would write it now; `None` if it no longer is as long.
    pub fn at(self, record: &Record<'_>) -> Option<Vec<u8>> {
        let total = encoded_len(record);
        let mut head = Vec::with_capacity(self.head);
        push_head(record, total, self.body_crc, &mut head);
        let mut bytes = self.bytes;
        if head.len() != self.head || total != bytes.len() {
            return None;
        }
        bytes[..head.len()].copy_from_slice(&head);
        if let Some(rest) = self.rest {
            let mut sum = crc32fast::Hasher::new();
            sum.update(&head);
            sum.combine(&rest);
            bytes.truncate(total - CRC_PROPERTY);
            push_crc(&mut bytes, sum.finalize() & 0x7FFF_FFFF);
        }
        Some(bytes)
    }
}
