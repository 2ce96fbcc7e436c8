//! Message ids: where a message lies (`offsetMsgId`) and who made it (`UNIQ_KEY`).

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::queue::LogOffset;

/// The offset message id of a record: upper-case hex of the store host's address and port, then the log
/// offset. 32 characters for IPv4, 56 for IPv6. Clients connect to the address in it.
#[derive(Clone, Copy, Debug)]
pub struct OffsetId {
    text: [u8; 56],
    len: usize,
}

impl OffsetId {
    /// The id of the record at `offset`.
    pub fn new(store_host: SocketAddr, offset: LogOffset) -> OffsetId {
        let mut id = OffsetId {
            text: [0; 56],
            len: 0,
        };
        let port = store_host.port();
        match store_host.ip() {
            IpAddr::V4(ip) => id.push(hex(u64::from(u32::from(ip)) << 32 | u64::from(port))),
            IpAddr::V6(ip) => {
                let address = u128::from(ip);
                id.push(hex((address >> 64) as u64));
                id.push(hex(address as u64));
                let [.., a, b, c, d, e, f, g, h] = hex(u64::from(port));
                id.push([a, b, c, d, e, f, g, h]);
            }
        }
        id.push(hex(offset.0));
        id
    }

    /// The id of another record in the same log.
    pub fn at(&self, offset: LogOffset) -> OffsetId {
        let mut id = *self;
        id.len -= 16;
        id.push(hex(offset.0));
        id
    }

    /// Appends a comma and the id of another record in the same log.
    pub fn push_next(&self, offset: LogOffset, out: &mut Vec<u8>) {
        match self.text.first_chunk::<16>().filter(|_| self.len == 32) {
            Some(host) => {
                let mut text = [b','; 33];
                text[1..17].copy_from_slice(host);
                text[17..].copy_from_slice(&hex(offset.0));
                out.extend_from_slice(&text);
            }
            None => {
                out.push(b',');
                out.extend_from_slice(self.at(offset).as_bytes());
            }
        }
    }

    fn push<const N: usize>(&mut self, digits: [u8; N]) {
        self.text[self.len..self.len + N].copy_from_slice(&digits);
        self.len += N;
    }

    /// Its characters, which are ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or_default()
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// Sixteen digits. Every answer to a send has two of these, so all digits are made at once.
fn hex(number: u64) -> [u8; 16] {
    const ONES: u128 = u128::from_ne_bytes([1; 16]);
    // Each half of what was left moves apart, until every half byte has a byte of its own.
    let mut apart = u128::from(number);
    for (shift, mask) in [
        (32, 0x0000_0000_FFFF_FFFF_0000_0000_FFFF_FFFF),
        (16, 0x0000_FFFF_0000_FFFF_0000_FFFF_0000_FFFF),
        (8, 0x00FF_00FF_00FF_00FF_00FF_00FF_00FF_00FF),
        (4, 0x0F0F_0F0F_0F0F_0F0F_0F0F_0F0F_0F0F_0F0F),
    ] {
        apart = (apart | apart << shift) & mask;
    }
    let is_letter = ((apart + ONES * 6) >> 4) & ONES;
    let digits = apart + ONES * u128::from(b'0') + is_letter * u128::from(b'A' - b'9' - 1);
    digits.to_be_bytes()
}

/// Appends an [`OffsetId`].
pub fn push_offset_id(out: &mut String, store_host: SocketAddr, offset: LogOffset) {
    out.push_str(OffsetId::new(store_host, offset).as_str());
}

/// Reads an offset message id. `None` if it is none: a `UNIQ_KEY` has the same length, but the port
/// read from it is usually above 65535 (that is how Apache's tools tell them apart).
pub fn parse_offset_id(id: &str) -> Option<(SocketAddr, LogOffset)> {
    let mut bytes = [0u8; 28];
    let count = id.len() / 2;
    if !matches!(id.len(), 32 | 56) || !id.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(id.as_bytes().chunks_exact(2)) {
        let text = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(text, 16).ok()?;
    }
    let (address, rest) = bytes[..count].split_at(count - 12);
    let port = u32::from_be_bytes(rest[..4].try_into().ok()?);
    let offset = u64::from_be_bytes(rest[4..].try_into().ok()?);
    let ip: IpAddr = if count == 16 {
        Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?).into()
    } else {
        Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).into()
    };
    Some((
        SocketAddr::new(ip, u16::try_from(port).ok()?),
        LogOffset(offset),
    ))
}

/// Makes `UNIQ_KEY`s for messages whose client sent none (Apache `MessageClientIDSetter`): address,
/// process id, a random word, milliseconds since the start of the month, a counter.
#[derive(Clone, Debug)]
pub struct UniqIds {
    prefix: String,
}

impl UniqIds {
    /// `salt` must differ between processes that share address and process id.
    pub fn new(ip: IpAddr, pid: u16, salt: u32) -> UniqIds {
        let mut prefix = String::with_capacity(44);
        match ip {
            IpAddr::V4(ip) => ip.octets().iter().for_each(|&b| push_hex(&mut prefix, b)),
            IpAddr::V6(ip) => ip.octets().iter().for_each(|&b| push_hex(&mut prefix, b)),
        }
        let _ = write!(prefix, "{pid:04X}{salt:08X}");
        UniqIds { prefix }
    }

    /// Appends the id number `count` made at `since_month_start` milliseconds.
    pub fn push(&self, out: &mut String, since_month_start: u32, count: u16) {
        out.push_str(&self.prefix);
        let digits = hex(u64::from(since_month_start) << 16 | u64::from(count));
        // Twelve of sixteen: the number has 48 bits. Digits are ASCII.
        out.push_str(std::str::from_utf8(&digits[4..]).unwrap_or_default());
    }
}

fn push_hex(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_carries_address_and_offset() {
        let host: SocketAddr = "192.168.1.10:10911".parse().unwrap();
        let mut id = String::new();
        push_offset_id(&mut id, host, LogOffset(1_234_567));
        assert_eq!(id, "C0A8010A00002A9F000000000012D687");
        assert_eq!(parse_offset_id(&id), Some((host, LogOffset(1_234_567))));
    }

    #[test]
    fn every_byte_has_its_two_digits() {
        for byte in 0..=u8::MAX {
            let offset = LogOffset(u64::from_be_bytes([byte; 8]));
            for host in ["127.0.0.1:65535", "[2001:db8::ff]:1"] {
                let host = host.parse().unwrap();
                let mut id = String::new();
                push_offset_id(&mut id, host, offset);
                assert_eq!(parse_offset_id(&id), Some((host, offset)));
                assert!(id.ends_with(&format!("{byte:02X}").repeat(8)), "{id}");
            }
        }
    }

    #[test]
    fn ids_of_a_batch_are_told_with_commas() {
        for host in ["127.0.0.1:10911", "[2001:db8::ff]:1"] {
            let first = OffsetId::new(host.parse().unwrap(), LogOffset(7));
            let mut out = first.as_bytes().to_vec();
            first.push_next(LogOffset(0x1_2345), &mut out);
            let second = OffsetId::new(host.parse().unwrap(), LogOffset(0x1_2345));
            let both = format!("{},{}", first.as_str(), second.as_str());
            assert_eq!(out, both.as_bytes());
        }
    }

    #[test]
    fn a_unique_key_is_no_offset_id() {
        assert_eq!(parse_offset_id("7F000001F1A218B4AAC2000000000000"), None);
        assert_eq!(parse_offset_id("zz"), None);
    }
}
