//! The name server behind real sockets: what only a connection can show.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use namesrv::route::Topics;
use namesrv::{LocalBroker, NameServer, Options};
use remoting::client::Client;
use remoting::code::{request, response};
use remoting::server::{Door, Hub, Listener, Running, Server};
use remoting::{Command, Serialize};

const LONG: Duration = Duration::from_secs(10);

struct Ns {
    server: Arc<NameServer>,
    hub: Arc<Hub>,
    running: Running,
}

impl Ns {
    fn start(options: Options) -> Ns {
        let start = Instant::now();
        let server = Arc::new(NameServer::new(options, Arc::new(move || start.elapsed())));
        let hub = Hub::new(1);
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), Door::Main).unwrap();
        let options = remoting::server::Options::default();
        let running = Server::start(vec![listener], options, hub.clone(), server.clone());
        Ns {
            server,
            hub,
            running: running.unwrap(),
        }
    }

    fn address(&self) -> SocketAddr {
        self.running.addresses()[0]
    }

    fn topics(&self) -> usize {
        self.server.routes().topics(Topics::All).len()
    }
}

/// Asks until the topic has no route.
async fn until_gone(client: &Client, topic: &str) {
    let gone = async { while ask(client, route(topic)).await.code == response::SUCCESS {} };
    tokio::time::timeout(LONG, gone).await.unwrap();
}

fn register(timeout: u64) -> Command {
    let body = br#"{"topicConfigSerializeWrapper":{"topicConfigTable":{"T":{"topicName":"T"},"U":{"topicName":"U"}}}}"#;
    Command::request(request::REGISTER_BROKER)
        .with("brokerName", "broker-a")
        .with("brokerAddr", "127.0.0.1:10911")
        .with("clusterName", "c")
        .with("brokerId", 0)
        .with("heartbeatTimeoutMillis", timeout)
        .body(body.to_vec())
}

fn route(topic: &str) -> Command {
    Command::request(request::GET_ROUTEINFO_BY_TOPIC).with("topic", topic)
}

async fn ask(client: &Client, command: Command) -> Command {
    client.invoke(command, LONG).await.unwrap()
}

#[tokio::test]
async fn a_broker_is_gone_as_soon_as_its_connection_closes() {
    let ns = Ns::start(Options::default());
    let broker = Client::new(ns.address());
    let client = Client::new(ns.address());
    assert_eq!(
        ask(&broker, register(120_000)).await.code,
        response::SUCCESS
    );
    assert_eq!(ask(&client, route("T")).await.code, response::SUCCESS);
    broker.close().await;
    until_gone(&client, "T").await;
    assert_eq!(ns.topics(), 0);
}

#[tokio::test]
async fn an_expired_broker_loses_its_connection() {
    let ns = Ns::start(Options::default());
    let broker = Client::new(ns.address());
    ask(&broker, register(1)).await;
    let client = Client::new(ns.address());
    let scanned = async {
        while ask(&client, route("T")).await.code == response::SUCCESS {
            ns.server.scan(|connection| ns.hub.close(connection));
        }
    };
    tokio::time::timeout(LONG, scanned).await.unwrap();
    // The next call finds the connection broken, or already makes a new one.
    let again = async { while broker.invoke(register(120_000), LONG).await.is_err() {} };
    tokio::time::timeout(LONG, again).await.unwrap();
    assert_eq!(ns.topics(), 2);
}

#[tokio::test]
async fn a_table_is_on_disk_when_the_answer_comes_and_other_requests_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kvConfig.json");
    let ns = Ns::start(Options {
        kv_path: Some(path.clone()),
        ..Options::default()
    });
    let client = Client::new(ns.address());
    let put = |key: usize| {
        Command::request(request::PUT_KV_CONFIG)
            .with("namespace", "N")
            .with("key", key)
            .with("value", "v")
    };
    for key in 0..20 {
        let (put, other) = tokio::join!(ask(&client, put(key)), ask(&client, route("T")));
        assert_eq!(put.code, response::SUCCESS);
        assert_eq!(other.code, response::TOPIC_NOT_EXIST);
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(kept.contains(&format!("\"{key}\":\"v\"")), "{kept}");
    }
}

#[tokio::test]
async fn a_local_broker_is_routable_for_json_and_binary_headers() {
    let ns = Ns::start(Options::default());
    let local = LocalBroker {
        cluster: "c".into(),
        broker: "broker-l".into(),
        id: 0,
        address: "127.0.0.1:10911".into(),
        ha_address: "127.0.0.1:10912".into(),
    };
    let topics = ["T", "U"]
        .map(|name| model::topic::TopicConfig::new(model::TopicName::parse(name).unwrap(), 8));
    ns.server
        .register_local(&local, model::topic::DataVersion::default(), &topics);
    let client = Client::new(ns.address());
    for serialize in [Serialize::Json, Serialize::Binary] {
        let answer = ask(
            &client,
            Command {
                serialize,
                ..route("U")
            },
        )
        .await;
        assert_eq!(answer.serialize, serialize);
        let body = String::from_utf8(answer.body).unwrap();
        assert!(
            body.contains(r#""brokerAddrs":{"0":"127.0.0.1:10911"}"#),
            "{body}"
        );
    }
}

#[tokio::test]
async fn several_name_servers_share_nothing() {
    let (one, two) = (Ns::start(Options::default()), Ns::start(Options::default()));
    let broker = Client::new(one.address());
    ask(&broker, register(120_000)).await;
    assert_eq!((one.topics(), two.topics()), (2, 0));
}
