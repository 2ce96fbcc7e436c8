//! One connection without blocking, answers read with as little work as possible, and records as
//! they lie in a pull's body.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use remoting::{Command, Decoder};

/// The head of an answer, and where its body begins.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The response code.
    pub code: i32,
    /// Whose answer it is.
    pub opaque: i32,
    /// An answer, and not a request of the broker.
    pub is_answer: bool,
    /// Where the body begins in the frame.
    pub body_at: usize,
}

impl Answer {
    /// Reads the head of a whole frame. Only the two numbers that are needed are looked for.
    pub fn read(frame: &[u8]) -> Option<Answer> {
        let word = u32::from_be_bytes(*frame.get(4..)?.first_chunk()?);
        let body_at = 8 + (word & 0xFF_FFFF) as usize;
        let header = frame.get(8..body_at)?;
        if word >> 24 == 1 {
            let code = i16::from_be_bytes(*header.first_chunk()?);
            let opaque = i32::from_be_bytes(*header.get(5..)?.first_chunk()?);
            let flag = i32::from_be_bytes(*header.get(9..)?.first_chunk()?);
            return Some(Answer {
                code: i32::from(code),
                opaque,
                is_answer: flag & 1 != 0,
                body_at,
            });
        }
        Some(Answer {
            code: number(header, b"\"code\":")?,
            opaque: number(header, b"\"opaque\":")?,
            is_answer: number(header, b"\"flag\":")? & 1 != 0,
            body_at,
        })
    }
}

/// The text of a field of an answer with a JSON header; no field is escaped in the answers we read.
pub fn field<'a>(frame: &'a [u8], answer: &Answer, name: &str) -> Option<&'a str> {
    let header = frame.get(8..answer.body_at)?;
    if frame.get(4) == Some(&1) {
        // A binary header: the name behind its length, then the value behind its own.
        let mut wanted = (name.len() as u16).to_be_bytes().to_vec();
        wanted.extend(name.as_bytes());
        let at = memchr::memmem::find(header, &wanted)? + wanted.len();
        let length = u32::from_be_bytes(*header.get(at..)?.first_chunk()?) as usize;
        return std::str::from_utf8(header.get(at + 4..at + 4 + length)?).ok();
    }
    let wanted = format!("\"{name}\":\"");
    let at = memchr::memmem::find(header, wanted.as_bytes())? + wanted.len();
    let rest = header.get(at..)?;
    std::str::from_utf8(&rest[..memchr::memchr(b'"', rest)?]).ok()
}

fn number(header: &[u8], name: &[u8]) -> Option<i32> {
    let at = memchr::memmem::find(header, name)? + name.len();
    let digits = header.get(at..)?;
    let end = digits
        .iter()
        .position(|byte| !byte.is_ascii_digit() && *byte != b'-')?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

/// How a stream of bytes is cut into answers, and how one is read.
#[derive(Clone, Copy)]
pub struct Protocol {
    /// How long the first whole answer is, if there is one.
    pub whole: fn(&[u8]) -> io::Result<Option<usize>>,
    /// The head of a whole one.
    pub read: fn(&[u8]) -> Option<Answer>,
}

/// RocketMQ's.
pub const REMOTING: Protocol = Protocol {
    whole: |bytes| {
        Decoder::peek(bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
    },
    read: Answer::read,
};

/// A socket that does not block, and what could not be written or parsed yet.
pub struct Link {
    /// The socket.
    pub stream: TcpStream,
    /// What is to be written.
    pub out: Vec<u8>,
    written: usize,
    tail: Vec<u8>,
}

impl Link {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Link> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(3))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Link {
            stream,
            out: Vec::new(),
            written: 0,
            tail: Vec::new(),
        })
    }

    /// Writes what the socket takes; whether all is written.
    pub fn flush(&mut self) -> io::Result<bool> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(true)
    }

    /// Whether something waits to be written.
    pub fn is_blocked(&self) -> bool {
        self.written < self.out.len()
    }

    /// Reads once, and hands out each whole frame.
    pub fn read(&mut self, buffer: &mut [u8], each: impl FnMut(&[u8])) -> io::Result<()> {
        self.read_of(REMOTING, buffer, each)
    }

    /// The same with another protocol's answers.
    pub fn read_of(
        &mut self,
        protocol: Protocol,
        buffer: &mut [u8],
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let read = match self.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let fresh = &buffer[..read];
        if self.tail.is_empty() {
            let taken = frames(protocol, fresh, &mut each)?;
            self.tail.extend_from_slice(&fresh[taken..]);
        } else {
            self.tail.extend_from_slice(fresh);
            let taken = frames(protocol, &self.tail, &mut each)?;
            self.tail.drain(..taken);
        }
        Ok(())
    }
}

fn frames(protocol: Protocol, bytes: &[u8], each: &mut impl FnMut(&[u8])) -> io::Result<usize> {
    let mut taken = 0;
    loop {
        let rest = &bytes[taken..];
        match (protocol.whole)(rest)? {
            Some(length) => {
                each(&rest[..length]);
                taken += length;
            }
            None => return Ok(taken),
        }
    }
}

/// A blocking connection for one request at a time.
pub struct Asking {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Asking {
    /// Connects; no answer may take longer than this.
    pub fn connect(address: SocketAddr, limit: Duration) -> io::Result<Asking> {
        let stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limit))?;
        Ok(Asking {
            stream,
            bytes: Vec::new(),
        })
    }

    /// Sends a request and waits for the answer.
    pub fn ask(&mut self, request: &Command) -> io::Result<Command> {
        self.stream.write_all(&request.to_bytes())?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let invalid = |error| io::Error::new(ErrorKind::InvalidData, error);
            if let Some(length) = Decoder::peek(&self.bytes).map_err(invalid)? {
                let answer = Command::decode(&self.bytes[..length]).map_err(invalid)?;
                self.bytes.drain(..length);
                if answer.is_response() && answer.opaque == request.opaque {
                    return Ok(answer);
                }
                continue;
            }
            match self.stream.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => self.bytes.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

/// A record of a pull's body.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its position in the queue.
    pub queue_offset: u64,
    /// Its queue.
    pub queue: u32,
    /// What was sent.
    pub body: &'a [u8],
}

/// Hands out the records of a pull's body; `None` if it is not made of whole records.
pub fn records(mut body: &[u8], mut each: impl FnMut(Record<'_>)) -> Option<usize> {
    let mut count = 0;
    while !body.is_empty() {
        let word = |at: usize| Some(u32::from_be_bytes(*body.get(at..)?.first_chunk()?));
        let length = word(0)? as usize;
        let sys_flag = word(36)?;
        // Two addresses of 4 or 16 bytes lie before the body.
        let wide = 12 * ((sys_flag >> 4 & 1) + (sys_flag >> 5 & 1)) as usize;
        let size = word(84 + wide)? as usize;
        each(Record {
            queue: word(12)?,
            queue_offset: u64::from_be_bytes(*body.get(20..)?.first_chunk()?),
            body: body.get(88 + wide..88 + wide + size)?,
        });
        body = body.get(length..).filter(|_| length > 0)?;
        count += 1;
    }
    Some(count)
}
