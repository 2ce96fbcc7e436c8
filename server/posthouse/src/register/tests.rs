//! Registrations over real sockets with our own name server. That Apache's takes them is a test of
//! `conformance`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};

use namesrv::kv::ORDER_TOPIC_CONFIG;
use remoting::code::request;
use remoting::server::{Door, Hub, Listener, Options, Outcome, Peer, Run, Server, Service};
use remoting::{Command, Frame};
use serde_json::Value;

use super::*;

const LONG: Duration = Duration::from_secs(20);

fn topic(name: &str) -> TopicConfig {
    TopicConfig::new(TopicName::parse(name).unwrap(), 4)
}

fn identity() -> Identity {
    Identity {
        cluster: "DefaultCluster".into(),
        broker: "broker-a".into(),
        id: 0,
        address: "127.0.0.1:10911".into(),
        ha_address: "127.0.0.1:10912".into(),
    }
}

fn timing(period: u64, gap: u64) -> Timing {
    Timing {
        period: Duration::from_millis(period),
        gap: Duration::from_millis(gap),
        retry: Duration::from_millis(20),
        limit: Duration::from_secs(5),
    }
}

/// A broker's topics, without a broker.
#[derive(Default)]
struct Topics {
    table: Mutex<(Vec<TopicConfig>, DataVersion)>,
    ordered: Mutex<Option<Sender<Vec<String>>>>,
}

impl Topics {
    fn of(names: &[&str]) -> Arc<Topics> {
        let topics = Topics::default();
        topics.table.lock().unwrap().0 = names.iter().map(|name| topic(name)).collect();
        Arc::new(topics)
    }

    /// Adds topics as a broker does: first to its table, then the registrar is told.
    fn add(&self, names: &[&str], register: &Register) {
        let added: Vec<TopicConfig> = names.iter().map(|name| topic(name)).collect();
        let mut table = self.table.lock().unwrap();
        table.0.extend(added.clone());
        table.1 = table.1.next(1);
        register.changed(&added, table.1);
    }
}

impl Source for Topics {
    fn registration(&self) -> (Vec<TopicConfig>, DataVersion) {
        self.table.lock().unwrap().clone()
    }

    fn set_order_topics(&self, topics: &[String]) {
        if let Some(sender) = &*self.ordered.lock().unwrap() {
            let _ = sender.send(topics.to_vec());
        }
    }
}

/// A name server behind a socket, and what it was asked.
struct Ns {
    server: Arc<NameServer>,
    address: SocketAddr,
    asked: Receiver<Command>,
    _running: remoting::server::Running,
}

struct Recording(Arc<NameServer>, Sender<Command>);

impl Service for Recording {
    fn call(&self, peer: &Peer, frame: &Frame<'_>, run: Run, out: &mut Vec<u8>) -> Outcome {
        let outcome = self.0.call(peer, frame, run, out);
        let ext = frame.ext.iter().map(|(k, v)| (k.to_owned(), v.to_owned()));
        let command = Command::request(frame.code).body(frame.body.to_vec());
        let _ = self
            .1
            .send(ext.fold(command, |command, (k, v)| command.with(k, v)));
        outcome
    }

    fn closed(&self, peer: &Peer) {
        self.0.closed(peer);
    }
}

impl Ns {
    fn at(address: SocketAddr) -> Ns {
        let server = Arc::new(NameServer::new(
            namesrv::Options::default(),
            Arc::new(|| Duration::ZERO),
        ));
        let (sender, asked) = channel();
        let listener = Listener::bind(address, Door::Main).unwrap();
        let service = Arc::new(Recording(server.clone(), sender));
        let running = Server::start(vec![listener], Options::default(), Hub::new(1), service);
        let running = running.unwrap();
        Ns {
            server,
            address: running.addresses()[0],
            asked,
            _running: running,
        }
    }

    fn start() -> Ns {
        Ns::at(([127, 0, 0, 1], 0).into())
    }

    fn topics(&self) -> Vec<String> {
        self.server.routes().topics(namesrv::route::Topics::All)
    }

    /// The topics of the next registration.
    fn next(&self) -> Vec<String> {
        let command = self.asked.recv_timeout(LONG).unwrap();
        assert_eq!(command.code, request::REGISTER_BROKER);
        let body: Value = serde_json::from_slice(&command.body).unwrap();
        let table = &body["topicConfigSerializeWrapper"]["topicConfigTable"];
        table.as_object().unwrap().keys().cloned().collect()
    }
}

fn start(timing: Timing, servers: &[&Ns], topics: &Arc<Topics>) -> (Arc<Register>, Running) {
    let servers: Vec<String> = servers.iter().map(|ns| ns.address.to_string()).collect();
    let register = Arc::new(Register::new(identity(), timing, None, &servers));
    let running = register.start(topics.clone()).unwrap();
    (register, running)
}

#[test]
fn every_name_server_of_the_list_is_told_and_at_the_end_untold() {
    let (one, two) = (Ns::start(), Ns::start());
    let (_, running) = start(
        timing(60_000, 1000),
        &[&one, &two],
        &Topics::of(&["T", "U"]),
    );
    assert_eq!(running.first(LONG), 2);
    assert_eq!(
        (one.topics(), two.topics()),
        (vec!["T".into(), "U".into()], vec!["T".into(), "U".into()])
    );
    running.stop();
    assert_eq!((one.topics(), two.topics()), (vec![], vec![]));
    one.next();
    assert_eq!(
        one.asked.recv_timeout(LONG).unwrap().code,
        request::UNREGISTER_BROKER
    );
}

#[test]
fn one_changed_topic_goes_alone_and_does_not_wait_for_the_period() {
    let ns = Ns::start();
    let topics = Topics::of(&["T", "U"]);
    let (register, running) = start(timing(60_000, 60_000), &[&ns], &topics);
    assert_eq!(running.first(LONG), 1);
    assert_eq!(ns.next(), ["T", "U"]);
    topics.add(&["V"], &register);
    assert_eq!(ns.next(), ["V"]);
    assert_eq!(ns.topics(), ["T", "U", "V"]);
    let known = ns
        .server
        .routes()
        .version("DefaultCluster", "127.0.0.1:10911");
    assert_eq!(known, Some(topics.registration().1));
}

#[test]
fn many_changes_become_one_whole_table_once_in_the_gap() {
    let ns = Ns::start();
    let topics = Topics::of(&["T", "U"]);
    let first = std::time::Instant::now();
    let (register, running) = start(timing(60_000, 300), &[&ns], &topics);
    running.first(LONG);
    assert_eq!(ns.next().len(), 2);
    for n in 0..200 {
        let (a, b) = (format!("A{n}"), format!("B{n}"));
        topics.add(&[&a, &b], &register);
    }
    let mut tables = 1;
    while ns.next().len() < 402 {
        tables += 1;
    }
    let gaps = first.elapsed().as_millis() / 300;
    assert!(
        gaps >= 1 && tables <= gaps,
        "{tables} tables in {gaps} gaps"
    );
    assert_eq!(ns.topics().len(), 402);
}

#[test]
fn a_name_server_that_forgot_us_gets_the_whole_table() {
    let ns = Ns::start();
    let topics = Topics::of(&["T", "U"]);
    let (register, running) = start(timing(60_000, 1), &[&ns], &topics);
    running.first(LONG);
    assert_eq!(ns.next().len(), 2);
    ns.server.unregister_local(&identity());
    topics.add(&["V"], &register);
    assert_eq!(ns.next(), ["V"]);
    assert_eq!(ns.next(), ["T", "U", "V"]);
}

#[test]
fn a_removed_topic_is_a_new_whole_table() {
    let ns = Ns::start();
    let topics = Topics::of(&["T", "U", "V"]);
    let (register, running) = start(timing(60_000, 1), &[&ns], &topics);
    running.first(LONG);
    assert_eq!(ns.next().len(), 3);
    topics.table.lock().unwrap().0.pop();
    register.removed(
        &TopicName::parse("V").unwrap(),
        DataVersion::default().next(1),
    );
    assert_eq!(ns.next(), ["T", "U"]);
}

#[test]
fn a_name_server_that_is_not_there_yet_is_tried_again() {
    let here = Ns::start();
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let servers = [here.address.to_string(), gone.to_string()];
    let register = Register::new(identity(), timing(60_000, 1), None, &servers);
    let running = Arc::new(register).start(Topics::of(&["T", "U"])).unwrap();
    assert_eq!(running.first(LONG), 1);
    let late = Ns::at(gone);
    assert_eq!(late.next(), ["T", "U"]);
}

#[test]
fn a_name_server_may_be_given_by_host_name_and_one_without_an_address_hurts_nobody() {
    let ns = Ns::start();
    let named = format!("localhost:{}", ns.address.port());
    let servers = [named, "no-such-host.invalid:9876".to_owned()];
    let register = Register::new(identity(), timing(60_000, 1), None, &servers);
    let running = Arc::new(register).start(Topics::of(&["T", "U"])).unwrap();
    assert_eq!(ns.next(), ["T", "U"]);
    assert_eq!(running.first(LONG), 1);
}

#[test]
fn the_whole_table_is_told_again_in_every_period() {
    let ns = Ns::start();
    let (_, _running) = start(timing(30, 1), &[&ns], &Topics::of(&["T", "U"]));
    for _ in 0..3 {
        assert_eq!(ns.next(), ["T", "U"]);
    }
}

#[test]
fn a_table_too_large_for_one_message_goes_in_parts_and_all_of_it_is_taken() {
    let ns = Ns::start();
    let names: Vec<String> = (0..20_001).map(|n| format!("T{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let topics = Topics::of(&names);
    let (register, running) = start(timing(60_000, 1), &[&ns], &topics);
    assert_eq!(running.first(LONG), 1);
    assert_eq!(
        [ns.next().len(), ns.next().len(), ns.next().len()],
        [10_000, 10_000, 1]
    );
    let known = || {
        ns.server
            .routes()
            .version("DefaultCluster", "127.0.0.1:10911")
    };
    assert_eq!(known(), Some(topics.registration().1));
    let version = {
        let mut table = topics.table.lock().unwrap();
        for topic in &mut table.0 {
            topic.write_queues = 9;
        }
        table.1 = table.1.next(2);
        table.1
    };
    register.removed(&TopicName::parse("gone").unwrap(), version);
    for _ in 0..3 {
        ns.next();
    }
    assert_eq!(known(), Some(version));
    for name in ["T0", "T9999", "T10000", "T20000"] {
        let route = ns.server.routes().route(name, false).unwrap();
        assert_eq!(route.queue_datas[0].write_queue_nums, 9, "{name}");
    }
}

#[test]
fn ordered_topics_of_a_name_server_reach_the_broker() {
    let ns = Ns::start();
    let put = Command::request(request::PUT_KV_CONFIG)
        .with("namespace", ORDER_TOPIC_CONFIG)
        .with("key", "T")
        .with("value", "broker-a:4");
    let client = remoting::client::Client::new(ns.address);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(client.invoke(put, LONG)).unwrap();
    ns.asked.recv_timeout(LONG).unwrap();
    let topics = Topics::of(&["T", "U"]);
    let (sender, told) = channel();
    *topics.ordered.lock().unwrap() = Some(sender);
    let (_, _running) = start(timing(60_000, 1), &[&ns], &topics);
    assert_eq!(told.recv_timeout(LONG).unwrap(), ["T"]);
}

#[test]
fn a_name_server_of_this_process_knows_a_topic_when_the_call_returns() {
    let server = Arc::new(NameServer::new(
        namesrv::Options::default(),
        Arc::new(|| Duration::ZERO),
    ));
    let register = Register::new(identity(), timing(60_000, 1), Some(server.clone()), &[]);
    let register = Arc::new(register);
    let topics = Topics::of(&["T", "U"]);
    register.changed(&[topic("T")], DataVersion::default());
    let all = || server.routes().topics(namesrv::route::Topics::All);
    assert_eq!(all(), [] as [&str; 0]);
    let running = register.start(topics.clone()).unwrap();
    assert_eq!(
        (running.first(Duration::ZERO), all()),
        (1, vec!["T".into(), "U".into()])
    );
    topics.add(&["V"], &register);
    assert_eq!(all(), ["T", "U", "V"]);
    register.removed(
        &TopicName::parse("T").unwrap(),
        DataVersion::default().next(9),
    );
    assert_eq!(all(), ["U", "V"]);
    running.stop();
    assert_eq!(all(), [] as [&str; 0]);
}

#[test]
fn the_period_is_clamped_as_in_apache() {
    let period = |s| Timing::with_period(Duration::from_secs(s)).period.as_secs();
    assert_eq!([period(1), period(30), period(300)], [10, 30, 60]);
}

/// The keys of an object, and of the objects in it.
fn shape(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (key, inner) in value.as_object().into_iter().flatten() {
        found.insert(key.clone());
        found.extend(
            shape(inner)
                .into_iter()
                .map(|inner| format!("{key}.{inner}")),
        );
    }
    found
}

#[test]
fn a_registration_has_the_fields_and_keys_of_apaches() {
    let recorded: Value =
        serde_json::from_str(include_str!("../../testdata/registration.json")).unwrap();
    let names = recorded["body"]["topicConfigSerializeWrapper"]["topicConfigTable"]
        .as_object()
        .unwrap();
    let topics: Vec<TopicConfig> = names.keys().map(|name| topic(name)).collect();
    let ours = message::register(&identity(), &topics, DataVersion::default().next(5));
    let fields: BTreeSet<&str> = ours
        .ext
        .iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect();
    let theirs = recorded["extFields"].as_object().unwrap();
    assert_eq!(fields, theirs.keys().map(String::as_str).collect());
    let body: Value = serde_json::from_slice(&ours.body).unwrap();
    assert_eq!(shape(&body), shape(&recorded["body"]));
    for same in [
        "brokerId",
        "brokerName",
        "clusterName",
        "compressed",
        "enableActingMaster",
    ] {
        assert_eq!(ours.field(same), theirs[same].as_str(), "{same}");
    }
}
