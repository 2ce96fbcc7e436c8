//! Message ids: where a message lies (`offsetMsgId`) and who made it (`UNIQ_KEY`).

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::queue::LogOffset;

/// Appends the offset message id of a record: upper-case hex of the store host's address and port,
/// then the log offset. 32 characters for IPv4, 56 for IPv6. Clients connect to the address in it.
pub fn push_offset_id(out: &mut String, store_host: SocketAddr, offset: LogOffset) {
    match store_host.ip() {
        IpAddr::V4(ip) => ip.octets().iter().for_each(|&b| push_hex(out, b)),
        IpAddr::V6(ip) => ip.octets().iter().for_each(|&b| push_hex(out, b)),
    }
    for b in u32::from(store_host.port()).to_be_bytes() {
        push_hex(out, b);
    }
    for b in offset.0.to_be_bytes() {
        push_hex(out, b);
    }
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
        let _ = write!(out, "{since_month_start:08X}{count:04X}");
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
    fn a_unique_key_is_no_offset_id() {
        assert_eq!(parse_offset_id("7F000001F1A218B4AAC2000000000000"), None);
        assert_eq!(parse_offset_id("zz"), None);
    }
}
