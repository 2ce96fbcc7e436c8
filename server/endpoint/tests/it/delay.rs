//! Delayed messages, and 370.

use std::time::Duration;

use remoting::Command;
use remoting::code::request::RECALL_MESSAGE;
use remoting::code::response::*;

use crate::say::{pull, records, send_back, send_with};
use crate::world::{NOW, World};

fn recall(topic: &str, handle: &str) -> Command {
    Command::request(RECALL_MESSAGE)
        .with("producerGroup", "P")
        .with("topic", topic)
        .with("recallHandle", handle)
}

/// Lets time pass, and what becomes due then come.
pub fn pass(world: &World, millis: u64) {
    world.clock.advance(Duration::from_millis(millis));
    while world.broker.deadlines_step().unwrap() == Duration::ZERO {}
}

#[test]
fn a_level_is_answered_with_the_real_queue_and_the_offset_where_it_waits() {
    let world = World::new();
    for offset in ["0", "1"] {
        let sent = world.ask(send_with("T", 2, "DELAY\u{1}3\u{2}", b"x"));
        assert_eq!(sent.code, SUCCESS);
        assert_eq!(sent.field("queueId"), Some("2"));
        assert_eq!(sent.field("queueOffset"), Some(offset));
        assert_eq!(sent.field("recallHandle"), None);
    }
    pass(&world, 9_999);
    assert_eq!(world.ask(pull("g", "T", 2, 0)).code, PULL_NOT_FOUND);
    pass(&world, 1);
    let pulled = world.ask(pull("g", "T", 2, 0));
    let record = records(&pulled.body)[0];
    assert_eq!(record.property("REAL_QID"), Some("2"));
    assert_eq!(record.property("TIMER_OUT_MS"), None);
    assert_eq!(record.stored_at(), NOW + 10_000);
}

#[test]
fn codes_of_sends_that_cannot_wait() {
    let world = World::new();
    let code = |properties: &str| world.ask(send_with("T", 0, properties, b"x")).code;
    assert_eq!(code("TIMER_DELAY_SEC\u{1}259201"), MESSAGE_ILLEGAL);
    assert_eq!(code("TIMER_DELIVER_MS\u{1}soon"), MESSAGE_ILLEGAL);
    assert_eq!(code("TIMER_DELIVER_MS\u{1}5"), SUCCESS);
    let world = World::with(|options| options.timers = false);
    let refused = world.ask(send_with("T", 0, "TIMER_DELAY_MS\u{1}5", b"x"));
    assert_eq!(refused.code, SYSTEM_ERROR);
    assert_eq!(refused.field("MSG_REGION"), Some("DefaultRegion"));
}

#[test]
fn a_recall_says_beside_apaches_answer_whether_it_recalled() {
    let world = World::new();
    let properties = "TIMER_DELAY_SEC\u{1}5\u{2}UNIQ_KEY\u{1}0A00000200010000000000000000ABCD";
    let sent = world.ask(send_with("T", 0, properties, b"x"));
    let handle = sent.field("recallHandle").unwrap();
    for _ in ["first", "again"] {
        let answer = world.ask(recall("T", handle));
        assert_eq!(answer.code, SUCCESS);
        let id = answer.field("msgId");
        assert_eq!(id, Some("0A00000200010000000000000000ABCD"));
        assert_eq!(answer.field("MSG_REGION"), Some("DefaultRegion"));
        assert_eq!(answer.field("recalled"), Some("true"));
    }
    pass(&world, 5_000);
    assert_eq!(world.ask(pull("g", "T", 0, 0)).code, PULL_NOT_FOUND);
    let late = world.ask(recall("T", handle));
    assert_eq!(late.code, SUCCESS, "due this very millisecond");
    assert_eq!(late.field("recalled"), Some("false"));
    pass(&world, 1);
    assert_eq!(world.ask(recall("T", handle)).code, ILLEGAL_OPERATION);
    assert_eq!(world.ask(recall("T", "zzz")).code, ILLEGAL_OPERATION);
    assert_eq!(world.ask(recall("none", "zzz")).code, TOPIC_NOT_EXIST);
    let world = World::with(|options| options.recall = false);
    assert_eq!(world.ask(recall("T", "zzz")).code, NO_PERMISSION);
}

#[test]
fn a_message_sent_back_waits_for_its_level_and_comes_to_the_retry_topic() {
    let world = World::new();
    let sent = world.ask(send_with("T", 0, "KEYS\u{1}k\u{2}", b"x"));
    let at = crate::say::log_offset(&sent);
    assert_eq!(world.ask(send_back("g", at, 2)).code, SUCCESS);
    pass(&world, 4_999);
    assert_eq!(world.ask(pull("g", "%RETRY%g", 0, 0)).code, PULL_NOT_FOUND);
    pass(&world, 1);
    let pulled = world.ask(pull("g", "%RETRY%g", 0, 0));
    let record = records(&pulled.body)[0];
    assert_eq!(record.reconsume_times(), 1);
    assert_eq!(record.property("DELAY"), Some("2"));
    assert_eq!(record.property("RETRY_TOPIC"), Some("T"));
}
