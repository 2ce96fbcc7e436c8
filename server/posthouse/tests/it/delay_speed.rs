//! What delayed messages cost, and how exactly they come. A measurement, in release:
//! `cargo test --release -p posthouse --test it delay_speed -- --ignored --nocapture --test-threads 1`

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::record::View;
use remoting::Command;
use remoting::code::{request, response};

use crate::client::{Client, pull, send, with_properties};
use crate::process::Posthouse;

const TOPIC: &str = "later";
const QUEUES: u32 = 4;

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_millis() as i64
}

fn start(data: &Path, flush: &str) -> Posthouse {
    std::fs::write(
        data.join("broker.conf"),
        format!("flushDiskType={flush}\nbrokerName=b\ntimerMaxDelaySec=315000000\n"),
    )
    .unwrap();
    let config = data.join("broker.conf");
    Posthouse::start("standalone", data, &["-c", config.to_str().unwrap()])
}

/// Sends `count` messages with 512 on their way; `properties` of each by its number.
fn send_many(client: &mut Client, count: usize, mut properties: impl FnMut(usize) -> String) {
    let mut answered = 0;
    let take = |client: &mut Client| {
        assert_eq!(client.next().unwrap().code, response::SUCCESS);
    };
    for n in 0..count {
        let send = send(TOPIC, n as u32 % QUEUES, &[b'x'; 128]);
        client.post(with_properties(send, &properties(n))).unwrap();
        if n - answered >= 512 {
            take(client);
            answered += 1;
        }
    }
    (answered..count).for_each(|_| take(client));
}

fn ends(client: &mut Client) -> u64 {
    let of = |queue: u32| {
        Command::request(request::GET_MAX_OFFSET)
            .with("topic", TOPIC)
            .with("queueId", queue)
    };
    let mut end = |queue| {
        let answer = client.call(of(queue)).unwrap();
        answer.field("offset").map_or(0, |end| end.parse().unwrap())
    };
    (0..QUEUES).map(&mut end).sum()
}

/// Anonymous memory of a process, MiB.
fn memory(server: &Posthouse) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib: u64 = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib / 1024
}

#[test]
#[ignore = "a measurement"]
fn a_million_that_wait() {
    let data = tempfile::tempdir().unwrap();
    let mut server = start(data.path(), "ASYNC_FLUSH");
    let mut client = Client::connect(server.broker()).unwrap();
    send_many(&mut client, 1, |_| String::new());
    let idle = memory(&server);
    let began = Instant::now();
    let far = now() + 86_400_000;
    send_many(&mut client, 1_000_000, |n| {
        // In no order.
        let due = far + (n as i64).wrapping_mul(7_919) % 50_000_000;
        format!("TIMER_DELIVER_MS\u{1}{due}\u{2}")
    });
    println!("1,000,000 sent in {:?}", began.elapsed());
    println!("memory: idle {idle} MiB, then {} MiB", memory(&server));
    server.kill();
    let began = Instant::now();
    let server = start(data.path(), "ASYNC_FLUSH");
    println!(
        "started again in {:?}: {} MiB",
        began.elapsed(),
        memory(&server)
    );
}

#[test]
#[ignore = "a measurement"]
fn a_hundred_thousand_overdue() {
    for flush in ["SYNC_FLUSH", "ASYNC_FLUSH"] {
        let data = tempfile::tempdir().unwrap();
        let mut server = start(data.path(), flush);
        let mut client = Client::connect(server.broker()).unwrap();
        let due = now() + 8_000;
        send_many(&mut client, 100_000, |_| {
            format!("TIMER_DELIVER_MS\u{1}{due}\u{2}")
        });
        assert!(now() < due);
        server.kill();
        let (_never, pause) = std::sync::mpsc::channel::<()>();
        let _ = pause.recv_timeout(Duration::from_millis((due - now()).max(0) as u64 + 100));
        let began = Instant::now();
        let server = start(data.path(), flush);
        let mut client = Client::connect(server.broker()).unwrap();
        while ends(&mut client) < 100_000 {
            assert!(began.elapsed() < Duration::from_secs(60));
        }
        println!(
            "{flush}: 100,000 overdue came in {:?}, the start included",
            began.elapsed()
        );
    }
}

#[test]
#[ignore = "a measurement"]
fn five_thousand_due_a_second() {
    for flush in ["SYNC_FLUSH", "ASYNC_FLUSH"] {
        let data = tempfile::tempdir().unwrap();
        let server = start(data.path(), flush);
        let mut client = Client::connect(server.broker()).unwrap();
        let first = now() + 3_000;
        send_many(&mut client, 25_000, |n| {
            format!("TIMER_DELIVER_MS\u{1}{}\u{2}", first + n as i64 / 5)
        });
        assert!(now() < first);
        // Readers that wait, one a queue: when each message came into their hands.
        let address = server.broker();
        let mut late: Vec<i64> = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..QUEUES)
                .map(|queue| scope.spawn(move || lateness(address, queue, 6_250)))
                .collect();
            readers
                .into_iter()
                .flat_map(|reader| reader.join().unwrap())
                .collect()
        });
        late.sort_unstable();
        assert!(late[0] >= 0, "{} ms early", -late[0]);
        let at = |share: f64| late[(late.len() as f64 * share) as usize - 1];
        println!(
            "{flush}: 5,000 a second came late by p50 {} p99 {} p99.9 {} max {} ms",
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0)
        );
    }
}

fn lateness(address: std::net::SocketAddr, queue: u32, count: usize) -> Vec<i64> {
    let mut client = Client::connect(address).unwrap();
    let (mut late, mut next) = (Vec::new(), 0);
    while late.len() < count {
        let mut request = pull(TOPIC, queue, next);
        let fields = request.ext.get_or_insert_default();
        fields.retain(|(name, _)| !["sysFlag", "suspendTimeoutMillis"].contains(&name.as_str()));
        let request = request
            .with("sysFlag", 6)
            .with("suspendTimeoutMillis", 10_000);
        let answer = client.call(request).unwrap();
        let came = now();
        let mut body = &answer.body[..];
        while let Ok(view) = View::parse(body) {
            let due: i64 = view.property("TIMER_OUT_MS").unwrap().parse().unwrap();
            late.push(came - due);
            next = view.queue_offset().0 + 1;
            body = &body[view.len()..];
        }
    }
    late
}
