//! The smallest client: one blocking socket, one request after the other.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use remoting::code::{request, response};
use remoting::{Command, Decoder};

pub struct Client {
    socket: TcpStream,
    read: Vec<u8>,
    opaque: i32,
}

/// Where a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub queue: u32,
    pub offset: u64,
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        let socket = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Client {
            socket,
            read: Vec::new(),
            opaque: 0,
        })
    }

    /// Sends a request.
    pub fn post(&mut self, mut request: Command) -> io::Result<()> {
        self.opaque += 1;
        request.opaque = self.opaque;
        self.socket.write_all(&request.to_bytes())
    }

    /// Sends a request and waits for its answer.
    pub fn call(&mut self, request: Command) -> io::Result<Command> {
        self.post(request)?;
        loop {
            let answer = self.next()?;
            if answer.is_response() && answer.opaque == self.opaque {
                return Ok(answer);
            }
        }
    }

    /// The next command that arrives.
    pub fn next(&mut self) -> io::Result<Command> {
        loop {
            if let Some(length) = Decoder::peek(&self.read).map_err(io::Error::other)? {
                let frame: Vec<u8> = self.read.drain(..length).collect();
                return Command::decode(&frame).map_err(io::Error::other);
            }
            let mut piece = [0; 64 << 10];
            let read = self.socket.read(&mut piece)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.read.extend_from_slice(&piece[..read]);
        }
    }

    /// Sends a message, and says where it is if it was stored.
    pub fn send(&mut self, topic: &str, queue: u32, body: &[u8]) -> io::Result<Place> {
        let answer = self.call(send(topic, queue, body))?;
        if answer.code != response::SUCCESS {
            return Err(io::Error::other(format!(
                "{} {:?}",
                answer.code, answer.remark
            )));
        }
        let number = |name| answer.field(name).and_then(|text| text.parse::<u64>().ok());
        let place = number("queueId").zip(number("queueOffset"));
        let (queue, offset) = place.ok_or_else(|| io::Error::other("an answer without a place"))?;
        Ok(Place {
            queue: queue as u32,
            offset,
        })
    }

    /// The messages of a queue from an offset on, as many as one pull gives; empty at its end.
    pub fn pull(&mut self, topic: &str, queue: u32, from: u64) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let answer = self.call(pull(topic, queue, from))?;
        match answer.code {
            response::SUCCESS => Ok(messages(&answer.body)),
            response::PULL_NOT_FOUND | response::PULL_OFFSET_MOVED | response::TOPIC_NOT_EXIST => {
                Ok(Vec::new())
            }
            code => Err(io::Error::other(format!("{code} {:?}", answer.remark))),
        }
    }

    /// All messages of a queue.
    pub fn pull_all(&mut self, topic: &str, queue: u32) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let mut all: Vec<(u64, Vec<u8>)> = Vec::new();
        loop {
            let next = all.last().map_or(0, |(offset, _)| offset + 1);
            let more = self.pull(topic, queue, next)?;
            if more.is_empty() {
                return Ok(all);
            }
            all.extend(more);
        }
    }
}

/// A pull that does not wait, with its subscription.
pub fn pull(topic: &str, queue: u32, from: u64) -> Command {
    Command::request(request::PULL_MESSAGE)
        .with("consumerGroup", "reader")
        .with("topic", topic)
        .with("queueId", queue)
        .with("queueOffset", from)
        .with("maxMsgNums", 32)
        .with("sysFlag", 4) // the subscription comes with the request
        .with("commitOffset", 0)
        .with("suspendTimeoutMillis", 0)
        .with("subscription", "*")
        .with("subVersion", 0)
        .with("expressionType", "TAG")
}

/// A send of four queues' topic.
pub fn send(topic: &str, queue: u32, body: &[u8]) -> Command {
    Command::request(request::SEND_MESSAGE_V2)
        .with("a", "writers")
        .with("b", topic)
        .with("c", "TBW102")
        .with("d", 4)
        .with("e", queue)
        .with("f", 0)
        .with("g", 1_700_000_000_000_i64)
        .with("h", 0)
        .with("i", "")
        .with("j", 0)
        .with("k", "false")
        .with("m", "false")
        .body(body.to_vec())
}

/// A copy with one field set anew.
pub fn with_properties(mut send: Command, properties: &str) -> Command {
    let fields = send.ext.get_or_insert_default();
    fields.retain(|(name, _)| name != "i");
    send.with("i", properties)
}

fn messages(mut body: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    while !body.is_empty() {
        let length = u32::from_be_bytes(body[..4].try_into().unwrap()) as usize;
        let (record, rest) = body.split_at(length);
        let view = model::record::View::parse(record).unwrap();
        found.push((view.queue_offset().0, view.body().to_vec()));
        body = rest;
    }
    found
}
