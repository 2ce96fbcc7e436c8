//! Requests in, answers out, without a socket: what Apache's name server was recorded to answer, and what
//! no recording shows.

mod recorded;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use remoting::server::Door;
use remoting::{Command, Decoder};

use super::*;
use crate::config::Options;
use crate::local::LocalBroker;
use crate::route::Registered;

/// A name server whose time is moved by hand, and the connection that asks it.
pub(super) struct Bench {
    pub server: NameServer,
    seconds: Arc<AtomicU64>,
    connection: u64,
    /// How often a cold job ran.
    pub cold: usize,
}

impl Bench {
    pub fn new(options: Options) -> Bench {
        let seconds = Arc::new(AtomicU64::new(1000));
        let clock = seconds.clone();
        let clock = Arc::new(move || Duration::from_secs(clock.load(Ordering::Relaxed)));
        Bench {
            server: NameServer::new(options, clock),
            seconds,
            connection: 1,
            cold: 0,
        }
    }

    fn pass(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    fn peer(&self) -> Peer {
        Peer::detached(self.connection, ([127, 0, 0, 1], 5).into(), Door::Main)
    }

    /// Handles one whole frame as a connection does, cold jobs included.
    pub fn frame(&mut self, frame: &[u8]) -> Command {
        let mut decoder = Decoder::new();
        let mut out = Vec::new();
        let mut again = None;
        loop {
            let frame = decoder.decode(frame).unwrap();
            let run = Run { again, ticket: 1 };
            match self.server.call(&self.peer(), &frame, run, &mut out) {
                Outcome::Done => return Command::decode(&out).unwrap(),
                Outcome::Cold(job) => {
                    assert!(out.is_empty() && again.is_none());
                    job();
                    self.cold += 1;
                    again = Some(Again::Warm);
                }
                _ => panic!("a name server neither stages nor holds"),
            }
        }
    }

    pub fn ask(&mut self, command: &Command) -> Command {
        let answer = self.frame(&command.to_bytes());
        assert_eq!(answer.opaque, command.opaque);
        assert!(answer.is_response() && answer.version >= 413);
        answer
    }

    pub fn register(&mut self, id: i64, address: &str, topics: &[&str]) -> Command {
        let command = register(id, address, topics);
        self.ask(&command)
    }

    fn route(&mut self, topic: &str) -> Command {
        self.ask(&Command::request(request::GET_ROUTEINFO_BY_TOPIC).with("topic", topic))
    }
}

fn register(id: i64, address: &str, topics: &[&str]) -> Command {
    let table: Vec<String> = (topics.iter())
        .map(|t| format!(r#""{t}":{{"topicName":"{t}","perm":6,"readQueueNums":4,"writeQueueNums":4,"topicSysFlag":0,"order":false,"topicFilterType":"SINGLE_TAG"}}"#))
        .collect();
    let version = r#"{"counter":1,"stateVersion":0,"timestamp":1}"#;
    let body = format!(
        r#"{{"filterServerList":[],"topicConfigSerializeWrapper":{{"dataVersion":{version},"topicConfigTable":{{{}}}}}}}"#,
        table.join(",")
    );
    broker(request::REGISTER_BROKER, id, address)
        .with("haServerAddr", "h:99")
        .with("bodyCrc32", crate::body::crc32(body.as_bytes()))
        .body(body.into_bytes())
}

fn broker(code: i32, id: i64, address: &str) -> Command {
    Command::request(code)
        .with("brokerName", "broker-a")
        .with("brokerAddr", address)
        .with("clusterName", "DefaultCluster")
        .with("brokerId", id)
}

fn plain(code: i32) -> Command {
    Command::request(code)
}

fn config(text: &str) -> Command {
    plain(request::UPDATE_NAMESRV_CONFIG).body(text.as_bytes().to_vec())
}

fn text(answer: &Command) -> &str {
    std::str::from_utf8(&answer.body).unwrap()
}

#[test]
fn a_missing_field_is_named() {
    let mut bench = Bench::new(Options::default());
    for code in [103, 104, 205, 216, 217, 322, 327, 901, 904] {
        let answer = bench.ask(&plain(code));
        assert_eq!(answer.code, response::SYSTEM_ERROR, "{code}");
        assert!(answer.remark.unwrap().contains("> is null"), "{code}");
    }
    let odd = broker(request::REGISTER_BROKER, 0, "h:1").with("brokerId", "x");
    assert_eq!(bench.ask(&odd).code, response::SYSTEM_ERROR);
}

#[test]
fn a_slave_learns_its_living_master() {
    let mut bench = Bench::new(Options::default());
    assert_eq!(
        bench.register(1, "h:2", &["T", "U"]).field("masterAddr"),
        None
    );
    bench.register(0, "h:1", &["T", "U"]);
    let answer = bench.register(1, "h:2", &["T", "U"]);
    assert_eq!(answer.field("masterAddr"), Some("h:1"));
    assert_eq!(answer.field("haServerAddr"), Some("h:99"));
}

#[test]
fn one_topic_of_a_stranger_is_refused() {
    let mut bench = Bench::new(Options::default());
    let answer = bench.register(0, "h:1", &["T"]);
    assert_eq!(answer.code, response::SYSTEM_ERROR);
    assert_eq!(answer.remark.as_deref(), Some("register broker failed"));
}

#[test]
fn a_body_whose_checksum_is_wrong_or_that_is_no_registration_is_refused() {
    let mut bench = Bench::new(Options::default());
    let mut command = register(0, "h:1", &["T", "U"]);
    command.body[1] ^= 1;
    assert_eq!(
        bench.ask(&command).remark.as_deref(),
        Some("crc32 not match")
    );
    let broken = broker(request::REGISTER_BROKER, 0, "h:1").body(b"{\"topicConfig".to_vec());
    let answer = bench.ask(&broken);
    assert_eq!(answer.code, response::SYSTEM_ERROR);
    assert!(answer.remark.unwrap().starts_with("the register body: "));
    assert_eq!(text(&bench.ask(&plain(206))), r#"{"topicList":[]}"#);
}

#[test]
fn a_heartbeat_and_a_version_question_keep_a_broker_alive() {
    let mut bench = Bench::new(Options::default());
    bench.register(0, "h:1", &["T", "U"]);
    let mut closed = Vec::new();
    for code in [request::BROKER_HEARTBEAT, request::QUERY_DATA_VERSION] {
        bench.pass(120);
        assert_eq!(bench.ask(&broker(code, 0, "h:1")).code, response::SUCCESS);
        bench.server.scan(|id| closed.push(id));
    }
    assert_eq!(bench.route("T").code, response::SUCCESS);
    assert!(closed.is_empty());
    bench.pass(121);
    assert_eq!(
        bench.server.scan(|id| closed.push(id)),
        Duration::from_secs(5)
    );
    assert_eq!(closed, [1]);
    assert_eq!(bench.route("T").code, response::TOPIC_NOT_EXIST);
}

#[test]
fn a_broker_goes_with_its_connection_and_one_of_our_own_process_stays() {
    let mut bench = Bench::new(Options::default());
    let own = LocalBroker {
        cluster: "DefaultCluster".into(),
        broker: "broker-b".into(),
        id: 0,
        address: "h:7".into(),
        ha_address: "h:8".into(),
    };
    let topics = ["T", "Own"]
        .map(|t| model::topic::TopicConfig::new(model::TopicName::parse(t).unwrap(), 8));
    let version = model::topic::DataVersion::default();
    let (taken, _) = bench.server.register_local(&own, version, &topics);
    assert_eq!(taken, Registered::Accepted(None));
    bench.register(0, "h:1", &["T", "U"]);
    let peer = bench.peer();
    bench.server.closed(&peer);
    bench.pass(1_000_000);
    bench.server.scan(|id| panic!("connection {id}"));
    assert_eq!(bench.route("U").code, response::TOPIC_NOT_EXIST);
    assert!(text(&bench.route("T")).contains("h:7"));
    bench
        .server
        .update_local(&own, version.next(1), &topics[..1]);
    assert_eq!(
        text(&bench.ask(&plain(206))),
        r#"{"topicList":["Own","T"]}"#
    );
    bench.server.forget_local(&own, version.next(2), "T");
    assert_eq!(bench.route("T").code, response::TOPIC_NOT_EXIST);
    bench.server.unregister_local(&own);
    assert_eq!(text(&bench.ask(&plain(206))), r#"{"topicList":[]}"#);
}

#[test]
fn the_data_version_that_is_known_is_shown() {
    let mut bench = Bench::new(Options::default());
    bench.register(0, "h:1", &["T", "U"]);
    let question = broker(request::QUERY_DATA_VERSION, 0, "h:1");
    let same = r#"{"counter":1,"stateVersion":0,"timestamp":1}"#;
    let answer = bench.ask(&question.clone().body(same.into()));
    assert_eq!(
        (answer.field("changed"), text(&answer)),
        (Some("false"), same)
    );
    let answer = bench.ask(&question.body(same.replace("1}", "2}").into_bytes()));
    assert_eq!(
        (answer.field("changed"), text(&answer)),
        (Some("true"), same)
    );
}

#[test]
fn an_ordered_topic_is_told_to_brokers_and_if_enabled_to_clients() {
    let mut bench = Bench::new(Options::default());
    let put = plain(request::PUT_KV_CONFIG)
        .with("namespace", "ORDER_TOPIC_CONFIG")
        .with("key", "T")
        .with("value", "broker-a:4");
    bench.ask(&put);
    let answer = bench.register(0, "h:1", &["T", "U"]);
    assert_eq!(text(&answer), r#"{"table":{"T":"broker-a:4"}}"#);
    assert!(!text(&bench.route("T")).contains("orderTopicConf"));
    bench.ask(&config(
        "orderMessageEnable=true\nreturnOrderTopicConfigToBroker=false",
    ));
    assert!(text(&bench.route("T")).contains(r#""orderTopicConf":"broker-a:4""#));
    assert!(!text(&bench.route("U")).contains("orderTopicConf"));
    assert_eq!(text(&bench.register(0, "h:1", &["T", "U"])), "");
}

#[test]
fn settings_change_what_is_answered() {
    let mut bench = Bench::new(Options::default());
    bench.register(0, "h:1", &["T", "U"]);
    bench.ask(&config("enableAllTopicList=false\nenableTopicList=false"));
    for code in [206, 224, 311, 312, 313] {
        let answer = bench.ask(&plain(code).with("cluster", "DefaultCluster"));
        assert_eq!(
            (answer.code, answer.remark.as_deref()),
            (1, Some("disable")),
            "{code}"
        );
    }
    bench.ask(&config("needWaitForService=true\nwaitSecondsForService=45"));
    bench.pass(44);
    assert_eq!(
        bench.route("T").remark.as_deref(),
        Some("name server not ready")
    );
    bench.pass(1);
    assert_eq!(bench.route("T").code, response::SUCCESS);
    let answer = bench.ask(&config("needWaitForService=maybe"));
    assert_eq!(
        answer.remark.as_deref(),
        Some("needWaitForService must be true or false")
    );
}

#[test]
fn an_acting_master_is_shown_if_enabled() {
    let mut bench = Bench::new(Options::default());
    let slave = register(1, "h:2", &["T", "U"]).with("enableActingMaster", "true");
    bench.ask(&slave);
    assert!(!text(&bench.route("T")).contains(r#"{"0":"h:2"}"#));
    bench.ask(&config("supportActingMaster=true"));
    let answer = bench.route("T");
    assert!(
        text(&answer).contains(r#""brokerAddrs":{"0":"h:2"}"#),
        "{}",
        text(&answer)
    );
    assert!(text(&answer).contains(r#""enableActingMaster":true"#));
}

#[test]
fn a_zone_sees_its_own_brokers_in_its_clients_dialect() {
    let mut bench = Bench::new(Options::default());
    bench.ask(&register(0, "h:1", &["T", "U"]).with("__ZONE_NAME", "z1"));
    let ask = |version, zone, mode| {
        let mut ask = plain(request::GET_ROUTEINFO_BY_TOPIC).with("topic", "T");
        ask.version = version;
        ask.with("__ZONE_MODE", mode).with("__ZONE_NAME", zone)
    };
    assert!(text(&bench.ask(&ask(479, "Z1", "true"))).contains(r#"{"0":"h:1"}"#));
    assert!(text(&bench.ask(&ask(400, "z1", "TRUE"))).contains(r#"{0:"h:1"}"#));
    assert!(text(&bench.ask(&ask(479, "z2", "true"))).contains(r#""brokerDatas":[]"#));
    assert!(text(&bench.ask(&ask(479, "z2", "false"))).contains("h:1"));
}

#[test]
fn a_change_of_the_table_is_on_disk_before_it_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        kv_path: Some(folder.path().join("namesrv/kvConfig.json")),
        config_path: Some(folder.path().join("namesrv.properties")),
        ..Options::default()
    };
    let mut bench = Bench::new(options.clone());
    let put = plain(request::PUT_KV_CONFIG)
        .with("namespace", "N")
        .with("key", "k");
    assert_eq!(
        bench.ask(&put.clone().with("value", "v")).code,
        response::SUCCESS
    );
    assert_eq!(
        bench.ask(&config("orderMessageEnable=true")).code,
        response::SUCCESS
    );
    assert_eq!(bench.cold, 2);
    let kept = std::fs::read_to_string(options.config_path.clone().unwrap()).unwrap();
    assert!(kept.contains("\norderMessageEnable=true\n"));
    let find = plain(request::GET_KV_CONFIG)
        .with("namespace", "N")
        .with("key", "k");
    let mut again = Bench::new(options);
    assert_eq!(again.ask(&find).field("value"), Some("v"));
    let delete = plain(request::DELETE_KV_CONFIG)
        .with("namespace", "N")
        .with("key", "k");
    assert_eq!(again.ask(&delete).code, response::SUCCESS);
    assert_eq!(again.ask(&find).code, response::QUERY_NOT_FOUND);
}

#[test]
fn a_table_that_cannot_be_written_is_not_a_success() {
    let folder = tempfile::tempdir().unwrap();
    let blocker = folder.path().join("file");
    std::fs::write(&blocker, "").unwrap();
    let mut bench = Bench::new(Options {
        kv_path: Some(blocker.join("kvConfig.json")),
        ..Options::default()
    });
    let put = plain(request::PUT_KV_CONFIG)
        .with("namespace", "N")
        .with("key", "k")
        .with("value", "v");
    let answer = bench.ask(&put);
    assert_eq!(answer.code, response::SYSTEM_ERROR);
    assert!(answer.remark.unwrap().contains("kvConfig.json"));
}

/// Every code, with fields and bodies as they come: an answer each, never a panic.
#[test]
fn fuzz_any_request_is_answered() {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut bench = Bench::new(Options::default());
    bench.register(0, "h:1", &["T", "U"]);
    let codes = [
        100, 101, 102, 103, 104, 105, 106, 205, 206, 216, 217, 219, 224, 304, 311, 312, 313, 318,
        319, 322, 327, 901, 904,
    ];
    let names = [
        "topic",
        "brokerName",
        "brokerAddr",
        "clusterName",
        "brokerId",
        "namespace",
        "key",
        "value",
        "cluster",
        "heartbeatTimeoutMillis",
        "bodyCrc32",
        "__ZONE_MODE",
        "__ZONE_NAME",
        "acceptStandardJsonOnly",
        "enableActingMaster",
    ];
    let values = [
        "",
        "T",
        "broker-a",
        "h:1",
        "DefaultCluster",
        "0",
        "-1",
        "9223372036854775808",
        "true",
        "é\"\\",
        "x",
    ];
    let bodies: [&[u8]; 6] = [
        b"",
        b"{}",
        b"{\"queueDatas\":[{}]}",
        b"a=b\\u0041",
        b"\x78\x9c",
        b"[1]",
    ];
    let mut refused = 0;
    for _ in 0..5_000 {
        let mut command = plain(codes[rng.usize(..codes.len())]);
        command.version = *[0, 36, 400, 479].get(rng.usize(..4)).unwrap();
        for _ in 0..rng.usize(0..8) {
            command = command.with(
                names[rng.usize(..names.len())],
                values[rng.usize(..values.len())],
            );
        }
        let answer = bench.ask(&command.body(bodies[rng.usize(..bodies.len())].to_vec()));
        refused += usize::from(answer.code != response::SUCCESS);
    }
    assert!((500..4_500).contains(&refused), "{refused}");
}

/// The table of all request codes in `docs/protocol.md` says what a name server does with each.
#[test]
fn every_request_code_is_served_or_refused_as_the_documentation_says() {
    let page = include_str!("../../../docs/protocol.md");
    for &(code, name) in request::ALL {
        let begin = format!("| {code} | {name} | ");
        let row = page.lines().find_map(|line| line.strip_prefix(&begin));
        let row = row.unwrap_or_else(|| panic!("docs/protocol.md has no row for {code} {name}"));
        let does = row.split('|').nth(1).unwrap().trim();
        let answer = Bench::new(Options::default()).frame(&Command::request(code).to_bytes());
        let served = answer.code != response::REQUEST_CODE_NOT_SUPPORTED;
        assert_eq!(served, does == "served", "{code} {name}: {answer:?}");
    }
}
