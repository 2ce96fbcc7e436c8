//! Pulls: each row of the table of checks, each result, and who is woken when.

use broker::{AskedFor, Caller, Error, MessageModel, Produce, Pull, Verdict};
use model::flag::Perm;
use model::group::GroupConfig;
use model::{GroupName, QueueOffset};

use crate::house::{House, bodies, caller, consumer, from_start, message, records};

fn registered(topic: &str) -> Pull<'_> {
    Pull {
        expression: None,
        ..from_start(topic)
    }
}

fn group(house: &House, name: &str, change: impl FnOnce(&mut GroupConfig)) {
    let mut config = GroupConfig::new(GroupName::parse(name).unwrap());
    change(&mut config);
    house
        .run(caller(9), |caller| {
            house.broker.update_groups(caller, &[config.clone()])
        })
        .unwrap();
}

#[test]
fn a_broker_or_a_lite_pull_may_be_closed() {
    let house = House::with(|options| options.permission = Perm(Perm::WRITE));
    let text = "the broker[127.0.0.1:10911] pulling message is forbidden";
    assert_eq!(
        house.pull(from_start("TBW102")).unwrap_err().to_string(),
        text
    );
    let house = House::with(|options| options.lite_pull = false);
    let lite = Pull {
        lite: true,
        ..from_start("TBW102")
    };
    assert!(matches!(
        house.pull(lite),
        Err(Error::LitePullForbidden { .. })
    ));
}

#[test]
fn a_group_must_exist_and_may_be_closed() {
    let house = House::new();
    let bad = Pull {
        group: "bad.group!",
        ..from_start("TBW102")
    };
    let error = house.pull(bad).unwrap_err().to_string();
    assert!(
        error.starts_with("subscription group [bad.group!] does not exist, \nSee"),
        "{error}"
    );
    house.pull(from_start("TBW102")).unwrap();
    assert!(
        house
            .broker
            .groups()
            .0
            .iter()
            .any(|group| group.name.as_str() == "g"),
        "made"
    );
    group(&house, "closed", |group| group.consume_enable = false);
    let closed = Pull {
        group: "closed",
        ..from_start("TBW102")
    };
    let text = "subscription group no permission, closed";
    assert_eq!(house.pull(closed).unwrap_err().to_string(), text);
    let house = House::with(|options| options.auto_create_groups = false);
    let missing = house.pull(from_start("TBW102")).unwrap_err();
    assert!(matches!(
        missing,
        Error::GroupMissing {
            asked: AskedFor::Pull,
            ..
        }
    ));
}

#[test]
fn a_topic_must_exist_be_readable_and_have_the_queue() {
    let house = House::new();
    let error = house
        .pull(from_start("NoSuchTopic2"))
        .unwrap_err()
        .to_string();
    let text = "topic[NoSuchTopic2] not exist, apply first please! \nSee";
    assert!(error.starts_with(text), "{error}");
    house
        .create("WriteOnly", |topic| topic.perm = Perm(Perm::WRITE))
        .unwrap();
    let text = "the topic[WriteOnly] pulling message is forbidden";
    assert_eq!(
        house.pull(from_start("WriteOnly")).unwrap_err().to_string(),
        text
    );
    house
        .create("ErrTopic", |topic| topic.write_queues = 8)
        .unwrap();
    for queue in [-1, 4, 77] {
        let pull = Pull {
            queue,
            ..from_start("ErrTopic")
        };
        let text = format!(
            "queueId[{queue}] is illegal, topic:[ErrTopic] topicConfig.readQueueNums:[4] consumer:[/127.0.0.1:40002]"
        );
        assert_eq!(house.pull(pull).unwrap_err().to_string(), text);
    }
}

#[test]
fn an_expression_in_the_pull_must_be_one() {
    let house = House::new();
    house.put("t", 0, "a", "TAGS\u{1}A\u{2}");
    house.put("t", 0, "b", "TAGS\u{1}B\u{2}");
    let with = |expression, kind| {
        house.pull(Pull {
            expression: Some(expression),
            expression_kind: kind,
            ..from_start("t")
        })
    };
    for (expression, kind) in [
        ("a", Some("XYZ")),
        ("||", None),
        ("a >= AND (", Some("SQL92")),
    ] {
        let error = with(expression, kind).unwrap_err();
        assert!(matches!(error, Error::SubscriptionUnparsable(_)), "{error}");
    }
    assert_eq!(with("TAGS = 'A'", Some("SQL92")).unwrap().1, ["a"]);
    assert_eq!(with("", None).unwrap().1, ["a", "b"]);
    assert_eq!(with("B", Some("TAG")).unwrap().1, ["b"]);
    assert_eq!(with("A || B", None).unwrap().1, ["a", "b"]);
}

#[test]
fn a_pull_without_an_expression_needs_a_heartbeat() {
    let house = House::new();
    house.put("t", 0, "a", "TAGS\u{1}A\u{2}");
    house.put("u", 0, "a", "TAGS\u{1}A\u{2}");
    let error = house.pull(registered("t")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the consumer's group info not exist\nSee")
    );
    house.beat(2, "c", vec![consumer("g", &[("t", "A", 1000)])]);
    let error = house.pull(registered("u")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the consumer's subscription not exist\nSee")
    );
    let newer = Pull {
        version: 1001,
        ..registered("t")
    };
    let text = "the consumer's subscription not latest";
    assert_eq!(house.pull(newer).unwrap_err().to_string(), text);
    let same = Pull {
        version: 1000,
        ..registered("t")
    };
    assert_eq!(house.pull(same).unwrap().1, ["a"]);
}

#[test]
fn a_group_may_refuse_to_broadcast() {
    let house = House::new();
    house.put("t", 0, "a", "");
    group(&house, "g", |group| group.consume_broadcast_enable = false);
    let mut data = consumer("g", &[("t", "*", 1)]);
    data.model = MessageModel::Broadcasting;
    house.beat(2, "c", vec![data.clone()]);
    let text = "the consumer group[g] can not consume by broadcast way";
    assert_eq!(house.pull(registered("t")).unwrap_err().to_string(), text);
    data.model = MessageModel::Clustering;
    house.beat(2, "c", vec![data]);
    assert_eq!(house.pull(registered("t")).unwrap().1, ["a"]);
}

/// The classic silent loss: in Apache the last heartbeat decides for everybody.
#[test]
fn a_pull_is_filtered_by_the_subscription_of_the_connection_that_asks() {
    let house = House::new();
    house.put("t", 0, "a", "TAGS\u{1}A\u{2}");
    house.put("t", 0, "b", "TAGS\u{1}B\u{2}");
    house.beat(2, "one", vec![consumer("g", &[("t", "A", 1)])]);
    let beat = house.beat(3, "two", vec![consumer("g", &[("t", "B", 2)])]);
    assert!(
        beat.divergence
            .unwrap()
            .contains("one wants t(A), two wants t(B)")
    );
    assert_eq!(house.pull_as(caller(2), registered("t")).unwrap().1, ["a"]);
    assert_eq!(house.pull_as(caller(3), registered("t")).unwrap().1, ["b"]);
    assert_eq!(
        house.pull_as(caller(4), registered("t")).unwrap().1,
        ["b"],
        "the newest"
    );
    assert_eq!(house.broker.metrics().divergent_groups, 1);
    let shown = house.broker.consumer_connections("g").unwrap();
    assert!(shown.divergence.is_some());
    assert_eq!(
        shown.subscriptions.len(),
        1,
        "Apache's form: one subscription a topic"
    );
}

#[test]
fn every_relation_of_offset_and_queue_has_its_result() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    let at = |queue, offset| {
        let (pulled, _) = house
            .pull(Pull {
                queue,
                offset,
                ..from_start("t")
            })
            .unwrap();
        (pulled.verdict, pulled.status, pulled.next.0)
    };
    assert_eq!(at(1, 0), (Verdict::NotFound, "NO_MESSAGE_IN_QUEUE", 0));
    assert_eq!(at(1, 5), (Verdict::OffsetMoved, "NO_MESSAGE_IN_QUEUE", 0));
    for body in ["0", "1", "2"] {
        house.put("t", 0, body, "");
    }
    assert_eq!(at(0, 0), (Verdict::Found, "FOUND", 3));
    assert_eq!(at(0, 2), (Verdict::Found, "FOUND", 3));
    assert_eq!(at(0, 3), (Verdict::NotFound, "OFFSET_OVERFLOW_ONE", 3));
    assert_eq!(at(0, 4), (Verdict::OffsetMoved, "OFFSET_OVERFLOW_BADLY", 3));
    assert_eq!(
        at(0, 5000),
        (Verdict::OffsetMoved, "OFFSET_OVERFLOW_BADLY", 3)
    );
    assert_eq!(at(0, -1), (Verdict::OffsetMoved, "OFFSET_TOO_SMALL", 0));
    let filtered = Pull {
        expression: Some("Nobody"),
        ..from_start("t")
    };
    let (pulled, bodies) = house.pull(filtered).unwrap();
    assert_eq!(
        (pulled.verdict, pulled.status),
        (Verdict::RetryImmediately, "NO_MATCHED_MESSAGE")
    );
    assert_eq!(
        (pulled.next, pulled.max, bodies.len()),
        (QueueOffset(3), QueueOffset(3), 0)
    );
}

#[test]
fn a_pull_returns_at_least_one_and_at_most_what_is_allowed() {
    let house = House::new();
    let big = "x".repeat(100_000);
    for _ in 0..50 {
        house.put("small", 0, "x", "");
        house.put("big", 0, &big, "");
    }
    let count = |topic, max| {
        let (pulled, bodies) = house
            .pull(Pull {
                max,
                ..from_start(topic)
            })
            .unwrap();
        assert_eq!(pulled.count, bodies.len());
        assert_eq!(pulled.next.0 as usize, bodies.len());
        bodies.len()
    };
    assert_eq!(count("small", 1), 1);
    assert_eq!(count("small", 0), 1);
    assert_eq!(count("small", -5), 1);
    assert_eq!(count("small", 10), 10);
    assert_eq!(count("small", 1000), 50, "as many as were asked for");
    assert_eq!(count("big", 32), 2, "256 KiB");
    let house = House::with(|options| options.pull_count_max = 3);
    for _ in 0..5 {
        house.put("small", 0, "x", "");
    }
    assert_eq!(house.pull(from_start("small")).unwrap().1.len(), 3);
    let house = House::with(|options| options.pull_bytes_max = 10);
    house.put("big", 0, &big, "");
    assert_eq!(
        house.pull(from_start("big")).unwrap().1.len(),
        1,
        "one, whatever its size"
    );
}

#[test]
fn a_strict_filter_goes_on_where_its_scan_ended() {
    let house = House::new();
    for _ in 0..1000 {
        house.put("t", 0, "noise", "TAGS\u{1}N\u{2}");
    }
    house.put("t", 0, "wanted", "TAGS\u{1}W\u{2}");
    let mut pull = Pull {
        expression: Some("W"),
        ..from_start("t")
    };
    let (pulled, _) = house.pull(pull).unwrap();
    assert_eq!(
        (pulled.verdict, pulled.next.0),
        (Verdict::RetryImmediately, 800)
    );
    pull.offset = 800;
    assert_eq!(house.pull(pull).unwrap().1, ["wanted"]);
}

#[test]
fn nothing_is_pulled_before_it_is_confirmed() {
    let house = House::synchronous();
    house.create("t", |_| ()).unwrap();
    let pull = Pull {
        group: "TOOLS_CONSUMER", // there from the start: nothing is staged for it
        ..from_start("t")
    };
    house.broker.produce(&caller(1), &message("t")).unwrap();
    house.broker.commit().unwrap();
    assert_eq!(house.pull(pull).unwrap().0.status, "NO_MESSAGE_IN_QUEUE");
    assert_eq!(house.broker.max_offset("t", 0), 0);
    house.store.flush_step().unwrap();
    house.broker.flushed();
    assert_eq!(house.pull(pull).unwrap().1, ["hello"]);
}

#[test]
fn a_commit_that_rides_on_a_pull_never_lowers() {
    let house = House::new();
    house.put("t", 0, "x", "");
    let commit = |offset| {
        let pull = Pull {
            commit: Some(offset),
            ..from_start("t")
        };
        house.pull(pull).unwrap();
        house
            .run(caller(2), |caller| {
                house.broker.offset(caller, "g", "t", 0, false)
            })
            .unwrap()
    };
    assert_eq!(commit(5), 5);
    assert_eq!(commit(3), 5);
    assert_eq!(commit(6), 6);
}

#[test]
fn a_consumer_that_is_sent_elsewhere_is_written_down_once_a_second() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    let beyond = Pull {
        offset: 7,
        ..from_start("t")
    };
    house.pull(beyond).unwrap();
    house.pull(beyond).unwrap();
    let events = || {
        let mut out = Vec::new();
        let pull = from_start("OFFSET_MOVED_EVENT");
        house
            .run(caller(3), |caller| {
                house.broker.pull(caller, &pull, &mut out)
            })
            .unwrap();
        out
    };
    let out = events();
    assert_eq!(
        bodies(&out),
        [
            r#"{"consumerGroup":"g","messageQueue":{"brokerName":"broker-a","queueId":0,"topic":"t"},"offsetNew":0,"offsetRequest":7}"#
        ]
    );
    let record = records(&out)[0];
    assert_eq!(
        (record.property("TAGS"), record.property("KEYS")),
        (Some("g"), Some("g"))
    );
    house.advance(1);
    house.pull(beyond).unwrap();
    assert_eq!(bodies(&events()).len(), 2);
}

#[test]
fn a_topics_and_a_groups_system_flags_are_told() {
    let house = House::new();
    house.create("t", |topic| topic.sys_flag = 3).unwrap();
    group(&house, "g", |group| group.sys_flag = 2);
    let (pulled, _) = house.pull(from_start("t")).unwrap();
    assert_eq!(
        (
            pulled.topic_sys_flag,
            pulled.group_sys_flag,
            pulled.suggested_broker
        ),
        (3, 2, 0)
    );
}

#[test]
fn one_way_sends_are_stored_too() {
    let house = House::new();
    let oneway = Caller {
        oneway: true,
        ..caller(1)
    };
    let send = Produce { ..message("t") };
    house
        .run(oneway, |caller| house.broker.produce(caller, &send))
        .unwrap();
    assert_eq!(house.pull(from_start("t")).unwrap().1, ["hello"]);
}
