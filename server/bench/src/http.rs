//! The cells of the HTTP door: what each does, and HTTP/1.1 as far as they need it.
//!
//! Requests are made once and written as they are; of answers only the status and the length are read.

mod beside;
mod load;
mod tails;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use remoting::Serialize;

use crate::admin::Admin;
use crate::cell::{QUEUES, Row, SIZE, Target, Times, fill};
use crate::load::{Shape, closed};
use crate::send::Wrong;
use crate::template::Template;
use crate::wire::{Answer, Protocol};

use load::{Publishing, Receiving};

/// What a cell does with the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Publishes a message as JSON.
    Json,
    /// Publishes a message as bytes.
    Raw,
    /// Publishes so many messages at once.
    Batch(usize),
    /// Receives 32 messages, then acks them.
    Receive,
    /// Opens so many streams, on which nothing happens; the rate is of the opening.
    Idle(usize),
    /// Sends a message to so many streams, and the next when all have it; the rate is of what arrives.
    Tails(usize),
    /// The same to streams that want a tag, which the message has.
    TagTails(usize),
    /// Sends over remoting, while messages go to so many streams.
    BesideTails(usize),
    /// Sends over remoting, while 4 MiB bodies are posted.
    BesideBodies,
}

impl Door {
    /// Runs it in a topic that is there.
    pub fn run(
        self,
        admin: &mut Admin,
        topic: &str,
        run: u64,
        shape: Shape,
        target: Target,
        times: Times,
    ) -> Result<Row, Wrong> {
        let address = target.http.ok_or_else(|| {
            Wrong("nothing is known of an HTTP port (--http-addr of `cell`)".to_owned())
        })?;
        match self {
            Door::Json => publish(
                admin,
                topic,
                Publishing::json(topic),
                shape,
                target,
                address,
            ),
            Door::Raw => publish(admin, topic, Publishing::raw(topic), shape, target, address),
            Door::Batch(count) => {
                let load = Publishing::batch(topic, count);
                publish(admin, topic, load, shape, target, address)
            }
            Door::Receive => receive(admin, topic, run, shape, target, address),
            Door::Idle(count) => tails::idle(address, topic, count, target, times),
            Door::Tails(count) => tails::fan_out(address, topic, count, None, target, times),
            Door::TagTails(count) => {
                tails::fan_out(address, topic, count, Some(TAG), target, times)
            }
            Door::BesideTails(count) => {
                beside::tails(admin, address, topic, count, run, shape, target, times)
            }
            Door::BesideBodies => beside::bodies(admin, address, topic, run, shape, target),
        }
    }
}

fn publish(
    admin: &mut Admin,
    topic: &str,
    mut load: Publishing,
    shape: Shape,
    target: Target,
    address: SocketAddr,
) -> Result<Row, Wrong> {
    let measured = closed(address, shape, Instant::now(), target.pid, &mut load)?;
    if let Some(wrong) = load.wrong {
        return Err(wrong);
    }
    let behind = admin.until_end(topic, QUEUES, load.stored)?;
    let ends = (0..QUEUES).map(|queue| admin.end(topic, queue));
    let stored: u64 = ends.sum::<Result<u64, Wrong>>()?;
    if stored != load.stored {
        let answered = load.stored;
        return Err(Wrong(format!("{answered} answered, {stored} stored")));
    }
    Ok(Row {
        behind,
        ..Row::of(measured)
    })
}

fn receive(
    admin: &mut Admin,
    topic: &str,
    run: u64,
    shape: Shape,
    target: Target,
    address: SocketAddr,
) -> Result<Row, Wrong> {
    let group = format!("of-{topic}");
    let mut asking = Asking::connect(address)?;
    asking.expect(
        201,
        &request("PUT", &format!("/v1/groups/{group}"), "", b""),
    )?;
    let path = format!("/v1/groups/{group}/subscriptions/{topic}");
    let settings = br#"{"start":"earliest"}"#;
    asking.expect(201, &request("PUT", &path, JSON, settings))?;
    let template = Template::send(topic, SIZE, Serialize::Binary);
    let stored = fill(admin, topic, template, run, target)?.iter().sum();
    let mut load = Receiving::new(&group, topic, shape.connections, stored);
    let shape = Shape {
        warm: shape.warm / 4,
        ..shape
    };
    let measured = closed(address, shape, Instant::now(), target.pid, &mut load)?;
    match load.wrong() {
        Some(wrong) => Err(wrong),
        None => Ok(Row::of(measured)),
    }
}

/// The tag that some streams want.
const TAG: &str = "wanted";
const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

/// A whole request. `kind` is its body's; empty: it says none.
fn request(method: &str, path: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let kind = match kind {
        "" => String::new(),
        kind => format!("content-type: {kind}\r\n"),
    };
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{kind}content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Answers with a length.
const HTTP: Protocol = Protocol {
    whole: whole_answer,
    read: |bytes| {
        Some(Answer {
            code: status(bytes)?,
            opaque: crate::template::OPAQUE,
            is_answer: true,
            body_at: head(bytes).ok()??,
        })
    },
};

/// Answers that go on for ever: the head, then each chunk, is an answer of its own.
const STREAM: Protocol = Protocol {
    whole: |bytes| match bytes.starts_with(b"HTTP/") {
        true => head(bytes),
        false => chunk(bytes),
    },
    read: HTTP.read,
};

fn whole_answer(bytes: &[u8]) -> io::Result<Option<usize>> {
    const LENGTH: &[u8] = b"\r\ncontent-length: ";
    let Some(body_at) = head(bytes)? else {
        return Ok(None);
    };
    let head = &bytes[..body_at];
    let length = match memchr::memmem::find(head, LENGTH) {
        Some(at) => number(&head[at + LENGTH.len()..], 10)?,
        None if status(bytes) == Some(204) => 0,
        None => return Err(invalid("an answer that does not say how long it is")),
    };
    Ok(Some(body_at + length).filter(|&end| end <= bytes.len()))
}

/// Where a head ends.
fn head(bytes: &[u8]) -> io::Result<Option<usize>> {
    const LONGEST: usize = 16 << 10;
    match memchr::memmem::find(bytes, b"\r\n\r\n") {
        None if bytes.len() > LONGEST => Err(invalid("a head without an end")),
        end => Ok(end.map(|at| at + 4)),
    }
}

fn status(bytes: &[u8]) -> Option<i32> {
    std::str::from_utf8(bytes.get(9..12)?).ok()?.parse().ok()
}

fn chunk(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(line) = memchr::memmem::find(bytes, b"\r\n") else {
        return Ok(None);
    };
    let end = line + 2 + number(bytes, 16)? + 2;
    Ok(Some(end).filter(|&end| end <= bytes.len()))
}

fn number(bytes: &[u8], radix: u32) -> io::Result<usize> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let text: String = digits.map(|&byte| char::from(byte)).collect();
    usize::from_str_radix(&text, radix).map_err(|_| invalid("no number where one was due"))
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}

/// A connection for one request at a time, which waits for the answer.
struct Asking {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Asking {
    fn connect(address: SocketAddr) -> io::Result<Asking> {
        let limit = Duration::from_secs(10);
        let stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limit))?;
        Ok(Asking {
            stream,
            bytes: Vec::new(),
        })
    }

    /// Sends a request, and waits for an answer with this status.
    fn expect(&mut self, code: i32, request: &[u8]) -> Result<(), Wrong> {
        self.stream.write_all(request)?;
        self.bytes.clear();
        let mut buffer = [0; 4096];
        while whole_answer(&self.bytes)?.is_none() {
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
                read => self.bytes.extend_from_slice(&buffer[..read]),
            }
        }
        match status(&self.bytes) {
            Some(got) if got == code => Ok(()),
            _ => Err(Wrong(format!("{code} was due: {}", text(&self.bytes)))),
        }
    }
}

/// The beginning of an answer, to show.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(1_000)]).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn answers_and_chunks_are_cut_where_they_end() {
        let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 3\r\nx: y\r\n\r\nabcHTTP/1.1";
        assert_eq!(whole_answer(answer).unwrap(), Some(answer.len() - 8));
        assert_eq!(whole_answer(&answer[..48]).unwrap(), None);
        assert_eq!((HTTP.read)(answer).unwrap().code, 201);
        let empty = b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n";
        assert_eq!(whole_answer(empty).unwrap(), Some(empty.len()));
        assert!(whole_answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        let stream = b"HTTP/1.1 200 OK\r\n\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n3\r\nabc\r\n";
        let whole = |at: usize| (STREAM.whole)(&stream[at..]).unwrap();
        assert_eq!(
            (whole(0), whole(19), whole(51)),
            (Some(19), Some(32), Some(8))
        );
        assert_eq!((STREAM.whole)(&stream[19..50]).unwrap(), None);
        assert!((STREAM.whole)(b"what\r\n").is_err());
    }
}
