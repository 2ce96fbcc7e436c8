//! Topics, groups and their numbers, as administrators ask for them.

use model::flag::Perm;
use remoting::Command;
use remoting::body::{self, ConsumeStats, SubscriptionGroupConfig, TopicConfig, TopicStats};
use remoting::code::request::*;
use remoting::code::response::*;

use crate::say::{self, beat, but, create_group, create_topic, pull, send, send_with, topic};
use crate::world::{NOW, World};

fn config(world: &World, name: &str) -> TopicConfig {
    body::from_slice(&world.ask(topic(GET_TOPIC_CONFIG, name)).body).unwrap()
}

#[track_caller]
fn said(answer: &Command, code: i32, remark: &str) {
    let text = answer.remark.as_deref().unwrap_or_default();
    assert!(
        answer.code == code && text.starts_with(remark),
        "{code} {remark}: {answer:?}"
    );
}

#[test]
fn a_topic_is_made_changed_shown_and_deleted() {
    let world = World::new();
    assert_eq!(world.ask(create_topic("T", 4, 6)).code, SUCCESS);
    let before = config(&world, "T");
    assert_eq!((before.read_queue_nums, before.perm), (4, 6));
    assert_eq!(world.ask(create_topic("T", 8, 4)).code, SUCCESS);
    let after = config(&world, "T");
    assert_eq!((after.write_queue_nums, after.perm), (8, 4));
    assert_eq!(world.ask(topic(DELETE_TOPIC_IN_BROKER, "T")).code, SUCCESS);
    let answer = world.ask(topic(GET_TOPIC_CONFIG, "T"));
    said(
        &answer,
        TOPIC_NOT_EXIST,
        "No topic in this broker. topic: T",
    );
    assert!(!world.heard.registered.lock().unwrap().contains_key("T"));
    assert_eq!(world.ask(topic(DELETE_TOPIC_IN_BROKER, "T")).code, SUCCESS);
}

#[test]
fn the_stores_tables_are_nobodys_topic() {
    let name = "rmq_sys_POSTHOUSE_TABLES";
    for protect in [true, false] {
        let world = World::with(|options| options.protect_system_topics = protect);
        assert_eq!(world.ask(create_topic("T", 1, 6)).code, SUCCESS);
        let text = format!("The topic[{name}] is conflict with system topic.");
        for refused in [
            create_topic(name, 1, 6),
            topic(DELETE_TOPIC_IN_BROKER, name),
        ] {
            said(&world.ask(refused), INVALID_PARAMETER, &text);
        }
        let text = format!("Sending message to topic[{name}] is forbidden.");
        let mut batch = send(name, b"x");
        batch.code = SEND_BATCH_MESSAGE;
        for refused in [send(name, b"x"), batch] {
            said(&world.ask(refused), NO_PERMISSION, &text);
        }
        assert!(!world.heard.registered.lock().unwrap().contains_key(name));
        let registration = world.broker.registration();
        let mut topics = registration.topics.iter();
        assert!(topics.all(|topic| topic.name.as_str() != name));
        assert_eq!(config(&world, "T").read_queue_nums, 1, "the tables work");
    }
}

#[test]
fn the_brokers_own_topics_are_protected() {
    let world = World::new();
    for name in [
        "TBW102",
        "broker-a",
        "DefaultCluster",
        "rmq_sys_wheel_timer",
        "DefaultCluster_REPLY_TOPIC",
    ] {
        let text = format!("The topic[{name}] is conflict with system topic.");
        said(
            &world.ask(create_topic(name, 1, 6)),
            INVALID_PARAMETER,
            &text,
        );
        said(
            &world.ask(topic(DELETE_TOPIC_IN_BROKER, name)),
            INVALID_PARAMETER,
            &text,
        );
    }
    let blank = world.ask(Command::request(DELETE_TOPIC_IN_BROKER));
    said(&blank, INVALID_PARAMETER, "The specified topic is blank.");
    let bad = world.ask(create_topic("bad.name!", 1, 6));
    said(
        &bad,
        INVALID_PARAMETER,
        "The specified topic contains illegal characters",
    );
}

#[test]
fn attributes_are_taken_and_shown_without_their_sign() {
    let world = World::new();
    let with = |attributes| create_topic("T", 1, 6).with("attributes", attributes);
    assert_eq!(
        world
            .ask(with("+message.type=FIFO,+queue.type=SimpleCQ"))
            .code,
        SUCCESS
    );
    let shown = config(&world, "T").attributes;
    assert_eq!(shown["message.type"], "FIFO");
    assert_eq!(shown["queue.type"], "SimpleCQ");
    said(
        &world.ask(with("+nope=1")),
        SYSTEM_ERROR,
        "unsupported key: nope",
    );
    let other = create_topic("Other", 1, 6).with("attributes", "+queue.type=BatchCQ");
    said(&world.ask(other), SYSTEM_ERROR, "");
    said(
        &world.ask(topic(GET_TOPIC_CONFIG, "Other")),
        TOPIC_NOT_EXIST,
        "",
    );
}

#[test]
fn a_topic_without_a_filter_type_is_code_1() {
    let world = World::new();
    let answer = world.ask(say::without(create_topic("T", 1, 6), "topicFilterType"));
    assert_eq!(answer.code, SYSTEM_ERROR);
    let answer = world.ask(but(create_topic("T", 1, 6), "topicFilterType", "X"));
    said(&answer, SYSTEM_ERROR, "topicFilterType = [X] value invalid");
}

#[test]
fn a_list_of_topics_is_made_at_once_even_with_shared_objects() {
    let world = World::new();
    let list = r#"{"topicConfigList":[
        {"topicName":"A","readQueueNums":2,"writeQueueNums":2,"perm":6,"topicFilterType":"SINGLE_TAG","attributes":{"+message.type":"FIFO"}},
        {"topicName":"B","readQueueNums":2,"writeQueueNums":2,"perm":6,"topicFilterType":"SINGLE_TAG","attributes":{"$ref":"$.topicConfigList[0].attributes"}}]}"#;
    let request = Command::request(UPDATE_AND_CREATE_TOPIC_LIST).body(list.as_bytes().to_vec());
    assert_eq!(world.ask(request).code, SUCCESS);
    for name in ["A", "B"] {
        assert_eq!(config(&world, name).attributes["message.type"], "FIFO");
    }
}

#[test]
fn a_group_is_made_changed_shown_and_deleted() {
    let world = World::new();
    let show = |name: &str| -> SubscriptionGroupConfig {
        let request = Command::request(GET_SUBSCRIPTIONGROUP_CONFIG).with("group", name);
        body::from_slice(&world.ask(request).body).unwrap()
    };
    world.ask(create_group(
        r#"{"groupName":"g","retryMaxTimes":3,"consumeBroadcastEnable":false}"#,
    ));
    assert_eq!(
        (
            show("g").retry_max_times,
            show("g").consume_broadcast_enable
        ),
        (3, false)
    );
    let bad = world.ask(create_group(r#"{"groupName":"bad.group!"}"#));
    said(
        &bad,
        INVALID_PARAMETER,
        "The specified group contains illegal characters",
    );
    assert_eq!(world.ask(create_group("")).code, SYSTEM_ERROR);
    let list = r#"{"groupConfigList":[{"groupName":"x"},{"groupName":"y","consumeEnable":false}]}"#;
    let request = Command::request(UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST);
    assert_eq!(
        world.ask(request.body(list.as_bytes().to_vec())).code,
        SUCCESS
    );
    assert!(!show("y").consume_enable);
    let delete = Command::request(DELETE_SUBSCRIPTIONGROUP).with("groupName", "y");
    assert_eq!(world.ask(delete).code, SUCCESS);
    // Asking makes a missing group, as with Apache.
    assert!(show("y").consume_enable);
    let world = World::with(|options| options.auto_create_groups = false);
    let answer = world.ask(Command::request(GET_SUBSCRIPTIONGROUP_CONFIG).with("group", "g"));
    assert_eq!(answer.code, SUBSCRIPTION_GROUP_NOT_EXIST);
}

#[test]
fn offsets_of_queues_never_fail_on_what_is_not_there() {
    let world = World::new();
    for queue in [-1, 0, 99] {
        for code in [GET_MAX_OFFSET, GET_MIN_OFFSET] {
            let answer = world.ask(say::queue(code, "None", queue));
            assert_eq!((answer.code, answer.field("offset")), (SUCCESS, Some("0")));
        }
        let search = say::queue(SEARCH_OFFSET_BY_TIMESTAMP, "None", queue).with("timestamp", 1);
        assert_eq!(world.ask(search).field("offset"), Some("0"));
        let earliest = world.ask(say::queue(GET_EARLIEST_MSG_STORETIME, "None", queue));
        assert_eq!(earliest.field("timestamp"), Some("-1"));
    }
}

#[test]
fn an_offset_is_found_by_time() {
    let world = World::new();
    for _ in 0..3 {
        world.ask(send("T", b"x"));
        world.clock.advance(std::time::Duration::from_secs(1));
    }
    let at = |time: i64, boundary: &str| {
        let request = say::queue(SEARCH_OFFSET_BY_TIMESTAMP, "T", 0).with("timestamp", time);
        let answer = world.ask(request.with("boundaryType", boundary));
        answer.field("offset").unwrap().parse::<i64>().unwrap()
    };
    assert_eq!(at(0, "LOWER"), 0);
    assert_eq!(at(NOW + 500, "lower"), 1);
    assert_eq!(at(NOW + 500, "Upper"), 0);
    assert_eq!(at(NOW + 99_000, "LOWER"), 3);
    assert_eq!(at(NOW + 99_000, "UPPER"), 2);
    let earliest = world.ask(say::queue(GET_EARLIEST_MSG_STORETIME, "T", 0));
    assert_eq!(earliest.field("timestamp"), Some(NOW.to_string().as_str()));
}

#[test]
fn statistics_list_every_queue_of_a_topic() {
    let world = World::new();
    world.ask(create_topic("T", 4, 6));
    let stats = |name| world.ask(topic(GET_TOPIC_STATS_INFO, name));
    let empty: TopicStats = body::from_slice(&stats("T").body).unwrap();
    assert_eq!(empty.offset_table.0.len(), 4);
    world.ask(send_with("T", 2, "", b"x"));
    let table: TopicStats = body::from_slice(&stats("T").body).unwrap();
    let queue = table
        .offset_table
        .0
        .iter()
        .find(|(queue, _)| queue.queue_id == 2);
    let (_, range) = queue.unwrap();
    assert_eq!((range.min_offset, range.max_offset), (0, 1));
    assert_eq!(range.last_update_timestamp, NOW);
    said(&stats("None"), TOPIC_NOT_EXIST, "topic[None] not exist");
}

#[test]
fn progress_of_a_group_counts_what_is_left() {
    let world = World::new();
    world.ask(beat("c", "g", "T", "*", 1));
    (0..3).for_each(|_| drop(world.ask(send("T", b"x"))));
    world.ask(but(pull("g", "T", 0, 0), "maxMsgNums", 2));
    let commit = say::queue(UPDATE_CONSUMER_OFFSET, "T", 0).with("consumerGroup", "g");
    world.ask(commit.with("commitOffset", 1));
    let request = Command::request(GET_CONSUME_STATS).with("consumerGroup", "g");
    for request in [
        request.clone(),
        request.clone().with("topic", "T"),
        request.with("topicList", "T;Other"),
    ] {
        let stats: ConsumeStats = body::from_slice(&world.ask(request).body).unwrap();
        let queue = stats
            .offset_table
            .0
            .iter()
            .find(|(queue, _)| queue.queue_id == 0);
        let (_, progress) = queue.unwrap();
        assert_eq!((progress.broker_offset, progress.consumer_offset), (3, 1));
        assert_eq!(progress.pull_offset, 2);
    }
    let who = world.ask(topic(QUERY_TOPIC_CONSUME_BY_WHO, "T"));
    assert_eq!(who.body, br#"{"groupList":["g"]}"#);
}

#[test]
fn members_and_producers_are_shown_with_address_language_and_version() {
    let world = World::new();
    world.ask_on(3, beat("c", "g", "T", "A || B", 1));
    let request = Command::request(GET_CONSUMER_CONNECTION_LIST).with("consumerGroup", "g");
    let text = String::from_utf8(world.ask(request).body).unwrap();
    let member =
        r#"{"clientAddr":"127.0.0.1:40003","clientId":"c","language":"JAVA","version":479}"#;
    assert!(text.contains(member), "{text}");
    assert!(
        text.contains(r#""T":{"classFilterMode":false,"codeSet":["#),
        "{text}"
    );
    let request = |group: &str| {
        let request = Command::request(GET_PRODUCER_CONNECTION_LIST);
        world.ask(request.with("producerGroup", group))
    };
    let text = String::from_utf8(request("CLIENT_INNER_PRODUCER").body).unwrap();
    assert_eq!(text, format!(r#"{{"connectionSet":[{member}]}}"#));
    said(
        &request("none"),
        SYSTEM_ERROR,
        "the producer group[none] not exist",
    );
    let request = Command::request(GET_CONSUMER_CONNECTION_LIST).with("consumerGroup", "none");
    said(
        &world.ask(request),
        CONSUMER_NOT_ONLINE,
        "the consumer group[none] not online",
    );
}

#[test]
fn heartbeats_that_are_no_json_are_code_1() {
    let world = World::new();
    for body in ["", "nonsense", "{", "7"] {
        let answer = world.ask(Command::request(HEART_BEAT).body(body.as_bytes().to_vec()));
        assert_eq!(answer.code, SYSTEM_ERROR, "{body}");
    }
    assert_eq!(
        world
            .ask(Command::request(HEART_BEAT).body(b"{}".to_vec()))
            .code,
        SUCCESS
    );
}

#[test]
fn filters_that_are_tags_or_nothing_may_start() {
    let world = World::new();
    let check = |body: &str| {
        world.ask(Command::request(CHECK_CLIENT_CONFIG).body(body.as_bytes().to_vec()))
    };
    assert_eq!(check("").code, SUCCESS);
    assert_eq!(check(r#"{"clientId":"c","group":"g"}"#).code, SUCCESS);
    assert_eq!(
        check(r#"{"subscriptionData":{"topic":"T","subString":"A","expressionType":"TAG"}}"#).code,
        SUCCESS
    );
}

#[test]
fn the_configuration_is_lines_of_properties() {
    let world = World::with(|options| {
        options.permission = Perm::READ_WRITE;
        options.shown = vec![("b".into(), "2".into()), ("a".into(), "1".into())];
    });
    let answer = world.ask(Command::request(GET_BROKER_CONFIG));
    assert_eq!(answer.body, b"a=1\nb=2\n");
}

#[test]
fn system_topics_are_listed() {
    let answer = World::new().ask(Command::request(GET_SYSTEM_TOPIC_LIST_FROM_BROKER));
    let list: body::TopicList = body::from_slice(&answer.body).unwrap();
    for name in [
        "TBW102",
        "broker-a",
        "DefaultCluster",
        "SCHEDULE_TOPIC_XXXX",
    ] {
        assert!(list.topic_list.iter().any(|topic| topic == name), "{name}");
    }
}

#[test]
fn a_query_without_a_match_is_22_with_both_fields() {
    let world = World::new();
    let query = Command::request(QUERY_MESSAGE)
        .with("topic", "T")
        .with("key", "none")
        .with("maxNum", 64)
        .with("beginTimestamp", 0)
        .with("endTimestamp", i64::MAX);
    let answer = world.ask(query);
    said(
        &answer,
        QUERY_NOT_FOUND,
        "can not find message, maybe time range not correct",
    );
    assert_eq!(answer.field("indexLastUpdateTimestamp"), Some("0"));
    assert_eq!(answer.field("indexLastUpdatePhyoffset"), Some("0"));
}

#[test]
fn the_subscriptions_of_a_group_are_kept_as_they_came() {
    let world = World::new();
    let set = r#"[{"expression":"a","expressionType":"TAG","topic":"T","version":7}]"#;
    let with =
        |set: &str| format!(r#"{{"groupName":"g","subscriptionDataSet":{set}}}"#).into_bytes();
    let update = Command::request(UPDATE_AND_CREATE_SUBSCRIPTIONGROUP);
    assert_eq!(world.ask(update.clone().body(with(set))).code, SUCCESS);
    for request in [
        Command::request(GET_SUBSCRIPTIONGROUP_CONFIG).with("group", "g"),
        Command::request(GET_ALL_SUBSCRIPTIONGROUP_CONFIG),
    ] {
        let body = String::from_utf8(world.ask(request).body).unwrap();
        assert!(
            body.contains(&format!("\"subscriptionDataSet\":{set}")),
            "{body}"
        );
    }
    let long = format!("[\"{}\"]", "x".repeat(64 << 10));
    let answer = world.ask(update.body(with(&long)));
    said(
        &answer,
        INVALID_PARAMETER,
        "subscriptionDataSet may have 65536 bytes",
    );
}
