//! Requests and replies by HTTP.

use serde_json::json;

use crate::door::{ask_json, send};
use crate::messages::{group, receive, topic};

#[test]
fn a_caller_asks_and_another_one_replies() {
    let (topic, group) = (topic("quotes"), group("clerks"));
    receive(&group, &topic, "&wait=0s");
    let asked = topic.clone();
    let asks = std::thread::spawn(move || {
        let target = format!("/v1/topics/{asked}/messages:request?timeout=30s");
        ask_json("POST", &target, &json!({"body": "price of 17?"}))
    });
    let got = receive(&group, &topic, "&wait=20s");
    assert_eq!(got[0]["body"], "price of 17?");
    let reply = json!({"reply_token": got[0]["reply_token"], "body": {"price": 7}, "properties": {"by": "me"}});
    ask_json("POST", "/v1/replies", &reply).expect(204);
    let answer = asks.join().unwrap().expect(200).json();
    assert_eq!(answer["message_id"], got[0]["message_id"]);
    assert_eq!(answer["reply"]["body"], "{\"price\":7}");
    assert_eq!(answer["reply"]["content_type"], "application/json");
    assert_eq!(answer["reply"]["properties"], json!({"by": "me"}));
}

#[test]
fn nobody_replies_or_nobody_waits() {
    let (topic, group) = (topic("silent"), group("silent"));
    let target = format!("/v1/topics/{topic}/messages:request?timeout=50ms");
    let late = ask_json("POST", &target, &json!({"body": "x"})).expect(504);
    assert_eq!(late.problem(), "reply-timeout");
    let got = receive(&group, &topic, "&wait=20s");
    let reply = json!({"reply_token": got[0]["reply_token"], "body": "y"});
    assert_eq!(
        ask_json("POST", "/v1/replies", &reply)
            .expect(410)
            .problem(),
        "requester-gone"
    );
    let garbled = json!({"reply_token": "rt_x", "body": "y"});
    assert_eq!(
        ask_json("POST", "/v1/replies", &garbled)
            .expect(400)
            .problem(),
        "invalid-reply-token"
    );
    let headers = [
        ("Content-Type", "application/json"),
        ("Idempotency-Key", "k"),
    ];
    let keyed = send("POST", &target, &headers, b"{\"body\":\"x\"}").expect(422);
    assert_eq!(keyed.problem(), "idempotency-key-refused");
}
