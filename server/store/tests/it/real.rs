//! Real files: the lock, the blocks an empty store occupies, reading what is warm and what is not.

use std::os::unix::fs::MetadataExt;

use model::{QueueId, QueueOffset};
use store::{Error, Flush, Options, Reads, Wait};

use crate::kit::{draft, open, topic};

#[test]
fn a_second_process_is_told_who_has_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), Options::default()).unwrap();
    let Err(Error::Locked { holder, .. }) = open(dir.path(), Options::default()) else {
        panic!("opened twice");
    };
    assert_eq!(holder, format!("process {}", std::process::id()));
    drop(store);
    open(dir.path(), Options::default()).unwrap();
}

#[test]
fn an_empty_store_occupies_little() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), Options::default()).unwrap();
    let segment = dir.path().join("commitlog/00000000000000000000");
    let blocks = std::fs::metadata(segment).unwrap().blocks() * 512;
    assert!(blocks <= 1 << 20, "{blocks} bytes");
    drop(store);
}

#[test]
fn records_are_read_back_from_files_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        segment_size: 1 << 20,
        flush: Flush::Sync,
        tail_max: 64 << 10,
        zero_ahead: 256 << 10,
        ..Options::default()
    };
    let mut bodies = Vec::new();
    for round in 0..3u8 {
        let (store, recovery) = open(dir.path(), options.clone()).unwrap();
        assert!(recovery.quarantined.is_empty());
        let queue = store.queue(&topic("t"), QueueId(0));
        assert_eq!(queue.end(), QueueOffset(bodies.len() as u64));
        for n in 0..1500u32 {
            let body = vec![round ^ n as u8; 1000];
            store.stage(&draft(&queue, &body)).unwrap();
            bodies.push(body);
            if n % 50 == 49 {
                store.write_out().unwrap();
                store.flush_step().unwrap();
                store.dispatch(&mut |_| ());
                store.ahead_step();
            }
        }
        let mut entries = Vec::new();
        let all = usize::MAX >> 1;
        store
            .entries(&queue, QueueOffset(0), all, Wait::Yes, &mut entries)
            .unwrap();
        assert_eq!(entries.len(), bodies.len());
        for wait in [Wait::Yes, Wait::No] {
            let mut out = Vec::new();
            let read = store.read_runs(&entries, &mut out, wait).unwrap();
            if wait == Wait::Yes || cfg!(target_os = "linux") {
                assert_eq!(read, Reads::Done);
                let mut rest = &out[..];
                for body in &bodies {
                    let view = model::record::View::parse(rest).unwrap();
                    assert_eq!(view.body(), body);
                    rest = &rest[view.len()..];
                }
                assert!(rest.is_empty());
            }
        }
    }
}
