//! Messages read without a group.

use serde_json::{Value, json};

use crate::door::{Answer, ask, send};
use crate::messages::{group, publish, receive, settle, topic};

fn browse(topic: &str, query: &str) -> Answer {
    ask("GET", &format!("/v1/topics/{topic}/messages?{query}"))
}

fn bodies(answer: &Value) -> Vec<String> {
    let all = answer["messages"].as_array().unwrap().iter();
    all.map(|one| one["body"].as_str().unwrap_or("-").to_owned())
        .collect()
}

#[test]
fn pages_hold_every_message_once() {
    let topic = topic("browse");
    let mut wanted = Vec::new();
    for n in 0..23 {
        publish(&topic, &json!({"body": n.to_string()})).expect(201);
        wanted.push(n.to_string());
    }
    wanted.sort();
    let mut found = Vec::new();
    let mut token = String::new();
    for _ in 0..20 {
        let page = browse(&topic, &format!("limit=4{token}"))
            .expect(200)
            .json();
        found.extend(bodies(&page));
        match page["next_page_token"].as_str() {
            Some(next) => token = format!("&page_token={next}"),
            None => break,
        }
    }
    found.sort();
    assert_eq!(found, wanted);
    let other = browse(&topic, &format!("limit=4&tag=a{token}")).expect(400);
    assert_eq!(other.problem(), "invalid-page-token");
    let garbled = browse(&topic, "page_token=pt_x").expect(400);
    assert_eq!(garbled.problem(), "invalid-page-token");
}

#[test]
fn a_place_a_tag_a_key_and_a_time_choose() {
    let topic = topic("choose");
    let mut sent = Vec::new();
    for (n, tag) in ["a", "b", "a"].iter().enumerate() {
        let envelope = json!({"body": n.to_string(), "tag": tag, "keys": [format!("k{n}")], "message_group": "g"});
        sent.push(publish(&topic, &envelope).expect(201).json());
    }
    let queue = sent[0]["queue"].as_str().unwrap();
    let from = |offset: u64, more: &str| {
        let page = browse(&topic, &format!("queue={queue}&offset={offset}{more}")).expect(200);
        bodies(&page.json())
    };
    assert_eq!(from(1, ""), ["1", "2"]);
    assert_eq!(from(0, "&tag=a"), ["0", "2"]);
    assert_eq!(from(0, "&body=none"), ["-", "-", "-"]);
    let end = std::time::Instant::now() + crate::door::LIMIT;
    // The key index follows the log a moment later.
    while bodies(&browse(&topic, "key=k1").expect(200).json()) != ["1"] {
        assert!(std::time::Instant::now() < end);
    }
    let all = browse(&topic, "from=2020-01-01T00:00:00Z")
        .expect(200)
        .json();
    assert_eq!(bodies(&all).len(), 3);
    let none = browse(&topic, "to=2020-01-01T00:00:00Z").expect(200).json();
    assert_eq!(bodies(&none).len(), 0);
    for (query, status, slug) in [
        ("queue=nobody:0", 404, "queue-not-found"),
        ("offset=1", 400, "invalid-parameter"),
        ("limit=65", 400, "invalid-parameter"),
        ("from=today", 400, "invalid-parameter"),
        ("sql=a+%3E+%3E", 422, "invalid-filter"),
    ] {
        let answer = browse(&topic, query);
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, slug),
            "{query}"
        );
    }
}

#[test]
fn a_message_is_read_by_its_id() {
    let topic = topic("by-id");
    let sent = publish(&topic, &json!({"body": {"n": 1}})).expect(201);
    let location = sent.header("location").to_owned();
    let end = std::time::Instant::now() + crate::door::LIMIT;
    let found = loop {
        let answer = ask("GET", &format!("{location}?body=json"));
        if answer.status == 200 {
            break answer.json();
        }
        assert_eq!(answer.problem(), "message-not-found");
        assert!(std::time::Instant::now() < end);
    };
    assert_eq!(found["body"], json!({"n": 1}));
    let thing = json!({"body": "AP8=", "body_encoding": "base64", "content_type": "image/x-thing"});
    let sent = publish(&topic, &thing).expect(201);
    let accept = [("Accept", "application/octet-stream")];
    let bytes = loop {
        let answer = send("GET", sent.header("location"), &accept, b"");
        if answer.status == 200 {
            break answer;
        }
        assert!(std::time::Instant::now() < end);
    };
    assert_eq!(bytes.body, [0, 0xff]);
    assert_eq!(bytes.header("content-type"), "image/x-thing");
    let none = ask(
        "GET",
        &format!("/v1/topics/{topic}/messages/7F0000011A2B18B4AAC2000000000001"),
    )
    .expect(404);
    assert_eq!(none.problem(), "message-not-found");
}

#[test]
fn an_id_that_is_made_up_leads_to_brokers_only() {
    let topic = topic("made-up");
    let secret = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = secret.local_addr().unwrap().port();
    // Address, port and offset: where a message would lie.
    let id = format!("7F000001{port:08X}0000000000000000");
    let none = ask("GET", &format!("/v1/topics/{topic}/messages/{id}")).expect(404);
    assert_eq!(none.problem(), "message-not-found");
    secret.set_nonblocking(true).unwrap();
    let called = secret.accept().map(|(_, from)| from);
    assert!(called.is_err(), "it was called by {called:?}");
}

#[test]
fn dead_letters_say_where_they_came_from() {
    let (topic, group) = (topic("died"), group("died"));
    let target = format!("/v1/groups/{group}/dead-letters");
    assert_eq!(
        ask("GET", &target).expect(200).json(),
        json!({"messages": [], "next_page_token": null})
    );
    publish(&topic, &json!({"body": "x"})).expect(201);
    let got = receive(&group, &topic, "&wait=10s");
    let lease = got[0]["lease_id"].as_str().unwrap();
    settle(&group, "dead-letter", &[lease], json!({})).expect(200);
    let letters = ask("GET", &target).expect(200).json();
    assert_eq!(bodies(&letters), ["x"]);
    assert_eq!(letters["messages"][0]["dead_letter"]["topic"], topic);
}
