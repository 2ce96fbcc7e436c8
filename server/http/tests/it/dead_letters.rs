//! Dead letters sent again, given up, and the operations that do it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::door::{ask, ask_json, fresh, send};
use crate::messages::{group, lease, publish, receive, settle, topic};

/// Has the group give up a message with each of these bodies.
pub fn die(topic: &str, group: &str, bodies: &[&str]) {
    for body in bodies {
        publish(topic, &json!({ "body": body })).expect(201);
    }
    let mut given_up = 0;
    while given_up < bodies.len() {
        let got = receive(group, topic, "&wait=10s&max=32");
        assert!(!got.is_empty(), "only {given_up} came");
        let leases: Vec<&str> = got.iter().map(lease).collect();
        settle(group, "dead-letter", &leases, json!({})).expect(200);
        given_up += got.len();
    }
}

pub fn letters(group: &str) -> Vec<String> {
    let page = ask("GET", &format!("/v1/groups/{group}/dead-letters"))
        .expect(200)
        .json();
    let messages = page["messages"].as_array().unwrap().iter();
    let mut all: Vec<String> = messages
        .map(|one| one["body"].as_str().unwrap().to_owned())
        .collect();
    all.sort();
    all
}

/// How the operation of this answer ends.
pub fn ended(begun: &Value) -> Value {
    let target = format!("/v1/operations/{}", begun["id"].as_str().unwrap());
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let now = ask("GET", &target).expect(200).json();
        if now["state"] != "running" {
            return now;
        }
        assert!(Instant::now() < end, "{now}");
    }
}

#[test]
fn dead_letters_are_sent_again_and_arrive() {
    let (topic, group) = (topic("redriven"), group("redriven"));
    die(&topic, &group, &["a", "b", "c"]);
    assert_eq!(letters(&group), ["a", "b", "c"]);
    let target = format!("/v1/groups/{group}/dead-letters:redrive");
    let answer = ask_json("POST", &target, &json!({"to": "origin", "topic": topic})).expect(202);
    let begun = answer.json();
    let id = begun["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/v1/operations/{id}"));
    assert_eq!(
        (&begun["kind"], &begun["group"], &begun["total"]),
        (&json!("redrive"), &json!(group), &json!(3))
    );
    let done = ended(&begun);
    assert_eq!((&done["state"], &done["done"]), (&json!("done"), &json!(3)));
    let mut again = Vec::new();
    while again.len() < 3 {
        let got = receive(&group, &topic, "&wait=10s&max=32");
        assert!(!got.is_empty(), "only {again:?} came again");
        for one in &got {
            assert_eq!(one["delivery_attempt"], 1);
            again.push(one["body"].as_str().unwrap().to_owned());
        }
        let leases: Vec<&str> = got.iter().map(lease).collect();
        settle(&group, "ack", &leases, json!({})).expect(200);
    }
    again.sort();
    assert_eq!(again, ["a", "b", "c"]);
    assert!(letters(&group).is_empty(), "what was sent again is listed");
    // An operation that has ended stays as it was.
    let cancelled = ask("DELETE", &format!("/v1/operations/{id}")).expect(200);
    assert_eq!(cancelled.json()["state"], "done");
}

#[test]
fn a_redrive_keeps_to_its_limit_and_goes_where_it_is_told() {
    let (from, to, group) = (topic("from"), topic("to"), group("moved"));
    die(&from, &group, &["a", "b"]);
    let target = format!("/v1/groups/{group}/dead-letters:redrive");
    let begun = ask_json("POST", &target, &json!({"to": to, "limit": 1})).expect(202);
    assert_eq!(ended(&begun.json())["done"], 1);
    let got = receive(&group, &to, "&wait=10s&max=32");
    assert_eq!(got.len(), 1);
    let left = letters(&group);
    assert_eq!(left.len(), 1);
    assert_ne!(left[0], got[0]["body"].as_str().unwrap());
}

#[test]
fn a_page_of_what_was_sent_again_is_passed_over() {
    let (topic, group) = (topic("passed"), group("passed"));
    die(&topic, &group, &["a", "b", "c"]);
    let target = format!("/v1/groups/{group}/dead-letters:redrive");
    let begun = ask_json("POST", &target, &json!({"limit": 2})).expect(202);
    assert_eq!(ended(&begun.json())["done"], 2);
    let left = letters(&group);
    assert_eq!(left.len(), 1);
    let target = format!("/v1/groups/{group}/dead-letters?limit=1");
    let page = ask("GET", &target).expect(200).json();
    assert_eq!(page["messages"][0]["body"], left[0], "{page}");
}

#[test]
fn a_page_that_much_was_passed_over_for_says_where_the_next_one_begins() {
    let (topic, group) = (topic("much"), group("much"));
    let long = "x".repeat(2 << 20);
    die(&topic, &group, &[&long, &long, &long]);
    let target = format!("/v1/groups/{group}/dead-letters:redrive");
    let begun = ask_json("POST", &target, &json!({"limit": 2})).expect(202);
    assert_eq!(ended(&begun.json())["done"], 2);
    let target = format!("/v1/groups/{group}/dead-letters?limit=1");
    let page = ask("GET", &target).expect(200).json();
    assert_eq!(page["messages"], json!([]));
    let next = page["next_page_token"].as_str().unwrap();
    let page = ask("GET", &format!("{target}&page_token={next}")).expect(200);
    assert_eq!(page.json()["messages"][0]["body"], long);
}

#[test]
fn a_running_redrive_is_alone_and_is_cancelled() {
    let (topic, group) = (topic("slowly"), group("slowly"));
    die(&topic, &group, &["a", "b", "c", "d", "e", "f"]);
    let target = format!("/v1/groups/{group}/dead-letters:redrive");
    let begun = ask_json("POST", &target, &json!({"rate": "1/s"})).expect(202);
    let begun = begun.json();
    let second = ask("POST", &target).expect(503);
    assert_eq!(second.problem(), "unavailable");
    let own = format!("/v1/operations/{}", begun["id"].as_str().unwrap());
    let cancelled = ask("DELETE", &own).expect(200).json();
    assert_eq!(cancelled["state"], "cancelled");
    assert_eq!(ask("GET", &own).expect(200).json()["state"], "cancelled");
    assert!(!letters(&group).is_empty(), "it went on");
}

#[test]
fn purged_dead_letters_are_listed_no_more() {
    let (topic, group) = (topic("purged"), group("purged"));
    die(&topic, &group, &["a", "b"]);
    let target = format!("/v1/groups/{group}/dead-letters:purge");
    let meant = ask("POST", &target).expect(422);
    assert_eq!(meant.problem(), "confirmation-required");
    let target = format!("{target}?confirm={group}");
    let old = json!({"before": "2001-01-01T00:00:00Z"});
    let begun = ask_json("POST", &target, &old).expect(202).json();
    assert_eq!(begun["kind"], "purge");
    assert_eq!(ended(&begun)["state"], "done");
    assert_eq!(letters(&group), ["a", "b"]);
    assert_eq!(
        ended(&ask("POST", &target).expect(202).json())["state"],
        "done"
    );
    assert!(letters(&group).is_empty());
}

#[test]
fn what_is_wrong_with_a_redrive_is_named() {
    let (topic, group) = (topic("wrong"), group("wrong"));
    let target = format!("/v1/groups/{group}/dead-letters:redrive");
    let none = ask("POST", &target).expect(404);
    assert_eq!(none.problem(), "topic-not-found");
    die(&topic, &group, &["a"]);
    let missing = fresh("nowhere");
    for (body, status, problem) in [
        (json!({"to": missing}), 404, "topic-not-found"),
        (json!({"to": "%DLQ%x"}), 403, "reserved-topic"),
        (json!({"topic": "a b"}), 422, "invalid-topic"),
        (json!({"limit": 0}), 400, "invalid-request"),
        (json!({"rate": "0/s"}), 400, "invalid-request"),
        (json!({"rate": 5}), 400, "invalid-request"),
        (json!({"form": "x"}), 400, "invalid-request"),
    ] {
        let answer = ask_json("POST", &target, &body).expect(status);
        assert_eq!(answer.problem(), problem, "{body}");
    }
    let stranger = format!("/v1/groups/{}/dead-letters:redrive", fresh("stranger"));
    assert_eq!(
        ask("POST", &stranger).expect(404).problem(),
        "group-not-found"
    );
    for id in ["op_00000000000000000", "op_", "nonsense", "op_1.op_2"] {
        for method in ["GET", "DELETE"] {
            let answer = ask(method, &format!("/v1/operations/{id}")).expect(404);
            assert_eq!(answer.problem(), "operation-not-found", "{method} {id}");
        }
    }
    assert_eq!(letters(&group), ["a"]);
}

#[test]
fn an_operation_that_is_begun_again_with_its_key_is_the_same_one() {
    let (topic, group) = (topic("repeated"), group("repeated"));
    die(&topic, &group, &["a", "b"]);
    let begin = |verb: &str, body: &Value| {
        let target = format!("/v1/groups/{group}/dead-letters:{verb}");
        let headers = [
            ("Content-Type", "application/json"),
            ("Idempotency-Key", "once"),
        ];
        send("POST", &target, &headers, body.to_string().as_bytes())
    };
    let one = json!({"limit": 1});
    let first = begin("redrive", &one).expect(202);
    let again = begin("redrive", &one).expect(202);
    assert_eq!(first.header("idempotency-replayed"), "");
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.json()["id"], first.json()["id"]);
    let purge = format!("purge?confirm={group}");
    for (verb, body) in [
        ("redrive", json!({"limit": 2})),
        (purge.as_str(), json!({})),
    ] {
        let refused = begin(verb, &body).expect(422);
        assert_eq!(refused.problem(), "idempotency-key-reused", "{verb}");
    }
    ended(&first.json());
    // Long after its end it is still the same.
    let again = begin("redrive", &one).expect(202).json();
    assert_eq!(
        (&again["id"], &again["state"]),
        (&first.json()["id"], &json!("done"))
    );
    assert_eq!(letters(&group).len(), 1);
}
