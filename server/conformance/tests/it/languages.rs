//! Python and Node beside Java 5.3.3, at our server and at Apache's: what one wrote the other reads; and both play the
//! table of scenarios there. And with a server of Apache's that wants TLS and signatures.
//!
//! They run the packages as `cargo xtask test` installed them: `POSTHOUSE_PYTHON` is that environment's interpreter,
//! `POSTHOUSE_NODE` a folder from which Node finds the package. Without them these tests are left out.
#![allow(clippy::unwrap_used)] // a test stops at the first surprise

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use conformance::clients::Client;
use conformance::servers::{self, Apache, Extra, Server};
use conformance::toolchain::Release;
use serde_json::Value;

use crate::java::client_5_3_3;
use crate::{shared, skipped};

/// A language whose package is installed here.
enum Peer {
    Python(PathBuf),
    Node(PathBuf),
}

impl Peer {
    /// `None`, and said, if it is not.
    fn python() -> Option<Peer> {
        Some(Peer::Python(installed("POSTHOUSE_PYTHON")?))
    }

    fn node() -> Option<Peer> {
        Some(Peer::Node(installed("POSTHOUSE_NODE")?))
    }

    /// Runs it to its end; what it told.
    fn run(&self, words: &[&str], environment: &[(&str, &str)]) -> Vec<Value> {
        let home = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = match self {
            Peer::Python(interpreter) => {
                let mut command = Command::new(interpreter);
                command.arg(home.join("python/peer.py"));
                command
            }
            Peer::Node(folder) => {
                let mut command = Command::new("node");
                command.arg(home.join("node/peer.mjs")).current_dir(folder);
                command
            }
        };
        command.envs(environment.iter().copied());
        let output = command.args(words).stdin(Stdio::null()).output().unwrap();
        let wrong = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {wrong}");
        let text = String::from_utf8(output.stdout).unwrap();
        let event = |line| serde_json::from_str(line).unwrap();
        text.lines().map(event).collect()
    }

    /// Plays `bindings/scenarios.json` by the language's own runner, against this server alone. `apache`: whose
    /// deviations are expected.
    fn play(&self, namesrv: &str, apache: Option<&str>) {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let mut command = match self {
            Peer::Python(interpreter) => {
                let mut command = Command::new(interpreter);
                command.args(["-X", "dev", "-m", "pytest", "-p", "no:cacheprovider", "-c"]);
                command.arg(root.join("python/pyproject.toml"));
                command.arg(root.join("python/tests/test_scenarios_asyncio.py"));
                // Not the folder of the sources: what is installed is meant.
                command.current_dir(env!("CARGO_TARGET_TMPDIR"));
                command
            }
            Peer::Node(folder) => {
                let mut command = Command::new("node");
                command.args(["--test", "--test-reporter=tap"]);
                command.arg(root.join("node/test/scenarios.test.js"));
                command.current_dir(folder);
                command
            }
        };
        command.env("POSTHOUSE_SCENARIOS_AT", namesrv);
        if let Some(release) = apache {
            command.env("POSTHOUSE_SCENARIOS_APACHE", release);
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let all = match self {
            Peer::Python(_) => format!("{} passed in ", scenarios()),
            Peer::Node(_) => format!("\n# pass {}\n", scenarios()),
        };
        assert!(output.status.success() && text.contains(&all), "{text}");
    }
}

/// How many there are.
fn scenarios() -> usize {
    let table: Value =
        serde_json::from_str(include_str!("../../../../bindings/scenarios.json")).unwrap();
    table["scenarios"].as_array().unwrap().len()
}

fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os(name).map(PathBuf::from);
    if path.is_none() {
        eprintln!("skipped: {name} names no installed package");
    }
    path
}

fn fresh(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{n}-{}", std::process::id())
}

/// Java at Apache's own broker, which all of these tests share.
fn at_apache() -> (&'static str, &'static Client) {
    static APACHE: OnceLock<(Server, Client)> = OnceLock::new();
    let (server, java) = APACHE.get_or_init(|| {
        let server = servers::apache(Apache::Both);
        let java = Client::java(Release::V5, "languages-at-apache", &[], &server.namesrv);
        (server, java)
    });
    (&server.namesrv, java)
}

fn at_ours() -> (&'static str, &'static Client) {
    (&shared().namesrv, client_5_3_3::client())
}

/// A message, whoever got it: what was said of it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Got {
    tag: String,
    body: Vec<u8>,
    keys: Vec<String>,
    sharding_key: Option<String>,
    own: Vec<String>,
}

fn text<'a>(event: &'a Value, name: &str) -> Option<&'a str> {
    event[name].as_str()
}

/// From Java's words, or from a peer's.
fn got(event: &Value) -> Got {
    let own = |name: &str| text(event, &format!("p.{name}")).map(|value| format!("{name}={value}"));
    let keys = match event["keys"].as_array() {
        Some(keys) => keys
            .iter()
            .map(|key| key.as_str().unwrap().to_owned())
            .collect(),
        None => {
            let keys = text(event, "p.KEYS").unwrap_or_default().split_whitespace();
            keys.map(str::to_owned).collect()
        }
    };
    let sharding_key = text(event, "key").or(text(event, "p.__SHARDINGKEY"));
    Got {
        tag: text(event, "tag")
            .or(text(event, "p.TAGS"))
            .unwrap()
            .to_owned(),
        body: BASE64_STANDARD
            .decode(text(event, "bytes").unwrap())
            .unwrap(),
        keys,
        sharding_key: sharding_key.map(str::to_owned),
        own: ["region", "Stadt"].into_iter().filter_map(own).collect(),
    }
}

/// All that is sent, whoever sends it.
fn expected() -> BTreeSet<Got> {
    let plain = |tag: &str, body: &[u8]| Got {
        tag: tag.to_owned(),
        body: body.to_owned(),
        keys: Vec::new(),
        sharding_key: None,
        own: Vec::new(),
    };
    let every_byte: Vec<u8> = (0..=255).collect();
    let full = Got {
        keys: vec!["k-1".to_owned(), "k-2".to_owned()],
        own: vec!["region=hz".to_owned(), "Stadt=Köln ☕".to_owned()],
        ..plain("TagA", "Grüße, 世界 🚀".as_bytes())
    };
    let step = |n| Got {
        sharding_key: Some(format!("customer-{}", n % 2)),
        ..plain("step", format!("step {n}").as_bytes())
    };
    let others = [
        full,
        plain("bytes", &every_byte),
        plain("delayed", b"a second late"),
    ];
    (0..6).map(step).chain(others).collect()
}

/// What was read is what was sent: each once, under its id, a customer's in one queue and in order.
fn compare(sent: &[Value], read: &[Value]) {
    let read: Vec<&Value> = read
        .iter()
        .filter(|event| event["event"] == "got")
        .collect();
    assert_eq!(read.len(), 9, "each once");
    let all: BTreeSet<Got> = read.iter().map(|event| got(event)).collect();
    assert_eq!(all, expected());
    let ids: BTreeSet<&str> = read
        .iter()
        .map(|event| text(event, "id").unwrap())
        .collect();
    let told = sent.iter().filter(|event| event["event"] == "sent");
    let told: Vec<&str> = told.map(|event| text(event, "id").unwrap()).collect();
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|id| ids.contains(id)), "{told:?} {ids:?}");
    for customer in ["customer-0", "customer-1"] {
        let own = |event: &&&Value| got(event).sharding_key.as_deref() == Some(customer);
        let mut own: Vec<_> = read.iter().filter(own).collect();
        own.sort_by_key(|event| event["offset"].as_u64());
        let queues: BTreeSet<u64> = own
            .iter()
            .map(|one| one["queue"].as_u64().unwrap())
            .collect();
        assert_eq!(queues.len(), 1, "queues of {customer}");
        let order: Vec<Vec<u8>> = own.iter().map(|event| got(event).body).collect();
        assert!(order.is_sorted(), "{order:?}");
    }
}

/// Each reads what the other wrote, delayed messages no sooner than they are due.
fn both_ways(peer: &Peer, (namesrv, java): (&str, &Client), namespace: &str) {
    let environment = [("POSTHOUSE_NAMESPACE", namespace)];
    let topic = fresh("theirs");
    let settings = [("topic", &*topic), ("namespace", namespace)];
    let sent = java.play("mixed-send", &settings);
    let words = ["read", namesrv, &topic, &fresh("reads"), "9"];
    let read = peer.run(&words, &environment);
    compare(&sent, &read);
    let late = read.iter().find(|event| event["tag"] == "delayed").unwrap();
    assert!(late["late"].as_f64() >= Some(1.0), "{late}");

    let topic = fresh("ours");
    let sent = peer.run(&["send", namesrv, &topic, "-"], &environment);
    let group = fresh("java-reads");
    let settings = [
        ("topic", &*topic),
        ("group", &group),
        ("count", "9"),
        ("namespace", namespace),
    ];
    compare(&sent, &java.play("mixed-member", &settings));
}

#[test]
fn python_and_java_read_each_other() {
    let Some(python) = Peer::python() else { return };
    if !skipped(&["java", "mvn"]) {
        both_ways(&python, at_ours(), "");
    }
}

#[test]
fn node_and_java_read_each_other() {
    let Some(node) = Peer::node() else { return };
    if !skipped(&["java", "mvn", "node"]) {
        both_ways(&node, at_ours(), "");
    }
}

#[test]
fn python_and_java_read_each_other_at_apache() {
    let Some(python) = Peer::python() else { return };
    if !skipped(&["java", "mvn"]) {
        both_ways(&python, at_apache(), "");
    }
}

#[test]
fn node_and_java_read_each_other_at_apache() {
    let Some(node) = Peer::node() else { return };
    if !skipped(&["java", "mvn", "node"]) {
        both_ways(&node, at_apache(), "");
    }
}

#[test]
fn python_and_node_read_each_other() {
    let (Some(python), Some(node)) = (Peer::python(), Peer::node()) else {
        return;
    };
    let namesrv = &*shared().namesrv;
    for (writes, reads) in [(&python, &node), (&node, &python)] {
        let topic = fresh("between");
        let sent = writes.run(&["send", namesrv, &topic, "-"], &[]);
        let read = reads.run(&["read", namesrv, &topic, &fresh("reads"), "9"], &[]);
        compare(&sent, &read);
    }
}

#[test]
fn python_and_node_share_a_namespace_with_java() {
    let peers = [Peer::python(), Peer::node()];
    if !skipped(&["java", "mvn"]) {
        for peer in peers.iter().flatten() {
            both_ways(peer, at_ours(), "eu-west");
        }
    }
}

/// At the same time: most of a scenario is waiting.
fn all_play(namesrv: &str, apache: Option<&str>) {
    let peers = [Peer::python(), Peer::node()];
    std::thread::scope(|threads| {
        for peer in peers.iter().flatten() {
            threads.spawn(|| peer.play(namesrv, apache));
        }
    });
}

#[test]
fn python_and_node_play_the_scenarios() {
    all_play(&shared().namesrv, None);
}

#[test]
fn python_and_node_play_the_scenarios_at_apache() {
    if !skipped(&["java", "mvn"]) {
        all_play(at_apache().0, Some(Release::V5.version()));
    }
}

#[test]
fn an_apache_that_wants_tls_and_signatures_gets_both() {
    let peers = [Peer::python(), Peer::node()];
    let peers: Vec<Peer> = peers.into_iter().flatten().collect();
    if peers.is_empty() || skipped(&["java", "mvn"]) {
        return;
    }
    let extra = Extra {
        jvm: &["-Dtls.server.mode=enforcing", "-Dtls.enable=true"],
        broker: servers::AUTH,
        ..Extra::default()
    };
    let server = servers::apache_with(Release::V5, Apache::Both, &extra);
    for peer in &peers {
        let (topic, group) = (fresh("secure"), fresh("reads"));
        let secure = [("PEER_SECURE", "rocketmq:12345678")];
        let sent = peer.run(&["send", &server.namesrv, &topic, "-"], &secure);
        let read = peer.run(&["read", &server.namesrv, &topic, &group, "9"], &secure);
        compare(&sent, &read);
    }
}
