//! Disks that fail: nothing is tried twice, nothing acked is lost, and a full disk heals.

use std::sync::Arc;

use model::{Level, LogOffset, QueueOffset};

use super::kit::{self, Kit};
use crate::disk::sim::{Fault, Sim};
use crate::error::StageError;
use crate::options::{Flush, Options};
use crate::store::Next;

fn simulated(options: Options) -> (Kit, Arc<Sim>) {
    let sim = Arc::new(Sim::default());
    let disk: Arc<Sim> = Arc::clone(&sim);
    (Kit::with(options, disk), sim)
}

/// A record that is acked, up to where, and one that is only written.
fn with_one_acked() -> (Kit, Arc<Sim>, LogOffset) {
    let (kit, sim) = simulated(kit::options(Flush::Sync));
    kit.send("t", 0, b"acked");
    kit.commit();
    let acked = kit.store.reached(Level::Confirmed);
    kit.send("t", 0, b"not acked");
    kit.store.write_out().unwrap();
    (kit, sim, acked)
}

#[test]
fn a_failed_flush_is_never_tried_again_and_a_restart_asks_the_disk() {
    let (mut kit, sim, acked) = with_one_acked();
    sim.inject(Fault::SyncError, 0);
    assert!(kit.store.flush_step().is_err());
    // The disk works again, the store does not: what the failed flush dropped is gone for good.
    assert!(kit.store.flush_step().is_err());
    assert!(kit.store.write_out().is_err());
    assert_eq!(kit.store.checkpoint_step(), Next::Never);
    assert_eq!(kit.store.reached(Level::Confirmed), acked);
    let refused = kit.try_send("t", 0, b"x").unwrap_err();
    assert!(matches!(refused, StageError::ReadOnly(_)));
    assert!(kit.store.failure().is_some());
    assert_eq!(kit.bodies("t", 0), [b"acked"]);
    let recovery = kit.reopen();
    assert_eq!(recovery.log.1, acked);
    assert_eq!(kit.bodies("t", 0), [b"acked"]);
    assert_eq!(kit.send("t", 0, b"y").queue_offset, QueueOffset(1));
}

/// Who deletes a segment, writes a checkpoint or stops flushes too, beside the loop that always does.
#[test]
fn a_flush_beside_one_that_fails_does_not_succeed() {
    let (mut kit, sim, acked) = with_one_acked();
    sim.inject(Fault::SyncErrorLate, 0);
    let both = std::sync::Barrier::new(2);
    let failed = std::thread::scope(|scope| {
        let flushes = [(); 2].map(|()| {
            scope.spawn(|| {
                both.wait();
                kit.store.flush_step().is_err()
            })
        });
        flushes.map(|flush| flush.join().unwrap())
    });
    assert_eq!(failed, [true, true]);
    assert_eq!(kit.store.reached(Level::Confirmed), acked);
    assert_eq!(kit.bodies("t", 0), [b"acked"]);
    kit.reopen();
    assert_eq!(kit.bodies("t", 0), [b"acked"]);
}

#[test]
fn a_failed_or_short_write_seals_the_store_and_loses_nothing_acked() {
    for fault in [Fault::WriteError, Fault::WriteShort] {
        for flush in [Flush::Sync, Flush::Async] {
            let (mut kit, sim) = simulated(kit::options(flush));
            kit.send("t", 0, b"acked");
            kit.commit();
            let acked = kit.store.reached(Level::Confirmed);
            kit.send("t", 0, &[1; 600]);
            kit.send("t", 0, &[2; 600]);
            sim.inject(fault, 0);
            assert!(kit.store.write_out().is_err());
            assert!(kit.store.write_out().is_err());
            assert!(kit.try_send("t", 0, b"x").is_err());
            assert_eq!(kit.store.reached(Level::Appended), acked);
            let recovery = kit.reopen();
            // Of a short write a whole first record may be kept: it was never refused to anybody else.
            assert!(recovery.log.1 >= acked);
            assert_eq!(kit.bodies("t", 0)[0], b"acked");
            assert!(kit.bodies("t", 0).len() <= 2);
        }
    }
}

#[test]
fn a_full_disk_refuses_with_nothing_half_done_and_heals_by_itself() {
    let (mut kit, sim) = simulated(kit::options(Flush::Sync));
    sim.set_total(200 << 10);
    let mut sent = 0;
    let refused = loop {
        match kit.try_send("t", 0, &[0; 1000]) {
            Ok(_) => sent += 1,
            Err(e) => break e,
        }
        kit.commit();
    };
    assert_eq!(refused, StageError::Full);
    assert!(sent > 100);
    assert_eq!(kit.try_send("t", 0, &[0; 1000]), Err(StageError::Full));
    assert_eq!(kit.bodies("t", 0).len(), sent);
    assert_eq!(kit.store.failure(), None);
    sim.set_total(400 << 10);
    assert_eq!(
        kit.send("t", 0, &[0; 1000]).queue_offset,
        QueueOffset(sent as u64)
    );
    kit.commit();
    kit.reopen();
    assert_eq!(kit.bodies("t", 0).len(), sent + 1);
}

/// The same run with the nth write or flush failing, for every n: acked records survive a restart of
/// the process, and what survives is a prefix.
#[test]
fn whichever_write_or_flush_fails_nothing_acked_is_lost() {
    for fault in [Fault::WriteError, Fault::WriteShort, Fault::SyncError] {
        for nth in 0..60 {
            let (mut kit, sim) = simulated(Options {
                segment_size: 8 << 10,
                zero_ahead: 4 << 10,
                ..kit::options(Flush::Sync)
            });
            sim.inject(fault, nth);
            let mut acked = 0;
            for n in 0..40u8 {
                if kit.try_send("t", 0, &[n; 500]).is_err() || kit.store.write_out().is_err() {
                    break;
                }
                if kit.store.flush_step().is_err() {
                    break;
                }
                kit.store.dispatch(&mut |_| ());
                acked = usize::from(n) + 1;
                kit.store.ahead_step();
                if n % 5 == 0 {
                    kit.store.checkpoint_step();
                }
            }
            sim.heal();
            kit.reopen();
            let bodies = kit.bodies("t", 0);
            assert!(bodies.len() >= acked, "{fault:?} {nth}");
            for (n, body) in bodies.iter().enumerate() {
                assert_eq!(body, &[n as u8; 500], "{fault:?} {nth}");
            }
            assert!(kit.store.log_start() == LogOffset(0));
        }
    }
}
