//! Old segments go; what is needed, or too young, stays.

use std::sync::Arc;
use std::time::Duration;

use model::{LogOffset, QueueOffset};

use super::kit::{self, Kit, topic};
use crate::disk::Wait;
use crate::disk::sim::Sim;
use crate::error::{ReadError, StageError};
use crate::options::{Flush, Options};
use crate::table::Table;

const HOUR: Duration = Duration::from_secs(3600);

fn options() -> Options {
    Options {
        segment_size: 8 << 10,
        reserve_step: 2 << 10,
        tail_max: 0,
        reserved_time: HOUR * 10,
        delete_hours: (0..24).collect(),
        disk_spare: 0,
        ..kit::options(Flush::Sync)
    }
}

fn on_sim(options: Options) -> (Kit, Arc<Sim>) {
    let sim = Arc::new(Sim::default());
    let disk: Arc<Sim> = Arc::clone(&sim);
    (Kit::with(options, disk), sim)
}

fn fill(kit: &Kit, count: u8) {
    for n in 0..count {
        kit.send("t", 0, &[n; 800]);
        kit.commit();
    }
}

fn retain(kit: &Kit) {
    use crate::clock::Clock;
    (kit.store).retain_step(kit.clock.wall(), &mut |_| Ok(()));
    kit.store.flush_step().unwrap();
    kit.store.dispatch(&mut |_| ());
}

#[test]
fn segments_go_when_their_last_record_is_old_enough_and_are_used_again() {
    let (mut kit, _) = on_sim(options());
    fill(&kit, 40);
    kit.clock.advance(HOUR * 5);
    fill(&kit, 40);
    retain(&kit);
    assert_eq!(kit.store.log_start(), LogOffset(0));
    kit.clock.advance(HOUR * 6);
    retain(&kit);
    let start = kit.store.log_start();
    assert!(start >= LogOffset(3 * (8 << 10)), "{start}");
    let queue = kit.store.find_queue("t", 0).unwrap();
    assert!(queue.start() > QueueOffset(20) && queue.start() <= QueueOffset(40));
    let files = kit.disk.list("commitlog").unwrap();
    assert!(files.iter().any(|name| name.starts_with("recycled-")));
    let read = kit.store.record(LogOffset(0), Wait::Yes, &mut Vec::new());
    assert!(matches!(read, Err(ReadError::Missing(_))));
    let seen = kit.bodies("t", 0);
    fill(&kit, 60);
    kit.reopen();
    assert_eq!(kit.store.log_start(), start);
    assert_eq!(kit.bodies("t", 0)[..seen.len()], seen);
    assert_eq!(kit.send("t", 0, b"x").queue_offset, QueueOffset(140));
}

#[test]
fn tables_and_queue_ends_outlive_the_segments_that_held_them() {
    let (mut kit, _) = on_sim(options());
    kit.store.put(&[(Table::Groups, b"g", Some(b"v"))]).unwrap();
    for _ in 0..7 {
        kit.send("quiet", 2, b"x");
    }
    kit.send("dropped", 0, b"x");
    kit.commit();
    kit.store.drop_topic(&topic("dropped")).unwrap();
    kit.commit();
    fill(&kit, 30);
    kit.clock.advance(HOUR * 11);
    fill(&kit, 10);
    retain(&kit);
    assert!(kit.store.log_start() > LogOffset(0));
    for forget in [false, true] {
        if forget {
            // The start must manage with the kept log alone.
            kit.forget_queues();
            kit.disk.remove("checkpoint").unwrap();
        }
        kit.reopen();
        let rows = kit.store.rows(Table::Groups);
        assert_eq!(rows, [(b"g".to_vec(), b"v".to_vec())]);
        let queue = kit.store.find_queue("quiet", 2).unwrap();
        assert_eq!(
            (queue.start(), queue.end()),
            (QueueOffset(7), QueueOffset(7))
        );
        assert!(kit.store.find_queue("dropped", 0).is_none());
    }
    assert_eq!(kit.send("quiet", 2, b"y").queue_offset, QueueOffset(7));
    kit.commit();
    assert_eq!(kit.bodies("quiet", 2), [b"y"]);
}

#[test]
fn what_is_still_needed_is_asked_for_before_a_segment_goes_and_nothing_goes_without_it() {
    use crate::clock::Clock;
    let (kit, _) = on_sim(options());
    fill(&kit, 40);
    kit.clock.advance(HOUR * 11);
    fill(&kit, 10);
    let now = kit.clock.wall();
    kit.store.flush_step().unwrap();
    let full = &mut |_| Err(StageError::Full);
    kit.store.retain_step(now, full);
    assert_eq!(kit.store.log_start(), LogOffset(0));
    let mut asked = Vec::new();
    (kit.store).retain_step(now, &mut |before| {
        let there = kit.store.record(LogOffset(0), Wait::Yes, &mut Vec::new());
        asked.push((before, there.is_ok()));
        Ok(())
    });
    assert!(kit.store.log_start() > LogOffset(0));
    assert_eq!(asked, [(kit.store.log_start(), true)]);
}

#[test]
fn a_full_disk_refuses_producers_and_deletes_nothing_young() {
    let (kit, sim) = on_sim(options());
    fill(&kit, 80);
    sim.set_total(90 << 10);
    retain(&kit);
    assert_eq!(kit.store.log_start(), LogOffset(0));
    assert_eq!(kit.try_send("t", 0, b"x"), Err(StageError::Full));
    // Offsets are still taken, and reads go on.
    kit.store
        .put(&[(Table::Offsets, b"o", Some(b"1"))])
        .unwrap();
    kit.commit();
    assert_eq!(kit.bodies("t", 0).len(), 80);
    sim.set_total(1 << 30);
    retain(&kit);
    kit.send("t", 0, b"x");
    assert_eq!(kit.store.failure(), None);
}

#[test]
fn old_segments_go_at_any_hour_on_a_full_disk_and_producers_are_served_again() {
    let (kit, sim) = on_sim(Options {
        delete_hours: vec![4],
        ..options()
    });
    fill(&kit, 80);
    kit.clock.set_wall(13 * 3_600_000);
    kit.clock.advance(HOUR * 24);
    retain(&kit);
    assert_eq!(
        kit.store.log_start(),
        LogOffset(0),
        "it is not four o'clock"
    );
    sim.set_total(90 << 10);
    retain(&kit);
    assert!(kit.store.log_start() > LogOffset(0));
    retain(&kit);
    kit.send("t", 0, b"x");
}

#[test]
fn young_segments_go_only_by_force_and_one_at_a_time() {
    let (kit, sim) = on_sim(Options {
        clean_forcibly: true,
        ..options()
    });
    fill(&kit, 80);
    sim.set_total(90 << 10);
    retain(&kit);
    assert_eq!(kit.store.log_start(), LogOffset(8 << 10));
}

#[test]
fn a_crash_at_any_point_of_a_deletion_loses_nothing_that_is_kept() {
    let (kit, sim) = on_sim(options());
    kit.store.put(&[(Table::Groups, b"g", Some(b"v"))]).unwrap();
    fill(&kit, 30);
    kit.clock.advance(HOUR * 11);
    fill(&kit, 10);
    retain(&kit);
    fill(&kit, 20);
    let mut crash = sim.take_trace().crashes();
    let mut rng = fastrand::Rng::with_seed(3);
    let mut at = 0;
    while crash.step() {
        at += 1;
        for keep in [
            crate::disk::sim::Keep::Nothing,
            crate::disk::sim::Keep::Torn,
        ] {
            let disk = Arc::new(Sim::new(crash.image(keep, &mut rng)));
            let after = Kit::with(options(), disk);
            let Some(queue) = after.store.find_queue("t", 0) else {
                continue;
            };
            let rows = after.store.rows(Table::Groups).len();
            assert!(rows == 1, "step {at}, {keep:?}");
            let kept = after.bodies("t", 0).len() as u64;
            assert_eq!(queue.start().0 + kept, queue.end().0, "step {at}, {keep:?}");
        }
    }
}

#[test]
fn a_topic_dropped_while_its_ends_are_noted_begins_at_0_after_a_rebuild() {
    for chunk in [1, 64 << 10] {
        let (mut kit, _) = on_sim(options());
        for name in ["dropped", "kept"] {
            for _ in 0..7 {
                kit.send(name, 0, b"x");
            }
        }
        kit.commit();
        let mut listed = kit.store.all_queues();
        kit.store.drop_topic(&topic("dropped")).unwrap();
        while !listed.is_empty() {
            let count = crate::snapshot::stage_ends(&kit.store, &mut listed, chunk).unwrap();
            listed.drain(..count);
        }
        kit.commit();
        kit.forget_queues();
        kit.reopen();
        assert_eq!(kit.send("dropped", 0, b"new").queue_offset, QueueOffset(0));
        assert_eq!(kit.send("kept", 0, b"next").queue_offset, QueueOffset(7));
    }
}

#[test]
fn where_there_must_be_room_the_oldest_go_whatever_their_age_and_producers_are_served() {
    use crate::disk::memory::Memory;
    let options = Options {
        flush: Flush::Async,
        disk_refuse: 100,
        disk_room: 12 << 10,
        ..options()
    };
    let disk = Arc::new(Memory::with_capacity(40 << 10));
    let kit = Kit::with(options, disk);
    let mut asked = 0;
    for n in 0..200 {
        // What a loop does that hears of each segment that is begun.
        while kit.store.wait_room(Duration::ZERO) {
            retain(&kit);
            asked += 1;
        }
        kit.send("t", 0, &[n; 800]);
        kit.commit();
    }
    let kept = kit.bodies("t", 0);
    assert_eq!(kept.last().unwrap(), &[199; 800]);
    assert!((8..40).contains(&kept.len()), "{}", kept.len());
    assert!((15..30).contains(&asked), "{asked}");
    assert!(kit.store.find_queue("t", 0).unwrap().start() > QueueOffset(150));
}
