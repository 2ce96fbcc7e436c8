//! Popping what is on the disk only: the pop itself never waits for it, a job does.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker::{Answer, Caller, Peek, Pop, PopVerdict};
use store::Flush;

use crate::house::{House, START, bodies, caller, options};
use crate::popping::{Got, ack, all, pass, read, texts};
use crate::stubborn::{Moods, Stubborn};

struct Slow {
    house: House,
    moods: Arc<Moods>,
}

impl Slow {
    /// A broker after a kill: neither queue entries nor records are in memory. Messages `0`, `1` … lie
    /// in queue 0; the property `n` has their number.
    fn filled(count: usize, more: impl Fn(usize) -> String) -> Slow {
        let disk = Stubborn::default();
        let moods = Arc::clone(&disk.moods);
        let house = House::open_with(options(), Flush::Async, Arc::new(disk), START, |store| {
            store.tail_max = 0;
        });
        house.create("t", |_| ()).unwrap();
        for n in 0..count {
            let properties = format!("n\u{1}{n}\u{2}{}", more(n));
            house.put("t", 0, &n.to_string(), &properties);
        }
        house.store.settle().unwrap();
        let house = house.killed();
        moods.chill();
        Slow { house, moods }
    }

    /// Pops as a door does. Returns what was got and how many jobs that took.
    fn pop(&self, wanted: Pop<'_>) -> (PopVerdict, Vec<Got>, usize) {
        let mut wanted = wanted;
        let (mut out, mut jobs, mut in_a_row) = (Vec::new(), 0, 0);
        loop {
            out.clear();
            match self
                .house
                .broker
                .pop(&caller(3), &wanted, &mut out)
                .unwrap()
            {
                Answer::Ready(popped) | Answer::After(_, popped) => {
                    self.house.broker.commit().unwrap();
                    return (popped.verdict, read(&wanted, &popped, &out), jobs);
                }
                Answer::Cold(job) => {
                    self.patiently(job);
                    jobs += 1;
                    in_a_row += 1;
                    assert!(in_a_row < 16, "a door gives up here");
                    wanted.warm = true;
                }
                Answer::Hold(_) => {
                    assert_eq!(self.house.woken(), [(3, 1)], "it goes on by itself");
                    in_a_row = 0;
                    wanted.warm = false;
                }
            }
        }
    }

    fn patiently(&self, job: impl FnOnce()) {
        self.moods.patient.store(true, Ordering::Relaxed);
        job();
        self.moods.patient.store(false, Ordering::Relaxed);
    }

    /// Pops and acks until nothing comes.
    fn drain(&self, wanted: Pop<'_>) -> Vec<String> {
        let mut bodies = Vec::new();
        loop {
            let (_, got, _) = self.pop(wanted);
            if got.is_empty() {
                return bodies;
            }
            for got in &got {
                ack(&self.house, got);
                bodies.push(got.body.clone());
            }
        }
    }
}

fn numbers(range: impl Iterator<Item = usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[test]
fn a_cold_queue_is_popped_without_waiting() {
    let slow = Slow::filled(1200, |_| String::new());
    let (verdict, got, jobs) = slow.pop(all("t"));
    assert_eq!(verdict, PopVerdict::Found);
    assert_eq!(texts(&got), numbers(0..32));
    assert!(jobs > 0);
    for got in &got {
        ack(&slow.house, got);
    }
    assert_eq!(slow.drain(all("t")), numbers(32..1200));
}

#[test]
fn a_cold_queue_is_popped_in_order_without_waiting() {
    let slow = Slow::filled(1200, |n| format!("__SHARDINGKEY\u{1}{}\u{2}", n % 3));
    let in_order = Pop {
        order: true,
        max: 8,
        ..all("t")
    };
    let (_, got, jobs) = slow.pop(in_order);
    assert_eq!(texts(&got), numbers(0..8));
    assert!(jobs > 0);
    // All three groups are out: what was left open for later has to be read too, when it is free.
    assert_eq!(slow.pop(in_order).1.len(), 0);
    slow.moods.chill();
    for got in &got {
        ack(&slow.house, got);
    }
    assert_eq!(slow.drain(in_order), numbers(8..1200));
}

#[test]
fn a_cold_queue_is_filtered_without_waiting() {
    let slow = Slow::filled(3000, |n| format!("TAGS\u{1}{}\u{2}", n % 1000));
    let some = Pop {
        expression: Some("n IN ('7', '900')"),
        expression_kind: Some("SQL92"),
        ..all("t")
    };
    let (_, got, jobs) = slow.pop(some);
    assert!(jobs > 0);
    assert_eq!(texts(&got), ["7", "900"]);
    let tagged = Pop {
        group: "h",
        expression: Some("998"),
        ..all("t")
    };
    slow.moods.chill();
    let (_, got, _) = slow.pop(tagged);
    assert_eq!(texts(&got), ["998", "1998", "2998"]);
}

/// A pop that may wait is not answered before it looked at all there is; one that may not asks again.
#[test]
fn a_filter_that_takes_nothing_of_much_comes_to_what_it_takes() {
    let slow = Slow::filled(6000, |_| String::new());
    let last = Pop {
        expression: Some("n = '5999'"),
        expression_kind: Some("SQL92"),
        ..all("t")
    };
    let held = Pop {
        poll: 20_000,
        ..last
    };
    let (verdict, got, jobs) = slow.pop(held);
    assert_eq!(verdict, PopVerdict::Found);
    assert_eq!(texts(&got), ["5999"]);
    assert!(jobs > 1);
    let other = Pop { group: "h", ..last };
    slow.moods.chill();
    let asked = (1..10).find(|_| slow.pop(other).0 == PopVerdict::Found);
    assert!(asked.is_some_and(|asked| asked > 1), "{asked:?}");
}

#[test]
fn what_is_left_for_others_is_read_again_without_waiting() {
    let slow = Slow::filled(40, |n| format!("k\u{1}{}\u{2}", n % 2));
    let of = |expression| Pop {
        expression: Some(expression),
        expression_kind: Some("SQL92"),
        ..all("t")
    };
    // The other one is known from its pop, so what it wants stays open from there on.
    let one = Pop {
        max: 1,
        ..of("k = '1'")
    };
    assert_eq!(texts(&slow.pop(one).1), ["1"]);
    assert_eq!(slow.pop(of("k = '0'")).1.len(), 18);
    slow.moods.chill();
    let (_, got, jobs) = slow.pop(of("k = '1'"));
    assert_eq!(texts(&got), numbers((3..40).step_by(2)));
    assert!(jobs > 0);
}

#[test]
fn a_retry_topic_that_is_cold_is_popped_without_waiting() {
    let slow = Slow::filled(3, |_| String::new());
    slow.pop(all("t"));
    slow.patiently(|| pass(&slow.house, 10_000));
    slow.moods.chill();
    let (_, mut got, jobs) = slow.pop(all("t"));
    got.sort_by(|a, b| a.body.cmp(&b.body));
    assert_eq!(texts(&got), ["0", "1", "2"]);
    assert!(jobs > 0);
    assert!(got.iter().all(|got| got.times == 1));
}

#[test]
fn a_new_group_starts_at_the_end_of_a_cold_queue_without_waiting() {
    let slow = Slow::filled(600, |_| String::new());
    let newest = Pop {
        from_max: true,
        ..all("t")
    };
    let (_, got, jobs) = slow.pop(newest);
    // All of it is recent enough to count as being in memory: it starts at the beginning, as with Apache.
    assert_eq!(texts(&got)[0], "0");
    assert!(jobs > 0);
}

#[test]
fn a_cold_queue_is_peeked_without_waiting() {
    let slow = Slow::filled(600, |_| String::new());
    let peek = Peek {
        group: "g",
        topic: "t",
        queue: -1,
        max: 3,
    };
    let mut out = Vec::new();
    let peeking = |caller: &Caller, out: &mut Vec<u8>| slow.house.broker.peek(caller, &peek, out);
    let Answer::Cold(job) = peeking(&caller(3), &mut out).unwrap() else {
        panic!("not cold")
    };
    slow.patiently(job);
    let again = Caller {
        may_wait: false,
        ..caller(3)
    };
    let Answer::Ready(peeked) = peeking(&again, &mut out).unwrap() else {
        panic!("not ready")
    };
    assert_eq!((peeked.count, peeked.rest), (3, 597));
    assert_eq!(bodies(&out), ["0", "1", "2"]);
}
