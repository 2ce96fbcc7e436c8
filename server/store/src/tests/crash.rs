//! Every crash state of a recorded run recovers to a prefix that contains everything acked; so does a
//! crash of the run that follows. And planted bugs are found, or all of this would prove nothing.

mod ledger;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ledger::{Ledger, Plan};

use crate::clock::ManualClock;
use crate::disk::sim::{Fault, Image, Keep, Sim};
use crate::index::Limits;
use crate::options::{Flush, Options};
use crate::recover::Planted;
use crate::store::{Recovery, Store};
use crate::tests::kit;

/// States of one test in debug; `POSTHOUSE_CRASH_STATES` asks for more.
const STATES: usize = 1_500;

/// Runs of a few keys, merged soon.
const KEYS: Limits = Limits {
    buffer: 6,
    runs: 3,
    merged: 30,
};

/// Tiny sizes, so that a short run meets every boundary.
fn options(flush: Flush) -> Options {
    Options {
        segment_size: 8 << 10,
        reserve_step: 2 << 10,
        zero_ahead: 5 << 10,
        record_max: 4 << 10,
        tail_max: 4 << 10,
        cached: 8 << 10,
        ..kit::options(flush)
    }
}

/// What is tested: how, and with which bug.
#[derive(Clone, Copy, Default)]
struct Trial {
    asynchronous: bool,
    planted: Planted,
    ack_before_flush: bool,
    forget_folders: bool,
}

impl Trial {
    fn flush(&self) -> Flush {
        match self.asynchronous || self.ack_before_flush {
            true => Flush::Async,
            false => Flush::Sync,
        }
    }

    fn plan(&self) -> Plan {
        Plan {
            flush: self.flush(),
            ack_before_flush: self.ack_before_flush,
        }
    }

    fn open(&self, image: Image) -> Result<(Store, Recovery, Arc<Sim>, Arc<ManualClock>), String> {
        let sim = Arc::new(Sim::new(image));
        let (store, recovery, clock) = self.open_on(&sim)?;
        Ok((store, recovery, sim, clock))
    }

    fn open_on(&self, sim: &Arc<Sim>) -> Result<(Store, Recovery, Arc<ManualClock>), String> {
        let clock = Arc::new(ManualClock::new(1_000));
        let disk: Arc<Sim> = Arc::clone(sim);
        let handed: Arc<ManualClock> = Arc::clone(&clock);
        let opened = Store::open_planted(options(self.flush()), disk, handed, self.planted);
        let (mut store, recovery) = opened.map_err(|e| format!("does not open: {e}"))?;
        store.keys.set_limits(KEYS);
        Ok((store, recovery, clock))
    }

    /// Runs from an empty disk, and crashes everywhere. Returns how many states were looked at.
    fn run(&self, seed: u64) -> Result<usize, String> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (store, _, sim, clock) = self.open(Image::new())?;
        let mut ledger = Ledger::default();
        // A disk that fails or fills up in the middle of every other run.
        match seed % 4 {
            1 => sim.inject(Fault::SyncError, rng.u32(..30)),
            2 => sim.inject(
                [Fault::WriteError, Fault::WriteShort][rng.usize(..2)],
                rng.u32(..60),
            ),
            3 if seed % 8 == 3 => sim.set_total(rng.u64(8..60) << 10),
            _ => {}
        }
        ledger.run(&store, &sim, &clock, &self.plan(), &mut rng, 120);
        drop(store);
        let mut trace = sim.take_trace();
        if self.forget_folders {
            trace = trace.without_folder_flushes();
        }
        let mut crash = trace.crashes();
        let (mut position, mut states) = (0, 0);
        while crash.step() {
            position += 1;
            for n in 0..4 {
                let keep = match n {
                    0 => [Keep::All, Keep::Nothing][position % 2],
                    1 => Keep::Some,
                    _ => Keep::Torn,
                };
                let image = crash.image(keep, &mut rng);
                let second = self.crash_twice(image, &ledger, position, &mut rng);
                states +=
                    second.map_err(|e| format!("seed {seed}, step {position}, {keep:?}: {e}"))?;
            }
        }
        Ok(states)
    }

    /// Recovers, audits; then goes on, crashes at some point of that, recovers and audits again.
    fn crash_twice(
        &self,
        image: Image,
        before: &Ledger,
        position: usize,
        rng: &mut fastrand::Rng,
    ) -> Result<usize, String> {
        let (store, recovery, sim, clock) = self.open(image)?;
        let mut ledger = before.audit(&store, &recovery, before.acked(position))?;
        if rng.u8(..4) == 0 {
            return Ok(1);
        }
        ledger.run(&store, &sim, &clock, &self.plan(), rng, 16);
        drop(store);
        let trace = sim.take_trace();
        let at = rng.usize(..=trace.ops.len());
        let mut crash = trace.crashes();
        for _ in 0..at {
            crash.step();
        }
        let keep = [Keep::All, Keep::Some, Keep::Torn, Keep::Torn][rng.usize(..4)];
        let image = crash.image(keep, rng);
        let (store, recovery, ..) = self.open(image)?;
        let second = |e| format!("second generation, step {at}, {keep:?}: {e}");
        ledger
            .audit(&store, &recovery, ledger.acked(at))
            .map_err(second)?;
        Ok(2)
    }
}

/// Runs seeds until enough states were seen, on two threads.
fn states(trial: Trial) -> Result<usize, String> {
    let wanted = std::env::var("POSTHOUSE_CRASH_STATES");
    let wanted = wanted.ok().and_then(|n| n.parse().ok()).unwrap_or(STATES);
    let (seen, next) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || -> Result<(), String> {
        while seen.load(Ordering::Relaxed) < wanted {
            let seed = next.fetch_add(1, Ordering::Relaxed) as u64;
            seen.fetch_add(trial.run(seed)?, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        work()?;
        other.join().unwrap()
    })?;
    Ok(seen.into_inner())
}

#[test]
fn every_crash_state_recovers_what_was_acked_when_flushing_is_synchronous() {
    let seen = states(Trial::default());
    println!("{} states", seen.unwrap());
}

#[test]
fn every_crash_state_recovers_a_prefix_when_flushing_is_asynchronous() {
    let seen = states(Trial {
        asynchronous: true,
        ..Trial::default()
    });
    println!("{} states", seen.unwrap());
}

/// The bug must be found within a few seeds.
fn is_found(trial: Trial) {
    let found = (0..100).find_map(|seed| trial.run(seed).err());
    println!("{}", found.expect("the planted bug was not found"));
}

#[test]
fn the_harness_finds_an_ack_before_the_flush() {
    is_found(Trial {
        ack_before_flush: true,
        ..Trial::default()
    });
}

#[test]
fn the_harness_finds_that_nothing_is_zeroed_behind_the_cut() {
    is_found(Trial {
        planted: Planted {
            keep_behind_cut: true,
            ..Planted::default()
        },
        ..Trial::default()
    });
}

#[test]
fn the_harness_finds_a_snapshot_of_what_waits_that_knows_more_than_the_disk() {
    is_found(Trial {
        asynchronous: true,
        planted: Planted {
            hasty_snapshot: true,
            ..Planted::default()
        },
        ..Trial::default()
    });
}

#[test]
fn the_harness_finds_a_folder_that_is_not_flushed() {
    is_found(Trial {
        forget_folders: true,
        ..Trial::default()
    });
}
