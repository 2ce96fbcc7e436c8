//! What Java's decoder is strict about, one test each, in the words of the list of traps.

use remoting::Command;
use remoting::body::{self, QueueMap};
use remoting::code::request::*;
use remoting::code::response::*;
use serde_json::Value;

use crate::say::{self, beat, beat_as, but, create_topic, pull, send, topic};
use crate::world::World;

fn json(answer: &Command) -> Value {
    body::from_slice(&answer.body).unwrap()
}

#[test]
fn java_1_a_successful_send_has_fields() {
    let answer = World::new().ask(send("T", b"x"));
    for field in ["msgId", "queueId", "queueOffset"] {
        assert!(answer.field(field).is_some(), "{field}");
    }
}

#[test]
fn java_2_numbers_are_plain_digits() {
    let world = World::new();
    let plain = |answer: Command, names: &[&str]| {
        for name in names {
            let text = answer.field(name).unwrap();
            assert_eq!(text, text.parse::<i64>().unwrap().to_string());
        }
    };
    plain(world.ask(send("T", b"x")), &["queueId", "queueOffset"]);
    let names = [
        "nextBeginOffset",
        "minOffset",
        "maxOffset",
        "suggestWhichBrokerId",
    ];
    plain(world.ask(pull("g", "T", 0, 0)), &names);
    plain(world.ask(say::queue(GET_MAX_OFFSET, "T", 0)), &["offset"]);
    plain(world.ask(say::queue(GET_MIN_OFFSET, "T", 9)), &["offset"]);
    plain(
        world.ask(say::queue(GET_EARLIEST_MSG_STORETIME, "T", 0)),
        &["timestamp"],
    );
}

#[test]
fn java_3_only_true_is_true() {
    let world = World::new();
    let answer = world.ask(beat("c", "g", "T", "*", 1));
    assert_eq!(answer.field("IS_SUPPORT_HEART_BEAT_V2"), Some("true"));
    for (text, order) in [("TRUE", true), ("1", false), ("yes", false), ("", false)] {
        world.ask(but(create_topic("Ordered", 1, 6), "order", text));
        let config = json(&world.ask(topic(GET_TOPIC_CONFIG, "Ordered")));
        assert_eq!(config["order"], order, "{text}");
    }
}

#[test]
fn java_4_5_every_record_of_a_pull_is_whole_and_says_its_own_length() {
    let world = World::new();
    let sizes = [1, 4095, 4096, 100_000];
    for size in sizes {
        world.ask(send("T", &vec![b'x'; size]));
    }
    let answer = world.ask(pull("g", "T", 0, 0));
    let found = say::records(&answer.body);
    let lengths: Vec<_> = found.iter().map(|record| record.body().len()).collect();
    assert_eq!(lengths, sizes);
    assert!(
        found
            .iter()
            .enumerate()
            .all(|(n, record)| record.queue_offset().0 == n as u64)
    );
}

#[test]
fn java_6_enums_are_written_by_their_exact_names() {
    let world = World::new();
    world.ask(beat_as("c", "g", "T", "*", 1, "BROADCASTING"));
    let request = Command::request(GET_CONSUMER_CONNECTION_LIST).with("consumerGroup", "g");
    let group = json(&world.ask(request));
    assert_eq!(group["messageModel"], "BROADCASTING");
    assert_eq!(group["consumeType"], "CONSUME_PASSIVELY");
    assert_eq!(group["consumeFromWhere"], "CONSUME_FROM_LAST_OFFSET");
    assert_eq!(group["connectionSet"][0]["language"], "JAVA");
    let config = json(&world.ask(topic(GET_TOPIC_CONFIG, "%RETRY%g")));
    assert_eq!(config["topicFilterType"], "SINGLE_TAG");
}

#[test]
fn java_7_maps_keyed_by_queues_have_objects_for_keys() {
    let world = World::new();
    world.ask(beat("c", "g", "T", "*", 1));
    world.ask(send("T", b"x"));
    let commit = say::queue(UPDATE_CONSUMER_OFFSET, "T", 0).with("consumerGroup", "g");
    world.ask(commit.with("commitOffset", 1));
    let stats = world.ask(topic(GET_TOPIC_STATS_INFO, "T"));
    let progress = Command::request(GET_CONSUME_STATS).with("consumerGroup", "g");
    for answer in [stats, world.ask(progress)] {
        let text = String::from_utf8_lossy(&answer.body);
        let key = r#""offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"T"}:{"#;
        assert!(text.contains(key), "{text}");
        let table: QueueMap<Value> =
            serde_json::from_value(json(&answer)["offsetTable"].clone()).unwrap();
        assert_eq!(table.0.len(), 4);
    }
}

#[test]
fn java_8_lists_and_maps_are_there_even_if_empty() {
    let world = World::new();
    let pull_consumer = br#"{"clientID":"c","consumerDataSet":[{"groupName":"g","consumeType":"CONSUME_ACTIVELY","messageModel":"CLUSTERING","subscriptionDataSet":[]}]}"#;
    world.ask(Command::request(HEART_BEAT).body(pull_consumer.to_vec()));
    let request = Command::request(GET_CONSUMER_CONNECTION_LIST).with("consumerGroup", "g");
    let group = json(&world.ask(request));
    assert!(group["subscriptionTable"].is_object() && group["connectionSet"].is_array());
    let topics = json(&world.ask(Command::request(GET_ALL_TOPIC_CONFIG)));
    assert!(topics["topicQueueMappingInfoMap"].is_object());
    let offsets = json(&world.ask(Command::request(GET_ALL_CONSUMER_OFFSET)));
    assert!(offsets["offsetTable"].is_object());
}

#[test]
fn java_9_values_of_a_table_are_strings() {
    let state = json(&World::new().ask(Command::request(GET_BROKER_RUNTIME_INFO)));
    let table = state["table"].as_object().unwrap();
    assert!(table.values().all(Value::is_string));
    for name in [
        "brokerVersionDesc",
        "brokerActive",
        "putTps",
        "getTransferredTps",
        "commitLogDiskRatio",
        "earliestMessageTimeStamp",
        "pageCacheLockTimeMills",
        "sendThreadPoolQueueSize",
        "pullThreadPoolQueueHeadWaitTimeMills",
        "timerReadBehind",
        "timerEnqueueTps",
    ] {
        assert!(table.contains_key(name), "clusterList needs {name}");
    }
}

#[test]
fn java_10_a_data_version_is_three_numbers() {
    let world = World::new();
    for code in [
        GET_ALL_TOPIC_CONFIG,
        GET_ALL_SUBSCRIPTIONGROUP_CONFIG,
        GET_ALL_CONSUMER_OFFSET,
    ] {
        let version = json(&world.ask(Command::request(code)))["dataVersion"].clone();
        for name in ["counter", "stateVersion", "timestamp"] {
            assert!(version[name].is_i64(), "{code} {version}");
        }
    }
    let config = world.ask(Command::request(GET_BROKER_CONFIG));
    let version: Value = serde_json::from_str(config.field("version").unwrap()).unwrap();
    assert!(version["counter"].is_i64());
}

#[test]
fn java_11_unknown_fields_are_ignored() {
    let world = World::new();
    let request = send("T", b"x")
        .with("bname", "broker-a")
        .with("ns", "")
        .with("zz", 1);
    assert_eq!(world.ask(request).code, SUCCESS);
    let beat =
        br#"{"clientID":"c","new":{"x":[1]},"consumerDataSet":[{"groupName":"g","alsoNew":1}]}"#;
    assert_eq!(
        world
            .ask(Command::request(HEART_BEAT).body(beat.to_vec()))
            .code,
        SUCCESS
    );
}
