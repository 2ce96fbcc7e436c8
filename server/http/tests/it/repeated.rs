//! Requests with an `Idempotency-Key`, made again as by a caller that lost the answer.

use std::io::Write;
use std::time::Instant;

use serde_json::{Value, json};

use crate::door::{Answer, LIMIT, address, ask, connect, read, send};
use crate::messages::{group, group_with, publish, receive, settle, topic};

fn keyed(target: &str, key: &str, body: &Value) -> Answer {
    let headers = [
        ("Content-Type", "application/json"),
        ("Idempotency-Key", key),
    ];
    send("POST", target, &headers, body.to_string().as_bytes())
}

/// The same request twice: one answer, of which only the second says that it was given before.
fn twice(request: impl Fn() -> Answer) -> Value {
    let (first, again) = (request().expect(201), request().expect(201));
    assert_eq!(first.header("idempotency-replayed"), "");
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(again.json(), first.json());
    first.json()
}

#[test]
fn a_message_that_is_published_again_with_its_key_is_stored_once() {
    let (topic, group) = (topic("again"), group("again"));
    let target = format!("/v1/topics/{topic}/messages");
    let told = twice(|| keyed(&target, "k-1", &json!({"body": "x", "tag": "a"})));
    let raw = || {
        let headers = [("Idempotency-Key", "\"k-2\""), ("Mq-Tag", "a")];
        send("POST", &format!("{target}:raw"), &headers, b"y")
    };
    twice(raw);
    let ordered = json!({"body": "z", "message_group": "g"});
    twice(|| keyed(&target, "k-3", &ordered));
    let mut got = Vec::new();
    while got.len() < 3 {
        let more = receive(&group, &topic, "&wait=10s&max=32");
        assert!(!more.is_empty(), "{got:?}");
        got.extend(more);
    }
    let mut bodies: Vec<&str> = got.iter().filter_map(|one| one["body"].as_str()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["x", "y", "z"]);
    assert_eq!(receive(&group, &topic, "&wait=0s").len(), 0);
    // What names a send is no property of the message.
    let kept = got
        .iter()
        .find(|one| one["message_id"] == told["message_id"]);
    assert_eq!(kept.unwrap()["properties"], json!({}));
}

#[test]
fn a_key_with_another_content_is_refused_and_nothing_is_stored() {
    let topic = topic("reused");
    let target = format!("/v1/topics/{topic}/messages");
    keyed(&target, "k", &json!({"body": "x", "tag": "a"})).expect(201);
    for other in [
        json!({"body": "y", "tag": "a"}),
        json!({"body": "x", "tag": "b"}),
        json!({"body": "x", "tag": "a", "delay": "1h"}),
        json!({"body": "x", "tag": "a", "properties": {"p": "1"}}),
    ] {
        let refused = keyed(&target, "k", &other).expect(422);
        assert_eq!(refused.problem(), "idempotency-key-reused", "{other}");
    }
    for wrong in ["", "a b", &"k".repeat(65)] {
        let refused = keyed(&target, wrong, &json!({"body": "x"})).expect(400);
        assert_eq!(refused.problem(), "invalid-idempotency-key", "{wrong}");
    }
    let stats = ask("GET", &format!("/v1/topics/{topic}/stats")).expect(200);
    assert_eq!(stats.json()["messages"], 1);
}

#[test]
fn a_delayed_message_that_is_published_again_is_due_when_it_was() {
    let topic = topic("again-later");
    let target = format!("/v1/topics/{topic}/messages");
    let told = twice(|| keyed(&target, "k", &json!({"body": "x", "delay": "1h"})));
    let handle = told["recall_handle"].as_str().unwrap();
    let handle = format!("/v1/topics/{topic}/scheduled-messages/{handle}");
    ask("DELETE", &handle).expect(204);
    let other = keyed(&target, "k", &json!({"body": "x", "delay": "2h"})).expect(422);
    assert_eq!(other.problem(), "idempotency-key-reused");
}

#[test]
fn a_batch_is_repeated_entry_by_entry() {
    let (topic, group) = (topic("again-batch"), group("again-batch"));
    let target = format!("/v1/topics/{topic}/messages:batch");
    let batch = json!({"messages": [
        {"body": "a"}, {"body": "b", "message_group": "g"}, {"body": "c", "message_group": "g"},
        {"body": "d", "idempotency_key": "own"},
    ]});
    let first = keyed(&target, "b-1", &batch).expect(200).json();
    let again = keyed(&target, "b-1", &batch).expect(200).json();
    for place in 0..4 {
        let (first, again) = (&first["results"][place], &again["results"][place]);
        assert_eq!(again["message_id"], first["message_id"]);
        assert_eq!(
            (&first["replayed"], &again["replayed"]),
            (&json!(null), &json!(true))
        );
    }
    // An entry's own key is the one of the message, at whichever door.
    let single = keyed(
        &format!("/v1/topics/{topic}/messages"),
        "own",
        &json!({"body": "d"}),
    );
    assert_eq!(
        single.expect(201).json()["message_id"],
        first["results"][3]["message_id"]
    );
    let wrong = json!({"messages": [{"body": "x", "idempotency_key": "own"}, {"body": "y", "idempotency_key": "a b"}]});
    let told = send(
        "POST",
        &target,
        &[("Content-Type", "application/json")],
        wrong.to_string().as_bytes(),
    );
    let told = told.expect(207).json();
    let slug = |place: usize| told["results"][place]["problem"]["type"].clone();
    assert_eq!(slug(0), "/problems/idempotency-key-reused");
    assert_eq!(slug(1), "/problems/invalid-idempotency-key");
    let mut count = 0;
    while count < 4 {
        let got = receive(&group, &topic, "&wait=10s&max=32").len();
        assert!(got > 0, "{count} came");
        count += got;
    }
    assert_eq!((count, receive(&group, &topic, "&wait=0s").len()), (4, 0));
}

#[test]
fn an_entry_whose_key_is_being_answered_elsewhere_is_refused_alone() {
    let topic = topic("batch-in-progress");
    let target = format!("/v1/topics/{topic}/messages");
    let body = json!({"body": "d"}).to_string();
    // A request is being answered from its head on: this one says the rest later.
    let mut first = connect(address());
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Idempotency-Key: own\r\nContent-Length: {}\r\n\r\n",
        address(),
        body.len()
    );
    first.write_all(head.as_bytes()).unwrap();
    let batch = json!({"messages": [
        {"body": "d", "idempotency_key": "own"}, {"body": "e", "idempotency_key": "other"},
    ]});
    let again = || keyed(&format!("{target}:batch"), "b", &batch);
    let end = Instant::now() + LIMIT;
    // Of two that come at once it may be the batch that is the first.
    let refused = loop {
        let told = again();
        if told.status == 207 {
            break told.json();
        }
        assert!(Instant::now() < end, "{told:?}");
        told.expect(200);
    };
    assert_eq!(refused["failed"], 1);
    let entry = &refused["results"][0];
    assert_eq!(entry["status"], 409);
    assert_eq!(
        entry["problem"]["type"],
        "/problems/idempotency-in-progress"
    );
    assert_eq!(entry["problem"]["retryable"], true);
    assert_eq!(refused["results"][1]["status"], 201);
    first.write_all(body.as_bytes()).unwrap();
    let told = read(&mut first, false).expect(201).json();
    let results = again().expect(200).json()["results"].clone();
    assert_eq!(results[0]["message_id"], told["message_id"]);
    assert_eq!(
        (&results[0]["replayed"], &results[1]["replayed"]),
        (&json!(true), &json!(true))
    );
    let stats = ask("GET", &format!("/v1/topics/{topic}/stats")).expect(200);
    assert_eq!(stats.json()["messages"], 2);
    // A batch is not in the way of its own entry.
    let same = json!({"messages": [{"body": "f", "idempotency_key": "same"}]});
    keyed(&format!("{target}:batch"), "same", &same).expect(200);
}

#[test]
fn a_transaction_that_is_begun_again_is_the_same_one() {
    let (topic, group) = (topic("again-tx"), group("again-tx"));
    let target = format!("/v1/topics/{topic}/transactions");
    let envelope = json!({"body": "x", "check_after": "1h"});
    let first = keyed(&target, "k", &envelope).expect(201);
    let again = keyed(&target, "k", &envelope).expect(201);
    assert_eq!(again.header("idempotency-replayed"), "true");
    let (first, again) = (first.json(), again.json());
    assert_eq!(again, first);
    let id = again["transaction_id"].as_str().unwrap();
    let resolution = json!({"resolution": "commit"}).to_string();
    let json = [("Content-Type", "application/json")];
    send(
        "PUT",
        &format!("{target}/{id}/resolution"),
        &json,
        resolution.as_bytes(),
    )
    .expect(200);
    assert_eq!(receive(&group, &topic, "&wait=10s").len(), 1);
    assert_eq!(receive(&group, &topic, "&wait=0s").len(), 0);
}

fn receive_keyed(group: &str, topic: &str, key: &str, more: &str) -> Answer {
    let target = format!("/v1/groups/{group}/messages:receive?topic={topic}&tag=*{more}");
    send("POST", &target, &[("Idempotency-Key", key)], b"")
}

#[test]
fn a_receive_that_is_made_again_gives_the_same_messages_on_the_same_leases() {
    let (topic, group) = (topic("again-receive"), group("again-receive"));
    let receive = |key: &str, more: &str| {
        let got = receive_keyed(&group, &topic, key, more).expect(200);
        let replayed = got.header("idempotency-replayed") == "true";
        (got.json()["messages"].as_array().unwrap().clone(), replayed)
    };
    // An answer without messages does not use the key up.
    assert_eq!(receive("k", "&wait=0s"), (Vec::new(), false));
    let batch = json!({"messages": [{"body": "a"}, {"body": "b"}, {"body": "c"}]});
    let target = format!("/v1/topics/{topic}/messages:batch");
    keyed(&target, "b", &batch).expect(200);
    let (first, replayed) = receive("k", "&wait=10s&max=2");
    assert!(!first.is_empty() && !replayed);
    // How long it waits is nothing that it asks for.
    assert_eq!(receive("k", "&wait=0s&max=2"), (first.clone(), true));
    for other in ["&max=3", "&max=2&lease=61s"] {
        let refused = receive_keyed(&group, &topic, "k", &format!("&wait=0s{other}")).expect(422);
        assert_eq!(refused.problem(), "idempotency-key-reused", "{other}");
    }
    assert_eq!(first[0]["delivery_attempt"], 1);
    let mut others = Vec::new();
    while first.len() + others.len() < 3 {
        let (more, replayed) = receive(&format!("other-{}", others.len()), "&wait=10s&max=1");
        assert!(more.len() == 1 && !replayed);
        assert!(!first.contains(&more[0]));
        others.extend(more);
    }
    // What is settled is no part of it any more; when all is, the key names a new receive.
    for left in (0..first.len()).rev() {
        let lease = first[left]["lease_id"].as_str().unwrap();
        settle(&group, "ack", &[lease], json!({})).expect(200);
        let same = receive("k", "&wait=0s&max=2");
        assert_eq!(same, (first[..left].to_vec(), left > 0));
    }
    assert_eq!(receive("k", "&wait=0s&max=3"), (Vec::new(), false));
}

#[test]
fn in_an_ordered_group_it_is_the_same_and_as_bytes_or_events_too() {
    let topic = topic("again-ordered");
    let group = group_with("again-ordered", |own| own.consume_message_orderly = true);
    for n in 0..6 {
        let ordered = json!({"body": n.to_string(), "message_group": n.to_string()});
        publish(&topic, &ordered).expect(201);
    }
    let first = receive_keyed(&group, &topic, "k", "&wait=10s&max=1").expect(200);
    assert_eq!(first.header("idempotency-replayed"), "");
    let again = receive_keyed(&group, &topic, "k", "&wait=10s&max=1").expect(200);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.json(), first.json());
    assert_eq!(again.json()["messages"][0]["delivery_attempt"], 1);
    let target = format!("/v1/groups/{group}/messages:receive?topic={topic}&max=1&wait=0s");
    let lease = first.json()["messages"][0]["lease_id"].clone();
    for (kind, name) in [
        ("application/octet-stream", "mq-lease-id"),
        ("application/cloudevents-batch+json", "mqleaseid"),
    ] {
        let headers = [("Idempotency-Key", "k"), ("Accept", kind)];
        let told = send("POST", &target, &headers, b"").expect(200);
        assert_eq!(told.header("idempotency-replayed"), "true");
        let own = match told.headers.get(name) {
            Some(id) => json!(id),
            None => told.json()[0][name].clone(),
        };
        assert_eq!(own, lease, "{kind}");
    }
    let other = receive_keyed(&group, &topic, "k", "&wait=0s&max=2").expect(422);
    assert_eq!(other.problem(), "idempotency-key-reused");
}

#[test]
fn the_same_request_is_refused_while_the_first_is_being_answered() {
    let (topic, group) = (topic("in-progress"), group("in-progress"));
    let (own, from) = (group.clone(), topic.clone());
    // Of two that come at once it may be this one that is refused: then it comes again.
    let first = std::thread::spawn(move || {
        loop {
            let answer = receive_keyed(&own, &from, "k", "&wait=20s");
            if answer.status != 409 {
                return answer;
            }
        }
    });
    let end = Instant::now() + LIMIT;
    let refused = loop {
        let again = receive_keyed(&group, &topic, "k", "&wait=0s");
        if again.status == 409 {
            break again;
        }
        // It came before the other one.
        assert!(Instant::now() < end, "{again:?}");
        assert_eq!(again.expect(200).json()["messages"], json!([]));
    };
    assert_eq!(refused.problem(), "idempotency-in-progress");
    assert_eq!(refused.header("retry-after"), "1");
    let target = format!("/v1/topics/{topic}/messages");
    // The same key elsewhere is another one.
    keyed(&target, "k", &json!({"body": "x"})).expect(201);
    let got = first.join().unwrap().expect(200).json();
    let again = receive_keyed(&group, &topic, "k", "&wait=0s").expect(200);
    assert_eq!(again.json(), got);
    assert_eq!(got["messages"][0]["body"], "x");
}

#[test]
fn a_lease_that_is_extended_again_with_its_key_is_extended_once() {
    let (topic, group) = (topic("again-extend"), group("again-extend"));
    publish(&topic, &json!({"body": "x"})).expect(201);
    let got = receive(&group, &topic, "&wait=10s");
    let lease = got[0]["lease_id"].as_str().unwrap();
    let target = format!("/v1/groups/{group}/leases:extend");
    let extend = |how: &str| keyed(&target, "k", &json!({"lease_ids": [lease], "lease": how}));
    let (first, again) = (extend("10m").expect(200), extend("10m").expect(200));
    assert_eq!(first.header("idempotency-replayed"), "");
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.json(), first.json());
    let other = extend("20m").expect(207).json();
    assert_eq!(
        other["results"][0]["problem"]["type"],
        "/problems/idempotency-key-reused"
    );
    let new = first.json()["results"][0]["lease_id"].clone();
    assert_ne!(new, lease);
    settle(&group, "ack", &[new.as_str().unwrap()], json!({})).expect(200);
}

#[test]
fn a_refusal_uses_no_key_up() {
    let topic = topic("refused-keyed");
    let target = format!("/v1/topics/{topic}/messages");
    let wrong = keyed(&target, "k", &json!({"body": "x", "tag": "a|b"})).expect(422);
    assert_eq!(wrong.problem(), "invalid-tag");
    let fits = json!({"body": "x", "tag": "a"});
    let right = keyed(&target, "k", &fits).expect(201);
    assert_eq!(right.header("idempotency-replayed"), "");
    let again = keyed(&target, "k", &fits).expect(201);
    assert_eq!(again.header("idempotency-replayed"), "true");
}
