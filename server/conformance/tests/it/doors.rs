//! One broker, two doors: what Java writes HTTP reads, and the reverse; groups, transactions and questions that have a
//! side on each. The Java half is `java/common/Mixed.java`, the other half is curl.
#![allow(clippy::unwrap_used)] // a test stops at the first surprise

mod door;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use conformance::clients::Client;
use conformance::toolchain;
use serde_json::{Value, json};

use crate::java::{client_4_9_7, client_5_3_3};
use crate::skipped;
use door::{Door, LIMIT};

fn events<'a>(all: &'a [Value], name: &'a str) -> impl Iterator<Item = &'a Value> {
    all.iter().filter(move |event| event["event"] == name)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    let text = value[name].as_str();
    text.unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn every_byte() -> Vec<u8> {
    (0..=255).collect()
}

/// A message of Java's is over HTTP what it was: text beyond Latin, bytes that are no text, tag, keys, properties, order
/// and delay.
fn http_reads_what_java_wrote(java: &Client) {
    let Some(door) = Door::open() else { return };
    let sent = java.play("mixed-send", &[("topic", &door.topic)]);
    let got = door.take_all(9);
    assert_eq!(got.len(), 9, "each once");
    let tagged = |tag: &str| {
        got.iter()
            .filter(|one| one["tag"] == tag)
            .collect::<Vec<_>>()
    };
    let sent = |what: &str| {
        events(&sent, "sent")
            .find(|event| event["what"] == what)
            .unwrap()
    };

    let full = tagged("TagA")[0];
    assert_eq!(full["body"], "Grüße, 世界 🚀");
    assert_eq!(full["body_encoding"], "utf8");
    assert_eq!(full["message_id"], sent("full")["id"]);
    assert_eq!(full["keys"], json!(["k-1", "k-2"]));
    assert_eq!(
        full["properties"],
        json!({ "region": "hz", "Stadt": "Köln ☕" })
    );
    let id = text(full, "message_id");
    let (status, found) = door.ask(&[], &format!("topics/{}/messages/{id}", door.topic));
    assert_eq!(
        (status, &found["offset"]),
        (200, &full["offset"]),
        "{found}"
    );

    let bytes = tagged("bytes")[0];
    assert_eq!(bytes["body_encoding"], "base64");
    assert_eq!(bytes["body"], BASE64_STANDARD.encode(every_byte()));

    let steps = tagged("step");
    for customer in ["customer-0", "customer-1"] {
        let mut own: Vec<_> = steps
            .iter()
            .filter(|one| one["message_group"] == customer)
            .collect();
        own.sort_by_key(|one| one["offset"].as_u64());
        let queues: BTreeSet<&str> = own.iter().map(|one| text(one, "queue")).collect();
        assert_eq!(queues.len(), 1, "queues of {customer}");
        let order: Vec<&str> = own.iter().map(|one| text(one, "body")).collect();
        let expected = match customer {
            "customer-0" => ["step 0", "step 2", "step 4"],
            _ => ["step 1", "step 3", "step 5"],
        };
        assert_eq!(order, expected);
    }

    let delayed = tagged("delayed")[0];
    assert_eq!(delayed["body"], "a second late");
    assert_eq!(delayed["message_id"], sent("delayed")["id"]);
}

#[test]
fn http_reads_what_java_4_9_7_wrote() {
    if !skipped(&["java", "mvn"]) {
        http_reads_what_java_wrote(client_4_9_7::client());
    }
}

#[test]
fn http_reads_what_java_5_3_3_wrote() {
    if !skipped(&["java", "mvn"]) {
        http_reads_what_java_wrote(client_5_3_3::client());
    }
}

/// The reverse, through each of HTTP's doors: JSON, bytes, a batch; the delayed one not before its time.
fn java_reads_what_http_wrote(java: &Client) {
    let Some(door) = Door::open() else { return };
    let properties = json!({ "region": "hz", "Stadt": "Köln ☕" });
    let body = json!({
        "body": "Grüße, 世界 🚀", "tag": "TagA", "keys": ["k-1", "k-2"], "properties": properties,
    });
    let full = door.publish(&body);
    let encoded = BASE64_STANDARD.encode(every_byte());
    door.publish(&json!({ "body": encoded, "body_encoding": "base64", "tag": "bytes" }));
    door.publish(&json!({ "body": { "für": ["Köln", null], "order": 17 }, "tag": "json" }));
    let file = conformance::workshop().join(format!("{}.bytes", door.topic));
    std::fs::write(&file, every_byte()).unwrap();
    let data = format!("@{}", file.display());
    let raw = [
        "--data-binary",
        &data,
        "-H",
        "Content-Type: image/x-test",
        "-H",
        "Mq-Tag: raw",
        "-H",
        "Mq-Keys: r-1 r-2",
        "-H",
        "Mq-Properties: Stadt=K%C3%B6ln&width=640",
    ];
    let (status, answer) = door.ask(&raw, &format!("topics/{}/messages:raw", door.topic));
    assert_eq!(status, 201, "{answer}");
    let steps: Vec<Value> = (0..6)
        .map(|n| json!({ "body": format!("step {n}"), "tag": "step", "message_group": format!("customer-{}", n % 2) }))
        .collect();
    let batch = door.post(
        &format!("topics/{}/messages:batch", door.topic),
        &json!({ "messages": steps }),
    );
    assert_eq!(batch["failed"], 0, "{batch}");
    let earliest = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64
        + 1_500;
    door.publish(&json!({ "body": "late", "tag": "delayed", "delay": "1500ms" }));

    let (told, ()) = door.beside(java, "mixed-member", &[("count", "11")], || {});
    let got: Vec<&Value> = events(&told, "got").collect();
    assert_eq!(got.len(), 11, "each once");
    let tagged = |tag: &str| {
        got.iter()
            .filter(|one| one["p.TAGS"] == tag)
            .collect::<Vec<_>>()
    };

    let one = tagged("TagA")[0];
    assert_eq!(one["body"], "Grüße, 世界 🚀");
    assert_eq!(one["id"], full["message_id"]);
    assert_eq!(one["p.KEYS"], "k-1 k-2");
    assert_eq!(
        (&one["p.region"], &one["p.Stadt"]),
        (&json!("hz"), &json!("Köln ☕"))
    );
    assert_eq!(full["queue"], format!("broker-a:{}", one["queue"]));
    assert_eq!(one["offset"], full["offset"]);
    assert_eq!(tagged("bytes")[0]["bytes"], encoded);
    assert_eq!(
        tagged("json")[0]["body"],
        r#"{"für":["Köln",null],"order":17}"#
    );
    let raw = tagged("raw")[0];
    assert_eq!(
        (&raw["bytes"], &raw["p.KEYS"]),
        (&json!(encoded), &json!("r-1 r-2"))
    );
    assert_eq!(
        (&raw["p.Stadt"], &raw["p.width"]),
        (&json!("Köln"), &json!("640"))
    );
    for (customer, expected) in [("customer-0", [0, 2, 4]), ("customer-1", [1, 3, 5])] {
        let mut own = tagged("step");
        own.retain(|one| one["p.__SHARDINGKEY"] == customer);
        own.sort_by_key(|one| one["offset"].as_u64());
        let queues: BTreeSet<u64> = own
            .iter()
            .map(|one| one["queue"].as_u64().unwrap())
            .collect();
        assert_eq!(queues.len(), 1, "queues of {customer}");
        let order: Vec<&str> = own.iter().map(|one| text(one, "body")).collect();
        assert_eq!(order, expected.map(|n| format!("step {n}")));
    }
    let late = tagged("delayed")[0];
    assert_eq!(late["body"], "late");
    assert!(
        late["at"].as_u64().unwrap() >= earliest,
        "{late} came before {earliest}"
    );
}

#[test]
fn java_4_9_7_reads_what_http_wrote() {
    if !skipped(&["java", "mvn"]) {
        java_reads_what_http_wrote(client_4_9_7::client());
    }
}

#[test]
fn java_5_3_3_reads_what_http_wrote() {
    if !skipped(&["java", "mvn"]) {
        java_reads_what_http_wrote(client_5_3_3::client());
    }
}

#[test]
fn java_decides_about_a_transaction_of_http() {
    let Some(door) = Door::open() else { return };
    let path = format!("topics/{}/transactions", door.topic);
    // In this order they are asked about.
    let begun = ["drop", "keep"].map(|body| {
        let half = json!({ "body": body, "producer_group": door.group, "check_after": "1s" });
        door.post(&path, &half)
    });
    let java = client_5_3_3::client();
    let (told, decided) = door.beside(java, "mixed-checker", &[], || {
        let got = door.take_all(2);
        let decide = |begun: &Value, resolution: &str| {
            let path = format!("{path}/{}/resolution", text(begun, "transaction_id"));
            let body = json!({ "resolution": resolution }).to_string();
            door.ask(&["-X", "PUT", "--json", &body], &path)
        };
        // What Java said stands: the same once more is fine, the contrary is told.
        let same = [decide(&begun[0], "rollback"), decide(&begun[1], "commit")];
        let contrary = [decide(&begun[0], "commit"), decide(&begun[1], "rollback")];
        door.stop();
        (got, same, contrary)
    });
    let (got, same, contrary) = decided;
    // The checker says that it is there with a message of its own.
    let kept = got.iter().find(|one| one["body"] != "here").unwrap();
    assert_eq!(got.len(), 2, "{got:?}");
    assert_eq!(kept["body"], "keep");
    assert_eq!(kept["message_id"], begun[1]["message_id"]);
    for ((status, answer), state) in same.iter().zip(["rolled_back", "committed"]) {
        assert_eq!(
            (*status, &answer["state"]),
            (200, &json!(state)),
            "{answer}"
        );
    }
    for (status, answer) in contrary {
        assert_eq!(status, 409, "{answer}");
        assert!(
            text(&answer, "type").ends_with("transaction-already-resolved"),
            "{answer}"
        );
    }
    let asked: BTreeSet<&str> = events(&told, "asked")
        .map(|event| text(event, "body"))
        .collect();
    assert_eq!(asked, BTreeSet::from(["drop", "keep"]));
}

#[test]
fn java_replies_to_http() {
    let Some(door) = Door::open() else { return };
    let path = format!("topics/{}/messages:request?timeout=5s", door.topic);
    let (_, reply) = door.beside(client_5_3_3::client(), "mixed-reply", &[], || {
        // A question that lay there before the consumer came is answered too late; the next one is not.
        let question = json!({ "body": "über HTTP" }).to_string();
        let ask = || door.ask(&["--json", &question], &path);
        let reply = door.until("reply", ask, |status, _| status == 200);
        door.publish(&json!({ "body": "stop" }));
        reply
    });
    assert_eq!(reply["reply"]["body"], "Java says über HTTP");
}

/// Whoever received a question over HTTP answers it with the token that came with it, until Java has an answer.
fn http_replies_to_java(java: &Client) {
    let Some(door) = Door::open() else { return };
    let settings = [("topic", door.topic.as_str())];
    let told = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| java.play("mixed-request", &settings));
        while !theirs.is_finished() {
            for question in door.take("max=4&wait=1s") {
                assert_eq!(question["body"], "from Java");
                let token = text(&question, "reply_token");
                let reply = json!({ "reply_token": token, "body": "über HTTP" }).to_string();
                let (status, answer) = door.ask(&["--json", &reply], "replies");
                // One that waited no more asks again.
                let gone = status == 410 && text(&answer, "type").ends_with("requester-gone");
                assert!(status == 204 || gone, "{status} {answer}");
            }
        }
        theirs.join().unwrap()
    });
    let replies: Vec<&Value> = events(&told, "reply").collect();
    assert_eq!(replies.len(), 1, "{told:?}");
    assert_eq!(replies[0]["body"], "über HTTP");
}

#[test]
fn http_replies_to_java_4_9_7() {
    if !skipped(&["java", "mvn"]) {
        http_replies_to_java(client_4_9_7::client());
    }
}

#[test]
fn http_replies_to_java_5_3_3() {
    if !skipped(&["java", "mvn"]) {
        http_replies_to_java(client_5_3_3::client());
    }
}

/// What CloudEvents' own SDK for Java writes is published, in every mode, and what is received, browsed, followed and
/// streamed it reads, with equal attributes and data (`java/events`).
#[test]
fn the_java_sdk_of_cloudevents_reads_what_it_wrote() {
    let Some(door) = Door::open() else { return };
    let mut java = Command::new("java");
    java.args([
        "-Xmx128m",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-cp",
    ]);
    java.arg(toolchain::events()).arg("Events");
    let output = java.args([&door.base, &door.topic, &door.group]).output();
    let output = output.unwrap();
    let (said, why) = (&output.stdout, &output.stderr);
    let [said, why] = [said, why].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{said}{why}");
    assert_eq!(said.lines().count(), 4, "{said}");
}

/// A group that pops may be popped from anywhere: each message comes to one of them, once.
#[test]
fn curl_a_stream_and_a_java_consumer_that_pops_share_a_group() {
    let Some(door) = Door::open() else { return };
    let clients = format!("groups/{}/clients", door.group);
    let wanted = format!("groups/{}/subscriptions/{}", door.group, door.topic);
    let (status, answer) = door.ask(&["-X", "PUT"], &wanted);
    assert_eq!(status, 201, "{answer}");
    let (told, (sent, mut ours)) = door.beside(
        client_5_3_3::client(),
        "mixed-member",
        &[("pop", "true")],
        || {
            // Through its broker, it says since when it is there and what it has in hand.
            door.until(
                "member",
                || door.ask(&[], &clients),
                |_, all| {
                    let mut all = all["items"].as_array().into_iter().flatten();
                    all.any(|one| one["since"].is_string() && one["in_flight"].is_u64())
                },
            );
            let (mut sent, mut ours) = (BTreeSet::new(), Vec::new());
            let stream = door.follow("max_events=8&max_in_flight=4");
            let end = Instant::now() + LIMIT;
            while ours.len() < 8 || !stream.is_over() {
                assert!(Instant::now() < end, "curl gets too little: {ours:?}");
                let bodies: Vec<String> = (0..16).map(|n| format!("{}", sent.len() + n)).collect();
                let messages: Vec<Value> =
                    bodies.iter().map(|body| json!({ "body": body })).collect();
                let batch = json!({ "messages": messages });
                door.post(&format!("topics/{}/messages:batch", door.topic), &batch);
                sent.extend(bodies);
                ours.extend(door.take("max=4&wait=1s"));
            }
            let streamed = stream.end();
            assert_eq!(streamed.len(), 8);
            ours.extend(streamed);
            door.until_nothing_is_left();
            door.stop();
            (sent, ours)
        },
    );
    let theirs: Vec<&str> = events(&told, "got")
        .map(|event| text(event, "body"))
        .collect();
    assert!(!theirs.is_empty(), "Java got nothing");
    let mut all: Vec<String> = ours
        .drain(..)
        .map(|one| text(&one, "body").to_owned())
        .collect();
    all.extend(theirs.into_iter().map(str::to_owned));
    assert_eq!(all.len(), sent.len(), "each once");
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), sent);
}

/// A group that pulls is its members' alone: curl is told who they are and what to do, and goes on where they left off.
fn curl_waits_while_java_pulls(java: &Client) {
    let Some(door) = Door::open() else { return };
    let (told, refused) = door.beside(java, "mixed-member", &[], || {
        let refused = door.until(
            "refusal",
            || door.receive("wait=0s"),
            |status, _| status == 409,
        );
        for n in 0..3 {
            door.publish(&json!({ "body": format!("pulled {n}") }));
        }
        door.until_nothing_is_left();
        door.stop();
        refused
    });
    assert!(
        text(&refused, "type").ends_with("group-consumed-by-pull"),
        "{refused}"
    );
    let detail = text(&refused, "detail");
    assert!(detail.contains("setClientRebalance(false)"), "{detail}");
    let clients = refused["client_ids"].as_array().unwrap();
    assert!(
        matches!(&clients[..], [one] if one.as_str().unwrap().contains("@member")),
        "{refused}"
    );
    assert_eq!(events(&told, "got").count(), 3);
    door.publish(&json!({ "body": "popped" }));
    door.until(
        "lease",
        || door.receive("wait=5s"),
        |status, answer| {
            assert!(status == 200 || status == 409, "{answer}");
            let bodies = answer["messages"].as_array().into_iter().flatten();
            let bodies: Vec<&str> = bodies.map(|one| text(one, "body")).collect();
            assert!(
                bodies.iter().all(|body| *body == "popped"),
                "came again: {bodies:?}"
            );
            bodies == ["popped"]
        },
    );
}

#[test]
fn curl_waits_while_java_4_9_7_pulls() {
    if !skipped(&["java", "mvn"]) {
        curl_waits_while_java_pulls(client_4_9_7::client());
    }
}

#[test]
fn curl_waits_while_java_5_3_3_pulls() {
    if !skipped(&["java", "mvn"]) {
        curl_waits_while_java_pulls(client_5_3_3::client());
    }
}
