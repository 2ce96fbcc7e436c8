//! Delayed messages: when they come, what they are then, and how they are called back.

use std::sync::Arc;
use std::time::Duration;

use broker::{Answer, Error, Produce, Recalled};
use model::QueueOffset;
use store::disk::sim::Sim;
use store::{Clock, Disk, Flush, Kind, Wait};

use crate::house::{House, START, caller, from_start, message, options, records};

const HOUR: i64 = 3_600_000;

/// All of a broker's time, and what it does then.
fn pass(house: &House, millis: u64) {
    house.clock.advance(Duration::from_millis(millis));
    while house.broker.deadlines_step().unwrap() == Duration::ZERO {}
    house.store.flush_step().unwrap();
    house.broker.flushed();
}

fn send(house: &House, properties: &str) -> Result<(i64, Option<String>), Error> {
    let sent = house.send(Produce {
        properties,
        ..message("t")
    })?;
    Ok((sent.queue_offset.0 as i64, sent.recall_handle))
}

/// Bodies and properties of queue 0, less what every message has.
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
        let body = String::from_utf8_lossy(view.body());
        format!("{body} {}", properties.join(" "))
    };
    records(&out).into_iter().map(text).collect()
}

fn count(house: &House, topic: &str, queue: u32) -> u64 {
    let queue = house.store.find_queue(topic, queue);
    queue.map_or(0, |queue| queue.end().0)
}

fn recall(house: &House, topic: &str, handle: &str) -> Result<Recalled, Error> {
    house.run(caller(1), |caller| {
        house.broker.recall(caller, topic, handle)
    })
}

#[test]
fn a_level_waits_its_time_and_comes_as_apaches_does() {
    let house = House::new();
    let (at, handle) = send(&house, "TAGS\u{1}A\u{2}DELAY\u{1}1\u{2}KEYS\u{1}k").unwrap();
    assert_eq!((at, handle), (0, None), "the offset where it waits");
    assert_eq!(count(&house, "SCHEDULE_TOPIC_XXXX", 0), 1);
    pass(&house, 999);
    assert_eq!(count(&house, "t", 0), 0, "never early");
    pass(&house, 1);
    assert_eq!(
        look(&house, "t"),
        ["hello TAGS=A DELAY=1 KEYS=k REAL_TOPIC=t REAL_QID=0"]
    );
    let mut entries = Vec::new();
    let queue = house.store.find_queue("t", 0).unwrap();
    (house
        .store
        .entries(&queue, QueueOffset(0), 1, Wait::Yes, &mut entries))
    .unwrap();
    assert_eq!(entries[0].tags_code, 65);
    let mut bytes = Vec::new();
    (house
        .store
        .record(entries[0].log_offset, Wait::Yes, &mut bytes))
    .unwrap();
    let view = model::record::View::parse(&bytes).unwrap();
    assert_eq!(view.stored_at(), START + 1_000);
    assert_eq!(view.born_at(), START - 5);
    pass(&house, 10_000);
    assert_eq!(count(&house, "t", 0), 1, "once");
}

#[test]
fn what_is_due_in_crowds_comes_together_and_what_is_due_alone_in_its_millisecond() {
    let house = House::new();
    let at = |millis: i64| format!("TIMER_DELIVER_MS\u{1}{}\u{2}", START + millis);
    for millis in [10, 20, 20, 20, 20, 20, 20, 20, 20, 21, 22, 23, 26, 40, 41] {
        send(&house, &at(millis)).unwrap();
    }
    let step = |millis: u64| {
        house.clock.advance(Duration::from_millis(millis));
        let next = house.broker.deadlines_step().unwrap();
        (count(&house, "t", 0), next.as_millis())
    };
    assert_eq!(step(0), (0, 10));
    assert_eq!(step(10), (1, 10));
    // Eight at once: the next are taken together, none of them early.
    assert_eq!(step(10), (9, 4));
    assert_eq!(step(4), (12, 2));
    assert_eq!(step(2), (13, 14));
    assert_eq!(step(14), (14, 1));
    assert_eq!(step(1).0, 15);
}

#[test]
fn what_does_not_fit_into_a_step_is_not_left_waiting() {
    let house = House::new();
    let at = format!("TIMER_DELIVER_MS\u{1}{}\u{2}", START + 1);
    for _ in 0..600 {
        send(&house, &at).unwrap();
    }
    house.clock.advance(Duration::from_millis(1));
    assert_eq!(house.broker.deadlines_step().unwrap(), Duration::ZERO);
    house.broker.deadlines_step().unwrap();
    assert_eq!(count(&house, "t", 0), 600);
}

#[test]
fn a_level_above_the_last_means_the_last_and_none_means_now() {
    let house = House::with(|options| options.delay_levels = vec![1_000, 2_000]);
    send(&house, "DELAY\u{1}99").unwrap();
    send(&house, "DELAY\u{1}0").unwrap();
    send(&house, "DELAY\u{1}-1").unwrap();
    assert_eq!(count(&house, "t", 0), 2);
    assert_eq!(count(&house, "SCHEDULE_TOPIC_XXXX", 1), 1);
    pass(&house, 1_999);
    assert_eq!(count(&house, "t", 0), 2);
    pass(&house, 1);
    assert_eq!(count(&house, "t", 0), 3);
}

#[test]
fn each_way_to_name_a_time_is_kept_to_the_millisecond() {
    let house = House::new();
    let at = START + 2_500;
    for (properties, after) in [
        ("TIMER_DELAY_SEC\u{1}3\u{2}".to_owned(), 3_000),
        ("TIMER_DELAY_MS\u{1}1234\u{2}".to_owned(), 1_234),
        (format!("TIMER_DELIVER_MS\u{1}{at}\u{2}"), 2_500),
    ] {
        let house = House::new();
        let (_, handle) = send(&house, &properties).unwrap();
        assert!(handle.is_some());
        pass(&house, after - 1);
        assert_eq!(count(&house, "t", 0), 0, "{properties}");
        pass(&house, 1);
        let asked = properties.replace('\u{1}', "=").replace('\u{2}', "");
        let out = START + after as i64;
        let second = START / 1_000 * 1_000;
        assert_eq!(
            look(&house, "t"),
            [format!(
                "hello {asked} REAL_TOPIC=t REAL_QID=0 TIMER_OUT_MS={out} TIMER_ENQUEUE_MS={second} TIMER_DEQUEUE_MS={out}"
            )]
        );
    }
    // The first in this order counts: seconds, milliseconds, moment.
    send(
        &house,
        "TIMER_DELIVER_MS\u{1}1\u{2}TIMER_DELAY_MS\u{1}5\u{2}TIMER_DELAY_SEC\u{1}1",
    )
    .unwrap();
    pass(&house, 999);
    assert_eq!(count(&house, "t", 0), 0);
    pass(&house, 1);
    assert_eq!(count(&house, "t", 0), 1);
}

#[test]
fn a_level_beats_a_time_and_the_time_is_forgotten() {
    let house = House::new();
    let (_, handle) = send(&house, "TIMER_DELAY_SEC\u{1}60\u{2}DELAY\u{1}1").unwrap();
    assert_eq!(handle, None);
    pass(&house, 1_000);
    assert_eq!(look(&house, "t"), ["hello DELAY=1 REAL_TOPIC=t REAL_QID=0"]);
}

#[test]
fn a_time_that_has_passed_means_at_once() {
    let house = House::new();
    for properties in [
        "TIMER_DELIVER_MS\u{1}5".to_owned(),
        format!("TIMER_DELIVER_MS\u{1}{START}"),
        "TIMER_DELAY_MS\u{1}0".to_owned(),
        "TIMER_DELAY_SEC\u{1}-7".to_owned(),
    ] {
        let before = count(&house, "t", 0);
        let (_, handle) = send(&house, &properties).unwrap();
        assert_eq!(handle, None);
        assert_eq!(count(&house, "t", 0), before + 1, "{properties}");
    }
}

#[test]
fn a_time_too_far_ahead_or_no_number_is_refused() {
    let house = House::with(|options| options.timer_max = 10_000);
    let error = |properties: &str| send(&house, properties).unwrap_err();
    let text = "timer message illegal, the delay time should not be bigger than the max delay 10000ms; \
        or if set del msg, the delay time should be bigger than the current time";
    assert_eq!(error("TIMER_DELAY_MS\u{1}10001").to_string(), text);
    assert_eq!(
        error("TIMER_DELAY_SEC\u{1}9223372036854775807").to_string(),
        text
    );
    assert!(send(&house, "TIMER_DELAY_MS\u{1}10000").is_ok());
    for name in [
        "TIMER_DELAY_SEC",
        "TIMER_DELAY_MS",
        "TIMER_DELIVER_MS",
        "DELAY",
    ] {
        let refused = error(&format!("{name}\u{1}soon"));
        assert!(
            matches!(refused, Error::TimerUnreadable { .. }),
            "{refused}"
        );
    }
    let house = House::with(|options| options.timers = false);
    let refused = send(&house, "TIMER_DELAY_MS\u{1}5").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "accurate timer message is not enabled, timerWheelEnable is false"
    );
    assert!(send(&house, "DELAY\u{1}1").is_ok(), "levels are no timers");
}

#[test]
fn ten_years_are_not_too_far() {
    let years = broker::delay::TEN_YEARS;
    let house = House::with(|options| options.timer_max = years);
    send(&house, &format!("TIMER_DELAY_MS\u{1}{years}")).unwrap();
    let house = house.killed();
    house.broker.deadlines_step().unwrap();
    assert_eq!(count(&house, "t", 0), 0);
    // Such a step of both clocks is nothing but time.
    pass(&house, years as u64 - 1);
    assert_eq!(count(&house, "t", 0), 0);
    pass(&house, 1);
    assert_eq!(count(&house, "t", 0), 1);
}

#[test]
fn what_is_due_together_comes_in_the_order_it_was_due() {
    let house = House::new();
    for (n, after) in [(1, 900), (2, 300), (3, 600), (4, 300)] {
        let properties = format!("TIMER_DELAY_MS\u{1}{after}\u{2}KEYS\u{1}{n}");
        send(&house, &properties).unwrap();
    }
    pass(&house, 5_000);
    let keys: Vec<_> = (look(&house, "t").iter())
        .map(|line| line.split("KEYS=").nth(1).unwrap()[..1].to_owned())
        .collect();
    assert_eq!(keys, ["2", "4", "3", "1"]);
}

#[test]
fn many_that_are_overdue_after_a_kill_all_come_once() {
    let house = House::new();
    for n in 0..3_000 {
        let properties = format!("TIMER_DELAY_MS\u{1}{}", 100 + n % 50);
        send(&house, &properties).unwrap();
    }
    let house = house.killed();
    house.clock.advance(Duration::from_secs(5));
    house.broker.deadlines_step().unwrap();
    let some = count(&house, "t", 0);
    assert!(some > 0 && some < 3_000, "in batches: {some}");
    let house = house.killed();
    pass(&house, 0);
    assert_eq!(count(&house, "t", 0), 3_000);
    assert_eq!(house.store.pending().len(Kind::Timer), 0);
}

#[test]
fn a_clock_that_is_set_loses_and_hastens_nothing() {
    for step in [HOUR, -HOUR] {
        let house = House::new();
        let to = |moment: i64| format!("TIMER_DELIVER_MS\u{1}{moment}\u{2}KEYS\u{1}moment");
        send(&house, "DELAY\u{1}2\u{2}KEYS\u{1}level").unwrap();
        send(&house, "TIMER_DELAY_SEC\u{1}7\u{2}KEYS\u{1}span").unwrap();
        send(&house, &to(START + 2 * HOUR)).unwrap();
        pass(&house, 1_000);
        let wall = house.clock.wall();
        house.clock.set_wall(wall + step);
        pass(&house, 3_999);
        assert_eq!(count(&house, "t", 0), 0, "{step}: five seconds stay five");
        pass(&house, 1);
        assert_eq!(count(&house, "t", 0), 1, "{step}");
        // One that comes after the step.
        send(&house, "TIMER_DELAY_MS\u{1}1000").unwrap();
        pass(&house, 999);
        assert_eq!(count(&house, "t", 0), 1, "{step}");
        pass(&house, 1);
        assert_eq!(count(&house, "t", 0), 2, "{step}");
        pass(&house, 1_000);
        assert_eq!(count(&house, "t", 0), 3, "{step}");
        // The moment comes when the clock says so.
        let left = START + 2 * HOUR - house.clock.wall();
        pass(&house, left as u64 - 1);
        assert_eq!(count(&house, "t", 0), 3, "{step}");
        pass(&house, 1);
        assert_eq!(count(&house, "t", 0), 4, "{step}");
    }
}

#[test]
fn a_message_for_a_queue_that_is_gone_comes_to_one_that_is_read() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    let to_last = Produce {
        queue: 3,
        properties: "DELAY\u{1}1",
        ..message("t")
    };
    house.send(to_last).unwrap();
    let fewer = |topic: &mut broker::TopicChange| {
        topic.read_queues = 2;
        topic.write_queues = 2;
    };
    house.create("t", fewer).unwrap();
    pass(&house, 1_000);
    assert_eq!(count(&house, "t", 1), 1);
}

#[test]
fn a_message_for_a_topic_that_is_gone_is_there_when_the_topic_is_made_again() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    send(&house, "DELAY\u{1}1").unwrap();
    house
        .run(caller(1), |caller| house.broker.delete_topic(caller, "t"))
        .unwrap();
    pass(&house, 1_000);
    house.create("t", |_| ()).unwrap();
    assert_eq!(look(&house, "t").len(), 1);
}

#[test]
fn delayed_messages_wait_while_the_disk_is_full() {
    let disk = Arc::new(Sim::default());
    let handed: Arc<dyn Disk> = Arc::clone(&disk) as _;
    let house = House::open(options(), Flush::Async, handed, START);
    send(&house, "DELAY\u{1}1").unwrap();
    disk.set_total(1 << 10);
    house.broker.retain_step();
    pass(&house, 5_000);
    assert_eq!(count(&house, "t", 0), 0);
    assert_eq!(house.store.pending().len(Kind::Timer), 1);
    disk.set_total(1 << 40);
    house.broker.retain_step();
    pass(&house, 1_000);
    assert_eq!(count(&house, "t", 0), 1);
}

#[test]
fn a_recalled_message_does_not_come() {
    let house = House::synchronous();
    let (_, handle) = send(&house, "TIMER_DELAY_SEC\u{1}5\u{2}UNIQ_KEY\u{1}id1").unwrap();
    let (_, other) = send(&house, "TIMER_DELAY_SEC\u{1}5\u{2}UNIQ_KEY\u{1}id2").unwrap();
    let handle = handle.unwrap();
    let said = |recalled| Recalled {
        unique_key: "id1".to_owned(),
        recalled,
    };
    assert_eq!(recall(&house, "t", &handle), Ok(said(true)));
    assert_eq!(recall(&house, "t", &handle), Ok(said(true)), "as before");
    let house = house.killed();
    assert_eq!(recall(&house, "t", &handle), Ok(said(true)));
    pass(&house, 4_500);
    assert_eq!(
        recall(&house, "t", &handle),
        Ok(said(false)),
        "what is due within a second may be on its way"
    );
    pass(&house, 500);
    assert_eq!(count(&house, "t", 0), 1, "the other one");
    let late = recall(&house, "t", &other.unwrap());
    assert_eq!(
        late,
        Ok(Recalled {
            unique_key: "id2".to_owned(),
            recalled: false
        }),
        "delivered in this very millisecond"
    );
    let metrics = house.broker.metrics();
    assert_eq!((metrics.delayed, metrics.delayed_delivered), (0, 1));
}

#[test]
fn a_recall_right_behind_the_sends_answer_finds_its_message() {
    let house = House::synchronous();
    // Answered when it is written, seen when it is flushed.
    let properties = "WAIT\u{1}false\u{2}TIMER_DELAY_SEC\u{1}5\u{2}UNIQ_KEY\u{1}id";
    let send = Produce {
        properties,
        ..message("t")
    };
    let Answer::After(_, sent) = house.broker.produce(&caller(1), &send).unwrap() else {
        panic!("a send waits for a mark");
    };
    house.broker.commit().unwrap();
    let handle = sent.recall_handle.unwrap();
    let first = house.broker.recall(&caller(1), "t", &handle).unwrap();
    assert!(matches!(first, Answer::Hold(_)), "{first:?}");
    house.store.flush_step().unwrap();
    let again = broker::Caller {
        may_wait: false,
        ..caller(1)
    };
    let second = house.broker.recall(&again, "t", &handle).unwrap();
    assert!(
        matches!(second, Answer::After(_, Recalled { recalled: true, .. })),
        "{second:?}"
    );
}

#[test]
fn handles_that_are_none_or_not_for_here_or_now_are_refused() {
    let house = House::new();
    let (_, handle) = send(&house, "TIMER_DELAY_SEC\u{1}5").unwrap();
    let handle = handle.unwrap();
    house.create("other", |_| ()).unwrap();
    let text = |topic: &str, handle: &str| recall(&house, topic, handle).unwrap_err().to_string();
    assert_eq!(
        text("none", "zzz"),
        "recall failed, the topic[none] not exist"
    );
    assert_eq!(text("t", "zzz"), "recall handle is invalid");
    assert_eq!(text("other", &handle), "recall failed, topic not match");
    pass(&house, 6_000);
    assert_eq!(text("t", &handle), "recall failed, timestamp invalid");
    let house = House::with(|options| options.recall = false);
    let forbidden = recall(&house, "t", &handle).unwrap_err();
    assert_eq!(
        forbidden.to_string(),
        "recall failed, operation is forbidden"
    );
}

#[test]
fn what_waits_can_be_listed_a_page_at_a_time() {
    let house = House::new();
    send(&house, "DELAY\u{1}2\u{2}UNIQ_KEY\u{1}level").unwrap();
    send(&house, "TIMER_DELAY_MS\u{1}900\u{2}UNIQ_KEY\u{1}soon").unwrap();
    send(&house, "TIMER_DELAY_SEC\u{1}60\u{2}UNIQ_KEY\u{1}late").unwrap();
    let first = house.broker.delayed(None, 2).unwrap();
    let names: Vec<_> = first.iter().map(|m| (&*m.unique_key, m.level)).collect();
    assert_eq!(names, [("soon", None), ("level", Some(2))]);
    assert_eq!((&*first[0].topic, first[0].queue), ("t", 0));
    assert_eq!(first[0].open.due, START + 900);
    let rest = house
        .broker
        .delayed(first.last().map(|m| m.open), 9)
        .unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].unique_key, "late");
}

#[test]
fn a_batch_is_not_delayed_and_nobody_sends_to_the_timers_topic() {
    let house = House::new();
    let batch = Produce {
        batch: true,
        properties: "DELAY\u{1}1",
        body: &[
            0, 0, 0, 23, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7, 0, 0,
        ],
        ..message("t")
    };
    assert_eq!(house.send(batch).unwrap_err(), Error::BatchDelayed);
    let direct = house.send(message("rmq_sys_wheel_timer")).unwrap_err();
    assert!(matches!(direct, Error::SystemTopicNotSendable(_)));
}
