//! What is leased: released, extended, given up, lost, and by whom a group is read.

use serde_json::{Value, json};

use crate::door::{ask, ask_json, client, send};
use crate::messages::{errors, group, group_with, lease, publish, receive, run, settle, topic};

#[test]
fn leases_are_released_extended_and_given_up() {
    let (topic, group) = (topic("settle"), group("settle"));
    for body in ["again", "kept", "dead"] {
        publish(&topic, &json!({"body": body, "message_group": "one"})).expect(201);
    }
    let mut got: Vec<Value> = Vec::new();
    while got.len() < 3 {
        got.extend(receive(&group, &topic, "&wait=10s&max=32"));
    }
    got.sort_by_key(|one| one["offset"].as_u64());
    let [again, kept, dead] = [&got[0], &got[1], &got[2]];
    settle(&group, "release", &[lease(again)], json!({"delay": "0s"})).expect(200);
    let twice = receive(&group, &topic, "&wait=20s");
    assert_eq!(
        (&twice[0]["body"], &twice[0]["delivery_attempt"]),
        (&json!("again"), &json!(2))
    );
    assert_eq!(twice[0]["message_id"], again["message_id"]);
    settle(&group, "ack", &[lease(&twice[0])], json!({})).expect(200);
    let extended = settle(&group, "extend", &[lease(kept)], json!({"lease": "2h"}))
        .expect(200)
        .json();
    let new = extended["results"][0]["lease_id"].as_str().unwrap();
    assert_eq!(extended["results"][0]["replaces"], kept["lease_id"]);
    settle(&group, "ack", &[new], json!({})).expect(200);
    settle(&group, "dead-letter", &[lease(dead)], json!({})).expect(200);
    let letters = run(async {
        let client = client();
        let admin = client.admin();
        let dead = format!("%DLQ%{group}");
        let queue = admin.queues(&dead).await.unwrap().remove(0);
        let pulled = client
            .pull(&queue, 0, &posthouse_client::Pull::default())
            .await
            .unwrap();
        pulled.messages
    });
    assert_eq!(letters.len(), 1);
    assert_eq!(&letters[0].body[..], b"dead");
    assert_eq!(receive(&group, &topic, "&wait=0s").len(), 0);
}

#[test]
fn a_lease_that_was_replaced_settles_nothing_and_says_so() {
    let (topic, group) = (topic("replaced"), group("replaced"));
    for body in ["a", "b", "c"] {
        publish(&topic, &json!({"body": body, "message_group": "one"})).expect(201);
    }
    let mut got: Vec<Value> = Vec::new();
    while got.len() < 3 {
        got.extend(receive(&group, &topic, "&wait=10s&max=32"));
    }
    let old: Vec<&str> = got.iter().map(lease).collect();
    let extended = settle(&group, "extend", &old[..2], json!({"lease": "1h"}));
    let extended = extended.expect(200).json();
    let new = |place: usize| extended["results"][place]["lease_id"].as_str().unwrap();
    // Alone, beside others, and extended once more: the message is out on the new lease.
    for (what, leases, more) in [
        ("ack", &old[..1], json!({})),
        ("ack", &old[..], json!({})),
        ("extend", &old[..1], json!({"lease": "1h"})),
        ("release", &old[1..2], json!({"delay": "0s"})),
    ] {
        let told = settle(&group, what, leases, more).expect(207).json();
        assert_eq!(told["failed"], leases.len().min(2), "{what}: {told}");
        let first = &told["results"][0];
        assert_eq!(first["status"], 410, "{what}: {told}");
        assert_eq!(first["problem"]["type"], "/problems/lease-expired");
    }
    settle(&group, "ack", &[new(0), new(1)], json!({})).expect(200);
    let lag = ask("GET", &format!("/v1/groups/{group}/lag")).expect(200);
    assert_eq!(lag.json()["lag"], 0, "the third one was done beside those");
    // What is done is done, whichever lease says so.
    settle(&group, "ack", &[old[0], new(0)], json!({})).expect(200);
    let told = settle(&group, "extend", &[new(0)], json!({"lease": "1h"})).expect(207);
    assert_eq!(told.json()["results"][0]["status"], 410);
}

#[test]
fn a_lease_that_was_released_settles_nothing_when_its_delay_is_over() {
    let (topic, group) = (topic("released"), group("released"));
    publish(&topic, &json!({"body": "one"})).expect(201);
    for count in [true, false] {
        let got = receive(&group, &topic, "&wait=20s&lease=1h");
        let first = lease(&got[0]);
        let back = json!({"delay": "10ms", "count_attempt": count});
        settle(&group, "release", &[first], back).expect(200);
        let again = receive(&group, &topic, "&wait=20s&lease=1h");
        assert_eq!(again[0]["message_id"], got[0]["message_id"]);
        for what in ["ack", "release"] {
            let told = settle(&group, what, &[first], json!({})).expect(207).json();
            assert_eq!(told["results"][0]["status"], 410, "{what} {count}: {told}");
        }
        // It is out on the new one all the same.
        settle(
            &group,
            "extend",
            &[lease(&again[0])],
            json!({"lease": "1s"}),
        )
        .expect(200);
    }
    let last = receive(&group, &topic, "&wait=20s");
    settle(&group, "ack", &[lease(&last[0])], json!({})).expect(200);
    let lag = ask("GET", &format!("/v1/groups/{group}/lag")).expect(200);
    assert_eq!(lag.json()["lag"], 0);
}

#[test]
fn what_is_wrong_with_a_lease_is_told_of_each() {
    let (topic, own, other) = (topic("lease"), group("lease"), group("stranger"));
    publish(&topic, &json!({"body": "x"})).expect(201);
    let got = receive(&own, &topic, "&wait=10s&lease=1s");
    let good = lease(&got[0]);
    let answer = settle(&own, "ack", &["le_nonsense", good], json!({}))
        .expect(207)
        .json();
    assert_eq!(answer["failed"], 1);
    assert_eq!(
        answer["results"][0]["problem"]["type"],
        "/problems/invalid-lease"
    );
    assert_eq!(answer["results"][1]["status"], 200);
    let answer = settle(&other, "ack", &[good], json!({})).expect(207).json();
    assert_eq!(
        answer["results"][0]["problem"]["type"],
        "/problems/lease-mismatch"
    );
    for (body, status, slug) in [
        (json!({"lease_ids": []}), 422, "invalid-batch"),
        (json!({"lease_ids": vec!["x"; 257]}), 422, "invalid-batch"),
        (json!({"lease_ids": [7]}), 400, "invalid-request"),
        (
            json!({"lease_ids": ["x".repeat(4_097)]}),
            400,
            "invalid-request",
        ),
        (json!({"leases": []}), 400, "invalid-request"),
    ] {
        let answer = ask_json("POST", &format!("/v1/groups/{own}/leases:ack"), &body);
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, slug),
            "{body}"
        );
    }
    let short = settle(&own, "extend", &[good], json!({"lease": "10ms"})).expect(422);
    assert_eq!(short.problem(), "invalid-lease-duration");
}

#[test]
fn a_lease_that_is_over_is_told_and_its_message_comes_again() {
    let (topic, group) = (topic("lapse"), group("lapse"));
    publish(&topic, &json!({"body": "x"})).expect(201);
    let first = receive(&group, &topic, "&wait=10s&lease=1s");
    let second = receive(&group, &topic, "&wait=20s");
    assert_eq!(second[0]["message_id"], first[0]["message_id"]);
    assert_eq!(second[0]["delivery_attempt"], 2);
    let late = settle(&group, "ack", &[lease(&first[0])], json!({}))
        .expect(207)
        .json();
    assert_eq!(
        late["results"][0]["problem"]["type"],
        "/problems/lease-expired"
    );
}

#[test]
fn what_is_wrong_with_a_receive_is_told() {
    let (topic, group) = (topic("asks"), group("asks"));
    let target = |query: &str| format!("/v1/groups/{group}/messages:receive?{query}");
    for (query, status, slug) in [
        ("max=0", 400, "invalid-parameter"),
        ("max=33", 400, "invalid-parameter"),
        ("wait=-1s", 400, "invalid-parameter"),
        ("wait=31s", 400, "invalid-parameter"),
        ("max=1&max=2", 400, "invalid-parameter"),
        ("topc=x", 400, "invalid-parameter"),
        ("body=xml", 400, "invalid-parameter"),
        ("lease=10ms&topic=t", 422, "invalid-lease-duration"),
        ("lease=13h&topic=t", 422, "invalid-lease-duration"),
        ("topic=TBW102", 403, "reserved-topic"),
        ("tag=a&sql=b&topic=t", 422, "invalid-filter"),
        ("wait=0s", 400, "invalid-parameter"),
    ] {
        let answer = ask("POST", &target(query));
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, slug),
            "{query}"
        );
    }
    let none = ask("POST", &target(&format!("topic={topic}"))).expect(404);
    assert_eq!(none.problem(), "subscription-not-found");
    let both = ask("POST", &target("max=33&wait=31s")).expect(400);
    assert_eq!(errors(&both), ["max", "wait"]);
    assert_eq!(both.json()["code"], 40018);
    let lease = ask("POST", &target("lease=soon")).expect(400).json();
    let expected = "a duration like \"30s\" from 1s to 12h expected";
    assert_eq!(lease["errors"][0]["detail"], expected);
    assert!(lease["code"].is_null(), "that code is of waits: {lease}");
}

#[test]
fn a_caller_that_vanishes_takes_nothing_with_it() {
    use std::io::Write;
    let (topic, group) = (topic("gone"), group("gone"));
    receive(&group, &topic, "&wait=0s");
    let door = crate::door::own(http_door::Options::default());
    let address = door.address().unwrap();
    let waiting = |count: u32| {
        let line = format!("rocketmq_http_long_polls {count}\n");
        let end = std::time::Instant::now() + crate::door::LIMIT;
        loop {
            let metrics = door.management_address().unwrap();
            let text = crate::door::send_to(metrics, "GET", "/metrics", &[], b"");
            if String::from_utf8(text.body).unwrap().contains(&line) {
                return;
            }
            assert!(
                std::time::Instant::now() < end,
                "there are never {count} that wait"
            );
        }
    };
    let mut socket = crate::door::connect(address);
    let target = format!("/v1/groups/{group}/messages:receive?wait=30s&lease=1h");
    let request = format!("POST {target} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    waiting(1);
    drop(socket);
    waiting(0);
    publish(&topic, &json!({"body": "x"})).expect(201);
    let got = receive(&group, &topic, "&wait=20s");
    assert_eq!(got[0]["delivery_attempt"], 1);
    door.stop(crate::door::LIMIT);
}

#[test]
fn an_ordered_group_goes_on_only_after_what_it_has_is_done() {
    let topic = topic("fifo");
    let group = group_with("fifo", |group| group.consume_message_orderly = true);
    for n in 0..4 {
        publish(&topic, &json!({"body": n, "message_group": "g"})).expect(201);
    }
    let first = receive(&group, &topic, "&wait=10s&max=2");
    let bodies: Vec<_> = first
        .iter()
        .map(|one| one["body"].as_str().unwrap())
        .collect();
    assert_eq!(bodies, ["0", "1"]);
    assert_eq!(receive(&group, &topic, "&wait=0s").len(), 0);
    let leases: Vec<&str> = first.iter().map(lease).collect();
    settle(&group, "ack", &leases, json!({})).expect(200);
    let rest = receive(&group, &topic, "&wait=10s");
    let bodies: Vec<_> = rest
        .iter()
        .map(|one| one["body"].as_str().unwrap())
        .collect();
    assert_eq!(bodies, ["2", "3"]);
}

#[test]
fn an_ordered_receive_whose_answer_was_lost_is_repeated() {
    let topic = topic("attempt");
    let group = group_with("attempt", |group| group.consume_message_orderly = true);
    publish(&topic, &json!({"body": "x", "message_group": "g"})).expect(201);
    let target = format!("/v1/groups/{group}/messages:receive?topic={topic}&tag=*&wait=10s");
    let key = [("Idempotency-Key", "r-1")];
    let first = send("POST", &target, &key, b"").expect(200).json();
    let again = send("POST", &target, &key, b"").expect(200).json();
    assert_eq!(
        again["messages"][0]["message_id"],
        first["messages"][0]["message_id"]
    );
    assert_eq!(again["messages"][0]["delivery_attempt"], 1);
}

#[test]
fn a_group_is_popped_or_pulled_and_not_both() {
    use posthouse_client::{Filter, PushOptions, Settle};
    let (topic, group) = (topic("ways"), group("ways"));
    receive(&group, &topic, "&wait=0s");
    let target = format!("/v1/groups/{group}/messages:receive?wait=0s");
    run(async {
        let client = client();
        let wanted = [(topic.as_str(), Filter::All)];
        let consumer = client
            .push_consumer(&group, &wanted, PushOptions::default(), |_| async {
                Settle::Ack
            })
            .await
            .unwrap();
        let asked = target.clone();
        let refused = tokio::task::spawn_blocking(move || ask("POST", &asked))
            .await
            .unwrap();
        assert_eq!(refused.problem(), "group-consumed-by-pull");
        assert_eq!(refused.json()["client_ids"], json!([client.id()]));
        consumer.shutdown().await;
        client.shutdown().await;
    });
    publish(&topic, &json!({"body": "x"})).expect(201);
    let got = receive(&group, &topic, "&wait=20s");
    assert_eq!(got[0]["body"], "x");
}

#[test]
fn what_is_released_uncounted_comes_as_if_it_had_not_been_lent() {
    let (topic, group) = (topic("uncounted"), group("uncounted"));
    publish(&topic, &json!({"body": "x"})).expect(201);
    let first = receive(&group, &topic, "&wait=10s");
    let uncounted = json!({"count_attempt": false});
    settle(&group, "release", &[lease(&first[0])], uncounted.clone()).expect(200);
    let second = receive(&group, &topic, "&wait=20s");
    assert_eq!(second[0]["message_id"], first[0]["message_id"]);
    assert_eq!(second[0]["delivery_attempt"], 1);
    let late = settle(&group, "release", &[lease(&first[0])], uncounted)
        .expect(207)
        .json();
    assert_eq!(
        late["results"][0]["problem"]["type"],
        "/problems/lease-expired"
    );
    let reason = json!({"reason": "no such customer"});
    settle(&group, "dead-letter", &[lease(&second[0])], reason).expect(200);
    let letters = ask("GET", &format!("/v1/groups/{group}/dead-letters"))
        .expect(200)
        .json();
    assert_eq!(
        letters["messages"][0]["dead_letter"]["reason"],
        "no such customer"
    );
}

#[test]
fn a_lease_from_before_a_reset_is_void() {
    let (topic, group) = (topic("void"), group("void"));
    for body in ["a", "b"] {
        publish(&topic, &json!({"body": body, "message_group": "one"})).expect(201);
    }
    let mut got: Vec<Value> = Vec::new();
    while got.len() < 2 {
        got.extend(receive(&group, &topic, "&wait=10s&lease=1h"));
    }
    let old: Vec<&str> = got.iter().map(lease).collect();
    let void = |what: &str| {
        let more = match what {
            "extend" => json!({"lease": "1h"}),
            _ => json!({}),
        };
        let told = settle(&group, what, &old, more).expect(207).json();
        for result in told["results"].as_array().unwrap() {
            assert_eq!(result["status"], 410, "{what}: {told}");
            assert_eq!(result["problem"]["type"], "/problems/lease-expired");
        }
    };
    let to = json!({"topic": topic, "to": {"position": "earliest"}});
    ask_json("POST", &format!("/v1/groups/{group}/offsets:reset"), &to).expect(200);
    void("ack");
    void("extend");
    let mut again: Vec<Value> = Vec::new();
    while again.len() < 2 {
        again.extend(receive(&group, &topic, "&wait=10s&lease=1h"));
    }
    void("ack");
    let new: Vec<&str> = again.iter().map(lease).collect();
    settle(&group, "ack", &new, json!({})).expect(200);
    let lag = ask("GET", &format!("/v1/groups/{group}/lag")).expect(200);
    assert_eq!(lag.json()["lag"], 0);
}

#[test]
fn what_is_released_waits_as_its_group_says_and_is_given_up_after_its_attempts() {
    let (topic, group) = (topic("tries"), group_with("tries", |_| {}));
    let policy = json!({"max_attempts": 1, "retry": {"steps": ["1s", "1s"]}}).to_string();
    let kind = [("Content-Type", "application/merge-patch+json")];
    let path = format!("/v1/groups/{group}");
    send("PATCH", &path, &kind, policy.as_bytes()).expect(200);
    publish(&topic, &json!({"body": "x"})).expect(201);
    let first = receive(&group, &topic, "&wait=10s&lease=1h");
    let back = std::time::Instant::now();
    settle(&group, "release", &[lease(&first[0])], json!({})).expect(200);
    let second = receive(&group, &topic, "&wait=20s&lease=1h");
    assert!(back.elapsed() >= std::time::Duration::from_secs(1));
    assert_eq!(second[0]["delivery_attempt"], 2);
    // It came again once, as RocketMQ counts.
    settle(&group, "release", &[lease(&second[0])], json!({})).expect(200);
    let letters = format!("/v1/groups/{group}/dead-letters");
    let end = std::time::Instant::now() + crate::door::LIMIT;
    let letter = loop {
        let all = ask("GET", &letters).expect(200).json();
        if let Some(letter) = all["messages"].as_array().unwrap().first() {
            break letter.clone();
        }
        assert!(std::time::Instant::now() < end, "it is not given up");
    };
    assert_eq!(letter["message_id"], first[0]["message_id"]);
    let from = &letter["dead_letter"];
    assert_eq!(
        (&from["topic"], &from["reason"]),
        (&json!(topic), &json!("attempts"))
    );
    assert_eq!(receive(&group, &topic, "&wait=0s").len(), 0);
}

#[test]
fn in_order_a_release_holds_up_its_queue() {
    let topic = topic("held-up");
    let group = group_with("held-up", |group| group.consume_message_orderly = true);
    for n in 0..2 {
        publish(&topic, &json!({"body": n, "message_group": "g"})).expect(201);
    }
    let first = receive(&group, &topic, "&wait=10s&max=1");
    let back = std::time::Instant::now();
    settle(
        &group,
        "release",
        &[lease(&first[0])],
        json!({"delay": "1s"}),
    )
    .expect(200);
    let again = receive(&group, &topic, "&wait=20s&max=1");
    assert!(back.elapsed() >= std::time::Duration::from_secs(1));
    assert_eq!(
        again[0]["message_id"], first[0]["message_id"],
        "not the one behind it"
    );
    assert_eq!(again[0]["delivery_attempt"], 2);
}

#[test]
fn an_answer_has_no_more_bodies_than_it_may_and_one_at_least() {
    let (topic, group) = (topic("heavy"), group("heavy"));
    let raw = format!("/v1/topics/{topic}/messages:raw");
    let body = vec![b'x'; 3 << 20];
    for _ in 0..3 {
        send("POST", &raw, &[("Mq-Message-Group", "one")], &body).expect(201);
    }
    for _ in 0..3 {
        let got = receive(&group, &topic, "&wait=20s&max=32&lease=1h");
        assert_eq!(got.len(), 1, "two would be 6 MiB");
        settle(&group, "ack", &[lease(&got[0])], json!({})).expect(200);
    }
}
