//! 303, 321, 328, 343, 345: what tools look up one by one.

use remoting::Command;
use remoting::code::response::*;
use serde_json::Value;

use crate::say::{beat, but, create_topic, pull, queue, send, send_with, without};
use crate::world::{NOW, World};

fn json(answer: &Command) -> Value {
    assert_eq!(answer.code, SUCCESS, "{:?}", answer.remark);
    remoting::body::from_slice(&answer.body).unwrap()
}

fn world() -> World {
    let world = World::new();
    world.ask(create_topic("T", 1, 6));
    world.ask(send_with("T", 0, "TAGS\u{1}A\u{2}", b"a"));
    world.clock.advance(std::time::Duration::from_secs(5));
    world.ask(send_with("T", 0, "TAGS\u{1}B\u{2}", b"b"));
    world.ask_on(5, beat("c", "g", "T", "A", 1));
    let commit = queue(15, "T", 0).with("consumerGroup", "g");
    world.ask(commit.with("commitOffset", 1));
    world
}

fn of(code: i32) -> Command {
    Command::request(code).with("group", "g").with("topic", "T")
}

#[test]
fn the_age_of_a_groups_messages() {
    let world = world();
    world.clock.advance(std::time::Duration::from_secs(2));
    let spans = json(&world.ask(of(303)));
    let span = &spans["consumeTimeSpanSet"][0];
    assert_eq!(span["minTimeStamp"], NOW);
    assert_eq!(span["maxTimeStamp"], NOW + 5_000);
    assert_eq!(span["consumeTimeStamp"], NOW);
    assert_eq!(span["delayTime"], 2_000);
    assert_eq!(span["minTimeStampStr"], "2026-11-24#13:47:55:618");
    assert_eq!(span["messageQueue"]["topic"], "T");
    // Of a queue without a message.
    world.ask(create_topic("Empty", 1, 6));
    let spans = json(&world.ask(but(of(303), "topic", "Empty")));
    let span = &spans["consumeTimeSpanSet"][0];
    for time in ["minTimeStamp", "maxTimeStamp", "consumeTimeStamp"] {
        assert_eq!(span[time], -1, "{time}");
    }
    let none = Command::request(303).with("group", "g").with("topic", "X");
    assert_eq!(world.ask(none).code, TOPIC_NOT_EXIST);
}

#[test]
fn the_index_of_a_queue_is_judged_by_the_groups_subscription() {
    let world = world();
    let ask = |group: &str| {
        let ask = queue(321, "T", 0).with("index", 0).with("count", 9);
        json(&world.ask(ask.with("consumerGroup", group)))
    };
    let index = ask("g");
    assert_eq!(
        (&index["minQueueIndex"], &index["maxQueueIndex"]),
        (&0.into(), &2.into())
    );
    let evals: Vec<_> = index["queueData"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["eval"].clone())
        .collect();
    assert_eq!(evals, [true, false]);
    assert_eq!(index["queueData"][0]["tagsCode"], 65);
    assert_eq!(index["subscriptionData"]["subString"], "A");
    assert_eq!(ask("h")["filterData"], "h@T is not online!");
}

#[test]
fn producers_topics_and_subscriptions() {
    let world = world();
    let producers = json(&world.ask(Command::request(328)));
    let one = &producers["data"]["CLIENT_INNER_PRODUCER"][0];
    assert_eq!(
        (&one["clientId"], &one["language"]),
        (&"c".into(), &"JAVA".into())
    );
    assert_eq!(one["remoteIP"], "/127.0.0.1:40005");
    let topics = json(&world.ask(of(343)));
    assert_eq!(topics["topicList"], serde_json::json!(["T"]));
    let subscription = json(&world.ask(of(345)));
    assert_eq!(subscription["subscriptionData"]["subString"], "A");
    world.ask(send("T", b"c"));
    let nobody = Command::request(345).with("group", "h").with("topic", "T");
    assert!(json(&world.ask(nobody)).get("subscriptionData").is_none());
}

/// 353 says a topic is not for a group, and from then on its pulls are 16, though others' are not.
#[test]
fn a_topic_is_forbidden_to_one_group() {
    let world = world();
    world.ask_on(6, beat("d", "other", "T", "*", 1));
    let readable = |group: &str, set: Option<bool>| {
        let ask = of(353).with("group", group);
        let ask = match set {
            Some(set) => ask.with("readable", set),
            None => ask,
        };
        let answer = json(&world.ask(ask));
        assert_eq!(
            (&answer["group"], &answer["topic"]),
            (&group.into(), &"T".into())
        );
        answer["readable"].as_bool().unwrap()
    };
    assert!(readable("g", None));
    assert!(!readable("g", Some(false)));
    assert!(!readable("g", None));
    let refused = world.ask_on(5, pull("g", "T", 0, 0));
    assert_eq!(refused.code, NO_PERMISSION);
    let remark = refused.remark.as_deref().unwrap();
    assert_eq!(remark, "the consumer group[g] is forbidden for topic[T]");
    assert_eq!(refused.field("forbiddenType"), Some("5"));
    // Neither does a pull that brings no expression, nor a pop, slip through.
    let plain = without(but(pull("g", "T", 0, 0), "sysFlag", 0), "subscription");
    assert_eq!(world.ask_on(5, plain).code, NO_PERMISSION);
    let pop = queue(200_050, "T", 0).with("consumerGroup", "g");
    let pop = pop
        .with("maxMsgNums", 1)
        .with("invisibleTime", 60_000)
        .with("pollTime", 0);
    let pop = pop.with("bornTime", 0).with("initMode", 0);
    assert_eq!(world.ask_on(5, pop).code, NO_PERMISSION);
    assert_eq!(world.ask_on(6, pull("other", "T", 0, 0)).code, SUCCESS);
    let groups = json(&world.ask(Command::request(201)));
    assert_eq!(groups["forbiddenTable"]["g"]["T"], 4);
    // One topic allowed again says nothing of another.
    let other = Command::request(353)
        .with("group", "g")
        .with("topic", "Else");
    json(&world.ask(other.clone().with("readable", false)));
    assert!(readable("g", Some(true)));
    assert_eq!(json(&world.ask(other))["readable"], false);
    assert_eq!(world.ask_on(5, pull("g", "T", 0, 0)).code, SUCCESS);
}

/// 308: how far the slowest of the others is, unless the group that is compared is behind it.
#[test]
fn the_offsets_that_all_other_groups_have_reached() {
    let world = world();
    for (group, offset) in [("ahead", 2), ("slow", 1), ("behind", 0)] {
        let commit = queue(15, "T", 0).with("consumerGroup", group);
        world.ask(Command::request(352).with("group", group)); // asking makes it
        assert_eq!(world.ask(commit.with("commitOffset", offset)).code, SUCCESS);
    }
    let lowest = |compare: &str, left_out: &str| {
        let ask = Command::request(308)
            .with("topic", "T")
            .with("compareGroup", compare);
        let answer = json(&world.ask(ask.with("filterGroups", left_out)));
        answer["correctionOffsets"]["0"].as_i64()
    };
    assert_eq!(lowest("ahead", ""), Some(0));
    assert_eq!(lowest("ahead", "behind"), Some(1));
    assert_eq!(lowest("behind", "behind,nobody"), Some(i64::MAX));
    // Apache forgets what it leaves out.
    assert_eq!(lowest("ahead", ""), Some(0));
    assert_eq!(lowest("ahead", "g,slow,behind,ahead"), None);
}
