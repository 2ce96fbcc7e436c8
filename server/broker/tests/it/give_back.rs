//! Leases given back by hand: released, counted or not, and made dead letters with a reason.

use broker::{DeadLetter, Error, Pop, Release};
use model::record::View;

use crate::house::{House, caller};
use crate::popping::{Got, ack, ack_of, all, committed, held, pass, pop, texts};
use crate::transactions::content;

fn filled(count: usize, properties: &str) -> House {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    for n in 0..count {
        house.put("t", 0, &n.to_string(), properties);
    }
    house
}

fn release(house: &House, got: &Got, delay: i64, count_attempt: bool) -> Result<bool, Error> {
    let release = Release {
        ack: ack_of("g", got),
        delay,
        count_attempt,
    };
    house.run(caller(3), |caller| house.broker.release(caller, &release))
}

fn bury(house: &House, got: &Got, reason: Option<&str>) -> Result<bool, Error> {
    let letter = DeadLetter {
        ack: ack_of("g", got),
        reason,
    };
    house.run(caller(3), |caller| {
        house.broker.dead_letter(caller, &letter)
    })
}

#[test]
fn released_uncounted_it_comes_at_once_in_its_place_as_if_nobody_had_popped_it() {
    let house = filled(3, "");
    let got = pop(&house, all("t"));
    assert_eq!(release(&house, &got[1], 0, false), Ok(true));
    let again = pop(&house, all("t"));
    assert_eq!(
        (texts(&again), again[0].times, &*again[0].real),
        (vec!["1"], 0, "t")
    );
    // The old handle is dead, the new one counts.
    assert_eq!(release(&house, &got[1], 0, false), Ok(false));
    assert_eq!(bury(&house, &got[1], None), Ok(false));
    ack(&house, &got[1]);
    assert_eq!(house.broker.in_flight("g", "t", 0), 3);
    for got in [&got[0], &again[0], &got[2]] {
        ack(&house, got);
    }
    assert_eq!(committed(&house, "t", 0), 3);
    pass(&house, 60_000);
    assert_eq!(pop(&house, all("t")).len(), 0);
}

#[test]
fn released_uncounted_it_comes_after_its_delay_to_the_millisecond_and_across_a_kill() {
    let house = filled(1, "");
    let got = pop(&house, all("t"));
    assert_eq!(release(&house, &got[0], 1_500, false), Ok(true));
    let house = house.killed();
    pass(&house, 1_499);
    assert_eq!(pop(&house, all("t")).len(), 0);
    pass(&house, 1);
    let again = pop(&house, all("t"));
    assert_eq!(
        (texts(&again), again[0].times, &*again[0].real),
        (vec!["0"], 0, "t")
    );
}

#[test]
fn released_counted_it_comes_after_its_delay_by_the_retry_topic() {
    let house = filled(1, "");
    let got = pop(&house, all("t"));
    assert_eq!(release(&house, &got[0], 700, true), Ok(true));
    pass(&house, 699);
    assert_eq!(pop(&house, all("t")).len(), 0);
    pass(&house, 1);
    let again = pop(&house, all("t"));
    assert_eq!((texts(&again), again[0].times), (vec!["0"], 1));
    assert_eq!(again[0].real, "%RETRY%g_t");
    // Released uncounted from there, it is there again with the same count.
    assert_eq!(release(&house, &again[0], 0, false), Ok(true));
    let third = pop(&house, all("t"));
    assert_eq!((third[0].times, &*third[0].real), (1, "%RETRY%g_t"));
}

#[test]
fn released_in_order_it_comes_before_what_follows_it() {
    let house = filled(2, "__SHARDINGKEY\u{1}a\u{2}");
    let one = Pop {
        max: 1,
        order: true,
        ..all("t")
    };
    let got = pop(&house, one);
    assert_eq!(release(&house, &got[0], 0, false), Ok(true));
    let again = pop(&house, one);
    assert_eq!((texts(&again), again[0].times), (vec!["0"], 0));
    assert_eq!(release(&house, &again[0], 0, true), Ok(true));
    pass(&house, 0);
    let third = pop(&house, one);
    assert_eq!((texts(&third), third[0].times), (vec!["0"], 1));
}

#[test]
fn who_waits_is_woken_by_what_is_released() {
    let house = filled(1, "");
    let got = pop(&house, all("t"));
    let waits = Pop {
        poll: 10_000,
        ..all("t")
    };
    held(&house, caller(9), &waits);
    house.woken();
    release(&house, &got[0], 0, false).unwrap();
    assert_eq!(house.woken(), [(9, 1)]);
}

#[test]
fn a_negative_delay_is_refused_and_nothing_is_done() {
    let house = filled(1, "");
    let got = pop(&house, all("t"));
    assert!(matches!(
        release(&house, &got[0], -1, true),
        Err(Error::Invalid(_))
    ));
    assert_eq!(house.broker.in_flight("g", "t", 0), 1);
}

#[test]
fn a_dead_letter_says_why_and_comes_no_more() {
    let house = filled(2, "TAGS\u{1}a\u{2}");
    let got = pop(&house, all("t"));
    let reason = format!("bad\nschema{}", "x".repeat(2_000));
    assert_eq!(bury(&house, &got[0], Some(&reason)), Ok(true));
    assert_eq!(bury(&house, &got[0], Some("again")), Ok(false));
    ack(&house, &got[1]);
    let dead = content(&house, "%DLQ%g", 0);
    assert_eq!(dead.len(), 1);
    let view = View::parse(&dead[0]).unwrap();
    assert_eq!(view.body(), b"0");
    let said = view.property("DLQ_REASON").unwrap();
    assert!(said.starts_with("bad schema"));
    assert_eq!(said.chars().count(), 1_024);
    assert_eq!(view.property("DLQ_ORIGIN_TOPIC"), Some("t"));
    assert_eq!(view.property("TAGS"), Some("a"));
    let house = house.killed();
    pass(&house, 60_000);
    assert_eq!(pop(&house, all("t")).len(), 0);
    assert_eq!(committed(&house, "t", 0), 2);
}
