//! Pops that wait: who is woken, and by what.

use std::time::Duration;

use broker::{Pop, PopVerdict};

use crate::house::caller;
use crate::popping::{all, filled, held, pass, pop, texts, try_pop};

fn waiting(topic: &str) -> Pop<'_> {
    Pop {
        poll: 15_000,
        ..all(topic)
    }
}

#[test]
fn a_held_pop_is_woken_by_a_message_and_only_one_of_those_who_want_the_same() {
    let house = filled(0);
    let wanted = waiting("t");
    held(&house, caller(3), &wanted);
    held(&house, caller(4), &wanted);
    house.put("t", 2, "x", "");
    assert_eq!(house.woken(), [(3, 1)]);
    assert_eq!(texts(&try_pop(&house, caller(3), wanted).unwrap().1), ["x"]);
    assert_eq!(house.woken(), []);
    // Two more: whoever is woken wakes the next.
    held(&house, caller(3), &wanted);
    house.put("t", 1, "y", "");
    house.put("t", 2, "z", "");
    assert_eq!(house.woken(), [(4, 1), (3, 1)]);
    let one = Pop { max: 1, ..wanted };
    assert_eq!(try_pop(&house, caller(4), one).unwrap().1.len(), 1);
    assert_eq!(try_pop(&house, caller(3), one).unwrap().1.len(), 1);
}

#[test]
fn who_waits_with_the_same_name_gets_what_the_other_got_at_once() {
    let house = filled(0);
    let named = |attempt| Pop {
        attempt: Some(attempt),
        ..waiting("t")
    };
    for (connection, attempt) in [(3, "a"), (4, "b"), (5, "a")] {
        held(&house, caller(connection), &named(attempt));
    }
    house.put("t", 2, "x", "");
    assert_eq!(house.woken(), [(3, 1)]);
    let (_, first) = try_pop(&house, caller(3), named("a")).unwrap();
    assert_eq!(house.woken(), [(5, 1)]);
    let (_, same) = try_pop(&house, caller(5), named("a")).unwrap();
    assert_eq!((texts(&first), texts(&same)), (vec!["x"], vec!["x"]));
    assert_eq!(first[0].receipt, same[0].receipt);
    assert_eq!(house.woken(), []);
}

#[test]
fn a_held_pop_is_woken_by_what_comes_back() {
    let house = filled(1);
    assert_eq!(pop(&house, all("t")).len(), 1);
    let wanted = waiting("t");
    held(&house, caller(3), &wanted);
    pass(&house, 10_000);
    assert_eq!(house.woken(), [(3, 1)]);
    assert_eq!(texts(&try_pop(&house, caller(3), wanted).unwrap().1), ["0"]);
}

#[test]
fn a_wake_up_for_a_connection_that_closed_goes_to_the_next() {
    let house = filled(0);
    let wanted = waiting("t");
    held(&house, caller(3), &wanted);
    held(&house, caller(4), &wanted);
    house.put("t", 0, "x", "");
    assert_eq!(house.woken(), [(3, 1)]);
    house.broker.closed(broker::ConnectionId(3));
    assert_eq!(house.woken(), [(4, 1)]);
}

#[test]
fn a_pop_that_waited_in_vain_is_told_so_in_time() {
    let house = filled(0);
    let wanted = waiting("t");
    held(&house, caller(3), &wanted);
    house.clock.advance(Duration::from_millis(15_000));
    let mut late = caller(3);
    late.may_wait = false;
    let (popped, got) = try_pop(&house, late, wanted).unwrap();
    assert_eq!((popped.verdict, got.len()), (PopVerdict::Timeout, 0));
}

#[test]
fn too_many_waiters_are_told_so() {
    let house = filled(0);
    let wanted = waiting("t");
    for connection in 0..1024 {
        held(&house, caller(connection + 10), &wanted);
    }
    let (popped, _) = try_pop(&house, caller(3), wanted).unwrap();
    assert_eq!(popped.verdict, PopVerdict::Full);
    house.broker.closed(broker::ConnectionId(10));
    held(&house, caller(3), &wanted);
}
