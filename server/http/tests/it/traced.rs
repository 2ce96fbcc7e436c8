//! Traces that publishes are a part of (W3C `traceparent`), as readers see them.

use serde_json::{Value, json};

use crate::door::{Answer, ask, ask_json, send};
use crate::messages::{group, lease, receive, settle, topic};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00";

fn traced(target: &str, kind: &str, trace: &str, more: &[(&str, &str)], body: &str) -> Answer {
    let mut headers = vec![("Content-Type", kind), ("traceparent", trace)];
    headers.extend(more);
    send("POST", target, &headers, body.as_bytes())
}

fn read(topic: &str, id: &Value) -> Value {
    let target = format!("/v1/topics/{topic}/messages?limit=64");
    let page = ask("GET", &target).expect(200).json();
    let mut all = page["messages"].as_array().unwrap().iter();
    let own = all.find(|message| message["message_id"] == *id);
    own.unwrap_or_else(|| panic!("no {id}: {page}")).clone()
}

#[test]
fn a_publishers_trace_comes_back_with_its_message() {
    let (topic, group) = (topic("traced"), group("traced"));
    let path = format!("/v1/topics/{topic}/messages");
    let json = "application/json";
    let one = traced(&path, json, TRACE, &[], r#"{"body":"one"}"#).expect(201);
    let raw = traced(&format!("{path}:raw"), "text/plain", TRACE, &[], "raw").expect(201);
    let both = r#"{"messages":[{"body":"a"},{"body":"b","message_group":"g"}]}"#;
    let both = traced(&format!("{path}:batch"), json, TRACE, &[], both).expect(200);
    let mut ids = vec![
        one.json()["message_id"].clone(),
        raw.json()["message_id"].clone(),
    ];
    let results = both.json()["results"].clone();
    ids.extend(
        results
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["message_id"].clone()),
    );
    let begin = format!("/v1/topics/{topic}/transactions");
    let half = traced(&begin, json, TRACE, &[], r#"{"body":"half"}"#)
        .expect(201)
        .json();
    let resolve = format!(
        "{begin}/{}/resolution",
        half["transaction_id"].as_str().unwrap()
    );
    ask_json("PUT", &resolve, &json!({"resolution": "commit"})).expect(200);
    ids.push(half["message_id"].clone());
    for id in &ids {
        let message = read(&topic, id);
        assert_eq!(message["trace_parent"], TRACE, "{message}");
        assert_eq!(
            message["properties"],
            json!({}),
            "it is no property of its sender's"
        );
    }
    let mut got = Vec::new();
    while got.len() < ids.len() {
        let more = receive(&group, &topic, "&wait=20s&max=32");
        assert!(!more.is_empty(), "{got:?}");
        let leases: Vec<&str> = more.iter().map(lease).collect();
        settle(&group, "ack", &leases, json!({})).expect(200);
        got.extend(more);
    }
    assert!(
        got.iter().all(|one| one["trace_parent"] == TRACE),
        "{got:?}"
    );
}

#[test]
fn what_is_no_trace_is_passed_over_and_a_repeat_may_be_of_another() {
    let topic = topic("untraced");
    let path = format!("/v1/topics/{topic}/messages");
    let json = "application/json";
    for none in [
        "",
        "00-1-2-03",
        &TRACE.to_uppercase(),
        &format!("{TRACE}-more"),
    ] {
        let sent = traced(&path, json, none, &[], r#"{"body":"x"}"#)
            .expect(201)
            .json();
        assert_eq!(
            read(&topic, &sent["message_id"])["trace_parent"],
            Value::Null,
            "{none}"
        );
    }
    let key = [("Idempotency-Key", "k")];
    let keyed = |trace| traced(&path, json, trace, &key, r#"{"body":"keyed"}"#).expect(201);
    let (first, again) = (keyed(TRACE), keyed(OTHER));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.json(), first.json());
    assert_eq!(
        read(&topic, &first.json()["message_id"])["trace_parent"],
        TRACE
    );
}

#[test]
fn an_events_own_trace_is_not_that_of_the_hop() {
    let topic = topic("traced-events");
    let target = format!("/v1/topics/{topic}/events");
    let event = |id: &str, own: Option<&str>| {
        let mut event = json!({"specversion": "1.0", "id": id, "source": "/s", "type": "t"});
        if let Some(own) = own {
            event["traceparent"] = own.into();
        }
        let kind = "application/cloudevents+json";
        let sent = traced(&target, kind, TRACE, &[], &event.to_string()).expect(201);
        read(&topic, &sent.json()["message_id"])["trace_parent"].clone()
    };
    assert_eq!(event("1", Some(OTHER)), OTHER);
    assert_eq!(event("2", None), TRACE);
}
