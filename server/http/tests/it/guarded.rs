//! What every request is held to before it reaches an operation, and what every answer carries.

use std::io::Write;

use http_door::{Limits, Options};
use serde_json::json;

use crate::door::{address, ask, connect, own, read, send, send_to};
use crate::messages::{group, lease, publish, settle, topic};

#[test]
fn a_request_without_one_good_host_is_refused() {
    let raw = |headers: &str| {
        let mut socket = connect(address());
        let text = format!("GET /livez HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
        socket.write_all(text.as_bytes()).unwrap();
        let answer = read(&mut socket, false);
        (answer.status, answer.problem())
    };
    assert_eq!(raw(""), (400, "invalid-host".to_owned()));
    assert_eq!(
        raw("Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n"),
        (400, "invalid-host".to_owned())
    );
    assert_eq!(
        raw("Host: evil.example\r\n"),
        (421, "misdirected-request".to_owned())
    );
    send("GET", "/livez", &[("Host", "localhost:1")], b"").expect(200);
}

#[test]
fn a_web_page_of_another_origin_reaches_nothing() {
    let from = |origin: &str| send("PUT", "/v1/topics/forged", &[("Origin", origin)], b"");
    assert_eq!(
        from("https://evil.example").expect(403).problem(),
        "origin-not-allowed"
    );
    assert_eq!(ask("GET", "/v1/topics/forged").problem(), "topic-not-found");
    let own = format!("http://{}", address());
    from(&own).expect(201);
}

#[test]
fn a_link_from_elsewhere_leads_to_a_page_and_to_nothing_else() {
    let from_elsewhere = |method: &str, target: &str, mode: &str| {
        let headers = [
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Mode", mode),
            ("Accept", "text/html"),
        ];
        send(method, target, &headers, b"")
    };
    for page in ["/", "/docs", "/problems/not-found"] {
        from_elsewhere("GET", page, "navigate").expect(200);
        // A script, or an image's address, is no link that somebody follows.
        let hidden = from_elsewhere("GET", page, "no-cors").expect(403);
        assert_eq!(hidden.problem(), "origin-not-allowed", "{page}");
    }
    let topic = topic("linked");
    for (method, target) in [
        ("GET", "/v1/topics".to_owned()),
        ("GET", "/openapi.json".to_owned()),
        ("POST", format!("/v1/topics/{topic}/messages:raw")),
    ] {
        let refused = from_elsewhere(method, &target, "navigate").expect(403);
        assert_eq!(refused.problem(), "origin-not-allowed", "{target}");
    }
}

/// What a server says to these bytes, and that it hangs up behind that.
fn answer_to(text: &str) -> crate::door::Answer {
    let mut socket = connect(address());
    // It may hang up before it has read everything.
    let _ = socket.write_all(text.as_bytes());
    read(&mut socket, false)
}

#[test]
fn what_two_servers_could_read_in_two_ways_is_read_in_none() {
    let host = address();
    let post = format!("POST /v1/topics/t/messages:raw HTTP/1.1\r\nHost: {host}\r\n");
    let get = format!("GET /livez HTTP/1.1\r\nHost: {host}\r\n");
    for text in [
        format!("{post}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        format!("{post}Content-Length: 5, 5\r\n\r\nhello"),
        format!("{post}Content-Length: +5\r\n\r\nhello"),
        format!("{post}Transfer-Encoding: xchunked\r\n\r\nhello"),
        format!("{get}X-A: b\r\n c\r\n\r\n"),
        format!("GET /livez HTTP/1.1\r\nHost : {host}\r\n\r\n"),
        "GARBAGE\r\n\r\n".to_owned(),
    ] {
        let refused = answer_to(&text);
        assert_eq!((refused.status, refused.body.len()), (400, 0), "{text}");
        assert_eq!(refused.header("connection"), "close", "{text}");
    }
    // Of a length and chunks, the chunks count, and nothing behind them is another request.
    let both = format!(
        "{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /none HTTP/1.1\r\n\r\n"
    );
    let chunks = answer_to(&both);
    assert_eq!(chunks.header("connection"), "close");
    assert_eq!(chunks.problem(), "empty-body");
}

#[test]
fn nobody_waits_for_a_body_that_is_not_taken() {
    let topic = topic("too-long");
    for (door, kind, length, slug) in [
        (
            "messages:raw",
            "image/png",
            (4 << 20) + 1,
            "message-too-large",
        ),
        ("events", "text/plain", (4 << 20) + 1, "message-too-large"),
        (
            "messages",
            "application/json",
            (6 << 20) + 1,
            "request-too-large",
        ),
        (
            "messages:batch",
            "application/json",
            (8 << 20) + 1,
            "request-too-large",
        ),
    ] {
        let host = address();
        // None of it comes: who answers has not waited, and whoever hangs up says so.
        let refused = answer_to(&format!(
            "POST /v1/topics/{topic}/{door} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\n\
             Content-Length: {length}\r\n\r\n"
        ));
        assert_eq!((refused.status, &*refused.problem()), (413, slug), "{door}");
        assert_eq!(refused.header("connection"), "close", "{door}");
    }
}

#[test]
fn a_named_origin_may_ask_and_read() {
    let page = "https://shop.example";
    let server = own(Options {
        origins: vec![page.to_owned()],
        ..Options::default()
    });
    let at = server.address().unwrap();
    let asks = [("Origin", page), ("Access-Control-Request-Method", "PUT")];
    let preflight = send_to(at, "OPTIONS", "/v1/topics/t", &asks, b"").expect(204);
    assert_eq!(preflight.header("access-control-allow-origin"), page);
    assert!(
        preflight
            .header("access-control-allow-methods")
            .contains("PUT")
    );
    assert_eq!(preflight.header("access-control-max-age"), "7200");
    let answer = send_to(at, "GET", "/v1/topics", &[("Origin", page)], b"").expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), page);
    assert!(
        answer
            .header("access-control-expose-headers")
            .contains("ETag")
    );
    assert!(
        !answer
            .headers
            .contains_key("access-control-allow-credentials")
    );
    let other = send_to(
        at,
        "GET",
        "/v1/topics",
        &[("Origin", "https://evil.example")],
        b"",
    );
    assert_eq!(other.expect(403).problem(), "origin-not-allowed");
}

#[test]
fn operators_have_a_port_of_their_own_without_operations() {
    use crate::door::management;
    let text = send_to(management(), "GET", "/metrics", &[], b"");
    assert_eq!(text.status, 200);
    let text = String::from_utf8(text.body).unwrap();
    for line in [
        "# TYPE rocketmq_http_requests_total counter",
        "rocketmq_http_streams{kind=\"checks\"} ",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let topics = send_to(management(), "GET", "/v1/topics", &[], b"");
    assert_eq!(topics.status, 404);
}

#[test]
fn an_unknown_path_and_another_method_are_told_apart() {
    assert_eq!(ask("GET", "/v2/topics").expect(404).problem(), "not-found");
    let answer = ask("PATCH", "/livez").expect(405);
    assert_eq!(answer.problem(), "method-not-allowed");
    assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
    let options = ask("OPTIONS", "/v1/topics").expect(204);
    assert!(options.header("allow").contains("GET"));
    let head = ask("HEAD", "/livez").expect(200);
    assert!(head.body.is_empty());
    let length = ask("GET", "/livez").expect(200).body.len();
    assert_eq!(head.header("content-length"), length.to_string());
    assert_eq!(
        ask("GET", "/v1/topics/a%2fb").expect(400).problem(),
        "invalid-path"
    );
}

#[test]
fn a_request_keeps_its_id_and_a_bad_one_is_replaced() {
    let id = |given: &[(&str, &str)]| {
        send("GET", "/livez", given, b"")
            .header("x-request-id")
            .to_owned()
    };
    assert_eq!(id(&[("X-Request-Id", "mine-1")]), "mine-1");
    assert_ne!(id(&[("X-Request-Id", "not mine")]), "not mine");
    assert_ne!(id(&[]), id(&[]));
    let problem = send("GET", "/none", &[("X-Request-Id", "mine-2")], b"");
    assert_eq!(problem.json()["instance"], "mine-2");
}

#[test]
fn what_is_too_large_is_said_so() {
    let long = format!("/v1/topics/{}", "a".repeat(9_000));
    assert_eq!(ask("GET", &long).expect(414).problem(), "uri-too-long");
    // Over 64 KiB nobody reads it at all: not a problem, but an answer.
    let mut socket = connect(address());
    let head = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(66_000));
    let _ = socket.write_all(head.as_bytes());
    let unread = read(&mut socket, false);
    assert!(
        [414, 431].contains(&unread.status) && unread.body.is_empty(),
        "{unread:?}"
    );
    let value = "v".repeat(17_000);
    let headers = send("GET", "/livez", &[("X-Long", &value)], b"");
    assert_eq!(headers.expect(431).problem(), "headers-too-large");
    let server = own(Options {
        limits: Limits {
            small: 100,
            ..Limits::default()
        },
        ..Options::default()
    });
    let json = [("Content-Type", "application/json")];
    let body = send_to(
        server.address().unwrap(),
        "PUT",
        "/v1/topics/t",
        &json,
        &[b' '; 101],
    );
    assert_eq!(body.header("connection"), "close");
    assert_eq!(body.expect(413).problem(), "request-too-large");
    let gzip = [
        ("Content-Type", "application/json"),
        ("Content-Encoding", "gzip"),
    ];
    assert_eq!(
        send("PUT", "/v1/topics/t", &gzip, b"x")
            .expect(415)
            .problem(),
        "unsupported-encoding"
    );
}

#[test]
fn a_packed_body_is_unpacked_at_no_door() {
    let (topic, group) = (topic("bomb"), group("bomb"));
    // 16 MiB of zeros: what is unpacked is a thousand times as long.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![0; 16 << 20]).unwrap();
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 32 << 10);
    let path = format!("/v1/topics/{topic}");
    for target in [
        format!("{path}/messages"),
        format!("{path}/messages:raw"),
        format!("{path}/messages:batch"),
        format!("{path}/messages:request"),
        format!("{path}/events"),
        format!("{path}/transactions"),
        format!("/v1/groups/{group}/leases:ack"),
    ] {
        for coding in ["gzip", "zstd", "gzip, identity"] {
            let headers = [
                ("Content-Type", "application/json"),
                ("Content-Encoding", coding),
            ];
            let refused = send("POST", &target, &headers, &bomb).expect(415);
            assert_eq!(refused.problem(), "unsupported-encoding", "{target}");
        }
    }
    let plain = [("Content-Encoding", "identity")];
    send("POST", &format!("{path}/messages:raw"), &plain, b"as it is").expect(201);
    assert_eq!(ask("GET", &format!("{path}/stats")).json()["messages"], 1);
}

#[test]
fn the_bytes_of_all_bodies_together_are_limited() {
    let server = own(Options {
        limits: Limits {
            in_flight_bytes: 100,
            ..Limits::default()
        },
        ..Options::default()
    });
    let json = [("Content-Type", "application/json")];
    let full = send_to(
        server.address().unwrap(),
        "PUT",
        "/v1/topics/t",
        &json,
        &[b' '; 101],
    );
    assert_eq!(full.header("retry-after"), "1");
    assert_eq!(full.expect(503).problem(), "unavailable");
}

#[test]
fn who_takes_no_json_is_told_so_before_anything_is_done() {
    let topic = topic("unwilling");
    let path = format!("/v1/topics/{topic}/messages");
    for accept in [
        "text/html",
        "application/json;q=0",
        "application/xml, */*;q=0",
    ] {
        let headers = [("Accept", accept), ("Content-Type", "application/json")];
        let refused = send("POST", &path, &headers, br#"{"body":"x"}"#).expect(406);
        assert_eq!(refused.problem(), "not-acceptable", "{accept}");
        send("GET", "/v1/topics", &headers[..1], b"").expect(406);
        // Probes say what they like.
        send("GET", "/livez", &headers[..1], b"").expect(200);
    }
    for accept in [
        "text/html, */*;q=0.1",
        "application/*",
        "text/html, *; q=.2, */*; q=.2",
    ] {
        send("GET", "/v1/topics", &[("Accept", accept)], b"").expect(200);
    }
    let page = ask("GET", &path).expect(200).json();
    assert_eq!(page["messages"], json!([]), "nothing was published");
}

#[test]
fn answers_are_packed_for_whom_asks_and_mean_the_same() {
    let (topic, group) = (topic("packed"), group("packed"));
    let long = "abc ".repeat(20_000);
    let id = publish(&topic, &json!({"body": long})).expect(201).json();
    let id = id["message_id"].as_str().unwrap();
    let packs = ("Accept-Encoding", "br, gzip;q=0.5");
    let encoding = |target: &str, headers: &[(&str, &str)]| {
        let answer = send("GET", target, headers, b"").expect(200);
        answer.header("content-encoding").to_owned()
    };
    let document = send("GET", "/openapi.json", &[packs], b"").expect(200);
    assert_eq!(document.header("content-encoding"), "gzip");
    assert!(document.header("vary").contains("Accept-Encoding"));
    assert_eq!(document.json(), ask("GET", "/openapi.json").json());
    let zstd = ("Accept-Encoding", "gzip, deflate, br, zstd");
    let again = send("GET", "/openapi.json", &[zstd], b"").expect(200);
    assert_eq!(again.header("content-encoding"), "zstd");
    assert_eq!(again.json(), document.json());
    let read = format!("/v1/topics/{topic}/messages/{id}");
    assert_eq!(encoding(&read, &[packs]), "gzip");
    assert_eq!(encoding(&read, &[zstd]), "zstd");
    let as_it_is = [
        ("/livez", vec![packs]),
        ("/livez", vec![zstd]),
        ("/openapi.json", vec![]),
        ("/openapi.json", vec![("Accept-Encoding", "gzip;q=0")]),
        (&*read, vec![packs, ("Accept", "application/octet-stream")]),
    ];
    for (target, headers) in as_it_is {
        assert_eq!(encoding(target, &headers), "", "{target} {headers:?}");
    }
    let stream = format!("/v1/topics/{topic}/stream?from=earliest&max_events=1");
    assert_eq!(encoding(&stream, &[packs]), "");
    // What is lent in a packed answer was told.
    let target = format!("/v1/groups/{group}/messages:receive?topic={topic}&tag=*&wait=20s");
    let got = send("POST", &target, &[packs], b"").expect(200);
    assert_eq!(got.header("content-encoding"), "gzip");
    let got = got.json();
    assert_eq!(got["messages"][0]["body"], long);
    settle(&group, "ack", &[lease(&got["messages"][0])], json!({})).expect(200);
    let problem = send("GET", "/v1/topics/none", &[packs], b"").expect(404);
    assert_eq!(problem.header("content-encoding"), "", "it is short");
}
