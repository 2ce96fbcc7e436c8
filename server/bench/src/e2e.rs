//! End to end, open loop: messages are sent at times set in advance, a consumer in the same process
//! waits for them with long polls, and the latency of each counts from when it was *meant* to be sent.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::load::{Measured, Poll, histogram, now_ns};
use crate::meter::Meter;
use crate::send::{Checker, Sending, Wrong};
use crate::template::{OPAQUE, pull};
use crate::wire::{Answer, Link};

/// How to run it.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Messages a second.
    pub rate: u64,
    /// Time before the measurement.
    pub warm: Duration,
    /// Time of the measurement.
    pub time: Duration,
}

/// Where the producer's and the consumer's connections are in the poll.
const PRODUCER: usize = 0;
const CONSUMER: usize = 1;

/// A producer and a consumer in one process, and what the consumer got.
pub struct EndToEnd<'a> {
    topic: &'a str,
    /// Where the clock of all stamps began.
    pub begun: Instant,
    /// The producer's connection.
    pub producer: Link,
    consumer: Link,
    /// What the producer sends.
    pub sending: &'a mut Sending,
    checker: Checker,
    offsets: Vec<u64>,
    turns: Vec<i32>,
    /// How long after its stamp each message came.
    pub latency: hdrhistogram::Histogram<u64>,
    /// How many came.
    pub delivered: u64,
    /// When the first came.
    pub first: Option<u64>,
    /// When the last came.
    pub last: u64,
    /// How many came before their stamp, by more than clocks are read apart.
    pub early: u64,
    buffer: Vec<u8>,
    wrong: Option<Wrong>,
}

/// Two clocks are read one after the other, and one of them tells milliseconds.
const READ_APART: u64 = 1_100_000;

/// Sends and receives at this rate.
#[allow(clippy::too_many_arguments)]
pub fn run(
    address: SocketAddr,
    topic: &str,
    queues: u32,
    rate: Rate,
    run: u64,
    pid: Option<u32>,
    sending: &mut Sending,
    ordered: bool,
) -> Result<Measured, Wrong> {
    let mut all = EndToEnd::new(address, topic, queues, run, sending, ordered)?;
    let mut poll = Poll::new()?;
    all.watch(&mut poll)?;
    let mut schedule = Schedule {
        start: now_ns(all.begun) + 20_000_000,
        step: 1_000_000_000 / rate.rate,
        next: 0,
    };
    all.go(&mut poll, &mut schedule, rate.warm)?;
    all.latency.reset();
    let before = all.delivered;
    let meter = Meter::begin(pid);
    all.go(&mut poll, &mut schedule, rate.time)?;
    let used = meter.end();
    let messages = all.delivered - before;
    let measured = Measured {
        messages,
        latency: all.latency.clone(),
        used,
        span: None,
    };
    // What is under way arrives.
    let sent = schedule.next;
    let until = now_ns(all.begun) + 10_000_000_000;
    while all.delivered + all.sending.refused < sent && now_ns(all.begun) < until {
        all.turn(&mut poll, Duration::from_millis(50))?;
    }
    if all.delivered + all.sending.refused != sent {
        let text = format!("{sent} sent, {} delivered", all.delivered);
        return Err(Wrong(text));
    }
    match all.trouble() {
        Some(wrong) => Err(wrong),
        None => Ok(measured),
    }
}

/// When each message is due.
struct Schedule {
    start: u64,
    step: u64,
    next: u64,
}

impl<'a> EndToEnd<'a> {
    /// Connects.
    pub fn new(
        address: SocketAddr,
        topic: &'a str,
        queues: u32,
        run: u64,
        sending: &'a mut Sending,
        ordered: bool,
    ) -> io::Result<EndToEnd<'a>> {
        Ok(EndToEnd {
            topic,
            begun: Instant::now(),
            producer: Link::connect(address)?,
            consumer: Link::connect(address)?,
            sending,
            checker: Checker::new(run, ordered),
            offsets: vec![0; queues as usize],
            turns: vec![0; queues as usize],
            latency: histogram(),
            delivered: 0,
            first: None,
            last: 0,
            early: 0,
            buffer: vec![0; 256 << 10],
            wrong: None,
        })
    }

    /// Begins to wait for messages.
    pub fn watch(&mut self, poll: &mut Poll) -> io::Result<()> {
        poll.add(&self.producer, PRODUCER)?;
        poll.add(&self.consumer, CONSUMER)?;
        for queue in 0..self.offsets.len() {
            self.pull(queue as u32);
        }
        self.consumer.flush().map(drop)
    }

    /// What was wrong first.
    pub fn trouble(&mut self) -> Option<Wrong> {
        self.wrong.take().or(self.checker.wrong.take())
    }

    fn go(&mut self, poll: &mut Poll, schedule: &mut Schedule, time: Duration) -> io::Result<()> {
        let end = now_ns(self.begun) + time.as_nanos() as u64;
        loop {
            let now = now_ns(self.begun);
            if now >= end {
                return Ok(());
            }
            let mut due = schedule.start + schedule.next * schedule.step;
            while due <= now {
                let opaque = OPAQUE + schedule.next as i32;
                self.sending.write(0, opaque, due, &mut self.producer.out);
                schedule.next += 1;
                due += schedule.step;
            }
            self.producer.flush()?;
            self.turn(poll, Duration::from_nanos(due.min(end).saturating_sub(now)))?;
        }
    }

    /// Waits, and takes what came.
    pub fn turn(&mut self, poll: &mut Poll, limit: Duration) -> io::Result<()> {
        let mut ready = Vec::new();
        poll.wait(limit, &mut ready)?;
        for number in ready {
            match number {
                PRODUCER => self.acknowledged()?,
                _ => self.received()?,
            }
        }
        Ok(())
    }

    fn acknowledged(&mut self) -> io::Result<()> {
        let EndToEnd {
            producer,
            sending,
            buffer,
            wrong,
            ..
        } = self;
        producer.read(buffer, |frame| match Answer::read(frame) {
            Some(answer) => {
                sending.count(answer.code);
            }
            None => *wrong = Some(Wrong("an answer that is none".to_owned())),
        })
    }

    fn received(&mut self) -> io::Result<()> {
        let mut again = Vec::new();
        let EndToEnd {
            consumer,
            buffer,
            wrong,
            checker,
            latency,
            offsets,
            delivered,
            begun,
            first,
            last,
            early,
            ..
        } = self;
        consumer.read(buffer, |frame| {
            let Some(answer) = Answer::read(frame).filter(|answer| answer.is_answer) else {
                return;
            };
            let queue = (answer.opaque - OPAQUE) as usize % offsets.len();
            again.push(queue as u32);
            match answer.code {
                0 => {
                    let now = now_ns(*begun);
                    first.get_or_insert(now);
                    *last = now;
                    let count = checker.take(&frame[answer.body_at..], |stamp| {
                        *early += u64::from(now + READ_APART < stamp.ns);
                        latency.saturating_record(now.saturating_sub(stamp.ns).max(1_000));
                    });
                    offsets[queue] += count as u64;
                    *delivered += count as u64;
                }
                19 | 20 => {}
                code => *wrong = Some(Wrong(format!("a pull had code {code}"))),
            }
        })?;
        for queue in again {
            self.pull(queue);
        }
        self.consumer.flush().map(drop)
    }

    fn pull(&mut self, queue: u32) {
        let at = queue as usize;
        let mut request = pull(self.topic, queue, self.offsets[at], 32, 15_000);
        request.opaque = OPAQUE + self.turns[at] * self.offsets.len() as i32 + queue as i32;
        self.turns[at] += 1;
        request.encode(&mut self.consumer.out);
    }
}
