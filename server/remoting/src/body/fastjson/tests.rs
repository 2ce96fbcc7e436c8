use serde_json::{Value, json};

use super::*;
use crate::body::{HeartbeatData, MessageQueue, QueueMap, TopicConfigList, TopicRoute};

fn value(text: &str) -> Value {
    from_slice(text.as_bytes()).unwrap()
}

#[test]
fn queue_keys_are_written_bare_and_read_back() {
    let queue = MessageQueue {
        broker_name: "b\"".to_owned(),
        queue_id: 3,
        topic: "t\\".to_owned(),
    };
    let map = QueueMap(vec![(queue, json!({"a": "{x\"", "1": 2}))]);
    let text = String::from_utf8(to_vec(&map)).unwrap();
    let key = r#"{"brokerName":"b\"","queueId":3,"topic":"t\\"}"#;
    assert_eq!(text, format!(r#"{{{key}:{{"1":2,"a":"{{x\""}}}}"#));
    assert_eq!(from_slice::<QueueMap<Value>>(text.as_bytes()).unwrap(), map);
}

#[test]
fn number_keys_are_bare_in_one_dialect_and_quoted_in_the_other() {
    let map = std::collections::BTreeMap::from([(-1i64, "a"), (0, "b")]);
    let mut out = Vec::new();
    write(&map, Dialect::Fastjson, &mut out);
    assert_eq!(out, br#"{-1:"a",0:"b"}"#);
    assert_eq!(to_vec(&map), br#"{"-1":"a","0":"b"}"#);
    let back: std::collections::BTreeMap<i64, String> = from_slice(&out).unwrap();
    assert_eq!(back[&-1], "a");
}

#[test]
fn empty_keys_and_keys_that_begin_with_an_escape_keep_their_quotes() {
    let map = std::collections::BTreeMap::from([("", 1), ("\n", 2), ("\"", 3)]);
    assert_eq!(to_vec(&map), br#"{"":1,"\n":2,"\"":3}"#);
}

#[test]
fn references_are_followed() {
    let text = r#"{"list":[{"a":{"x":1}},{"$ref":"$.list[0]"},{"$ref":"$.list[0].a"}],"odd.key":[7],
        "root":{"$ref":"$.odd\\.key[0]"},"up":{"$ref":".."},"self":{"$ref":"@"},"none":{"$ref":"$.gone"}}"#;
    let expected = json!({"list": [{"a": {"x": 1}}, {"a": {"x": 1}}, {"x": 1}], "odd.key": [7],
        "root": 7, "up": null, "self": null, "none": null});
    assert_eq!(value(text), expected);
}

/// A heartbeat whose second group shares the first one's subscription object.
#[test]
fn a_heartbeat_with_shared_subscriptions_is_read() {
    let text = r#"{"clientID":"c","consumerDataSet":[
        {"groupName":"a","consumeType":1,"messageModel":"1","subscriptionDataSet":[{"topic":"t","subString":"*","codeSet":["65",66],"subVersion":"7"}]},
        {"groupName":"b","subscriptionDataSet":[{"$ref":"$.consumerDataSet[0].subscriptionDataSet[0]"}]}],"producerDataSet":null}"#;
    let beat: HeartbeatData = from_slice(text.as_bytes()).unwrap();
    let [first, second] = &beat.consumer_data_set[..] else {
        panic!("{beat:?}");
    };
    assert_eq!(first.subscription_data_set, second.subscription_data_set);
    let subscription = &second.subscription_data_set[0];
    assert_eq!(subscription.code_set, [65, 66]);
    assert_eq!(subscription.sub_version, 7);
    assert!(beat.producer_data_set.is_empty());
}

#[test]
fn a_topic_list_with_shared_attributes_is_read() {
    let text = r#"{"topicConfigList":[{"topicName":"a","attributes":{"+k":"v"}},
        {"topicName":"b","perm":"4","attributes":{"$ref":"$.topicConfigList[0].attributes"}}]}"#;
    let list: TopicConfigList = from_slice(text.as_bytes()).unwrap();
    assert_eq!(list.topic_config_list[1].attributes["+k"], "v");
    assert_eq!(list.topic_config_list[1].perm, 4);
}

#[test]
fn references_to_parents_and_bombs_end() {
    assert_eq!(
        value(r#"{"a":{"$ref":"$.b"},"b":{"$ref":"$.a"}}"#),
        json!({"a": null, "b": null})
    );
    assert!(from_slice::<Value>(br#"{"a":{"b":{"$ref":"$"}}}"#).is_ok());
    let mut bomb = String::from(r#"{"a0":[1,1,1,1,1,1,1,1]"#);
    for n in 1..12 {
        let last = format!(r#"{{"$ref":"$.a{}"}}"#, n - 1);
        bomb.push_str(&format!(r#","a{n}":[{}]"#, vec![last; 8].join(",")));
    }
    bomb.push('}');
    let error = from_slice::<Value>(bomb.as_bytes()).unwrap_err();
    assert!(matches!(error, BodyError::TooLarge), "{error}");
    let deep = "[".repeat(100_000);
    assert!(from_slice::<Value>(deep.as_bytes()).is_err());
    let deep = format!("{{{}", "{\"a\":".repeat(100_000));
    assert!(from_slice::<Value>(deep.as_bytes()).is_err());
}

#[test]
fn a_route_has_no_blanks_and_no_bare_keys() {
    let text = r#"{"brokerDatas":[{"brokerAddrs":{0:"1.2.3.4:5"},"brokerName":"b","cluster":"c"}],"queueDatas":[]}"#;
    let route: TopicRoute = from_slice(text.as_bytes()).unwrap();
    let text = String::from_utf8(to_vec(&route)).unwrap();
    assert_eq!(
        text,
        r#"{"brokerDatas":[{"brokerAddrs":{"0":"1.2.3.4:5"},"brokerName":"b","cluster":"c","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[]}"#
    );
}

#[test]
fn broken_bodies_are_errors() {
    for text in [
        "",
        "{",
        "[1",
        "{\"a\" 1}",
        "{{}",
        "nope",
        "{a:}",
        "\"\\u12",
        "1 2",
    ] {
        assert!(from_slice::<Value>(text.as_bytes()).is_err(), "{text}");
    }
}
