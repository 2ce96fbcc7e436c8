//! A real broker over a store in memory, and a server's part played by hand: it runs requests again,
//! ends ticks, and keeps what the broker says unasked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker::{Broker, ConnectionId, Notice, Options, Outlet, Registrar};
use endpoint::Endpoint;
use model::TopicName;
use model::topic::{DataVersion, TopicConfig};
use remoting::server::{Again, Door, Outcome, Peer, Run, Service};
use remoting::{Command, Decoder};
use store::clock::ManualClock;
use store::disk::memory::Memory;
use store::{Flush, Store};

pub const NOW: i64 = 1_795_528_075_618;
pub const ADDRESS: &str = "127.0.0.1:20911";
/// Answers stand behind earlier ones of the same tick.
const EARLIER: &[u8] = b"an earlier answer";

#[derive(Default)]
pub struct Heard {
    /// What name servers know of topics: each broker and how many queues it has to read.
    pub routes: Mutex<HashMap<String, Vec<(String, u32)>>>,
    pub woken: Mutex<Vec<(u64, u64)>>,
    pub notices: Mutex<Vec<(u64, Notice)>>,
    pub registered: Mutex<HashMap<String, TopicConfig>>,
}

impl Outlet for Heard {
    fn runnable(&self, requests: &[(ConnectionId, u64)]) {
        let mut woken = self.woken.lock().unwrap();
        woken.extend(requests.iter().map(|(id, ticket)| (id.0, *ticket)));
    }

    fn notice(&self, connection: ConnectionId, notice: Notice) -> bool {
        self.notices.lock().unwrap().push((connection.0, notice));
        true
    }
}

impl Registrar for Heard {
    fn changed(&self, topics: &[TopicConfig], _: DataVersion) {
        let mut registered = self.registered.lock().unwrap();
        let topics = topics.iter();
        registered.extend(topics.map(|topic| (topic.name.to_string(), topic.clone())));
    }

    fn removed(&self, topic: &TopicName, _: DataVersion) {
        self.registered.lock().unwrap().remove(topic.as_str());
    }

    fn brokers_of(&self, topic: &str) -> Vec<(String, u32)> {
        let routes = self.routes.lock().unwrap();
        routes.get(topic).cloned().unwrap_or_default()
    }
}

pub struct World {
    pub endpoint: Endpoint,
    pub broker: Arc<Broker>,
    store: Arc<Store>,
    pub clock: Arc<ManualClock>,
    pub heard: Arc<Heard>,
    /// What stood behind the last answer.
    pub unasked: Mutex<Vec<u8>>,
    tickets: AtomicU64,
}

/// A request that was held.
pub struct Held {
    connection: u64,
    frame: Vec<u8>,
    pub ticket: u64,
    pub limit: Duration,
}

/// What a request came to.
pub enum Said {
    Answer(Command),
    Held(Held),
}

pub fn peer(connection: u64, door: Door) -> Peer {
    let remote = SocketAddr::from(([127, 0, 0, 1], 40_000 + connection as u16));
    Peer::detached(connection, remote, door)
}

impl World {
    pub fn new() -> World {
        World::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Options)) -> World {
        let address: SocketAddr = ADDRESS.parse().unwrap();
        let mut options = Options::new("DefaultCluster", "broker-a", address);
        change(&mut options);
        let clock = Arc::new(ManualClock::new(NOW));
        let store_options = store::Options {
            flush: Flush::Async,
            segment_size: 64 << 20,
            store_host: address,
            ..store::Options::default()
        };
        let (store, _) =
            Store::open(store_options, Arc::new(Memory::default()), clock.clone()).unwrap();
        let store = Arc::new(store);
        let heard = Arc::new(Heard::default());
        let broker = Broker::open(
            options,
            store.clone(),
            clock.clone(),
            heard.clone(),
            heard.clone(),
        );
        let broker = Arc::new(broker);
        let world = World {
            endpoint: Endpoint::new(broker.clone()),
            broker,
            store,
            clock,
            heard,
            unasked: Mutex::default(),
            tickets: AtomicU64::new(1),
        };
        world.endpoint.commit().unwrap();
        world
    }

    /// A request on connection 1 that is answered at once.
    pub fn ask(&self, request: Command) -> Command {
        self.ask_on(1, request)
    }

    pub fn ask_on(&self, connection: u64, request: Command) -> Command {
        match self.send(&peer(connection, Door::Main), &request.to_bytes()) {
            Said::Answer(answer) => answer,
            Said::Held(_) => panic!("held: {request:?}"),
        }
    }

    /// Brings the key index up to date, as its loop does.
    pub fn index(&self) {
        while self.store.derive_step() == store::Next::Now {}
    }

    /// A request that must not be answered at all.
    pub fn silent(&self, request: &Command) {
        let answer = self.tell(&peer(1, Door::Main), &request.to_bytes());
        assert!(answer.is_none(), "answered: {answer:?}");
    }

    /// A frame that is not expected to be answered, and what it is answered all the same. What is said
    /// to a one-way one is the connection's to drop.
    pub fn tell(&self, peer: &Peer, frame: &[u8]) -> Option<Command> {
        let mut decoder = Decoder::new();
        let request = decoder.decode(frame).unwrap();
        let mut out = Vec::new();
        let run = Run {
            again: None,
            ticket: self.tickets.fetch_add(1, Ordering::Relaxed),
        };
        let outcome = self.endpoint.call(peer, &request, run, &mut out);
        assert!(!matches!(outcome, Outcome::Cold(_)));
        self.endpoint.commit().unwrap();
        let silent = request.is_oneway() || out.is_empty();
        (!silent).then(|| Command::decode(&out).unwrap())
    }

    /// A request that must be held.
    pub fn hold(&self, request: &Command) -> Held {
        match self.send(&peer(1, Door::Main), &request.to_bytes()) {
            Said::Held(held) => held,
            Said::Answer(answer) => panic!("not held: {answer:?}"),
        }
    }

    pub fn send(&self, peer: &Peer, frame: &[u8]) -> Said {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        self.run(peer, frame, ticket, None)
    }

    /// Runs a held request again.
    pub fn again(&self, held: &Held, why: Again) -> Command {
        let peer = peer(held.connection, Door::Main);
        match self.run(&peer, &held.frame, held.ticket, Some(why)) {
            Said::Answer(answer) => answer,
            Said::Held(_) => panic!("held twice"),
        }
    }

    /// Whether the broker wants a held request to run again.
    pub fn is_woken(&self, held: &Held) -> bool {
        let woken = self.heard.woken.lock().unwrap();
        woken.contains(&(held.connection, held.ticket))
    }

    fn run(&self, peer: &Peer, frame: &[u8], ticket: u64, mut again: Option<Again>) -> Said {
        let mut decoder = Decoder::new();
        for _ in 0..4 {
            let request = decoder.decode(frame).unwrap();
            let mut out = EARLIER.to_vec();
            let run = Run { again, ticket };
            match self.endpoint.call(peer, &request, run, &mut out) {
                Outcome::Done => {}
                Outcome::After(mark) => {
                    self.endpoint.commit().unwrap();
                    assert!(self.endpoint.reached(mark.level) >= mark.at);
                }
                Outcome::Hold(limit) => {
                    return Said::Held(Held {
                        connection: peer.id.0,
                        frame: frame.to_vec(),
                        ticket,
                        limit,
                    });
                }
                Outcome::Cold(job) => {
                    job();
                    again = Some(Again::Warm);
                    continue;
                }
            }
            assert!(out.starts_with(EARLIER));
            let said = &out[EARLIER.len()..];
            let answer = Decoder::peek(said).unwrap().unwrap();
            *self.unasked.lock().unwrap() = said[answer..].to_vec();
            return Said::Answer(Command::decode(&said[..answer]).unwrap());
        }
        panic!("never warm");
    }
}
