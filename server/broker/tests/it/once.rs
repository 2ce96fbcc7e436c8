//! Sends with an idempotency key: stored once, answered again, across kills.

use std::sync::Arc;
use std::time::Duration;

use broker::{Error, Produce, Produced};
use store::Flush;
use store::disk::memory::Memory;

use crate::house::{House, START, consumer, message, options};
use crate::transactions::TRAN;

struct Told {
    log: u64,
    queue: u32,
    offset: u64,
    unique: String,
    handle: Option<String>,
    replayed: bool,
}

impl Told {
    fn of(produced: &Produced<'_>) -> Told {
        Told {
            log: produced.log_offset.0,
            queue: produced.queue.0,
            offset: produced.queue_offset.0,
            unique: produced.unique_key.as_ref().unwrap().as_str().to_owned(),
            handle: produced.recall_handle.clone(),
            replayed: produced.replayed,
        }
    }

    fn place(&self) -> (u64, u32, u64, &str, Option<&str>) {
        let handle = self.handle.as_deref();
        (self.log, self.queue, self.offset, &self.unique, handle)
    }
}

fn keyed(key: &str, digest: &str, more: &str) -> String {
    format!("{more}IDEMPOTENCY_KEY\u{1}{key}\u{2}IDEMPOTENCY_DIGEST\u{1}{digest}\u{2}")
}

fn send_to(house: &House, topic: &str, queue: i32, properties: &str) -> Result<Told, Error> {
    let send = Produce {
        queue,
        properties,
        sys_flag: 0,
        ..message(topic)
    };
    house.send(send).map(|produced| Told::of(&produced))
}

fn send(house: &House, key: &str, digest: &str) -> Result<Told, Error> {
    send_to(house, "t", -1, &keyed(key, digest, ""))
}

fn house() -> House {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    house.create("other", |_| ()).unwrap();
    house
}

fn stored(house: &House, topic: &str) -> u64 {
    (0..4)
        .filter_map(|id| house.store.find_queue(topic, id))
        .map(|queue| queue.end().0)
        .sum()
}

#[test]
fn the_same_send_again_is_answered_as_the_first_and_stores_nothing() {
    let house = house();
    let first = send(&house, "ann/1", "d").unwrap();
    assert!(!first.replayed);
    for _ in 0..3 {
        let again = send(&house, "ann/1", "d").unwrap();
        assert!(again.replayed);
        assert_eq!(again.place(), first.place());
    }
    assert_eq!(stored(&house, "t"), 1);
    // Another key, or the same for another topic, is another send.
    assert!(!send(&house, "ann/2", "d").unwrap().replayed);
    let other = send_to(&house, "other", 0, &keyed("ann/1", "d", "")).unwrap();
    assert!(!other.replayed);
    assert_eq!((stored(&house, "t"), stored(&house, "other")), (2, 1));
}

#[test]
fn another_send_with_the_same_key_is_refused_and_stores_nothing() {
    let house = house();
    send(&house, "k", "one").unwrap();
    let house = house.killed();
    house.store.derive_step();
    for _ in 0..2 {
        assert_eq!(
            send(&house, "k", "two").err(),
            Some(Error::IdempotencyDiffers)
        );
    }
    assert!(send(&house, "k", "one").unwrap().replayed);
    assert_eq!(stored(&house, "t"), 1);
}

#[test]
fn a_kill_forgets_no_key() {
    let house = house();
    let first = send(&house, "k", "d").unwrap();
    let delay = keyed("later", "d", "TIMER_DELAY_SEC\u{1}60\u{2}");
    let waits = send_to(&house, "t", 1, &delay).unwrap();
    assert!(waits.handle.is_some());
    let half = keyed("half", "d", TRAN);
    let half_first = send_to(&house, "t", 2, &half).unwrap();
    let house = house.killed();
    house.store.derive_step();
    for _ in 0..2 {
        let again = send(&house, "k", "d").unwrap();
        assert_eq!((again.place(), again.replayed), (first.place(), true));
        let again = send_to(&house, "t", 1, &delay).unwrap();
        assert_eq!((again.place(), again.replayed), (waits.place(), true));
        let again = send_to(&house, "t", 2, &half).unwrap();
        assert_eq!((again.place(), again.replayed), (half_first.place(), true));
    }
    // A new one is still new, and then known.
    assert!(!send(&house, "new", "d").unwrap().replayed);
    assert!(send(&house, "new", "d").unwrap().replayed);
    assert_eq!(stored(&house, "t"), 2);
}

#[test]
fn until_the_index_is_there_nothing_is_stored_twice() {
    let house = house();
    send(&house, "k", "d").unwrap();
    let house = house.killed();
    // The key index has not come to it yet, or has: either way it is not stored again.
    match send(&house, "k", "d") {
        Ok(again) => assert!(again.replayed),
        Err(error) => assert!(matches!(error, Error::Busy(_)), "{error}"),
    }
    assert_eq!(stored(&house, "t"), 1);
}

#[test]
fn a_key_counts_for_a_day() {
    let house = house();
    send(&house, "k", "d").unwrap();
    house.advance(86_399);
    assert!(send(&house, "k", "d").unwrap().replayed);
    house.advance(2);
    assert!(!send(&house, "k", "other").unwrap().replayed);
    assert!(send(&house, "k", "other").unwrap().replayed);
}

#[test]
fn a_key_that_is_too_long_is_refused_by_name() {
    let house = house();
    let refused = send(&house, &"k".repeat(513), "d").err().unwrap();
    assert!(refused.to_string().contains("512"), "{refused}");
    assert_eq!(stored(&house, "t"), 0);
}

/// A client that sends a message back itself sends it with its properties.
#[test]
fn a_message_with_a_key_is_sent_to_a_retry_topic_as_often_as_it_fails() {
    let house = house();
    house.beat(2, "c", vec![consumer("g", &[("t", "*", 1)])]);
    for times in 1..=3 {
        let back = Produce {
            reconsume_times: times,
            properties: &keyed("k", &times.to_string(), ""),
            ..message("%RETRY%g")
        };
        assert!(!house.send(back).unwrap().replayed);
    }
    assert_eq!(stored(&house, "%RETRY%g"), 3);
}

#[test]
fn a_batch_with_a_key_is_refused_by_name() {
    let house = house();
    let batch = Produce {
        batch: true,
        properties: &keyed("k", "d", ""),
        ..message("t")
    };
    let refused = house.send(batch).err().unwrap();
    assert!(refused.to_string().contains("a batch has no"), "{refused}");
    assert_eq!(stored(&house, "t"), 0);
}

/// Keys outlive the segment of their first record by nothing: what is gone does not block them, and
/// what was appended again is still found.
#[test]
fn a_key_whose_record_was_deleted_is_new_unless_it_was_appended_again() {
    let memory = Arc::new(Memory::default());
    let house = House::open_with(options(), Flush::Async, memory, START, |store| {
        store.segment_size = 1 << 20;
        store.reserve_step = 1 << 18;
        store.delete_hours = (0..24).collect();
        store.reserved_time = Duration::from_secs(3600);
    });
    house.create("t", |_| ()).unwrap();
    let delay = keyed("later", "d", "TIMER_DELAY_SEC\u{1}80000\u{2}");
    send(&house, "plain", "d").unwrap();
    send_to(&house, "t", 1, &delay).unwrap();
    let before = house.store.marks().appended;
    let filler = "x".repeat(100_000);
    for _ in 0..30 {
        house.put("filler", 0, &filler, "");
        house.advance(300);
    }
    house.store.settle().unwrap();
    house.broker.retain_step();
    house.store.settle().unwrap();
    house.broker.flushed();
    while house.store.indexed() < house.store.marks().dispatched {
        house.store.derive_step();
    }
    assert!(house.store.log_start() >= before, "its segment is gone");
    assert!(!send(&house, "plain", "other").unwrap().replayed);
    assert!(send(&house, "plain", "other").unwrap().replayed);
    assert!(send_to(&house, "t", 1, &delay).unwrap().replayed);
    assert_eq!(house.store.pending().len(store::Kind::Timer), 1);
}
