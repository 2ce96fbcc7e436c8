//! Transactions by HTTP.

use serde_json::{Value, json};

use crate::door::{Answer, ask_json};
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
    let otherwise = resolve(&topic, id, "rollback").expect(409);
    assert_eq!(otherwise.problem(), "transaction-already-resolved");
    assert_eq!(otherwise.json()["state"], "committed");
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
fn a_commit_is_welcome_long_after_the_broker_began_to_ask() {
    let (topic, group) = (topic("late"), group("late"));
    let begun = begin(&topic, &json!({"body": "x", "check_after": "1s"}))
        .expect(201)
        .json();
    // Nobody is asked: two more messages that are late by two seconds show that time has passed.
    let later = json!({"body": "clock", "delay": "2s"});
    crate::messages::publish(&topic, &later).expect(201);
    assert_eq!(receive(&group, &topic, "&wait=20s")[0]["body"], "clock");
    resolve(&topic, begun["transaction_id"].as_str().unwrap(), "commit").expect(200);
    assert_eq!(receive(&group, &topic, "&wait=20s")[0]["body"], "x");
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
            json!({"body": "x", "timeout": "1h"}),
            501,
            "unsupported-by-broker",
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
