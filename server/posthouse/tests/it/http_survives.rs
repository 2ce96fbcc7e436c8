//! What HTTP callers hold outlives the server that gave it: a kill, an end under load, another node.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::http::address;
use crate::process::{LIMIT, Posthouse, command, timed};

/// An answer on a connection of its own; `None` if it broke off.
fn ask(to: SocketAddr, method: &str, path: &str, body: Option<&Value>) -> Option<(u16, String)> {
    let mut socket = TcpStream::connect(to).ok()?;
    socket.set_read_timeout(Some(LIMIT)).ok()?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let kind = match body.is_empty() {
        true => "",
        false => "Content-Type: application/json\r\n",
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n{kind}Content-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(format!("{head}{body}").as_bytes()).ok()?;
    let mut text = String::new();
    socket.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// The JSON of an answer that must have this status.
fn told(to: SocketAddr, method: &str, path: &str, body: Option<&Value>, status: u16) -> Value {
    let (got, text) = ask(to, method, path, body).unwrap_or_else(|| panic!("no answer to {path}"));
    assert_eq!(got, status, "{method} {path}: {text}");
    serde_json::from_str(&text).unwrap_or_default()
}

/// Body and id of the one event of a stream.
fn event(to: SocketAddr, path: &str) -> (String, String) {
    let (status, text) = ask(to, "GET", path, None).unwrap();
    assert_eq!(status, 200, "{text}");
    let field = |name: &str| {
        let mut lines = text.lines().rev();
        let found = lines.find_map(|line| line.strip_prefix(name));
        found
            .unwrap_or_else(|| panic!("no {name} in {text}"))
            .to_owned()
    };
    let data: Value = serde_json::from_str(&field("data: ")).unwrap();
    (data["body"].as_str().unwrap().to_owned(), field("id: "))
}

/// What a caller holds of a topic that it made: a lease, a half message, a place in the stream.
struct Held {
    lease: String,
    transaction: String,
    cursor: String,
}

const STREAM: &str = "/v1/topics/held/stream?max_events=1&max_duration=20s&queue=broker-a:0";

/// `to` is asked for an address before each request.
fn hold(to: &dyn Fn() -> SocketAddr) -> Held {
    told(
        to(),
        "PUT",
        "/v1/topics/held",
        Some(&json!({"queues": 1})),
        201,
    );
    told(to(), "PUT", "/v1/groups/holders", None, 201);
    for body in ["one", "two"] {
        let message = json!({ "body": body });
        told(
            to(),
            "POST",
            "/v1/topics/held/messages",
            Some(&message),
            201,
        );
    }
    let receive = "/v1/groups/holders/messages:receive?topic=held&tag=*&max=2&wait=20s";
    let leased = told(to(), "POST", receive, None, 200);
    let begin = json!({"body": "half", "check_after": "1h"});
    let begun = told(
        to(),
        "POST",
        "/v1/topics/held/transactions",
        Some(&begin),
        201,
    );
    let (body, cursor) = event(to(), &format!("{STREAM}&from=earliest"));
    assert_eq!(body, "one");
    Held {
        lease: leased["messages"][0]["lease_id"]
            .as_str()
            .unwrap()
            .to_owned(),
        transaction: begun["transaction_id"].as_str().unwrap().to_owned(),
        cursor,
    }
}

fn use_all(held: &Held, to: &dyn Fn() -> SocketAddr) {
    let ids = json!({"lease_ids": [held.lease]});
    let acked = told(
        to(),
        "POST",
        "/v1/groups/holders/leases:ack",
        Some(&ids),
        200,
    );
    assert_eq!(acked["failed"], 0, "{acked}");
    let (body, cursor) = event(to(), &format!("{STREAM}&last_event_id={}", held.cursor));
    assert_eq!(body, "two");
    let decide = format!(
        "/v1/topics/held/transactions/{}/resolution",
        held.transaction
    );
    let decided = told(
        to(),
        "PUT",
        &decide,
        Some(&json!({"resolution": "commit"})),
        200,
    );
    assert_eq!(decided["state"], "committed");
    let (body, _) = event(to(), &format!("{STREAM}&last_event_id={cursor}"));
    assert_eq!(body, "half");
}

#[test]
fn leases_transactions_and_cursors_survive_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Posthouse::standalone(data.path());
    let http = address(&server, "HTTP ");
    let held = hold(&|| http);
    server.kill();
    let server = Posthouse::standalone(data.path());
    let http = address(&server, "HTTP ");
    use_all(&held, &|| http);
}

#[test]
fn three_gateways_with_one_secret_are_one_door() {
    let data = tempfile::tempdir().unwrap();
    let server = Posthouse::standalone(data.path());
    let secret = data.path().join("secret");
    std::fs::write(&secret, format!("{}\n", "7e".repeat(32))).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let gateways: Vec<Posthouse> = (0..3)
        .map(|_| {
            let mut gateway = command();
            gateway.args(["gateway", "-n", &server.namesrv().to_string()]);
            gateway.arg("--token-secret-file").arg(&secret);
            Posthouse::spawn(gateway)
        })
        .collect();
    let doors: Vec<SocketAddr> = gateways.iter().map(|one| address(one, "HTTP ")).collect();
    let balancer = balance(doors);
    let held = hold(&|| balancer);
    use_all(&held, &|| balancer);
    // A list goes on at another node, and a key is kept by the broker, whoever asked first.
    for place in 0..6 {
        told(
            balancer,
            "PUT",
            &format!("/v1/topics/page-{place}"),
            None,
            201,
        );
    }
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/topics?prefix=page-&limit=2{token}");
        let page = told(balancer, "GET", &path, None, 200);
        let items = page["items"].as_array().unwrap().iter();
        names.extend(items.map(|item| item["name"].as_str().unwrap().to_owned()));
        match page["next_page_token"].as_str() {
            Some(next) => token = format!("&page_token={next}"),
            None => break,
        }
    }
    assert_eq!(names.len(), 6, "{names:?}");
}

/// The next call of a webhook; it is answered that the transaction is committed.
fn called(receiver: &TcpListener) -> Value {
    let (tell, came) = channel();
    let listener = receiver.try_clone().unwrap();
    std::thread::spawn(move || tell.send(listener.accept().unwrap().0));
    let mut socket = came.recv_timeout(LIMIT).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let (mut text, mut part) = (Vec::new(), [0; 4_096]);
    let body = loop {
        let read = socket.read(&mut part).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&text);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let mut lines = head.lines().map(str::to_ascii_lowercase);
        let length = lines.find_map(|line| Some(line.strip_prefix("content-length: ")?.to_owned()));
        if body.len() == length.unwrap().parse::<usize>().unwrap() {
            break serde_json::from_str(body).unwrap();
        }
    };
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\n{\"resolution\":\"commit\"}";
    socket.write_all(answer.as_bytes()).unwrap();
    body
}

#[test]
fn a_stored_checker_is_called_behind_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let conf = "transactionCheckInterval=1000\nhttp.webhook.trustedHosts=localhost\n";
    std::fs::write(data.path().join("broker.conf"), conf).unwrap();
    let mut server = Posthouse::victim(data.path(), None);
    let http = address(&server, "HTTP ");
    told(http, "PUT", "/v1/topics/asked", None, 201);
    told(http, "PUT", "/v1/groups/askers", None, 201);
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = receiver.local_addr().unwrap().port();
    let url = json!({ "url": format!("http://localhost:{port}/check") });
    let checker = "/v1/topics/asked/transaction-checker";
    let mut made = told(http, "PUT", checker, Some(&url), 201);
    server.kill();
    let mut server = Posthouse::victim(data.path(), None);
    let http = address(&server, "HTTP ");
    made.as_object_mut().unwrap().remove("secret");
    assert_eq!(told(http, "GET", checker, None, 200), made);
    let half = json!({"body": "half", "check_after": "1h"});
    let begin = "/v1/topics/asked/transactions";
    told(http, "POST", begin, Some(&half), 201);
    let half = json!({"body": "asked about", "check_after": "0s"});
    let begun = told(http, "POST", begin, Some(&half), 201);
    let check = called(&receiver);
    assert_eq!(check["message"]["message_id"], begun["message_id"]);
    let receive = "/v1/groups/askers/messages:receive?topic=asked&tag=*&wait=20s";
    let got = told(http, "POST", receive, None, 200);
    assert_eq!(got["messages"][0]["body"], "asked about");
    // And what is deleted is not called behind one.
    assert_eq!(ask(http, "DELETE", checker, None).unwrap().0, 204);
    server.kill();
    let server = Posthouse::victim(data.path(), None);
    let http = address(&server, "HTTP ");
    assert_eq!(told(http, "GET", checker, None, 404)["status"], 404);
    drop(server);
}

/// Hands connections to servers in turn.
fn balance(servers: Vec<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let turns = servers.iter().cycle();
        for (caller, server) in listener.incoming().map_while(Result::ok).zip(turns) {
            let upstream = TcpStream::connect(server).unwrap();
            let copy = |mut from: TcpStream, mut to: TcpStream| {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            };
            copy(caller.try_clone().unwrap(), upstream.try_clone().unwrap());
            copy(upstream, caller);
        }
    });
    own
}

const STREAMS: usize = 1_000;

#[test]
fn an_end_under_load_with_a_thousand_streams_is_quick_and_loses_nothing() {
    // Each stream is a descriptor here as well.
    let files = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: files.maximum,
        maximum: files.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut server = Posthouse::standalone(data.path());
    let http = address(&server, "HTTP ");
    told(http, "PUT", "/v1/topics/load", None, 201);
    let streams: Vec<TcpStream> = (0..STREAMS)
        .map(|_| {
            let mut socket = TcpStream::connect(http).unwrap();
            socket.set_read_timeout(Some(LIMIT)).unwrap();
            let head = format!("GET /v1/topics/load/stream HTTP/1.1\r\nHost: {http}\r\n\r\n");
            socket.write_all(head.as_bytes()).unwrap();
            let mut status = [0; 12];
            socket.read_exact(&mut status).unwrap();
            assert_eq!(&status, b"HTTP/1.1 200");
            socket
        })
        .collect();
    let (ended, stored) = (AtomicBool::new(false), AtomicUsize::new(0));
    let publish = |caller: usize| {
        let mut ids = Vec::new();
        while !ended.load(Ordering::Relaxed) {
            let message = json!({"body": format!("{caller}-{}", ids.len())});
            match ask(http, "POST", "/v1/topics/load/messages", Some(&message)) {
                Some((201, text)) => {
                    let told: Value = serde_json::from_str(&text).unwrap();
                    ids.push(told["message_id"].as_str().unwrap().to_owned());
                    stored.fetch_add(1, Ordering::Relaxed);
                }
                // The port is closed, or says that it closes.
                None | Some((503, _)) => {}
                Some(other) => panic!("{other:?}"),
            }
        }
        ids
    };
    let mut answered = BTreeSet::new();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|caller| scope.spawn(move || publish(caller)))
            .collect();
        let begun = std::time::Instant::now();
        while stored.load(Ordering::Relaxed) < 200 && begun.elapsed() < LIMIT {
            std::thread::yield_now();
        }
        server.signal(Signal::TERM);
        let ((status, log), took) = timed(|| server.ended());
        ended.store(true, Ordering::Relaxed);
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        for caller in callers {
            answered.extend(caller.join().unwrap());
        }
    });
    assert!(answered.len() >= 200, "only {} were stored", answered.len());
    for mut stream in streams {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("event: drain"), "{rest}");
    }
    let server = Posthouse::standalone(data.path());
    let http = address(&server, "HTTP ");
    let mut kept = BTreeSet::new();
    let mut token = String::new();
    loop {
        let path = format!("/v1/topics/load/messages?limit=64&body=none{token}");
        let page = told(http, "GET", &path, None, 200);
        let messages = page["messages"].as_array().unwrap().iter();
        kept.extend(messages.map(|one| one["message_id"].as_str().unwrap().to_owned()));
        match page["next_page_token"].as_str() {
            Some(next) => token = format!("&page_token={next}"),
            None => break,
        }
    }
    let missing: Vec<_> = answered.difference(&kept).collect();
    assert!(missing.is_empty(), "answered, and gone: {missing:?}");
}
