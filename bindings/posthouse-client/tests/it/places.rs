//! Where scenarios run.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use conformance::servers::{self, Server};
use posthouse::config::Config as ServerConfig;
use posthouse_client::{Client, Config, Entrance, Namespace, Transport};
use tokio::runtime::Builder;

/// No wait of these tests is longer.
pub const LIMIT: Duration = Duration::from_secs(120);

/// The binary that most tests share; Apache's servers, if `CONFORMANCE_TARGET=apache`.
fn binary() -> &'static str {
    static SERVER: OnceLock<Server> = OnceLock::new();
    &SERVER.get_or_init(servers::standalone).namesrv
}

/// The server inside this process that most tests share, and the ways into it.
fn embedded() -> &'static Config {
    static SERVER: OnceLock<(Mutex<posthouse::Server>, tempfile::TempDir, Config)> =
        OnceLock::new();
    let (_, _, config) = SERVER.get_or_init(|| {
        let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let config = ServerConfig::embedded(data.path(), "").unwrap();
        let server = posthouse::Server::start(&config).unwrap();
        let (namesrv, broker) = (server.namesrv().unwrap(), server.broker().unwrap());
        let entrance = |address: String, inside| {
            let (hub, service): (_, _) = inside;
            Entrance {
                address,
                hub,
                service,
            }
        };
        let ways = vec![
            entrance(namesrv.address().to_string(), namesrv.inside()),
            entrance(broker.advertised().to_string(), broker.inside()),
        ];
        let address = namesrv.address().to_string();
        let config = Config::new(&address).transport(Transport::Local(ways));
        (Mutex::new(server), data, config)
    });
    config
}

/// Whether Apache's servers stand in for the binary.
pub fn apache() -> bool {
    servers::apache_stands_in()
}

/// The name server of the binary.
pub fn namesrv() -> &'static str {
    binary()
}

/// A new client of the binary, over TCP.
pub fn over_tcp() -> Client {
    Client::new(Config::new(binary()))
}

/// A new client of the server in this process.
pub fn inside() -> Client {
    Client::new(embedded().clone())
}

/// The same in a namespace.
pub fn inside_in(namespace: &str) -> Client {
    let namespace = Namespace::parse(namespace).unwrap();
    Client::new(embedded().clone().namespace(namespace))
}

/// Runs a scenario at both places, on a runtime of one thread each.
pub fn everywhere(scenario: impl AsyncFn(&Client)) {
    for client in [over_tcp, inside] {
        run(async {
            let client = client();
            scenario(&client).await;
            client.shutdown().await;
        });
    }
}

/// Runs on a runtime of one thread.
pub fn run<T>(scenario: impl Future<Output = T>) -> T {
    run_on(Builder::new_current_thread(), scenario)
}

/// Runs on a runtime whose tasks begin in any order.
pub fn run_on_threads<T>(scenario: impl Future<Output = T>) -> T {
    run_on(Builder::new_multi_thread(), scenario)
}

fn run_on<T>(mut builder: Builder, scenario: impl Future<Output = T>) -> T {
    binary(); // it may have to be built: no part of the scenario's time
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, scenario).await.unwrap() })
}

/// A name that no other test has.
pub fn fresh(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{count}-{}", std::process::id())
}

/// Asks again and again until the answer is the one that is waited for.
pub async fn until<T>(mut ask: impl AsyncFnMut() -> T, found: impl Fn(&T) -> bool) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        let answer = ask().await;
        if found(&answer) {
            return answer;
        }
        assert!(Instant::now() < end, "it did not come");
        tokio::task::yield_now().await;
    }
}
