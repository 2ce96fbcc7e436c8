//! Transactions by HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use posthouse_client::{Begin, Check, Decision, Message, ProducerOptions};
use serde_json::{Value, json};

use crate::door::{Answer, LIMIT, ask, ask_json, client};
use crate::messages::{group, receive, topic};

fn begin(topic: &str, envelope: &Value) -> Answer {
    ask_json(
        "POST",
        &format!("/v1/topics/{topic}/transactions"),
        envelope,
    )
}

fn resolve(topic: &str, id: &str, word: &str) -> Answer {
    let target = format!("/v1/topics/{topic}/transactions/{id}/resolution");
    ask_json("PUT", &target, &json!({"resolution": word}))
}

#[test]
fn a_half_message_is_seen_once_it_is_committed_and_once_only() {
    let (topic, group) = (topic("commit"), group("commit"));
    let begun = begin(
        &topic,
        &json!({"body": "x", "keys": ["o-17"], "check_after": "1h"}),
    )
    .expect(201);
    let told = begun.json();
    let id = told["transaction_id"].as_str().unwrap();
    assert_eq!(
        begun.header("location"),
        format!("/v1/topics/{topic}/transactions/{id}")
    );
    assert_eq!(receive(&group, &topic, "&wait=0s").len(), 0);
    assert_eq!(
        resolve(&topic, id, "unknown").expect(200).json()["state"],
        "pending"
    );
    for _ in 0..2 {
        let done = resolve(&topic, id, "commit").expect(200).json();
        assert_eq!(
            (&done["state"], &done["message_id"]),
            (&json!("committed"), &told["message_id"])
        );
    }
    for otherwise in ["rollback", "unknown"] {
        let otherwise = resolve(&topic, id, otherwise).expect(409);
        assert_eq!(otherwise.problem(), "transaction-already-resolved");
        assert_eq!(otherwise.json()["state"], "committed");
    }
    let got = receive(&group, &topic, "&wait=10s");
    assert_eq!(
        (got.len(), &got[0]["body"], &got[0]["keys"]),
        (1, &json!("x"), &json!(["o-17"]))
    );
    assert_eq!(receive(&group, &topic, "&wait=0s").len(), 0);
}

#[test]
fn what_is_rolled_back_is_never_seen() {
    let (topic, group) = (topic("rollback"), group("rollback"));
    let begun = begin(&topic, &json!({"body": "x"})).expect(201).json();
    let id = begun["transaction_id"].as_str().unwrap();
    for _ in 0..2 {
        assert_eq!(
            resolve(&topic, id, "rollback").expect(200).json()["state"],
            "rolled_back"
        );
    }
    assert_eq!(
        resolve(&topic, id, "commit").expect(409).json()["state"],
        "rolled_back"
    );
    assert_eq!(receive(&group, &topic, "&wait=0s").len(), 0);
}

#[test]
fn a_commit_is_welcome_five_seconds_after_the_broker_began_to_ask() {
    let (topic, group) = (topic("late"), group("late"));
    let begun = begin(&topic, &json!({"body": "x", "check_after": "1s"}))
        .expect(201)
        .json();
    // Nobody is asked: a message that is late by six seconds shows that time has passed.
    let later = json!({"body": "clock", "delay": "6s"});
    crate::messages::publish(&topic, &later).expect(201);
    assert_eq!(receive(&group, &topic, "&wait=20s")[0]["body"], "clock");
    resolve(&topic, begun["transaction_id"].as_str().unwrap(), "commit").expect(200);
    assert_eq!(receive(&group, &topic, "&wait=20s")[0]["body"], "x");
}

fn state(topic: &str, id: &str) -> Value {
    let target = format!("/v1/topics/{topic}/transactions/{id}");
    ask("GET", &target).expect(200).json()
}

/// Asks how a transaction stands until that is what is wanted.
fn until(topic: &str, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + LIMIT;
    loop {
        let now = state(topic, id);
        if wanted(&now) {
            return now;
        }
        assert!(Instant::now() < end, "{now}");
    }
}

#[test]
fn a_transaction_says_how_it_stands() {
    let (own, other) = (topic("state"), topic("state-other"));
    for (word, then) in [("commit", "committed"), ("rollback", "rolled_back")] {
        let envelope =
            json!({"body": "x", "check_after": "1h", "timeout": "2h", "producer_group": "shop"});
        let begun = begin(&own, &envelope).expect(201).json();
        let id = begun["transaction_id"].as_str().unwrap();
        let expected = |state: &str, checks: Value| {
            json!({
                "transaction_id": id, "message_id": begun["message_id"], "producer_group": "shop",
                "state": state, "checks": checks, "expires_at": begun["expires_at"],
            })
        };
        assert_eq!(state(&own, id), expected("pending", json!(0)));
        resolve(&own, id, word).expect(200);
        assert_eq!(state(&own, id), expected(then, Value::Null));
        let elsewhere = format!("/v1/topics/{other}/transactions/{id}");
        let refused = ask("GET", &elsewhere).expect(400);
        assert_eq!(refused.problem(), "invalid-transaction-id");
    }
}

#[test]
fn behind_its_time_limit_a_transaction_is_rolled_back_and_no_decision_counts() {
    let (topic, group) = (topic("timeout"), group("timeout"));
    let envelope = json!({"body": "x", "check_after": "1h", "timeout": "1s"});
    let begun = begin(&topic, &envelope).expect(201).json();
    let id = begun["transaction_id"].as_str().unwrap();
    until(&topic, id, |now| now["state"] == "timed_out");
    for word in ["commit", "rollback", "unknown"] {
        let refused = resolve(&topic, id, word).expect(409);
        assert_eq!(refused.problem(), "transaction-already-resolved");
        assert_eq!(refused.json()["state"], "timed_out", "{word}");
    }
    assert_eq!(receive(&group, &topic, "&wait=0s").len(), 0);
}

#[test]
fn a_commit_counts_after_fifteen_times_unknown_and_before_its_time_limit() {
    let (topic, group) = (topic("unknown"), group("unknown"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let (counts, own) = (asked.clone(), topic.clone());
    // A producer of the group, which by default has the topic's name.
    let producer = runtime.block_on(async move {
        let decide = move |_: Check| {
            counts.fetch_add(1, Ordering::Relaxed);
            async { Decision::Unknown }
        };
        let options = ProducerOptions::default();
        client().transaction_producer(&own, options, decide)
    });
    let producer = producer.unwrap();
    // What it sends makes it known to the broker.
    let clock = Message::new(topic.as_str(), "clock");
    runtime
        .block_on(producer.begin(clock, &Begin::default()))
        .unwrap();
    let begun = begin(&topic, &json!({"body": "x", "check_after": "0s"}))
        .expect(201)
        .json();
    let id = begun["transaction_id"].as_str().unwrap();
    until(&topic, id, |now| now["checks"] == 15);
    // It would be asked once more within this time.
    let later = json!({"body": "clock", "delay": "2s"});
    crate::messages::publish(&topic, &later).expect(201);
    assert_eq!(receive(&group, &topic, "&wait=20s")[0]["body"], "clock");
    assert_eq!(state(&topic, id)["checks"], 15);
    resolve(&topic, id, "commit").expect(200);
    assert_eq!(receive(&group, &topic, "&wait=20s")[0]["body"], "x");
    assert!(asked.load(Ordering::Relaxed) >= 15);
    runtime.block_on(producer.shutdown());
}

#[test]
fn what_is_wrong_with_a_transaction_is_told() {
    let (own, other) = (topic("tx-wrong"), topic("tx-other"));
    for (envelope, status, slug) in [
        (
            json!({"body": "x", "delay": "1s"}),
            422,
            "message-type-mismatch",
        ),
        (
            json!({"body": "x", "message_group": "g"}),
            422,
            "message-type-mismatch",
        ),
        (
            json!({"body": "x", "producer_group": "a b"}),
            422,
            "invalid-group",
        ),
        (
            json!({"body": "x", "check_after": "2h"}),
            422,
            "invalid-delivery-time",
        ),
        (
            json!({"body": "x", "check_aftr": "2s"}),
            400,
            "invalid-request",
        ),
        (json!({"body": ""}), 422, "empty-body"),
        (
            json!({"body": "x", "timeout": "73h"}),
            422,
            "invalid-delivery-time",
        ),
        (
            json!({"body": "x", "timeout": "999ms"}),
            422,
            "invalid-delivery-time",
        ),
    ] {
        let answer = begin(&own, &envelope);
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, slug),
            "{envelope}"
        );
    }
    let id = begin(&own, &json!({"body": "x"})).expect(201).json()["transaction_id"].clone();
    let id = id.as_str().unwrap();
    assert_eq!(
        resolve(&other, id, "commit").expect(400).problem(),
        "invalid-transaction-id"
    );
    assert_eq!(
        resolve(&own, "tx_x", "commit").expect(400).problem(),
        "invalid-transaction-id"
    );
    assert_eq!(
        resolve(&own, id, "perhaps").expect(400).problem(),
        "invalid-request"
    );
}
