//! What a node does at once, and for how long: each limit is told when it is reached.

use std::io::Write;

use http_door::{Limits, Options, Server};
use serde_json::json;

use crate::door::{LIMIT, address, ask, connect, own, read, send_to};
use crate::events::open_at;
use crate::messages::{group, publish, receive, settle, topic};

fn limited(limits: Limits) -> Server {
    own(Options {
        limits,
        ..Options::default()
    })
}

#[test]
fn too_many_that_wait_are_a_quota_and_too_many_publishes_a_node_that_is_full() {
    let (topic, group) = (topic("at-once"), group("at-once"));
    receive(&group, &topic, "&wait=0s");
    let server = limited(Limits {
        long_polls: 0,
        publishes: 0,
        ..Limits::default()
    });
    let at = server.address().unwrap();
    let post = |path: &str| {
        let json = [("Content-Type", "application/json")];
        send_to(at, "POST", path, &json, b"{\"body\":\"x\"}")
    };
    let path = format!("/v1/topics/{topic}");
    for waits in [
        format!("/v1/groups/{group}/messages:receive?wait=1s"),
        format!("{path}/messages:request"),
        format!("{path}/transaction-checks:receive"),
    ] {
        let full = post(&waits).expect(429);
        assert_eq!(full.problem(), "quota-exceeded", "{waits}");
        let told = full.json();
        assert_eq!(
            (&told["retryable"], &told["code"]),
            (&json!(true), &json!(42_900))
        );
        assert_eq!(full.header("retry-after"), "1", "{waits}");
        let policy = r#""long_polls";q=0;qu="concurrent-requests""#;
        assert_eq!(full.header("ratelimit-policy"), policy);
        assert_eq!(full.header("ratelimit"), r#""long_polls";r=0"#);
    }
    for publishes in [
        "messages",
        "messages:raw",
        "messages:batch",
        "events",
        "transactions",
    ] {
        let full = post(&format!("{path}/{publishes}")).expect(503);
        assert_eq!(full.problem(), "unavailable", "{publishes}");
        assert_eq!(full.header("retry-after"), "1", "{publishes}");
        let policy = r#""publishes";q=0;qu="concurrent-requests""#;
        assert_eq!(full.header("ratelimit-policy"), policy, "{publishes}");
    }
    let limits = send_to(at, "GET", "/v1/cluster", &[], b"").json()["limits"].clone();
    assert_eq!(
        (&limits["long_polls"], &limits["publishes"]),
        (&json!(0), &json!(0))
    );
}

#[test]
fn streams_that_ask_brokers_for_each_message_have_a_limit_of_their_own() {
    let topic = topic("sql-streams");
    let server = limited(Limits {
        sql_streams: 0,
        ..Limits::default()
    });
    let at = server.address().unwrap();
    let path = format!("/v1/topics/{topic}/stream");
    let mut stream = open_at(at, &format!("{path}?sql=a%3D1"), None);
    let refused = stream.next().unwrap();
    assert_eq!(refused.name, "problem");
    assert_eq!(refused.data["type"], "/problems/quota-exceeded");
    assert!(stream.next().is_none(), "it ends");
    publish(&topic, &json!({"body": "x"})).expect(201);
    let mut plain = open_at(at, &format!("{path}?from=earliest&max_events=1"), None);
    assert_eq!(plain.bodies(1), ["x"]);
}

#[test]
fn a_connection_too_many_is_told_and_closed() {
    let server = limited(Limits {
        connections: 1,
        ..Limits::default()
    });
    let at = server.address().unwrap();
    let ask = format!("GET /livez HTTP/1.1\r\nHost: {at}\r\n");
    let mut first = connect(at);
    first.write_all(format!("{ask}\r\n").as_bytes()).unwrap();
    let mut status = [0; 12];
    std::io::Read::read_exact(&mut first, &mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    let mut second = connect(at);
    let full = read(&mut second, false);
    assert_eq!((full.status, full.body.len()), (503, 0));
    assert_eq!(
        (full.header("retry-after"), full.header("connection")),
        ("1", "close")
    );
    drop(first);
    // The place is free when the server has seen the end.
    let end = std::time::Instant::now() + LIMIT;
    loop {
        let mut again = connect(at);
        let _ = again.write_all(format!("{ask}Connection: close\r\n\r\n").as_bytes());
        if read(&mut again, false).status == 200 {
            break;
        }
        assert!(std::time::Instant::now() < end, "the place stays taken");
    }
}

#[test]
fn a_page_token_is_good_for_its_time_and_no_longer() {
    let (one, group) = (topic("paged"), group("paged"));
    for _ in 0..2 {
        publish(&one, &json!({"body": "x", "message_group": "g"})).expect(201);
        let got = receive(&group, &one, "&wait=20s&max=1");
        let lease = got[0]["lease_id"].as_str().unwrap();
        settle(&group, "dead-letter", &[lease], json!({})).expect(200);
    }
    topic("paged");
    let server = limited(Limits {
        page_time: std::time::Duration::ZERO,
        ..Limits::default()
    });
    let at = server.address().unwrap();
    for list in [
        "/v1/topics?limit=1".to_owned(),
        format!("/v1/topics/{one}/messages?limit=1"),
        format!("/v1/groups/{group}/dead-letters?limit=1"),
    ] {
        let page = send_to(at, "GET", &list, &[], b"").expect(200);
        let token = page.json()["next_page_token"].as_str().unwrap().to_owned();
        let over = send_to(at, "GET", &format!("{list}&page_token={token}"), &[], b"");
        assert_eq!(over.status, 410, "{list}");
        assert_eq!(over.problem(), "page-token-expired", "{list}");
        assert!(over.json()["detail"].is_string(), "{list}");
        // Where it is good for an hour, the same list goes on; and says so to programs that know no list of ours.
        let page = ask("GET", &list).expect(200);
        let token = page.json()["next_page_token"].as_str().unwrap().to_owned();
        let link = page.header("link").to_owned();
        if list.starts_with("/v1/topics?") {
            assert_eq!(link, format!("<?limit=1&page_token={token}>; rel=\"next\""));
        }
        ask("GET", &format!("{list}&page_token={token}")).expect(200);
    }
    // Whoever made it up is told something else.
    let forged = send_to(address(), "GET", "/v1/topics?page_token=pt_AAEC", &[], b"").expect(400);
    assert_eq!(forged.problem(), "invalid-page-token");
    assert!(forged.json()["detail"].is_string());
}

#[test]
fn a_stream_lives_for_its_time_and_shows_that_it_lives() {
    let (topic, group) = (topic("aging"), group("aging"));
    receive(&group, &topic, "&wait=0s");
    let server = own(Options {
        sse_heartbeat: std::time::Duration::from_millis(20),
        limits: Limits {
            stream_age: std::time::Duration::from_secs(2),
            ..Limits::default()
        },
        ..Options::default()
    });
    let at = server.address().unwrap();
    for (path, has_ids) in [
        (format!("/v1/topics/{topic}/stream"), true),
        (format!("/v1/topics/{topic}/stream?sql=a%3D1"), true),
        (format!("/v1/groups/{group}/stream"), false),
        (
            format!("/v1/topics/{topic}/transaction-checks/stream"),
            false,
        ),
    ] {
        let stream = [("Accept", "text/event-stream")];
        let answer = send_to(at, "GET", &path, &stream, b"").expect(200);
        let text = String::from_utf8(answer.body).unwrap();
        let beats: Vec<&str> = text
            .split("\n\n")
            .filter(|part| part.starts_with(": hb"))
            .collect();
        assert!(!beats.is_empty(), "{path}: {text}");
        for beat in beats {
            assert_eq!(beat.contains("\nid: c1."), has_ids, "{path}: {text}");
            assert!(!beat.contains("data"), "{path}: {text}");
        }
        let last = "event: drain\ndata: {\"reason\":\"max-age\"}\n\n";
        assert!(text.ends_with(last), "{path}: {text}");
        let before = text.strip_suffix(last).unwrap();
        let retry = before.lines().last().unwrap();
        assert!(retry.starts_with("retry: "), "{path}: {text}");
    }
}

#[test]
fn a_server_that_ends_says_so_and_whoever_waits_is_answered() {
    let (topic, group) = (topic("draining"), group("draining"));
    receive(&group, &topic, "&wait=0s");
    let server = own(Options {
        drain_delay: std::time::Duration::from_secs(8),
        ..Options::default()
    });
    let at = server.address().unwrap();
    let begun = std::time::Instant::now();
    let waiting = std::thread::spawn(move || {
        let target = format!("/v1/groups/{group}/messages:receive?wait=30s");
        send_to(at, "POST", &target, &[], b"")
    });
    let before = send_to(at, "GET", "/readyz", &[], b"").expect(200);
    assert_eq!(before.header("mq-draining"), "");
    let metrics = server.management_address().unwrap();
    loop {
        let text = send_to(metrics, "GET", "/metrics", &[], b"");
        let text = String::from_utf8(text.body).unwrap();
        if text.contains("\nrocketmq_http_long_polls 1\n") {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "nobody waits: {text}");
    }
    let ending = std::thread::spawn(move || server.stop(LIMIT));
    // The port stays open for a while, so that balancers notice.
    loop {
        let ready = send_to(at, "GET", "/readyz", &[], b"");
        if ready.status == 503 {
            assert_eq!(ready.json(), json!({"ready": false}));
            assert_eq!(ready.header("mq-draining"), "1");
            break;
        }
        assert!(begun.elapsed() < LIMIT);
    }
    ending.join().unwrap();
    let answered = waiting.join().unwrap().expect(200);
    assert_eq!(answered.json(), json!({"messages": []}));
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
}
