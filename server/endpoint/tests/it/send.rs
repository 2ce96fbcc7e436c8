//! Sends: the order of checks of Apache's `SendMessageProcessor`, and what is answered.

use broker::Role;
use model::flag::Perm;
use model::id::parse_offset_id;
use remoting::body::batch;
use remoting::code::request::*;
use remoting::code::response::*;
use remoting::{Command, Serialize};

use crate::say::{self, but, create_topic, send, send_with, topic, without};
use crate::world::{ADDRESS, NOW, World};

fn code_and_remark(answer: &Command) -> (i32, &str) {
    (answer.code, answer.remark.as_deref().unwrap_or_default())
}

#[track_caller]
fn refused(answer: &Command, code: i32, remark: &str) {
    let said = code_and_remark(answer);
    assert!(said.0 == code && said.1.starts_with(remark), "{said:?}");
    assert_eq!(answer.field("MSG_REGION"), Some("DefaultRegion"));
    assert_eq!(answer.field("TRACE_ON"), Some("true"));
    assert_eq!(answer.field("msgId"), None);
}

#[test]
fn an_answer_says_where_the_message_went() {
    let world = World::new();
    let key = "UNIQ_KEY\u{1}7F0000011234\u{2}";
    let answer = world.ask(send_with("T", 2, key, b"hello"));
    assert_eq!(code_and_remark(&answer), (SUCCESS, ""));
    let (host, _) = parse_offset_id(answer.field("msgId").unwrap()).unwrap();
    assert_eq!(host.to_string(), ADDRESS);
    assert_eq!(answer.field("queueId"), Some("2"));
    assert_eq!(answer.field("queueOffset"), Some("0"));
    assert_eq!(answer.field("transactionId"), Some("7F0000011234"));
    let again = world.ask(send_with("T", 2, key, b"hello"));
    assert_eq!(again.field("queueOffset"), Some("1"));
}

#[test]
fn a_message_without_a_key_gets_one() {
    let world = World::new();
    let answer = world.ask(send("T", b"x"));
    assert_eq!(answer.field("transactionId").map(str::len), Some(32));
}

#[test]
fn check_2_sends_before_their_time_are_refused() {
    let world = World::with(|options| options.accept_sends_from = NOW + 1);
    let answer = world.ask(send("T", b"x"));
    refused(&answer, SYSTEM_ERROR, "broker unable to service, until");
}

#[test]
fn check_3_a_broker_that_may_not_be_written_refuses_ordered_topics_only() {
    let world = World::with(|options| options.permission = Perm(Perm::READ));
    let order = but(create_topic("Ordered", 1, 6), "order", true);
    assert_eq!(world.ask(order).code, SUCCESS);
    let answer = world.ask(send("Ordered", b"x"));
    let text = format!("the broker[{ADDRESS}] sending message is forbidden");
    refused(&answer, NO_PERMISSION, &text);
    assert_eq!(world.ask(create_topic("Plain", 1, 6)).code, SUCCESS);
    assert_eq!(world.ask(send("Plain", b"x")).code, SUCCESS);
}

#[test]
fn check_4_a_name_that_cannot_be_one_is_refused() {
    let world = World::new();
    let long = "T".repeat(128);
    let cases = [
        ("", "The specified topic is blank."),
        (
            "bad.topic!",
            "The specified topic contains illegal characters",
        ),
        ("../../x", "The specified topic contains illegal characters"),
        (
            &long,
            "The specified topic is longer than topic max length.",
        ),
    ];
    for (name, text) in cases {
        refused(&world.ask(send(name, b"x")), INVALID_PARAMETER, text);
    }
}

#[test]
fn check_5_only_the_broker_writes_its_own_topics() {
    let world = World::new();
    for name in [
        "SCHEDULE_TOPIC_XXXX",
        "RMQ_SYS_TRANS_HALF_TOPIC",
        "RMQ_SYS_TRANS_OP_HALF_TOPIC",
        "TRANS_CHECK_MAX_TIME_TOPIC",
        "SELF_TEST_TOPIC",
        "OFFSET_MOVED_EVENT",
    ] {
        let text = format!("Sending message to topic[{name}] is forbidden.");
        refused(&world.ask(send(name, b"x")), NO_PERMISSION, &text);
    }
    for name in ["TBW102", "BenchmarkTest", "broker-a"] {
        assert_eq!(world.ask(send(name, b"x")).code, SUCCESS, "{name}");
    }
}

#[test]
fn check_6_a_missing_topic_is_made_after_its_template() {
    let world = World::new();
    assert_eq!(world.ask(send("Made", b"x")).code, SUCCESS);
    let made = world.ask(topic(GET_TOPIC_CONFIG, "Made"));
    let made: remoting::body::TopicConfig = remoting::body::from_slice(&made.body).unwrap();
    assert_eq!(
        (made.read_queue_nums, made.write_queue_nums, made.perm),
        (4, 4, 6)
    );
    let registered = world.heard.registered.lock().unwrap();
    assert!(registered.contains_key("Made"));
}

#[test]
fn check_6_without_a_template_a_topic_must_be_there() {
    let text = "topic[Missing] not exist, apply first please!\nSee https://rocketmq.apache.org/";
    let world = World::with(|options| options.auto_create_topics = false);
    refused(&world.ask(send("Missing", b"x")), TOPIC_NOT_EXIST, text);
    let world = World::new();
    let answer = world.ask(but(send("Missing", b"x"), "c", "NoSuchTemplate"));
    refused(&answer, TOPIC_NOT_EXIST, text);
}

#[test]
fn check_7_a_queue_beyond_both_counts_is_refused_and_a_negative_one_is_chosen() {
    let world = World::new();
    let shrunk = but(create_topic("T", 4, 6), "writeQueueNums", 2);
    assert_eq!(world.ask(shrunk).code, SUCCESS);
    let answer = world.ask(send_with("T", 4, "", b"x"));
    let text = "request queueId[4] is illegal, TopicConfig [topicName=T, readQueueNums=4, writeQueueNums=2, perm=RW-, topicFilterType=SINGLE_TAG, topicSysFlag=0, order=false, attributes={}]";
    refused(&answer, INVALID_PARAMETER, text);
    assert_eq!(world.ask(send_with("T", 3, "", b"x")).code, SUCCESS);
    let chosen = world.ask(send_with("T", -1, "", b"x"));
    assert!(chosen.field("queueId").unwrap().parse::<i32>().unwrap() < 2);
}

#[test]
fn check_10_compaction_topics_cannot_be_made() {
    let world = World::new();
    let compaction = create_topic("C", 1, 6).with("attributes", "+cleanup.policy=COMPACTION");
    let answer = world.ask(compaction);
    assert_eq!(answer.code, SYSTEM_ERROR);
    assert!(answer.remark.unwrap().contains("COMPACTION"));
}

#[test]
fn check_11_transactions_are_forbidden_where_they_are_switched_off() {
    let world = World::with(|options| options.reject_transactions = true);
    let text = format!("the broker[{ADDRESS}] sending transaction message is forbidden");
    let half = send_with("T", 0, "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}P\u{2}", b"x");
    refused(&world.ask(half), NO_PERMISSION, &text);
    let prepared = but(send("T", b"x"), "f", 4);
    refused(&world.ask(prepared), NO_PERMISSION, &text);
}

#[test]
fn a_mandatory_field_that_is_missing_or_no_number_is_code_1_and_named() {
    let world = World::new();
    for letter in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let answer = world.ask(without(send("T", b"x"), letter));
        let (code, remark) = code_and_remark(&answer);
        assert!(
            code == SYSTEM_ERROR && remark.contains("is null"),
            "{letter}: {remark}"
        );
    }
    let answer = world.ask(but(send("T", b"x"), "e", "abc"));
    let (code, remark) = code_and_remark(&answer);
    assert_eq!(code, SYSTEM_ERROR);
    assert!(remark.starts_with("java.lang.NumberFormatException: For input string: \"abc\""));
}

#[test]
fn a_send_without_a_body_is_code_1() {
    let world = World::new();
    assert_eq!(world.ask(send("T", b"")).code, SYSTEM_ERROR);
}

#[test]
fn sizes_over_the_limits_are_illegal() {
    let world = World::with(|options| options.body_max = 1000);
    let text = "the message is illegal, maybe msg body or properties length not matched. msg body length limit 1000B, msg properties length limit 32KB.";
    refused(&world.ask(send("T", &[0; 1001])), MESSAGE_ILLEGAL, text);
    assert_eq!(world.ask(send("T", &[0; 1000])).code, SUCCESS);
    let long = format!("k\u{1}{}\u{2}", "v".repeat(32_768));
    refused(
        &world.ask(send_with("T", 0, &long, b"x")),
        MESSAGE_ILLEGAL,
        text,
    );
}

#[test]
fn without_a_slave_a_synchronous_master_stores_and_says_so() {
    let world = World::with(|options| options.role = Role::SyncMaster);
    let answer = world.ask(send("T", b"x"));
    assert_eq!(answer.code, SLAVE_NOT_AVAILABLE);
    assert_eq!(answer.field("queueOffset"), Some("0"));
    let answer = world.ask(send_with("T", 0, "WAIT\u{1}false\u{2}", b"x"));
    assert_eq!(answer.code, SUCCESS);
    assert_eq!(answer.field("queueOffset"), Some("1"));
}

fn batch_of(count: usize) -> Vec<u8> {
    let mut body = Vec::new();
    for n in 0..count {
        let properties = format!("UNIQ_KEY\u{1}K{n}\u{2}TAGS\u{1}A\u{2}");
        let item = batch::Item {
            flag: 0,
            body: b"item",
            properties: &properties,
            checksum: 0,
            known: None,
        };
        assert!(batch::push(&mut body, &item));
    }
    body
}

#[test]
fn a_batch_is_answered_with_all_its_ids() {
    let world = World::new();
    let mut requests = vec![but(send("T", &batch_of(3)), "m", true)]; // as C++ sends it
    let mut batch = requests[0].clone();
    batch.code = SEND_BATCH_MESSAGE;
    requests.push(batch);
    for (round, request) in requests.into_iter().enumerate() {
        let answer = world.ask(request);
        assert_eq!(code_and_remark(&answer), (SUCCESS, ""));
        let ids: Vec<&str> = answer.field("msgId").unwrap().split(',').collect();
        assert_eq!(ids.len(), 3);
        let offsets: Vec<_> = ids
            .iter()
            .map(|id| parse_offset_id(id).unwrap().1)
            .collect();
        assert!(offsets.is_sorted());
        assert_eq!(answer.field("queueOffset"), Some(["0", "3"][round]));
        // The outer properties of this batch have no key.
        assert_eq!(answer.field("transactionId"), None);
    }
    assert_eq!(
        world
            .ask(say::queue(GET_MAX_OFFSET, "T", 0))
            .field("offset"),
        Some("6")
    );
}

#[test]
fn a_broken_batch_is_code_1_and_stores_nothing() {
    let world = World::new();
    let body = batch_of(2);
    for bad in [&b"garbage"[..], &body[..body.len() - 1], &[0; 20]] {
        let answer = world.ask(but(send("T", bad), "m", true));
        refused(&answer, SYSTEM_ERROR, "");
    }
    assert_eq!(
        world
            .ask(say::queue(GET_MAX_OFFSET, "T", 0))
            .field("offset"),
        Some("0")
    );
}

#[test]
fn batches_do_not_go_to_retry_topics() {
    let world = World::new();
    let answer = world.ask(but(send("%RETRY%g", &batch_of(1)), "m", true));
    let text = "batch request does not support retry group %RETRY%g";
    refused(&answer, MESSAGE_ILLEGAL, text);
}

#[test]
fn a_binary_request_gets_the_same_answer_in_binary() {
    let world = World::new();
    let mut request = send("T", b"x");
    request.serialize = Serialize::Binary;
    let answer = world.ask(request);
    assert_eq!(
        (answer.code, answer.serialize),
        (SUCCESS, Serialize::Binary)
    );
    assert_eq!(answer.field("queueOffset"), Some("0"));
}
