//! Popping: batches of acks (200151), assignments (400), request modes (401, 402).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{MessageModel, MessageQueue, lenient};

/// Body of 200151.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BatchAckRequest {
    /// The acks.
    #[serde(deserialize_with = "lenient::or_default")]
    pub acks: Vec<BatchAck>,
    /// The broker.
    #[serde(deserialize_with = "lenient::or_default")]
    pub broker_name: String,
}

/// Messages of one pop and one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchAck {
    /// A bit for each message, from the start offset on: base64 of bytes, least significant bit first.
    #[serde(
        rename = "b",
        alias = "bitSet",
        deserialize_with = "lenient::or_default"
    )]
    pub bits: String,
    /// The group.
    #[serde(
        rename = "c",
        alias = "consumerGroup",
        deserialize_with = "lenient::or_default"
    )]
    pub group: String,
    /// The invisible time.
    #[serde(
        rename = "it",
        alias = "invisibleTime",
        deserialize_with = "lenient::number"
    )]
    pub invisible_ms: i64,
    /// The pop time.
    #[serde(rename = "pt", alias = "popTime", deserialize_with = "lenient::number")]
    pub popped_at: i64,
    /// The queue.
    #[serde(rename = "q", alias = "queueId", deserialize_with = "lenient::number")]
    pub queue: i32,
    /// Which topic: `0` the topic itself, `1` and `2` the group's retry topics of it.
    #[serde(
        rename = "r",
        alias = "retry",
        deserialize_with = "lenient::or_default"
    )]
    pub retry: String,
    /// The revive queue.
    #[serde(
        rename = "rq",
        alias = "reviveQueueId",
        deserialize_with = "lenient::number"
    )]
    pub revive_queue: i32,
    /// The start offset.
    #[serde(
        rename = "so",
        alias = "startOffset",
        deserialize_with = "lenient::number"
    )]
    pub start: i64,
    /// The topic.
    #[serde(
        rename = "t",
        alias = "topic",
        deserialize_with = "lenient::or_default"
    )]
    pub topic: String,
}

impl BatchAck {
    /// The bits as bytes; none if they cannot be read.
    pub fn bit_set(&self) -> Vec<u8> {
        STANDARD.decode(&self.bits).unwrap_or_default()
    }
}

/// Body of 400.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AssignmentRequest {
    /// Who asks.
    #[serde(deserialize_with = "lenient::or_default")]
    pub client_id: String,
    /// For which group.
    #[serde(deserialize_with = "lenient::or_default")]
    pub consumer_group: String,
    /// How the group consumes.
    pub message_model: MessageModel,
    /// How queues are shared out.
    #[serde(deserialize_with = "lenient::or_default")]
    pub strategy_name: String,
    /// Which topic.
    #[serde(deserialize_with = "lenient::or_default")]
    pub topic: String,
}

/// Answer to 400. Without the list, the topic is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AssignmentAnswer {
    /// The queues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_queue_assignments: Option<Vec<Assignment>>,
}

/// One queue of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Assignment {
    /// The queue; -1 is any of the broker.
    pub message_queue: MessageQueue,
    /// `PULL` or `POP`.
    #[serde(deserialize_with = "lenient::or_default")]
    pub mode: String,
}

/// Body of 401, and one of those that 402 answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestMode {
    /// The group.
    #[serde(deserialize_with = "lenient::or_default")]
    pub consumer_group: String,
    /// `PULL` or `POP`.
    #[serde(deserialize_with = "lenient::or_default")]
    pub mode: String,
    /// With how many others a member shares.
    #[serde(deserialize_with = "lenient::number")]
    pub pop_share_queue_num: i32,
    /// The topic.
    #[serde(deserialize_with = "lenient::or_default")]
    pub topic: String,
}

/// Answer to 402: by topic, then by group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestModes {
    /// By topic and group.
    #[serde(deserialize_with = "lenient::or_default")]
    pub message_request_mode_map: BTreeMap<String, BTreeMap<String, RequestMode>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{from_slice, to_vec};

    #[test]
    fn a_batch_of_acks_is_read_with_short_and_with_long_names() {
        let short = br#"{"brokerName":"b","acks":[{"c":"g","t":"t","r":"0","so":7,"q":1,"rq":1,"pt":5,"it":10000,"b":"CQI="}]}"#;
        let long = br#"{"acks":[{"consumerGroup":"g","topic":"t","retry":"0","startOffset":7,"queueId":1,"reviveQueueId":1,"popTime":5,"invisibleTime":10000,"bitSet":"CQI="}]}"#;
        let read = |text: &[u8]| from_slice::<BatchAckRequest>(text).unwrap().acks;
        assert_eq!(read(short), read(long));
        assert_eq!(read(short)[0].bit_set(), [0x09, 0x02]);
        assert_eq!(read(short)[0].start, 7);
    }

    #[test]
    fn an_assignment_is_written_as_apache_writes_it() {
        let queue = MessageQueue {
            broker_name: "broker-a".into(),
            queue_id: -1,
            topic: "T_j53_pop".into(),
        };
        let answer = AssignmentAnswer {
            message_queue_assignments: Some(vec![Assignment {
                message_queue: queue,
                mode: "POP".into(),
            }]),
        };
        let text = String::from_utf8(to_vec(&answer)).unwrap();
        assert_eq!(
            text,
            r#"{"messageQueueAssignments":[{"messageQueue":{"brokerName":"broker-a","queueId":-1,"topic":"T_j53_pop"},"mode":"POP"}]}"#
        );
        assert_eq!(to_vec(&AssignmentAnswer::default()), b"{}");
    }
}
