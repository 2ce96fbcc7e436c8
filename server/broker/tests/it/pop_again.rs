//! Pops and extensions with a name, made again as by a caller that lost the answer.

use std::time::Duration;

use broker::{Ack, Error, Pop};

use crate::house::{House, caller};
use crate::popping::{Got, ack, ack_of, all, extend_once, pass, pop, sorted, texts, try_pop};

fn filled() -> House {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    for n in 0..6 {
        house.put("t", n % 3, &n.to_string(), "");
    }
    house
}

fn named(attempt: &str) -> Pop<'_> {
    Pop {
        attempt: Some(attempt),
        max: 4,
        ..all("t")
    }
}

fn receipts(got: &[Got]) -> Vec<&str> {
    got.iter().map(|one| &*one.receipt).collect()
}

#[test]
fn a_pop_with_a_name_gets_the_same_messages_on_the_same_leases() {
    let house = filled();
    let first = pop(&house, named("a"));
    assert_eq!(first.len(), 4);
    pass(&house, 1_000);
    let again = pop(&house, named("a"));
    assert_eq!(texts(&again), texts(&first));
    assert_eq!(receipts(&again), receipts(&first));
    assert!(again.iter().all(|one| one.times == 0));
    // Another name, and no name, get what is left; nothing of the first.
    let rest = pop(&house, named("b"));
    assert_eq!(rest.len(), 2);
    assert_eq!(pop(&house, all("t")).len(), 0);
    // What is settled is no part of it any more.
    ack(&house, &first[3]);
    assert_eq!(texts(&pop(&house, named("a"))), texts(&first[..3]));
    // When the leases are over, the name is as good as new.
    pass(&house, 10_001);
    pass(&house, 1);
    let back = pop(&house, named("a"));
    assert!(!back.is_empty());
    assert!(back.iter().all(|one| one.times == 1), "{back:?}");
}

#[test]
fn a_pop_that_is_one_request_says_that_it_came_again_and_refuses_another_one() {
    for order in [false, true] {
        let house = filled();
        let one = Pop {
            once: true,
            order,
            ..named("a")
        };
        let (answer, first) = try_pop(&house, caller(3), one).unwrap();
        assert!(!answer.replayed && !first.is_empty());
        pass(&house, 1_000);
        let (answer, again) = try_pop(&house, caller(3), one).unwrap();
        assert!(answer.replayed);
        assert_eq!(receipts(&again), receipts(&first), "in order: {order}");
        assert!(again.iter().all(|one| one.times == 0));
        for other in [
            Pop { max: 5, ..one },
            Pop {
                invisible: 20_000,
                ..one
            },
        ] {
            let refused = try_pop(&house, caller(3), other).unwrap_err();
            assert_eq!(refused, Error::IdempotencyDiffers);
        }
        for got in &first {
            ack(&house, got);
        }
        // Nothing of it is out: the name is as good as new.
        let (answer, _) = try_pop(&house, caller(3), Pop { max: 5, ..one }).unwrap();
        assert!(!answer.replayed);
    }
}

#[test]
fn in_order_a_pop_that_is_one_request_is_known_behind_a_kill() {
    let house = filled();
    let one = Pop {
        once: true,
        order: true,
        ..named("a")
    };
    let first = pop(&house, one);
    let house = house.killed();
    house.clock.advance(Duration::from_millis(1));
    let (answer, again) = try_pop(&house, caller(3), one).unwrap();
    assert!(answer.replayed);
    assert_eq!(sorted(&again), sorted(&first));
}

#[test]
fn a_pop_that_got_nothing_uses_no_name_up() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    assert_eq!(pop(&house, named("a")).len(), 0);
    house.put("t", 0, "x", "");
    assert_eq!(texts(&pop(&house, named("a"))), ["x"]);
}

#[test]
fn an_extension_with_a_name_is_made_once_and_a_kill_forgets_it_not() {
    let house = filled();
    let got = pop(&house, named("a"));
    let (first, replayed) = extend_once(&house, &got[0], 600_000, Some("k")).unwrap();
    assert!(!replayed);
    assert_ne!(first.receipt, got[0].receipt);
    let again = extend_once(&house, &got[0], 600_000, Some("k")).unwrap();
    assert_eq!((&again.0.receipt, again.1), (&first.receipt, true));
    let other = extend_once(&house, &got[0], 700_000, Some("k"));
    assert_eq!(other.unwrap_err(), Error::IdempotencyDiffers);
    house.broker.deadlines_step().unwrap();
    let house = house.killed();
    let again = extend_once(&house, &got[0], 600_000, Some("k")).unwrap();
    assert_eq!((&again.0.receipt, again.1), (&first.receipt, true));
    assert_eq!(out(&house, &[&got[0], &first]), [false, true]);
    ack(&house, &first);
    assert_eq!(out(&house, &[&got[0], &first]), [false, false]);
    // Nothing is there any more that could be answered again.
    let (_, replayed) = extend_once(&house, &got[0], 600_000, Some("k")).unwrap();
    assert!(!replayed);
}

fn out(house: &House, asked: &[&Got]) -> Vec<bool> {
    let asked: Vec<Ack<'_>> = asked.iter().map(|got| ack_of("g", got)).collect();
    house.broker.leases_out("g", "t", &asked).1
}

#[test]
fn a_broker_says_what_a_group_has_out() {
    let house = filled();
    assert_eq!(house.broker.leases_out("g", "t", &[]), (0, vec![]));
    let got = pop(&house, named("a"));
    assert_eq!(sorted(&got).len(), 4);
    let asked: Vec<Ack<'_>> = got.iter().map(|one| ack_of("g", one)).collect();
    assert_eq!(
        house.broker.leases_out("g", "t", &asked),
        (4, vec![true; 4])
    );
    ack(&house, &got[1]);
    let told = house.broker.leases_out("g", "t", &asked);
    assert_eq!(told, (3, vec![true, false, true, true]));
    // No lease at all, and those of another group.
    let nonsense = Ack {
        receipt: "nonsense",
        ..asked[0]
    };
    let strange = Ack {
        group: "other",
        ..asked[0]
    };
    let told = house.broker.leases_out("g", "t", &[nonsense, strange]);
    assert_eq!(told, (3, vec![false, false]));
    pass(&house, 10_001);
    assert_eq!(house.broker.leases_out("g", "t", &asked).1, [false; 4]);
}
