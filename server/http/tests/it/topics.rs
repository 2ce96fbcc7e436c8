//! Topics by HTTP.

use serde_json::json;

use crate::door::{ask, ask_json, fresh, send};

#[test]
fn a_topic_is_made_found_and_deleted() {
    let path = format!("/v1/topics/{}", fresh("made"));
    let made = ask("PUT", &path).expect(201);
    assert_eq!(made.header("location"), path);
    assert_eq!(made.json()["message_type"], "mixed");
    assert_eq!(made.json()["queues"], 8);
    let found = ask("PUT", &path).expect(200);
    assert_eq!(found.header("etag"), made.header("etag"));
    assert_eq!(ask("GET", &path).expect(200).json(), found.json());
    assert_eq!(
        ask("DELETE", &path).expect(422).problem(),
        "confirmation-required"
    );
    ask("DELETE", &format!("{path}?confirm={}", &path[11..])).expect(204);
    assert_eq!(ask("GET", &path).expect(404).problem(), "topic-not-found");
}

#[test]
fn a_topic_with_other_settings_is_not_changed_by_put() {
    let path = format!("/v1/topics/{}", fresh("set"));
    let wanted = json!({"message_type": "fifo", "queues": 3, "permission": "rw"});
    ask_json("PUT", &path, &wanted).expect(201);
    ask_json("PUT", &path, &wanted).expect(200);
    ask_json("PUT", &path, &json!({"queues": 3})).expect(200);
    let other = ask_json("PUT", &path, &json!({"queues": 4})).expect(409);
    assert_eq!(other.problem(), "already-exists-differently");
    assert_eq!(other.json()["current"]["queues"], 3);
    assert_eq!(ask("GET", &path).json()["queues"], 3);
}

#[test]
fn what_is_wrong_with_a_topic_is_named() {
    let path = format!("/v1/topics/{}", fresh("never"));
    let unknown = ask_json("PUT", &path, &json!({"queus": 3})).expect(400);
    assert_eq!(unknown.problem(), "invalid-request");
    let many = ask_json("PUT", &path, &json!({"queues": 0})).expect(422);
    assert_eq!(many.json()["errors"][0]["pointer"], "/queues");
    let plain = send("PUT", &path, &[("Content-Type", "text/plain")], b"{}");
    assert_eq!(plain.expect(415).problem(), "unsupported-media-type");
    assert_eq!(
        ask("PUT", "/v1/topics/a%20b").expect(422).problem(),
        "invalid-topic"
    );
    assert_eq!(
        ask("PUT", "/v1/topics/%25RETRY%25g").expect(403).problem(),
        "reserved-topic"
    );
    assert_eq!(ask("GET", &path).expect(404).problem(), "topic-not-found");
}

#[test]
fn a_patch_changes_what_it_says_if_nobody_was_faster() {
    let path = format!("/v1/topics/{}", fresh("patched"));
    let made = ask("PUT", &path).expect(201);
    let patch = |tag: &str, body: &str| {
        let kind = ("Content-Type", "application/merge-patch+json");
        send("PATCH", &path, &[kind, ("If-Match", tag)], body.as_bytes())
    };
    let changed = patch(made.header("etag"), r#"{"queues": 16}"#).expect(200);
    assert_eq!(changed.json()["queues"], 16);
    assert_eq!(changed.json()["message_type"], "mixed");
    let late = patch(made.header("etag"), r#"{"queues": 32}"#).expect(412);
    assert_eq!(late.problem(), "precondition-failed");
    assert_eq!(ask("GET", &path).json()["queues"], 16);
    assert_eq!(
        ask_json("PATCH", &path, &json!({})).problem(),
        "unsupported-media-type"
    );
}

#[test]
fn a_list_goes_on_where_its_page_ended() {
    let prefix = fresh("listed");
    let names: Vec<String> = (0..5).map(|n| format!("{prefix}-{n}")).collect();
    for name in &names {
        ask("PUT", &format!("/v1/topics/{name}")).expect(201);
    }
    let mut seen = Vec::new();
    let mut target = format!("/v1/topics?prefix={prefix}&limit=2");
    loop {
        let page = ask("GET", &target).expect(200).json();
        let items = page["items"].as_array().unwrap();
        seen.extend(
            items
                .iter()
                .map(|item| item["name"].as_str().unwrap().to_owned()),
        );
        let Some(token) = page["next_page_token"].as_str() else {
            break;
        };
        target = format!("/v1/topics?prefix={prefix}&limit=2&page_token={token}");
    }
    assert_eq!(seen, names);
    let forged = ask("GET", "/v1/topics?page_token=pt_AAEC").expect(400);
    assert_eq!(forged.problem(), "invalid-page-token");
    for wrong in [
        "limit=0",
        "limit=101",
        "limit=x",
        "limt=1",
        "limit=1&limit=2",
    ] {
        let answer = ask("GET", &format!("/v1/topics?{wrong}")).expect(400);
        assert_eq!(answer.problem(), "invalid-parameter", "{wrong}");
    }
}

#[test]
fn a_topic_of_one_type_takes_no_other() {
    let typed = |kind: &str| {
        let topic = fresh(kind);
        let path = format!("/v1/topics/{topic}");
        ask_json("PUT", &path, &json!({ "message_type": kind })).expect(201);
        path
    };
    let plain = json!({"body": "x"});
    let ordered = json!({"body": "x", "message_group": "g"});
    let delayed = json!({"body": "x", "delay": "1h"});
    for (kind, takes) in [
        ("normal", [true, false, false, false]),
        ("fifo", [false, true, false, false]),
        ("delay", [false, false, true, false]),
        ("transaction", [false, false, false, true]),
        ("mixed", [true, true, true, true]),
    ] {
        let path = typed(kind);
        for (message, takes) in [&plain, &ordered, &delayed].into_iter().zip(takes) {
            let answer = ask_json("POST", &format!("{path}/messages"), message);
            let batch = json!({"messages": [message]});
            let batch = ask_json("POST", &format!("{path}/messages:batch"), &batch);
            let of_batch = batch.json()["results"][0]["status"].clone();
            if takes {
                assert_eq!(
                    (answer.status, of_batch),
                    (201, json!(201)),
                    "{kind}: {message}"
                );
            } else {
                assert_eq!(
                    (answer.status, of_batch),
                    (422, json!(422)),
                    "{kind}: {message}"
                );
                assert_eq!(
                    answer.problem(),
                    "message-type-mismatch",
                    "{kind}: {message}"
                );
            }
        }
        let half = ask_json("POST", &format!("{path}/transactions"), &plain);
        assert_eq!(half.status, if takes[3] { 201 } else { 422 }, "{kind}");
    }
}
