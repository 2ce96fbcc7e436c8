//! A service with one code for each thing a service can do, and a client that speaks bytes.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use model::{Level, LogOffset, Mark};
use remoting::limits::Limits;
use remoting::server::{
    Again, Door, Hub, Listener, Options, Outcome, Peer, Refusal, Run, Running, Server, Service,
};
use remoting::{Command, Frame, Head, Reply};

pub const ECHO: i32 = 1;
pub const HOLD: i32 = 2;
pub const STAGE: i32 = 3;
pub const PANIC: i32 = 4;
pub const COLD: i32 = 5;
pub const BIG: i32 = 6;
pub const WAKE: i32 = 7;
pub const PUSH: i32 = 8;
pub const WHO: i32 = 9;
pub const COLD_PANIC: i32 = 10;

pub struct Toy {
    pub hub: Arc<Hub>,
    pub held: Mutex<Vec<(u64, u64)>>,
    pub staged: AtomicU64,
    pub appended: AtomicU64,
    pub flushed: AtomicU64,
    pub commits: AtomicUsize,
    pub refuses: AtomicBool,
    pub slow_mark: Duration,
    pub calls: AtomicUsize,
    pub events: Mutex<mpsc::Sender<Event>>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    Opened(SocketAddr),
    Closed(SocketAddr),
    Answered(i32),
    Held,
    Called(i32),
}

impl Toy {
    fn tell(&self, event: Event) {
        let _ = self.events.lock().unwrap().send(event);
    }

    fn held(&self, peer: &Peer, ticket: u64) {
        self.held.lock().unwrap().push((peer.id.0, ticket));
        self.tell(Event::Held);
    }
}

impl Service for Toy {
    fn call(&self, peer: &Peer, request: &Frame<'_>, run: Run, out: &mut Vec<u8>) -> Outcome {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let head = Head {
            opaque: request.opaque,
            serialize: request.serialize,
        };
        let number = |name: &str| request.ext.get(name).and_then(|n| n.parse::<u64>().ok());
        match request.code {
            ECHO => Reply::new(out, head, 0).body_bytes(request.body),
            HOLD if run.again.is_none() => {
                self.held(peer, run.ticket);
                return Outcome::Hold(Duration::from_millis(number("ms").unwrap_or(20_000)));
            }
            HOLD => {
                let why = if run.again == Some(Again::Woken) {
                    "woken"
                } else {
                    "deadline"
                };
                Reply::new(out, head, 0).remark(why).finish();
            }
            STAGE => {
                let at = LogOffset(self.staged.fetch_add(1, Ordering::SeqCst) + 1);
                let level = match request.ext.get("level") {
                    Some("reached") => {
                        Reply::new(out, head, 0).finish();
                        return Outcome::After(Mark::REACHED);
                    }
                    Some("flushed") => Level::Flushed,
                    _ => Level::Appended,
                };
                Reply::new(out, head, 0).number("at", at.0 as i64).finish();
                return Outcome::After(Mark { level, at });
            }
            PANIC => {
                out.extend_from_slice(b"half an answer");
                panic!("asked for");
            }
            COLD if run.again.is_none() => return Outcome::Cold(Box::new(|| {})),
            COLD => Reply::new(out, head, 0).remark("warm").finish(),
            COLD_PANIC => return Outcome::Cold(Box::new(|| panic!("asked for"))),
            BIG => {
                let size = number("size").unwrap_or_default() as usize;
                Reply::new(out, head, 0).body(|out| out.resize(out.len() + size, b'x'));
            }
            WAKE => {
                let held = std::mem::take(&mut *self.held.lock().unwrap());
                self.hub.wake(&held);
                Reply::new(out, head, 0).finish();
            }
            PUSH => {
                let pushed = Command::request(40).oneway().to_bytes();
                let taken = peer.push(pushed);
                Reply::new(out, head, 0).flag("taken", taken).finish();
            }
            WHO => {
                let door = if peer.door == Door::Vip {
                    "vip"
                } else {
                    "main"
                };
                let reply = Reply::new(out, head, 0).field("door", door);
                reply.field("remote", &peer.remote.to_string()).finish();
            }
            code => {
                let remark = format!(" request type {code} not supported");
                Reply::new(out, head, 3).remark(&remark).finish();
            }
        }
        self.tell(Event::Called(request.code));
        Outcome::Done
    }

    fn commit(&self) -> Result<(), Refusal> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        if self.refuses.load(Ordering::SeqCst) {
            return Err(Refusal {
                code: 14,
                remark: "the disk is full".to_owned(),
            });
        }
        self.appended
            .store(self.staged.load(Ordering::SeqCst), Ordering::SeqCst);
        Ok(())
    }

    fn reached(&self, level: Level) -> LogOffset {
        LogOffset(match level {
            Level::Appended => self.appended.load(Ordering::SeqCst),
            _ => self.flushed.load(Ordering::SeqCst),
        })
    }

    fn late(&self, level: Level) -> i32 {
        assert_eq!(level, Level::Flushed);
        10
    }

    fn mark_timeout(&self) -> Duration {
        self.slow_mark
    }

    fn opened(&self, peer: &Arc<Peer>) {
        self.tell(Event::Opened(peer.remote));
    }

    fn closed(&self, peer: &Peer) {
        self.tell(Event::Closed(peer.remote));
    }

    fn answered(&self, _: &Peer, response: &Frame<'_>) {
        self.tell(Event::Answered(response.code));
    }
}

/// A served toy.
pub struct Served {
    pub toy: Arc<Toy>,
    pub running: Running,
    pub events: mpsc::Receiver<Event>,
}

pub struct Setup {
    pub threads: usize,
    pub limits: Limits,
    pub slow_mark: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            threads: 1,
            limits: Limits::default(),
            slow_mark: Duration::from_secs(5),
        }
    }
}

pub fn serve() -> Served {
    serve_with(Setup::default())
}

pub fn serve_with(setup: Setup) -> Served {
    let hub = Hub::new(setup.threads);
    let (sender, events) = mpsc::channel();
    let toy = Arc::new(Toy {
        hub: hub.clone(),
        held: Mutex::default(),
        staged: AtomicU64::new(0),
        appended: AtomicU64::new(0),
        flushed: AtomicU64::new(0),
        commits: AtomicUsize::new(0),
        refuses: AtomicBool::new(false),
        slow_mark: setup.slow_mark,
        calls: AtomicUsize::new(0),
        events: Mutex::new(sender),
    });
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let doors = [Door::Main, Door::Vip];
    let listeners = doors.map(|door| Listener::bind(any, door).unwrap());
    let options = Options {
        name: "toy".to_owned(),
        limits: setup.limits,
    };
    let running = Server::start(listeners.into(), options, hub, toy.clone()).unwrap();
    Served {
        toy,
        running,
        events,
    }
}

pub const LIMIT: Duration = Duration::from_secs(10);

impl Served {
    pub fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.running.addresses()[0]).unwrap())
    }

    pub fn connect_vip(&self) -> Client {
        Client::new(TcpStream::connect(self.running.addresses()[1]).unwrap())
    }

    /// Waits for an event, skipping others.
    pub fn wait_for(&self, wanted: impl Fn(&Event) -> bool) -> Event {
        let until = Instant::now() + LIMIT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left).expect("an event in time");
            if wanted(&event) {
                return event;
            }
        }
    }

    pub fn wait_held(&self, count: usize) {
        for _ in 0..count {
            self.wait_for(|event| *event == Event::Held);
        }
    }
}

/// The other end: blocking, byte by byte if need be.
pub struct Client {
    pub stream: TcpStream,
    bytes: Vec<u8>,
}

impl Client {
    pub fn new(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client {
            stream,
            bytes: Vec::new(),
        }
    }

    pub fn send(&mut self, command: &Command) {
        self.stream.write_all(&command.to_bytes()).unwrap();
    }

    pub fn send_all(&mut self, commands: &[Command]) {
        let mut bytes = Vec::new();
        for command in commands {
            command.encode(&mut bytes);
        }
        self.stream.write_all(&bytes).unwrap();
    }

    /// The next frame; `None` when the server has closed the connection.
    pub fn receive(&mut self) -> Option<Command> {
        loop {
            if let Some(length) = remoting::Decoder::peek(&self.bytes).unwrap() {
                let command = Command::decode(&self.bytes[..length]).unwrap();
                self.bytes.drain(..length);
                return Some(command);
            }
            let mut buffer = [0; 65536];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(read) => self.bytes.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub fn ask(&mut self, command: &Command) -> Command {
        self.send(command);
        self.receive().expect("an answer")
    }

    /// This many answers by opaque.
    pub fn receive_by_opaque(&mut self, count: usize) -> HashMap<i32, Command> {
        let answers = (0..count).map(|_| self.receive().expect("an answer"));
        answers.map(|answer| (answer.opaque, answer)).collect()
    }
}

pub fn request(code: i32, opaque: i32) -> Command {
    Command {
        opaque,
        ..Command::request(code)
    }
}

pub fn echo(opaque: i32, body: &[u8]) -> Command {
    request(ECHO, opaque).body(body.to_vec())
}
