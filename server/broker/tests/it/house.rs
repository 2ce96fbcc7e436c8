//! A broker with everything a test wants to look at.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker::{
    Answer, Broker, Caller, ConnectionId, ConsumeFrom, ConsumeType, ConsumerData, Error, HalfCheck,
    Heartbeat, MessageModel, Notice, Options, Outlet, Produce, Produced, Pull, Pulled, Registrar,
    TopicChange,
};
use model::TopicName;
use model::flag::Perm;
use model::record::View;
use model::subscription::Subscription;
use model::topic::{DataVersion, FilterType, TopicConfig};
use store::clock::ManualClock;
use store::disk::memory::Memory;
use store::{Disk, Flush, Store};

/// 2026-11-24T15:45:00Z
pub const START: i64 = 1_795_535_100_000;

/// What the broker said unasked.
#[derive(Default)]
pub struct Heard {
    /// What name servers know of topics: each broker and how many queues it has to read.
    pub routes: Mutex<HashMap<String, Vec<(String, u32)>>>,
    runnable: Mutex<Vec<(u64, u64)>>,
    notices: Mutex<Vec<(u64, String)>>,
    registered: Mutex<Vec<String>>,
    pub checks: Mutex<Vec<(u64, HalfCheck)>>,
    /// Connections that take nothing.
    pub deaf: Mutex<HashSet<u64>>,
}

impl Outlet for Heard {
    fn runnable(&self, requests: &[(ConnectionId, u64)]) {
        let requests = requests
            .iter()
            .map(|&(connection, ticket)| (connection.0, ticket));
        self.runnable.lock().unwrap().extend(requests);
    }

    fn notice(&self, connection: ConnectionId, notice: Notice) -> bool {
        if self.deaf.lock().unwrap().contains(&connection.0) {
            return false;
        }
        match notice {
            Notice::IdsChanged { group } => {
                let mut notices = self.notices.lock().unwrap();
                notices.push((connection.0, group.to_string()));
            }
            Notice::CheckTransaction(check) => {
                self.checks.lock().unwrap().push((connection.0, *check));
            }
            other => {
                let mut notices = self.notices.lock().unwrap();
                notices.push((connection.0, format!("{other:?}")));
            }
        }
        true
    }
}

impl Registrar for Heard {
    fn changed(&self, topics: &[TopicConfig], version: DataVersion) {
        let lines = topics.iter().map(|topic| {
            format!(
                "+{} {}/{} perm {} v{}",
                topic.name, topic.read_queues, topic.write_queues, topic.perm.0, version.counter
            )
        });
        self.registered.lock().unwrap().extend(lines);
    }

    fn removed(&self, topic: &TopicName, version: DataVersion) {
        self.registered
            .lock()
            .unwrap()
            .push(format!("-{topic} v{}", version.counter));
    }

    fn brokers_of(&self, topic: &str) -> Vec<(String, u32)> {
        let routes = self.routes.lock().unwrap();
        routes.get(topic).cloned().unwrap_or_default()
    }
}

pub struct House {
    pub broker: Broker,
    pub store: Arc<Store>,
    pub clock: Arc<ManualClock>,
    pub heard: Arc<Heard>,
    pub options: Options,
    store_options: store::Options,
    disk: Arc<dyn Disk>,
}

pub fn options() -> Options {
    Options {
        seed: 7,
        ..Options::new(
            "DefaultCluster",
            "broker-a",
            "127.0.0.1:10911".parse().unwrap(),
        )
    }
}

impl House {
    pub fn new() -> House {
        House::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut Options)) -> House {
        let mut options = options();
        change(&mut options);
        House::open(options, Flush::Async, Arc::new(Memory::default()), START)
    }

    pub fn synchronous() -> House {
        House::open(options(), Flush::Sync, Arc::new(Memory::default()), START)
    }

    pub fn open(options: Options, flush: Flush, disk: Arc<dyn Disk>, now: i64) -> House {
        House::open_with(options, flush, disk, now, |_| ())
    }

    pub fn open_with(
        options: Options,
        flush: Flush,
        disk: Arc<dyn Disk>,
        now: i64,
        change: impl FnOnce(&mut store::Options),
    ) -> House {
        let mut store_options = store::Options {
            flush,
            segment_size: 16 << 20,
            reserve_step: 1 << 20,
            zero_ahead: 0,
            store_host: options.address,
            ..store::Options::default()
        };
        change(&mut store_options);
        let clock = Arc::new(ManualClock::new(now));
        let (store, _) = Store::open(
            store_options.clone(),
            Arc::clone(&disk),
            Arc::clone(&clock) as _,
        )
        .unwrap();
        let store = Arc::new(store);
        let heard = Arc::new(Heard::default());
        let broker = Broker::open(
            options.clone(),
            Arc::clone(&store),
            Arc::clone(&clock) as _,
            Arc::clone(&heard) as _,
            Arc::clone(&heard) as _,
        );
        House {
            broker,
            store,
            clock,
            heard,
            options,
            store_options,
            disk,
        }
    }

    /// As after `kill -9`: nothing is closed or flushed, and the disk is opened again.
    pub fn killed(self) -> House {
        let now = store::Clock::wall(&*self.clock);
        let House {
            broker,
            store,
            options,
            store_options,
            disk,
            ..
        } = self;
        drop((broker, store));
        House::open_with(options, store_options.flush, disk, now, |store| {
            *store = store_options
        })
    }

    /// Runs a request until it is answered, as a door does.
    pub fn run<T>(
        &self,
        caller: Caller,
        mut request: impl FnMut(&Caller) -> Result<Answer<T>, Error>,
    ) -> Result<T, Error> {
        let mut caller = caller;
        loop {
            match request(&caller)? {
                Answer::Ready(value) => return Ok(value),
                Answer::After(mark, value) => {
                    self.broker.commit()?;
                    while self.broker.reached(mark.level) < mark.at {
                        self.store.flush_step().unwrap();
                        self.broker.flushed();
                    }
                    return Ok(value);
                }
                Answer::Cold(job) => {
                    job();
                    caller.may_wait = false;
                }
                Answer::Hold(_) => panic!("held"),
            }
        }
    }

    pub fn send<'a>(&self, send: Produce<'a>) -> Result<Produced<'a>, Error> {
        self.run(caller(1), |caller| self.broker.produce(caller, &send))
    }

    /// Sends and expects that it is stored.
    pub fn put(&self, topic: &str, queue: i32, body: &str, properties: &str) {
        let send = Produce {
            queue,
            body: body.as_bytes(),
            properties,
            ..message(topic)
        };
        self.send(send).unwrap();
    }

    pub fn pull(&self, pull: Pull<'_>) -> Result<(Pulled, Vec<String>), Error> {
        self.pull_as(caller(2), pull)
    }

    pub fn pull_as(&self, caller: Caller, pull: Pull<'_>) -> Result<(Pulled, Vec<String>), Error> {
        let mut out = Vec::new();
        let pulled = self.run(caller, |caller| {
            out.clear();
            self.broker.pull(caller, &pull, &mut out)
        })?;
        Ok((pulled, bodies(&out)))
    }

    pub fn create(&self, topic: &str, change: impl FnOnce(&mut TopicChange)) -> Result<(), Error> {
        let mut wanted = TopicChange {
            name: topic.to_owned(),
            read_queues: 4,
            write_queues: 4,
            perm: Perm::READ_WRITE,
            filter: FilterType::SingleTag,
            sys_flag: 0,
            order: false,
            attributes: Vec::new(),
        };
        change(&mut wanted);
        self.run(caller(9), |caller| {
            self.broker.update_topics(caller, &[wanted.clone()])
        })
    }

    pub fn beat(&self, connection: u64, client: &str, data: Vec<ConsumerData>) -> broker::Beat {
        let beat = Heartbeat {
            client: client.to_owned(),
            consumers: data,
            ..Heartbeat::default()
        };
        self.run(caller(connection), |caller| {
            self.broker.heartbeat(caller, &beat)
        })
        .unwrap()
    }

    pub fn woken(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut *self.heard.runnable.lock().unwrap())
    }

    pub fn noticed(&self) -> Vec<(u64, String)> {
        std::mem::take(&mut *self.heard.notices.lock().unwrap())
    }

    pub fn registered(&self) -> Vec<String> {
        std::mem::take(&mut *self.heard.registered.lock().unwrap())
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.broker.tick().unwrap();
    }
}

pub fn caller(connection: u64) -> Caller {
    Caller {
        connection: ConnectionId(connection),
        ticket: 1,
        remote: format!("127.0.0.1:{}", 40_000 + connection)
            .parse()
            .unwrap(),
        language: 0,
        version: 479,
        may_wait: true,
        oneway: false,
    }
}

/// A plain message to queue 0.
pub fn message(topic: &str) -> Produce<'_> {
    Produce {
        group: "p",
        topic,
        template: "TBW102",
        template_queues: 4,
        queue: 0,
        sys_flag: 0,
        flag: 0,
        born_at: START - 5,
        properties: "",
        reconsume_times: 0,
        max_reconsume_times: None,
        unit_mode: false,
        batch: false,
        body: b"hello",
        items: &[],
    }
}

/// A pull of queue 0 from its start that brings its own expression.
pub fn from_start(topic: &str) -> Pull<'_> {
    Pull {
        group: "g",
        topic,
        queue: 0,
        offset: 0,
        max: 32,
        commit: None,
        suspend: None,
        expression: Some("*"),
        expression_kind: None,
        version: 0,
        lite: false,
    }
}

pub fn consumer(group: &str, subscriptions: &[(&str, &str, i64)]) -> ConsumerData {
    let subscriptions = subscriptions.iter().map(|&(topic, expression, version)| {
        Subscription::tags(TopicName::parse(topic).unwrap(), expression, version)
    });
    ConsumerData {
        group: group.to_owned(),
        kind: ConsumeType::Passively,
        model: MessageModel::Clustering,
        from: ConsumeFrom::LastOffset,
        subscriptions: subscriptions.collect(),
        unit_mode: false,
    }
}

/// The records in an output buffer; each is verified.
pub fn records(out: &[u8]) -> Vec<View<'_>> {
    let mut rest = out;
    let mut views = Vec::new();
    while !rest.is_empty() {
        let view = View::parse(rest).unwrap();
        View::verify(view.bytes(), view.log_offset()).unwrap();
        rest = &rest[view.len()..];
        views.push(view);
    }
    views
}

pub fn bodies(out: &[u8]) -> Vec<String> {
    let text = |view: View<'_>| String::from_utf8(view.body().to_vec()).unwrap();
    records(out).into_iter().map(text).collect()
}
