//! Popping in order: what waits for what.

use std::time::Duration;

use broker::Pop;
use model::GroupName;
use model::group::GroupConfig;

use crate::house::{House, caller};
use crate::popping::{ack, all, extend, held, pass, pop, texts, try_pop};

fn in_order(topic: &str) -> Pop<'_> {
    Pop {
        order: true,
        ..all(topic)
    }
}

/// Messages of queue 0 with their message groups.
fn grouped(groups: &[&str]) -> House {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    for (n, group) in groups.iter().enumerate() {
        let properties = match group.is_empty() {
            true => String::new(),
            false => format!("__SHARDINGKEY\u{1}{group}\u{2}"),
        };
        house.put("t", 0, &n.to_string(), &properties);
    }
    house
}

#[test]
fn ordered_a_message_group_that_is_out_holds_up_only_itself() {
    let house = grouped(&["a", "b", "a", "c", "b"]);
    let one = Pop {
        max: 1,
        ..in_order("t")
    };
    let first = pop(&house, one);
    assert_eq!(texts(&first), ["0"]);
    // a is out: its second message stays, the others come.
    let others = pop(&house, in_order("t"));
    assert_eq!(texts(&others), ["1", "3", "4"]);
    assert_eq!(pop(&house, in_order("t")).len(), 0);
    ack(&house, &first[0]);
    assert_eq!(texts(&pop(&house, in_order("t"))), ["2"]);
}

#[test]
fn ordered_messages_without_a_group_follow_each_other() {
    let house = grouped(&["", "", "x"]);
    let one = Pop {
        max: 1,
        ..in_order("t")
    };
    let first = pop(&house, one);
    assert_eq!(texts(&first), ["0"]);
    assert_eq!(texts(&pop(&house, in_order("t"))), ["2"]);
    ack(&house, &first[0]);
    assert_eq!(texts(&pop(&house, in_order("t"))), ["1"]);
}

#[test]
fn ordered_what_is_not_acked_comes_back_in_its_place_counted() {
    let house = grouped(&["a", "a", "b"]);
    let first = pop(&house, in_order("t"));
    assert_eq!(texts(&first), ["0", "1", "2"]);
    assert!(first.iter().all(|got| got.times == 0));
    ack(&house, &first[2]);
    pass(&house, 10_000);
    let again = pop(&house, in_order("t"));
    assert_eq!(texts(&again), ["0", "1"]);
    assert!(again.iter().all(|got| got.times == 1 && got.real == "t"));
    // Its later message does not overtake the earlier one.
    ack(&house, &again[1]);
    pass(&house, 10_000);
    house.put("t", 0, "3", "__SHARDINGKEY\u{1}a\u{2}");
    let again = pop(&house, in_order("t"));
    assert_eq!(texts(&again), ["0", "3"]);
    assert_eq!((again[0].times, again[1].times), (2, 0));
}

#[test]
fn ordered_an_attempt_that_is_asked_again_gets_the_same_messages_not_counted() {
    let house = grouped(&["a", "a", "a"]);
    let attempt = |name| Pop {
        attempt: Some(name),
        max: 2,
        ..in_order("t")
    };
    let lost = pop(&house, attempt("1"));
    assert_eq!(texts(&lost), ["0", "1"]);
    assert_eq!(pop(&house, attempt("2")).len(), 0);
    let house = house.killed();
    house.clock.advance(Duration::from_millis(1));
    let again = pop(&house, attempt("1"));
    assert_eq!(texts(&again), ["0", "1"]);
    assert!(again.iter().all(|got| got.times == 0));
    // The handles of the lost answer are dead.
    ack(&house, &lost[0]);
    assert_eq!(house.broker.in_flight("g", "t", 0), 2);
    for got in &again {
        ack(&house, got);
    }
    assert_eq!(texts(&pop(&house, attempt("2"))), ["2"]);
}

#[test]
fn ordered_a_pop_that_waits_for_a_message_group_is_woken_by_its_ack() {
    let house = grouped(&["a", "a"]);
    let one = Pop {
        max: 1,
        ..in_order("t")
    };
    let first = pop(&house, one);
    let wanted = Pop {
        poll: 15_000,
        ..in_order("t")
    };
    held(&house, caller(4), &wanted);
    ack(&house, &first[0]);
    assert_eq!(house.woken(), [(4, 1)]);
    assert_eq!(texts(&try_pop(&house, caller(4), wanted).unwrap().1), ["1"]);
}

#[test]
fn ordered_state_survives_a_kill() {
    let house = grouped(&["a", "a", "b", "b"]);
    let one = Pop {
        max: 1,
        ..in_order("t")
    };
    let first = pop(&house, one);
    let second = pop(&house, one);
    assert_eq!((texts(&first), texts(&second)), (vec!["0"], vec!["2"]));
    let house = house.killed();
    assert_eq!(pop(&house, in_order("t")).len(), 0);
    ack(&house, &second[0]);
    assert_eq!(texts(&pop(&house, in_order("t"))), ["3"]);
    pass(&house, 10_000);
    let house = house.killed();
    let again = pop(&house, in_order("t"));
    assert_eq!(texts(&again), ["0", "1", "3"]);
    assert_eq!(
        again.iter().map(|got| got.times).collect::<Vec<_>>(),
        [1, 0, 1]
    );
}

#[test]
fn ordered_a_message_that_comes_back_too_often_is_a_dead_letter_and_frees_its_group() {
    let house = grouped(&["a", "a"]);
    let mut config = GroupConfig::new(GroupName::parse("g").unwrap());
    config.retry_max_times = 1;
    house
        .run(caller(9), |caller| {
            house.broker.update_groups(caller, &[config.clone()])
        })
        .unwrap();
    let one = Pop {
        max: 1,
        ..in_order("t")
    };
    for times in 0..2 {
        let got = pop(&house, one);
        assert_eq!((texts(&got), got[0].times), (vec!["0"], times));
        pass(&house, 10_000);
    }
    assert_eq!(texts(&pop(&house, one)), ["1"]);
    assert_eq!(house.broker.max_offset("%DLQ%g", 0), 1);
}

#[test]
fn ordered_a_message_kept_invisible_for_longer_keeps_its_group_out() {
    let house = grouped(&["a", "a"]);
    let one = Pop {
        max: 1,
        ..in_order("t")
    };
    let first = pop(&house, one);
    pass(&house, 5_000);
    let longer = extend(&house, &first[0], 20_000);
    pass(&house, 10_000);
    assert_eq!(pop(&house, one).len(), 0);
    ack(&house, &longer);
    assert_eq!(texts(&pop(&house, one)), ["1"]);
}
