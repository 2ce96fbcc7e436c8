//! `kill -9` while messages are popped and acked.
//!
//! The rules: a message whose ack was answered while its lease held never comes again, and one that was
//! handed out is not handed out again before its lease ends, whatever is killed in between. One whose ack
//! was asked for and never answered comes back or is acked, nothing else: in the end everything that
//! producers were answered for was handed out, and nothing is out, left over or a dead letter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::receipt::{PopTopic, Receipt};
use model::record::View;
use remoting::Command;
use remoting::code::{request, response};

use crate::client::Client;
use crate::ledger::body;
use crate::process::Posthouse;

const TOPIC: &str = "popped";
const GROUP: &str = "poppers";
const QUEUES: u32 = 4;
const CONSUMERS: u64 = 3;
/// Some leases end before the kill, some behind the restart.
const INVISIBLE: Duration = Duration::from_millis(700);
/// How much earlier a lease may seem to end because its milliseconds are whole ones.
const ROUNDING: Duration = Duration::from_millis(2);

#[derive(Default)]
struct Ledger {
    promised: BTreeSet<Vec<u8>>,
    /// When the pop that handed it out was asked for.
    out: BTreeMap<Vec<u8>, Instant>,
    acked: BTreeSet<Vec<u8>>,
    /// An ack was asked for: a kill may have come between its record and its answer.
    perhaps: BTreeSet<Vec<u8>>,
    handed_out: u64,
    back: u64,
    faults: Vec<String>,
}

impl Ledger {
    fn got(&mut self, body: &[u8], asked: Instant) {
        let text = String::from_utf8_lossy(body);
        if self.acked.contains(body) {
            self.faults.push(format!("{text} was acked and came again"));
        }
        self.handed_out += 1;
        if let Some(before) = self.out.insert(body.to_vec(), asked) {
            self.back += 1;
            let since = before.elapsed();
            if since + ROUNDING < INVISIBLE {
                let fault = format!("{text} came again {since:?} after it was handed out");
                self.faults.push(fault);
            }
        }
    }
}

struct Popped {
    body: Vec<u8>,
    topic: String,
    receipt: String,
    queue: u32,
    offset: u64,
}

fn pop(client: &mut Client) -> io::Result<Vec<Popped>> {
    let asked = Command::request(request::POP_MESSAGE)
        .with("consumerGroup", GROUP)
        .with("topic", TOPIC)
        .with("queueId", -1)
        .with("maxMsgNums", 8)
        .with("invisibleTime", INVISIBLE.as_millis())
        .with("pollTime", 0)
        .with("bornTime", 0)
        .with("initMode", 0)
        .with("order", "false");
    let answer = client.call(asked)?;
    match answer.code {
        response::SUCCESS => Ok(popped(&answer)),
        response::POLLING_TIMEOUT | response::TOPIC_NOT_EXIST => Ok(Vec::new()),
        code => Err(io::Error::other(format!("{code} {:?}", answer.remark))),
    }
}

/// Makes receipt handles as a client does.
fn popped(answer: &Command) -> Vec<Popped> {
    let field = |name| answer.field(name).unwrap();
    let number = |name| field(name).parse::<i64>().unwrap();
    let mut views = Vec::new();
    let mut rest = &answer.body[..];
    while let Ok(view) = View::parse(rest) {
        rest = &rest[view.len()..];
        views.push(view);
    }
    let mut views = views.into_iter();
    let mut found = Vec::new();
    for item in field("msgOffsetInfo").split(';') {
        let parts: Vec<&str> = item.split(' ').collect();
        let which = PopTopic::of(parts[0].parse().unwrap()).unwrap();
        let queue: u32 = parts[1].parse().unwrap();
        let offsets = parts[2]
            .split(',')
            .map(|offset| offset.parse::<u64>().unwrap());
        let start = offsets.clone().next().unwrap();
        for offset in offsets {
            let view = views.next().unwrap();
            assert_eq!(view.queue_offset().0, offset);
            let receipt = Receipt {
                start,
                popped_at: number("popTime"),
                invisible: number("invisibleTime"),
                revive_queue: number("reviveQid") as i32,
                topic: which,
                broker: "b",
                queue: queue as i32,
                offset,
            };
            let topic = match which {
                PopTopic::Normal => TOPIC.to_owned(),
                _ => format!("%RETRY%{GROUP}_{TOPIC}"),
            };
            found.push(Popped {
                body: view.body().to_vec(),
                topic,
                receipt: receipt.to_string(),
                queue,
                offset,
            });
        }
    }
    found
}

fn ack(client: &mut Client, popped: &Popped) -> io::Result<()> {
    let asked = Command::request(request::ACK_MESSAGE)
        .with("consumerGroup", GROUP)
        .with("topic", &popped.topic)
        .with("queueId", popped.queue)
        .with("offset", popped.offset)
        .with("extraInfo", &popped.receipt);
    let answer = client.call(asked)?;
    match answer.code {
        response::SUCCESS => Ok(()),
        code => Err(io::Error::other(format!("{code} {:?}", answer.remark))),
    }
}

fn number(client: &mut Client, asked: Command) -> io::Result<Option<i64>> {
    let answer = client.call(asked)?;
    let offset = answer
        .field("offset")
        .and_then(|offset| offset.parse().ok());
    Ok(offset.filter(|_| answer.code == response::SUCCESS))
}

/// The queues in which a message is out or was not handed out yet, and the group's dead letters.
fn unsettled(client: &mut Client) -> io::Result<Vec<String>> {
    let of = |code, topic: &str, queue: u32| {
        let asked = Command::request(code).with("topic", topic);
        asked.with("queueId", queue)
    };
    let mut unsettled = Vec::new();
    let retry = format!("%RETRY%{GROUP}_{TOPIC}");
    let queues = (0..QUEUES).map(|queue| (TOPIC, queue));
    for (topic, queue) in queues.chain([(&*retry, 0)]) {
        let end = number(client, of(request::GET_MAX_OFFSET, topic, queue))?;
        let asked = of(request::QUERY_CONSUMER_OFFSET, topic, queue);
        let committed = number(client, asked.with("consumerGroup", GROUP))?;
        // Who was killed before anything came back has no retry topic.
        if end != committed && end.unwrap_or(0) > 0 {
            let fault = format!("{topic} {queue} ends at {end:?} and is settled to {committed:?}");
            unsettled.push(fault);
        }
    }
    let dead = format!("%DLQ%{GROUP}");
    let letters = number(client, of(request::GET_MAX_OFFSET, &dead, 0))?;
    if letters.is_some_and(|letters| letters > 0) {
        unsettled.push(format!("{letters:?} dead letters"));
    }
    Ok(unsettled)
}

struct Torture<'a> {
    data: &'a Path,
    bug: Option<&'a str>,
    ledger: Mutex<Ledger>,
    rng: fastrand::Rng,
    /// How long the last life may take until all is settled.
    patience: Duration,
}

impl<'a> Torture<'a> {
    fn new(data: &'a Path, flush: &str, bug: Option<&'a str>) -> Torture<'a> {
        let settings = format!(
            "flushDiskType={flush}\nmappedFileSizeCommitLog=4194304\nmaxMessageSize=65536\n"
        );
        fs::write(data.join("broker.conf"), settings).unwrap();
        Torture {
            data,
            bug,
            ledger: Mutex::default(),
            rng: fastrand::Rng::with_seed(11),
            patience: Duration::from_secs(30),
        }
    }

    fn start(&self) -> Posthouse {
        Posthouse::victim(self.data, self.bug)
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends until the connection breaks.
    fn produce(&self, address: SocketAddr, cycle: u64) {
        let Ok(mut client) = Client::connect(address) else {
            return;
        };
        for n in 0.. {
            let message = body(0, cycle * 1_000_000 + n);
            match client.send(TOPIC, (n % u64::from(QUEUES)) as u32, &message) {
                Ok(_) => drop(self.ledger().promised.insert(message)),
                Err(_) => return,
            }
        }
    }

    /// Pops, and acks some of what it gets, until the connection breaks.
    fn consume(&self, address: SocketAddr, seed: u64) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let Ok(mut client) = Client::connect(address) else {
            return;
        };
        while self.pop_once(&mut client, &mut rng, 3).is_ok() {}
    }

    /// One pop; of what it gets, `parts` quarters are acked.
    fn pop_once(
        &self,
        client: &mut Client,
        rng: &mut fastrand::Rng,
        parts: u8,
    ) -> io::Result<usize> {
        let asked = Instant::now();
        let found = pop(client)?;
        for popped in &found {
            self.ledger().got(&popped.body, asked);
        }
        for popped in &found {
            if rng.u8(..4) < parts {
                self.ledger().perhaps.insert(popped.body.clone());
                ack(client, popped)?;
                // A late ack is answered too, and means nothing.
                if asked.elapsed() < INVISIBLE {
                    self.ledger().acked.insert(popped.body.clone());
                }
            }
        }
        Ok(found.len())
    }

    /// One life of a broker: traffic, and the kill in its middle.
    fn cycle(&mut self, cycle: u64) {
        let mut server = self.start();
        let address = server.broker();
        let life = Duration::from_millis(self.rng.u64(50..400));
        std::thread::scope(|scope| {
            let this = &*self;
            scope.spawn(move || this.produce(address, cycle));
            for consumer in 0..CONSUMERS {
                scope.spawn(move || this.consume(address, cycle * CONSUMERS + consumer));
            }
            // Nobody tells when the middle of the traffic is.
            let (_never, middle) = std::sync::mpsc::channel::<()>();
            let _ = middle.recv_timeout(life);
            server.kill();
        });
    }

    /// Pops and acks until everything is settled.
    fn drain(&self) {
        let server = self.start();
        let mut client = Client::connect(server.broker()).unwrap();
        let mut rng = fastrand::Rng::with_seed(1);
        let end = Instant::now() + self.patience;
        loop {
            if self.pop_once(&mut client, &mut rng, 4).unwrap() > 0 {
                continue;
            }
            let mut left = unsettled(&mut client).unwrap();
            if left.is_empty() {
                // What goes back leaves its queue before it is flushed and seen in the retry topic; a send
                // that is answered was stored behind it.
                client.send("Fence", 0, b"fence").unwrap();
                left = unsettled(&mut client).unwrap();
            }
            if left.is_empty() {
                break;
            }
            if Instant::now() > end {
                self.ledger().faults.extend(left);
                break;
            }
        }
        let mut ledger = self.ledger();
        let lost: Vec<_> = ledger
            .promised
            .difference(&ledger.perhaps)
            .cloned()
            .collect();
        for body in lost {
            let text = String::from_utf8_lossy(&body).into_owned();
            ledger.faults.push(format!("{text} never came"));
        }
    }

    fn run(mut self, cycles: u64) -> Ledger {
        for cycle in 0..cycles {
            self.cycle(cycle);
            if !self.ledger().faults.is_empty() {
                break;
            }
        }
        if self.ledger().faults.is_empty() {
            self.drain();
        }
        let ledger = self.ledger.into_inner();
        let ledger = ledger.unwrap_or_else(PoisonError::into_inner);
        eprintln!(
            "{cycles} kills, {} sent, {} handed out, {} again, {} acked",
            ledger.promised.len(),
            ledger.handed_out,
            ledger.back,
            ledger.acked.len()
        );
        ledger
    }
}

fn keeps_its_leases(flush: &str, cycles: u64) {
    let data = tempfile::tempdir().unwrap();
    let ledger = Torture::new(data.path(), flush, None).run(cycles);
    assert_eq!(ledger.faults, [] as [String; 0]);
    assert!(ledger.acked.len() as u64 > cycles, "nothing was acked");
    assert!(ledger.back > 0, "nothing came back");
}

#[test]
fn kill_nine_brings_no_acked_message_back_and_loses_none() {
    keeps_its_leases("ASYNC_FLUSH", 6);
}

#[test]
#[ignore = "a minute: `cargo xtask test` runs it in release"]
fn a_hundred_kills_bring_no_acked_message_back_and_lose_none() {
    keeps_its_leases("SYNC_FLUSH", 50);
    keeps_its_leases("ASYNC_FLUSH", 50);
}

/// The checker is checked: a broker that answers acks before they are written must be found out.
#[cfg(debug_assertions)]
#[test]
fn a_broker_that_answers_acks_before_it_writes_them_is_found_out() {
    let data = tempfile::tempdir().unwrap();
    let ledger = Torture::new(data.path(), "ASYNC_FLUSH", Some("answer-before-write")).run(20);
    assert!(!ledger.faults.is_empty());
}

/// What was on the way to its ack when the kill came must not stay out for ever.
#[cfg(debug_assertions)]
#[test]
fn a_broker_whose_leases_never_end_behind_a_kill_is_found_out() {
    let data = tempfile::tempdir().unwrap();
    let mut torture = Torture::new(data.path(), "ASYNC_FLUSH", Some("leases-without-end"));
    torture.patience = Duration::from_secs(3);
    let ledger = torture.run(4);
    let stays = |fault: &String| fault.contains("is settled to");
    assert!(ledger.faults.iter().any(stays), "{:?}", ledger.faults);
}
