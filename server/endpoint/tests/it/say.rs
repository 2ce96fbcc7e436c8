//! Requests as clients write them.

use model::record::View;
use remoting::Command;
use remoting::code::request::*;

/// A send by letters, as Java writes it.
pub fn send(topic: &str, body: &[u8]) -> Command {
    send_with(topic, 0, "", body)
}

pub fn send_with(topic: &str, queue: i32, properties: &str, body: &[u8]) -> Command {
    Command::request(SEND_MESSAGE_V2)
        .with("a", "P")
        .with("b", topic)
        .with("c", "TBW102")
        .with("d", 4)
        .with("e", queue)
        .with("f", 0)
        .with("g", 1_700_000_000_000i64)
        .with("h", 0)
        .with("i", properties)
        .with("j", 0)
        .with("k", false)
        .with("m", false)
        .with("n", "broker-a")
        .body(body.to_vec())
}

/// A copy with one field changed.
pub fn but(mut command: Command, name: &str, value: impl ToString) -> Command {
    let fields = command.ext.get_or_insert_default();
    fields.retain(|(key, _)| key != name);
    command.with(name, value)
}

pub fn without(mut command: Command, name: &str) -> Command {
    let fields = command.ext.get_or_insert_default();
    fields.retain(|(key, _)| key != name);
    command
}

/// A pull with its own subscription (sysFlag 4), not held.
pub fn pull(group: &str, topic: &str, queue: i32, offset: i64) -> Command {
    Command::request(PULL_MESSAGE)
        .with("consumerGroup", group)
        .with("topic", topic)
        .with("queueId", queue)
        .with("queueOffset", offset)
        .with("maxMsgNums", 32)
        .with("sysFlag", 4)
        .with("commitOffset", 0)
        .with("suspendTimeoutMillis", 15_000)
        .with("subscription", "*")
        .with("subVersion", 0)
        .with("expressionType", "TAG")
}

/// A heartbeat with one consumer group on one topic.
pub fn beat(client: &str, group: &str, topic: &str, expression: &str, version: i64) -> Command {
    beat_as(client, group, topic, expression, version, "CLUSTERING")
}

pub fn beat_as(
    client: &str,
    group: &str,
    topic: &str,
    expression: &str,
    version: i64,
    model: &str,
) -> Command {
    let body = serde_json::json!({
        "clientID": client,
        "consumerDataSet": [{
            "consumeFromWhere": "CONSUME_FROM_LAST_OFFSET", "consumeType": "CONSUME_PASSIVELY",
            "groupName": group, "messageModel": model, "unitMode": false,
            "subscriptionDataSet": [{"topic": topic, "subString": expression, "subVersion": version,
                "expressionType": "TAG", "codeSet": [], "tagsSet": [], "classFilterMode": false}],
        }],
        "producerDataSet": [{"groupName": "CLIENT_INNER_PRODUCER"}],
    });
    Command::request(HEART_BEAT).body(body.to_string().into_bytes())
}

pub fn topic(code: i32, topic: &str) -> Command {
    Command::request(code).with("topic", topic)
}

pub fn queue(code: i32, topic: &str, queue: i32) -> Command {
    Command::request(code)
        .with("topic", topic)
        .with("queueId", queue)
}

pub fn create_topic(name: &str, queues: i32, perm: i32) -> Command {
    Command::request(UPDATE_AND_CREATE_TOPIC)
        .with("topic", name)
        .with("defaultTopic", "TBW102")
        .with("readQueueNums", queues)
        .with("writeQueueNums", queues)
        .with("perm", perm)
        .with("topicFilterType", "SINGLE_TAG")
        .with("topicSysFlag", 0)
        .with("order", false)
}

pub fn create_group(json: &str) -> Command {
    Command::request(UPDATE_AND_CREATE_SUBSCRIPTIONGROUP).body(json.as_bytes().to_vec())
}

/// The records of a pull's body, one behind the other up to its last byte.
pub fn records(mut body: &[u8]) -> Vec<View<'_>> {
    let mut records = Vec::new();
    while !body.is_empty() {
        let record = View::parse(body).unwrap();
        body = &body[record.len()..];
        records.push(record);
    }
    records
}

/// A message sent back, as Java writes it. Level 0 leaves the pause to the broker.
pub fn send_back(group: &str, offset: i64, level: i32) -> Command {
    Command::request(CONSUMER_SEND_MSG_BACK)
        .with("group", group)
        .with("offset", offset)
        .with("delayLevel", level)
        .with("originMsgId", "7F000001500B4E0E2F2A7963DF120002")
        .with("originTopic", "T")
        .with("unitMode", false)
        .with("maxReconsumeTimes", 16)
        .with("bname", "broker-a")
}

/// Where the message of a send's answer lies in the log.
pub fn log_offset(sent: &Command) -> i64 {
    let id = sent.field("msgId").unwrap();
    model::id::parse_offset_id(id).unwrap().1.0 as i64
}
