//! What HTTP callers are told when a broker does not answer, is gone, lost its disk, or was configured not to do something.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::{Value, json};

use crate::http::address;
use crate::process::{LIMIT, Posthouse, command};

/// What a caller got.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Holds a problem against what is promised of it.
    fn is(&self, status: u16, slug: &str, retryable: bool) -> &Answer {
        let told = self.json();
        assert_eq!(self.status, status, "{told}");
        assert_eq!(told["type"], format!("/problems/{slug}"), "{told}");
        assert_eq!(told["status"], status, "{told}");
        assert_eq!(told["retryable"], retryable, "{told}");
        assert!(
            told["instance"].is_string() && told["detail"].is_string(),
            "{told}"
        );
        let problem = "content-type: application/problem+json";
        assert!(self.head.contains(problem), "{}", self.head);
        self
    }
}

fn ask(to: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut socket = TcpStream::connect(to).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let kind = match body.is_empty() {
        true => "",
        false => "Content-Type: application/json\r\n",
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n{kind}{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all((head + body).as_bytes()).unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

fn post(to: SocketAddr, path: &str, body: &Value) -> Answer {
    ask(to, "POST", path, "", &body.to_string())
}

fn put(to: SocketAddr, path: &str) {
    let answer = ask(to, "PUT", path, "", "");
    assert_eq!(answer.status, 201, "{}", answer.body);
}

fn gateway(server: &Posthouse, secret: &Path) -> Posthouse {
    if !secret.exists() {
        std::fs::write(secret, format!("{}\n", "5a".repeat(32))).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(secret, mode).unwrap();
    }
    let mut gateway = command();
    gateway.args(["gateway", "-n", &server.namesrv().to_string()]);
    gateway.arg("--token-secret-file").arg(secret);
    Posthouse::spawn(gateway)
}

/// Stops a process, and returns when all of its threads stand still.
fn stop(server: &Posthouse) {
    server.signal(Signal::STOP);
    let tasks = format!("/proc/{}/task", server.pid());
    let end = Instant::now() + LIMIT;
    let stands = |task: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_none_or(|(_, rest)| rest.starts_with('T'))
    };
    while !std::fs::read_dir(&tasks).unwrap().all(stands) {
        assert!(Instant::now() < end, "it goes on");
        std::thread::yield_now();
    }
}

/// A gateway and a standalone behind it, with what callers hold of a topic.
struct Pair {
    server: Posthouse,
    gateway: Posthouse,
    to: SocketAddr,
    lease: String,
    transaction: String,
    handle: String,
}

impl Pair {
    fn begin(data: &Path) -> Pair {
        let server = Posthouse::standalone(&data.join("store"));
        let gateway = gateway(&server, &data.join("secret"));
        let to = address(&gateway, "HTTP ");
        put(to, "/v1/topics/t");
        put(to, "/v1/groups/g");
        let sent = post(to, "/v1/topics/t/messages", &json!({"body": "one"}));
        assert_eq!(sent.status, 201, "{}", sent.body);
        let receive = "/v1/groups/g/messages:receive?topic=t&tag=*&wait=20s&lease=1h";
        let got = ask(to, "POST", receive, "", "").json();
        let half = json!({"body": "half", "check_after": "1h"});
        let begun = post(to, "/v1/topics/t/transactions", &half).json();
        let later = json!({"body": "later", "delay": "1h"});
        let delayed = post(to, "/v1/topics/t/messages", &later).json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Pair {
            lease: text(&got["messages"][0]["lease_id"]),
            transaction: text(&begun["transaction_id"]),
            handle: text(&delayed["recall_handle"]),
            server,
            gateway,
            to,
        }
    }
}

#[test]
fn a_broker_that_stands_still_is_told_apart_by_what_nobody_knows() {
    let data = tempfile::tempdir().unwrap();
    let pair = Pair::begin(data.path());
    let to = pair.to;
    put(to, "/v1/topics/u");
    let known = post(to, "/v1/topics/u/messages", &json!({"body": "x"}));
    assert_eq!(known.status, 201, "{}", known.body);
    stop(&pair.server);
    // Sends: they may be stored.
    let one = json!({"body": "two"}).to_string();
    let key = "Idempotency-Key: k-1\r\n";
    let messages = "/v1/topics/t/messages";
    let within = |path: &str| format!("{path}?timeout=200ms");
    let path = within(messages);
    let two = json!({"messages": [{"body": "a", "id": "a"}, {"body": "b", "message_group": "g"}]});
    let half = within("/v1/topics/t/transactions");
    post(to, &half, &json!({"body": "x"})).is(504, "publish-outcome-unknown", true);
    let batch = post(to, &within("/v1/topics/u/messages:batch"), &two);
    assert_eq!(batch.status, 207, "{}", batch.body);
    let batch = batch.json();
    assert_eq!(
        (&batch["failed"], &batch["results"][0]["status"]),
        (&json!(2), &json!(504))
    );
    let kind = &batch["results"][0]["problem"]["type"];
    assert_eq!(kind, "/problems/publish-outcome-unknown", "{batch}");
    let begun = Instant::now();
    let unknown = ask(to, "POST", &path, key, &one);
    unknown.is(504, "publish-outcome-unknown", true);
    assert_eq!(unknown.json()["code"], 50_400);
    // What was known of the topic is not believed any more: that is asked first, and nothing is sent.
    let raw = within(&format!("{messages}:raw"));
    ask(to, "POST", &raw, "", "raw").is(504, "broker-timeout", true);
    assert!(
        begun.elapsed().as_secs() < 2,
        "the caller's time, not ours: {:?}",
        begun.elapsed()
    );
    // All else can simply be asked again.
    let half = format!("/v1/topics/t/transactions/{}", pair.transaction);
    let late = ask(to, "GET", &within(&half), "", "");
    late.is(504, "broker-timeout", true);
    assert_eq!(late.json()["code"], 50_400);
    let decide = json!({"resolution": "commit"}).to_string();
    let path = within(&format!("{half}/resolution"));
    ask(to, "PUT", &path, "", &decide).is(504, "broker-timeout", true);
    let path = within(&format!("/v1/topics/t/scheduled-messages/{}", pair.handle));
    ask(to, "DELETE", &path, "", "").is(504, "broker-timeout", true);
    let path = "/v1/groups/g/messages:receive?topic=t&wait=0s";
    ask(to, "POST", path, "", "").is(504, "broker-timeout", true);
    ask(to, "GET", "/v1/topics/t", "", "").is(504, "broker-timeout", true);
    let ack = post(
        to,
        "/v1/groups/g/leases:ack",
        &json!({"lease_ids": [pair.lease]}),
    );
    assert_eq!(ack.status, 207, "{}", ack.body);
    let kind = &ack.json()["results"][0]["problem"]["type"];
    assert_eq!(kind, "/problems/broker-timeout", "{}", ack.body);
    // A browser comes back to a stream that is answered 200.
    let stream = ask(to, "GET", "/v1/topics/t/stream", "", "");
    assert_eq!(stream.status, 200, "{}", stream.body);
    for line in ["retry: ", "event: problem\n", "/problems/broker-timeout"] {
        assert!(stream.body.contains(line), "no {line}: {}", stream.body);
    }
    let ready = ask(to, "GET", "/readyz", "", "");
    assert_eq!((ready.status, ready.json()), (503, json!({"ready": false})));
    pair.server.signal(Signal::CONT);
    // With a key the repeat is safe, whether the first one was stored or not.
    let end = Instant::now() + LIMIT;
    loop {
        let sent = ask(to, "POST", &format!("{messages}?timeout=30s"), key, &one);
        if sent.status == 201 {
            break;
        }
        // The first one is on its way to the disk just now.
        sent.is(409, "idempotency-in-progress", true);
        assert!(sent.head.contains("retry-after: 1"), "{}", sent.head);
        assert!(Instant::now() < end, "{}", sent.body);
    }
    let page = ask(to, "GET", &format!("{messages}?limit=64"), "", "").json();
    let bodies = page["messages"].as_array().unwrap().iter();
    let twos = bodies.filter(|message| message["body"] == "two").count();
    assert_eq!(twos, 1, "{page}");
}

#[test]
fn while_the_broker_is_gone_callers_are_told_to_come_back() {
    let data = tempfile::tempdir().unwrap();
    let mut pair = Pair::begin(data.path());
    let to = pair.to;
    pair.server.kill();
    let half = format!("/v1/topics/t/transactions/{}", pair.transaction);
    let one = json!({"body": "x"}).to_string();
    let key = "Idempotency-Key: k-1\r\n";
    for (method, path, headers, body) in [
        ("POST", "/v1/topics/t/messages", "", &*one),
        ("POST", "/v1/topics/t/messages", key, &*one),
        ("GET", &*half, "", ""),
        ("GET", "/v1/topics", "", ""),
        (
            "POST",
            "/v1/groups/g/messages:receive?topic=t&wait=0s",
            "",
            "",
        ),
    ] {
        let away = ask(to, method, path, headers, body);
        away.is(503, "unavailable", true);
        assert!(
            away.head.contains("retry-after: 1"),
            "{path}: {}",
            away.head
        );
    }
}

#[test]
fn a_long_message_that_is_under_way_ends_with_the_server_that_sends_it() {
    let data = tempfile::tempdir().unwrap();
    let mut pair = Pair::begin(data.path());
    let (to, metrics) = (pair.to, address(&pair.gateway, "metrics"));
    let long = "x".repeat(1 << 20);
    let path = "/v1/topics/t/messages:raw?timeout=30s";
    assert_eq!(ask(to, "POST", path, "", &long).status, 201);
    stop(&pair.server);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {to}\r\nContent-Length: {}\r\n\r\n",
        long.len()
    );
    let callers = [(); 4].map(|()| {
        let mut caller = TcpStream::connect(to).unwrap();
        caller.write_all((head.clone() + &long).as_bytes()).unwrap();
        caller
    });
    let end = Instant::now() + LIMIT;
    let all = format!("\nrocketmq_http_publishes {}\n", callers.len());
    while !ask(metrics, "GET", "/metrics", "", "").body.contains(&all) {
        assert!(Instant::now() < end, "they are not under way");
    }
    pair.gateway.signal(Signal::TERM);
    let (status, log) = pair.gateway.ended();
    assert!(status.success(), "{status}: {log}");
    assert!(
        log.contains("were cut off") && !log.contains("panic"),
        "{log}"
    );
    pair.server.signal(Signal::CONT);
}

#[test]
fn a_transaction_whose_broker_lost_its_disk_is_not_found() {
    let data = tempfile::tempdir().unwrap();
    let mut pair = Pair::begin(data.path());
    let [namesrv, broker] = [pair.server.namesrv(), pair.server.broker()].map(|at| at.to_string());
    // Whoever calls a port that nobody listens at may get that very port to call from.
    pair.gateway.kill();
    pair.server.kill();
    let mut empty = command();
    empty
        .arg("standalone")
        .arg("--data")
        .arg(data.path().join("empty"));
    empty.args(["--namesrv-addr", &namesrv, "--broker-addr", &broker]);
    let _server = Posthouse::spawn(empty);
    let gateway = {
        let mut gateway = command();
        gateway.args(["gateway", "-n", &namesrv, "--token-secret-file"]);
        gateway.arg(data.path().join("secret"));
        Posthouse::spawn(gateway)
    };
    let to = address(&gateway, "HTTP ");
    put(to, "/v1/topics/t");
    let half = format!("/v1/topics/t/transactions/{}", pair.transaction);
    ask(to, "GET", &half, "", "").is(404, "transaction-not-found", false);
    for word in ["commit", "rollback"] {
        let decide = json!({ "resolution": word }).to_string();
        let lost = ask(to, "PUT", &format!("{half}/resolution"), "", &decide);
        lost.is(404, "transaction-not-found", false);
    }
}

#[test]
fn what_a_broker_was_configured_not_to_do_is_no_failure_of_it() {
    let data = tempfile::tempdir().unwrap();
    let off = [
        "enablePropertyFilter",
        "timerWheelEnable",
        "recallMessageEnable",
    ];
    let conf = off.map(|key| format!("{key}=false\n")).concat();
    std::fs::write(data.path().join("broker.conf"), conf).unwrap();
    let server = Posthouse::victim(data.path(), None);
    let to = address(&server, "HTTP ");
    put(to, "/v1/topics/t");
    put(to, "/v1/groups/g");
    let filter = json!({"filter": {"type": "sql", "expression": "a = 1"}}).to_string();
    let at = std::time::SystemTime::now() + std::time::Duration::from_secs(3_600);
    let at = at
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let handle = URL_SAFE_NO_PAD.encode(format!(
        "v1 t broker-a {at} 7F0000011A2B18B4AAC2000000000001"
    ));
    let recall = format!("/v1/topics/t/scheduled-messages/{handle}");
    let later = json!({"body": "x", "delay": "1h"}).to_string();
    for (method, path, body, key) in [
        ("GET", "/v1/topics/t/stream?sql=a%3D1", "", off[0]),
        ("GET", "/v1/topics/t/messages?sql=a%3D1", "", off[0]),
        (
            "POST",
            "/v1/groups/g/messages:receive?topic=t&sql=a%3D1",
            "",
            off[0],
        ),
        ("PUT", "/v1/groups/g/subscriptions/t", &*filter, off[0]),
        ("POST", "/v1/topics/t/messages", &*later, off[1]),
        ("DELETE", &*recall, "", off[2]),
    ] {
        let refused = ask(to, method, path, "", body);
        refused.is(501, "unsupported-by-broker", false);
        let why = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(why.contains(key), "{path}: {why}");
    }
    // Delay levels need no timers.
    let by_level = json!({"body": "x", "delay_level": 1});
    assert_eq!(post(to, "/v1/topics/t/messages", &by_level).status, 201);
}

#[test]
fn a_message_that_no_replica_has_is_stored_all_the_same() {
    let data = tempfile::tempdir().unwrap();
    let conf = "brokerRole=SYNC_MASTER\n";
    std::fs::write(data.path().join("broker.conf"), conf).unwrap();
    let server = Posthouse::victim(data.path(), None);
    let to = address(&server, "HTTP ");
    put(to, "/v1/topics/t");
    let path = "/v1/topics/t/messages";
    let one = post(to, path, &json!({"body": "one"}));
    let raw = ask(to, "POST", &format!("{path}:raw"), "", "two");
    for sent in [&one, &raw] {
        assert_eq!(sent.status, 202, "{}", sent.body);
        assert_eq!(sent.json()["send_status"], "slave_not_available");
        let id = sent.json()["message_id"].as_str().unwrap().to_owned();
        let location = format!("location: {path}/{id}").to_ascii_lowercase();
        assert!(sent.head.contains(&location), "{}", sent.head);
    }
    let many = json!({"messages": [{"body": "three"}, {"body": "four"}]});
    let many = post(to, &format!("{path}:batch"), &many);
    assert_eq!(
        (many.status, &many.json()["failed"]),
        (200, &json!(0)),
        "{}",
        many.body
    );
    assert_eq!(many.json()["results"][1]["status"], 202);
    let kept = ask(to, "GET", &format!("{path}?limit=64"), "", "").json();
    assert_eq!(kept["messages"].as_array().unwrap().len(), 4, "{kept}");
}

#[test]
fn who_cannot_write_any_more_is_not_ready() {
    let data = tempfile::tempdir().unwrap();
    // A write beyond the limit below is an error, and no signal that ends the process.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
    let posthouse = command();
    shell
        .arg(posthouse.get_program())
        .args(["standalone", "--data"]);
    shell.arg(data.path().join("store"));
    shell.args([
        "--namesrv-addr",
        "127.0.0.1:0",
        "--broker-addr",
        "127.0.0.1:0",
    ]);
    for (name, value) in posthouse.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let server = Posthouse::spawn(shell);
    let (to, metrics) = (address(&server, "HTTP "), address(&server, "metrics"));
    put(to, "/v1/topics/t");
    assert_eq!(ask(to, "GET", "/readyz", "", "").status, 200);
    let nothing = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let pid = Pid::from_raw(server.pid().try_into().unwrap());
    prlimit(pid, Resource::Fsize, nothing).unwrap();
    let one = json!({"body": "x"});
    let refused = post(to, "/v1/topics/t/messages", &one);
    refused.is(503, "unavailable", true);
    assert!(refused.head.contains("retry-after: 1"), "{}", refused.head);
    for port in [to, metrics] {
        let ready = ask(port, "GET", "/readyz", "", "");
        assert_eq!((ready.status, ready.json()), (503, json!({"ready": false})));
        assert_eq!(ask(port, "GET", "/livez", "", "").status, 200);
    }
}
