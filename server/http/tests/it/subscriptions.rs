//! What groups want of topics, by HTTP.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_door::Options;
use serde_json::{Value, json};

use crate::door::{Answer, LIMIT, address, ask, ask_json, fresh, own, send, send_to};
use crate::messages::{group, publish, receive, topic};

fn put(group: &str, topic: &str, wanted: &Value) -> Answer {
    let target = format!("/v1/groups/{group}/subscriptions/{topic}");
    ask_json("PUT", &target, wanted)
}

fn put_if(group: &str, topic: &str, tag: &str, wanted: &Value) -> Answer {
    let headers = [("Content-Type", "application/json"), ("If-Match", tag)];
    let target = format!("/v1/groups/{group}/subscriptions/{topic}");
    send("PUT", &target, &headers, wanted.to_string().as_bytes())
}

/// What the group gets of the topic now, by its own filter.
fn bodies(group: &str, topic: &str) -> Vec<String> {
    let target = format!("/v1/groups/{group}/messages:receive?topic={topic}&wait=0s&max=32");
    let got = ask("POST", &target).expect(200).json();
    let all = got["messages"].as_array().unwrap();
    let mut all: Vec<String> = all
        .iter()
        .map(|one| one["body"].as_str().unwrap().to_owned())
        .collect();
    all.sort_unstable();
    all
}

#[test]
fn a_groups_filter_is_put_shown_changed_and_taken_away() {
    let (topic, group) = (topic("wanted"), group("wanted"));
    for tag in ["a", "b", "c"] {
        publish(&topic, &json!({"body": tag, "tag": tag})).expect(201);
    }
    let wanted = json!({"filter": {"type": "tag", "expression": "a || b"}});
    let made = put(&group, &topic, &wanted).expect(201);
    let shown = json!({"topic": topic, "filter": {"type": "tag", "expression": "a || b"}});
    assert_eq!(made.json(), shown);
    assert_eq!(
        made.header("location"),
        format!("/v1/groups/{group}/subscriptions/{topic}")
    );
    // The order of tags says nothing.
    let same = json!({"filter": {"expression": "b||a"}});
    assert_eq!(put(&group, &topic, &same).expect(200).json(), shown);
    let target = format!("/v1/groups/{group}/subscriptions/{topic}");
    let got = ask("GET", &target).expect(200);
    assert_eq!(
        (got.json(), got.header("etag")),
        (shown.clone(), made.header("etag"))
    );
    let all = ask("GET", &format!("/v1/groups/{group}/subscriptions")).expect(200);
    assert_eq!(all.json()["items"], json!([shown]));
    assert_eq!(bodies(&group, &topic), ["a", "b"]);

    let other = json!({"filter": {"type": "sql", "expression": "TAGS = 'd'"}});
    let refused = put(&group, &topic, &other).expect(428);
    assert_eq!(refused.problem(), "precondition-required");
    assert_eq!(refused.json()["current"], shown);
    let stale = put_if(&group, &topic, "\"0\"", &other).expect(412);
    assert_eq!(stale.problem(), "precondition-failed");
    let changed = put_if(&group, &topic, made.header("etag"), &other).expect(200);
    assert_ne!(changed.header("etag"), made.header("etag"));
    assert_eq!(changed.json()["filter"], other["filter"]);
    for tag in ["a", "d"] {
        publish(&topic, &json!({"body": format!("{tag}2"), "tag": tag})).expect(201);
    }
    // What the old filter skipped stays skipped.
    assert_eq!(bodies(&group, &topic), ["d2"]);

    ask("DELETE", &target).expect(204);
    for method in ["GET", "DELETE"] {
        let gone = ask(method, &target).expect(404);
        assert_eq!(gone.problem(), "subscription-not-found");
    }
    let receive = format!("/v1/groups/{group}/messages:receive?topic={topic}&wait=0s");
    assert_eq!(
        ask("POST", &receive).expect(404).problem(),
        "subscription-not-found"
    );
}

#[test]
fn what_many_want_of_a_group_at_once_is_all_kept() {
    let group = group("at-once");
    let topics: Vec<String> = (0..12).map(|_| topic("at-once")).collect();
    std::thread::scope(|scope| {
        for (place, topic) in topics.iter().enumerate() {
            let group = &group;
            scope.spawn(move || match place % 3 {
                0 => assert_eq!(receive(group, topic, "&wait=0s").len(), 0),
                _ => drop(put(group, topic, &json!({})).expect(201)),
            });
        }
        let patched = json!({"max_attempts": 7});
        let headers = [("Content-Type", "application/merge-patch+json")];
        let target = format!("/v1/groups/{group}");
        let text = patched.to_string();
        send("PATCH", &target, &headers, text.as_bytes()).expect(200);
    });
    let target = format!("/v1/groups/{group}/subscriptions?limit=100");
    let kept = ask("GET", &target).expect(200).json();
    let kept = kept["items"].as_array().unwrap().iter();
    let mut kept: Vec<&str> = kept.map(|one| one["topic"].as_str().unwrap()).collect();
    let mut wanted: Vec<&str> = topics.iter().map(String::as_str).collect();
    kept.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(kept, wanted);
    let settings = ask("GET", &format!("/v1/groups/{group}")).expect(200);
    assert_eq!(settings.json()["max_attempts"], 7);
}

#[test]
fn what_another_door_undid_is_told_and_said_again() {
    let group = group("doors");
    let topics: Vec<String> = (0..40).map(|_| topic("doors")).collect();
    let other = own(Options::default());
    let halves = topics.chunks(20);
    std::thread::scope(|scope| {
        for (half, door) in halves.zip([address(), other.address().unwrap()]) {
            let group = &group;
            scope.spawn(move || {
                for topic in half {
                    wanted_at(door, group, topic);
                }
            });
        }
    });
    other.stop(Duration::from_secs(5));
}

/// Has the group want the topic, as often as somebody else is faster.
fn wanted_at(door: SocketAddr, group: &str, topic: &str) {
    let target = format!("/v1/groups/{group}/subscriptions/{topic}");
    let headers = [("Content-Type", "application/json")];
    let end = Instant::now() + LIMIT;
    loop {
        let answer = send_to(door, "PUT", &target, &headers, b"{}");
        if matches!(answer.status, 200 | 201) {
            return;
        }
        assert_eq!(answer.problem(), "unavailable");
        assert!(Instant::now() < end, "{answer:?}");
    }
}

#[test]
fn the_location_of_a_subscription_leads_to_it() {
    let space = fresh("a%b");
    let query = format!("?namespace={}", space.replace('%', "%25"));
    let [topic, group] = ["t", "g"].map(fresh);
    for target in [
        format!("/v1/topics/{topic}{query}"),
        format!("/v1/groups/{group}{query}"),
        format!("/v1/groups/{group}/subscriptions/{topic}{query}"),
    ] {
        let made = ask_json("PUT", &target, &json!({})).expect(201);
        assert_eq!(made.header("location"), target);
        ask("GET", made.header("location")).expect(200);
    }
}

#[test]
fn a_group_begins_where_its_subscription_says() {
    let topic = topic("start");
    let groups = ["earliest", "latest", "time"].map(|name| group(&format!("start-{name}")));
    let first = publish(&topic, &json!({"body": "before"}))
        .expect(201)
        .json();
    let [earliest, latest, time] = &groups;
    put(earliest, &topic, &json!({"start": "earliest"})).expect(201);
    put(latest, &topic, &json!({"start": "latest"})).expect(201);
    let at = first["stored_at"].as_str().unwrap();
    put(time, &topic, &json!({"start": at})).expect(201);
    publish(&topic, &json!({"body": "behind"})).expect(201);
    assert_eq!(bodies(earliest, &topic), ["before", "behind"]);
    assert_eq!(bodies(latest, &topic), ["behind"]);
    assert_eq!(bodies(time, &topic), ["before", "behind"]);
    // A group that was there goes on where it was.
    ask(
        "DELETE",
        &format!("/v1/groups/{latest}/subscriptions/{topic}"),
    )
    .expect(204);
    put(latest, &topic, &json!({"start": "earliest"})).expect(201);
    assert_eq!(bodies(latest, &topic).len(), 0);
}

#[test]
fn what_is_wrong_with_a_subscription_is_told() {
    let (topic, group) = (topic("wrong"), group("wrong"));
    for (wanted, status, slug) in [
        (json!({"filtr": {}}), 400, "invalid-request"),
        (json!({"filter": {}}), 400, "invalid-request"),
        (
            json!({"filter": {"type": "regex", "expression": "a"}}),
            400,
            "invalid-request",
        ),
        (json!({"start": "yesterday"}), 400, "invalid-request"),
        (
            json!({"filter": {"expression": "a || "}}),
            422,
            "invalid-filter",
        ),
        (
            json!({"filter": {"expression": "a | b"}}),
            422,
            "invalid-filter",
        ),
        (
            json!({"filter": {"type": "sql", "expression": "a >"}}),
            422,
            "invalid-filter",
        ),
    ] {
        assert_eq!(
            put(&group, &topic, &wanted).expect(status).problem(),
            slug,
            "{wanted}"
        );
    }
    let (long, tags) = ("a = 1 OR ".repeat(228) + "a = 1", "t".repeat(2_049));
    for wanted in [
        json!({"filter": {"type": "sql", "expression": long}}),
        json!({"filter": {"expression": tags}}),
    ] {
        let refused = put(&group, &topic, &wanted).expect(422);
        assert_eq!(refused.problem(), "invalid-filter", "{wanted}");
    }
    let sql = long.replace(' ', "+").replace('=', "%3D");
    for target in [
        format!("/v1/topics/{topic}/stream?sql={sql}"),
        format!("/v1/topics/{topic}/messages?tag={tags}"),
    ] {
        let refused = ask("GET", &target).expect(422);
        assert_eq!(refused.problem(), "invalid-filter", "{target}");
    }
    let empty = json!({});
    let nowhere = put(&group, "nowhere-at-all", &empty).expect(404);
    assert_eq!(nowhere.problem(), "topic-not-found");
    let nobody = put("nobody-at-all", &topic, &empty).expect(404);
    assert_eq!(nobody.problem(), "group-not-found");
    assert_eq!(receive(&group, &topic, "&wait=0s").len(), 0);
}
