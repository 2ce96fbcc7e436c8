//! Pulls: the order of checks of Apache's `PullMessageProcessor`, what is found, and what is held.

use model::flag::Perm;
use remoting::Command;
use remoting::code::request::*;
use remoting::code::response::*;
use remoting::server::{Again, Door};

use crate::say::{self, beat, beat_as, but, create_group, create_topic, pull, send, send_with};
use crate::world::{ADDRESS, Said, World, peer};

/// A refusal: code, beginning of the remark, and who forbade it.
#[track_caller]
fn refused(answer: &Command, code: i32, remark: &str, forbidden: Option<&str>) {
    let text = answer.remark.as_deref().unwrap_or_default();
    assert!(
        answer.code == code && text.starts_with(remark),
        "{answer:?}"
    );
    assert_eq!(answer.field("forbiddenType"), forbidden);
    assert!(answer.ext.is_some() && answer.body.is_empty());
}

/// An answer of the four codes whose header Java decodes: all its mandatory fields are there.
#[track_caller]
fn found(answer: &Command, code: i32, status: &str, next: i64, min: i64, max: i64) {
    assert_eq!(
        (answer.code, answer.remark.as_deref()),
        (code, Some(status))
    );
    let number = |name| answer.field(name).unwrap().parse::<i64>().unwrap();
    let offsets = (
        number("nextBeginOffset"),
        number("minOffset"),
        number("maxOffset"),
    );
    assert_eq!(offsets, (next, min, max));
    assert_eq!(number("suggestWhichBrokerId"), 0);
    assert_eq!((number("topicSysFlag"), number("groupSysFlag")), (0, 0));
}

fn world_with(messages: usize) -> World {
    let world = World::new();
    world.ask(create_topic("T", 1, 6));
    for n in 0..messages {
        let answer = world.ask(send_with(
            "T",
            0,
            "TAGS\u{1}A\u{2}",
            format!("m{n}").as_bytes(),
        ));
        assert_eq!(answer.code, SUCCESS);
    }
    world
}

fn without_subscription(group: &str, version: i64) -> Command {
    let request = but(pull(group, "T", 0, 0), "sysFlag", 0);
    say::without(but(request, "subVersion", version), "subscription")
}

#[test]
fn check_1_a_broker_that_may_not_be_read_refuses() {
    let world = World::with(|options| options.permission = Perm(Perm::WRITE));
    let answer = world.ask(pull("g", "T", 0, 0));
    let text = format!("the broker[{ADDRESS}] pulling message is forbidden");
    refused(&answer, NO_PERMISSION, &text, Some("1"));
}

#[test]
fn check_2_lite_pulls_can_be_switched_off() {
    let world = World::with(|options| options.lite_pull = false);
    world.ask(create_topic("T", 1, 6));
    let mut lite = pull("g", "T", 0, 0);
    lite.code = LITE_PULL_MESSAGE;
    refused(&world.ask(lite), NO_PERMISSION, "the broker[", Some("1"));
    assert_eq!(world.ask(pull("g", "T", 0, 0)).code, PULL_NOT_FOUND);
}

#[test]
fn check_3_an_unknown_group_is_refused_if_it_may_not_be_made() {
    let world = World::with(|options| options.auto_create_groups = false);
    world.ask(create_topic("T", 1, 6));
    let text = "subscription group [g] does not exist, \nSee https://";
    refused(
        &world.ask(pull("g", "T", 0, 0)),
        SUBSCRIPTION_GROUP_NOT_EXIST,
        text,
        None,
    );
    // mqadmin's tools pull with a group that is always there.
    assert_eq!(
        world.ask(pull("TOOLS_CONSUMER", "T", 0, 0)).code,
        PULL_NOT_FOUND
    );
}

#[test]
fn check_4_a_group_can_be_switched_off() {
    let world = World::new();
    world.ask(create_topic("T", 1, 6));
    world.ask(create_group(r#"{"groupName":"g","consumeEnable":false}"#));
    let text = "subscription group no permission, g";
    refused(
        &world.ask(pull("g", "T", 0, 0)),
        NO_PERMISSION,
        text,
        Some("2"),
    );
}

#[test]
fn check_5_a_missing_topic_is_refused() {
    let text = "topic[T] not exist, apply first please! \nSee https://";
    refused(
        &World::new().ask(pull("g", "T", 0, 0)),
        TOPIC_NOT_EXIST,
        text,
        None,
    );
}

#[test]
fn check_6_a_topic_may_be_unreadable() {
    let world = World::new();
    world.ask(create_topic("T", 1, 2));
    let text = "the topic[T] pulling message is forbidden";
    refused(
        &world.ask(pull("g", "T", 0, 0)),
        NO_PERMISSION,
        text,
        Some("3"),
    );
}

#[test]
fn check_7_a_queue_that_is_not_there_is_refused() {
    let world = world_with(0);
    for queue in [-1, 1] {
        let text = format!(
            "queueId[{queue}] is illegal, topic:[T] topicConfig.readQueueNums:[1] consumer:[/127.0.0.1:40001]"
        );
        refused(
            &world.ask(pull("g", "T", queue, 0)),
            INVALID_PARAMETER,
            &text,
            None,
        );
    }
}

#[test]
fn check_8a_an_expression_of_an_unknown_kind_does_not_parse() {
    let world = world_with(1);
    let answer = world.ask(but(pull("g", "T", 0, 0), "expressionType", "XYZ"));
    let text = "parse the consumer's subscription failed";
    refused(&answer, SUBSCRIPTION_PARSE_FAILED, text, None);
}

#[test]
fn check_8b_a_group_without_members_has_no_subscription() {
    let world = world_with(1);
    let text = "the consumer's group info not exist";
    refused(
        &world.ask(without_subscription("g", 0)),
        SUBSCRIPTION_NOT_EXIST,
        text,
        None,
    );
}

#[test]
fn check_8c_a_group_may_be_kept_from_broadcasting() {
    let world = world_with(1);
    world.ask(create_group(
        r#"{"groupName":"g","consumeBroadcastEnable":false}"#,
    ));
    world.ask(beat_as("c", "g", "T", "*", 1, "BROADCASTING"));
    let text = "the consumer group[g] can not consume by broadcast way";
    refused(
        &world.ask(without_subscription("g", 1)),
        NO_PERMISSION,
        text,
        Some("4"),
    );
}

#[test]
fn check_8e_a_live_group_may_lack_the_topic() {
    let world = world_with(1);
    world.ask(beat("c", "g", "Other", "*", 1));
    let text = "the consumer's subscription not exist";
    refused(
        &world.ask(without_subscription("g", 1)),
        SUBSCRIPTION_NOT_EXIST,
        text,
        None,
    );
}

#[test]
fn check_8f_a_subscription_may_be_older_than_the_pull() {
    let world = world_with(1);
    world.ask(beat("c", "g", "T", "*", 5));
    let text = "the consumer's subscription not latest";
    refused(
        &world.ask(without_subscription("g", 6)),
        SUBSCRIPTION_NOT_LATEST,
        text,
        None,
    );
    assert_eq!(world.ask(without_subscription("g", 5)).code, SUCCESS);
}

#[test]
fn check_9_an_sql_expression_is_compiled_or_refused_with_the_reason() {
    let world = world_with(1);
    let asking = |expression: &str| {
        let request = but(pull("g", "T", 0, 0), "expressionType", "SQL92");
        world.ask(but(request, "subscription", expression))
    };
    let text = "parse the consumer's subscription failed: at character 3: found LIKE where AND, OR or the end should be (LIKE is not supported, use STARTSWITH, ENDSWITH or CONTAINS)";
    refused(
        &asking("a LIKE 'x%'"),
        SUBSCRIPTION_PARSE_FAILED,
        text,
        None,
    );
    found(&asking("a IS NULL"), SUCCESS, "FOUND", 1, 0, 1);
    found(
        &asking("a > 1"),
        PULL_RETRY_IMMEDIATELY,
        "NO_MATCHED_MESSAGE",
        1,
        0,
        1,
    );
    let check = |expression: &str| {
        let body = format!(
            r#"{{"clientId":"c","group":"g","subscriptionData":{{"topic":"T","subString":"{expression}","expressionType":"SQL92"}}}}"#
        );
        world.ask(Command::request(CHECK_CLIENT_CONFIG).body(body.into_bytes()))
    };
    let answer = check("a LIKE 'x%'");
    assert_eq!(
        (answer.code, answer.remark.as_deref()),
        (SUBSCRIPTION_PARSE_FAILED, Some(text))
    );
    assert_eq!(check("a > 1").code, SUCCESS);
}

#[test]
fn messages_are_found_and_the_next_offset_is_behind_them() {
    let world = world_with(3);
    found(&world.ask(pull("g", "T", 0, 1)), SUCCESS, "FOUND", 3, 0, 3);
    let one = world.ask(but(pull("g", "T", 0, 0), "maxMsgNums", 0));
    found(&one, SUCCESS, "FOUND", 1, 0, 3);
}

#[test]
fn what_a_filter_drops_is_passed_over_at_once() {
    let world = world_with(3);
    let request = but(pull("g", "T", 0, 0), "subscription", "Other");
    let answer = world.ask(but(request, "sysFlag", 4 | 2));
    found(
        &answer,
        PULL_RETRY_IMMEDIATELY,
        "NO_MATCHED_MESSAGE",
        3,
        0,
        3,
    );
}

#[test]
fn semantics_2_and_3_offsets_that_are_not_there_have_three_ways_to_go() {
    let world = world_with(3);
    let at = |offset| world.ask(pull("g", "T", 0, offset));
    found(&at(3), PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", 3, 0, 3);
    found(
        &at(5000),
        PULL_OFFSET_MOVED,
        "OFFSET_OVERFLOW_BADLY",
        3,
        0,
        3,
    );
    found(&at(-1), PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL", 0, 0, 3);
    let world = world_with(0);
    let at = |offset| world.ask(pull("g", "T", 0, offset));
    found(&at(0), PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE", 0, 0, 0);
    found(&at(5), PULL_OFFSET_MOVED, "NO_MESSAGE_IN_QUEUE", 0, 0, 0);
}

#[test]
fn a_moved_offset_is_reported_as_an_event() {
    let world = world_with(3);
    world.ask(pull("g", "T", 0, 5000));
    world.endpoint.broker().commit().unwrap();
    let event = world.ask(pull("TOOLS_CONSUMER", "OFFSET_MOVED_EVENT", 0, 0));
    assert_eq!(event.code, SUCCESS);
    let body = String::from_utf8_lossy(&event.body);
    assert!(body.contains(r#""consumerGroup":"g""#) && body.contains(r#""offsetRequest":5000"#));
}

#[test]
fn a_held_pull_is_woken_by_a_message_and_may_not_be_held_again() {
    let world = world_with(1);
    let held = world.hold(&but(pull("g", "T", 0, 1), "sysFlag", 4 | 2));
    assert!(!world.is_woken(&held));
    world.ask(send("T", b"x"));
    assert!(world.is_woken(&held));
    found(&world.again(&held, Again::Woken), SUCCESS, "FOUND", 2, 0, 2);
}

#[test]
fn a_held_pull_ends_with_its_time() {
    let world = world_with(1);
    let held = world.hold(&but(pull("g", "T", 0, 1), "sysFlag", 4 | 2));
    assert_eq!(held.limit.as_millis(), 15_000);
    let answer = world.again(&held, Again::Deadline);
    found(&answer, PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", 1, 0, 1);
}

#[test]
fn a_message_that_a_held_pull_does_not_want_leaves_it_alone() {
    let world = world_with(1);
    let request = but(pull("g", "T", 0, 1), "sysFlag", 4 | 2);
    let held = world.hold(&but(request, "subscription", "Wanted"));
    world.ask(send_with("T", 0, "TAGS\u{1}Other\u{2}", b"x"));
    assert!(!world.is_woken(&held));
    world.ask(send_with("T", 0, "TAGS\u{1}Wanted\u{2}", b"x"));
    assert!(world.is_woken(&held));
}

#[test]
fn a_commit_rides_on_a_pull_if_its_bit_says_so() {
    let world = world_with(3);
    let committed = || {
        let request = say::queue(QUERY_CONSUMER_OFFSET, "T", 0).with("consumerGroup", "g");
        world.ask(request.with("setZeroIfNotFound", false))
    };
    let request = but(pull("g", "T", 0, 0), "commitOffset", 2);
    world.ask(request.clone());
    assert_eq!(committed().code, QUERY_NOT_FOUND);
    world.ask(but(request, "sysFlag", 4 | 1));
    assert_eq!(committed().field("offset"), Some("2"));
}

/// Apache registers its pull processors on the main port only.
#[test]
fn the_fast_port_has_no_pulls() {
    let world = world_with(1);
    for code in [PULL_MESSAGE, LITE_PULL_MESSAGE] {
        let mut request = pull("g", "T", 0, 0);
        request.code = code;
        let Said::Answer(answer) = world.send(&peer(9, Door::Vip), &request.to_bytes()) else {
            panic!("held");
        };
        assert_eq!(answer.code, REQUEST_CODE_NOT_SUPPORTED);
        let text = format!(" request type {code} not supported");
        assert_eq!(answer.remark, Some(text));
    }
    let Said::Answer(answer) = world.send(&peer(9, Door::Vip), &send("T", b"x").to_bytes()) else {
        panic!("held");
    };
    assert_eq!(answer.code, SUCCESS);
}

#[test]
fn a_mandatory_field_that_is_missing_is_code_1() {
    let world = world_with(1);
    for field in [
        "consumerGroup",
        "topic",
        "queueId",
        "queueOffset",
        "maxMsgNums",
        "sysFlag",
        "commitOffset",
        "suspendTimeoutMillis",
        "subVersion",
    ] {
        let answer = world.ask(say::without(pull("g", "T", 0, 0), field));
        assert_eq!(answer.code, SYSTEM_ERROR, "{field}");
        assert!(answer.remark.unwrap().contains(field));
    }
}
