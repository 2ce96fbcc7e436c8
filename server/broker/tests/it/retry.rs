//! Messages sent back: retries, and dead letters.

use std::time::Duration;

use broker::{Error, MessageQueue, Produce, SendBack};
use model::GroupName;
use model::flag::Perm;
use model::group::{GroupConfig, RetryKind, RetryPolicy};

use crate::house::{House, caller, consumer, from_start, message, records};

/// Where the first message of a topic's queue 0 lies, and what the records after it say.
fn look(house: &House, topic: &str) -> Vec<String> {
    let mut out = Vec::new();
    let pull = from_start(topic);
    let pulled = house.run(caller(2), |caller| {
        out.clear();
        house.broker.pull(caller, &pull, &mut out)
    });
    pulled.unwrap();
    let text = |view: model::record::View<'_>| {
        let properties: Vec<String> = model::message::properties(view.properties())
            .filter(|(name, _)| {
                !matches!(*name, "MSG_REGION" | "TRACE_ON" | "CLUSTER" | "UNIQ_KEY")
            })
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!(
            "{} times {} from {} {}",
            String::from_utf8_lossy(view.body()),
            view.reconsume_times(),
            view.prepared_offset(),
            properties.join(" ")
        )
    };
    records(&out).into_iter().map(text).collect()
}

fn back(offset: i64) -> SendBack<'static> {
    SendBack {
        group: "g",
        offset,
        level: 0,
        after: None,
        max: Some(2),
        unit_mode: false,
    }
}

fn send_back(house: &House, back: SendBack<'_>) -> Result<(), Error> {
    house.run(caller(1), |caller| house.broker.send_back(caller, &back))
}

/// A message of topic `t`, and where it lies.
fn put(house: &House, properties: &str, reconsume_times: i32) -> i64 {
    let sent = house.send(Produce {
        properties,
        reconsume_times,
        ..message("t")
    });
    sent.unwrap().log_offset.0 as i64
}

#[test]
fn what_may_not_be_retried_is_a_dead_letter_at_once() {
    let house = House::new();
    let first = put(
        &house,
        "TAGS\u{1}A\u{2}DELAY\u{1}0\u{2}WAIT\u{1}true\u{2}",
        0,
    );
    let tired = put(&house, "", 2);
    let dead = SendBack {
        level: -1,
        ..back(first)
    };
    send_back(&house, dead).unwrap();
    send_back(&house, back(tired)).unwrap();
    let letters = look(&house, "%DLQ%g");
    let id = |offset: i64| format!("7F00000100002A9F{offset:016X}");
    assert_eq!(
        letters,
        [
            format!(
                "hello times 1 from {first} ORIGIN_MESSAGE_ID={0} RETRY_TOPIC=t TAGS=A WAIT=false \
                 DLQ_ORIGIN_TOPIC=t DLQ_ORIGIN_MESSAGE_ID={0}",
                id(first)
            ),
            format!(
                "hello times 3 from {tired} ORIGIN_MESSAGE_ID={0} RETRY_TOPIC=t WAIT=false \
                 DLQ_ORIGIN_TOPIC=t DLQ_ORIGIN_MESSAGE_ID={0}",
                id(tired)
            ),
        ]
    );
    let topic = house.broker.topic("%DLQ%g").unwrap();
    assert_eq!((topic.read_queues, topic.write_queues), (1, 1));
    assert_eq!(topic.perm, Perm::READ_WRITE);
    assert!(
        house
            .registered()
            .iter()
            .any(|line| line.starts_with("+%DLQ%g 1/1 perm 6"))
    );
    let house = house.killed();
    assert_eq!(look(&house, "%DLQ%g"), letters);
}

#[test]
fn the_groups_own_limit_holds_where_the_client_leaves_it_open() {
    let house = House::new();
    let tired = put(&house, "", 16);
    let open = SendBack {
        max: Some(-1),
        ..back(tired)
    };
    send_back(&house, open).unwrap();
    assert_eq!(look(&house, "%DLQ%g").len(), 1);
    let old = |caller: &broker::Caller| broker::Caller {
        version: 120,
        ..*caller
    };
    let patient = SendBack {
        max: Some(99),
        ..back(tired)
    };
    let told = house.run(caller(1), |caller| {
        house.broker.send_back(&old(caller), &patient)
    });
    told.unwrap();
    assert_eq!(look(&house, "%DLQ%g").len(), 2);
}

#[test]
fn only_what_a_consumer_may_have_had_can_be_sent_back() {
    let house = House::new();
    let at = put(&house, "", 0);
    for nothing in [-1, at + 1, 1 << 40, i64::MAX] {
        let lost = format!("look message by offset failed, {nothing}");
        let told = send_back(&house, back(nothing)).unwrap_err();
        assert_eq!(told.to_string(), lost);
    }
    // The first record of the log is of the store's own tables.
    assert!(matches!(
        send_back(&house, back(0)),
        Err(Error::NothingToSendBack(0))
    ));
}

#[test]
fn an_unknown_group_is_told_so_and_nothing_is_made() {
    let house = House::with(|options| options.auto_create_groups = false);
    let at = put(&house, "", 0);
    assert!(matches!(
        send_back(&house, back(at)),
        Err(Error::GroupMissing { .. })
    ));
    let sent = house.send(message("%RETRY%g"));
    assert!(matches!(sent, Err(Error::GroupMissing { .. })));
    for topic in ["%RETRY%g", "%DLQ%g"] {
        assert!(house.broker.topic(topic).is_err());
    }
}

#[test]
fn a_send_to_a_retry_topic_is_stored_there_until_its_times_are_over() {
    let house = House::new();
    let send = |reconsume_times, max| Produce {
        reconsume_times,
        max_reconsume_times: max,
        properties: "RETRY_TOPIC\u{1}t\u{2}ORIGIN_MESSAGE_ID\u{1}ID\u{2}",
        ..message("%RETRY%g")
    };
    // Over is beyond the limit here, and at it when a message is sent back.
    for (times, max) in [(0, Some(0)), (2, Some(2)), (16, None)] {
        house.send(send(times, max)).unwrap();
    }
    for (times, max) in [(1, Some(0)), (3, Some(2)), (17, None)] {
        house.send(send(times, max)).unwrap();
    }
    assert_eq!(look(&house, "%RETRY%g").len(), 3);
    let letters = look(&house, "%DLQ%g");
    assert_eq!(letters.len(), 3);
    let said = "RETRY_TOPIC=t ORIGIN_MESSAGE_ID=ID DLQ_ORIGIN_TOPIC=t DLQ_ORIGIN_MESSAGE_ID=ID";
    assert_eq!(letters[1], format!("hello times 3 from 0 {said}"));
}

/// Go's producer says 0 times of 0 whatever it sends.
#[test]
fn times_that_only_the_properties_say_count() {
    let house = House::new();
    let properties = "RECONSUME_TIME\u{1}3\u{2}MAX_RECONSUME_TIMES\u{1}2\u{2}";
    let send = Produce {
        properties,
        max_reconsume_times: Some(0),
        ..message("%RETRY%g")
    };
    house.send(send).unwrap();
    assert_eq!(look(&house, "%DLQ%g"), ["hello times 3 from 0 "]);
}

#[test]
fn an_ordered_group_that_gives_up_gets_a_dead_letter() {
    let house = House::new();
    let queue = MessageQueue {
        topic: "t".to_owned(),
        broker: "broker-a".to_owned(),
        queue: 0,
    };
    house.broker.lock("g", "c", &[queue]).unwrap();
    house.send(message("%RETRY%g")).unwrap();
    assert_eq!(look(&house, "%DLQ%g").len(), 1);
    house.advance(61);
    house.send(message("%RETRY%g")).unwrap();
    assert_eq!(look(&house, "%RETRY%g").len(), 1, "the lock is over");
}

#[test]
fn a_retry_topic_is_not_written_against_its_permission() {
    let house = House::new();
    house.beat(1, "c", vec![consumer("g", &[("t", "*", 1)])]);
    let closed = |topic: &mut broker::TopicChange| topic.perm = Perm(Perm::READ);
    house.create("%RETRY%g", closed).unwrap();
    let told = house.send(message("%RETRY%g")).unwrap_err();
    let text = "the topic[%RETRY%g] sending message is forbidden";
    assert_eq!(told.to_string(), text);
    let read_only = House::with(|options| options.permission = Perm(Perm::READ));
    let told = send_back(&read_only, back(0)).unwrap_err();
    let text = "the broker[127.0.0.1:10911] sending message is forbidden";
    assert_eq!(told.to_string(), text);
}

/// All of a broker's time, and what it does then.
fn pass(house: &House, millis: u64) {
    house.clock.advance(Duration::from_millis(millis));
    while house.broker.deadlines_step().unwrap() == Duration::ZERO {}
    house.store.flush_step().unwrap();
    house.broker.flushed();
}

/// How many retries there are now, and after so many milliseconds more.
fn retries(house: &House, millis: u64) -> (i64, i64) {
    let before = house.broker.max_offset("%RETRY%g", 0);
    pass(house, millis);
    (before, house.broker.max_offset("%RETRY%g", 0))
}

/// Where a retry lies.
fn place(house: &House, n: usize) -> i64 {
    let mut out = Vec::new();
    let pull = from_start("%RETRY%g");
    let pulled = house.run(caller(2), |caller| {
        out.clear();
        house.broker.pull(caller, &pull, &mut out)
    });
    pulled.unwrap();
    records(&out)[n].log_offset().0 as i64
}

#[test]
fn a_message_climbs_the_ladder_and_is_dead_at_its_end() {
    let house = House::new();
    let first = put(&house, "TAGS\u{1}A\u{2}", 0);
    let ladder = |at| SendBack {
        max: Some(2),
        ..back(at)
    };
    send_back(&house, ladder(first)).unwrap();
    assert_eq!(retries(&house, 9_999), (0, 0), "level 3 is ten seconds");
    assert_eq!(retries(&house, 1), (0, 1));
    let again = look(&house, "%RETRY%g");
    let id = format!("7F00000100002A9F{first:016X}");
    let says = format!("ORIGIN_MESSAGE_ID={id} RETRY_TOPIC=t TAGS=A WAIT=false DELAY=3");
    assert!(again[0].starts_with("hello times 1 from "), "{again:?}");
    assert!(again[0].contains(&says), "{again:?}");
    send_back(&house, ladder(place(&house, 0))).unwrap();
    let house = house.killed();
    assert_eq!(
        retries(&house, 29_999),
        (1, 1),
        "level 4 is thirty seconds, a kill or not"
    );
    assert_eq!(retries(&house, 1), (1, 2));
    let again = look(&house, "%RETRY%g");
    assert!(
        again[1].contains(&format!("ORIGIN_MESSAGE_ID={id}")),
        "{again:?}"
    );
    assert!(again[1].starts_with("hello times 2"), "{again:?}");
    send_back(&house, ladder(place(&house, 1))).unwrap();
    let letters = look(&house, "%DLQ%g");
    assert!(letters[0].starts_with("hello times 3"), "{letters:?}");
    assert!(
        !letters[0].contains("DELAY") && !letters[0].contains("TIMER"),
        "{letters:?}"
    );
}

#[test]
fn a_group_with_a_policy_of_its_own_waits_as_it_says() {
    let house = House::new();
    let group = |policy| {
        let mut config = GroupConfig::new(GroupName::parse("g").unwrap());
        config.retry_policy = policy;
        house
            .run(caller(9), |caller| {
                house.broker.update_groups(caller, &[config.clone()])
            })
            .unwrap();
    };
    group(RetryPolicy {
        customized: Some(vec![1, 1, 250]),
        ..RetryPolicy::default()
    });
    let at = put(&house, "", 0);
    send_back(&house, back(at)).unwrap();
    assert_eq!(retries(&house, 249), (0, 0));
    assert_eq!(retries(&house, 1), (0, 1));
    group(RetryPolicy {
        kind: RetryKind::Exponential,
        ..RetryPolicy::default()
    });
    let at = put(&house, "", 1);
    send_back(&house, back(at)).unwrap();
    assert_eq!(retries(&house, 9_999), (1, 1), "5 s, then 10");
    assert_eq!(retries(&house, 1), (1, 2));
    let wanted = SendBack {
        level: 1,
        ..back(at)
    };
    send_back(&house, wanted).unwrap();
    assert_eq!(retries(&house, 999), (2, 2));
    assert_eq!(
        retries(&house, 1),
        (2, 3),
        "the consumer's own wish comes first"
    );
    let exact = SendBack {
        level: 2,
        after: Some(777),
        ..back(at)
    };
    send_back(&house, exact).unwrap();
    assert_eq!(retries(&house, 776), (3, 3));
    assert_eq!(retries(&house, 1), (3, 4), "to the millisecond");
    let endless = SendBack {
        after: Some(i64::MAX),
        ..exact
    };
    send_back(&house, endless).unwrap();
    let three_days = 3 * 86_400_000;
    assert_eq!(retries(&house, three_days - 1), (4, 4));
    assert_eq!(
        retries(&house, 1),
        (4, 5),
        "no longer than any message waits"
    );
}
