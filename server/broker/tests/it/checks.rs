//! Questions to producers that are slow to decide, and what becomes of half messages nobody decides about.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker::{Answer, Caller, Decision, EndTransaction, Error, Options};
use model::LogOffset;
use model::message::{key, property};
use model::record::View;

use crate::house::{House, caller};
use crate::stubborn::Stubborn;
use crate::transactions::*;

#[test]
fn a_producer_is_asked_after_the_timeout_and_then_each_interval() {
    let house = house();
    prepare(&house, "slow", TRAN);
    pass(&house, 5, &[1]);
    assert_eq!(whom(&house), [] as [u64; 0]);
    pass(&house, 1, &[1]);
    assert_eq!(whom(&house), [1]);
    pass(&house, 29, &[1]);
    assert_eq!(whom(&house), [] as [u64; 0]);
    pass(&house, 1, &[1]);
    assert_eq!(whom(&house), [1]);
    assert_eq!(house.broker.metrics().transaction_checks, 2);
}

#[test]
fn an_immunity_comes_before_the_timeout() {
    let house = house();
    prepare(
        &house,
        "early",
        &format!("{TRAN}CHECK_IMMUNITY_TIME_IN_SECONDS\u{1}1\u{2}"),
    );
    prepare(
        &house,
        "later",
        &format!("{TRAN}CHECK_IMMUNITY_TIME_IN_SECONDS\u{1}20\u{2}"),
    );
    pass(&house, 1, &[1]);
    assert_eq!(whom(&house), [1]);
    pass(&house, 18, &[1]);
    assert_eq!(whom(&house), [] as [u64; 0]);
    pass(&house, 1, &[1]);
    assert_eq!(whom(&house), [1]);
}

#[test]
fn a_question_carries_the_message_as_it_is_meant_to_be() {
    let house = house();
    let half = prepare(&house, "slow", TRAN);
    pass(&house, 6, &[1]);
    let (_, check) = asked(&house).remove(0);
    assert_eq!(
        (check.queue_offset, check.log_offset),
        (half.queue, half.log)
    );
    assert_eq!(
        (check.unique_key.as_str(), check.broker.as_str()),
        ("U1", "broker-a")
    );
    let view = View::verify(&check.record, half.log).unwrap();
    assert_eq!((view.topic(), view.queue().0), ("t", 2));
    assert_eq!(view.body(), b"slow");
    assert_eq!(view.property(key::TRANSACTION_CHECK_TIMES), Some("1"));
    assert_eq!(property(view.properties(), key::TIMER_OUT_MS), None);
    end(&house, half, Decision::Commit, true).unwrap();
    let stored = content(&house, "t", 2);
    let view = View::parse(&stored[0]).unwrap();
    assert_eq!(view.property(key::TRANSACTION_CHECK_TIMES), Some("1"));
    pass(&house, 60, &[1]);
    assert_eq!(whom(&house), [] as [u64; 0], "decided is decided");
}

#[test]
fn another_member_of_the_group_is_asked_when_the_producer_is_gone() {
    let house = house();
    beat(&house, 1);
    prepare(&house, "slow", TRAN);
    beat(&house, 7);
    house.broker.closed(broker::ConnectionId(1));
    pass(&house, 6, &[7]);
    assert_eq!(whom(&house), [7]);
}

#[test]
fn who_stands_in_is_asked_when_producers_are_away_or_do_not_answer() {
    let house = house();
    prepare(&house, "slow", TRAN);
    beat_as(&house, 7, true);
    pass(&house, 6, &[1]);
    assert_eq!(whom(&house), [1]);
    pass(&house, 30, &[1]);
    assert_eq!(whom(&house), [7], "the producer did not answer");
    pass(&house, 30, &[1]);
    assert_eq!(whom(&house), [1]);
    house.broker.closed(broker::ConnectionId(1));
    prepare(&house, "other", TRAN);
    pass(&house, 6, &[]);
    assert_eq!(whom(&house), [7]);
}

#[test]
fn a_question_that_nobody_took_does_not_count() {
    let house = house_with(|options| options.transaction_check_max = 1);
    let half = prepare(&house, "slow", TRAN);
    pass(&house, 300, &[]);
    assert_eq!(house.broker.metrics().transaction_checks, 0);
    house.heard.deaf.lock().unwrap().insert(1);
    pass(&house, 300, &[1]);
    assert_eq!(house.broker.metrics().transaction_checks, 0);
    assert_eq!(house.broker.metrics().halves, 1);
    house.heard.deaf.lock().unwrap().clear();
    pass(&house, 1, &[1]);
    assert_eq!(whom(&house), [1]);
    end(&house, half, Decision::Commit, true).unwrap();
    assert_eq!(seen(&house), ["slow"]);
}

#[test]
fn a_producer_that_comes_back_is_asked_at_once() {
    let house = house();
    prepare(&house, "slow", TRAN);
    pass(&house, 400, &[]);
    pass(&house, 1, &[3]);
    assert_eq!(whom(&house), [3]);
}

#[test]
fn a_half_message_is_given_up_after_the_last_question_and_not_dropped() {
    let house = house_with(|options| options.transaction_check_max = 3);
    let half = prepare(&house, "slow", TRAN);
    pass(&house, 6 + 2 * 30 + 29, &[1]);
    assert_eq!(whom(&house), [1, 1, 1]);
    assert_eq!(house.broker.metrics().transactions_dead, 0);
    pass(&house, 1, &[1]);
    assert_eq!(whom(&house), [] as [u64; 0]);
    let metrics = house.broker.metrics();
    assert_eq!((metrics.transactions_dead, metrics.halves), (1, 0));
    let dead = content(&house, DEAD, 0);
    let view = View::parse(&dead[0]).unwrap();
    assert_eq!(view.body(), b"slow");
    assert_eq!(view.prepared_offset(), half.log.0);
    assert_eq!(view.property(key::REAL_TOPIC), Some("t"));
    assert_eq!(view.property(key::TRANSACTION_CHECK_TIMES), Some("3"));
    assert_eq!(seen(&house), [] as [&str; 0]);
}

/// A producer whose local transaction took longer than all questions: what it decides still counts.
#[test]
fn a_decision_about_a_dead_one_is_welcome_once() {
    for killed in [false, true] {
        let mut house = house_with(|options| options.transaction_check_max = 1);
        let half = prepare(&house, "slow", TRAN);
        pass(&house, 36, &[1]);
        assert_eq!(house.broker.metrics().transactions_dead, 1);
        index(&house);
        if killed {
            house = house.killed();
            index(&house);
        }
        commit(&house, half).unwrap();
        commit(&house, half).unwrap();
        let told = roll_back(&house, half).unwrap_err();
        assert_eq!(
            told,
            Error::TransactionDecided {
                first: Decision::Commit
            }
        );
        assert_eq!(seen(&house), ["slow"]);
    }
}

#[test]
fn what_nobody_can_be_asked_about_is_given_up_when_it_is_as_old_as_messages_get() {
    let house = house_with(|options| options.half_life = std::time::Duration::from_secs(7200));
    prepare(&house, "orphan", TRAN);
    for _ in 0..3 {
        house.advance(1800);
        house.broker.deadlines_step().unwrap();
    }
    assert_eq!(house.broker.metrics().transactions_dead, 0);
    for _ in 0..3 {
        house.advance(1800);
        house.broker.deadlines_step().unwrap();
    }
    assert_eq!(house.broker.metrics().transactions_dead, 1);
    assert_eq!(content(&house, DEAD, 0).len(), 1);
}

#[test]
fn how_often_was_asked_survives_a_kill() {
    let house = house_with(|options| options.transaction_check_max = 2);
    let half = prepare(&house, "slow", TRAN);
    pass(&house, 6, &[1]);
    assert_eq!(whom(&house), [1]);
    let house = house.killed();
    pass(&house, 29, &[1]);
    assert_eq!(whom(&house), [] as [u64; 0], "the interval goes on");
    pass(&house, 1, &[1]);
    assert_eq!(whom(&house), [1]);
    let house = house.killed();
    pass(&house, 30, &[1]);
    assert_eq!(whom(&house), [] as [u64; 0]);
    assert_eq!(house.broker.metrics().transactions_dead, 1);
    index(&house);
    let rows = house.store.rows(store::Table::Checks);
    assert_eq!(rows, [], "nothing is left of it");
    commit(&house, half).unwrap();
}

fn resume(house: &House, at: LogOffset) -> Result<(), Error> {
    let mut id = String::new();
    model::id::push_offset_id(&mut id, house.options.address, at);
    house.run(caller(9), |caller| {
        house.broker.resume_transaction(caller, &id)
    })
}

#[test]
fn a_dead_one_is_put_back_with_its_count_at_0() {
    let house = house_with(|options| options.transaction_check_max = 1);
    let half = prepare(&house, "slow", TRAN);
    pass(&house, 36, &[1]);
    assert_eq!(whom(&house), [1]);
    let dead = content(&house, DEAD, 0);
    let dead = View::parse(&dead[0]).unwrap().log_offset();
    index(&house);
    resume(&house, dead).unwrap();
    index(&house);
    resume(&house, dead).unwrap();
    resume(&house, half.log).unwrap();
    assert_eq!(house.broker.metrics().halves, 1, "twice is once");
    pass(&house, 1, &[1]);
    let (_, check) = asked(&house).remove(0);
    let view = View::parse(&check.record).unwrap();
    assert_eq!(view.property(key::TRANSACTION_CHECK_TIMES), Some("1"));
    assert_ne!(check.log_offset, half.log);
    let again = Half {
        queue: check.queue_offset,
        log: check.log_offset,
    };
    end(&house, again, Decision::Commit, true).unwrap();
    assert_eq!(seen(&house), ["slow"]);
    // The place its producer was told first means the same transaction.
    let told = roll_back(&house, half).unwrap_err();
    assert_eq!(
        told,
        Error::TransactionDecided {
            first: Decision::Commit
        }
    );
    let told = resume(&house, dead).unwrap_err();
    assert_eq!(
        told,
        Error::TransactionDecided {
            first: Decision::Commit
        }
    );
}

#[test]
fn a_decision_at_the_first_place_reaches_one_that_was_put_back() {
    let house = house_with(|options| options.transaction_check_max = 1);
    let half = prepare(&house, "slow", TRAN);
    pass(&house, 36, &[1]);
    index(&house);
    resume(&house, half.log).unwrap();
    let house = house.killed();
    index(&house);
    assert_eq!(house.broker.metrics().halves, 1);
    commit(&house, half).unwrap();
    assert_eq!(house.broker.metrics().halves, 0);
    assert_eq!(seen(&house), ["slow"]);
}

#[test]
fn one_that_still_waits_is_asked_about_at_once_when_it_is_resumed() {
    let house = house();
    let half = prepare(&house, "slow", TRAN);
    pass(&house, 6, &[1]);
    assert_eq!(whom(&house), [1]);
    resume(&house, half.log).unwrap();
    pass(&house, 1, &[1]);
    let (_, check) = asked(&house).remove(0);
    let view = View::parse(&check.record).unwrap();
    assert_eq!(view.property(key::TRANSACTION_CHECK_TIMES), Some("1"));
    assert_eq!(resume(&house, LogOffset(1 << 40)), Err(Error::HalfMissing));
}

fn forgetful() -> House {
    forgetful_on(store::disk::memory::Memory::default())
}

/// A broker that keeps half messages for long and others for three days.
fn forgetful_on(disk: impl store::Disk + 'static) -> House {
    let disk = Arc::new(disk);
    let options = Options {
        transaction_check_max: 2,
        half_life: std::time::Duration::from_secs(4_000 * 3600),
        ..crate::house::options()
    };
    let start = crate::house::START;
    let house = House::open_with(options, store::Flush::Async, disk, start, |store| {
        store.segment_size = 1 << 20;
        store.reserve_step = 1 << 18;
        store.delete_hours = (0..24).collect();
        store.tail_max = 0;
    });
    house.create("t", |_| ()).unwrap();
    house
}

/// Time passes until what was stored before is deleted.
fn outlive(house: &House) {
    let before = house.store.marks().appended;
    let filler = "x".repeat(100_000);
    for _ in 0..30 {
        house.put("filler", 0, &filler, "");
        house.advance(6 * 3600);
    }
    house.store.settle().unwrap();
    house.broker.retain_step();
    house.store.settle().unwrap();
    house.broker.flushed();
    assert!(house.store.log_start() >= before, "its segment is gone");
}

/// The body is written again before its segment is deleted; what was asked moves along.
#[test]
fn a_half_message_outlives_its_segment_with_its_count() {
    let house = forgetful();
    let half = prepare(&house, "old", TRAN);
    pass(&house, 6, &[1]);
    assert_eq!(whom(&house), [1]);
    house.broker.closed(broker::ConnectionId(1));
    outlive(&house);
    assert!(house.store.log_start() > half.log);
    house.broker.deadlines_step().unwrap();
    assert_eq!(house.broker.metrics().halves, 1);
    pass(&house, 2, &[1]);
    let (_, check) = asked(&house).remove(0);
    let view = View::parse(&check.record).unwrap();
    assert_eq!(view.property(key::TRANSACTION_CHECK_TIMES), Some("2"));
    let moved = Half {
        queue: check.queue_offset,
        log: check.log_offset,
    };
    end(&house, moved, Decision::Commit, true).unwrap();
    assert_eq!(seen(&house), ["old"]);
}

/// Its producer knows nothing of the other place.
#[test]
fn a_half_message_whose_segment_is_gone_is_ended_by_its_first_place() {
    let house = forgetful();
    let half = prepare(&house, "old", TRAN);
    let other = prepare(&house, "never", TRAN);
    outlive(&house);
    // What it is known by outlives a kill, and the next deletion.
    let house = house.killed();
    outlive(&house);
    let wrong = Half {
        queue: model::QueueOffset(9),
        ..half
    };
    assert!(matches!(commit(&house, wrong), Err(Error::HalfDiffers(_))));
    commit(&house, half).unwrap();
    roll_back(&house, other).unwrap();
    assert_eq!(seen(&house), ["old"]);
    // The first decision stands, by that place too.
    commit(&house, half).unwrap();
    assert_eq!(
        roll_back(&house, half),
        Err(Error::TransactionDecided {
            first: Decision::Commit
        })
    );
    // Once nothing of it is left, it is unknown, and so is the place.
    outlive(&house);
    outlive(&house);
    assert_eq!(commit(&house, half), Err(Error::HalfMissing));
    assert!(house.store.rows(store::Table::Moved).is_empty());
}

/// Retention appends a half message again between the job that read it and its end.
#[test]
fn a_half_message_that_moves_while_it_is_being_ended_is_ended() {
    let disk = Stubborn::default();
    let moods = Arc::clone(&disk.moods);
    let house = forgetful_on(disk);
    let half = prepare(&house, "old", TRAN);
    let end = EndTransaction {
        group: "p",
        queue_offset: half.queue.0 as i64,
        log_offset: half.log.0 as i64,
        decision: Decision::Commit,
        from_check: false,
    };
    moods.cold.store(true, Ordering::Relaxed);
    let Answer::Cold(job) = house.broker.end_transaction(&caller(1), &end).unwrap() else {
        panic!("not cold")
    };
    job();
    moods.cold.store(false, Ordering::Relaxed);
    crate::pop_kept::outlive(&house);
    let again = Caller {
        may_wait: false,
        ..caller(1)
    };
    house
        .run(again, |caller| house.broker.end_transaction(caller, &end))
        .unwrap();
    assert_eq!(seen(&house), ["old"]);
    assert_eq!(house.broker.metrics().halves, 0);
}
