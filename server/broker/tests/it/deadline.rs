//! Half messages with a deadline, how a transaction stands, and lists of what waits.

use broker::{Decision, Error, Listed, TransactionState};
use model::record::View;

use crate::house::{House, START, caller, message};
use crate::transactions::*;
use broker::Produce;

/// A producer's deadline, so many seconds from the start.
fn until(seconds: i64) -> String {
    format!("{TRAN}EXPIRES_AT\u{1}{}\u{2}", START + seconds * 1_000)
}

fn state(house: &House, half: Half) -> Result<TransactionState, Error> {
    let (queue, log) = (half.queue.0 as i64, half.log.0 as i64);
    house.run(caller(1), |caller| {
        house.broker.transaction_state(caller, "p", queue, log)
    })
}

fn pending(checks: u32, seconds: Option<i64>) -> Result<TransactionState, Error> {
    Ok(TransactionState::Pending {
        checks,
        expires_at: seconds.map(|seconds| START + seconds * 1_000),
    })
}

#[test]
fn one_with_a_deadline_is_kept_until_then_though_it_was_asked_about_often_enough() {
    let house = House::with(|options| options.transaction_check_max = 2);
    house.create("t", |_| ()).unwrap();
    let kept = prepare(&house, "kept", &until(600));
    let plain = prepare(&house, "plain", TRAN);
    for _ in 0..200 {
        pass(&house, 1, &[1]);
    }
    assert_eq!(house.broker.metrics().transaction_checks, 4);
    assert_eq!(state(&house, plain), Ok(TransactionState::TimedOut));
    assert_eq!(state(&house, kept), pending(2, Some(600)));
    // A kill forgets neither, and a late commit counts.
    let house = house.killed();
    pass(&house, 10, &[1]);
    end(&house, kept, Decision::Commit, true).unwrap();
    assert_eq!(seen(&house), ["kept"]);
    assert_eq!(state(&house, kept), Ok(TransactionState::Committed));
    let records = content(&house, "t", 2);
    let view = View::parse(&records[0]).unwrap();
    assert_eq!(view.property("EXPIRES_AT"), None);
    assert_eq!(view.property("k"), None);
}

#[test]
fn behind_its_deadline_it_is_rolled_back_for_good_and_a_copy_is_kept() {
    let mut house = House::with(|options| options.transaction_check_max = 1);
    house.create("t", |_| ()).unwrap();
    let half = prepare(&house, "late", &until(100));
    for _ in 0..99 {
        pass(&house, 1, &[]);
    }
    assert_eq!(state(&house, half), pending(0, Some(100)));
    pass(&house, 2, &[]);
    for _ in 0..2 {
        assert_eq!(state(&house, half), Ok(TransactionState::TimedOut));
        let first = Decision::Rollback;
        let refused = Err(Error::TransactionDecided { first });
        assert_eq!(end(&house, half, Decision::Commit, true), refused);
        assert_eq!(end(&house, half, Decision::Rollback, true), Ok(()));
        assert_eq!(seen(&house), [] as [String; 0]);
        let dead = content(&house, "TRANS_CHECK_MAX_TIME_TOPIC", 0);
        assert_eq!(dead.len(), 1);
        assert_eq!(View::parse(&dead[0]).unwrap().body(), b"late");
        assert_eq!(house.broker.metrics().halves, 0);
        house = house.killed();
        house.store.derive_step();
    }
}

#[test]
fn a_deadline_that_is_none_is_refused_by_name() {
    let house = house();
    for wrong in ["soon", "-5", "0"] {
        let properties = format!("{TRAN}EXPIRES_AT\u{1}{wrong}\u{2}");
        let refused = house.send(half("x", &properties)).unwrap_err();
        assert!(refused.to_string().contains("EXPIRES_AT"), "{refused}");
    }
    assert_eq!(house.broker.metrics().halves, 0);
}

#[test]
fn a_transaction_says_how_it_stands() {
    let house = house();
    let [a, b, c] = ["a", "b", "c"].map(|body| prepare(&house, body, TRAN));
    assert_eq!(state(&house, a), pending(0, None));
    pass(&house, 6, &[1]);
    assert_eq!(state(&house, a), pending(1, None));
    commit(&house, a).unwrap();
    roll_back(&house, b).unwrap();
    let house = house.killed();
    house.store.derive_step();
    assert_eq!(state(&house, a), Ok(TransactionState::Committed));
    assert_eq!(state(&house, b), Ok(TransactionState::RolledBack));
    assert_eq!(state(&house, c), pending(1, None));
    let wrong = Half {
        queue: model::QueueOffset(7),
        ..a
    };
    assert!(matches!(state(&house, wrong), Err(Error::HalfDiffers(_))));
    let nothing = Half {
        log: model::LogOffset(1 << 40),
        ..a
    };
    assert_eq!(state(&house, nothing), Err(Error::HalfMissing));
}

fn delayed(house: &House, topic: &str, after: Option<String>, max: i32) -> Result<Listed, Error> {
    house.run(caller(1), |caller| {
        (house.broker).list_delayed(caller, topic, after.as_deref(), Some(max))
    })
}

#[test]
fn what_waits_of_a_topic_is_listed_in_the_order_it_is_due_part_by_part() {
    let house = house();
    house.create("other", |_| ()).unwrap();
    for n in (1..=20).rev() {
        for topic in ["t", "other"] {
            let properties = format!("TIMER_DELAY_SEC\u{1}{n}\u{2}UNIQ_KEY\u{1}{topic}{n}\u{2}");
            let send = Produce {
                properties: &properties,
                ..message(topic)
            };
            house.send(send).unwrap();
        }
    }
    house.put("t", 1, "level", "DELAY\u{1}18\u{2}UNIQ_KEY\u{1}level\u{2}");
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let listed = delayed(&house, "t", after, 3).unwrap();
        assert!(listed.messages.len() <= 3);
        all.extend(listed.messages);
        match listed.next {
            Some(next) => after = Some(next.to_string()),
            None => break,
        }
    }
    let keys: Vec<&str> = all.iter().map(|waiting| &*waiting.unique_key).collect();
    let mut expected: Vec<String> = (1..=20).map(|n| format!("t{n}")).collect();
    expected.push("level".to_owned());
    assert_eq!(keys, expected);
    assert_eq!(all[0].due, START + 1_000);
    assert_eq!((all[20].level, all[20].queue), (Some(18), 1));
    assert_eq!(all[20].recall_handle, None);
    // A handle from the list calls back.
    let handle = all[4].recall_handle.clone().unwrap();
    let recalled = house.run(caller(1), |caller| {
        house.broker.recall(caller, "t", &handle)
    });
    assert!(recalled.unwrap().recalled);
    assert_eq!(delayed(&house, "t", None, 100).unwrap().messages.len(), 20);
    let none = delayed(&house, "none", None, 1);
    assert!(matches!(none, Err(Error::TopicMissing { .. })));
    let wrong = delayed(&house, "t", Some("here".to_owned()), 1);
    assert_eq!(wrong.unwrap_err().to_string(), "no list ended at \"here\"");
}

#[test]
fn open_transactions_of_a_topic_are_listed() {
    let house = house();
    let open = prepare(&house, "open", &until(300));
    let done = prepare(&house, "done", TRAN);
    commit(&house, done).unwrap();
    pass(&house, 6, &[1]);
    let listed = house.run(caller(1), |caller| {
        house.broker.list_transactions(caller, "t", None, None)
    });
    let listed = listed.unwrap();
    assert_eq!((listed.messages.len(), listed.next), (1, None));
    let half = &listed.messages[0];
    assert_eq!((half.queue_offset, half.log_offset), (open.queue, open.log));
    assert_eq!((&*half.group, half.checks), ("p", 1));
    assert_eq!(half.expires_at, Some(START + 300_000));
}
