//! What only a client can answer: 223, 307, 309, and replies (324 to 326). The client is played here.

use broker::{ConnectionId, Notice};
use model::message::property;
use remoting::Command;
use remoting::code::response::*;
use remoting::server::{Again, Door, Service};

use crate::say::{beat, but, send, send_with, without};
use crate::world::{World, peer};

const CONSUMER: u64 = 5;

/// A member of group `g` on [`CONSUMER`].
fn world() -> World {
    let world = World::new();
    world.ask_on(CONSUMER, beat("c", "g", "T", "*", 1));
    world.heard.notices.lock().unwrap().clear();
    world
}

/// What the broker asked a client last.
fn asked(world: &World) -> (u64, Notice) {
    world.heard.notices.lock().unwrap().pop().unwrap()
}

/// The client answers the broker's question.
fn answer(world: &World, from: u64, question: &Notice, answer: Command) {
    let opaque = question.question().unwrap().cast_signed();
    let bytes = Command { opaque, ..answer }.to_bytes();
    let mut decoder = remoting::Decoder::new();
    let response = decoder.decode(&bytes).unwrap();
    world.endpoint.answered(&peer(from, Door::Main), &response);
}

fn info(client: &str) -> Command {
    Command::request(307)
        .with("consumerGroup", "g")
        .with("clientId", client)
        .with("jstackEnable", true)
}

#[test]
fn a_consumers_state_is_passed_on_as_it_is() {
    let world = world();
    let held = world.hold(&info("c"));
    assert_eq!(held.limit.as_secs(), 10);
    let (to, question) = asked(&world);
    assert_eq!(to, CONSUMER);
    let Notice::RunningInfo {
        group,
        client,
        jstack,
        ..
    } = &question
    else {
        panic!("{question:?}");
    };
    assert_eq!((group.as_str(), client.as_str(), *jstack), ("g", "c", true));
    let body = br#"{"mqTable":{{"brokerName":"b","queueId":0,"topic":"T"}:{}}}"#.to_vec();
    let told = Command::response(0, SUCCESS)
        .remark("not set any response code")
        .body(body.clone());
    answer(&world, 6, &question, told.clone());
    assert!(!world.is_woken(&held), "somebody else's answer is none");
    answer(&world, CONSUMER, &question, told);
    assert!(world.is_woken(&held));
    let got = world.again(&held, Again::Woken);
    assert_eq!((got.code, got.body), (SUCCESS, body));
    assert_eq!(got.remark.as_deref(), Some("not set any response code"));
}

#[test]
fn a_consumer_that_is_not_there_or_says_nothing_is_told_apart() {
    let world = world();
    let told = world.ask(info("d"));
    let text = "The Consumer <g> <d> not online";
    assert_eq!(
        (told.code, told.remark.as_deref()),
        (SYSTEM_ERROR, Some(text))
    );
    let held = world.hold(&info("c"));
    let told = world.again(&held, Again::Deadline);
    assert_eq!(told.code, CONSUME_MSG_TIMEOUT);
    let late = asked(&world).1;
    answer(&world, CONSUMER, &late, Command::response(0, SUCCESS));
    let gone = world.hold(&info("c"));
    world.broker.closed(ConnectionId(CONSUMER));
    assert!(world.is_woken(&gone), "nobody waits for who is gone");
    assert_eq!(world.again(&gone, Again::Woken).code, CONSUME_MSG_TIMEOUT);
}

#[test]
fn framing_9_a_question_has_a_number_that_no_notice_has() {
    let world = world();
    let _held = world.hold(&info("c"));
    let number = asked(&world).1.question().unwrap();
    assert!(number >= 1 << 30 && i32::try_from(number).is_ok());
}

#[test]
fn a_message_is_given_to_a_consumers_listener() {
    let world = world();
    let sent = world.ask(send("T", b"once more"));
    let request = Command::request(309)
        .with("consumerGroup", "g")
        .with("clientId", "c")
        .with("msgId", sent.field("msgId").unwrap())
        .with("topic", "T");
    let held = world.hold(&request);
    let (_, question) = asked(&world);
    let Notice::ConsumeDirectly {
        message,
        record,
        broker,
        ..
    } = &question
    else {
        panic!("{question:?}");
    };
    assert_eq!(Some(message.as_str()), sent.field("msgId"));
    assert_eq!(broker, "broker-a");
    assert_eq!(crate::say::records(record)[0].body(), b"once more");
    let result = br#"{"autoCommit":true,"consumeResult":"CR_SUCCESS","order":false}"#.to_vec();
    let told = Command::response(0, SUCCESS).body(result.clone());
    answer(&world, CONSUMER, &question, told);
    assert_eq!(world.again(&held, Again::Woken).body, result);

    let nothing = but(request.clone(), "msgId", "7F000001000051AF00000000FFFFFFFF");
    assert_eq!(world.ask(nothing).code, SYSTEM_ERROR);
    let nonsense = but(request.clone(), "msgId", "x");
    assert_ne!(world.ask(nonsense).code, SUCCESS);
    let nobody = but(request, "clientId", "d");
    let text = "The Consumer <g> <d> not online";
    assert_eq!(world.ask(nobody).remark.as_deref(), Some(text));
}

#[test]
fn the_offsets_of_all_members_come_together() {
    let world = world();
    world.ask_on(6, beat("d", "g", "T", "*", 1));
    world.heard.notices.lock().unwrap().clear();
    let request = Command::request(223).with("group", "g").with("topic", "T");
    let held = world.hold(&request);
    let questions: Vec<(u64, Notice)> = world.heard.notices.lock().unwrap().drain(..).collect();
    assert_eq!(questions.len(), 2);
    for (to, question) in &questions {
        assert!(!world.is_woken(&held));
        let offset = to * 10;
        let body = format!(
            r#"{{"messageQueueTable":{{{{"brokerName":"broker-a","queueId":1,"topic":"T"}}:{offset}}}}}"#
        );
        let told = Command::response(0, SUCCESS).body(body.into_bytes());
        answer(&world, *to, question, told);
    }
    let got = world.again(&held, Again::Woken);
    assert_eq!(
        String::from_utf8(got.body).unwrap(),
        r#"{"consumerTable":{"c":{{"brokerName":"broker-a","queueId":1,"topic":"T"}:50},"d":{{"brokerName":"broker-a","queueId":1,"topic":"T"}:60}}}"#
    );
    let one = request.with("clientAddr", "d");
    let _held = world.hold(&one);
    assert_eq!(world.heard.notices.lock().unwrap().len(), 1);

    let told = world.ask(
        Command::request(223)
            .with("group", "none")
            .with("topic", "T"),
    );
    let text = "No Any Consumer online in the consumer group: [none]";
    assert_eq!(
        (told.code, told.remark.as_deref()),
        (SYSTEM_ERROR, Some(text))
    );
}

const PROPERTIES: &str =
    "MSG_TYPE\u{1}reply\u{2}REPLY_TO_CLIENT\u{1}c\u{2}UNIQ_KEY\u{1}K\u{2}CORRELATION_ID\u{1}x\u{2}";

fn reply(properties: &str) -> Command {
    let mut reply = but(
        send("DefaultCluster_REPLY_TOPIC", b"the reply"),
        "i",
        properties,
    );
    reply.code = 325;
    reply
}

#[test]
fn a_reply_goes_to_the_connection_its_client_has_now() {
    let world = world();
    world.ask_on(7, beat("c", "g", "T", "*", 1));
    world.heard.notices.lock().unwrap().clear();
    let held = world.hold(&reply(PROPERTIES));
    let (to, question) = asked(&world);
    assert_eq!(to, 7, "the newest one");
    let Notice::Reply { reply: pushed, .. } = &question else {
        panic!("{question:?}");
    };
    assert_eq!(pushed.body, b"the reply");
    assert_eq!(pushed.store_host.to_string(), crate::world::ADDRESS);
    assert_eq!(property(&pushed.properties, "CORRELATION_ID"), Some("x"));
    assert!(property(&pushed.properties, "PUSH_REPLY_TIME").is_some());
    answer(&world, 7, &question, Command::response(0, SUCCESS));
    let got = world.again(&held, Again::Woken);
    assert_eq!(got.code, SUCCESS);
    let names: Vec<&str> = got
        .ext
        .iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        ["msgId", "queueId", "queueOffset", "MSG_REGION", "TRACE_ON"]
    );
    assert_eq!(world.broker.max_offset("DefaultCluster_REPLY_TOPIC", 0), 1);

    world.broker.closed(ConnectionId(7));
    world.ask_on(8, beat("c", "g", "T", "*", 1));
    world.heard.notices.lock().unwrap().clear();
    let _held = world.hold(&reply(PROPERTIES));
    assert_eq!(asked(&world).0, 8);
}

/// The first request of a producer may come before its heartbeat: its reply finds it all the same.
#[test]
fn who_asked_is_known_before_its_first_heartbeat() {
    let world = world();
    let of = |client: &str| format!("REPLY_TO_CLIENT\u{1}{client}\u{2}CORRELATION_ID\u{1}x\u{2}");
    world.ask_on(9, send_with("T", 0, &of("early"), b"question"));
    let _held = world.hold(&reply(&of("early")));
    assert_eq!(asked(&world).0, 9);
    // Neither a client that passes a question on, nor one that replies, becomes who asked.
    world.ask_on(CONSUMER, send_with("T", 0, &of("passed on"), b"question"));
    let said = format!("MSG_TYPE\u{1}reply\u{2}{}", of("replied"));
    world.ask_on(10, send_with("T", 0, &said, b"answer"));
    world.broker.closed(ConnectionId(9));
    for client in ["passed on", "replied", "early"] {
        let told = world.ask(reply(&of(client)));
        let text = format!("push reply message fail, channel of <{client}> not found.");
        assert_eq!(told.remark, Some(text));
    }
}

#[test]
fn a_reply_that_reaches_nobody_is_refused_and_not_stored() {
    let world = world();
    let refused = |request: Command, text: &str| {
        let told = world.ask(request);
        assert_eq!(
            (told.code, told.remark.as_deref()),
            (SYSTEM_ERROR, Some(text))
        );
        assert_eq!(told.field("TRACE_ON"), Some("true"));
    };
    let unknown = "REPLY_TO_CLIENT\u{1}d\u{2}";
    refused(
        reply(unknown),
        "push reply message fail, channel of <d> not found.",
    );
    refused(
        reply(""),
        "reply message properties[REPLY_TO_CLIENT] is null",
    );
    let held = world.hold(&reply(PROPERTIES));
    let question = asked(&world).1;
    answer(
        &world,
        CONSUMER,
        &question,
        Command::response(0, SYSTEM_ERROR),
    );
    let told = world.again(&held, Again::Woken);
    assert_eq!(told.remark.as_deref(), Some("push reply message to cfail."));
    assert_eq!(world.broker.max_offset("DefaultCluster_REPLY_TOPIC", 0), 0);
}

#[test]
fn a_reply_that_is_not_to_be_stored_has_no_id() {
    let world = World::with(|options| options.store_replies = false);
    world.ask_on(CONSUMER, beat("c", "g", "T", "*", 1));
    world.heard.notices.lock().unwrap().clear();
    let long = |name: &str, value: &str, command: Command| command.with(name, value);
    let go = [
        ("producerGroup", "P"),
        ("topic", "DefaultCluster_REPLY_TOPIC"),
    ];
    let command = [
        ("defaultTopic", "TBW102"),
        ("defaultTopicQueueNums", "4"),
        ("queueId", "0"),
        ("sysFlag", "0"),
        ("bornTimestamp", "1"),
        ("flag", "0"),
        ("properties", PROPERTIES),
    ];
    let fields = go.into_iter().chain(command);
    let request = fields.fold(Command::request(324), |command, (name, value)| {
        long(name, value, command)
    });
    let held = world.hold(&request.body(b"r".to_vec()));
    let question = asked(&world).1;
    answer(&world, CONSUMER, &question, Command::response(0, SUCCESS));
    let got = world.again(&held, Again::Woken);
    assert_eq!((got.code, got.field("msgId")), (SUCCESS, Some("0")));
    assert_eq!(world.broker.max_offset("DefaultCluster_REPLY_TOPIC", 0), 0);
}

#[test]
fn a_question_without_its_fields_is_refused() {
    let world = world();
    for (request, field) in [(info("c"), "clientId"), (info("c"), "consumerGroup")] {
        let told = world.ask(without(request, field));
        assert_eq!(told.code, SYSTEM_ERROR);
        assert!(told.remark.unwrap().contains(field));
    }
}
