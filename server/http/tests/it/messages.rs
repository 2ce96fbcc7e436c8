//! Messages by HTTP: published at every door, received, settled.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::door::{Answer, ask, ask_json, client, fresh, send};

/// A new topic's name.
pub fn topic(name: &str) -> String {
    let topic = fresh(name);
    ask("PUT", &format!("/v1/topics/{topic}")).expect(201);
    topic
}

/// A new group.
pub fn group(name: &str) -> String {
    group_with(name, |_| {})
}

pub fn group_with(name: &str, change: impl FnOnce(&mut posthouse_client::GroupConfig)) -> String {
    let name = fresh(name);
    let mut config =
        posthouse_client::GroupConfig::new(posthouse_client::GroupName::parse(&name).unwrap());
    change(&mut config);
    run(async {
        let client = client();
        client.admin().put_group(&config).await.unwrap();
        client.shutdown().await;
    });
    name
}

pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work)
}

pub fn publish(topic: &str, envelope: &Value) -> Answer {
    ask_json("POST", &format!("/v1/topics/{topic}/messages"), envelope)
}

/// Receives, and makes the subscription if there is none.
pub fn receive(group: &str, topic: &str, more: &str) -> Vec<Value> {
    let target = format!("/v1/groups/{group}/messages:receive?topic={topic}&tag=*{more}");
    let answer = ask("POST", &target).expect(200);
    answer.json()["messages"].as_array().unwrap().clone()
}

pub fn settle(group: &str, verb: &str, leases: &[&str], more: Value) -> Answer {
    let mut body = json!({ "lease_ids": leases });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    ask_json("POST", &format!("/v1/groups/{group}/leases:{verb}"), &body)
}

pub fn lease(message: &Value) -> &str {
    message["lease_id"].as_str().unwrap()
}

pub fn errors(answer: &Answer) -> Vec<String> {
    let errors = answer.json()["errors"].clone();
    let place = |error: &Value| {
        let named = ["pointer", "parameter", "header"]
            .iter()
            .find_map(|name| error[name].as_str());
        named.unwrap().to_owned()
    };
    errors.as_array().unwrap().iter().map(place).collect()
}

#[test]
fn what_is_published_is_received_as_it_was_and_acked_once() {
    let (topic, group) = (topic("round"), group("round"));
    let envelope = json!({
        "body": {"order": 17, "total": 99.5}, "tag": "paid", "keys": ["o-17", "c-7"],
        "properties": {"region": "hz", "ä": "ö"}, "message_group": "cust-7"
    });
    let sent = publish(&topic, &envelope).expect(201);
    let told = sent.json();
    assert_eq!(told["topic"], topic);
    assert_eq!(told["send_status"], "stored");
    assert_eq!(sent.header("mq-durability"), "page-cache");
    let id = told["message_id"].as_str().unwrap();
    let location = format!("/v1/topics/{topic}/messages/{id}");
    assert_eq!(sent.header("location"), location);
    let got = receive(&group, &topic, "&wait=10s&max=32");
    assert_eq!(got.len(), 1, "{got:?}");
    let message = &got[0];
    let wanted = json!({
        "message_id": id, "topic": topic, "queue": told["queue"], "offset": told["offset"],
        "body": "{\"order\":17,\"total\":99.5}", "body_encoding": "utf8",
        "content_type": "application/json", "tag": "paid", "keys": ["o-17", "c-7"],
        "properties": {"region": "hz", "ä": "ö"}, "message_group": "cust-7",
        "delivery_attempt": 1, "dead_letter": null, "reply_token": null, "trace_parent": null
    });
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(&message[name], value, "{name}");
    }
    let acked = settle(&group, "ack", &[lease(message)], json!({})).expect(200);
    assert_eq!(acked.json()["results"][0]["lease_id"], message["lease_id"]);
    // While the lease lives, once more is the same.
    settle(&group, "ack", &[lease(message)], json!({})).expect(200);
    assert_eq!(receive(&group, &topic, "&wait=0s").len(), 0);
}

#[test]
fn every_encoding_of_a_body_comes_back() {
    let (topic, group) = (topic("bodies"), group("bodies"));
    let cases = [
        (
            json!({"body": "text ä"}),
            json!("text ä"),
            "utf8",
            "text/plain",
        ),
        (
            json!({"body": [1, {"a": null}]}),
            json!("[1,{\"a\":null}]"),
            "utf8",
            "application/json",
        ),
        (
            json!({"body": "AP8=", "body_encoding": "base64"}),
            json!("AP8="),
            "base64",
            "application/octet-stream",
        ),
        (
            json!({"body": "x", "body_encoding": "json"}),
            json!("\"x\""),
            "utf8",
            "application/json",
        ),
        (
            json!({"body": "<a/>", "content_type": "text/xml"}),
            json!("<a/>"),
            "utf8",
            "text/xml",
        ),
    ];
    for (envelope, body, encoding, kind) in &cases {
        publish(&topic, envelope).expect(201);
        let got = receive(&group, &topic, "&wait=10s&max=1");
        let shown = (
            &got[0]["body"],
            &got[0]["body_encoding"],
            &got[0]["content_type"],
        );
        assert_eq!(shown, (body, &json!(encoding), &json!(kind)));
        settle(&group, "ack", &[lease(&got[0])], json!({})).expect(200);
    }
    publish(&topic, &cases[1].0).expect(201);
    let got = receive(&group, &topic, "&wait=10s&body=json");
    assert_eq!(got[0]["body"], json!([1, {"a": null}]));
    assert_eq!(got[0]["body_encoding"], "json");
}

#[test]
fn all_that_is_wrong_with_a_message_is_told() {
    let topic = topic("wrong");
    let two = publish(
        &topic,
        &json!({"body": "x", "delay": "5 minutes", "tga": "a"}),
    )
    .expect(400);
    assert_eq!(two.problem(), "invalid-request");
    let mut told = errors(&two);
    told.sort();
    assert_eq!(told, ["/delay", "/tga"]);
    let long = "x".repeat(20_000);
    for (envelope, status, slug) in [
        (json!({}), 400, "invalid-request"),
        (json!({"body": 1, "tag": 7}), 400, "invalid-request"),
        (json!({"body": "x", "tag": null}), 400, "invalid-request"),
        (json!({"body": ""}), 422, "empty-body"),
        (
            json!({"body": "a", "body_encoding": "base64"}),
            422,
            "invalid-base64",
        ),
        (
            json!({"body": "x", "body_encoding": "gzip"}),
            400,
            "invalid-request",
        ),
        (json!({"body": "x", "tag": "a|b"}), 422, "invalid-tag"),
        (json!({"body": "x", "keys": ["a b"]}), 422, "invalid-key"),
        (
            json!({"body": "x", "keys": vec!["k"; 17]}),
            422,
            "invalid-key",
        ),
        (
            json!({"body": "x", "message_group": "g".repeat(64)}),
            422,
            "invalid-message-group",
        ),
        (
            json!({"body": "x", "properties": {"a": ""}}),
            422,
            "invalid-property",
        ),
        (
            json!({"body": "x", "properties": {"KEYS": "a"}}),
            422,
            "reserved-property",
        ),
        (
            json!({"body": "x", "properties": {"a": long}}),
            422,
            "properties-too-large",
        ),
        (
            json!({"body": "x", "delay": "1s", "delay_level": 1}),
            422,
            "invalid-delivery-time",
        ),
        (
            json!({"body": "x", "delay_level": 19}),
            422,
            "invalid-delivery-time",
        ),
        (
            json!({"body": "x", "delay": "400d"}),
            422,
            "invalid-delivery-time",
        ),
        (
            json!({"body": "x", "deliver_at": "tomorrow"}),
            400,
            "invalid-request",
        ),
    ] {
        let answer = publish(&topic, &envelope);
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, slug),
            "{envelope}"
        );
    }
    let target = format!("/v1/topics/{topic}/messages");
    let json = [("Content-Type", "application/json")];
    for body in [
        "",
        "{",
        "{\"body\":1,\"body\":2}",
        "{\"body\":1} x",
        "[\u{1}]",
    ] {
        let answer = send("POST", &target, &json, body.as_bytes()).expect(400);
        assert_eq!(answer.problem(), "malformed-json", "{body}");
    }
    let plain = send("POST", &target, &[("Content-Type", "text/plain")], b"{}");
    assert_eq!(plain.expect(415).problem(), "unsupported-media-type");
    let none = publish("nobody-made-this", &json!({"body": "x"})).expect(404);
    assert_eq!(none.problem(), "topic-not-found");
    let reserved = publish("TBW102", &json!({"body": "x"})).expect(403);
    assert_eq!(reserved.problem(), "reserved-topic");
    let group = group("wrong");
    assert_eq!(
        receive(&group, &topic, "&wait=0s").len(),
        0,
        "something was stored"
    );
}

#[test]
fn a_body_as_long_as_allowed_is_taken_and_one_byte_more_is_not() {
    let (topic, group) = (topic("long"), group("long"));
    let most = 4 << 20;
    publish(&topic, &json!({"body": "x".repeat(most)})).expect(201);
    let answer = publish(&topic, &json!({"body": "x".repeat(most + 1)})).expect(413);
    assert_eq!(answer.problem(), "message-too-large");
    let got = receive(&group, &topic, "&wait=10s");
    assert_eq!(got[0]["body"].as_str().unwrap().len(), most);
    let raw = format!("/v1/topics/{topic}/messages:raw");
    let answer = send("POST", &raw, &[], &vec![0; most + 1]).expect(413);
    assert_eq!(answer.problem(), "message-too-large");
}

#[test]
fn bytes_are_published_and_received_as_bytes() {
    let (topic, group) = (topic("raw"), group("raw"));
    let headers = [
        ("Content-Type", "image/png"),
        ("Mq-Tag", "thumb%C3%A4"),
        ("Mq-Keys", "a b"),
        ("Mq-Properties", "width=640&Note=a+b"),
    ];
    let body = [0, 1, 0xff, b'\n'];
    let sent = send(
        "POST",
        &format!("/v1/topics/{topic}/messages:raw"),
        &headers,
        &body,
    )
    .expect(201);
    receive(&group, &topic, "&wait=0s&lease=1s&max=1");
    let target = format!("/v1/groups/{group}/messages:receive?max=1&wait=20s");
    let bytes = [("Accept", "application/octet-stream")];
    let got = send("POST", &target, &bytes, b"").expect(200);
    assert_eq!(got.body, body);
    assert_eq!(got.header("content-type"), "image/png");
    assert_eq!(got.header("mq-tag"), "thumb%C3%A4");
    assert_eq!(got.header("mq-keys"), "a b");
    assert_eq!(got.header("mq-properties"), "width=640&Note=a%20b");
    assert_eq!(got.header("mq-message-id"), sent.json()["message_id"]);
    assert_eq!(got.header("content-disposition"), "attachment");
    assert_eq!(got.header("content-security-policy"), "sandbox");
    assert_eq!(got.header("cache-control"), "no-store");
    settle(&group, "ack", &[got.header("mq-lease-id")], json!({})).expect(200);
    let none = format!("/v1/groups/{group}/messages:receive?max=1&wait=0s");
    send("POST", &none, &bytes, b"").expect(204);
    let many = format!("/v1/groups/{group}/messages:receive?max=2&wait=0s");
    assert_eq!(
        send("POST", &many, &bytes, b"").expect(400).problem(),
        "invalid-parameter"
    );
    let wrong = [("Mq-Tga", "x"), ("Mq-Delay", "soon")];
    let wrong = send(
        "POST",
        &format!("/v1/topics/{topic}/messages:raw"),
        &wrong,
        b"x",
    )
    .expect(400);
    assert_eq!(errors(&wrong), ["mq-tga", "mq-delay"]);
}

#[test]
fn each_message_of_a_batch_has_its_own_fate() {
    let (topic, group) = (topic("batch"), group("batch"));
    let target = format!("/v1/topics/{topic}/messages:batch");
    let batch = json!({"messages": [
        {"id": "a", "body": "1", "message_group": "g"},
        {"id": "b", "body": "2", "tag": "x|y"},
        {"body": "3"},
        {"body": "4", "message_group": "g", "keys": [""]},
        {"body": "5", "message_group": "g"},
        {"body": "6", "delay": "1h"}
    ]});
    let answer = ask_json("POST", &target, &batch).expect(207);
    let told = answer.json();
    assert_eq!(told["failed"], 3);
    let results = told["results"].as_array().unwrap();
    let status: Vec<_> = results
        .iter()
        .map(|one| one["status"].as_u64().unwrap())
        .collect();
    assert_eq!(status, [201, 422, 201, 422, 424, 201]);
    assert_eq!(
        results[1]["problem"]["errors"][0]["pointer"],
        "/messages/1/tag"
    );
    assert_eq!(
        results[4]["problem"]["type"],
        "/problems/predecessor-failed"
    );
    assert!(results[5]["recall_handle"].is_string() && results[5]["queue"].is_null());
    let mut bodies: Vec<String> = Vec::new();
    while bodies.len() < 2 {
        let got = receive(&group, &topic, "&wait=10s&max=32");
        bodies.extend(
            got.iter()
                .map(|one| one["body"].as_str().unwrap().to_owned()),
        );
    }
    bodies.sort();
    assert_eq!(bodies, ["1", "3"]);
    let many: Vec<_> = (0..256)
        .map(|n| json!({"body": n, "message_group": "all"}))
        .collect();
    let answer = ask_json("POST", &target, &json!({"messages": many})).expect(200);
    let offsets = answer.json()["results"].as_array().unwrap().clone();
    let first = offsets[0]["offset"].as_u64().unwrap();
    for (n, one) in offsets.iter().enumerate() {
        assert_eq!(one["offset"].as_u64().unwrap(), first + n as u64);
    }
    let many = vec![json!({"body": "x"}); 257];
    for (wrong, status, slug) in [
        (json!({"messages": []}), 422, "invalid-batch"),
        (json!({"messages": many}), 422, "invalid-batch"),
        (json!({"messages": 7}), 400, "invalid-request"),
        (json!({}), 400, "invalid-request"),
    ] {
        let answer = ask_json("POST", &target, &wrong);
        assert_eq!((answer.status, answer.problem().as_str()), (status, slug));
    }
}

#[test]
fn a_batch_is_kept_as_it_was_said_however_long_it_takes_to_read() {
    let (topic, group) = (topic("long-batch"), group("long-batch"));
    let target = format!("/v1/topics/{topic}/messages:batch");
    let text = |n: usize, fill: &str| format!("{n} {}", fill.repeat(1_000));
    // What is read at once, what is too long for that, and what is short and takes longer.
    let quick: Vec<_> = (0..100).map(|n| json!(text(n, "x"))).collect();
    let long: Vec<_> = (0..256).map(|n| json!(text(n, "\t\u{e9}"))).collect();
    let dense: Vec<_> = (0..3).map(|n| json!(vec![n; 5_000])).collect();
    let mut kept = std::collections::BTreeMap::new();
    for bodies in [quick, long, dense] {
        let messages: Vec<_> = bodies
            .iter()
            .map(|body| json!({"body": body, "tag": "paid", "message_group": "all"}))
            .collect();
        let answer = ask_json("POST", &target, &json!({ "messages": messages })).expect(200);
        let results = answer.json()["results"].as_array().unwrap().clone();
        assert_eq!(results.len(), bodies.len());
        for (result, body) in results.iter().zip(bodies) {
            let id = result["message_id"].as_str().unwrap().to_owned();
            let text = match body {
                Value::String(text) => text,
                body => body.to_string(),
            };
            kept.insert(id, (result["offset"].as_u64().unwrap(), text));
        }
    }
    assert_eq!(kept.len(), 359);
    while !kept.is_empty() {
        let got = receive(&group, &topic, "&wait=10s&max=32&lease=5m");
        assert!(!got.is_empty(), "{} did not come", kept.len());
        for one in &got {
            let (offset, body) = kept.remove(one["message_id"].as_str().unwrap()).unwrap();
            assert_eq!(one["offset"], offset);
            assert_eq!(
                (one["body"].as_str(), one["tag"].as_str()),
                (Some(&*body), Some("paid"))
            );
        }
    }
}

#[test]
fn a_delayed_message_is_called_back_or_comes() {
    let (topic, group) = (topic("later"), group("later"));
    let sent = publish(&topic, &json!({"body": "never", "delay": "1h"})).expect(201);
    let told = sent.json();
    assert!(
        told["queue"].is_null() && told["deliver_at"].is_string(),
        "{told}"
    );
    let handle = told["recall_handle"].as_str().unwrap();
    let target =
        |topic: &str, handle: &str| format!("/v1/topics/{topic}/scheduled-messages/{handle}");
    let other = crate::messages::topic("other");
    let wrong = ask("DELETE", &target(&other, handle)).expect(422);
    assert_eq!(wrong.problem(), "recall-mismatch");
    for _ in ["first", "again"] {
        ask("DELETE", &target(&topic, handle)).expect(204);
    }
    let garbled = ask("DELETE", &target(&topic, "nonsense")).expect(400);
    assert_eq!(garbled.problem(), "invalid-recall-handle");
    // In the year 2603: no message waits that long, so it is not on its way either.
    let far = format!("v1 {topic} broker-a 19999999999999 7F00");
    let far = base64::engine::general_purpose::URL_SAFE.encode(far);
    let far = ask("DELETE", &target(&topic, &far)).expect(400);
    assert_eq!(far.problem(), "invalid-recall-handle");
    let soon = publish(&topic, &json!({"body": "soon", "delay": "1s"})).expect(201);
    publish(
        &topic,
        &json!({"body": "past", "deliver_at": "2020-01-01T00:00:00Z"}),
    )
    .expect(201);
    let by_level = publish(&topic, &json!({"body": "level", "delay_level": 1})).expect(201);
    assert!(by_level.json()["recall_handle"].is_null());
    let mut bodies: Vec<String> = Vec::new();
    while bodies.len() < 3 {
        let got = receive(&group, &topic, "&wait=20s&max=32");
        assert!(!got.is_empty(), "only {bodies:?} came");
        bodies.extend(
            got.iter()
                .map(|one| one["body"].as_str().unwrap().to_owned()),
        );
    }
    bodies.sort();
    assert_eq!(bodies, ["level", "past", "soon"]);
    let soon = soon.json()["recall_handle"].clone();
    let late = ask("DELETE", &target(&topic, soon.as_str().unwrap())).expect(409);
    assert_eq!(late.problem(), "message-already-due");
}

#[test]
fn a_topic_that_may_only_be_read_takes_nothing() {
    let topic = fresh("read-only");
    let path = format!("/v1/topics/{topic}");
    ask_json("PUT", &path, &json!({"permission": "r"})).expect(201);
    let refused = publish(&topic, &json!({"body": "x"})).expect(403);
    assert_eq!(refused.problem(), "topic-not-writable");
    let raw = send("POST", &format!("{path}/messages:raw"), &[], b"x").expect(403);
    assert_eq!(raw.problem(), "topic-not-writable");
    assert_eq!(ask("GET", &format!("{path}/stats")).json()["messages"], 0);
}

#[test]
fn a_groups_filter_is_the_groups_and_no_call_changes_it() {
    let (topic, group) = (topic("filter"), group("filter"));
    for tag in ["paid", "refunded", "open"] {
        publish(
            &topic,
            &json!({"body": tag, "tag": tag, "message_group": "g"}),
        )
        .expect(201);
    }
    let target = |filter: &str| {
        format!("/v1/groups/{group}/messages:receive?topic={topic}&wait=10s&max=32{filter}")
    };
    let mut bodies: Vec<String> = Vec::new();
    while bodies.len() < 2 {
        let got = ask("POST", &target("&tag=paid+%7C%7C+refunded"))
            .expect(200)
            .json();
        let got = got["messages"].as_array().unwrap();
        bodies.extend(
            got.iter()
                .map(|one| one["body"].as_str().unwrap().to_owned()),
        );
    }
    bodies.sort();
    assert_eq!(bodies, ["paid", "refunded"]);
    let other = ask("POST", &target("&tag=open")).expect(409);
    assert_eq!(other.problem(), "subscription-mismatch");
    ask(
        "POST",
        &format!("/v1/groups/{group}/messages:receive?wait=0s"),
    )
    .expect(200);
    let wrong = ask("POST", &target("&sql=a+%3E+%3E")).expect(409);
    assert_eq!(wrong.problem(), "subscription-mismatch");
    let fresh = crate::messages::group("sql");
    let sql = format!("/v1/groups/{fresh}/messages:receive?topic={topic}&wait=0s&sql=");
    assert_eq!(
        ask("POST", &format!("{sql}a+%3E+%3E"))
            .expect(422)
            .problem(),
        "invalid-filter"
    );
}
