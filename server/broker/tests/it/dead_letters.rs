//! Dead letters sent again or given up.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use broker::{Answer, Error, Operation, OperationState, Produce, SendBack, Started, Work};
use model::Level;
use model::record::View;

use store::Flush;

use crate::house::{House, START, caller, consumer, message, options};
use crate::stubborn::Stubborn;
use crate::transactions::content;

/// So many dead letters of group `g`, from `t` and `u` in turn.
fn dead(count: usize) -> House {
    dead_in(House::new(), count)
}

fn dead_in(house: House, count: usize) -> House {
    for topic in ["t", "u", "elsewhere"] {
        house.create(topic, |_| ()).unwrap();
    }
    house.beat(2, "c", vec![consumer("g", &[("t", "*", 1)])]);
    for n in 0..count {
        let topic = ["t", "u"][n % 2];
        bury(&house, topic, &n.to_string());
    }
    assert_eq!(content(&house, "%DLQ%g", 0).len().min(count), count.min(32));
    house
}

fn bury(house: &House, topic: &str, body: &str) {
    let send = Produce {
        body: body.as_bytes(),
        properties: "TAGS\u{1}a\u{2}KEYS\u{1}k\u{2}",
        ..message(topic)
    };
    let at = house.send(send).unwrap().log_offset;
    house.broker.commit().unwrap();
    let back = SendBack {
        group: "g",
        offset: at.0 as i64,
        level: -1,
        after: None,
        max: None,
        unit_mode: false,
    };
    house
        .run(caller(2), |caller| house.broker.send_back(caller, &back))
        .unwrap();
}

fn redrive() -> Work {
    Work::Redrive {
        to: None,
        from: None,
        limit: None,
        per_second: None,
    }
}

fn start(house: &House, work: Work) -> Result<Operation, Error> {
    start_named(house, work, None).map(|started| started.operation)
}

fn start_named(house: &House, work: Work, once: Option<&str>) -> Result<Started, Error> {
    house.run(caller(1), |_| {
        house.broker.start_operation("g", work.clone(), once)
    })
}

fn work(house: &House) {
    while house.broker.deadlines_step().unwrap().is_zero() {}
}

fn stands(house: &House, operation: &Operation) -> (OperationState, u64) {
    let operation = house.broker.operation(&operation.id).unwrap();
    (operation.state, operation.done)
}

/// The bodies in a topic behind those that were sent at first.
fn again(house: &House, topic: &str, first: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    for queue in 0..4 {
        let all = content(house, topic, queue);
        let skipped = if queue == 0 { first } else { 0 };
        for record in all.iter().skip(skipped) {
            let view = View::parse(record).unwrap();
            assert_eq!(view.reconsume_times(), 0);
            assert!(view.property("ORIGIN_MESSAGE_ID").is_some());
            for gone in [
                "DLQ_ORIGIN_TOPIC",
                "DLQ_ORIGIN_MESSAGE_ID",
                "RETRY_TOPIC",
                "DELAY",
            ] {
                assert_eq!(view.property(gone), None, "{gone}");
            }
            assert_eq!(
                (view.property("TAGS"), view.property("KEYS")),
                (Some("a"), Some("k"))
            );
            bodies.push(String::from_utf8(view.body().to_vec()).unwrap());
        }
    }
    bodies.sort();
    bodies
}

#[test]
fn dead_letters_go_back_to_where_they_came_from_once() {
    let house = dead(6);
    let first = start(&house, redrive()).unwrap();
    assert_eq!((first.state, first.total), (OperationState::Running, 6));
    work(&house);
    assert_eq!(stands(&house, &first), (OperationState::Done, 6));
    assert_eq!(again(&house, "t", 3), ["0", "2", "4"]);
    assert_eq!(again(&house, "u", 3), ["1", "3", "5"]);
    assert_eq!(house.broker.gone_dead_letters("g"), Ok(vec![(0, 6)]));
    // Repeated, also behind a kill, nothing goes twice.
    let house = house.killed();
    let second = start(&house, redrive()).unwrap();
    assert_eq!(second.total, 0);
    work(&house);
    assert_eq!(stands(&house, &second), (OperationState::Done, 0));
    assert_eq!(stands(&house, &first), (OperationState::Done, 6));
    assert_eq!(again(&house, "t", 3).len(), 3);
}

#[test]
fn only_what_is_meant_goes_and_only_so_much() {
    let house = dead(10);
    let some = Work::Redrive {
        to: Some("elsewhere".to_owned()),
        from: Some("u".to_owned()),
        limit: Some(3),
        per_second: None,
    };
    let operation = start(&house, some).unwrap();
    work(&house);
    assert_eq!(stands(&house, &operation), (OperationState::Done, 3));
    assert_eq!(again(&house, "elsewhere", 0), ["1", "3", "5"]);
    let gone = house.broker.gone_dead_letters("g").unwrap();
    assert_eq!(gone, [(1, 2), (3, 4), (5, 6)]);
    work(&house);
    start(&house, redrive()).unwrap();
    work(&house);
    assert_eq!(again(&house, "u", 5), ["7", "9"]);
    assert_eq!(house.broker.gone_dead_letters("g"), Ok(vec![(0, 10)]));
}

#[test]
fn an_operation_goes_on_behind_a_kill_at_its_rate_and_can_be_cancelled() {
    let house = dead(30);
    let slow = Work::Redrive {
        to: None,
        from: None,
        limit: None,
        per_second: Some(10),
    };
    let operation = start(&house, slow.clone()).unwrap();
    let pass = |house: &House, tenths: usize| {
        for _ in 0..tenths {
            house.broker.deadlines_step().unwrap();
            house.clock.advance(Duration::from_millis(100));
        }
    };
    pass(&house, 5);
    let (state, done) = stands(&house, &operation);
    assert_eq!(state, OperationState::Running);
    assert!((4..=6).contains(&done), "{done}");
    assert!(matches!(start(&house, redrive()), Err(Error::Busy(_))));
    let house = house.killed();
    pass(&house, 5);
    let (_, more) = stands(&house, &operation);
    assert!((done + 4..=done + 6).contains(&more), "{more}");
    let cancelled = house.broker.cancel_operation(&operation.id).unwrap();
    assert!(cancelled.is_some());
    pass(&house, 5);
    assert_eq!(
        stands(&house, &operation),
        (OperationState::Cancelled, more)
    );
    assert_eq!(
        again(&house, "t", 15).len() + again(&house, "u", 15).len(),
        more as usize
    );
    assert!(house.broker.cancel_operation("op_none").unwrap().is_none());
    // What is left goes with the next one.
    start(&house, redrive()).unwrap();
    work(&house);
    assert_eq!(
        again(&house, "t", 15).len() + again(&house, "u", 15).len(),
        30
    );
}

#[test]
fn dead_letters_are_given_up_by_their_age() {
    let house = dead(4);
    house.advance(3600);
    let young = START + 60_000;
    let old = Work::Purge {
        before: Some(young),
    };
    let operation = start(&house, old).unwrap();
    work(&house);
    assert_eq!(stands(&house, &operation), (OperationState::Done, 4));
    start(&house, redrive()).unwrap();
    work(&house);
    assert_eq!(again(&house, "t", 2), [] as [String; 0]);
    assert_eq!(house.broker.operations(Some("g")).len(), 2);
    assert_eq!(house.broker.operations(Some("h")).len(), 0);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let house = dead(1);
    let group = house.run(caller(1), |_| {
        house.broker.start_operation("none", redrive(), None)
    });
    assert!(matches!(group, Err(Error::GroupMissing { .. })));
    let nowhere = Work::Redrive {
        to: Some("nowhere".to_owned()),
        from: None,
        limit: None,
        per_second: None,
    };
    assert!(matches!(
        start(&house, nowhere),
        Err(Error::TopicMissing { .. })
    ));
    // A dead letter whose topic is gone stays.
    house
        .run(caller(1), |caller| house.broker.delete_topic(caller, "t"))
        .unwrap();
    let operation = start(&house, redrive()).unwrap();
    work(&house);
    assert_eq!(stands(&house, &operation), (OperationState::Done, 0));
    assert_eq!(house.broker.gone_dead_letters("g"), Ok(Vec::new()));
}

#[test]
fn dead_letters_go_neither_to_nor_from_what_no_client_sends_to() {
    let house = dead(1);
    let with = |to: Option<&str>, from: Option<&str>| Work::Redrive {
        to: to.map(str::to_owned),
        from: from.map(str::to_owned),
        limit: None,
        per_second: None,
    };
    for to in ["RMQ_SYS_TRANS_HALF_TOPIC", "SCHEDULE_TOPIC_XXXX"] {
        let refused = start(&house, with(Some(to), None)).unwrap_err();
        assert!(
            matches!(refused, Error::SystemTopicNotSendable(_)),
            "{to}: {refused}"
        );
    }
    let refused = start(&house, with(None, Some("no topic\u{2}state\u{1}done"))).unwrap_err();
    assert!(matches!(refused, Error::Name(_)), "{refused}");
    assert_eq!(house.broker.operations(None).len(), 0);
}

/// A new queue counts from 0 again: its letters must not count as gone.
#[test]
fn deleted_dead_letters_are_forgotten_with_what_was_gone_of_them() {
    let house = dead(4);
    start(&house, redrive()).unwrap();
    work(&house);
    assert_eq!(again(&house, "t", 2).len(), 2);
    let running = start(&house, redrive()).unwrap();
    house
        .run(caller(1), |caller| {
            house.broker.delete_topic(caller, "%DLQ%g")
        })
        .unwrap();
    assert_eq!(stands(&house, &running), (OperationState::Failed, 0));
    let ended = house.broker.operation(&running.id).unwrap();
    assert!(ended.why.unwrap().contains("%DLQ%g was deleted"));
    let house = house.killed();
    house.beat(2, "c", vec![consumer("g", &[("t", "*", 1)])]);
    bury(&house, "t", "new");
    assert_eq!(house.broker.gone_dead_letters("g"), Ok(Vec::new()));
    let last = start(&house, redrive()).unwrap();
    assert_eq!(last.total, 1);
    work(&house);
    assert_eq!(stands(&house, &last), (OperationState::Done, 1));
    assert_eq!(again(&house, "t", 3), ["0", "2", "new"]);
}

/// What a piece sent before the disk was full is not sent again when there is room.
#[test]
fn a_full_disk_in_the_middle_of_a_piece_sends_nothing_twice() {
    let disk = Stubborn::default();
    let moods = Arc::clone(&disk.moods);
    let house = dead_in(
        House::open(options(), Flush::Async, Arc::new(disk), START),
        30,
    );
    let operation = start(&house, redrive()).unwrap();
    house.broker.commit().unwrap();
    moods.full.store(true, Ordering::Relaxed);
    // What was reserved leaves room for some.
    let large = Produce {
        body: &[b'x'; 9_000],
        ..message("elsewhere")
    };
    while house.send(large).is_ok() {}
    house.broker.deadlines_step().unwrap();
    let (state, before) = stands(&house, &operation);
    assert_eq!(state, OperationState::Running);
    assert!(
        (1..30).contains(&before),
        "{before} before the disk was full"
    );
    moods.full.store(false, Ordering::Relaxed);
    house.clock.advance(Duration::from_secs(1));
    work(&house);
    assert_eq!(stands(&house, &operation), (OperationState::Done, 30));
    let sent = again(&house, "t", 15).len() + again(&house, "u", 15).len();
    assert_eq!(sent, 30);
}

/// What cannot be written down has not happened.
#[test]
fn an_operation_that_cannot_be_cancelled_goes_on() {
    let disk = Stubborn::default();
    let moods = Arc::clone(&disk.moods);
    let open = House::open(options(), Flush::Async, Arc::new(disk), START);
    let house = dead_in(open, 2);
    let operation = start(&house, redrive()).unwrap();
    moods.broken.store(true, Ordering::Relaxed);
    house.send(message("t")).unwrap_err();
    house
        .broker
        .cancel_operation(&operation.id)
        .expect_err("nothing can be stored");
    assert_eq!(stands(&house, &operation).0, OperationState::Running);
}

#[test]
fn an_operation_that_is_begun_again_under_its_name_is_the_same_one() {
    let house = dead(2);
    let purge = Work::Purge { before: None };
    let first = start_named(&house, redrive(), Some("k")).unwrap();
    assert!(!first.replayed);
    let again = start_named(&house, redrive(), Some("k")).unwrap();
    assert_eq!(
        (&again.operation.id, again.replayed),
        (&first.operation.id, true)
    );
    let other = start_named(&house, purge.clone(), Some("k"));
    assert_eq!(other.unwrap_err(), Error::IdempotencyDiffers);
    for name in ["", "k\u{2}group\u{1}other"] {
        let refused = start_named(&house, purge.clone(), Some(name)).unwrap_err();
        assert!(matches!(refused, Error::Invalid(_)), "{name:?}: {refused}");
    }
    // As safe as the first answer, whose caller may not have got it.
    let asked = house.broker.start_operation("g", redrive(), Some("k"));
    let Answer::After(mark, _) = asked.unwrap() else {
        panic!("nothing is waited for");
    };
    assert_eq!(mark.level, Level::Confirmed);
    work(&house);
    // Behind its end, and behind a kill, the name counts; for a day.
    let house = house.killed();
    let again = start_named(&house, redrive(), Some("k")).unwrap();
    assert_eq!(
        (&again.operation.id, again.replayed),
        (&first.operation.id, true)
    );
    assert_eq!(again.operation.state, OperationState::Done);
    house.advance(86_401);
    let anew = start_named(&house, purge, Some("k")).unwrap();
    assert!(!anew.replayed);
}
