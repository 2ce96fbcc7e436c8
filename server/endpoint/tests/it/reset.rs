//! 222, which may become 220, and 314.

use remoting::Command;
use remoting::code::response::*;
use remoting::server::Again;

use crate::say::{beat, but, create_topic, pull, queue, send};
use crate::world::World;

fn world() -> World {
    let world = World::new();
    world.ask(create_topic("T", 1, 6));
    for body in [b"a", b"b", b"c"] {
        world.ask(send("T", body));
    }
    world.ask_on(5, beat("c", "g", "T", "*", 1));
    world
}

fn reset(offset: i64) -> Command {
    Command::request(222)
        .with("group", "g")
        .with("topic", "T")
        .with("queueId", 0)
        .with("offset", offset)
        .with("timestamp", -1)
        .with("isForce", true)
}

fn commit(offset: i64) -> Command {
    queue(15, "T", 0)
        .with("consumerGroup", "g")
        .with("commitOffset", offset)
}

#[test]
fn semantics_3_and_6_offsets_go_back_and_a_pending_reset_is_told_once_with_21() {
    let world = world();
    let held = world.hold(&but(pull("g", "T", 0, 3), "sysFlag", 4 | 2));
    let answer = world.ask(reset(1));
    assert_eq!(
        (
            answer.code,
            String::from_utf8(answer.body).unwrap().as_str()
        ),
        (
            SUCCESS,
            r#"{"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"T"}:1}}"#
        )
    );
    let ignored = world.ask(commit(3));
    let text = Some("Offset has been previously reset");
    assert_eq!((ignored.code, ignored.remark.as_deref()), (SUCCESS, text));
    assert!(world.is_woken(&held));
    let told = world.again(&held, Again::Woken);
    assert_eq!(
        (told.code, told.remark.as_deref()),
        (PULL_OFFSET_MOVED, Some("OFFSET_RESET"))
    );
    assert_eq!(told.field("nextBeginOffset"), Some("1"));
    assert_eq!(
        (told.field("minOffset"), told.field("maxOffset")),
        (Some("0"), Some("3"))
    );
    assert_eq!(world.ask(commit(3)).remark, None);
}

#[test]
fn a_reset_by_time_reaches_all_queues_of_a_group_that_is_offline() {
    let world = world();
    world.ask(create_topic("T", 2, 6));
    world.broker.closed(broker::ConnectionId(5));
    let by_time = but(
        but(but(reset(0), "offset", -1), "queueId", -1),
        "timestamp",
        0,
    );
    let body = String::from_utf8(world.ask(by_time).body).unwrap();
    assert_eq!(body.matches("}:0").count(), 2, "{body}");
    let ask = queue(14, "T", 0).with("consumerGroup", "g");
    assert_eq!(world.ask(ask).field("offset"), Some("0"));
}

#[test]
fn refusals_are_apaches() {
    let world = world();
    for (request, code, text) in [
        (
            but(reset(0), "topic", "NoTopic"),
            TOPIC_NOT_EXIST,
            "Topic NoTopic does not exist",
        ),
        (
            but(reset(0), "group", "G"),
            SUBSCRIPTION_GROUP_NOT_EXIST,
            "Group G does not exist",
        ),
        (
            reset(99_999),
            SYSTEM_ERROR,
            "Target offset 99999 not in consume queue range [0-3]",
        ),
    ] {
        let answer = world.ask(request);
        assert_eq!((answer.code, answer.remark.as_deref()), (code, Some(text)));
    }
}

#[test]
fn offsets_are_cloned_for_another_group() {
    let world = world();
    world.ask(commit(2));
    let clone = Command::request(314)
        .with("srcGroup", "g")
        .with("destGroup", "h")
        .with("topic", "T")
        .with("offline", false);
    assert_eq!(world.ask(clone).code, SUCCESS);
    let ask = queue(14, "T", 0).with("consumerGroup", "h");
    assert_eq!(world.ask(ask).field("offset"), Some("2"));
}
