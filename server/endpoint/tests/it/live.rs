//! The door behind real sockets: what the broker says unasked reaches the clients, and one connection's
//! send wakes another's pull.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use broker::{Broker, Options};
use endpoint::{Clients, Endpoint};
use remoting::Command;
use remoting::client::{self, Client};
use remoting::code::request::*;
use remoting::code::response::*;
use remoting::server::{self, Door, Hub, Listener, Running, Server};
use store::clock::ManualClock;
use store::disk::memory::Memory;
use store::{Flush, Store};
use tokio::runtime::Runtime;

use crate::say::{beat, but, create_topic, pull, send};
use crate::world::{Heard, NOW};

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

struct Live {
    running: Running,
    runtime: Runtime,
}

impl Live {
    fn start() -> Live {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), Door::Main).unwrap();
        let address = listener.address().unwrap();
        let clock = Arc::new(ManualClock::new(NOW));
        let options = store::Options {
            flush: Flush::Async,
            segment_size: 64 << 20,
            store_host: address,
            ..store::Options::default()
        };
        let (store, _) = Store::open(options, Arc::new(Memory::default()), clock.clone()).unwrap();
        let hub = Hub::new(2);
        let broker = Broker::open(
            Options::new("DefaultCluster", "broker-a", address),
            Arc::new(store),
            clock,
            Arc::new(Clients::new(hub.clone())),
            Arc::new(Heard::default()),
        );
        let service = Arc::new(Endpoint::new(Arc::new(broker)));
        let options = server::Options::default();
        Live {
            running: Server::start(vec![listener], options, hub, service).unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    fn address(&self) -> SocketAddr {
        self.running.addresses()[0]
    }

    /// A client, and what reaches it unasked.
    fn client(&self) -> (Client, Receiver<Command>) {
        let (heard, hears): (Sender<Command>, _) = channel();
        let incoming = Arc::new(move |command: Command| {
            let _ = heard.send(command);
            client::Heard::Nothing
        });
        (Client::with_incoming(self.address(), incoming), hears)
    }

    fn ask(&self, client: &Client, request: Command) -> Command {
        self.runtime
            .block_on(client.invoke(request, LIMIT))
            .unwrap()
    }

    /// The next command that reaches a client unasked.
    fn hear(&self, hears: &Receiver<Command>) -> Command {
        let until = Instant::now() + LIMIT;
        loop {
            // The client reads while its runtime turns.
            self.runtime.block_on(tokio::task::yield_now());
            if let Ok(command) = hears.try_recv() {
                return command;
            }
            assert!(Instant::now() < until, "nothing was heard");
        }
    }
}

#[test]
fn members_are_told_on_their_own_connections_with_numbers_of_the_brokers_own() {
    let live = Live::start();
    let (first, first_hears) = live.client();
    let (second, _second_hears) = live.client();
    assert_eq!(live.ask(&first, beat("a", "g", "T", "*", 1)).code, SUCCESS);
    let joined = live.hear(&first_hears);
    assert_eq!(live.ask(&second, beat("b", "g", "T", "*", 1)).code, SUCCESS);
    let other_joined = live.hear(&first_hears);
    for told in [&joined, &other_joined] {
        assert_eq!(told.code, NOTIFY_CONSUMER_IDS_CHANGED);
        assert_eq!(told.flag, 2);
        assert_eq!(told.field("consumerGroup"), Some("g"));
    }
    assert_ne!(joined.opaque, other_joined.opaque);
    live.runtime.block_on(second.close());
    assert_eq!(live.hear(&first_hears).code, NOTIFY_CONSUMER_IDS_CHANGED);
    let members = Command::request(GET_CONSUMER_LIST_BY_GROUP).with("consumerGroup", "g");
    let members = live.ask(&first, members);
    assert_eq!(members.body, br#"{"consumerIdList":["a"]}"#);
}

#[test]
fn a_send_on_one_connection_wakes_the_pull_of_another() {
    let live = Live::start();
    let (consumer, _) = live.client();
    let (producer, _) = live.client();
    live.ask(&producer, create_topic("T", 1, 6));
    live.runtime.block_on(async {
        let held = but(pull("g", "T", 0, 0), "sysFlag", 4 | 2);
        let held = consumer.invoke(held, LIMIT);
        let sent = async {
            // The pull is on its way first; if the message wins, it is found at once.
            tokio::task::yield_now().await;
            producer.invoke(send("T", b"woken"), LIMIT).await
        };
        let start = Instant::now();
        let (found, sent) = tokio::join!(held, sent);
        assert_eq!(sent.unwrap().code, SUCCESS);
        let found = found.unwrap();
        assert_eq!(
            (found.code, found.remark.as_deref()),
            (SUCCESS, Some("FOUND"))
        );
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "it was not woken"
        );
    });
}

/// Tables go through the blocking pool, between requests that do not.
#[test]
fn a_large_table_does_not_keep_the_connection_waiting() {
    let live = Live::start();
    let (client, _) = live.client();
    live.runtime.block_on(async {
        let table = client.invoke(Command::request(GET_ALL_TOPIC_CONFIG), LIMIT);
        let sent = client.invoke(send("T", b"x"), LIMIT);
        let (table, sent) = tokio::join!(table, sent);
        assert_eq!(sent.unwrap().code, SUCCESS);
        let table = table.unwrap();
        let table: remoting::body::TopicConfigTable =
            remoting::body::from_slice(&table.body).unwrap();
        assert!(table.topic_config_table.contains_key("TBW102"));
    });
}
