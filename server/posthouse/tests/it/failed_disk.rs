//! A disk that fails under a running broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use posthouse::clock::RealClock;
use posthouse::config::Config;
use posthouse::node::{Broker, Ground};
use remoting::code::{request, response};
use remoting::{Command, Serialize};
use store::disk::sim::{Fault, Sim};

use crate::client::Client;

fn send() -> Command {
    Command::request(request::SEND_MESSAGE_V2)
        .with("a", "producers")
        .with("b", "failing")
        .with("c", "TBW102")
        .with("d", "4")
        .with("e", "0")
        .with("f", "0")
        .with("g", "1")
        .with("h", "0")
        .with("i", "")
        .with("j", "0")
        .body(b"hello".to_vec())
}

#[test]
fn who_waits_for_a_flush_that_fails_hears_of_it_at_once_and_never_that_it_is_stored() {
    let data = tempfile::tempdir().unwrap();
    // Who is not told at once would wait longer than this test does.
    let config = "syncFlushTimeout=60000\nmappedFileSizeCommitLog=16777216\n";
    let config = Config::embedded(data.path(), config).unwrap();
    let sim = Arc::new(Sim::default());
    let disk = Arc::clone(&sim);
    let clock = Arc::new(RealClock::new());
    let broker = Broker::prepare_on(&config, clock, None, Ground::on(disk));
    let mut broker = broker.unwrap();
    broker.open().unwrap();
    let mut clients: Vec<_> = (0..3)
        .map(|_| Client::connect(broker.address()).unwrap())
        .collect();
    for client in &mut clients {
        assert_eq!(client.call(send()).unwrap().code, response::SUCCESS);
    }
    sim.inject(Fault::SyncError, 0);
    let start = Instant::now();
    for client in &mut clients {
        for n in 0..8 {
            let mut request = send();
            if n % 2 == 1 {
                request.serialize = Serialize::Binary;
            }
            client.post(request).unwrap();
        }
    }
    for client in &mut clients {
        for _ in 0..8 {
            let answer = client.next().unwrap();
            assert_eq!(answer.code, response::SERVICE_NOT_AVAILABLE);
            assert_eq!(answer.field("queueOffset"), None, "no place was given");
            let remark = answer.remark.unwrap_or_default();
            assert!(remark.contains("the simulated disk failed"), "{remark}");
        }
    }
    assert!(start.elapsed() < Duration::from_secs(10));
    broker.stop(Duration::from_secs(2));
}
