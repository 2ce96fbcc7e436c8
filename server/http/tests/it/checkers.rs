//! URLs that are asked what became of transactions.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use posthouse_client::{Check, CheckerInfo, Decision, ProducerOptions};
use serde_json::{Value, json};

use crate::checks::{asked_after, begin, checks};
use crate::door::{Answer, LIMIT, ask, ask_json, client, own, send, send_to};
use crate::messages::{errors, group, receive, run, topic};
use crate::receiver::{Call, Receiver, answer, resolution};

fn door(topic: &str) -> String {
    format!("/v1/topics/{topic}/transaction-checker")
}

fn put(topic: &str, url: &str) -> Answer {
    ask_json("PUT", &door(topic), &json!({ "url": url }))
}

/// How a transaction stands, once it is decided.
fn decided(topic: &str, begun: &Value) -> Value {
    let id = begun["transaction_id"].as_str().unwrap();
    let target = format!("/v1/topics/{topic}/transactions/{id}");
    let end = Instant::now() + LIMIT;
    loop {
        let state = ask("GET", &target).expect(200).json()["state"].clone();
        if state != "pending" {
            return state;
        }
        assert!(Instant::now() < end, "nobody decided");
        std::thread::yield_now();
    }
}

/// Whether a call is signed with a secret, as Standard Webhooks says.
fn is_signed(call: &Call, secret: &str) -> bool {
    let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap());
    let (id, at) = (call.header("webhook-id"), call.header("webhook-timestamp"));
    let text = [format!("{id}.{at}.").as_bytes(), &call.body].concat();
    let mac = hmac_sha256::HMAC::mac(text, key.unwrap());
    call.header("webhook-signature") == format!("v1,{}", BASE64_STANDARD.encode(mac))
}

#[test]
fn a_url_is_asked_and_its_answer_decides() {
    let (topic, group) = (topic("hook"), group("hook"));
    let receiver = Receiver::new(|_| resolution("commit"));
    let made = put(&topic, &receiver.url("http")).expect(201);
    assert_eq!(made.header("location"), door(&topic));
    let made = made.json();
    let secret = made["secret"].as_str().unwrap();
    assert_eq!(made["producer_group"], json!(topic));
    let begun = begin(&topic);
    let call = receiver.next();
    assert_eq!((&*call.method, &*call.target), ("POST", "/check?a=b"));
    assert_eq!(call.header("host"), format!("localhost:{}", receiver.port));
    assert_eq!(call.header("content-type"), "application/json");
    assert!(is_signed(&call, secret), "{call:?}");
    let check = call.json();
    assert_eq!(check["transaction_id"], begun["transaction_id"]);
    assert_eq!(check["attempt"], 1);
    let message = &check["message"];
    assert_eq!(message["message_id"], begun["message_id"]);
    assert_eq!(message["topic"], json!(topic));
    assert_eq!(message["body"], "{\"order\":17}");
    assert_eq!(decided(&topic, &begun), "committed");
    let got = receive(&group, &topic, "&wait=20s");
    assert_eq!(got[0]["message_id"], begun["message_id"]);
}

#[test]
fn a_url_that_does_not_know_yet_is_asked_again() {
    let topic = topic("hook-again");
    let answers = [
        resolution("unknown"),
        resolution("perhaps"),
        answer(200, "commit"),
        answer(201, "{\"resolution\":\"commit\"}"),
        answer(500, "{\"resolution\":\"commit\"}"),
        answer(
            200,
            &format!(
                "{{\"resolution\":\"commit\",\"x\":\"{}\"}}",
                "x".repeat(65_536)
            ),
        ),
        "HTTP/1.1 200 x\r\nX: ".to_owned() + &"x".repeat(20_000),
        "nonsense\r\n\r\n".to_owned(),
        String::new(),
    ];
    let count = answers.len();
    let times = AtomicU32::new(0);
    let receiver = Receiver::new(move |_| {
        let time = times.fetch_add(1, Ordering::Relaxed) as usize;
        let own = answers.get(time).cloned();
        own.unwrap_or_else(|| resolution("rollback"))
    });
    put(&topic, &receiver.url("http")).expect(201);
    let begun = begin(&topic);
    assert_eq!(decided(&topic, &begun), "rolled_back");
    let attempts: Vec<Value> = (0..=count)
        .map(|_| receiver.next().json()["attempt"].clone())
        .collect();
    let all: Vec<Value> = (1..=count + 1).map(|attempt| json!(attempt)).collect();
    assert_eq!(attempts, all);
}

#[test]
fn whoever_listens_goes_before_a_url() {
    let topic = topic("hook-last");
    let receiver = Receiver::new(|_| resolution("unknown"));
    put(&topic, &receiver.url("http")).expect(201);
    let first = begin(&topic);
    assert_eq!(
        receiver.next().json()["transaction_id"],
        first["transaction_id"]
    );
    let asked = checks(&topic, "wait=20s");
    assert_eq!(asked[0]["transaction_id"], first["transaction_id"]);
    // And when nobody does, the URL is asked again.
    receiver.rest();
    assert_eq!(
        receiver.next().json()["transaction_id"],
        first["transaction_id"]
    );
}

#[test]
fn a_producer_goes_before_a_url_and_the_url_is_asked_when_it_does_not_decide() {
    let topic = topic("hook-behind");
    let receiver = Receiver::new(|_| resolution("commit"));
    put(&topic, &receiver.url("http")).expect(201);
    run(async {
        let client = client();
        let (tell, mut asked) = tokio::sync::mpsc::unbounded_channel();
        let options = ProducerOptions::default();
        let producer = client.transaction_producer(&topic, options, move |check: Check| {
            let _ = tell.send(check.times());
            async { Decision::Unknown }
        });
        let producer = producer.unwrap();
        producer.announce(&topic).await.unwrap();
        let begun = begin(&topic);
        let times = tokio::time::timeout(LIMIT, asked.recv()).await.unwrap();
        assert_eq!(times, Some(1));
        let call = receiver.next().json();
        assert_eq!(call["transaction_id"], begun["transaction_id"]);
        assert_eq!(call["attempt"], 2);
        assert_eq!(decided(&topic, &begun), "committed");
        client.shutdown().await;
    });
}

/// A port that is taken, and that nobody listens on.
fn closed_port() -> (rustix::fd::OwnedFd, u16) {
    use rustix::net::{AddressFamily, SocketAddrAny, SocketType, bind, getsockname, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    bind(&socket, &any).unwrap();
    let bound: SocketAddrAny = getsockname(&socket).unwrap();
    let bound = SocketAddr::try_from(bound).unwrap();
    (socket, bound.port())
}

#[test]
fn a_url_that_is_away_is_asked_when_it_is_back_and_nothing_is_counted_meanwhile() {
    let (topic, group) = (topic("hook-away"), group("hook-away"));
    let (socket, port) = closed_port();
    put(&topic, &format!("http://localhost:{port}/")).expect(201);
    let begun = begin(&topic);
    let id = begun["transaction_id"].as_str().unwrap();
    // The broker would ask each second, if it knew whom; at most 15 times.
    let end = Instant::now() + LIMIT;
    let mut times = asked_after(1, &topic, &group, id);
    loop {
        let now = asked_after(3, &topic, &group, id);
        if now == times {
            break;
        }
        assert!(Instant::now() < end, "it is asked for ever");
        times = now;
    }
    assert!(times.as_u64().is_some_and(|times| times < 10), "{times}");
    rustix::net::listen(&socket, 16).unwrap();
    let receiver = Receiver::on(TcpListener::from(socket), |_| resolution("commit"));
    assert_eq!(
        receiver.next().json()["transaction_id"],
        begun["transaction_id"]
    );
    assert_eq!(decided(&topic, &begun), "committed");
}

#[test]
fn a_redirect_is_not_followed() {
    let topic = topic("hook-redirect");
    let other = Receiver::new(|_| resolution("commit"));
    let to = other.url("http");
    let times = AtomicU32::new(0);
    let receiver = Receiver::new(move |_| match times.fetch_add(1, Ordering::Relaxed) {
        first @ 0..3 => {
            let status = [301, 307, 308][first as usize];
            format!("HTTP/1.1 {status} x\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
        }
        _ => resolution("rollback"),
    });
    put(&topic, &receiver.url("http")).expect(201);
    let begun = begin(&topic);
    assert_eq!(decided(&topic, &begun), "rolled_back");
    assert_eq!(other.rest().len(), 0);
}

#[test]
fn a_slow_receiver_ends_in_its_limit_and_keeps_nobody_up() {
    let (slow, quick) = (topic("hook-slow"), topic("hook-quick"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "http://localhost:{}/",
        listener.local_addr().unwrap().port()
    );
    put(&slow, &url).expect(201);
    let begun = begin(&slow);
    let (mut held, _) = listener.accept().unwrap();
    let since = Instant::now();
    held.set_read_timeout(Some(LIMIT)).unwrap();
    let receiver = Receiver::new(|_| resolution("commit"));
    put(&quick, &receiver.url("http")).expect(201);
    assert_eq!(decided(&quick, &begin(&quick)), "committed");
    // The request, and then the end: the door waits no longer.
    let mut request = Vec::new();
    let end = held.read_to_end(&mut request);
    assert!(
        end.is_ok() || end.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    );
    assert!(request.starts_with(b"POST / HTTP/1.1\r\n"));
    assert!(
        since.elapsed() > Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
    let told = ask(
        "GET",
        &format!(
            "/v1/topics/{slow}/transactions/{}",
            begun["transaction_id"].as_str().unwrap()
        ),
    );
    assert_eq!(told.expect(200).json()["state"], "pending");
    ask("DELETE", &door(&slow)).expect(204);
}

#[test]
fn an_https_receiver_must_be_who_it_is_meant_to_be() {
    let topic = topic("hook-tls");
    let receiver = Receiver::secured(|_| resolution("commit"));
    put(&topic, &receiver.url("https")).expect(201);
    let begun = begin(&topic);
    assert_eq!(
        receiver.next().json()["transaction_id"],
        begun["transaction_id"]
    );
    assert_eq!(decided(&topic, &begun), "committed");
}

/// A door that trusts 127.0.0.1, which the others do not: it alone calls what is there.
fn trusting() -> http_door::Server {
    let authorities = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testdata/ca.pem");
    own(http_door::Options {
        webhook_hosts: vec!["127.0.0.1".to_owned()],
        webhook_authorities: Some(authorities.into()),
        ..http_door::Options::default()
    })
}

/// Waits until a door says that its last call of a checker ended so.
fn ended(at: SocketAddr, topic: &str, outcome: &str, status: &Value) {
    let end = Instant::now() + LIMIT;
    loop {
        let shown = send_to(at, "GET", &door(topic), &[], b"")
            .expect(200)
            .json();
        let last = &shown["last_call"];
        if last["outcome"] == outcome && last["status"] == *status {
            assert!(
                last["at"].as_str() > shown["created_at"].as_str(),
                "{shown}"
            );
            return;
        }
        assert!(Instant::now() < end, "not {outcome}: {shown}");
        std::thread::yield_now();
    }
}

#[test]
fn how_the_last_call_ended_is_shown_and_counted() {
    let topic = topic("hook-state");
    let own = trusting();
    let at = own.address().unwrap();
    let (socket, port) = closed_port();
    let body = json!({"url": format!("http://127.0.0.1:{port}/")}).to_string();
    let headers = [("Content-Type", "application/json")];
    let made = send_to(at, "PUT", &door(&topic), &headers, body.as_bytes()).expect(201);
    assert_eq!(made.json()["last_call"], Value::Null);
    let begun = begin(&topic);
    ended(at, &topic, "unreachable", &Value::Null);
    let (say, said) = channel::<String>();
    let said = Mutex::new(said);
    rustix::net::listen(&socket, 16).unwrap();
    let _receiver = Receiver::on(TcpListener::from(socket), move |_| {
        said.lock().unwrap().recv_timeout(LIMIT).unwrap()
    });
    for (answer, outcome, status) in [
        (resolution("unknown"), "unknown", json!(200)),
        (answer(503, "busy"), "invalid_answer", json!(503)),
        (String::new(), "no_answer", Value::Null),
        (resolution("commit"), "commit", json!(200)),
    ] {
        say.send(answer).unwrap();
        ended(at, &topic, outcome, &status);
    }
    assert_eq!(decided(&topic, &begun), "committed");
    let management = own.management_address().unwrap();
    let text = send_to(management, "GET", "/metrics", &[], b"");
    let text = String::from_utf8(text.body).unwrap();
    for outcome in ["unknown", "invalid_answer", "no_answer", "commit"] {
        let line = format!("rocketmq_http_webhook_calls_total{{outcome=\"{outcome}\"}} 1\n");
        assert!(text.contains(&line), "{text}");
    }
    own.stop(LIMIT);
}

#[test]
fn a_receiver_with_the_certificate_of_another_name_is_told_nothing() {
    let topic = topic("hook-other-name");
    let own = trusting();
    let at = own.address().unwrap();
    let receiver = Receiver::secured(|_| resolution("commit"));
    let body = json!({"url": format!("https://127.0.0.1:{}/", receiver.port)}).to_string();
    let headers = [("Content-Type", "application/json")];
    send_to(at, "PUT", &door(&topic), &headers, body.as_bytes()).expect(201);
    begin(&topic);
    ended(at, &topic, "unreachable", &Value::Null);
    assert_eq!(receiver.rest().len(), 0);
    own.stop(LIMIT);
}

#[test]
fn what_leads_into_this_network_is_refused() {
    let topic = topic("hook-inside");
    for url in [
        "http://shop.example/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[fe80::1]/",
        "https://shop.example:8080/",
        "https://user:secret@shop.example/",
        "https://shop.example/#part",
        "ftp://shop.example/",
        // What a resolver reads as an address of this machine.
        "https://127.1:8443/",
        "https://2130706433/",
        "https://0x7f000001/",
    ] {
        let refused = put(&topic, url).expect(422);
        assert_eq!(refused.problem(), "forbidden-url", "{url}");
        assert_eq!(errors(&refused), ["/url"], "{url}");
    }
    ask("GET", &door(&topic)).expect(404);
    // Nobody was trusted at this door.
    let strict = own(http_door::Options::default());
    let headers = [("Content-Type", "application/json")];
    let receiver = Receiver::new(|_| resolution("commit"));
    let body = json!({"url": receiver.url("http")}).to_string();
    let to = strict.address().unwrap();
    let refused = send_to(to, "PUT", &door(&topic), &headers, body.as_bytes());
    assert_eq!(refused.expect(422).problem(), "forbidden-url");
    assert_eq!(receiver.rest().len(), 0);
    strict.stop(LIMIT);
}

#[test]
fn a_receiver_that_cannot_be_asked_whether_it_wants_calls_is_not_called() {
    let topic = topic("hook-unconfirmed");
    let refused = put(&topic, "https://receiver.invalid/").expect(422);
    assert_eq!(refused.problem(), "webhook-not-confirmed");
    assert_eq!(errors(&refused), ["/url"]);
    let none = ask("GET", &door(&topic)).expect(404);
    assert_eq!(none.problem(), "checker-not-found");
}

#[test]
fn a_checker_is_shown_changed_and_deleted() {
    let topic = topic("hook-kept");
    ask("GET", &door(&topic)).expect(404);
    ask("DELETE", &door(&topic)).expect(404);
    let receivers = [(); 2].map(|()| Receiver::new(|_| resolution("unknown")));
    let urls = [&receivers[0], &receivers[1]].map(|receiver| receiver.url("http"));
    let made = put(&topic, &urls[0]).expect(201).json();
    let shown = ask("GET", &door(&topic)).expect(200);
    let mut without = made.clone();
    without.as_object_mut().unwrap().remove("secret");
    assert_eq!(shown.json(), without);
    let same = put(&topic, &urls[0]).expect(200);
    assert_eq!(
        (same.json(), same.header("etag")),
        (without.clone(), shown.header("etag"))
    );

    let change = |tag: &str, url: &str| {
        let headers = [("Content-Type", "application/json"), ("If-Match", tag)];
        send(
            "PUT",
            &door(&topic),
            &headers,
            json!({ "url": url }).to_string().as_bytes(),
        )
    };
    assert_eq!(
        change("\"0\"", &urls[1]).expect(412).problem(),
        "precondition-failed"
    );
    let begun = begin(&topic);
    assert!(is_signed(
        &receivers[0].next(),
        made["secret"].as_str().unwrap()
    ));
    let changed = change(shown.header("etag"), &urls[1]).expect(200).json();
    assert_ne!(changed["secret"], made["secret"]);
    let call = receivers[1].next();
    assert!(is_signed(&call, changed["secret"].as_str().unwrap()));
    assert_eq!(call.json()["transaction_id"], begun["transaction_id"]);
    // Another group alone keeps the secret, and answers for others.
    let body = json!({"url": urls[1], "producer_group": "hook-shop"});
    let other = ask_json("PUT", &door(&topic), &body).expect(200).json();
    assert_eq!(
        (&other["producer_group"], other.get("secret")),
        (&json!("hook-shop"), None)
    );
    let half = json!({"body": "x", "check_after": "0s", "producer_group": "hook-shop"});
    let target = format!("/v1/topics/{topic}/transactions");
    let begun = ask_json("POST", &target, &half).expect(201).json();
    loop {
        let call = receivers[1].next();
        if call.json()["transaction_id"] == begun["transaction_id"] {
            assert!(is_signed(&call, changed["secret"].as_str().unwrap()));
            break;
        }
    }

    let mut listed = BTreeSet::new();
    let mut target = "/v1/transaction-checkers?limit=1".to_owned();
    loop {
        let page = ask("GET", &target).expect(200).json();
        let items = page["items"].as_array().unwrap();
        assert!(items.iter().all(|item| item.get("secret").is_none()));
        listed.extend(
            items
                .iter()
                .map(|item| item["topic"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next_page_token"].as_str() else {
            break;
        };
        target = format!("/v1/transaction-checkers?limit=1&page_token={next}");
    }
    assert!(listed.contains(&topic), "{listed:?}");
    ask("DELETE", &door(&topic)).expect(204);
    ask("GET", &door(&topic)).expect(404);
    // It goes with its topic.
    put(&topic, &urls[0]).expect(201);
    ask("DELETE", &format!("/v1/topics/{topic}?confirm={topic}")).expect(204);
    ask("PUT", &format!("/v1/topics/{topic}")).expect(201);
    ask("GET", &door(&topic)).expect(404);
}

#[test]
fn what_another_door_put_is_called_too_and_the_newest_counts() {
    let topic = topic("hook-other");
    let receiver = Receiver::new(|_| resolution("commit"));
    let checker = CheckerInfo {
        created_at: 1,
        producer_group: topic.clone(),
        secret: "whsec_AAAA".to_owned(),
        topic: topic.clone(),
        url: receiver.url("http"),
    };
    run(async {
        let client = client();
        client.admin().put_checker(&checker).await.unwrap();
        client.shutdown().await;
    });
    let begun = begin(&topic);
    assert!(is_signed(&receiver.next(), "whsec_AAAA"));
    assert_eq!(decided(&topic, &begun), "committed");
}

#[test]
fn a_namespace_is_seen_by_nobody_outside() {
    static SEEN: Mutex<Vec<Value>> = Mutex::new(Vec::new());
    let name = crate::door::fresh("hook-named");
    ask("PUT", &format!("/v1/topics/{name}?namespace=shop")).expect(201);
    let receiver = Receiver::new(|call| {
        SEEN.lock().unwrap().push(call.json());
        resolution("commit")
    });
    let target = format!("{}?namespace=shop", door(&name));
    let body = json!({"url": receiver.url("http")});
    let made = ask_json("PUT", &target, &body).expect(201).json();
    assert_eq!(
        (&made["topic"], &made["producer_group"]),
        (&json!(name), &json!(format!("shop%{name}")))
    );
    let half = json!({"body": "x", "check_after": "0s"});
    ask_json(
        "POST",
        &format!("/v1/topics/{name}/transactions?namespace=shop"),
        &half,
    )
    .expect(201);
    receiver.next();
    assert_eq!(SEEN.lock().unwrap()[0]["message"]["topic"], json!(name));
}

#[test]
fn what_is_wrong_with_a_checker_is_told() {
    let topic = topic("hook-wrong");
    let long = format!("https://shop.example/{}", "x".repeat(2_100));
    for (body, status, slug, at) in [
        (json!({}), 400, "invalid-request", "/url"),
        (json!({"url": 1}), 400, "invalid-request", "/url"),
        (
            json!({"url": "", "ulr": ""}),
            400,
            "invalid-request",
            "/ulr",
        ),
        (json!({"url": ""}), 422, "forbidden-url", "/url"),
        (json!({"url": long}), 422, "forbidden-url", "/url"),
        (
            json!({"url": "http://localhost/", "producer_group": "a b"}),
            422,
            "invalid-group",
            "/producer_group",
        ),
    ] {
        let refused = ask_json("PUT", &door(&topic), &body).expect(status);
        assert_eq!(refused.problem(), slug, "{body}");
        assert_eq!(errors(&refused), [at], "{body}");
    }
    let headers = [("Content-Type", "text/plain")];
    let refused = send("PUT", &door(&topic), &headers, b"{}").expect(415);
    assert_eq!(refused.problem(), "unsupported-media-type");
    let missing = put("nowhere-at-all", "http://localhost/").expect(404);
    assert_eq!(missing.problem(), "topic-not-found");
    let normal = crate::door::fresh("hook-normal");
    ask_json(
        "PUT",
        &format!("/v1/topics/{normal}"),
        &json!({"message_type": "normal"}),
    )
    .expect(201);
    let refused = put(&normal, "http://localhost/").expect(422);
    assert_eq!(refused.problem(), "message-type-mismatch");
}
