//! Pulls that wait: who wakes them, who must not wait, and that no wake-up is lost.

use std::time::Duration;

use broker::{Answer, Caller, Error, Pull, Verdict};

use crate::house::{House, caller, from_start, message};

fn held(house: &House, caller: &Caller, pull: &Pull<'_>) -> Option<Duration> {
    match house.broker.pull(caller, pull, &mut Vec::new()).unwrap() {
        Answer::Hold(limit) => Some(limit),
        _ => None,
    }
}

fn again(caller: Caller) -> Caller {
    Caller {
        may_wait: false,
        ..caller
    }
}

#[test]
fn a_held_pull_is_woken_by_the_message_and_answers_it() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    let pull = Pull {
        suspend: Some(Duration::from_secs(15)),
        ..from_start("t")
    };
    assert_eq!(
        held(&house, &caller(2), &pull),
        Some(Duration::from_secs(15))
    );
    assert_eq!(house.broker.metrics().pulls_held, 1);
    house.put("t", 1, "another queue", "");
    assert_eq!(house.woken(), []);
    house.put("t", 0, "here", "");
    assert_eq!(house.woken(), [(2, 1)]);
    house.put("t", 0, "more", "");
    assert_eq!(house.woken(), [], "once");
    let (pulled, bodies) = house.pull_as(again(caller(2)), pull).unwrap();
    assert_eq!(
        (pulled.verdict, bodies),
        (Verdict::Found, vec!["here".into(), "more".into()])
    );
    assert_eq!(house.broker.metrics().pulls_held, 0);
}

#[test]
fn in_synchronous_mode_the_flush_wakes() {
    let house = House::synchronous();
    house.create("t", |_| ()).unwrap();
    let pull = Pull {
        suspend: Some(Duration::from_secs(15)),
        ..from_start("t")
    };
    held(&house, &caller(2), &pull).unwrap();
    house.broker.produce(&caller(1), &message("t")).unwrap();
    house.broker.commit().unwrap();
    assert_eq!(house.woken(), []);
    house.store.flush_step().unwrap();
    house.broker.flushed();
    assert_eq!(house.woken(), [(2, 1)]);
}

#[test]
fn a_message_the_filter_lets_through_not_does_not_wake() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    let pull = Pull {
        suspend: Some(Duration::from_secs(15)),
        expression: Some("A"),
        ..from_start("t")
    };
    held(&house, &caller(2), &pull).unwrap();
    house.put("t", 0, "b", "TAGS\u{1}B\u{2}");
    assert_eq!(house.woken(), []);
    house.put("t", 0, "a", "TAGS\u{1}A\u{2}");
    assert_eq!(house.woken(), [(2, 1)]);
}

#[test]
fn who_must_not_wait_is_answered() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    let waiting = Pull {
        suspend: Some(Duration::from_secs(15)),
        ..from_start("t")
    };
    assert_eq!(
        held(&house, &caller(2), &from_start("t")),
        None,
        "no suspend bit"
    );
    assert_eq!(
        held(&house, &again(caller(2)), &waiting),
        None,
        "runs again"
    );
    let moved = Pull {
        offset: 7,
        ..waiting
    };
    assert_eq!(
        held(&house, &caller(2), &moved),
        None,
        "an offset that does not exist"
    );
    let house = House::with(|options| options.long_polling = false);
    house.create("t", |_| ()).unwrap();
    assert_eq!(
        held(&house, &caller(2), &waiting),
        Some(Duration::from_millis(1000))
    );
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    let long = Pull {
        suspend: Some(Duration::from_secs(3600)),
        ..from_start("t")
    };
    let limit = held(&house, &caller(2), &long).unwrap();
    assert!(
        limit < Duration::from_secs(30),
        "below the client's own limit"
    );
}

#[test]
fn a_deleted_topic_wakes_who_waits_for_it() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    let pull = Pull {
        suspend: Some(Duration::from_secs(15)),
        ..from_start("t")
    };
    held(&house, &caller(2), &pull).unwrap();
    house
        .run(caller(9), |caller| house.broker.delete_topic(caller, "t"))
        .unwrap();
    assert_eq!(house.woken(), [(2, 1)]);
    let error = house.pull_as(again(caller(2)), pull).unwrap_err();
    assert!(matches!(error, Error::TopicMissing { .. }));
}

#[test]
fn who_is_gone_is_forgotten_after_the_deadline() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    let pull = Pull {
        suspend: Some(Duration::from_secs(15)),
        ..from_start("t")
    };
    held(&house, &caller(2), &pull).unwrap();
    house.advance(15);
    assert_eq!(house.broker.metrics().pulls_held, 1);
    house.advance(1);
    assert_eq!(house.broker.metrics().pulls_held, 0);
}

/// Whoever finds the queue empty while a message arrives is either answered or woken.
#[test]
fn no_wake_up_is_lost_between_the_look_and_the_wait() {
    let house = std::sync::Arc::new(House::new());
    house.create("t", |_| ()).unwrap();
    const MESSAGES: u64 = 3000;
    let producer = {
        let house = std::sync::Arc::clone(&house);
        std::thread::spawn(move || {
            for _ in 0..MESSAGES {
                house.broker.produce(&caller(1), &message("t")).unwrap();
                house.broker.commit().unwrap();
            }
        })
    };
    let mut next = 0;
    let mut asks = caller(2);
    let began = std::time::Instant::now();
    while next < MESSAGES {
        asks.ticket += 1; // a wake-up of an earlier pull is none of this one
        let pull = Pull {
            offset: next as i64,
            suspend: Some(Duration::from_secs(15)),
            ..from_start("t")
        };
        let mut out = Vec::new();
        match house.broker.pull(&asks, &pull, &mut out).unwrap() {
            Answer::Ready(pulled) | Answer::After(_, pulled) => next = pulled.next.0,
            Answer::Hold(_) => {
                while !house.woken().contains(&(2, asks.ticket)) {
                    assert!(
                        began.elapsed() < Duration::from_secs(20),
                        "slept for ever at {next}"
                    );
                    std::thread::yield_now();
                }
                let (pulled, _) = house.pull_as(again(asks), pull).unwrap();
                assert_eq!(
                    pulled.verdict,
                    Verdict::Found,
                    "woken for nothing at {next}"
                );
                next = pulled.next.0;
            }
            Answer::Cold(_) => panic!("cold"),
        }
    }
    producer.join().unwrap();
}
