//! The loop of deadlines sleeps until something is due, and no shorter.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use broker::Pop;

use crate::house::House;
use crate::popping::{all, pop, texts};

fn lasting(ms: i64) -> Pop<'static> {
    Pop {
        invisible: ms,
        ..all("t")
    }
}

fn filled() -> House {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    house.put("t", 0, "0", "");
    house
}

/// Steps until so much time has passed, sleeping as long as each step says. Returns how many there were.
fn steps(house: &House, span: Duration) -> usize {
    let (mut left, mut steps) = (span, 0);
    while !left.is_zero() {
        let pause = house.broker.deadlines_step().unwrap();
        let pause = pause.min(left);
        house.clock.advance(pause);
        left -= pause;
        steps += 1;
        assert!(steps < 1_000, "it does not sleep");
    }
    steps
}

#[test]
fn nothing_is_stepped_through_when_nothing_waits() {
    let house = filled();
    assert!(steps(&house, Duration::from_secs(600)) <= 11);
}

#[test]
fn a_lease_costs_a_step_when_it_ends_and_none_before() {
    let house = filled();
    pop(&house, lasting(30_000));
    assert!(steps(&house, Duration::from_millis(29_999)) <= 2);
    assert_eq!(pop(&house, all("t")).len(), 0);
    assert!(steps(&house, Duration::from_millis(2)) <= 3);
    assert_eq!(texts(&pop(&house, all("t"))), ["0"]);
}

/// All of a crowd is given back at the moment in which it is due: no time has to pass between its pieces.
#[test]
fn a_crowd_of_leases_that_end_together_comes_back_at_once() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    for n in 0..700 {
        house.put("t", 0, &n.to_string(), "");
    }
    let took = |ms| {
        let pops = std::iter::from_fn(|| Some(pop(&house, lasting(ms)).len()));
        pops.take_while(|&count| count > 0).sum::<usize>()
    };
    assert_eq!(took(30_000), 700);
    house.clock.advance(Duration::from_secs(30));
    while house.broker.deadlines_step().unwrap().is_zero() {}
    assert_eq!(took(60_000), 700);
}

#[test]
fn a_lease_that_ends_earlier_wakes_who_sleeps() {
    let house = filled();
    house.put("t", 0, "1", "");
    let one = |ms| Pop {
        max: 1,
        ..lasting(ms)
    };
    pop(&house, one(50_000));
    // What was popped before the step is no news.
    house.broker.wait_deadline(Duration::ZERO);
    assert!(house.broker.deadlines_step().unwrap() > Duration::from_secs(40));
    let (woken, wakes) = mpsc::channel();
    thread::scope(|scope| {
        let (broker, limit) = (&house.broker, Duration::from_secs(60));
        scope.spawn(move || {
            broker.wait_deadline(limit);
            woken.send(Instant::now()).unwrap();
        });
        pop(&house, one(100));
        let waited = wakes.recv_timeout(limit / 2);
        assert!(waited.is_ok(), "it sleeps on");
    });
    assert!(house.broker.deadlines_step().unwrap() <= Duration::from_millis(100));
    // A longer one is not worth it.
    house.broker.wait_deadline(Duration::ZERO);
    let (broker, began) = (&house.broker, Instant::now());
    house.put("t", 0, "2", "");
    pop(&house, one(90_000));
    broker.wait_deadline(Duration::from_millis(20));
    assert!(began.elapsed() >= Duration::from_millis(20));
}
