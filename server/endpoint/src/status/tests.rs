use broker::{AskedFor, Decision};
use expect_test::expect;
use model::topic::TopicConfig;
use model::{GroupName, NameError, TopicName};

use super::*;

/// One error of every kind. The match in [`code`] keeps it complete by eye: a new kind does not
/// compile there, and belongs here too.
fn all() -> Vec<Error> {
    let address = "127.0.0.1:10911".parse().unwrap();
    let topic = || TopicName::parse("t").unwrap();
    let group = || GroupName::parse("g").unwrap();
    let topic_missing = |asked| Error::TopicMissing {
        topic: "t".to_owned(),
        asked,
    };
    let group_missing = |asked| Error::GroupMissing {
        group: "g".to_owned(),
        asked,
    };
    vec![
        Error::Name(NameError::Blank("topic")),
        Error::BrokerNotWritable { broker: address },
        Error::BrokerNotReadable { broker: address },
        Error::LitePullForbidden { broker: address },
        Error::NotYetServing { until: 7 },
        Error::SystemTopicNotSendable(topic()),
        Error::TransactionForbidden { broker: address },
        Error::TransactionShape("a batch"),
        Error::OperationMissing("op_1".to_owned()),
        Error::CheckerMissing("t".to_owned()),
        Error::IdempotencyDiffers,
        Error::HalfMissing,
        Error::HalfDiffers("The producer group wrong"),
        Error::TransactionLate,
        Error::TransactionDecided {
            first: Decision::Commit,
        },
        Error::TransactionDecided {
            first: Decision::Rollback,
        },
        topic_missing(AskedFor::Send),
        topic_missing(AskedFor::Pull),
        topic_missing(AskedFor::Commit),
        topic_missing(AskedFor::Config),
        topic_missing(AskedFor::Stats),
        topic_missing(AskedFor::Recall),
        Error::TimerTooFar { max: 259_200_000 },
        Error::TimerUnreadable {
            name: "DELAY",
            text: "x".to_owned(),
        },
        Error::TimersOff,
        Error::BatchDelayed,
        Error::RecallForbidden,
        Error::Recall("recall handle is invalid"),
        Error::TopicNotReadable(topic()),
        Error::TopicNotWritable(topic()),
        Error::QueueNotWritable {
            queue: 9,
            topic: Box::new(TopicConfig::new(topic(), 4)),
            producer: address,
        },
        Error::QueueNotReadable {
            queue: 9,
            topic: topic(),
            read_queues: 4,
            consumer: address,
        },
        group_missing(AskedFor::Send),
        group_missing(AskedFor::Pull),
        group_missing(AskedFor::Commit),
        group_missing(AskedFor::Config),
        Error::GroupNotReadable(group()),
        Error::BroadcastForbidden(group()),
        Error::TopicForbidden {
            group: group(),
            topic: topic(),
        },
        Error::GroupNotLive,
        Error::NotSubscribed,
        Error::SubscriptionNotLatest,
        Error::SubscriptionUnparsable("at character 3: found LIKE".to_owned()),
        Error::SqlNotSupported,
        Error::BodyEmpty,
        Error::TooLarge { body_max: 4096 },
        Error::BatchMalformed("a length is wrong"),
        Error::StatsMissing {
            name: "TOPIC_PUT_NUMS".to_owned(),
            key: "t".to_owned(),
        },
        Error::BodyCorrupt,
        Error::BatchToRetry(topic()),
        Error::Invalid("nonsense".to_owned()),
        Error::SystemTopic(topic()),
        Error::Attributes("unsupported key: k".to_owned()),
        Error::NoOffset,
        Error::NoOffsetNoZero,
        Error::OffsetIncomplete {
            what: "QueueId",
            topic: "t".to_owned(),
        },
        Error::OffsetOutOfRange {
            offset: 9,
            min: 0,
            max: 3,
        },
        Error::NoOffsets("g".to_owned()),
        Error::ResetOffline {
            group: "g".to_owned(),
            topic: "t".to_owned(),
            time: 7,
        },
        topic_missing(AskedFor::Reset),
        group_missing(AskedFor::Reset),
        Error::NoRecord(7),
        Error::NothingToSendBack(7),
        Error::NoMessageWithKey,
        Error::NoMembers("g".to_owned()),
        Error::ConsumersOffline("g".to_owned()),
        Error::ConsumerOffline {
            group: "g".to_owned(),
            client: "c".to_owned(),
        },
        Error::ConsumerTooOld {
            client: "c".to_owned(),
            version: 27,
        },
        Error::ConsumerSilent {
            group: "g".to_owned(),
            client: "c".to_owned(),
        },
        Error::NoConsumerOnline("g".to_owned()),
        Error::ReplyToNobody(None),
        Error::ReplyToNobody(Some("c".to_owned())),
        Error::ReplyNotTaken("c".to_owned()),
        Error::ProducersOffline("g".to_owned()),
        Error::Busy("why"),
        Error::Unavailable("why".to_owned()),
        Error::Store("why".to_owned()),
    ]
}

#[test]
fn codes_and_texts_of_errors_stay_what_clients_know() {
    let line = |error: &Error| format!("{:3} {:?}\n", code(error), error.to_string());
    let text: String = all().iter().map(line).collect();
    expect![[r#"
         29 "The specified topic is blank."
         16 "the broker[127.0.0.1:10911] sending message is forbidden"
         16 "the broker[127.0.0.1:10911] pulling message is forbidden"
         16 "the broker[127.0.0.1:10911] for lite pull consumer is forbidden"
          1 "broker unable to service, until 7"
         16 "Sending message to topic[t] is forbidden."
         16 "the broker[127.0.0.1:10911] sending transaction message is forbidden"
         13 "a batch cannot be a half message; nothing was stored"
         22 "there is no operation op_1"
         22 "topic t has no checker"
        310000 "another message was sent with this idempotency key"
          1 "Find prepared transaction message failed"
          1 "The producer group wrong"
        604 "CHECK_IMMUNITY_TIME_IN_SECONDS is over: nothing was decided, the producer is asked what became of the transaction"
        604 "the transaction was committed before; nothing was changed"
        604 "the transaction was rolled back before; nothing was changed"
         17 "topic[t] not exist, apply first please!\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
         17 "topic[t] not exist, apply first please! \nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
         17 "Topic t not exist!"
         17 "No topic in this broker. topic: t"
         17 "topic[t] not exist"
         17 "recall failed, the topic[t] not exist"
         13 "timer message illegal, the delay time should not be bigger than the max delay 259200000ms; or if set del msg, the delay time should be bigger than the current time"
         13 "timer message illegal, DELAY is no number: \"x\""
          1 "accurate timer message is not enabled, timerWheelEnable is false"
         13 "the message is illegal: messages of a batch cannot be delayed"
         16 "recall failed, operation is forbidden"
        604 "recall handle is invalid"
         16 "the topic[t] pulling message is forbidden"
         16 "the topic[t] sending message is forbidden"
         29 "request queueId[9] is illegal, TopicConfig [topicName=t, readQueueNums=4, writeQueueNums=4, perm=RW-, topicFilterType=SINGLE_TAG, topicSysFlag=0, order=false, attributes={}] Producer: 127.0.0.1:10911"
         29 "queueId[9] is illegal, topic:[t] topicConfig.readQueueNums:[4] consumer:[/127.0.0.1:10911]"
         26 "subscription group not exist, g See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
         26 "subscription group [g] does not exist, \nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
         26 "Group g not exist!"
         26 "No group in this broker. group: g"
         16 "subscription group no permission, g"
         16 "the consumer group[g] can not consume by broadcast way"
         16 "the consumer group[g] is forbidden for topic[t]"
         24 "the consumer's group info not exist\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
         24 "the consumer's subscription not exist\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
         25 "the consumer's subscription not latest"
         23 "parse the consumer's subscription failed: at character 3: found LIKE"
          1 "The broker does not support consumer to filter message by SQL92"
          1 "the message body is empty"
         13 "the message is illegal, maybe msg body or properties length not matched. msg body length limit 4096B, msg properties length limit 32KB."
          1 "the batch is malformed: a length is wrong"
          1 "The stats <TOPIC_PUT_NUMS> <t> not exist"
         13 "the message is illegal: a body of the batch does not match its CRC"
         13 "batch request does not support retry group t"
         29 "nonsense"
         29 "The topic[t] is conflict with system topic."
          1 "unsupported key: k"
         22 "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first"
         22 "Not found, do not set to zero, maybe this group boot first"
         29 "QueueId is null, topic is t"
          1 "Target offset 9 not in consume queue range [0-3]"
          1 "THe consumer group <g> not exist"
        206 "Consumer not online, so can not reset offset, Group: g Topic: t Timestamp: 7"
         17 "Topic t does not exist"
         26 "Group g does not exist"
          1 "can not find message by the offset, 7"
          1 "look message by offset failed, 7"
         22 "can not find message, maybe time range not correct"
          1 "no consumer for this group, g"
        206 "the consumer group[g] not online"
          1 "The Consumer <g> <c> not online"
          1 "the client does not support this feature. client=c version=27"
        207 "consumer <g> <c> Timeout: it did not answer, or is gone"
          1 "No Any Consumer online in the consumer group: [g]"
          1 "reply message properties[REPLY_TO_CLIENT] is null"
          1 "push reply message fail, channel of <c> not found."
          1 "push reply message to cfail."
          1 "the producer group[g] not exist"
          2 "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, why"
         14 "service not available now. why"
          1 "the store failed: why"
    "#]].assert_eq(&text);
}

#[test]
fn a_forbidden_pull_says_by_whom() {
    let kinds: Vec<i64> = all().iter().filter_map(forbidden).collect();
    assert_eq!(kinds, [1, 1, 3, 2, 4, 5]);
    let others = all().into_iter().filter(|error| forbidden(error).is_some());
    assert!(
        others
            .into_iter()
            .all(|error| code(&error) == NO_PERMISSION)
    );
}
