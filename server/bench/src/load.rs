//! The closed loop: so many connections, so many requests outstanding on each, for so long.
//!
//! One thread, one epoll. Every answer that a read brought is taken, then the free places are filled
//! with one write (`coalesced`) or with one write each, as Java's clients do.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::meter::{Meter, Used};
use crate::template::OPAQUE;
use crate::wire::{Answer, Link, Protocol, REMOTING};

/// What is asked for, and what an answer is worth.
pub trait Load {
    /// Appends one request of this connection, if there is one to make before the next answer. `ns` is
    /// now.
    fn request(&mut self, connection: usize, opaque: i32, ns: u64, out: &mut Vec<u8>) -> bool;
    /// Takes an answer, a whole frame: how many messages it stands for.
    fn answer(&mut self, connection: usize, answer: Answer, frame: &[u8]) -> usize;
    /// Whether there is nothing left to do, so that the measurement ends early.
    fn done(&self) -> bool {
        false
    }
    /// What is spoken; where answers say nothing of whose they are, one request a connection.
    fn protocol(&self) -> Protocol {
        REMOTING
    }
}

/// The shape of a closed loop.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Connections.
    pub connections: usize,
    /// Requests outstanding on each.
    pub outstanding: usize,
    /// Each request is its own write.
    pub one_write: bool,
    /// Time before the measurement.
    pub warm: Duration,
    /// Time of the measurement.
    pub time: Duration,
}

/// What a closed loop measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Messages answered while it was measured.
    pub messages: u64,
    /// Nanoseconds from writing a request to reading its answer.
    pub latency: Histogram<u64>,
    /// What both processes used.
    pub used: Used,
    /// The time that the rate counts, if that is not the whole measurement.
    pub span: Option<Duration>,
}

impl Measured {
    /// Messages a second.
    pub fn rate(&self) -> f64 {
        let time = self.span.unwrap_or(self.used.time);
        self.messages as f64 / time.as_secs_f64().max(1e-6)
    }

    /// The broker's CPU time a message, in microseconds.
    pub fn broker_us(&self) -> f64 {
        self.used.broker.as_secs_f64() * 1e6 / self.messages.max(1) as f64
    }

    /// The generator's CPU time a message, in microseconds.
    pub fn own_us(&self) -> f64 {
        self.used.own.as_secs_f64() * 1e6 / self.messages.max(1) as f64
    }
}

/// From a microsecond to a minute, three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("the bounds are in order")
}

/// Nanoseconds since the generator began: the one clock of all stamps.
pub fn now_ns(begun: Instant) -> u64 {
    begun.elapsed().as_nanos() as u64
}

/// A poll that knows its links by number.
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
    /// Wakes to the nanosecond; a poll's own limit is rounded to milliseconds.
    timer: OwnedFd,
}

const TIMER: u64 = u64::MAX;

impl Poll {
    /// An empty one.
    pub fn new() -> io::Result<Poll> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        epoll::add(
            &epoll,
            &timer,
            EventData::new_u64(TIMER),
            EventFlags::IN | EventFlags::ET,
        )?;
        Ok(Poll {
            epoll,
            events: Vec::with_capacity(1024),
            timer,
        })
    }

    /// Watches for something to read, and after [`Poll::watch_writes`] for room to write.
    pub fn add(&self, link: &Link, number: usize) -> io::Result<()> {
        let data = EventData::new_u64(number as u64);
        Ok(epoll::add(&self.epoll, &link.stream, data, EventFlags::IN)?)
    }

    /// Watches, or not, for room to write.
    pub fn watch_writes(&self, link: &Link, number: usize, wanted: bool) -> io::Result<()> {
        let data = EventData::new_u64(number as u64);
        let flags = if wanted {
            EventFlags::IN | EventFlags::OUT
        } else {
            EventFlags::IN
        };
        Ok(epoll::modify(&self.epoll, &link.stream, data, flags)?)
    }

    /// Waits, and hands out the numbers of the links that are ready.
    pub fn wait(&mut self, limit: Duration, ready: &mut Vec<usize>) -> io::Result<()> {
        let nanoseconds = limit.as_nanos().max(1) as i64;
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let once = Itimerspec {
            it_interval: zero,
            it_value: Timespec {
                tv_sec: nanoseconds / 1_000_000_000,
                tv_nsec: nanoseconds % 1_000_000_000,
            },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        self.events.clear();
        let space = rustix::buffer::spare_capacity(&mut self.events);
        let waited = epoll::wait(&self.epoll, space, None);
        match waited {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.clear();
        let numbers = self.events.iter().map(|event| event.data.u64());
        ready.extend(numbers.filter(|&n| n != TIMER).map(|n| n as usize));
        Ok(())
    }
}

struct Place {
    link: Link,
    /// When the request in each place was written; 0 while it is free.
    sent: Vec<u64>,
    /// How often each place was used.
    turns: Vec<i32>,
    free: Vec<usize>,
    watches_writes: bool,
}

/// Runs a load. An answer that does not come within ten seconds is an error.
pub fn closed(
    address: SocketAddr,
    shape: Shape,
    begun: Instant,
    pid: Option<u32>,
    load: &mut dyn Load,
) -> io::Result<Measured> {
    let poll = Poll::new()?;
    let mut places = Vec::new();
    for number in 0..shape.connections {
        let link = Link::connect(address)?;
        poll.add(&link, number)?;
        places.push(Place {
            link,
            sent: vec![0; shape.outstanding],
            turns: vec![0; shape.outstanding],
            free: (0..shape.outstanding).collect(),
            watches_writes: false,
        });
    }
    let mut loop_ = Loop {
        shape,
        begun,
        poll,
        places,
        buffer: vec![0; 256 << 10],
        latency: histogram(),
        messages: 0,
        running: 0,
    };
    loop_.run(pid, load)
}

struct Loop {
    shape: Shape,
    begun: Instant,
    poll: Poll,
    places: Vec<Place>,
    buffer: Vec<u8>,
    latency: Histogram<u64>,
    messages: u64,
    running: usize,
}

impl Loop {
    fn run(&mut self, pid: Option<u32>, load: &mut dyn Load) -> io::Result<Measured> {
        for number in 0..self.places.len() {
            self.fill(number, load)?;
        }
        self.until(self.shape.warm, true, load)?;
        self.latency.reset();
        self.messages = 0;
        let meter = Meter::begin(pid);
        self.until(self.shape.time, true, load)?;
        let used = meter.end();
        let measured = Measured {
            messages: self.messages,
            latency: self.latency.clone(),
            used,
            span: None,
        };
        self.until(Duration::from_secs(10), false, load)?;
        if self.running > 0 {
            let text = format!("{} requests were never answered", self.running);
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        Ok(measured)
    }

    /// Goes on for this long, or, when nothing is refilled, until everything is answered.
    fn until(&mut self, time: Duration, refill: bool, load: &mut dyn Load) -> io::Result<()> {
        let end = now_ns(self.begun) + time.as_nanos() as u64;
        let mut ready = Vec::new();
        loop {
            let now = now_ns(self.begun);
            if now >= end || self.running == 0 && (!refill || load.done()) {
                return Ok(());
            }
            self.poll.wait(
                Duration::from_nanos((end - now).min(100_000_000)),
                &mut ready,
            )?;
            for &number in &ready {
                self.take(number, load)?;
                if refill {
                    self.fill(number, load)?;
                }
            }
        }
    }

    fn take(&mut self, number: usize, load: &mut dyn Load) -> io::Result<()> {
        let Loop {
            places,
            buffer,
            latency,
            messages,
            running,
            begun,
            shape,
            ..
        } = self;
        let Place {
            link, sent, free, ..
        } = &mut places[number];
        let mut now = 0;
        let mut wrong = false;
        let protocol = load.protocol();
        link.read_of(protocol, buffer, |frame| {
            let Some(answer) = (protocol.read)(frame) else {
                wrong = true;
                return;
            };
            if !answer.is_answer {
                return;
            }
            if now == 0 {
                now = now_ns(*begun);
            }
            let place = (answer.opaque - OPAQUE) as usize % shape.outstanding;
            let since = std::mem::take(&mut sent[place]);
            if since == 0 {
                wrong = true;
                return;
            }
            latency.saturating_record(now.saturating_sub(since).max(1_000));
            free.push(place);
            *running -= 1;
            *messages += load.answer(number, answer, frame) as u64;
        })?;
        if wrong {
            let text = "an answer that nobody asked for";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(())
    }

    fn fill(&mut self, number: usize, load: &mut dyn Load) -> io::Result<()> {
        let place = &mut self.places[number];
        place.link.flush()?;
        if !place.link.is_blocked() && !place.free.is_empty() {
            let now = now_ns(self.begun);
            while let Some(at) = place.free.pop() {
                let turn = place.turns[at];
                let opaque = OPAQUE + turn * self.shape.outstanding as i32 + at as i32;
                if !load.request(number, opaque, now, &mut place.link.out) {
                    place.free.push(at);
                    break;
                }
                place.turns[at] = turn + 1;
                place.sent[at] = now;
                self.running += 1;
                if self.shape.one_write && !place.link.flush()? {
                    break;
                }
            }
            place.link.flush()?;
        }
        let blocked = place.link.is_blocked();
        if blocked != place.watches_writes {
            place.watches_writes = blocked;
            self.poll.watch_writes(&place.link, number, blocked)?;
        }
        Ok(())
    }
}
