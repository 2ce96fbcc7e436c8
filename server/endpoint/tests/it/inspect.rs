//! 303, 321, 328, 343, 345: what tools look up one by one.

use remoting::Command;
use remoting::code::response::*;
use serde_json::Value;

use crate::say::{beat, create_topic, queue, send, send_with};
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
