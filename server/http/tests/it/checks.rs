//! Questions what became of transactions, answered by HTTP.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::door::{ask, ask_json};
use crate::events;
use crate::messages::{group, publish, receive, topic};

/// Begins a transaction that is asked about at once.
pub fn begin(topic: &str) -> Value {
    let target = format!("/v1/topics/{topic}/transactions");
    let half = json!({"body": {"order": 17}, "keys": ["o-17"], "check_after": "0s"});
    ask_json("POST", &target, &half).expect(201).json()
}

pub fn checks(topic: &str, query: &str) -> Vec<Value> {
    let target = format!("/v1/topics/{topic}/transaction-checks:receive?{query}");
    let answer = ask("POST", &target).expect(200).json();
    answer["checks"].as_array().unwrap().clone()
}

fn resolve(topic: &str, id: &str, resolution: &Value) -> crate::door::Answer {
    let target = format!("/v1/topics/{topic}/transactions/{id}/resolution");
    ask_json("PUT", &target, resolution)
}

/// How often was asked about a transaction, once so many seconds are over by the broker's clock.
pub fn asked_after(seconds: u32, topic: &str, group: &str, id: &str) -> Value {
    let later = json!({"body": "clock", "delay": format!("{seconds}s")});
    publish(topic, &later).expect(201);
    assert_eq!(receive(group, topic, "&wait=20s")[0]["body"], "clock");
    let target = format!("/v1/topics/{topic}/transactions/{id}");
    ask("GET", &target).expect(200).json()["checks"].clone()
}

#[test]
fn a_question_is_asked_while_somebody_waits_for_it_and_no_longer() {
    let (topic, group) = (topic("asked"), group("asked"));
    let begun = begin(&topic);
    let id = begun["transaction_id"].as_str().unwrap();
    assert_eq!(asked_after(2, &topic, &group, id), 0, "nobody is there");
    let asked = checks(&topic, "wait=20s&body=json");
    let [one] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    assert_eq!(one["transaction_id"], begun["transaction_id"]);
    assert_eq!(one["attempt"], 1);
    let message = &one["message"];
    assert_eq!(message["message_id"], begun["message_id"]);
    assert_eq!(message["topic"], json!(topic));
    assert_eq!(message["body"], json!({"order": 17}));
    assert_eq!(message["keys"], json!(["o-17"]));
    assert_eq!(message["properties"], json!({}));
    assert!(one["answer_by"].as_str() < begun["expires_at"].as_str());
    // The broker would ask each second, if it knew whom.
    assert_eq!(asked_after(3, &topic, &group, id), 1, "it left");

    let not_yet = json!({"resolution": "unknown", "check_id": one["check_id"]});
    let told = resolve(&topic, id, &not_yet).expect(200).json();
    assert_eq!(told["state"], "pending");
    let other = begin(&topic);
    let other = other["transaction_id"].as_str().unwrap();
    let refused = resolve(&topic, other, &not_yet).expect(400);
    assert_eq!(refused.json()["errors"][0]["pointer"], "/check_id");
    resolve(&topic, other, &json!({"resolution": "rollback"})).expect(200);

    let again = checks(&topic, "wait=20s");
    assert_eq!((again.len(), &again[0]["attempt"]), (1, &json!(2)));
    let commit = json!({"resolution": "commit", "check_id": again[0]["check_id"]});
    resolve(&topic, id, &commit).expect(200);
    assert_eq!(
        receive(&group, &topic, "&wait=20s")[0]["body"],
        "{\"order\":17}"
    );
    assert_eq!(checks(&topic, "wait=2s").len(), 0);
}

#[test]
fn what_a_caller_has_no_room_for_goes_to_the_next() {
    let topic = topic("room");
    let all: BTreeSet<String> = (0..3)
        .map(|_| begin(&topic)["transaction_id"].to_string())
        .collect();
    let mut asked = BTreeSet::new();
    while asked.len() < all.len() {
        let one = checks(&topic, "wait=20s&max=1");
        assert_eq!(one.len(), 1);
        asked.insert(one[0]["transaction_id"].to_string());
    }
    assert_eq!(asked, all);
}

#[test]
fn a_question_goes_to_one_stream_of_those_that_listen() {
    let topic = topic("streams");
    let target = format!("/v1/topics/{topic}/transaction-checks/stream?max_duration=4s");
    let streams = [events::open(&target, None), events::open(&target, None)];
    let begun = begin(&topic);
    let mut seen = BTreeSet::new();
    for mut stream in streams {
        assert_eq!(
            (stream.status, stream.content_type.as_str()),
            (200, "text/event-stream")
        );
        while let Some(event) = stream.next() {
            assert_eq!(event.name, "transaction_check");
            assert_eq!(event.id, "");
            assert_eq!(event.data["transaction_id"], begun["transaction_id"]);
            let attempt = event.data["attempt"].as_u64().unwrap();
            assert!(seen.insert(attempt), "attempt {attempt} twice");
        }
    }
    assert!(seen.contains(&1) && seen.contains(&2), "{seen:?}");
}

#[test]
fn another_groups_half_messages_are_asked_about_under_its_name() {
    let topic = topic("named");
    let target = format!("/v1/topics/{topic}/transactions");
    let half = json!({"body": "x", "check_after": "0s", "producer_group": "named-shop"});
    let begun = ask_json("POST", &target, &half).expect(201).json();
    assert_eq!(checks(&topic, "wait=2s").len(), 0);
    let asked = checks(&topic, "wait=20s&producer_group=named-shop");
    assert_eq!(asked[0]["transaction_id"], begun["transaction_id"]);
}

#[test]
fn what_is_wrong_with_a_checker_is_told() {
    let topic = topic("checker-wrong");
    let door = format!("/v1/topics/{topic}/transaction-checks");
    for (method, target, status, slug) in [
        (
            "POST",
            format!("{door}:receive?max=0"),
            400,
            "invalid-parameter",
        ),
        (
            "POST",
            format!("{door}:receive?producer_group=a%20b"),
            422,
            "invalid-group",
        ),
        (
            "POST",
            "/v1/topics/nowhere-at-all/transaction-checks:receive".to_owned(),
            404,
            "topic-not-found",
        ),
        // A crawler must take no question away.
        ("GET", format!("{door}/stream"), 406, "not-acceptable"),
    ] {
        let refused = ask(method, &target).expect(status);
        assert_eq!(refused.problem(), slug, "{target}");
    }
}
