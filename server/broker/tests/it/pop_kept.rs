//! Messages that are out on leases while their segment is deleted.

use std::sync::Arc;
use std::time::Duration;

use broker::{Pop, PopVerdict};
use model::receipt::PopTopic;
use model::record::View;
use store::disk::memory::Memory;
use store::{Flush, Wait};

use crate::house::{House, START, options};
use crate::popping::{Got, ack, all, committed, extend, pass, pop, texts, try_pop};
use crate::stubborn::Stubborn;

const HOUR: Duration = Duration::from_secs(3600);

fn house() -> House {
    house_on(Memory::default())
}

/// Deletes old segments at any hour.
fn house_on(disk: impl store::Disk + 'static) -> House {
    House::open_with(options(), Flush::Async, Arc::new(disk), START, |store| {
        store.segment_size = 1 << 20;
        store.reserve_step = 1 << 18;
        store.tail_max = 0;
        store.delete_hours = (0..24).collect();
    })
}

/// Time passes and messages of others come, until what was stored before is deleted.
pub fn outlive(house: &House) {
    let before = house.store.marks().appended;
    let filler = "x".repeat(100_000);
    house.clock.advance(HOUR * 73);
    for _ in 0..30 {
        house.put("filler", 0, &filler, "");
    }
    house.clock.advance(HOUR * 73);
    house.put("filler", 0, &filler, "");
    house.store.settle().unwrap();
    house.broker.retain_step();
    house.broker.flushed();
    assert!(house.store.log_start() >= before, "its segment is gone");
}

fn long<'a>(wanted: Pop<'a>) -> Pop<'a> {
    Pop {
        invisible: 1_000 * 3_600_000,
        ..wanted
    }
}

fn filled(properties: &str) -> House {
    let house = house();
    house.create("t", |_| ()).unwrap();
    for n in 0..3 {
        house.put("t", 0, &n.to_string(), properties);
    }
    house
}

#[test]
fn what_is_out_on_a_lease_outlives_its_segment_and_comes_back() {
    let house = filled("TAGS\u{1}a\u{2}k\u{1}v");
    let got = pop(&house, long(all("t")));
    assert_eq!(texts(&got), ["0", "1", "2"]);
    outlive(&house);
    // An ack of the old handle still counts.
    ack(&house, &got[1]);
    assert_eq!(house.broker.in_flight("g", "t", 0), 2);
    for _ in 0..2 {
        // Where it lies now is deleted too.
        outlive(&house);
    }
    let house = house.killed();
    pass(&house, 1_000 * 3_600_000);
    let again = pop(&house, all("t"));
    assert_eq!(texts(&again), ["0", "2"]);
    for got in &again {
        assert_eq!((&*got.topic, got.times), ("t", 1));
        ack(&house, got);
    }
    pass(&house, 60_000);
    assert_eq!(pop(&house, all("t")).len(), 0);
    assert_eq!(committed(&house, "t", 0), 3);
}

#[test]
fn a_body_that_was_appended_again_names_its_origin() {
    let house = filled("");
    let at = house.store.find_queue("t", 0).unwrap();
    let mut entries = Vec::new();
    let from = model::QueueOffset(0);
    (house.store.entries(&at, from, 1, Wait::Yes, &mut entries)).unwrap();
    pop(&house, long(all("t")));
    outlive(&house);
    outlive(&house);
    let kept = house
        .store
        .find_queue("rmq_sys_POSTHOUSE_LEASED", 0)
        .unwrap();
    let (mut places, mut record) = (Vec::new(), Vec::new());
    (house
        .store
        .entries(&kept, kept.start(), 1, Wait::Yes, &mut places))
    .unwrap();
    (house
        .store
        .record(places[0].log_offset, Wait::Yes, &mut record))
    .unwrap();
    let view = View::parse(&record).unwrap();
    assert_eq!(view.body(), b"0");
    assert_eq!(view.prepared_offset(), entries[0].log_offset.0);
}

#[test]
fn what_was_popped_in_order_comes_back_in_its_place_though_its_segment_is_gone() {
    let house = filled("__SHARDINGKEY\u{1}a\u{2}");
    let one = |wanted| Pop {
        order: true,
        max: 1,
        ..wanted
    };
    let got = pop(&house, one(long(all("t"))));
    assert_eq!(texts(&got), ["0"]);
    house.put("t", 0, "3", "__SHARDINGKEY\u{1}a\u{2}");
    outlive(&house);
    house.put("t", 0, "4", "__SHARDINGKEY\u{1}a\u{2}");
    pass(&house, 1_000 * 3_600_000);
    let again = pop(&house, one(all("t")));
    assert_eq!(texts(&again), ["0"]);
    assert_eq!(
        (&*again[0].topic, again[0].offset, again[0].times),
        ("t", 0, 1)
    );
    // Extended, given back once more, and acked.
    let again = extend(&house, &again[0], 5_000);
    pass(&house, 5_000);
    let third = pop(&house, one(all("t")));
    assert_eq!((texts(&third), third[0].times), (vec!["0"], 2));
    let _ = again;
    ack(&house, &third[0]);
    assert_eq!(texts(&pop(&house, one(all("t")))), ["4"]);
}

#[test]
fn what_came_back_once_outlives_its_segment_in_the_retry_topic() {
    let house = filled("");
    pop(&house, all("t"));
    pass(&house, 10_000);
    let again: Vec<Got> = pop(&house, long(all("t")));
    assert_eq!(again.len(), 3);
    outlive(&house);
    ack(&house, &again[0]);
    pass(&house, 1_000 * 3_600_000);
    let third = pop(&house, all("t"));
    assert_eq!(third.len(), 2);
    assert!(third.iter().all(|got| got.times == 2));
    let which = PopTopic::RetryV1;
    assert!(
        third
            .iter()
            .all(|got| got.real == crate::popping::real("g", "t", which))
    );
}

/// What nobody popped goes with its segment; only what is out stays.
#[test]
fn what_is_acked_or_was_never_popped_is_not_kept() {
    let house = filled("");
    let one = Pop { max: 1, ..all("t") };
    ack(&house, &pop(&house, one)[0]);
    outlive(&house);
    let kept = house.store.find_queue("rmq_sys_POSTHOUSE_LEASED", 0);
    assert!(kept.is_none_or(|kept| kept.end().0 == 0));
    let (popped, got) = try_pop(&house, crate::house::caller(3), all("t")).unwrap();
    assert_eq!((popped.verdict, got.len()), (PopVerdict::Timeout, 0));
}

/// Segments go while a filtered pop reads: what lies behind them is looked at all the same.
#[test]
fn a_filtered_pop_passes_over_nothing_that_is_still_there() {
    for order in [false, true] {
        let disk = Stubborn::default();
        let moods = Arc::clone(&disk.moods);
        let house = house_on(disk);
        house.create("t", |_| ()).unwrap();
        let large = "x".repeat(100_000);
        for n in 0..30 {
            if n == 25 {
                house.clock.advance(HOUR * 73);
            }
            let body = if n < 25 { &*large } else { "new" };
            house.put("t", 0, body, &format!("n\u{1}{n}\u{2}"));
        }
        house.store.settle().unwrap();
        house.broker.flushed();
        let (store, now) = (Arc::clone(&house.store), store::Clock::wall(&*house.clock));
        moods.meanwhile(move || {
            store.retain_step(now, &mut |_| Ok(()));
        });
        let newest = Pop {
            expression: Some("n >= 25"),
            expression_kind: Some("SQL92"),
            order,
            ..all("t")
        };
        let got = pop(&house, newest);
        assert!(house.store.log_start().0 > 1 << 20, "two segments are gone");
        assert_eq!(texts(&got), ["new"; 5], "in order: {order}");
    }
}
