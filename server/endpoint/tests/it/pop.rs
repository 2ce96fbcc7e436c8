//! Popping on the wire: the fields that Apache's clients take handles from, and what they send back.

use model::receipt::{PopTopic, Receipt};
use model::record::View;
use remoting::code::request::*;
use remoting::code::response::*;
use remoting::server::{Again, Door};
use remoting::{Command, Serialize};

use std::time::Duration;

use crate::say::{beat, but, create_topic, records, send_with};
use crate::world::{NOW, Said, World, peer};

fn pop(topic: &str) -> Command {
    Command::request(POP_MESSAGE)
        .with("consumerGroup", "G")
        .with("topic", topic)
        .with("queueId", -1)
        .with("maxMsgNums", 32)
        .with("invisibleTime", 10_000)
        .with("pollTime", 0)
        .with("bornTime", 0)
        .with("initMode", 0)
        .with("expType", "TAG")
        .with("exp", "*")
        .with("order", "false")
        .with("bname", "broker-a")
}

fn of_pop(code: i32, topic: &str, queue: u32, offset: u64, handle: &str) -> Command {
    Command::request(code)
        .with("consumerGroup", "G")
        .with("topic", topic)
        .with("queueId", queue)
        .with("offset", offset)
        .with("extraInfo", handle)
}

/// A topic of two queues with messages `0` to `4`: even ones in queue 0.
fn world() -> World {
    let world = World::new();
    world.ask(create_topic("T", 2, 6));
    for n in 0..5 {
        let body = n.to_string();
        assert_eq!(
            world.ask(send_with("T", n % 2, "", body.as_bytes())).code,
            SUCCESS
        );
    }
    world
}

fn later(world: &World, ms: u64) {
    world.clock.advance(Duration::from_millis(ms));
    world.broker.deadlines_step().unwrap();
}

fn bodies(answer: &Command) -> Vec<String> {
    let text = |view: &View<'_>| String::from_utf8(view.body().to_vec()).unwrap();
    let mut bodies: Vec<String> = records(&answer.body).iter().map(text).collect();
    bodies.sort();
    bodies
}

#[test]
fn a_pop_says_where_each_message_is_as_apache_does() {
    let world = world();
    let answer = world.ask(but(pop("T"), "queueId", 0));
    let field = |name| answer.field(name).unwrap();
    assert_eq!(
        (answer.code, answer.remark.as_deref()),
        (SUCCESS, Some("FOUND"))
    );
    assert_eq!(field("startOffsetInfo"), "0 0 0");
    assert_eq!(field("msgOffsetInfo"), "0 0 0,1,2");
    assert_eq!(
        (field("popTime"), field("invisibleTime")),
        (&*NOW.to_string(), "10000")
    );
    assert_eq!(field("restNum"), "0");
    assert!((0..8).contains(&field("reviveQid").parse::<i32>().unwrap()));
    assert_eq!(answer.field("orderCountInfo"), None);
    assert_eq!(bodies(&answer), ["0", "2", "4"]);
    let rest = world.ask(pop("T"));
    assert_eq!(rest.field("startOffsetInfo"), Some("0 1 0"));
    assert_eq!(rest.field("msgOffsetInfo"), Some("0 1 0,1"));
}

#[test]
fn a_pop_in_order_says_how_often_each_message_was_popped() {
    let world = world();
    let ordered = but(but(pop("T"), "order", "true"), "queueId", 0);
    let first = world.ask(ordered.clone());
    assert_eq!(first.field("reviveQid"), Some("999"));
    assert_eq!(first.field("orderCountInfo"), Some("0 0 0"));
    let handle = format!("0 {NOW} 10000 999 0 broker-a 0 0");
    assert_eq!(
        world.ask(of_pop(ACK_MESSAGE, "T", 0, 0, &handle)).code,
        SUCCESS
    );
    later(&world, 10_000);
    world.ask(send_with("T", 0, "", b"5"));
    let again = world.ask(ordered);
    assert_eq!(again.field("msgOffsetInfo"), Some("0 0 1,2,3"));
    let counts = again.field("orderCountInfo");
    assert_eq!(counts, Some("0 qo0%1 1;0 qo0%2 1;0 0 0"));
}

/// Clients put the handle of a plain message together themselves; that of one that came back must be in
/// it, because it lies in a topic they do not see.
#[test]
fn open_7_the_check_point_string_of_retry_v1_is_as_recorded() {
    let world = world();
    world.ask(pop("T"));
    later(&world, 10_000);
    let answer = world.ask(pop("T"));
    let field = |name| answer.field(name).unwrap();
    assert_eq!(field("startOffsetInfo"), "1 0 0");
    assert_eq!(field("msgOffsetInfo"), "1 0 0,1,2,3,4");
    let popped_at = NOW + 10_000;
    for (offset, view) in records(&answer.body).iter().enumerate() {
        let queue = field("reviveQid");
        let handle = format!("0 {popped_at} 10000 {queue} 1 broker-a 0 {offset}");
        assert_eq!(view.property("POP_CK"), Some(&*handle));
        assert_eq!(view.property("1ST_POP_TIME"), Some(&*NOW.to_string()));
        assert_eq!((view.topic(), view.reconsume_times()), ("T", 1));
        assert_eq!(Receipt::parse(&handle).unwrap().topic, PopTopic::RetryV1);
        let ack = of_pop(ACK_MESSAGE, "%RETRY%G_T", 0, offset as u64, &handle);
        let answer = world.ask(ack);
        assert_eq!((answer.code, answer.ext), (SUCCESS, None));
    }
    later(&world, 10_000);
    assert_eq!(world.ask(pop("T")).code, POLLING_TIMEOUT);
}

#[test]
fn retry_topics_of_the_second_form_are_flag_2() {
    let world = World::with(|options| options.pop_retry_v2 = true);
    world.ask(create_topic("T", 1, 6));
    world.ask(send_with("T", 0, "", b"0"));
    world.ask(pop("T"));
    later(&world, 10_000);
    let answer = world.ask(pop("T"));
    assert_eq!(answer.field("startOffsetInfo"), Some("2 0 0"));
    let views = records(&answer.body);
    let handle = views[0].property("POP_CK").unwrap();
    let ack = of_pop(ACK_MESSAGE, "%RETRY%G+T", 0, 0, handle);
    assert_eq!(world.ask(ack).code, SUCCESS);
    later(&world, 10_000);
    assert_eq!(world.ask(pop("T")).code, POLLING_TIMEOUT);
}

#[test]
fn a_changed_handle_has_the_pop_time_that_was_answered_and_the_revive_queue_it_had() {
    let world = world();
    let answer = world.ask(but(pop("T"), "queueId", 0));
    let queue = answer.field("reviveQid").unwrap();
    let handle = format!("0 {NOW} 10000 {queue} 0 broker-a 0 1");
    let change = of_pop(CHANGE_MESSAGE_INVISIBLETIME, "T", 0, 1, &handle);
    let changed = world.ask(change.with("invisibleTime", 30_000));
    assert_eq!(changed.field("invisibleTime"), Some("30000"));
    assert_eq!(changed.field("reviveQid"), Some(queue));
    let popped_at = changed.field("popTime").unwrap();
    later(&world, 10_000);
    assert_eq!(bodies(&world.ask(pop("T"))), ["0", "1", "3", "4"]);
    let handle = format!("1 {popped_at} 30000 {queue} 0 broker-a 0 1");
    world.ask(of_pop(ACK_MESSAGE, "T", 0, 1, &handle));
    later(&world, 20_000);
    assert_eq!(bodies(&world.ask(pop("T"))), ["0", "1", "3", "4"]);
}

#[test]
fn a_batch_of_acks_settles_topics_and_retry_topics() {
    let world = world();
    world.ask(but(pop("T"), "queueId", 0));
    let batch = |retry: u8, queue: u32, popped_at: i64, bits: &str| {
        let body = format!(
            r#"{{"brokerName":"broker-a","acks":[{{"c":"G","t":"T","r":"{retry}","so":0,"q":{queue},"rq":1,"pt":{popped_at},"it":10000,"b":"{bits}"}}]}}"#
        );
        Command::request(BATCH_ACK_MESSAGE).body(body.into_bytes())
    };
    // Bits 0 and 2.
    assert_eq!(world.ask(batch(0, 0, NOW, "BQ==")).code, SUCCESS);
    later(&world, 10_000);
    let answer = world.ask(but(pop("T"), "queueId", 0));
    assert_eq!(bodies(&answer), ["2"]);
    assert_eq!(world.ask(batch(1, 0, NOW + 10_000, "AQ==")).code, SUCCESS);
    later(&world, 10_000);
    assert_eq!(world.ask(but(pop("T"), "queueId", 0)).code, POLLING_TIMEOUT);
    let none = Command::request(BATCH_ACK_MESSAGE).body(br#"{"acks":[]}"#.to_vec());
    assert_eq!(world.ask(none).code, NO_MESSAGE);
}

#[test]
fn a_pop_that_is_held_is_answered_by_a_message_or_in_time() {
    let world = world();
    world.ask(pop("T"));
    let held = |ms| but(but(pop("T"), "pollTime", ms), "bornTime", NOW);
    let waits = world.hold(&held(15_000));
    assert_eq!(waits.limit, Duration::from_secs(15));
    let info = Command::request(POLLING_INFO)
        .with("consumerGroup", "G")
        .with("topic", "T")
        .with("queueId", -1);
    assert_eq!(world.ask(info).field("pollingNum"), Some("1"));
    world.ask(send_with("T", 1, "", b"new"));
    let woken = std::mem::take(&mut *world.heard.woken.lock().unwrap());
    assert_eq!(woken, [(1, waits.ticket)]);
    assert_eq!(bodies(&world.again(&waits, Again::Woken)), ["new"]);
    let waits = world.hold(&held(15_000));
    world.clock.advance(Duration::from_secs(15));
    let answer = world.again(&waits, Again::Deadline);
    assert_eq!(answer.code, POLLING_TIMEOUT);
    assert_eq!(answer.field("startOffsetInfo"), Some(""));
    assert_eq!(answer.field("msgOffsetInfo"), Some(""));
    assert_eq!(answer.field("restNum"), Some("0"));
}

#[test]
fn a_notification_says_that_there_is_something_and_takes_nothing() {
    let world = world();
    let ask = Command::request(NOTIFICATION)
        .with("consumerGroup", "G")
        .with("topic", "T")
        .with("queueId", -1)
        .with("pollTime", 0)
        .with("bornTime", NOW);
    let has = |world: &World| world.ask(ask.clone()).field("hasMsg") == Some("true");
    assert!(has(&world) && has(&world));
    assert_eq!(bodies(&world.ask(pop("T"))).len(), 5);
    assert!(!has(&world));
    let waits = world.hold(&but(ask.clone(), "pollTime", 20_000));
    later(&world, 10_000);
    let woken = std::mem::take(&mut *world.heard.woken.lock().unwrap());
    assert_eq!(woken, [(1, waits.ticket)]);
    let answer = world.again(&waits, Again::Woken);
    assert_eq!(answer.field("hasMsg"), Some("true"));
    assert_eq!(answer.field("pollingFull"), Some("false"));
}

#[test]
fn a_notification_for_a_named_pop_says_that_another_of_that_name_got_something() {
    let world = world();
    assert_eq!(bodies(&world.ask(pop("T"))).len(), 5);
    let wait = |attempt| {
        let ask = Command::request(NOTIFICATION)
            .with("consumerGroup", "G")
            .with("topic", "T")
            .with("queueId", -1)
            .with("attemptId", attempt);
        world.hold(&ask.with("pollTime", 20_000).with("bornTime", NOW))
    };
    let (same, other) = (wait("a"), wait("b"));
    later(&world, 10_000);
    let woken = std::mem::take(&mut *world.heard.woken.lock().unwrap());
    assert_eq!(woken, [(1, same.ticket), (1, other.ticket)]);
    // Another request of the name was quicker.
    let quicker = world.ask(pop("T").with("attemptId", "a"));
    assert_eq!(bodies(&quicker).len(), 5);
    let answer = world.again(&same, Again::Woken);
    assert_eq!(answer.field("hasMsg"), Some("true"));
    let answer = world.again(&other, Again::Deadline);
    assert_eq!(answer.field("hasMsg"), Some("false"));
}

#[test]
fn a_peek_shows_what_a_pop_would_get_and_takes_nothing() {
    let world = world();
    let peek = |queue| {
        Command::request(PEEK_MESSAGE)
            .with("consumerGroup", "G")
            .with("topic", "T")
            .with("queueId", queue)
            .with("maxMsgNums", 2)
    };
    let answer = world.ask(peek(0));
    assert_eq!(
        (bodies(&answer), answer.field("restNum")),
        (vec!["0".to_owned(), "2".to_owned()], Some("1"))
    );
    world.ask(pop("T"));
    assert_eq!(world.ask(peek(0)).code, PULL_NOT_FOUND);
}

/// Java cuts codes to 16 bits in its binary header: 200050 arrives as 3442.
#[test]
fn popping_works_with_binary_headers() {
    let world = world();
    let mut binary = pop("T");
    binary.serialize = Serialize::Binary;
    let answer = match world.send(&peer(1, Door::Main), &binary.to_bytes()) {
        Said::Answer(answer) => answer,
        Said::Held(_) => panic!("held"),
    };
    assert_eq!(
        (answer.code, answer.serialize),
        (SUCCESS, Serialize::Binary)
    );
    assert_eq!(bodies(&answer).len(), 5);
}

#[test]
fn request_modes_are_set_told_and_kept() {
    let world = world();
    world.ask(beat("c", "G", "T", "*", 1));
    let set = |topic: &str, mode: &str| {
        let body = format!(
            r#"{{"consumerGroup":"G","mode":"{mode}","popShareQueueNum":8,"topic":"{topic}"}}"#
        );
        world.ask(Command::request(SET_MESSAGE_REQUEST_MODE).body(body.into_bytes()))
    };
    let assigned = |topic: &str| {
        let body = format!(
            r#"{{"clientId":"c","consumerGroup":"G","messageModel":"CLUSTERING","strategyName":"AVG","topic":"{topic}"}}"#
        );
        let answer = world.ask(Command::request(QUERY_ASSIGNMENT).body(body.into_bytes()));
        String::from_utf8(answer.body.to_vec()).unwrap()
    };
    assert!(assigned("T").contains(r#""queueId":1,"topic":"T"},"mode":"PULL""#));
    assert_eq!(set("T", "POP").code, SUCCESS);
    assert_eq!(
        assigned("T"),
        r#"{"messageQueueAssignments":[{"messageQueue":{"brokerName":"broker-a","queueId":-1,"topic":"T"},"mode":"POP"}]}"#
    );
    assert!(assigned("%RETRY%G").contains(r#""mode":"PULL""#));
    assert_eq!(assigned("NoTopic"), "{}");
    assert_eq!(set("NoTopic", "POP").code, TOPIC_NOT_EXIST);
    assert_eq!(set("%RETRY%G", "POP").code, NO_PERMISSION);
    let all = world.ask(Command::request(GET_ALL_MESSAGE_REQUEST_MODE));
    assert_eq!(
        String::from_utf8(all.body.to_vec()).unwrap(),
        r#"{"messageRequestModeMap":{"T":{"G":{"consumerGroup":"G","mode":"POP","popShareQueueNum":8,"topic":"T"}}}}"#
    );
}

/// Members get the queues of every broker of the topic, each queue one of them, whichever broker they
/// ask; popping, they get each broker whole.
#[test]
fn queues_of_other_brokers_are_shared_out_too() {
    let world = world();
    for (connection, client) in [(1, "c"), (2, "d")] {
        world.ask_on(connection, beat(client, "G", "T", "*", 1));
    }
    let known = vec![("broker-b".to_owned(), 1), ("broker-a".to_owned(), 2)];
    world
        .heard
        .routes
        .lock()
        .unwrap()
        .insert("T".to_owned(), known);
    let assigned = |client: &str, model: &str| -> Vec<(String, i64)> {
        let body = format!(
            r#"{{"clientId":"{client}","consumerGroup":"G","messageModel":"{model}","strategyName":"AVG","topic":"T"}}"#
        );
        let answer = world.ask(Command::request(QUERY_ASSIGNMENT).body(body.into_bytes()));
        let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let all = answer["messageQueueAssignments"].as_array().unwrap().iter();
        all.map(|one| {
            let queue = &one["messageQueue"];
            (
                queue["brokerName"].as_str().unwrap().to_owned(),
                queue["queueId"].as_i64().unwrap(),
            )
        })
        .collect()
    };
    let queue = |broker: &str, id| (format!("broker-{broker}"), id);
    assert_eq!(assigned("c", "CLUSTERING"), [queue("a", 0), queue("a", 1)]);
    assert_eq!(assigned("d", "CLUSTERING"), [queue("b", 0)]);
    assert_eq!(
        assigned("d", "BROADCASTING"),
        [queue("a", 0), queue("a", 1), queue("b", 0)]
    );
    let body = br#"{"consumerGroup":"G","mode":"POP","popShareQueueNum":-1,"topic":"T"}"#;
    world.ask(Command::request(SET_MESSAGE_REQUEST_MODE).body(body.to_vec()));
    assert_eq!(
        assigned("c", "CLUSTERING"),
        [queue("a", -1), queue("b", -1)]
    );
}

#[test]
fn setting_a_request_mode_makes_the_group_unless_groups_are_not_made() {
    for (made, code) in [(true, SUCCESS), (false, SUBSCRIPTION_GROUP_NOT_EXIST)] {
        let world = World::with(|options| options.auto_create_groups = made);
        world.ask(create_topic("T", 2, 6));
        let body = br#"{"consumerGroup":"New","mode":"POP","popShareQueueNum":-1,"topic":"T"}"#;
        let set = Command::request(SET_MESSAGE_REQUEST_MODE).body(body.to_vec());
        assert_eq!(world.ask(set).code, code);
        assert_eq!(
            world
                .broker
                .groups()
                .0
                .iter()
                .any(|group| group.name.as_str() == "New"),
            made
        );
    }
}
