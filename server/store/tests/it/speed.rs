//! What the hot path costs. `cargo test --release -p store --test it speed -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{QueueId, QueueOffset};
use store::{Flush, Options, Reads, Wait};

use crate::kit::{draft, open, topic};

fn folder() -> tempfile::TempDir {
    // Beside the build, where there is a disk.
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
#[ignore = "a measurement"]
fn staging_and_writing_1_kib_records_in_batches() {
    let dir = folder();
    let options = Options {
        flush: Flush::Async,
        ..Options::default()
    };
    let (store, _) = open(dir.path(), options).unwrap();
    let queues: Vec<_> = (0..8)
        .map(|n| store.queue(&topic("t"), QueueId(n)))
        .collect();
    let body = vec![7u8; 1024];
    for batch in [1usize, 16, 64, 256] {
        let count = 200_000.min(batch * 20_000);
        let (mut staging, mut writing, mut dispatching) = Default::default();
        let add = |sum: &mut Duration, from: Instant| *sum += from.elapsed();
        for round in 0..count / batch {
            let began = Instant::now();
            for n in 0..batch {
                store
                    .stage(&draft(&queues[(round + n) % 8], &body))
                    .unwrap();
            }
            add(&mut staging, began);
            let began = Instant::now();
            store.write_out().unwrap();
            add(&mut writing, began);
            let began = Instant::now();
            store.dispatch(&mut |_| ());
            add(&mut dispatching, began);
            if round % 64 == 0 {
                store.ahead_step();
                store.flush_step().unwrap();
            }
        }
        let each = |sum: Duration| sum.as_nanos() as usize / count;
        println!(
            "batch {batch}: stage {} ns, write {} ns, dispatch {} ns",
            each(staging),
            each(writing),
            each(dispatching)
        );
    }
    let mut entries = Vec::new();
    let mut out = Vec::new();
    for (name, from) in [("files", 0), ("tail", u64::MAX)] {
        let queue = &queues[0];
        let mut at = if from == 0 { 0 } else { queue.end().0 - 3200 };
        let mut blocked = 0;
        let began = Instant::now();
        for _ in 0..100 {
            entries.clear();
            out.clear();
            store
                .entries(queue, QueueOffset(at), 32, Wait::Yes, &mut entries)
                .unwrap();
            let read = store.read_runs(&entries, &mut out, Wait::No).unwrap();
            blocked += usize::from(read == Reads::WouldBlock);
            at += 32;
        }
        println!(
            "read 32 from {name}: {} ns each, {blocked} of 100 not in memory",
            began.elapsed().as_nanos() / 3200
        );
    }
}

#[test]
#[ignore = "a measurement"]
fn one_synchronous_send_after_the_other() {
    let dir = folder();
    let (store, _) = open(dir.path(), Options::default()).unwrap();
    let queue = store.queue(&topic("t"), QueueId(0));
    let body = vec![7u8; 1024];
    let store = Arc::new(store);
    for name in ["unwritten", "zeroed ahead"] {
        let mut times = Vec::new();
        for _ in 0..2000 {
            let began = Instant::now();
            store.stage(&draft(&queue, &body)).unwrap();
            store.write_out().unwrap();
            store.flush_step().unwrap();
            store.dispatch(&mut |_| ());
            times.push(began.elapsed());
        }
        times.sort();
        println!("{name}: p50 {:?}, p99 {:?}", times[1000], times[1980]);
        while store.ahead_step() == store::Next::Now {}
        // What was zeroed must be on the disk, or the next flush pays for it.
        store.stage(&draft(&queue, &body)).unwrap();
        store.write_out().unwrap();
        store.flush_step().unwrap();
        // Past the margin that is never zeroed.
        for _ in 0..2200 {
            store.stage(&draft(&queue, &body)).unwrap();
        }
        store.write_out().unwrap();
        store.flush_step().unwrap();
    }
}

#[test]
#[ignore = "a measurement"]
fn opening_again_after_a_kill() {
    let dir = folder();
    let options = Options {
        flush: Flush::Async,
        ..Options::default()
    };
    let (store, _) = open(dir.path(), options.clone()).unwrap();
    let queue = store.queue(&topic("t"), QueueId(0));
    let body = vec![7u8; 16 << 10];
    let count = (5u64 << 30) / body.len() as u64;
    for n in 0..count {
        store.stage(&draft(&queue, &body)).unwrap();
        if n % 16 == 0 {
            store.write_out().unwrap();
            store.dispatch(&mut |_| ());
            store.flush_step().unwrap();
            store.ahead_step();
        }
        // As every half second.
        if n % 20_000 == 0 {
            store.checkpoint_step();
        }
    }
    store.write_out().unwrap();
    drop(store);
    let began = Instant::now();
    let (_, recovery) = open(dir.path(), options).unwrap();
    println!("opened in {:?}: {recovery:?}", began.elapsed());
}

#[test]
#[ignore = "a measurement"]
fn reading_queue_entries_warm_and_from_the_files() {
    let dir = folder();
    let options = Options {
        flush: Flush::Async,
        ..Options::default()
    };
    let (store, _) = open(dir.path(), options).unwrap();
    let queues: Vec<_> = (0..8)
        .map(|n| store.queue(&topic("t"), QueueId(n)))
        .collect();
    let count = 2_000_000u64;
    let mut dispatching = Duration::ZERO;
    for round in 0..count / 256 {
        for n in 0..256 {
            store
                .stage(&draft(&queues[((round + n) % 8) as usize], b"body"))
                .unwrap();
        }
        store.write_out().unwrap();
        let began = Instant::now();
        store.dispatch(&mut |_| ());
        dispatching += began.elapsed();
        if round % 64 == 0 {
            store.flush_step().unwrap();
            store.checkpoint_step();
        }
    }
    println!("dispatch {} ns", dispatching.as_nanos() as u64 / count);
    let mut entries = Vec::new();
    for (name, back) in [("tail", 64), ("cached blocks", 20_000), ("files", 200_000)] {
        let rounds = 200_000u64;
        let began = Instant::now();
        for round in 0..rounds {
            entries.clear();
            let queue = &queues[(round % 8) as usize];
            let from = queue.end().0 - back + (round / 8 * 32) % (back - 32);
            store
                .entries(queue, QueueOffset(from), 32, Wait::Yes, &mut entries)
                .unwrap();
            assert_eq!(entries.len(), 32);
        }
        println!(
            "32 entries, {name}: {} ns",
            began.elapsed().as_nanos() as u64 / rounds
        );
    }
    let began = Instant::now();
    while store.derive_step() == store::Next::Now {}
    println!(
        "derive {} ns a record",
        began.elapsed().as_nanos() as u64 / count
    );
}
