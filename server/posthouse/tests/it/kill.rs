//! `kill -9`, again and again, in the middle of four producers and a reader.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::client::{Client, Place};
use crate::ledger::{Ledger, body};
use crate::process::Posthouse;

const TOPIC: &str = "torture";
const PRODUCERS: usize = 4;
const QUEUES: u32 = 4;

struct Torture<'a> {
    data: &'a Path,
    flush: &'a str,
    bug: Option<&'a str>,
    ledger: Mutex<Ledger>,
    rng: fastrand::Rng,
}

impl<'a> Torture<'a> {
    fn new(data: &'a Path, flush: &'a str, bug: Option<&'a str>) -> Torture<'a> {
        fs::write(
            data.join("broker.conf"),
            format!(
                "flushDiskType={flush}\nmappedFileSizeCommitLog=4194304\nmaxMessageSize=65536\n"
            ),
        )
        .unwrap();
        Torture {
            data,
            flush,
            bug,
            ledger: Mutex::default(),
            rng: fastrand::Rng::with_seed(3),
        }
    }

    fn start(&self) -> Posthouse {
        Posthouse::victim(self.data, self.bug)
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything promised so far is there.
    fn verify(&self, server: &Posthouse) {
        let mut client = Client::connect(server.broker()).unwrap();
        for queue in 0..QUEUES {
            let content = client.pull_all(TOPIC, queue).unwrap();
            self.ledger().compare(queue, &content);
        }
    }

    /// One life of a broker: traffic, and the kill in its middle.
    fn cycle(&mut self, cycle: u64) {
        let mut server = self.start();
        self.verify(&server);
        let address = server.broker();
        let life = Duration::from_millis(self.rng.u64(5..120));
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let this = &*self;
            for producer in 0..PRODUCERS {
                scope.spawn(move || this.produce(address, producer, cycle));
            }
            let ended = &ended;
            scope.spawn(move || this.read(address, ended));
            // Nobody tells when the middle of the traffic is.
            let (_never, middle) = std::sync::mpsc::channel::<()>();
            let _ = middle.recv_timeout(life);
            server.kill();
            ended.store(true, Ordering::SeqCst);
        });
    }

    /// Sends until the connection breaks. Numbers grow over all lives; nothing is sent twice.
    fn produce(&self, address: std::net::SocketAddr, producer: usize, cycle: u64) {
        let Ok(mut client) = Client::connect(address) else {
            return;
        };
        for n in 0.. {
            let message = body(producer, cycle * 1_000_000 + n);
            let queue = ((producer as u64 + n) % u64::from(QUEUES)) as u32;
            match client.send(TOPIC, queue, &message) {
                Ok(place) => self.ledger().answered(place, message),
                Err(_) => return,
            }
        }
    }

    /// Notes what a consumer is shown, until the connection breaks.
    fn read(&self, address: std::net::SocketAddr, ended: &AtomicBool) {
        let Ok(mut client) = Client::connect(address) else {
            return;
        };
        let mut next = [0; QUEUES as usize];
        while !ended.load(Ordering::SeqCst) {
            for queue in 0..QUEUES {
                let Ok(messages) = client.pull(TOPIC, queue, next[queue as usize]) else {
                    return;
                };
                let mut ledger = self.ledger();
                for (offset, body) in messages {
                    next[queue as usize] = offset + 1;
                    ledger.saw(Place { queue, offset }, body);
                }
            }
        }
    }

    fn run(mut self, cycles: u64) -> Ledger {
        for cycle in 0..cycles {
            self.cycle(cycle);
            if !self.ledger().faults().is_empty() {
                break;
            }
        }
        let server = self.start();
        self.verify(&server);
        let (answered, seen) = {
            let ledger = self.ledger();
            (ledger.promises(), ledger.sightings())
        };
        let flush = self.flush;
        eprintln!("{flush}: {cycles} kills, {answered} answered, {seen} seen");
        self.ledger
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn loses_nothing(flush: &str, cycles: u64) {
    let data = tempfile::tempdir().unwrap();
    let ledger = Torture::new(data.path(), flush, None).run(cycles);
    assert_eq!(ledger.faults(), [] as [String; 0]);
    assert!(
        ledger.promises() as u64 > cycles,
        "the producers were not answered"
    );
    assert!(ledger.sightings() > 0, "the reader saw nothing");
}

#[test]
fn kill_nine_loses_nothing_that_was_answered_sync_flush() {
    loses_nothing("SYNC_FLUSH", 6);
}

#[test]
fn kill_nine_loses_nothing_that_was_answered_async_flush() {
    loses_nothing("ASYNC_FLUSH", 6);
}

#[test]
#[ignore = "a minute: `cargo xtask test` runs it in release"]
fn a_hundred_kills_lose_nothing_that_was_answered() {
    loses_nothing("SYNC_FLUSH", 50);
    loses_nothing("ASYNC_FLUSH", 50);
}

/// The checker is checked: a broker that answers before it writes must be found out.
#[cfg(debug_assertions)]
#[test]
fn a_broker_that_answers_before_it_writes_is_found_out() {
    let data = tempfile::tempdir().unwrap();
    let ledger = Torture::new(data.path(), "ASYNC_FLUSH", Some("answer-before-write")).run(20);
    assert!(!ledger.faults().is_empty());
}
