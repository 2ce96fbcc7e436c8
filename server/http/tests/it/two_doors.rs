//! The same request with the same key at two doors of one broker at the same time. Neither door knows of the other: that
//! it is done once is the broker's work.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::time::Instant;

use http_door::{Secret, Server};
use serde_json::{Value, json};

use crate::dead_letters::{die, ended, letters};
use crate::door::{Answer, LIMIT, ask, beside, send_to};
use crate::messages::{group, publish, receive, topic};

/// How often each is tried.
const ROUNDS: usize = 20;

/// Two doors with one secret.
struct Both([Server; 2]);

impl Both {
    fn open() -> Both {
        let secret = Secret::fresh().unwrap();
        Both([(); 2].map(|()| beside(&secret)))
    }

    fn addresses(&self) -> [SocketAddr; 2] {
        self.0.each_ref().map(|door| door.address().unwrap())
    }

    /// Says the same at both until both are answered.
    fn at_once(&self, target: &str, key: &str, body: Option<&Value>) -> [Answer; 2] {
        let start = Barrier::new(2);
        let say = |door| {
            start.wait();
            let end = Instant::now() + LIMIT;
            loop {
                let answer = said(door, target, key, body);
                // The other's is under way, or that of one of a batch.
                if ![409, 207].contains(&answer.status) {
                    return answer;
                }
                assert!(Instant::now() < end, "{answer:?}");
            }
        };
        std::thread::scope(|scope| {
            let both = self.addresses().map(|door| scope.spawn(move || say(door)));
            both.map(|one| one.join().unwrap())
        })
    }
}

fn said(door: SocketAddr, target: &str, key: &str, body: Option<&Value>) -> Answer {
    let keyed = ("Idempotency-Key", key);
    match body {
        None => send_to(door, "POST", target, &[keyed], b""),
        Some(body) => {
            let headers = [keyed, ("Content-Type", "application/json")];
            send_to(door, "POST", target, &headers, body.to_string().as_bytes())
        }
    }
}

/// One of them says that the other's answer was given before.
fn one_is_replayed(answers: &[Answer; 2]) {
    let replayed = answers
        .each_ref()
        .map(|own| own.header("idempotency-replayed") == "true");
    assert_ne!(replayed[0], replayed[1], "{answers:?}");
}

#[test]
fn what_is_published_at_both_is_stored_once() {
    let (doors, topic) = (Both::open(), topic("both-publish"));
    let of = |what: &str| format!("/v1/topics/{topic}/{what}");
    for round in 0..ROUNDS {
        let body = json!({"body": round.to_string()});
        let both = doors.at_once(&of("messages"), &format!("k-{round}"), Some(&body));
        one_is_replayed(&both);
        let [one, other] = both.map(|answer| answer.expect(201).json());
        assert_eq!(one, other);
        let batch = json!({"messages": [{"body": "a"}, {"body": "b", "message_group": "g"}]});
        let both = doors.at_once(&of("messages:batch"), &format!("b-{round}"), Some(&batch));
        let [one, other] = both.map(|answer| {
            let results = answer.expect(200).json()["results"].clone();
            [0, 1].map(|place| results[place]["message_id"].clone())
        });
        assert_eq!(one, other);
        let half = json!({"body": "half", "check_after": "1h"});
        let both = doors.at_once(&of("transactions"), &format!("t-{round}"), Some(&half));
        one_is_replayed(&both);
        let [one, other] = both.map(|answer| answer.expect(201).json());
        assert_eq!(one["message_id"], other["message_id"]);
    }
    let stats = ask("GET", &of("stats")).expect(200).json();
    assert_eq!(
        (&stats["messages"], &stats["half"]),
        (&json!(3 * ROUNDS), &json!(ROUNDS))
    );
}

#[test]
fn who_waits_at_both_gets_the_same_message_on_the_same_lease() {
    let (doors, topic, group) = (Both::open(), topic("both-receive"), group("both-receive"));
    receive(&group, &topic, "&wait=0s");
    let target = format!("/v1/groups/{group}/messages:receive?topic={topic}&wait=20s&lease=10m");
    for round in 0..ROUNDS {
        let key = format!("r-{round}");
        let both = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| doors.at_once(&target, &key, None));
            publish(&topic, &json!({"body": round.to_string()})).expect(201);
            waiting.join().unwrap()
        });
        one_is_replayed(&both);
        let [one, other] = both.map(|answer| answer.expect(200).json()["messages"].clone());
        assert_eq!(one, other);
        assert_eq!(
            (&one[0]["body"], &one[0]["delivery_attempt"]),
            (&json!(round.to_string()), &json!(1))
        );
        let extend = format!("/v1/groups/{group}/leases:extend");
        let longer = json!({"lease_ids": [one[0]["lease_id"]], "lease": "20m"});
        let both = doors.at_once(&extend, &format!("e-{round}"), Some(&longer));
        let [one, other] = both.map(|answer| answer.expect(200).json()["results"].clone());
        assert_eq!(one, other);
        let ack = format!("/v1/groups/{group}/leases:ack");
        let done = json!({"lease_ids": [one[0]["lease_id"]]});
        said(doors.addresses()[0], &ack, "unused", Some(&done)).expect(200);
    }
    let lag = ask("GET", &format!("/v1/groups/{group}/lag")).expect(200);
    assert_eq!(lag.json()["lag"], 0);
}

#[test]
fn an_operation_that_is_begun_at_both_is_one() {
    let (doors, topic, group) = (Both::open(), topic("both-redrive"), group("both-redrive"));
    die(&topic, &group, &["a", "b", "c"]);
    let of = |verb: &str| format!("/v1/groups/{group}/dead-letters:{verb}");
    for (verb, key, body) in [
        ("redrive", "first", json!({"limit": 1})),
        ("redrive", "second", json!({"limit": 1})),
        (&*format!("purge?confirm={group}"), "third", json!({})),
    ] {
        let both = doors.at_once(&of(verb), key, Some(&body));
        one_is_replayed(&both);
        let [one, other] = both.map(|answer| answer.expect(202).json());
        assert_eq!(one["id"], other["id"], "{verb}");
        ended(&one);
    }
    assert_eq!(letters(&group), [""; 0]);
    let stats = ask("GET", &format!("/v1/topics/{topic}/stats")).expect(200);
    // Three that were published, two that were sent again.
    assert_eq!(stats.json()["messages"], 5);
}
