//! The traps that Apache's clients set for a broker: one test each, numbered as in the list they come
//! from (framing and calls, what clients rely on, the Go client). Those that are a server's affair are
//! tested in `remoting`, those of name servers in `namesrv`.

use broker::Notice;
use model::record::View;
use remoting::body::{self, ConsumerConnection, ConsumerIds, LockAnswer};
use remoting::code::request::*;
use remoting::code::response::*;
use remoting::server::{Again, Door, Service};
use remoting::{Command, Serialize};

use crate::say::{self, beat, beat_as, but, create_topic, pull, send, send_with, topic};
use crate::world::{ADDRESS, World, peer};

/// One request of every code that is answered without anything being there.
fn one_of_each() -> Vec<Command> {
    let q = |code| say::queue(code, "T", 0).with("consumerGroup", "g");
    let group = |code| Command::request(code).with("consumerGroup", "g");
    vec![
        send("T", b"x"),
        pull("g", "T", 0, 0),
        q(QUERY_CONSUMER_OFFSET),
        q(UPDATE_CONSUMER_OFFSET).with("commitOffset", 1),
        q(SEARCH_OFFSET_BY_TIMESTAMP).with("timestamp", 0),
        q(GET_MAX_OFFSET),
        q(GET_MIN_OFFSET),
        q(GET_EARLIEST_MSG_STORETIME),
        Command::request(VIEW_MESSAGE_BY_ID).with("offset", 77),
        beat("c", "g", "T", "*", 1),
        group(GET_CONSUMER_LIST_BY_GROUP),
        group(GET_CONSUMER_CONNECTION_LIST),
        group(GET_CONSUME_STATS),
        Command::request(GET_PRODUCER_CONNECTION_LIST)
            .with("producerGroup", "CLIENT_INNER_PRODUCER"),
        create_topic("T", 4, 6),
        topic(GET_TOPIC_CONFIG, "T"),
        topic(GET_TOPIC_STATS_INFO, "T"),
        topic(QUERY_TOPIC_CONSUME_BY_WHO, "T"),
        topic(DELETE_TOPIC_IN_BROKER, "Gone"),
        Command::request(GET_SUBSCRIPTIONGROUP_CONFIG).with("group", "g"),
        Command::request(DELETE_SUBSCRIPTIONGROUP).with("groupName", "gone"),
        Command::request(GET_ALL_TOPIC_CONFIG),
        Command::request(GET_ALL_SUBSCRIPTIONGROUP_CONFIG),
        Command::request(GET_ALL_CONSUMER_OFFSET),
        Command::request(GET_SYSTEM_TOPIC_LIST_FROM_BROKER),
        Command::request(GET_BROKER_RUNTIME_INFO),
        Command::request(GET_BROKER_CONFIG),
        Command::request(9999),
    ]
}

fn number(answer: &Command, name: &str) -> i64 {
    answer.field(name).unwrap().parse().unwrap()
}

fn ids(world: &World, group: &str) -> Vec<String> {
    let request = Command::request(GET_CONSUMER_LIST_BY_GROUP).with("consumerGroup", group);
    let answer = world.ask(request);
    if answer.code != SUCCESS {
        return Vec::new();
    }
    body::from_slice::<ConsumerIds>(&answer.body)
        .unwrap()
        .consumer_id_list
}

fn notified(world: &World) -> Vec<u64> {
    let mut notices = world.heard.notices.lock().unwrap();
    let told = notices.drain(..);
    told.map(|(connection, notice)| {
        assert!(matches!(notice, Notice::IdsChanged { .. }));
        connection
    })
    .collect()
}

#[test]
fn framing_1_3_7_8_every_answer_echoes_and_says_what_clients_need() {
    let world = World::new();
    for serialize in [Serialize::Json, Serialize::Binary] {
        for (n, mut request) in one_of_each().into_iter().enumerate() {
            request.serialize = serialize;
            request.opaque = -7 - n as i32;
            let answer = world.ask(request.clone());
            assert_eq!(answer.opaque, request.opaque);
            assert_eq!(answer.flag, 1, "{request:?}");
            assert_eq!(answer.serialize, serialize);
            assert!(answer.version >= 413);
            assert_eq!(answer.language.name(), "JAVA");
        }
    }
}

#[test]
fn framing_2_a_held_pull_does_not_keep_others_waiting() {
    let world = World::new();
    world.ask(create_topic("T", 1, 6));
    let held = world.hold(&but(pull("g", "T", 0, 0), "sysFlag", 4 | 2));
    assert_eq!(world.ask(beat("c", "g", "T", "*", 1)).code, SUCCESS);
    assert_eq!(world.again(&held, Again::Deadline).code, PULL_NOT_FOUND);
}

#[test]
fn framing_5_an_unknown_code_is_answered_3() {
    let world = World::new();
    for code in [9999, 13, 105, 200_056, -1] {
        let answer = world.ask(Command::request(code));
        assert_eq!(answer.code, REQUEST_CODE_NOT_SUPPORTED);
        assert_eq!(
            answer.remark,
            Some(format!(" request type {code} not supported"))
        );
    }
}

#[test]
fn framing_6_field_values_are_strings() {
    let world = World::new();
    let answer = world.ask(send("T", b"x")).to_bytes();
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains(r#""queueId":"0""#) && text.contains(r#""TRACE_ON":"true""#));
}

#[test]
fn framing_10_and_semantics_23_one_connection_carries_several_groups_of_one_client() {
    let world = World::new();
    for group in ["a", "b"] {
        world.ask(beat("c", group, "T", "*", 1));
        assert_eq!(ids(&world, group), ["c"]);
    }
    let leave = Command::request(UNREGISTER_CLIENT).with("clientID", "c");
    world.ask(leave.with("consumerGroup", "a"));
    assert!(ids(&world, "a").is_empty());
    assert_eq!(ids(&world, "b"), ["c"]);
}

#[test]
fn framing_11_a_client_with_two_connections_is_one_member_and_lives_with_the_newer() {
    let world = World::new();
    world.ask_on(1, beat("c", "g", "T", "*", 1));
    world.ask_on(2, beat("c", "g", "T", "*", 1));
    assert_eq!(ids(&world, "g"), ["c"]);
    world.endpoint.closed(&peer(1, Door::Main));
    assert_eq!(ids(&world, "g"), ["c"]);
    world.endpoint.closed(&peer(2, Door::Main));
    assert!(ids(&world, "g").is_empty());
}

#[test]
fn framing_12_a_success_needs_no_remark() {
    let world = World::new();
    assert_eq!(world.ask(send("T", b"x")).remark, None);
}

#[test]
fn framing_13_and_go_9_a_closed_connection_leaves_its_groups() {
    let world = World::new();
    world.ask_on(1, beat("a", "g", "T", "*", 1));
    world.ask_on(2, beat("b", "g", "T", "*", 1));
    notified(&world);
    world.endpoint.closed(&peer(1, Door::Main));
    assert_eq!(ids(&world, "g"), ["b"]);
    assert_eq!(notified(&world), [2]);
}

#[test]
fn framing_14_bodies_that_are_parsed_are_there_even_if_empty() {
    let world = World::new();
    let stats = Command::request(GET_CONSUME_STATS).with("consumerGroup", "never");
    assert_eq!(
        world.ask(stats).body,
        br#"{"consumeTps":0.0,"offsetTable":{}}"#
    );
    let who = world.ask(topic(QUERY_TOPIC_CONSUME_BY_WHO, "never"));
    assert_eq!(who.body, br#"{"groupList":[]}"#);
}

#[test]
fn framing_15_fields_may_be_missing_altogether() {
    let world = World::new();
    for code in [
        GET_BROKER_RUNTIME_INFO,
        GET_BROKER_CONFIG,
        GET_ALL_TOPIC_CONFIG,
    ] {
        let request = Command::request(code);
        assert_eq!(request.ext, None);
        assert_eq!(world.ask(request).code, SUCCESS);
    }
    for code in [
        SEND_MESSAGE,
        PULL_MESSAGE,
        GET_MAX_OFFSET,
        UPDATE_AND_CREATE_TOPIC,
    ] {
        assert_eq!(world.ask(Command::request(code)).code, SYSTEM_ERROR);
    }
}

#[test]
fn semantics_1_a_pull_that_may_wait_is_held_for_less_than_30_seconds() {
    let world = World::new();
    world.ask(create_topic("T", 1, 6));
    let request = but(pull("g", "T", 0, 0), "sysFlag", 4 | 2);
    let held = world.hold(&but(request, "suspendTimeoutMillis", 600_000));
    assert!(held.limit.as_secs() < 30);
}

#[test]
fn semantics_4_slaves_are_never_suggested() {
    let world = World::new();
    world.ask(send("T", b"x"));
    let answer = world.ask(pull("g", "T", 0, 0));
    assert_eq!(number(&answer, "suggestWhichBrokerId"), 0);
}

#[test]
fn semantics_5_an_unknown_offset_is_22_unless_the_queue_is_young() {
    let world = World::with(|options| options.in_memory = 0);
    world.ask(create_topic("T", 1, 6));
    let request = say::queue(QUERY_CONSUMER_OFFSET, "T", 0).with("consumerGroup", "g");
    let answer = world.ask(request.clone());
    assert_eq!(answer.code, QUERY_NOT_FOUND);
    let text = "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first";
    assert_eq!(answer.remark.as_deref(), Some(text));
    let young = World::new();
    young.ask(send("T", b"x"));
    assert_eq!(young.ask(request.clone()).field("offset"), Some("0"));
    let answer = young.ask(request.with("setZeroIfNotFound", false));
    assert_eq!(answer.code, QUERY_NOT_FOUND);
    let text = "Not found, do not set to zero, maybe this group boot first";
    assert_eq!(answer.remark.as_deref(), Some(text));
}

fn commit(offset: i64) -> Command {
    let request = say::queue(UPDATE_CONSUMER_OFFSET, "T", 0).with("consumerGroup", "g");
    request.with("commitOffset", offset)
}

#[test]
fn semantics_6_offsets_may_go_backwards() {
    let world = World::new();
    world.ask(beat("c", "g", "T", "*", 1));
    (0..3).for_each(|_| assert_eq!(world.ask(send("T", b"x")).code, SUCCESS));
    let query = say::queue(QUERY_CONSUMER_OFFSET, "T", 0).with("consumerGroup", "g");
    for offset in [3, 1] {
        assert_eq!(world.ask(commit(offset)).code, SUCCESS);
        assert_eq!(number(&world.ask(query.clone()), "offset"), offset);
    }
}

#[test]
fn a_commit_is_refused_without_its_group_its_topic_or_its_queue() {
    let world = World::new();
    let answer = world.ask(commit(1));
    assert_eq!(answer.code, SUBSCRIPTION_GROUP_NOT_EXIST);
    assert_eq!(answer.remark.as_deref(), Some("Group g not exist!"));
    world.ask(beat("c", "g", "Other", "*", 1));
    let answer = world.ask(commit(1));
    assert_eq!(answer.code, TOPIC_NOT_EXIST);
    assert_eq!(answer.remark.as_deref(), Some("Topic T not exist!"));
    world.ask(create_topic("T", 1, 6));
    let answer = world.ask(say::without(commit(1), "queueId"));
    assert_eq!(answer.code, INVALID_PARAMETER);
    assert_eq!(
        answer.remark.as_deref(),
        Some("QueueId is null, topic is T")
    );
    let answer = world.ask(say::without(commit(1), "commitOffset"));
    assert_eq!(answer.code, INVALID_PARAMETER);
}

#[test]
fn semantics_7_pulls_before_the_heartbeat_get_24() {
    let world = World::new();
    world.ask(send("T", b"x"));
    let request = but(pull("g", "T", 0, 0), "sysFlag", 0);
    assert_eq!(world.ask(request.clone()).code, SUBSCRIPTION_NOT_EXIST);
    world.ask(beat("c", "g", "T", "*", 0));
    assert_eq!(world.ask(request).code, SUCCESS);
}

#[test]
fn semantics_8_a_pull_without_subscription_is_filtered_by_its_heartbeat() {
    let world = World::new();
    for tag in ["A", "B"] {
        let tags = format!("TAGS\u{1}{tag}\u{2}");
        world.ask(send_with("T", 0, &tags, tag.as_bytes()));
    }
    world.ask_on(1, beat("a", "g", "T", "A", 1));
    world.ask_on(2, beat("b", "g", "T", "B", 2));
    // Each connection's own: not the group's last.
    for (connection, tag) in [(1, "A"), (2, "B")] {
        let request = but(pull("g", "T", 0, 0), "sysFlag", 0);
        let answer = world.ask_on(connection, request);
        let found: Vec<_> = say::records(&answer.body).iter().map(View::body).collect();
        assert_eq!(found, [tag.as_bytes()]);
    }
}

#[test]
fn members_that_differ_are_reported_to_their_heartbeats_and_to_203() {
    let world = World::new();
    world.ask_on(1, beat("a", "g", "T", "A", 1));
    let answer = world.ask_on(2, beat("b", "g", "T", "B", 2));
    assert!(answer.remark.is_some());
    let request = Command::request(GET_CONSUMER_CONNECTION_LIST).with("consumerGroup", "g");
    let found: ConsumerConnection = body::from_slice(&world.ask(request).body).unwrap();
    assert!(found.subscription_divergence.is_some());
    assert_eq!(found.connection_set.len(), 2);
}

#[test]
fn semantics_9_the_retry_topic_is_registered_before_the_heartbeat_is_answered() {
    let world = World::new();
    world.ask(beat("c", "g", "T", "*", 1));
    let registered = world.heard.registered.lock().unwrap();
    let retry = &registered["%RETRY%g"];
    assert_eq!((retry.read_queues, retry.perm.0), (1, 6));
}

#[test]
fn semantics_10_a_client_is_listed_straight_after_its_heartbeat() {
    let world = World::new();
    world.ask(beat("c", "g", "T", "*", 1));
    assert_eq!(ids(&world, "g"), ["c"]);
    let request = Command::request(GET_CONSUMER_LIST_BY_GROUP).with("consumerGroup", "never");
    let answer = world.ask(request);
    assert_eq!(answer.code, SYSTEM_ERROR);
    assert_eq!(
        answer.remark.as_deref(),
        Some("no consumer for this group, never")
    );
}

#[test]
fn semantics_11_locked_queues_come_back_exactly_as_asked() {
    let world = World::new();
    let lock = |client: &str, queues: &str| {
        let body = format!(r#"{{"clientId":"{client}","consumerGroup":"g","mqSet":[{queues}]}}"#);
        let answer = world.ask(Command::request(LOCK_BATCH_MQ).body(body.into_bytes()));
        String::from_utf8(answer.body).unwrap()
    };
    let zero = r#"{"brokerName":"broker-a","queueId":0,"topic":"T"}"#;
    let one = r#"{"brokerName":"broker-a","queueId":1,"topic":"T"}"#;
    assert_eq!(lock("a", zero), format!(r#"{{"lockOKMQSet":[{zero}]}}"#));
    assert_eq!(
        lock("b", &format!("{zero},{one}")),
        format!(r#"{{"lockOKMQSet":[{one}]}}"#)
    );
    let body = format!(r#"{{"clientId":"a","consumerGroup":"g","mqSet":[{zero}]}}"#);
    let unlock = Command::request(UNLOCK_BATCH_MQ).body(body.into_bytes());
    assert_eq!(world.ask(unlock).code, SUCCESS);
    let answer: LockAnswer = body::from_slice(lock("b", zero).as_bytes()).unwrap();
    assert_eq!(answer.locked.len(), 1);
}

#[test]
fn semantics_13_14_15_ids_embed_a_growing_log_offset_and_the_advertised_address() {
    let world = World::new();
    let mut last = 0;
    for n in 0..3 {
        let answer = world.ask(send("T", format!("m{n}").as_bytes()));
        let id = answer.field("msgId").unwrap();
        let (host, offset) = model::id::parse_offset_id(id).unwrap();
        assert_eq!(host.to_string(), ADDRESS);
        assert!(n == 0 || offset.0 > last);
        last = offset.0;
        let view = Command::request(VIEW_MESSAGE_BY_ID).with("offset", last);
        let answer = world.ask(view);
        let record = View::parse(&answer.body).unwrap();
        assert_eq!(record.body(), format!("m{n}").as_bytes());
        assert_eq!(record.log_offset().0, last);
    }
    let view = Command::request(VIEW_MESSAGE_BY_ID).with("offset", last + 1);
    let answer = world.ask(view);
    assert_eq!(answer.code, SYSTEM_ERROR);
    let text = format!("can not find message by the offset, {}", last + 1);
    assert_eq!(answer.remark, Some(text));
}

#[test]
fn semantics_16_and_go_7_keys_keep_their_case_and_foreign_properties_pass_through() {
    let world = World::new();
    let properties = "UNIQ_KEY\u{1}7F00aBcD\u{2}SHARDING_KEY\u{1}s\u{2}";
    world.ask(send_with("T", 0, properties, b"x"));
    let answer = world.ask(pull("g", "T", 0, 0));
    let record = View::parse(&answer.body).unwrap();
    let value = |name| record.property(name);
    assert_eq!(value("UNIQ_KEY"), Some("7F00aBcD"));
    assert_eq!(value("SHARDING_KEY"), Some("s"));
}

#[test]
fn semantics_19_20_broadcasting_members_are_not_told_and_producers_neither() {
    let world = World::new();
    world.ask_on(1, beat_as("a", "g", "T", "*", 1, "BROADCASTING"));
    world.ask_on(2, beat_as("b", "g", "T", "*", 1, "BROADCASTING"));
    let producer = br#"{"clientID":"p","producerDataSet":[{"groupName":"P"}]}"#;
    world.ask_on(3, Command::request(HEART_BEAT).body(producer.to_vec()));
    assert!(notified(&world).is_empty());
    world.ask_on(4, beat("a", "h", "T", "*", 1));
    notified(&world);
    world.ask_on(5, beat("b", "h", "T", "*", 1));
    let mut told = notified(&world);
    told.dedup();
    assert_eq!(told, [4]);
}

/// Found with the Java 5 client: told before the answer, it was "not latest" for half a minute.
#[test]
fn who_joins_is_told_of_it_behind_the_answer_to_its_heartbeat() {
    let world = World::new();
    world.ask_on(1, beat("a", "g", "T", "*", 1));
    assert!(notified(&world).is_empty());
    let behind = Command::decode(&world.unasked.lock().unwrap()).unwrap();
    assert_eq!((behind.code, behind.flag), (40, 2));
    assert_eq!(behind.field("consumerGroup"), Some("g"));
    world.ask_on(1, beat("a", "g", "T", "*", 1));
    assert!(world.unasked.lock().unwrap().is_empty());
}

#[test]
fn semantics_21_22_the_template_is_registered_and_gives_a_client_the_queues_it_counts_on() {
    let world = World::new();
    let registration = world.broker.registration();
    let template = registration
        .topics
        .iter()
        .find(|topic| topic.name.as_str() == "TBW102");
    let template = template.unwrap();
    assert_eq!((template.perm.0, template.read_queues), (7, 8));
    for queue in 0..4 {
        assert_eq!(world.ask(send_with("New", queue, "", b"x")).code, SUCCESS);
    }
}

#[test]
fn semantics_24_unit_mode_is_flag_bits_only() {
    let world = World::new();
    assert_eq!(world.ask(but(send("T", b"x"), "k", true)).code, SUCCESS);
    let config: body::TopicConfig =
        body::from_slice(&world.ask(topic(GET_TOPIC_CONFIG, "T")).body).unwrap();
    assert_eq!(config.topic_sys_flag & 1, 1);
}

#[test]
fn semantics_26_a_client_may_create_a_topic() {
    let world = World::new();
    let request = say::without(create_topic("T", 4, 6), "topicSysFlag");
    assert_eq!(world.ask(request).code, SUCCESS);
    assert!(world.heard.registered.lock().unwrap().contains_key("T"));
}

#[test]
fn semantics_27_a_queue_count_that_shrank_still_takes_what_is_read() {
    let world = World::new();
    world.ask(create_topic("T", 4, 6));
    world.ask(but(create_topic("T", 4, 6), "writeQueueNums", 1));
    assert_eq!(world.ask(send_with("T", 3, "", b"x")).code, SUCCESS);
}

#[test]
fn semantics_29_a_heartbeat_without_subscriptions_keeps_them() {
    let world = World::new();
    let beat = |fingerprint: i32, without: bool| {
        let subscriptions = match without {
            true => "",
            false => r#"{"topic":"T","subString":"*","subVersion":1}"#,
        };
        let body = format!(
            r#"{{"clientID":"c","heartbeatFingerprint":{fingerprint},"withoutSub":{without},"consumerDataSet":[{{"groupName":"g","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","subscriptionDataSet":[{subscriptions}]}}]}}"#
        );
        let answer = world.ask(Command::request(HEART_BEAT).body(body.into_bytes()));
        assert_eq!(answer.field("IS_SUPPORT_HEART_BEAT_V2"), Some("true"));
        answer.field("IS_SUB_CHANGE").unwrap().to_owned()
    };
    assert_eq!(beat(7, false), "false");
    assert_eq!(beat(7, true), "false");
    world.ask(send("T", b"x"));
    let request = but(pull("g", "T", 0, 0), "sysFlag", 0);
    assert_eq!(world.ask(request).code, SUCCESS);
    assert_eq!(beat(8, true), "true");
    // The first version has no fingerprint, and is always asked for everything.
    assert_eq!(beat(0, false), "true");
}

#[test]
fn go_1_a_commit_that_is_not_one_way_is_answered() {
    let world = World::new();
    world.ask(beat("c", "g", "T", "*", 1));
    world.ask(create_topic("T", 1, 6));
    let answer = world.ask(commit(0));
    assert_eq!((answer.code, answer.ext), (SUCCESS, Some(Vec::new())));
}

#[test]
fn go_2_a_send_with_long_names_is_a_send() {
    let world = World::new();
    let request = Command::request(SEND_MESSAGE)
        .with("producerGroup", "P")
        .with("topic", "T")
        .with("defaultTopic", "TBW102")
        .with("defaultTopicQueueNums", 4)
        .with("queueId", 1)
        .with("sysFlag", 0)
        .with("bornTimestamp", 1)
        .with("flag", 0)
        .with("properties", "")
        .with("reconsumeTimes", 0)
        .with("unitMode", false)
        .with("maxReconsumeTimes", 0)
        .with("batch", false)
        .body(b"old".to_vec());
    let answer = world.ask(request);
    assert_eq!((answer.code, number(&answer, "queueId")), (SUCCESS, 1));
}

#[test]
fn go_5_hashes_as_strings_and_versions_in_nanoseconds() {
    let world = World::new();
    for tag in ["A", "B"] {
        let tags = format!("TAGS\u{1}{tag}\u{2}");
        world.ask(send_with("T", 0, &tags, tag.as_bytes()));
    }
    let body = r#"{"clientID":"go","consumerDataSet":[{"groupName":"g","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","subscriptionDataSet":[{"topic":"T","subString":"B","tagsSet":["B"],"codeSet":["66"],"subVersion":1795528075618000000,"expressionType":"TAG"}]}],"producerDataSet":[]}"#;
    world.ask(Command::request(HEART_BEAT).body(body.as_bytes().to_vec()));
    let request = but(pull("g", "T", 0, 0), "sysFlag", 0);
    let answer = world.ask(but(request, "subVersion", 1_795_528_075_618_000_000i64));
    let found: Vec<_> = say::records(&answer.body).iter().map(View::body).collect();
    assert_eq!(found, [b"B"]);
}

/// Go drops a property that is not exactly a name, a 1 and a value; whatever the client's string ended
/// with, ours follow it whole.
#[test]
fn go_8_stored_properties_are_whole_even_after_a_string_of_java_4_9() {
    let world = World::new();
    world.ask(send_with("T", 0, "KEYS\u{1}k\u{2}TAGS\u{1}A", b"x"));
    let answer = world.ask(pull("g", "T", 0, 0));
    let record = View::parse(&answer.body).unwrap();
    for segment in record.stored_properties().split_terminator('\u{2}') {
        assert_eq!(segment.matches('\u{1}').count(), 1, "{segment:?}");
    }
    for name in [
        "KEYS",
        "TAGS",
        "MSG_REGION",
        "TRACE_ON",
        "CLUSTER",
        "UNIQ_KEY",
        "__CRC32#",
    ] {
        let value = model::message::property(record.stored_properties(), name);
        assert!(value.is_some(), "{name}");
    }
}
