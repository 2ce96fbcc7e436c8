//! Many streams that follow one topic: what they cost while nothing happens, and how soon all of them
//! have a message.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cell::{Row, SIZE, Target, Times};
use crate::load::{Measured, Poll, histogram, now_ns};
use crate::meter::{Meter, resident};
use crate::send::Wrong;
use crate::wire::Link;

use super::{BYTES, HTTP, STREAM, request, status, text};

/// Streams that are opened before those are waited for.
const AT_ONCE: usize = 128;
/// What a process needs beside its streams.
const OTHER_DESCRIPTORS: u64 = 300;
/// For all streams to have something.
const LIMIT: Duration = Duration::from_secs(60);
/// What stands before a message's number in its body.
const MARK: &[u8] = b"number ";
const DIGITS: usize = 10;

/// Opens streams, and tells what one of them takes of the server's memory.
pub(super) fn idle(
    address: SocketAddr,
    topic: &str,
    count: usize,
    target: Target,
    times: Times,
) -> Result<Row, Wrong> {
    let none = || Wrong("the server's process is not known (--pid)".to_owned());
    let memory = || target.pid.and_then(resident).ok_or_else(none);
    // The topic's reader, and whatever else the first of them makes.
    let _first = Streams::open(address, topic, 1, None)?;
    let before = memory()?;
    let meter = Meter::begin(target.pid);
    let count = times.streams.unwrap_or(count);
    let streams = Streams::open(address, topic, count, None)?;
    let used = meter.end();
    let open = streams.links.len();
    let each = memory()?.saturating_sub(before) as f64 / open as f64 / 1024.0;
    Ok(Row {
        told: Some(format!("{each:.1} KiB each{}", streams.fewer(count))),
        ..Row::of(Measured {
            messages: open as u64,
            latency: streams.latency,
            used,
            span: None,
        })
    })
}

/// Sends messages to streams, one after the other; with a tag, these and the streams have it.
pub(super) fn fan_out(
    address: SocketAddr,
    topic: &str,
    count: usize,
    tag: Option<&str>,
    target: Target,
    times: Times,
) -> Result<Row, Wrong> {
    let count = times.streams.unwrap_or(count);
    let mut streams = Streams::open(address, topic, count, tag)?;
    streams.rounds(times.warm)?;
    streams.latency.reset();
    let before = streams.round;
    let meter = Meter::begin(target.pid);
    streams.rounds(times.time)?;
    let used = meter.end();
    let rounds = streams.round - before;
    Ok(Row {
        told: Some(format!("{rounds} messages{}", streams.fewer(count))),
        ..Row::of(Measured {
            messages: rounds * streams.links.len() as u64,
            latency: streams.latency,
            used,
            span: None,
        })
    })
}

/// Open streams, and a connection that publishes.
pub(super) struct Streams {
    address: SocketAddr,
    begun: Instant,
    poll: Poll,
    /// Connected with the first message: a server does not wait long for one.
    publish: Option<Link>,
    path: String,
    /// What the body is, and the header behind that.
    kind: String,
    links: Vec<Link>,
    /// The number of each stream's last message; `None` until it has said hello.
    seen: Vec<Option<u64>>,
    /// When what is waited for was asked for: a stream, or a message for all.
    since: Vec<u64>,
    /// The number of the last message.
    pub round: u64,
    latency: Histogram<u64>,
    buffer: Vec<u8>,
}

impl Streams {
    /// Opens streams, fewer if there are not enough descriptors, and waits until all are open.
    pub(super) fn open(
        address: SocketAddr,
        topic: &str,
        count: usize,
        tag: Option<&str>,
    ) -> Result<Streams, Wrong> {
        let count = count.min(descriptors());
        let mut streams = Streams {
            address,
            begun: Instant::now(),
            poll: Poll::new()?,
            publish: None,
            path: format!("/v1/topics/{topic}/messages:raw"),
            kind: match tag {
                None => BYTES.to_owned(),
                Some(tag) => format!("{BYTES}\r\nmq-tag: {tag}"),
            },
            links: Vec::with_capacity(count),
            seen: Vec::with_capacity(count),
            since: Vec::with_capacity(count),
            round: 0,
            latency: histogram(),
            buffer: vec![0; 64 << 10],
        };
        let query = tag.map_or(String::new(), |tag| format!("?tag={tag}"));
        let open = format!(
            "GET /v1/topics/{topic}/stream{query} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/event-stream\r\n\r\n"
        );
        while streams.links.len() < count {
            let from = streams.links.len();
            for number in from..count.min(from + AT_ONCE) {
                let mut link = Link::connect(address)?;
                streams.since.push(now_ns(streams.begun));
                link.out.extend_from_slice(open.as_bytes());
                link.flush()?;
                streams.poll.add(&link, number)?;
                streams.links.push(link);
                streams.seen.push(None);
            }
            let opening = streams.links.len() - from;
            streams.until(opening)?;
        }
        Ok(streams)
    }

    /// What to say if there are fewer than were wanted.
    fn fewer(&self, wanted: usize) -> String {
        let open = self.links.len();
        match open < wanted {
            true => format!(" ({open} streams: no more were allowed)"),
            false => String::new(),
        }
    }

    /// Sends messages, each when all streams have the one before, for this long; at least one.
    pub(super) fn rounds(&mut self, time: Duration) -> Result<(), Wrong> {
        let end = Instant::now() + time;
        loop {
            self.round()?;
            if Instant::now() >= end {
                return Ok(());
            }
        }
    }

    fn round(&mut self) -> Result<(), Wrong> {
        self.round += 1;
        let mark = format!("number {:010} ", self.round);
        let body = format!("{mark}{}", "x".repeat(SIZE - mark.len()));
        let request = request("POST", &self.path, &self.kind, body.as_bytes());
        let publish = match &mut self.publish {
            Some(publish) => publish,
            none => {
                let publish = Link::connect(self.address)?;
                self.poll.add(&publish, self.links.len())?;
                none.insert(publish)
            }
        };
        self.since.fill(now_ns(self.begun));
        publish.out.extend_from_slice(&request);
        publish.flush()?;
        // Every stream's event, and the answer.
        self.until(self.links.len() + 1)
    }

    /// Reads until this many things that were asked for have come.
    fn until(&mut self, mut awaited: usize) -> Result<(), Wrong> {
        let end = Instant::now() + LIMIT;
        let mut ready = Vec::new();
        while awaited > 0 {
            if Instant::now() >= end {
                let text = format!("{awaited} streams or answers are still missing");
                return Err(Wrong(text));
            }
            self.poll.wait(Duration::from_millis(100), &mut ready)?;
            for &number in &ready {
                awaited = match self.take(number) {
                    Ok(come) => awaited.checked_sub(come),
                    Err(error) => return Err(error),
                }
                .ok_or_else(|| Wrong("something came twice".to_owned()))?;
            }
        }
        Ok(())
    }

    /// Reads one connection; how much came of what is waited for.
    fn take(&mut self, number: usize) -> Result<usize, Wrong> {
        let (mut come, mut wrong) = (0, None);
        let Some(link) = self.links.get_mut(number) else {
            let Some(publish) = &mut self.publish else {
                return Ok(0);
            };
            publish.read_of(HTTP, &mut self.buffer, |answer| {
                come += 1;
                if status(answer) != Some(201) {
                    wrong = Some(Wrong(text(answer)));
                }
            })?;
            return wrong.map_or(Ok(come), Err);
        };
        let (seen, round) = (&mut self.seen[number], self.round);
        let read = link.read_of(STREAM, &mut self.buffer, |piece| {
            let is_head = piece.starts_with(b"HTTP/");
            let next = match (number_of(piece), *seen) {
                _ if is_head && status(piece) != Some(200) => None,
                (None, None) if memchr::memmem::find(piece, b": ok\n").is_some() => Some(0),
                // The head, signs of life.
                (None, _) => return,
                (Some(number), Some(last)) if number == last + 1 && number == round => Some(number),
                (Some(_), _) => None,
            };
            match next {
                Some(_) => (*seen, come) = (Some(round), come + 1),
                None => wrong = Some(Wrong(format!("message {round} was due: {}", text(piece)))),
            }
        });
        read.map_err(|error: io::Error| Wrong(format!("a stream ended: {error}")))?;
        if come > 0 {
            let took = now_ns(self.begun).saturating_sub(self.since[number]);
            self.latency.saturating_record(took.max(1_000));
        }
        wrong.map_or(Ok(come), Err)
    }
}

/// The number in the message that an event tells of.
fn number_of(piece: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(piece, MARK)? + MARK.len();
    let digits = piece.get(at..at + DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// How many streams this process may open. The server, which raises its own limit, is told the same one.
fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let most = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    // No limit is one that nobody reaches.
    let most = most.unwrap_or(1 << 30).saturating_sub(OTHER_DESCRIPTORS);
    usize::try_from(most).unwrap_or(usize::MAX)
}
