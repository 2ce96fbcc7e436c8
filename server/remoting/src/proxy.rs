//! What comes before the first frame: a HAProxy PROXY header, version 1 or 2, or nothing.
//!
//! Nothing is judged before twelve bytes are there, the length of version 2's signature and less than
//! any frame has. A load balancer in front of the broker tells us through the header who the client is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::net::TcpStream;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest version 1 line, its CR LF included.
const LINE_MAX: usize = 107;
/// A version 2 header with more than this behind its first 16 bytes is not believed.
const V2_MAX: usize = 4096;
/// The first byte of a TLS handshake. As the first byte of a frame it would announce 369 MB.
const TLS: u8 = 0x16;

/// What a connection began with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// A frame.
    Plain,
    /// A PROXY header; with the client's address unless it said "unknown" or "local".
    Proxied(Option<SocketAddr>),
    /// Nothing that we speak, or the end.
    Close,
}

/// Reads until it is clear how the connection begins. `tail` has what follows the header.
pub(crate) async fn greet(stream: &TcpStream, tail: &mut Vec<u8>) -> Greeting {
    loop {
        if stream.readable().await.is_err() {
            return Greeting::Close;
        }
        match stream.try_read_buf(tail) {
            Ok(0) => return Greeting::Close,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return Greeting::Close,
        }
        match parse(tail) {
            Ok(None) => {}
            Ok(Some((greeting, length))) => {
                tail.drain(..length);
                return greeting;
            }
            Err(Malformed) => return Greeting::Close,
        }
    }
}

/// The bytes begin as nothing that we speak.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The greeting and its length; `None` while more bytes are needed.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Greeting, usize)>, Malformed> {
    if bytes.len() < SIGNATURE.len() {
        Ok(None)
    } else if bytes.starts_with(SIGNATURE) {
        parse_v2(bytes)
    } else if bytes.starts_with(b"PROXY ") {
        parse_v1(bytes)
    } else if bytes.first() == Some(&TLS) {
        Err(Malformed)
    } else {
        Ok(Some((Greeting::Plain, 0)))
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(Greeting, usize)>, Malformed> {
    let head = bytes.get(..LINE_MAX).unwrap_or(bytes);
    let Some(end) = memchr::memmem::find(head, b"\r\n") else {
        return if bytes.len() < LINE_MAX {
            Ok(None)
        } else {
            Err(Malformed)
        };
    };
    let line = bytes
        .get(..end)
        .and_then(|line| std::str::from_utf8(line).ok());
    let mut words = line.ok_or(Malformed)?.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(Some((Greeting::Proxied(None), end + 2)));
    }
    let (source, _target) = (words.next(), words.next());
    let (port, _target_port) = (words.next(), words.next());
    let source = source.and_then(|ip| IpAddr::from_str(ip).ok());
    let port = port.and_then(|port| u16::from_str(port).ok());
    match (family, source, port) {
        (Some("TCP4"), Some(ip @ IpAddr::V4(_)), Some(port))
        | (Some("TCP6"), Some(ip @ IpAddr::V6(_)), Some(port)) => {
            let source = SocketAddr::new(ip, port);
            Ok(Some((Greeting::Proxied(Some(source)), end + 2)))
        }
        _ => Err(Malformed),
    }
}

fn parse_v2(bytes: &[u8]) -> Result<Option<(Greeting, usize)>, Malformed> {
    let Some(&[command, family, high, low]) = bytes.get(12..16).and_then(|b| b.first_chunk())
    else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 || length > V2_MAX {
        return Err(Malformed);
    }
    let Some(block) = bytes.get(16..16 + length) else {
        return Ok(None);
    };
    let source = match (command & 0xF, family) {
        // LOCAL: the balancer itself, checking that we live.
        (0, _) => None,
        (1, 0x11) => {
            let [a, b, c, d] = *block.first_chunk().ok_or(Malformed)?;
            let port = block.get(8..10).and_then(|port| port.first_chunk());
            let port = u16::from_be_bytes(*port.ok_or(Malformed)?);
            Some((Ipv4Addr::new(a, b, c, d), port).into())
        }
        (1, 0x21) => {
            let ip: [u8; 16] = *block.first_chunk().ok_or(Malformed)?;
            let port = block.get(32..34).and_then(|port| port.first_chunk());
            let port = u16::from_be_bytes(*port.ok_or(Malformed)?);
            Some((Ipv6Addr::from(ip), port).into())
        }
        // UDP and Unix sockets have no address that fits.
        (1, _) => None,
        _ => return Err(Malformed),
    };
    Ok(Some((Greeting::Proxied(source), 16 + length)))
}

#[cfg(test)]
mod tests;
