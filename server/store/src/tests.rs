//! The store as its users see it, on a disk in memory.
#![allow(clippy::unwrap_used)]

mod crash;
mod fault;
pub(crate) mod kit;
mod retain;

use model::{Level, LogOffset, QueueId, QueueOffset};

use crate::disk::{Reads, Wait};
use crate::error::{ReadError, StageError};
use crate::log::stage::Draft;
use crate::options::Flush;
use crate::queue::Entry;
use crate::store::{Boundary, Next};
use crate::table::Table;
use kit::{Kit, draft, topic};

#[test]
fn what_was_written_is_read_and_survives_reopening() {
    let mut kit = Kit::new(Flush::Async);
    let staged: Vec<_> = (0..100)
        .map(|n| kit.send("t", n % 3, &[n as u8; 50]))
        .collect();
    assert_eq!(staged[3].queue_offset, QueueOffset(1));
    assert_eq!(staged[1].log_offset, staged[0].end);
    kit.commit();
    for _ in 0..2 {
        assert_eq!(kit.bodies("t", 0).len(), 34);
        assert_eq!(kit.bodies("t", 1)[2], [7u8; 50]);
        let mut out = Vec::new();
        let read = kit.store.record(staged[5].log_offset, Wait::Yes, &mut out);
        assert_eq!(read.unwrap(), Reads::Done);
        kit.reopen();
    }
    assert_eq!(kit.send("t", 0, b"next").queue_offset, QueueOffset(34));
}

#[test]
fn nothing_is_seen_before_it_is_confirmed() {
    let kit = Kit::new(Flush::Sync);
    let staged = kit.send("t", 0, b"x");
    let queue = kit.store.find_queue("t", 0).unwrap();
    kit.store.write_out().unwrap();
    kit.store.dispatch(&mut |_| panic!("not flushed yet"));
    assert_eq!(kit.store.reached(Level::Appended), staged.end);
    assert_eq!(queue.end(), QueueOffset(0));
    let mut out = Vec::new();
    let read = kit.store.record(staged.log_offset, Wait::Yes, &mut out);
    assert!(matches!(read, Err(ReadError::Missing(_))));
    kit.store.flush_step().unwrap();
    let mut grown = Vec::new();
    kit.store
        .dispatch(&mut |queue| grown.push(queue.topic.clone()));
    assert_eq!(grown, [topic("t")]);
    assert_eq!(queue.end(), QueueOffset(1));
}

#[test]
fn an_asynchronous_flush_waits_for_its_interval() {
    let kit = Kit::new(Flush::Async);
    let staged = kit.send("t", 0, b"x");
    kit.store.write_out().unwrap();
    assert!(matches!(kit.store.flush_step().unwrap(), Next::After(_)));
    assert!(kit.store.marks().flushed < staged.end);
    kit.clock.advance(std::time::Duration::from_millis(101));
    kit.store.flush_step().unwrap();
    assert_eq!(kit.store.marks().flushed, staged.end);
}

#[test]
fn records_roll_over_segments_and_a_batch_never_splits() {
    let mut kit = Kit::new(Flush::Async);
    for n in 0..400u32 {
        kit.batch("t", 0, &[&n.to_be_bytes(), &[1; 700], &[2; 900]]);
        kit.commit();
    }
    assert!(kit.store.log.segments.all().len() > 5);
    for _ in 0..2 {
        let bodies = kit.bodies("t", 0);
        assert_eq!(bodies.len(), 1200);
        for n in 0..400u32 {
            assert_eq!(bodies[n as usize * 3], n.to_be_bytes());
        }
        kit.reopen();
    }
}

#[test]
fn one_write_may_span_segments() {
    let mut kit = Kit::new(Flush::Sync);
    for n in 0..300u32 {
        kit.send("t", 0, &[n as u8; 1000]);
    }
    kit.commit();
    assert!(kit.store.log.segments.all().len() > 3);
    assert_eq!(kit.bodies("t", 0).len(), 300);
    kit.reopen();
    assert_eq!(kit.bodies("t", 0)[299], [43u8; 1000]);
}

#[test]
fn long_records_lie_between_short_ones() {
    let mut kit = Kit::new(Flush::Async);
    let mut sent = Vec::new();
    // What is staged together, and where segments end, is another thing each time.
    for round in 0..5 {
        for length in [100, 40_000, 10, 35_000, 50_000, 1] {
            let body = vec![round as u8 + 1; length + round];
            let staged = kit.send("t", 0, &body);
            assert_eq!(staged.queue_offset, QueueOffset(sent.len() as u64));
            sent.push(body);
            if (length + round).is_multiple_of(3) {
                kit.commit();
            }
        }
        kit.commit();
    }
    assert_eq!(kit.bodies("t", 0), sent);
    kit.reopen();
    assert_eq!(kit.bodies("t", 0), sent);
    let long = vec![0; 70_000];
    let refused = kit.try_send("t", 0, &long);
    assert!(
        matches!(refused, Err(StageError::TooLarge(_))),
        "{refused:?}"
    );
}

#[test]
fn what_cannot_fit_is_refused_and_changes_nothing() {
    let kit = Kit::new(Flush::Async);
    let body = vec![0; 70_000];
    let refused = kit.try_send("t", 0, &body).unwrap_err();
    assert!(matches!(refused, StageError::TooLarge(_)));
    assert_eq!(kit.send("t", 0, b"x").queue_offset, QueueOffset(0));
}

#[test]
fn a_full_staging_buffer_says_busy_until_it_is_written() {
    let kit = Kit::new(Flush::Async);
    let refused = loop {
        if let Err(e) = kit.try_send("t", 0, &[0; 10_000]) {
            break e;
        }
    };
    assert_eq!(refused, StageError::Busy);
    kit.commit();
    kit.send("t", 0, b"x");
}

#[test]
fn rows_survive_and_the_last_change_wins() {
    let mut kit = Kit::new(Flush::Sync);
    let put = |kit: &Kit, key: &[u8], value: Option<&[u8]>| {
        kit.store.put(&[(Table::Topics, key, value)]).unwrap();
    };
    put(&kit, b"a", Some(b"1"));
    put(&kit, b"b", Some(b"2"));
    put(&kit, b"a", Some(b"3"));
    put(&kit, b"b", None);
    kit.commit();
    for _ in 0..2 {
        let rows = kit.store.rows(Table::Topics);
        assert_eq!(rows, [(b"a".to_vec(), b"3".to_vec())]);
        kit.reopen();
    }
}

#[test]
fn a_dropped_topic_begins_again_at_zero() {
    let mut kit = Kit::new(Flush::Sync);
    kit.send("t", 0, b"old");
    kit.commit();
    let old = kit.store.find_queue("t", 0).unwrap();
    kit.store.drop_topic(&topic("t")).unwrap();
    assert!(kit.store.find_queue("t", 0).is_none());
    assert_eq!(kit.try_send_to(&old, b"late"), Err(StageError::Dropped));
    assert_eq!(kit.send("t", 0, b"new").queue_offset, QueueOffset(0));
    kit.commit();
    for _ in 0..2 {
        assert_eq!(kit.bodies("t", 0), [b"new"]);
        kit.reopen();
    }
}

#[test]
fn time_is_searched_as_apache_does() {
    let kit = Kit::new(Flush::Async);
    for second in [10, 20, 20, 20, 30] {
        kit.clock.set_wall(second * 1000);
        kit.send("t", 0, b"x");
        kit.commit();
    }
    let queue = kit.store.find_queue("t", 0).unwrap();
    let at = |second: i64, boundary| {
        kit.store
            .offset_at(&queue, second * 1000, boundary)
            .unwrap()
            .0
    };
    let both = |second| (at(second, Boundary::Lower), at(second, Boundary::Upper));
    assert_eq!(both(5), (0, 0));
    assert_eq!(both(10), (0, 0));
    assert_eq!(both(15), (1, 0));
    assert_eq!(both(20), (1, 3));
    assert_eq!(both(25), (4, 3));
    assert_eq!(both(30), (4, 4));
    assert_eq!(both(40), (5, 4));
}

#[test]
fn a_store_that_stands_still_is_not_stored_earlier_than_before() {
    let mut kit = Kit::new(Flush::Async);
    kit.clock.set_wall(9_000);
    kit.send("t", 0, b"x");
    kit.commit();
    kit.clock.set_wall(1_000);
    assert_eq!(kit.send("t", 0, b"y").stored_at, 9_000);
    kit.commit();
    kit.reopen();
    assert_eq!(kit.send("t", 0, b"z").stored_at, 9_000);
}

#[test]
fn a_damaged_record_costs_only_itself() {
    let kit = Kit::new(Flush::Async);
    let staged: Vec<_> = (0..9).map(|n| kit.send("t", 0, &[n; 200])).collect();
    kit.commit();
    let kit = kit.without_tail();
    kit.flip(
        "commitlog/00000000000000000000",
        staged[4].log_offset.0 + 120,
    );
    let bodies = kit.bodies("t", 0);
    assert_eq!(bodies.len(), 8);
    assert_eq!(bodies[4], [5u8; 200]);
    let mut out = Vec::new();
    let read = kit.store.record(staged[4].log_offset, Wait::Yes, &mut out);
    assert!(matches!(read, Err(ReadError::Damaged(_))));
    assert!(out.is_empty());
}

#[test]
fn damage_below_the_durable_mark_cuts_nothing() {
    let mut kit = Kit::new(Flush::Sync);
    let staged: Vec<_> = (0..20).map(|n| kit.send("t", 0, &[n; 200])).collect();
    kit.commit();
    kit.store.checkpoint_step();
    kit.forget_queues();
    // The length of one, the body of another.
    kit.flip("commitlog/00000000000000000000", staged[4].log_offset.0 + 1);
    kit.flip(
        "commitlog/00000000000000000000",
        staged[9].log_offset.0 + 120,
    );
    let recovery = kit.reopen();
    assert_eq!(
        recovery.quarantined,
        [
            (staged[4].log_offset, staged[5].log_offset),
            (staged[9].log_offset, staged[10].log_offset),
        ]
    );
    assert_eq!(recovery.log.1, staged[19].end);
    assert_eq!(kit.bodies("t", 0).len(), 18);
    let mut entries = Vec::new();
    let queue = kit.store.find_queue("t", 0).unwrap();
    let read = kit
        .store
        .entries(&queue, QueueOffset(4), 1, Wait::Yes, &mut entries);
    assert!(read.is_ok() && entries[0].size == 0);
    assert_eq!(kit.send("t", 0, b"next").queue_offset, QueueOffset(20));
}

#[test]
fn a_torn_tail_is_cut_and_zeroed() {
    let mut kit = Kit::new(Flush::Async);
    let staged: Vec<_> = (0..20).map(|n| kit.send("t", 0, &[n; 200])).collect();
    kit.commit();
    let file = "commitlog/00000000000000000000";
    kit.flip(file, staged[15].log_offset.0 + 100);
    let recovery = kit.reopen();
    assert_eq!(recovery.log.1, staged[15].log_offset);
    assert_eq!(recovery.cut, staged[19].end.0 - staged[15].log_offset.0);
    assert_eq!(kit.bodies("t", 0).len(), 15);
    assert_eq!(kit.send("t", 0, &[15; 200]).queue_offset, QueueOffset(15));
    kit.commit();
    // Were the old records still there, this start would find number 16 behind the new 15.
    kit.reopen();
    assert_eq!(kit.bodies("t", 0).len(), 16);
}

#[test]
fn reading_what_is_not_there_is_an_error() {
    let kit = Kit::new(Flush::Async);
    let staged = kit.send("t", 0, b"x");
    kit.commit();
    let mut out = Vec::new();
    for at in [staged.log_offset.0 + 1, staged.end.0, 1 << 40] {
        let read = kit.store.record(LogOffset(at), Wait::Yes, &mut out);
        assert!(matches!(read, Err(ReadError::Missing(_))), "{at}");
    }
    let nowhere = Entry {
        log_offset: LogOffset(1 << 40),
        size: 9,
        tags_code: 0,
    };
    assert!(
        kit.store
            .read_runs(&[nowhere], &mut out, Wait::Yes)
            .is_err()
    );
}

#[test]
fn nobody_can_write_into_the_tables_but_the_store() {
    let kit = Kit::new(Flush::Async);
    let name = "rmq_sys_POSTHOUSE_TABLES";
    assert_eq!(kit.try_send(name, 0, b"x"), Err(StageError::Reserved));
    assert_eq!(
        kit.store.drop_topic(&topic(name)),
        Err(StageError::Reserved)
    );
}

#[test]
fn without_its_checkpoint_a_log_still_ends_at_its_torn_tail() {
    let mut kit = Kit::new(Flush::Sync);
    let staged: Vec<_> = (0..100).map(|n| kit.send("t", 0, &[n; 1000])).collect();
    kit.commit();
    // The next segment is prepared and empty.
    kit.store.log.segments.make(128 << 10).unwrap();
    kit.disk.remove("checkpoint").unwrap();
    kit.forget_queues();
    let recovery = kit.reopen();
    assert_eq!(recovery.log.1, staged[99].end);
    assert_eq!(recovery.quarantined, []);
}

#[test]
fn many_threads_stage_one_order_and_every_record_is_seen_once() {
    use std::sync::atomic::{AtomicBool, Ordering};
    for flush in [Flush::Sync, Flush::Async] {
        let mut kit = Kit::new(flush);
        kit.options.zero_ahead = 16 << 10;
        kit.reopen();
        let done = AtomicBool::new(false);
        let kit_ref = &kit;
        std::thread::scope(|scope| {
            let background = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    kit_ref
                        .store
                        .wait_flush(std::time::Duration::from_millis(1));
                    kit_ref.store.flush_step().unwrap();
                    kit_ref.store.dispatch(&mut |_| ());
                    kit_ref.store.ahead_step();
                    kit_ref.store.checkpoint_step();
                }
            });
            let senders: Vec<_> = (0..3u8)
                .map(|thread| {
                    scope.spawn(move || {
                        for n in 0..500u32 {
                            let body = [&[thread], &n.to_be_bytes()[..], &[0; 300]].concat();
                            let staged = kit_ref.send("t", n % 2, &body);
                            kit_ref.store.write_out().unwrap();
                            assert!(kit_ref.store.reached(Level::Appended) >= staged.end);
                            kit_ref.store.dispatch(&mut |_| ());
                        }
                    })
                })
                .collect();
            senders
                .into_iter()
                .for_each(|sender| sender.join().unwrap());
            done.store(true, Ordering::Relaxed);
            background.join().unwrap();
        });
        kit.store.settle().unwrap();
        for _ in 0..2 {
            let mut next = [[0u32; 3], [1; 3]];
            for queue in 0..2 {
                for body in kit.bodies("t", queue as u32) {
                    let number = u32::from_be_bytes(body[1..5].try_into().unwrap());
                    let next = &mut next[queue][usize::from(body[0])];
                    assert_eq!(number, *next);
                    *next += 2;
                }
            }
            assert_eq!(next, [[500; 3], [501; 3]]);
            kit.reopen();
        }
    }
}

#[test]
fn a_key_is_found_after_it_was_derived_and_after_a_start_and_never_below_the_log() {
    let mut kit = Kit::new(Flush::Async);
    let properties = "UNIQ_KEY\u{1}id-7\u{2}KEYS\u{1}a b\u{2}";
    let queue = kit.store.queue(&topic("t"), QueueId(0));
    let mut positions = Vec::new();
    for n in 0..300u32 {
        let mut draft = draft(&queue, b"body");
        if n % 100 == 0 {
            draft.properties = properties;
        }
        let staged = kit.store.stage(&draft).unwrap();
        if n % 100 == 0 {
            positions.insert(0, staged.log_offset);
        }
        kit.commit();
    }
    let derive = |kit: &Kit| while kit.store.derive_step() == Next::Now {};
    let find = |kit: &Kit, key: &str| kit.store.find("t", key, 0, i64::MAX, 64).unwrap();
    for _ in 0..2 {
        derive(&kit);
        for key in ["id-7", "a", "b"] {
            assert_eq!(find(&kit, key), positions);
        }
        assert_eq!(find(&kit, "A"), []);
        kit.store.settle().unwrap();
        kit.reopen();
    }
    assert_eq!(find(&kit, "a"), positions, "the run was there");
}

#[test]
fn a_check_finds_what_contradicts_the_log_and_a_rebuild_mends_it() {
    use crate::check::{check, rebuild};
    let mut kit = Kit::new(Flush::Async);
    kit.store.put(&[(Table::Topics, b"t", Some(b"x"))]).unwrap();
    for n in 0..1_500 {
        kit.send("t", n % 3, &[n as u8; 20]);
        kit.send("old", 0, b"x");
    }
    kit.store.drop_topic(&topic("old")).unwrap();
    kit.send("old", 0, b"new");
    kit.commit();
    kit.store.settle().unwrap();
    let clock = std::sync::Arc::clone(&kit.clock);
    let checked = || check(kit.options.clone(), kit.disk.clone(), clock.clone()).unwrap();
    let sound = checked();
    assert!(sound.is_sound(), "{:?}", sound.named);
    assert_eq!((sound.records, sound.rows), (3_003, 1));
    assert_eq!(sound.entries, 1_503);
    // An entry that says something else, under a checksum that holds.
    let queue = kit.store.find_queue("t", 1).unwrap();
    let wrong = Entry {
        log_offset: LogOffset(7),
        size: 9,
        tags_code: 0,
    };
    kit.store.queues.append(&queue, queue.end(), wrong);
    let all = kit.store.marks().dispatched;
    kit.store.queues.checkpoint(all).unwrap();
    assert_eq!(checked().wrong, 1);
    rebuild(kit.options.clone(), kit.disk.clone(), clock.clone()).unwrap();
    assert!(checked().is_sound());
    kit.reopen();
    assert_eq!(kit.bodies("t", 1).len(), 500);
}

#[test]
fn keys_are_found_behind_the_end_of_a_segment_that_was_never_filled() {
    let mut kit = Kit::new(Flush::Async).without_tail();
    let count = 3 * (64 << 10) / 900;
    let sent: Vec<_> = (0..count).map(|n| send_with_key(&kit, n)).collect();
    kit.commit();
    while kit.store.derive_step() == Next::Now {}
    for reopened in [false, true] {
        for (n, at) in sent.iter().enumerate() {
            let found = kit.store.find("t", &format!("k{n}"), 0, i64::MAX, 9);
            assert_eq!(found.unwrap(), [*at], "{n}, {reopened}");
        }
        kit.reopen();
        while kit.store.derive_step() == Next::Now {}
    }
}

fn send_with_key(kit: &Kit, n: usize) -> LogOffset {
    let queue = kit.store.queue(&topic("t"), QueueId(0));
    let properties = format!("KEYS\u{1}k{n}\u{2}");
    let draft = Draft {
        properties: &properties,
        ..draft(&queue, &[0; 700])
    };
    kit.store.stage(&draft).unwrap().log_offset
}
