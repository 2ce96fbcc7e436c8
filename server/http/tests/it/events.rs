//! A caller that follows a stream, event by event.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;

use crate::door::{address, connect};

/// One event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Event {
    pub name: String,
    pub id: String,
    pub data: Value,
}

/// An open stream.
pub struct Stream {
    lines: BufReader<TcpStream>,
    pub status: u16,
    pub content_type: String,
    /// Bytes of the chunk that is being read, or of the whole body.
    left: usize,
    is_chunked: bool,
    /// The last id that was heard, of an event or of a heartbeat.
    pub last_id: String,
}

/// Opens a stream of the shared server.
pub fn open(target: &str, last_id: Option<&str>) -> Stream {
    open_at(address(), target, last_id)
}

pub fn open_at(address: SocketAddr, target: &str, last_id: Option<&str>) -> Stream {
    let mut socket = connect(address);
    let mut text =
        format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n");
    if let Some(id) = last_id {
        text += &format!("Last-Event-ID: {id}\r\n");
    }
    socket.write_all((text + "\r\n").as_bytes()).unwrap();
    let mut lines = BufReader::new(socket);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(lines.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let field = |name: &str| {
        let mut lines = head.lines().map(str::to_ascii_lowercase);
        lines.find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
    };
    Stream {
        lines,
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        content_type: field("content-type:").unwrap_or_default(),
        left: field("content-length:").map_or(0, |length| length.parse().unwrap()),
        is_chunked: field("transfer-encoding:").is_some(),
        last_id: String::new(),
    }
}

impl Stream {
    /// The next event that has data; `None` at the end of the stream.
    pub fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        let mut has_data = false;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                if has_data {
                    crate::contract::note(&event.data.to_string());
                    return Some(event);
                }
                event = Event::default();
                continue;
            }
            let (field, value) = line.split_once(": ").unwrap_or((&line, ""));
            match field {
                "event" => event.name = value.to_owned(),
                "id" => {
                    event.id = value.to_owned();
                    self.last_id = value.to_owned();
                }
                "data" => {
                    event.data = serde_json::from_str(value).unwrap();
                    has_data = true;
                }
                _ => {}
            }
        }
    }

    /// The bodies of the next messages, which must be all there is between.
    pub fn bodies(&mut self, count: usize) -> Vec<String> {
        let next = |_| {
            let event = self.next().unwrap();
            assert_eq!(event.name, "", "{event:?}");
            event.data["body"].as_str().unwrap().to_owned()
        };
        (0..count).map(next).collect()
    }

    /// The place that the stream tells before its first message.
    pub fn begun(&mut self) -> String {
        while self.last_id.is_empty() {
            let line = self.line().unwrap();
            assert!(!line.starts_with("data"), "{line}");
            if let Some(id) = line.strip_prefix("id: ") {
                self.last_id = id.to_owned();
            }
        }
        self.last_id.clone()
    }

    /// Where its reader is.
    pub fn local_address(&self) -> SocketAddr {
        self.lines.get_ref().local_addr().unwrap()
    }

    /// Breaks off, as a network does.
    pub fn cut(self) -> String {
        self.lines.get_ref().shutdown(Shutdown::Both).unwrap();
        self.last_id
    }

    /// A line of the body, out of its chunks.
    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            if self.left == 0 && !self.is_chunked {
                return None;
            }
            if self.left == 0 {
                let mut size = String::new();
                while size.trim().is_empty() {
                    size.clear();
                    if self.lines.read_line(&mut size).unwrap() == 0 {
                        return None;
                    }
                }
                self.left = usize::from_str_radix(size.trim(), 16).unwrap();
                if self.left == 0 {
                    return None;
                }
            }
            let bytes = self.lines.fill_buf().unwrap();
            let there = bytes.len().min(self.left);
            let end = bytes[..there].iter().position(|byte| *byte == b'\n');
            let take = end.map_or(there, |end| end + 1);
            line.extend_from_slice(&bytes[..take]);
            self.lines.consume(take);
            self.left -= take;
            if end.is_some() {
                line.pop();
                return Some(String::from_utf8(line).unwrap());
            }
        }
    }
}
