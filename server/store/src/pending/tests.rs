//! The set over a store on a disk in memory: what opens, closes, survives a start and a deletion.

use std::sync::Arc;
use std::time::Duration;

use model::record::View;
use model::{LogOffset, QueueId};

use super::{HALF_TOPIC, Kind, Open, SCHEDULE_TOPIC, TIMER_TOPIC, key};
use crate::clock::Clock;
use crate::disk::Wait;
use crate::log::stage::{Draft, Staged};
use crate::options::{Flush, Options};
use crate::tests::kit::{self, Kit, draft, topic};

const HOUR: i64 = 3_600_000;

fn properties(id: &str, due: i64, how: &str) -> String {
    format!(
        "REAL_TOPIC\u{1}t\u{2}REAL_QID\u{1}0\u{2}UNIQ_KEY\u{1}{id}\u{2}{how}TIMER_OUT_MS\u{1}{due}\u{2}"
    )
}

fn wait_in(kit: &Kit, name: &str, properties: &str) -> Staged {
    let queue = kit.store.queue(&topic(name), QueueId(0));
    let draft = Draft {
        properties,
        ..draft(&queue, b"waits")
    };
    kit.store.stage(&draft).unwrap()
}

/// A delay level, a span and a moment.
fn some(kit: &Kit) -> [LogOffset; 3] {
    let level = properties("level", 3_000, "DELAY\u{1}1\u{2}");
    let span = properties("span", 2_000, "TIMER_DELAY_MS\u{1}5\u{2}");
    let moment = properties("moment", 1_500, "TIMER_DELIVER_MS\u{1}5\u{2}");
    let staged = [
        wait_in(kit, SCHEDULE_TOPIC, &level),
        wait_in(kit, TIMER_TOPIC, &span),
        wait_in(kit, TIMER_TOPIC, &moment),
    ];
    kit.commit();
    staged.map(|staged| staged.log_offset)
}

fn close(kit: &Kit, at: LogOffset) {
    let queue = kit.store.queue(&topic("t"), QueueId(0));
    let draft = Draft {
        prepared_offset: at.0,
        ..draft(&queue, b"delivered")
    };
    kit.store.stage(&draft).unwrap();
}

fn list(kit: &Kit, kind: Kind) -> Vec<Open> {
    let mut all = Vec::new();
    kit.store.pending().list(kind, None, 1_000, &mut all);
    all
}

fn places(kit: &Kit) -> Vec<LogOffset> {
    list(kit, Kind::Timer).iter().map(|open| open.at).collect()
}

#[test]
fn what_is_due_comes_earliest_first_and_is_gone_when_its_closing_record_is_seen() {
    let kit = Kit::new(Flush::Sync);
    let [level, span, moment] = some(&kit);
    let pending = kit.store.pending();
    assert_eq!(pending.next_due(Kind::Timer), Some(1_500));
    assert_eq!(places(&kit), [moment, span, level]);
    let mut due = Vec::new();
    pending.due(Kind::Timer, 2_999, 10, &mut due);
    assert_eq!(due.len(), 2);
    assert_eq!(pending.claim(span).map(|open| open.due), Some(2_000));
    assert_eq!(pending.claim(span), None, "the first decision wins");
    assert_eq!(places(&kit), [moment, level]);
    pending.unclaim(span);
    assert!(pending.claim(span).is_some());
    close(&kit, span);
    assert!(pending.contains(span), "it follows dispatch");
    kit.commit();
    assert!(!pending.contains(span));
    assert_eq!(pending.len(Kind::Timer), 2);
    assert_eq!(pending.len_of(Kind::Timer, "t"), 2);
    assert_eq!(pending.len_of(Kind::Half, "t"), 0);
}

#[test]
fn nothing_that_waits_lies_where_the_log_begins() {
    let kit = Kit::new(Flush::Sync);
    let staged = wait_in(&kit, TIMER_TOPIC, &properties("a", 5, ""));
    assert!(staged.log_offset > LogOffset(0));
}

#[test]
fn a_claim_takes_no_more_bytes_than_asked_but_one_message() {
    let kit = Kit::new(Flush::Sync);
    some(&kit);
    let mut claimed = Vec::new();
    let pending = kit.store.pending();
    pending.claim_due(Kind::Timer, 5_000, 10, 1, &mut claimed);
    assert_eq!(claimed.len(), 1);
    pending.claim_due(Kind::Timer, 5_000, 10, 1 << 20, &mut claimed);
    assert_eq!(claimed.len(), 3);
}

#[test]
fn only_what_can_be_recalled_is_found_by_key() {
    let kit = Kit::new(Flush::Sync);
    let [_, span, _] = some(&kit);
    let mut found = Vec::new();
    kit.store.pending().find(key("t", "level"), &mut found);
    assert!(found.is_empty());
    kit.store.pending().find(key("t", "span"), &mut found);
    assert_eq!(found[0].at, span);
}

#[test]
fn a_timer_that_names_no_time_or_no_topic_does_not_wait() {
    let kit = Kit::new(Flush::Sync);
    wait_in(&kit, TIMER_TOPIC, "REAL_TOPIC\u{1}t\u{2}");
    wait_in(&kit, TIMER_TOPIC, "TIMER_OUT_MS\u{1}5\u{2}");
    kit.commit();
    assert_eq!(kit.store.pending().len(Kind::Timer), 0);
    let queue = kit.store.find_queue(TIMER_TOPIC, 0).unwrap();
    assert_eq!(queue.end().0, 2);
}

#[test]
fn a_half_waits_from_its_storage_on_and_can_be_postponed() {
    let kit = Kit::new(Flush::Sync);
    let half = wait_in(&kit, HALF_TOPIC, "REAL_TOPIC\u{1}t\u{2}UNIQ_KEY\u{1}h\u{2}");
    kit.commit();
    assert_eq!(list(&kit, Kind::Half)[0].due, half.stored_at);
    kit.store.pending().postpone(half.log_offset, 9_000);
    assert_eq!(kit.store.pending().next_due(Kind::Half), Some(9_000));
    assert_eq!(kit.store.pending().len(Kind::Timer), 0);
}

#[test]
fn a_start_knows_what_waits_from_the_snapshot_and_from_the_log_alone() {
    let mut kit = Kit::new(Flush::Sync);
    let [level, span, moment] = some(&kit);
    close(&kit, span);
    kit.commit();
    kit.reopen();
    assert_eq!(places(&kit), [moment, level]);
    kit.store.checkpoint_step();
    close(&kit, moment);
    kit.commit();
    let more = wait_in(&kit, TIMER_TOPIC, &properties("more", 7_000, ""));
    kit.commit();
    let expected = [level, more.log_offset];
    let of_topics = |kit: &Kit| {
        let pending = kit.store.pending();
        ["t", "other"].map(|topic| pending.len_of(Kind::Timer, topic))
    };
    kit.reopen();
    assert_eq!((places(&kit), of_topics(&kit)), (expected.to_vec(), [2, 0]));
    kit.store.checkpoint_step();
    kit.reopen();
    assert_eq!((places(&kit), of_topics(&kit)), (expected.to_vec(), [2, 0]));
    kit.flip("pending", 9);
    kit.reopen();
    assert_eq!(places(&kit), expected, "a damaged snapshot is not believed");
    kit.forget_queues();
    kit.reopen();
    assert_eq!(places(&kit), expected);
    let all = list(&kit, Kind::Timer);
    assert_eq!(all[0].due, 3_000);
    assert_eq!(all[1].key, key("t", "more"));
}

#[test]
fn the_queue_says_when_a_delayed_message_is_due_after_a_rebuild_too() {
    let mut kit = Kit::new(Flush::Sync);
    some(&kit);
    kit.forget_queues();
    kit.reopen();
    let queue = kit.store.find_queue(SCHEDULE_TOPIC, 0).unwrap();
    let mut entries = Vec::new();
    (kit.store
        .entries(&queue, queue.start(), 1, Wait::Yes, &mut entries))
    .unwrap();
    assert_eq!(entries[0].tags_code, 3_000);
}

#[test]
fn what_waits_outlives_its_segment() {
    let options = Options {
        segment_size: 8 << 10,
        reserve_step: 2 << 10,
        reserved_time: Duration::from_secs(36_000),
        delete_hours: (0..24).collect(),
        disk_spare: 0,
        ..kit::options(Flush::Sync)
    };
    let mut kit = Kit::with(options, Arc::new(crate::disk::memory::Memory::default()));
    let [level, span, moment] = some(&kit);
    for _ in 0..30 {
        kit.send("t", 0, &[1; 800]);
    }
    kit.commit();
    kit.clock.advance(Duration::from_secs(72_000));
    kit.send("t", 0, b"young");
    kit.commit();
    let retain = |kit: &Kit| {
        (kit.store).retain_step(kit.clock.wall(), &mut |_| Ok(()));
        kit.store.flush_step().unwrap();
        kit.store.dispatch(&mut |_| ());
    };
    kit.store.pending().claim(span).unwrap();
    retain(&kit);
    assert_eq!(
        kit.store.log_start(),
        LogOffset(0),
        "one is being decided: its body may yet be needed"
    );
    kit.store.pending().unclaim(span);
    retain(&kit);
    let start = kit.store.log_start();
    assert!(start > moment.max(level));
    for _ in 0..2 {
        let all = list(&kit, Kind::Timer);
        let due: Vec<_> = all.iter().map(|open| open.due).collect();
        assert_eq!(due, [1_500, 2_000, 3_000]);
        assert!(all.iter().all(|open| open.at >= start));
        let mut bytes = Vec::new();
        (kit.store.record(all[0].at, Wait::Yes, &mut bytes)).unwrap();
        let view = View::parse(&bytes).unwrap();
        assert_eq!(view.body(), b"waits");
        assert_eq!(view.prepared_offset(), moment.0);
        kit.forget_queues();
        kit.reopen();
    }
    drop(kit.store);
    let clock: Arc<dyn Clock> = kit.clock.clone();
    let report = crate::check::check(kit.options, kit.disk, clock).unwrap();
    assert!(report.is_sound(), "{:?}", report.named);
    assert_eq!(report.pending, 3);
}

#[test]
fn a_clock_that_was_set_leaves_spans_their_length_and_moments_their_moment() {
    for step in [HOUR, -HOUR] {
        let kit = Kit::new(Flush::Sync);
        let pending = kit.store.pending();
        pending.observe(1_000, Duration::ZERO);
        some(&kit);
        pending.observe(1_000 + step, Duration::ZERO);
        let due: Vec<_> = list(&kit, Kind::Timer).iter().map(|o| o.due).collect();
        let mut expected = [1_500, 2_000 + step, 3_000 + step];
        expected.sort_unstable();
        assert_eq!(due, expected);
        // What comes now is told in the new time.
        let due = 2_000 + step + 5;
        let new = wait_in(&kit, TIMER_TOPIC, &properties("new", due, ""));
        kit.commit();
        let all = list(&kit, Kind::Timer);
        let found = all.iter().find(|open| open.at == new.log_offset).unwrap();
        assert_eq!(found.due, due);
    }
}

/// Whoever asks for the end of time gets it: no clock that is set makes it another.
#[test]
fn the_end_of_time_is_no_sum_that_overflows() {
    for step in [HOUR, -HOUR] {
        let kit = Kit::new(Flush::Sync);
        let pending = kit.store.pending();
        pending.observe(1_000, Duration::ZERO);
        let span = |id| properties(id, i64::MAX, "TIMER_DELAY_MS\u{1}5\u{2}");
        wait_in(&kit, TIMER_TOPIC, &span("before"));
        kit.commit();
        pending.observe(1_000 + step, Duration::ZERO);
        wait_in(&kit, TIMER_TOPIC, &span("behind"));
        kit.commit();
        let mut claimed = Vec::new();
        pending.claim_due(Kind::Timer, 1_000 + 2 * HOUR, 9, u64::MAX, &mut claimed);
        assert_eq!(claimed, []);
        assert_eq!(list(&kit, Kind::Timer).len(), 2);
    }
}

#[test]
fn a_slow_clock_is_followed() {
    let kit = Kit::new(Flush::Sync);
    let pending = kit.store.pending();
    some(&kit);
    for n in 0..100 {
        pending.observe(1_000 + n * 11, Duration::from_millis(n as u64 * 10));
    }
    assert_eq!(pending.next_due(Kind::Timer), Some(1_500));
}

#[test]
fn the_alarm_rings_for_what_is_earlier_than_watched() {
    let kit = Kit::new(Flush::Sync);
    let alarm = Arc::clone(kit.store.pending().alarm());
    alarm.watch(1_600);
    std::thread::scope(|scope| {
        // Ends only if it rings.
        let sleeper = scope.spawn(|| alarm.wait(Duration::from_secs(600)));
        some(&kit);
        sleeper.join().unwrap();
    });
}
