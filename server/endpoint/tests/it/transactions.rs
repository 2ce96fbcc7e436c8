//! Transactions as clients see them, held against what was recorded of Apache's broker.

use broker::Notice;
use model::id::parse_offset_id;
use model::record::View;
use remoting::Command;
use remoting::code::request::*;
use remoting::code::response::*;
use serde_json::json;

use crate::say::{but, create_topic, pull, send_with};
use crate::world::World;

const PROPERTIES: &str = "KEYS\u{1}t1\u{2}TRAN_MSG\u{1}true\u{2}UNIQ_KEY\u{1}7F0000\u{2}WAIT\u{1}true\u{2}PGROUP\u{1}P\u{2}TAGS\u{1}TagA";

fn world() -> World {
    let world = World::new();
    assert_eq!(world.ask(create_topic("T", 4, 6)).code, SUCCESS);
    world
}

/// A half message as Java 4.9.7 sends it.
fn half(body: &[u8]) -> Command {
    but(send_with("T", 2, PROPERTIES, body), "f", 4)
}

/// The end of a transaction, as Java 4.9.7 sends it: without a topic.
fn end(half: &Command, decision: i32) -> Command {
    let id = half.field("msgId").unwrap();
    let (_, at) = parse_offset_id(id).unwrap();
    Command::request(END_TRANSACTION)
        .with("producerGroup", "P")
        .with("bname", "broker-a")
        .with("commitLogOffset", at)
        .with("msgId", "7F0000")
        .with("tranStateTableOffset", half.field("queueOffset").unwrap())
        .with("commitOrRollback", decision)
        .with("transactionId", "7F0000")
        .with("fromTransactionCheck", false)
}

fn pulled(world: &World, queue: i32) -> Vec<u8> {
    world.ask(pull("g", "T", queue, 0)).body
}

fn producer_beats(world: &World, connection: u64, group: &str) {
    let body = json!({
        "clientID": format!("c{connection}"),
        "consumerDataSet": [],
        "producerDataSet": [{"groupName": group}],
    });
    let beat = Command::request(HEART_BEAT).body(body.to_string().into_bytes());
    assert_eq!(world.ask_on(connection, beat).code, SUCCESS);
}

#[test]
fn a_half_message_is_answered_with_the_real_queue_and_its_place_among_half_messages() {
    let world = world();
    for at in ["0", "1"] {
        let answer = world.ask(half(b"x"));
        assert_eq!(answer.code, SUCCESS);
        assert_eq!(answer.field("queueId"), Some("2"));
        assert_eq!(answer.field("queueOffset"), Some(at));
        assert_eq!(answer.field("transactionId"), Some("7F0000"));
        let mut names: Vec<&str> = answer
            .ext
            .iter()
            .flatten()
            .map(|(name, _)| &name[..])
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "MSG_REGION",
                "TRACE_ON",
                "msgId",
                "queueId",
                "queueOffset",
                "transactionId"
            ]
        );
    }
    assert_eq!(world.ask(pull("g", "T", 2, 0)).code, PULL_NOT_FOUND);
}

#[test]
fn an_end_is_answered_0_without_fields_and_makes_the_message_visible() {
    let world = world();
    let sent = world.ask(half(b"x"));
    let answer = world.ask(end(&sent, 8));
    assert_eq!(
        (answer.code, &answer.remark, &answer.ext),
        (SUCCESS, &None, &None)
    );
    let body = pulled(&world, 2);
    let record = View::parse(&body).unwrap();
    assert_eq!((record.body(), record.sys_flag() & 0xC), (&b"x"[..], 8));
    assert_eq!(record.property("TRAN_MSG"), Some("true"));
    let again = world.ask(end(&sent, 8));
    assert_eq!(again.code, SUCCESS);
    let contrary = world.ask(end(&sent, 12));
    assert_eq!(contrary.code, ILLEGAL_OPERATION);
    let told = "the transaction was committed before; nothing was changed";
    assert_eq!(contrary.remark.as_deref(), Some(told));
}

#[test]
fn an_end_that_is_not_decided_yet_is_not_answered() {
    let world = world();
    let sent = world.ask(half(b"x"));
    world.silent(&end(&sent, 0));
    let nowhere = but(end(&sent, 0), "commitLogOffset", 99_999_999_999i64);
    world.silent(&nowhere);
    assert_eq!(world.broker.metrics().halves, 1);
}

#[test]
fn an_end_of_no_half_message_is_answered_1() {
    let world = world();
    let sent = world.ask(half(b"x"));
    for (field, value, remark) in [
        (
            "commitLogOffset",
            "99999999999",
            "Find prepared transaction message failed",
        ),
        (
            "commitLogOffset",
            "0",
            "Find prepared transaction message failed",
        ),
        (
            "commitLogOffset",
            "-1",
            "Find prepared transaction message failed",
        ),
        ("producerGroup", "Q", "The producer group wrong"),
        (
            "tranStateTableOffset",
            "7",
            "The transaction state table offset wrong",
        ),
    ] {
        let answer = world.ask(but(end(&sent, 8), field, value));
        assert_eq!(
            (answer.code, answer.remark.as_deref()),
            (SYSTEM_ERROR, Some(remark))
        );
    }
    assert_eq!(world.broker.metrics().halves, 1);
}

#[test]
fn a_late_end_of_a_message_with_an_immunity_is_answered_604() {
    let world = world();
    let properties = format!("{PROPERTIES}\u{2}CHECK_IMMUNITY_TIME_IN_SECONDS\u{1}2");
    let sent = world.ask(but(send_with("T", 2, &properties, b"x"), "f", 4));
    world.clock.advance(std::time::Duration::from_secs(3));
    assert_eq!(world.ask(end(&sent, 8)).code, ILLEGAL_OPERATION);
    let from_check = but(end(&sent, 8), "fromTransactionCheck", true);
    assert_eq!(world.ask(from_check).code, SUCCESS);
}

#[test]
fn batches_and_delays_in_a_transaction_are_answered_13() {
    let world = world();
    let delayed = format!("{PROPERTIES}\u{2}DELAY\u{1}3");
    let delayed = but(send_with("T", 2, &delayed, b"x"), "f", 4);
    for refused in [delayed, but(half(b"x"), "m", true)] {
        let answer = world.ask(refused);
        assert_eq!(answer.code, MESSAGE_ILLEGAL);
        assert!(answer.remark.unwrap().contains("cannot be a half message"));
    }
}

#[test]
fn semantics_20_and_go_12_a_check_is_a_oneway_39_to_any_live_producer_and_names_its_group() {
    let world = world();
    let sent = world.ask(half(b"unknown, checked later"));
    producer_beats(&world, 4, "Q");
    producer_beats(&world, 5, "P");
    world.clock.advance(std::time::Duration::from_secs(6));
    world.broker.deadlines_step().unwrap();
    let notices = std::mem::take(&mut *world.heard.notices.lock().unwrap());
    let [(5, Notice::CheckTransaction(check))] = &notices[..] else {
        panic!("{notices:?}");
    };
    let id = parse_offset_id(sent.field("msgId").unwrap());
    assert_eq!(id, Some((check.store_host, check.log_offset)));
    let record = View::parse(&check.record).unwrap();
    assert_eq!((record.topic(), record.queue().0), ("T", 2));
    assert_eq!(record.sys_flag() & 0xC, 0);
    assert_eq!(record.prepared_offset(), 0);
    for name in [
        "PGROUP",
        "__transactionId__",
        "TRANSACTION_CHECK_TIMES",
        "REAL_TOPIC",
        "REAL_QID",
    ] {
        assert!(record.property(name).is_some(), "{name}");
    }
    assert_eq!(record.property("PGROUP"), Some("P"));
}

#[test]
fn a_dead_half_message_is_put_back_by_its_id() {
    let world = World::with(|options| options.transaction_check_max = 1);
    assert_eq!(world.ask(create_topic("T", 4, 6)).code, SUCCESS);
    let sent = world.ask(half(b"x"));
    let resume = || {
        Command::request(RESUME_CHECK_HALF_MESSAGE)
            .with("topic", "T")
            .with("msgId", sent.field("msgId").unwrap())
    };
    producer_beats(&world, 5, "P");
    for seconds in [6, 30] {
        world.clock.advance(std::time::Duration::from_secs(seconds));
        world.broker.deadlines_step().unwrap();
    }
    assert_eq!(world.broker.metrics().transactions_dead, 1);
    world.heard.notices.lock().unwrap().clear();
    world.index();
    assert_eq!(world.ask(resume()).code, SUCCESS);
    world.broker.deadlines_step().unwrap();
    assert_eq!(world.heard.notices.lock().unwrap().len(), 1);
    let nothing = but(resume(), "msgId", "7F0000010000");
    assert_eq!(world.ask(nothing).code, SYSTEM_ERROR);
}
