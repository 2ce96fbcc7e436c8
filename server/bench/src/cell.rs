//! The cells of the table: what each does, to any broker.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use remoting::Serialize;

use crate::admin::Admin;
use crate::again;
use crate::due::{self, Due};
use crate::e2e::{self, Rate};
use crate::http::Door;
use crate::load::{Measured, Shape, closed};
use crate::pop::Popping;
use crate::pull::Pulling;
use crate::send::{Sending, Wrong, verify};
use crate::sql::{self, Filtered};
use crate::template::{Numbered, Template};
use crate::tx::{self, Transactions};

/// A kind of measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Single messages of 1 KiB.
    Send,
    /// Batches of 16 messages of 128 bytes.
    Batch,
    /// Warm pulls of 32 messages.
    Pull,
    /// End to end at so many messages a second.
    EndToEnd(u64),
    /// 20,000 messages due within one second; the latency is how late they are.
    Due(Due),
    /// Half messages and their commits.
    Transaction,
    /// Pulls through a SQL92 filter that so many in a hundred pass; the rate is of what is looked at.
    Filtered(u64),
    /// Pops of 32 messages, and an ack of each.
    Pop,
    /// 20,000 leases that end within one second; the latency is how late their messages come again.
    PopAgain,
    /// Apache's Java client with so many threads that send.
    JavaProducer,
    /// Something over HTTP, which only our server speaks.
    Http(Door),
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is called in the table.
    pub title: &'static str,
    /// What it does.
    pub kind: Kind,
    /// Connections and requests outstanding on each.
    pub shape: (usize, usize),
    /// The form of the headers.
    pub serialize: Serialize,
    /// The broker must flush before it answers.
    pub sync: bool,
}

const fn send(name: &'static str, title: &'static str, shape: (usize, usize)) -> Cell {
    Cell {
        name,
        title,
        kind: Kind::Send,
        shape,
        serialize: Serialize::Binary,
        sync: false,
    }
}

/// All of them, in the order of the table.
pub const CELLS: [Cell; 31] = [
    send("send-1x1", "send, 1 × 1", (1, 1)),
    send("send-64x1", "send, 64 × 1", (64, 1)),
    send("send-1x64", "send, 1 × 64", (1, 64)),
    send("send-16x16", "send, 16 × 16, binary header", (16, 16)),
    Cell {
        serialize: Serialize::Json,
        ..send("send-16x16-json", "send, 16 × 16, JSON header", (16, 16))
    },
    Cell {
        kind: Kind::Batch,
        ..send(
            "batch-16x16",
            "batch, 16 × 16, 16 messages of 128 B",
            (16, 16),
        )
    },
    Cell {
        kind: Kind::Pull,
        ..send("pull-32", "pull 32, warm", (8, 1))
    },
    Cell {
        kind: Kind::EndToEnd(2_000),
        ..send("e2e-2k", "end to end at 2 k/s", (1, 1))
    },
    Cell {
        kind: Kind::EndToEnd(20_000),
        ..send("e2e-20k", "end to end at 20 k/s", (1, 1))
    },
    Cell {
        sync: true,
        ..send("sync-1x1", "SYNC_FLUSH send, 1 × 1", (1, 1))
    },
    Cell {
        sync: true,
        ..send("sync-64x1", "SYNC_FLUSH send, 64 × 1", (64, 1))
    },
    Cell {
        sync: true,
        ..send("sync-16x16", "SYNC_FLUSH send, 16 × 16", (16, 16))
    },
    Cell {
        serialize: Serialize::Json,
        ..send("send-64x1-json", "send, 64 × 1, JSON header", (64, 1))
    },
    of(
        Kind::Due(Due::Level),
        "delay-level",
        "20,000 of level 1, due in one second",
        (1, 1),
    ),
    of(
        Kind::Due(Due::Timer),
        "delay-timer",
        "20,000 timers, due in one second",
        (1, 1),
    ),
    of(
        Kind::Transaction,
        "transaction",
        "half + commit, 16 × 4",
        (16, 4),
    ),
    of(
        Kind::Filtered(1),
        "sql-1",
        "SQL92, 1 % match: looked at",
        (8, 1),
    ),
    of(
        Kind::Filtered(50),
        "sql-50",
        "SQL92, 50 % match: looked at",
        (8, 1),
    ),
    of(Kind::Pop, "pop", "pop 32 + ack each, 8 × 32", (8, 32)),
    of(
        Kind::PopAgain,
        "pop-again",
        "20,000 leases that end within one second",
        (8, 1),
    ),
    of(
        Kind::JavaProducer,
        "java-producer",
        "Java client 5.3.3, 64 threads that send",
        (64, 1),
    ),
    // First, while the memory of no other cell is at hand to be used again.
    http(
        Door::Idle(10_000),
        "http-idle",
        "HTTP: 10,000 idle streams, opened",
        1,
    ),
    http(Door::Json, "http-json", "HTTP: publish JSON, 64 × 1", 64),
    http(Door::Raw, "http-raw", "HTTP: publish bytes, 64 × 1", 64),
    http(
        Door::Batch(100),
        "http-batch",
        "HTTP: publish 100 at once, 64 × 1",
        64,
    ),
    http(
        Door::Receive,
        "http-receive",
        "HTTP: receive 32 + ack, 8 × 1",
        8,
    ),
    http(
        Door::Tails(1_000),
        "http-tails-1k",
        "HTTP: a message to 1,000 streams",
        1,
    ),
    http(
        Door::Tails(10_000),
        "http-tails-10k",
        "HTTP: a message to 10,000 streams",
        1,
    ),
    http(
        Door::TagTails(10_000),
        "http-tag-tails",
        "HTTP: a message to 10,000 streams of its tag",
        1,
    ),
    http(
        Door::BesideTails(10_000),
        "beside-http-tails",
        "send, 64 × 1, beside messages to 10,000 streams",
        64,
    ),
    http(
        Door::BesideBodies,
        "beside-http-bodies",
        "send, 64 × 1, beside bodies of 4 MiB over HTTP",
        64,
    ),
];

const fn http(door: Door, name: &'static str, title: &'static str, connections: usize) -> Cell {
    of(Kind::Http(door), name, title, (connections, 1))
}

const fn of(kind: Kind, name: &'static str, title: &'static str, shape: (usize, usize)) -> Cell {
    Cell {
        kind,
        ..send(name, title, shape)
    }
}

/// A broker to measure.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process, if its CPU shall be measured.
    pub pid: Option<u32>,
    /// It takes a connection's requests in their order, so that order is checked with many
    /// outstanding as well. Apache gives them to a pool of threads.
    pub ordered: bool,
    /// Where it speaks HTTP, if it does.
    pub http: Option<SocketAddr>,
}

/// For how long, and how.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Time before the measurement.
    pub warm: Duration,
    /// Time of the measurement.
    pub time: Duration,
    /// Each request is its own write.
    pub one_write: bool,
    /// How many messages are read back and checked after sends.
    pub read_back: u64,
    /// How many streams cells with streams open, if not as many as they are named for.
    pub streams: Option<usize>,
}

/// What a cell measured.
#[derive(Clone, Debug)]
pub struct Row {
    /// Rate, latency, CPU.
    pub measured: Measured,
    /// Sends that were refused as busy.
    pub refused: u64,
    /// How long the queues' ends stayed behind the last acknowledgement.
    pub behind: Duration,
    /// What the columns have no place for.
    pub told: Option<String>,
}

impl Row {
    /// What has no more to tell than this.
    pub fn of(measured: Measured) -> Row {
        Row {
            measured,
            refused: 0,
            behind: Duration::ZERO,
            told: None,
        }
    }
}

/// Queues of a cell's topic.
pub const QUEUES: u32 = 8;
/// How many messages are due within a second.
pub const DUE: u64 = 20_000;
/// Bytes of a message, mostly.
pub const SIZE: usize = 1024;
/// How many messages are read back after a cell, unless told otherwise.
pub const READ_BACK: u64 = 100_000;

impl Cell {
    /// Finds a cell by name.
    pub fn find(name: &str) -> Option<Cell> {
        CELLS.into_iter().find(|cell| cell.name == name)
    }

    /// Whether only a server that speaks HTTP can do it.
    pub fn is_http(&self) -> bool {
        matches!(self.kind, Kind::Http(_))
    }

    /// Runs it in a topic of its own.
    pub fn run(&self, target: Target, times: Times) -> Result<Row, Wrong> {
        let run = fastrand::u64(..);
        let topic = format!("{}-{:08x}", self.name, run as u32);
        let mut admin = Admin::connect(target.address)?;
        admin.create_topic(&topic, QUEUES)?;
        match self.kind {
            Kind::Send => {
                let template = Template::send(&topic, SIZE, self.serialize);
                self.send(&mut admin, &topic, template, run, target, times)
            }
            Kind::Batch => {
                let template = Template::batch(&topic, 128, 16, self.serialize);
                self.send(&mut admin, &topic, template, run, target, times)
            }
            Kind::Pull => self.pull(&mut admin, &topic, run, target, times),
            Kind::EndToEnd(rate) => end_to_end(&mut admin, &topic, rate, run, target, times),
            Kind::Due(due) => {
                // A few first, in a topic of their own: a JVM has compiled nothing of this yet.
                let early = format!("{topic}-warm");
                admin.create_topic(&early, QUEUES)?;
                later(&early, due, DUE / 10, run, target)?;
                later(&topic, due, DUE, run, target)
            }
            Kind::Transaction => self.transactions(&mut admin, &topic, run, target, times),
            Kind::Filtered(percent) => {
                self.filtered(&mut admin, &topic, percent, run, target, times)
            }
            Kind::Pop => self.pop(&mut admin, &topic, run, target, times),
            Kind::PopAgain => again::run(&mut admin, &topic, run, target).map(Row::of),
            Kind::Http(door) => {
                let shape = self.shape(times);
                door.run(&mut admin, &topic, run, shape, target, times)
            }
            Kind::JavaProducer => Err(Wrong("it runs in a whole run only".to_owned())),
        }
    }

    fn shape(&self, times: Times) -> Shape {
        Shape {
            connections: self.shape.0,
            outstanding: self.shape.1,
            one_write: times.one_write,
            warm: times.warm,
            time: times.time,
        }
    }

    fn send(
        &self,
        admin: &mut Admin,
        topic: &str,
        template: Template,
        run: u64,
        target: Target,
        times: Times,
    ) -> Result<Row, Wrong> {
        let shape = self.shape(times);
        let mut sending = Sending::new(template, QUEUES, shape.connections, run);
        let begun = Instant::now();
        let measured = closed(target.address, shape, begun, target.pid, &mut sending)?;
        let behind = admin.until_end(topic, QUEUES, sending.acked)?;
        let ordered = target.ordered || shape.outstanding == 1;
        verify(admin, topic, &sending, ordered, times.read_back)?;
        Ok(Row {
            measured,
            refused: sending.refused,
            behind,
            told: None,
        })
    }

    fn pull(
        &self,
        admin: &mut Admin,
        topic: &str,
        run: u64,
        target: Target,
        times: Times,
    ) -> Result<Row, Wrong> {
        let template = Template::send(topic, SIZE, Serialize::Binary);
        let ends = fill(admin, topic, template, run, target)?;
        let begun = Instant::now();
        let mut pulling = Pulling::new(topic, ends, run, target.ordered);
        let shape = self.shape(times);
        let measured = closed(target.address, shape, begun, target.pid, &mut pulling)?;
        match pulling.wrong() {
            Some(wrong) => Err(wrong),
            None => Ok(Row::of(measured)),
        }
    }
}

/// Something to read, still warm: 200,000 messages or so. Where the queues end then.
pub fn fill(
    admin: &mut Admin,
    topic: &str,
    template: Template,
    run: u64,
    target: Target,
) -> Result<Vec<u64>, Wrong> {
    let mut sending = Sending::new(template, QUEUES, 1, run);
    let shape = Shape {
        connections: 1,
        outstanding: 256,
        one_write: false,
        warm: Duration::ZERO,
        time: Duration::from_millis(if target.ordered { 400 } else { 4_000 }),
    };
    closed(target.address, shape, Instant::now(), None, &mut sending)?;
    admin.until_end(topic, QUEUES, sending.acked)?;
    (0..QUEUES).map(|queue| admin.end(topic, queue)).collect()
}

/// Messages that are due within a second, and how late they come.
fn later(topic: &str, due: Due, count: u64, run: u64, target: Target) -> Result<Row, Wrong> {
    let template = match due {
        Due::Level => Template::with(topic, SIZE, "DELAY\u{1}1\u{2}", None, 0),
        Due::Timer => {
            let numbered = Numbered {
                name: "TIMER_DELIVER_MS",
                digits: 13,
            };
            Template::with(topic, SIZE, "", Some(numbered), 0)
        }
    };
    let mut sending = Sending::new(template, QUEUES, 1, run);
    let Target { address, pid, .. } = target;
    let measured = due::run(address, topic, QUEUES, due, count, run, pid, &mut sending)?;
    Ok(Row {
        measured,
        refused: sending.refused,
        behind: Duration::ZERO,
        told: None,
    })
}

impl Cell {
    fn transactions(
        &self,
        admin: &mut Admin,
        topic: &str,
        run: u64,
        target: Target,
        times: Times,
    ) -> Result<Row, Wrong> {
        let template = Template::with(topic, SIZE, tx::PROPERTIES, None, tx::PREPARED);
        let shape = self.shape(times);
        let halves = Sending::new(template, QUEUES, shape.connections, run);
        let mut load = Transactions::new(topic, halves, shape.connections);
        let measured = closed(target.address, shape, Instant::now(), target.pid, &mut load)?;
        if let Some(wrong) = &load.wrong {
            return Err(Wrong(wrong.clone()));
        }
        let behind = admin.until_end(topic, QUEUES, load.committed)?;
        let ends = (0..QUEUES).map(|queue| admin.end(topic, queue));
        let stored: u64 = ends.sum::<Result<u64, Wrong>>()?;
        if stored != load.committed {
            let committed = load.committed;
            return Err(Wrong(format!("{committed} committed, {stored} stored")));
        }
        Ok(Row {
            measured,
            refused: load.refused(),
            behind,
            told: None,
        })
    }

    fn filtered(
        &self,
        admin: &mut Admin,
        topic: &str,
        percent: u64,
        run: u64,
        target: Target,
        times: Times,
    ) -> Result<Row, Wrong> {
        let template = Template::with(topic, SIZE, "", Some(sql::SELECTED), 0);
        let mut sending = sql::Numbering(Sending::new(template, QUEUES, 1, run));
        // One request at a time would take too long, and more of them must not overtake each other.
        let shape = Shape {
            connections: 1,
            outstanding: if target.ordered { 256 } else { 1 },
            one_write: false,
            warm: Duration::ZERO,
            time: Duration::from_millis(if target.ordered { 400 } else { 8_000 }),
        };
        closed(target.address, shape, Instant::now(), None, &mut sending)?;
        admin.until_end(topic, QUEUES, sending.0.acked)?;
        let ends = (0..QUEUES).map(|queue| admin.end(topic, queue));
        let ends = ends.collect::<Result<Vec<_>, _>>()?;
        let mut load = Filtered::new(topic, percent, ends, run);
        let shape = self.shape(times);
        let measured = closed(target.address, shape, Instant::now(), target.pid, &mut load)?;
        match load.wrong() {
            Some(wrong) => Err(wrong),
            None => Ok(Row::of(measured)),
        }
    }

    fn pop(
        &self,
        admin: &mut Admin,
        topic: &str,
        run: u64,
        target: Target,
        times: Times,
    ) -> Result<Row, Wrong> {
        let template = Template::batch(topic, 128, 16, Serialize::Binary);
        let ends = fill(admin, topic, template, run, target)?;
        let mut load = Popping::new(topic, &ends, run);
        let shape = Shape {
            warm: times.warm / 4,
            ..self.shape(times)
        };
        let measured = closed(target.address, shape, Instant::now(), target.pid, &mut load)?;
        match load.wrong() {
            Some(wrong) => Err(wrong),
            None => Ok(Row::of(measured)),
        }
    }
}

fn end_to_end(
    admin: &mut Admin,
    topic: &str,
    rate: u64,
    run: u64,
    target: Target,
    times: Times,
) -> Result<Row, Wrong> {
    let template = Template::send(topic, SIZE, Serialize::Binary);
    let mut sending = Sending::new(template, QUEUES, 1, run);
    let rate = Rate {
        rate,
        warm: times.warm,
        time: times.time,
    };
    let Target { address, pid, .. } = target;
    let measured = e2e::run(
        address,
        topic,
        QUEUES,
        rate,
        run,
        pid,
        &mut sending,
        target.ordered,
    )?;
    verify(admin, topic, &sending, target.ordered, times.read_back)?;
    Ok(Row {
        measured,
        refused: sending.refused,
        behind: Duration::ZERO,
        told: None,
    })
}
