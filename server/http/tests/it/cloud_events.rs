//! CloudEvents: published in every mode, kept as Java's binding keeps them, received and browsed as events.

use serde_json::{Value, json};

use crate::door::{Answer, ask, send};
use crate::events;
use crate::messages::{group, publish, receive, settle, topic};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

fn events(topic: &str, more: &str) -> String {
    format!("/v1/topics/{topic}/events{more}")
}

fn post(target: &str, kind: &str, body: &Value) -> Answer {
    let headers = [("Content-Type", kind)];
    send("POST", target, &headers, body.to_string().as_bytes())
}

fn binary(target: &str, more: &[(&str, &str)], body: &[u8]) -> Answer {
    let own = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/shop"),
        ("ce-type", "order.paid"),
    ];
    send("POST", target, &[&own, more].concat(), body)
}

fn event(id: &str, data: Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "order.paid", "data": data})
}

/// What a group gets of a topic, as events, by id.
fn received(topic: &str, count: usize) -> Vec<Value> {
    let group = group("events");
    let target = format!("/v1/groups/{group}/messages:receive?topic={topic}&tag=*&wait=10s&max=32");
    let mut all = Vec::new();
    while all.len() < count {
        let answer = send("POST", &target, &[("Accept", BATCH)], b"").expect(200);
        assert_eq!(answer.header("content-type"), BATCH);
        let some = answer.json().as_array().unwrap().clone();
        assert!(!some.is_empty(), "{all:?}");
        all.extend(some);
    }
    all.sort_by_key(|event| event["id"].to_string());
    all
}

#[test]
fn an_event_is_kept_as_javas_binding_keeps_it() {
    let topic = topic("events-kept");
    let more = [
        ("Content-Type", "application/json"),
        ("ce-subject", "caf%C3%A9"),
        ("ce-region", "hz"),
        ("ce-mqtag", "paid"),
    ];
    binary(&events(&topic, ""), &more, br#"{"order":17}"#).expect(201);
    let kept = &receive(&group("kept"), &topic, "&wait=10s")[0];
    let wanted = json!({
        "CE_specversion": "1.0", "CE_id": "1", "CE_source": "/shop", "CE_type": "order.paid",
        "CE_subject": "café", "CE_region": "hz", "CE_contenttype": "application/json",
    });
    assert_eq!(kept["properties"], wanted);
    assert_eq!(kept["body"], r#"{"order":17}"#);
    assert_eq!(kept["content_type"], "application/json");
    assert_eq!(
        (&kept["keys"], &kept["tag"]),
        (&json!(["1"]), &json!("paid"))
    );
    let found = ask(
        "GET",
        &format!("/v1/topics/{topic}/messages?sql=CE_type%20=%20'order.paid'"),
    );
    assert_eq!(
        found.expect(200).json()["messages"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let shown = &received(&topic, 1)[0];
    for (name, value) in [
        ("specversion", json!("1.0")),
        ("id", json!("1")),
        ("subject", json!("café")),
        ("region", json!("hz")),
        ("mqtag", json!("paid")),
        ("datacontenttype", json!("application/json")),
        ("data", json!({"order": 17})),
        ("mqdeliveryattempt", json!(1)),
    ] {
        assert_eq!(shown[name], value, "{name} of {shown}");
    }
    // The lease among the extensions is a lease.
    assert!(shown["mqleaseid"].as_str().unwrap().starts_with("le_"));
}

#[test]
fn every_mode_gives_the_same_event_back() {
    let topic = topic("events-modes");
    let target = events(&topic, "");
    post(&target, STRUCTURED, &event("a", json!({"n": [1, null]}))).expect(201);
    let mut text = event("b", json!("plain"));
    text["datacontenttype"] = json!("text/plain");
    let mut bytes = event("c", Value::Null);
    bytes["data_base64"] = json!("AP8=");
    bytes.as_object_mut().unwrap().remove("data");
    bytes["flag"] = json!(true);
    bytes["count"] = json!(-7);
    let mut nothing = event("d", Value::Null);
    nothing.as_object_mut().unwrap().remove("data");
    nothing["partitionkey"] = json!("cust-7");
    let sent = post(&target, BATCH, &json!([text, bytes, nothing]))
        .expect(200)
        .json();
    let ids: Vec<_> = sent["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(ids, ["b", "c", "d"]);
    let all = received(&topic, 4);
    assert_eq!(all[0]["data"], json!({"n": [1, null]}));
    assert_eq!(all[0]["datacontenttype"], "application/json");
    assert_eq!(
        (&all[1]["data"], &all[1]["datacontenttype"]),
        (&json!("plain"), &json!("text/plain"))
    );
    assert_eq!(
        (&all[2]["data_base64"], &all[2]["flag"], &all[2]["count"]),
        (&json!("AP8="), &json!(true), &json!(-7))
    );
    let none = all[3].as_object().unwrap();
    assert!(
        !none.contains_key("data") && !none.contains_key("data_base64"),
        "{none:?}"
    );
    assert_eq!(none["partitionkey"], "cust-7");
}

#[test]
fn the_same_event_is_stored_once_unless_nothing_is_the_same() {
    let topic = topic("events-same");
    let target = events(&topic, "");
    let first = post(&target, STRUCTURED, &event("1", json!(1))).expect(201);
    let again = post(&target, STRUCTURED, &event("1", json!(1))).expect(201);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.json(), first.json());
    let other = post(&target, STRUCTURED, &event("1", json!(2))).expect(422);
    assert_eq!(other.problem(), "idempotency-key-reused");
    let many = post(
        &target,
        BATCH,
        &json!([event("1", json!(1)), event("2", json!(1))]),
    );
    let many = many.expect(200).json();
    assert_eq!(many["results"][0]["replayed"], true);
    assert_eq!(many["results"][1]["replayed"], Value::Null);
    post(
        &events(&topic, "?idempotency=none"),
        STRUCTURED,
        &event("1", json!(2)),
    )
    .expect(201);
    let stats = ask("GET", &format!("/v1/topics/{topic}/stats")).expect(200);
    assert_eq!(stats.json()["messages"], 3);
    let against = [("Content-Type", "text/plain"), ("Idempotency-Key", "k")];
    let refused = binary(&events(&topic, "?idempotency=none"), &against, b"x");
    assert_eq!(refused.expect(400).problem(), "invalid-parameter");
}

#[test]
fn long_data_in_the_binary_mode_is_stored_once_too() {
    let topic = topic("events-long");
    let target = events(&topic, "");
    let bytes = [("Content-Type", "text/plain")];
    let mut long = vec![b'x'; 1 << 20];
    let first = binary(&target, &bytes, &long).expect(201);
    let again = binary(&target, &bytes, &long).expect(201);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.json(), first.json());
    long[0] = b'y';
    let other = binary(&target, &bytes, &long).expect(422);
    assert_eq!(other.problem(), "idempotency-key-reused");
    let wrong = binary(&target, &[("ce-time", "late")], &long).expect(422);
    assert_eq!(wrong.json()["errors"][0]["header"], "ce-time");
}

#[test]
fn what_is_no_event_is_told_with_its_place() {
    let topic = topic("events-wrong");
    let target = events(&topic, "");
    let none = send("POST", &target, &[("Content-Type", "text/plain")], b"x").expect(422);
    assert_eq!(none.problem(), "invalid-cloudevent");
    let places: Vec<String> = none.json()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["header"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(places, ["ce-specversion", "ce-id", "ce-source", "ce-type"]);
    for (change, pointer) in [
        (json!({"specversion": "0.3"}), "/specversion"),
        (json!({"id": ""}), "/id"),
        (json!({"id": 5}), "/id"),
        (json!({"subject": true}), "/subject"),
        (json!({"time": "today"}), "/time"),
        (json!({"Region": "hz"}), "/Region"),
        (json!({"region": {"a": 1}}), "/region"),
        (json!({"count": 4294967296_u64}), "/count"),
        (json!({"data_base64": "AP8="}), "/data_base64"),
        (json!({"mqdelay": "soon"}), "/mqdelay"),
        (json!({"mqleaseid": "le_x"}), "/mqleaseid"),
        (json!({"mqleaseexpiresat": "x"}), "/mqleaseexpiresat"),
        (json!({"mqdeliveryattempt": 7}), "/mqdeliveryattempt"),
        (json!({"mqreplytoken": "x"}), "/mqreplytoken"),
    ] {
        let mut wrong = event("1", json!(1));
        for (name, value) in change.as_object().unwrap() {
            wrong[name] = value.clone();
        }
        let told = post(&target, STRUCTURED, &wrong).expect(422);
        assert_eq!(told.problem(), "invalid-cloudevent", "{change}");
        assert_eq!(told.json()["errors"][0]["pointer"], pointer, "{change}");
        let many = post(&target, BATCH, &json!([event("fine", json!(1)), wrong])).expect(207);
        let told = &many.json()["results"][1]["problem"]["errors"][0]["pointer"];
        assert_eq!(told, &format!("/1{pointer}"), "{change}");
    }
    for (kind, body, slug) in [
        (
            "application/cloudevents+avro",
            json!({}),
            "unsupported-media-type",
        ),
        (STRUCTURED, json!([]), "invalid-request"),
        (BATCH, json!({}), "invalid-request"),
        (BATCH, json!([]), "invalid-batch"),
    ] {
        assert_eq!(post(&target, kind, &body).problem(), slug, "{kind} {body}");
    }
    let twice = binary(&target, &[("ce-subject", "%ff")], b"x").expect(422);
    assert_eq!(twice.problem(), "invalid-cloudevent");
}

#[test]
fn an_extension_comes_back_as_what_it_was() {
    let topic = topic("events-typed");
    let mut typed = event("typed", json!(1));
    let extensions = json!({
        "count": 5, "below": -7, "flag": true, "text": "5", "word": "true", "zero": "007"
    });
    for (name, value) in extensions.as_object().unwrap() {
        typed[name] = value.clone();
    }
    post(&events(&topic, ""), STRUCTURED, &typed).expect(201);
    post(&events(&topic, ""), BATCH, &json!([typed])).expect(200);
    let more = [("ce-count", "5"), ("ce-flag", "true")];
    binary(&events(&topic, ""), &more, b"x").expect(201);
    let got = received(&topic, 2);
    for (name, value) in extensions.as_object().unwrap() {
        assert_eq!(&got[1][name], value, "{name}");
    }
    assert_eq!(
        (&got[0]["count"], &got[0]["flag"]),
        (&json!("5"), &json!("true")),
        "headers have no types"
    );
    // As properties they are text, and say no more than the event did.
    let target = format!("/v1/topics/{topic}/messages?sql=CE_count%20=%20'5'");
    let found = ask("GET", &target).expect(200).json();
    let properties = &found["messages"][0]["properties"];
    assert_eq!(properties["CE_count"], "5");
    assert!(properties.get("cloudevent_typed").is_none(), "{properties}");
    let own = json!({"body": "x", "properties": {"cloudevent_typed": "count"}});
    assert_eq!(
        publish(&topic, &own).expect(422).problem(),
        "reserved-property"
    );
}

#[test]
fn a_delayed_event_is_delayed_and_a_plain_message_is_an_event_too() {
    let topic = topic("events-later");
    let mut later = event("later", json!(1));
    later["mqdelay"] = json!("1h");
    let sent = post(&events(&topic, ""), STRUCTURED, &later)
        .expect(201)
        .json();
    assert!(sent["recall_handle"].is_string(), "{sent}");
    let plain = publish(&topic, &json!({"body": "hello"}))
        .expect(201)
        .json();
    let target = format!("/v1/topics/{topic}/messages");
    let shown = send("GET", &target, &[("Accept", BATCH)], b"")
        .expect(200)
        .json();
    let [shown] = shown.as_array().unwrap().as_slice() else {
        panic!("one message is there: {shown}");
    };
    assert_eq!(shown["type"], "rocketmq.message");
    assert_eq!(shown["source"], format!("/topics/{topic}"));
    assert_eq!(
        (&shown["id"], &shown["data"]),
        (&plain["message_id"], &json!("hello"))
    );
}

#[test]
fn what_an_event_says_of_its_lease_and_type_is_said_once() {
    let topic = topic("events-once");
    // As somebody else's client, or a structured event of Java's, may have them.
    let claims = json!({
        "mqleaseid": "le_forged", "mqleaseexpiresat": "never", "mqdeliveryattempt": "7",
        "mqreplytoken": "forged", "datacontenttype": "text/forged",
    });
    let mut properties = claims.clone();
    for (name, value) in [
        ("specversion", "1.0"),
        ("id", "a"),
        ("source", "/shop"),
        ("type", "paid"),
        ("contenttype", "text/plain"),
        ("mqleaseid", "le_forged"),
    ] {
        properties[format!("CE_{name}")] = json!(value);
    }
    publish(&topic, &json!({"body": "x", "properties": properties})).expect(201);
    let mut whole = event("b", json!("y"));
    for (name, value) in claims.as_object().unwrap() {
        whole[name] = value.clone();
    }
    whole["datacontenttype"] = json!("text/plain");
    whole["sh\"op"] = json!({"kept": [1]});
    let stored = json!({"body": whole.to_string(), "properties": {"CE_contenttype": STRUCTURED}});
    publish(&topic, &stored).expect(201);

    let target = format!(
        "/v1/groups/{}/messages:receive?topic={topic}&tag=*&wait=10s&max=32",
        group("events-once")
    );
    let mut all = Vec::new();
    while all.len() < 2 {
        let answer = send("POST", &target, &[("Accept", BATCH)], b"").expect(200);
        let text = String::from_utf8(answer.body.clone()).unwrap();
        let some = answer.json().as_array().unwrap().clone();
        assert!(!some.is_empty(), "{all:?}");
        for name in claims.as_object().unwrap().keys() {
            let often = text.matches(&format!("\"{name}\":")).count();
            let reply = name == "mqreplytoken";
            assert_eq!(
                often,
                if reply { 0 } else { some.len() },
                "{name} of {text}"
            );
        }
        assert!(!text.contains("forged"), "{text}");
        all.extend(some);
    }
    all.sort_by_key(|event| event["id"].to_string());
    assert!(all[0]["mqleaseid"].as_str().unwrap().starts_with("le_"));
    assert_eq!(all[0]["datacontenttype"], "text/plain");
    assert_eq!(all[1]["sh\"op"], json!({"kept": [1]}));
    let browsed = send(
        "GET",
        &format!("/v1/topics/{topic}/messages"),
        &[("Accept", BATCH)],
        b"",
    );
    let browsed = browsed.expect(200).json().to_string();
    assert!(!browsed.contains("forged"), "{browsed}");
}

/// The next event of a stream, which must be a CloudEvent.
fn next(stream: &mut events::Stream) -> Value {
    let event = stream.next().unwrap();
    assert_eq!(event.name, "", "{event:?}");
    crate::contract::valid_as("CloudEvent", &event.data);
    event.data
}

#[test]
fn a_followed_topic_tells_events_to_who_wants_them_and_messages_to_others() {
    let topic = topic("events-followed");
    let target = events(&topic, "");
    let stream = format!("/v1/topics/{topic}/stream?from=earliest");
    post(&target, STRUCTURED, &event("a", json!({"n": 1}))).expect(201);
    // One that catches up, one that is there when something comes, one that filters: each its own way.
    let mut early = events::open(&format!("{stream}&format=cloudevent"), None);
    let mut chosen = events::open(
        &format!("{stream}&format=cloudevent&sql=CE_type%20=%20'order.paid'"),
        None,
    );
    let mut plain = events::open(&format!("{stream}&format=message"), None);
    let shown = &received(&topic, 1)[0];
    for stream in [&mut early, &mut chosen] {
        let told = next(stream);
        for name in [
            "specversion",
            "id",
            "source",
            "type",
            "datacontenttype",
            "data",
        ] {
            assert_eq!(told[name], shown[name], "{name} of {told}");
        }
        assert_eq!(told["mqleaseid"], Value::Null);
    }
    assert_eq!(plain.next().unwrap().data["body"], r#"{"n":1}"#);
    post(&target, STRUCTURED, &event("b", json!("live"))).expect(201);
    assert_eq!(next(&mut early)["data"], "live");
    assert_eq!(next(&mut chosen)["id"], "b");
    assert_eq!(plain.next().unwrap().data["body"], r#""live""#);
    let told = publish(&topic, &json!({"body": "no event"})).expect(201);
    let other = next(&mut early);
    assert_eq!(other["type"], "rocketmq.message");
    assert_eq!(other["id"], told.json()["message_id"]);
    assert_eq!(other["source"], format!("/topics/{topic}"));
    assert_eq!(other["data"], "no event");
    // The place is the same in both formats.
    let last = early.cut();
    let mut plain = events::open(&stream, Some(&last));
    publish(&topic, &json!({"body": "after"})).expect(201);
    assert_eq!(plain.bodies(1), ["after"]);
    let wrong = ask("GET", &format!("{stream}&format=xml")).expect(400);
    assert_eq!(wrong.problem(), "invalid-parameter");
}

#[test]
fn a_groups_stream_tells_events_that_carry_their_leases() {
    let (topic, group) = (topic("events-streamed"), group("events-streamed"));
    assert_eq!(receive(&group, &topic, "&wait=0s").len(), 0);
    let mut paid = event("a", json!({"n": 1}));
    paid["mqtag"] = json!("paid");
    post(&events(&topic, ""), STRUCTURED, &paid).expect(201);
    let target = format!("/v1/groups/{group}/stream?format=cloudevent&lease=10m");
    let mut stream = events::open(&target, None);
    let told = next(&mut stream);
    assert_eq!(
        (&told["id"], &told["data"], &told["mqtag"]),
        (&json!("a"), &json!({"n": 1}), &json!("paid"))
    );
    assert_eq!(told["mqdeliveryattempt"], 1);
    let lease = told["mqleaseid"].as_str().unwrap();
    let acked = settle(&group, "ack", &[lease], json!({}))
        .expect(200)
        .json();
    assert_eq!(acked["failed"], 0);
}
