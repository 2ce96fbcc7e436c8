//! 36, and sends to retry and dead-letter topics.

use model::message::key;
use remoting::Command;
use remoting::code::response::*;

use crate::delay::pass;
use crate::say::{but, create_group, log_offset, pull, records, send, send_back};
use crate::world::World;

#[test]
fn a_message_sent_back_for_good_is_a_dead_letter() {
    let world = World::new();
    let sent = world.ask(send("T", b"x"));
    let answer = world.ask(send_back("g", log_offset(&sent), -1));
    assert_eq!(
        (answer.code, answer.ext, answer.remark),
        (SUCCESS, None, None)
    );
    let pulled = world.ask(pull("tool", "%DLQ%g", 0, 0));
    let record = records(&pulled.body)[0];
    assert_eq!(record.reconsume_times(), 1);
    assert_eq!(record.property(key::ORIGIN_MESSAGE_ID), sent.field("msgId"));
    assert_eq!(
        record.property(key::DLQ_ORIGIN_MESSAGE_ID),
        sent.field("msgId")
    );
    assert_eq!(record.property(key::DLQ_ORIGIN_TOPIC), Some("T"));
    assert_eq!(record.property(key::RETRY_TOPIC), Some("T"));
    assert_eq!(record.property(key::DELAY), None);
    assert!(
        world
            .heard
            .registered
            .lock()
            .unwrap()
            .contains_key("%DLQ%g")
    );
}

#[test]
fn what_is_not_there_cannot_be_sent_back() {
    let world = World::new();
    let answer = world.ask(send_back("g", 99_999_999_999, 0));
    let text = "look message by offset failed, 99999999999";
    assert_eq!(
        (answer.code, answer.remark.as_deref()),
        (SYSTEM_ERROR, Some(text))
    );
}

/// `retryQueueNums` 0 makes Apache drop the message and say that all went well.
#[test]
fn a_group_without_retry_queues_gets_dead_letters() {
    let world = World::new();
    world.ask(create_group(r#"{"groupName":"g","retryQueueNums":0}"#));
    let at = log_offset(&world.ask(send("T", b"x")));
    assert_eq!(world.ask(send_back("g", at, 0)).code, SUCCESS);
    assert_eq!(world.ask(send("%RETRY%g", b"y")).code, SUCCESS);
    let pulled = world.ask(pull("tool", "%DLQ%g", 0, 0));
    assert_eq!(records(&pulled.body).len(), 2);
}

#[test]
fn semantics_13_and_17_a_message_sent_back_by_its_log_offset_comes_again_with_what_clients_look_at()
{
    let world = World::new();
    let sent = world.ask(send("T", b"x"));
    let mut at = log_offset(&sent);
    // The first attempt comes after level 3, the second after level 4.
    for (attempt, level, wait) in [(1, "3", 10_000), (2, "4", 30_000)] {
        assert_eq!(world.ask(send_back("g", at, 0)).code, SUCCESS);
        let ask = || world.ask(pull("tool", "%RETRY%g", 0, i64::from(attempt - 1)));
        pass(&world, wait - 1);
        assert_eq!(ask().code, PULL_NOT_FOUND);
        pass(&world, 1);
        let pulled = ask();
        let record = records(&pulled.body)[0];
        assert_eq!(record.reconsume_times(), attempt);
        assert_eq!(record.property(key::DELAY), Some(level));
        assert_eq!(record.property(key::RETRY_TOPIC), Some("T"));
        assert_eq!(record.property(key::ORIGIN_MESSAGE_ID), sent.field("msgId"));
        at = record.log_offset().0 as i64;
    }
}

#[test]
fn semantics_18_a_send_to_a_retry_topic_counts_up_to_its_maximum() {
    let world = World::new();
    let retry = |times: i32| but(but(send("%RETRY%g", b"x"), "j", times), "l", 3);
    for times in [3, 4] {
        assert_eq!(world.ask(retry(times)).code, SUCCESS);
    }
    let times = |topic| {
        let pulled: Command = world.ask(pull("tool", topic, 0, 0));
        let records = records(&pulled.body).into_iter();
        records
            .map(|record| record.reconsume_times())
            .collect::<Vec<_>>()
    };
    assert_eq!((times("%RETRY%g"), times("%DLQ%g")), (vec![3], vec![4]));
}

#[test]
fn an_unknown_group_is_26_where_groups_are_not_made() {
    let world = World::with(|options| options.auto_create_groups = false);
    for request in [send("%RETRY%g", b"x"), send_back("g", 0, 0)] {
        let answer = world.ask(request);
        assert_eq!(answer.code, SUBSCRIPTION_GROUP_NOT_EXIST);
        assert!(
            answer
                .remark
                .unwrap()
                .starts_with("subscription group not exist, g")
        );
    }
}
