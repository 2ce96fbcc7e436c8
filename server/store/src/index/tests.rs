//! The key index against a list of all keys.

use std::sync::Arc;

use fastrand::Rng;
use model::record::{Record, View, encode};
use model::{LogOffset, QueueId, QueueOffset};

use super::{DIR, KeyIndex, Limits};
use crate::disk::Disk;
use crate::disk::memory::Memory;

const SMALL: Limits = Limits {
    buffer: 300,
    runs: 4,
    merged: 2_000,
};

struct Known {
    at: u64,
    stored_at: i64,
    keys: Vec<String>,
}

fn record(at: u64, stored_at: i64, unique: &str, keys: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let host = "127.0.0.1:1".parse().unwrap();
    encode(
        &Record {
            topic: "t",
            queue: QueueId(0),
            queue_offset: QueueOffset(0),
            log_offset: LogOffset(at),
            flag: 0,
            sys_flag: 0,
            born_at: 0,
            born_host: host,
            stored_at,
            store_host: host,
            reconsume_times: 0,
            prepared_offset: 0,
            body: b"",
            properties: &format!("KEYS\u{1}{keys}\u{2}UNIQ_KEY\u{1}{unique}\u{2}"),
        },
        &mut out,
    );
    out
}

struct Bed {
    disk: Arc<dyn Disk>,
    index: KeyIndex,
    log: Vec<Known>,
    start: u64,
    end: u64,
}

impl Bed {
    fn new() -> Bed {
        let disk: Arc<dyn Disk> = Arc::new(Memory::default());
        Bed {
            index: KeyIndex::open(&disk, LogOffset(0), LogOffset(0), SMALL).unwrap(),
            disk,
            log: Vec::new(),
            start: 0,
            end: 0,
        }
    }

    fn append(&mut self, rng: &mut Rng) {
        let keys: Vec<_> = (0..rng.usize(..3))
            .map(|_| format!("k{}", rng.u32(..60)))
            .collect();
        let at = self.end;
        self.end += 1_000;
        let mut all = keys;
        all.push(format!("u{at}"));
        self.log.push(Known {
            at,
            stored_at: 1_700_000_000_000 + at as i64 / 3_000,
            keys: all,
        });
    }

    /// As `derive` does: from the cursor to the end.
    fn derive(&self) {
        let next = self.index.next().0;
        for known in self.log.iter().filter(|known| known.at >= next) {
            let (unique, keys) = known.keys.split_last().unwrap();
            let bytes = record(known.at, known.stored_at, unique, &keys.join("  "));
            self.index
                .add(&View::parse(&bytes).unwrap(), LogOffset(known.at + 1_000));
            self.index.step().unwrap();
        }
    }

    fn reopen(&mut self) {
        let (start, end) = (LogOffset(self.start), LogOffset(self.end));
        self.index = KeyIndex::open(&self.disk, start, end, SMALL).unwrap();
        assert!(self.index.next() <= end && self.index.next() >= start);
    }

    fn compare(&self, rng: &mut Rng) {
        for _ in 0..20 {
            let key = match rng.bool() {
                true => format!("k{}", rng.u32(..60)),
                false => format!("u{}", rng.u64(..=self.end / 1_000) * 1_000),
            };
            let max = rng.usize(1..70);
            let begin = 1_700_000_000_000 + rng.i64(0..=self.end as i64 / 3_000);
            let end = begin + rng.i64(..1_000);
            let expected: Vec<_> = (self.log.iter().rev())
                .filter(|known| known.at >= self.start && known.keys.contains(&key))
                .filter(|known| begin <= known.stored_at && known.stored_at <= end)
                .map(|known| LogOffset(known.at))
                .take(max)
                .collect();
            let found = self.find(&key, (begin, end), max);
            assert_eq!(found.unwrap(), expected, "{key} from {begin} to {end}");
        }
    }

    fn find(&self, key: &str, time: (i64, i64), max: usize) -> std::io::Result<Vec<LogOffset>> {
        self.index.find("t", key, time, max, LogOffset(self.start))
    }
}

#[test]
fn every_key_is_found_newest_first_whatever_happens() {
    for seed in 0..60 {
        let mut rng = Rng::with_seed(seed);
        let mut bed = Bed::new();
        for _ in 0..40 {
            match rng.u32(..10) {
                0..6 => {
                    (0..rng.u32(..200)).for_each(|_| bed.append(&mut rng));
                    bed.derive();
                }
                6 => bed.index.seal().unwrap(),
                7 => {
                    bed.start = rng.u64(bed.start..=bed.end) / 1_000 * 1_000;
                    bed.index.trim(LogOffset(bed.start)).unwrap();
                }
                8 => {
                    // The log lost its end, and grows again.
                    if rng.bool() {
                        bed.end = rng.u64(bed.start..=bed.end) / 1_000 * 1_000;
                        bed.log.retain(|known| known.at < bed.end);
                    }
                    bed.reopen();
                    bed.derive();
                }
                _ => bed.compare(&mut rng),
            }
        }
        bed.compare(&mut rng);
        assert!(bed.disk.list(DIR).unwrap().len() < 12, "runs are merged");
    }
}

#[test]
fn a_damaged_run_is_derived_again_and_never_lies() {
    for seed in 0..200 {
        let mut rng = Rng::with_seed(500 + seed);
        let mut bed = Bed::new();
        (0..2_000).for_each(|_| bed.append(&mut rng));
        bed.derive();
        let names = bed.disk.list(DIR).unwrap();
        let path = format!("{DIR}/{}", names[rng.usize(..names.len())]);
        let file = bed.disk.open(&path).unwrap();
        let len = file.len().unwrap();
        match rng.u32(..4) {
            0 => bed.disk.remove(&path).unwrap(),
            1 => file.set_len(rng.u64(..len)).unwrap(),
            _ => {
                let (at, mut byte) = (rng.u64(..len), [0]);
                file.read_at(&mut byte, at).unwrap();
                file.write_at(&[byte[0] ^ (1 << rng.u32(..8))], at).unwrap();
            }
        }
        bed.reopen();
        bed.derive();
        for key in 0..60 {
            let _ = bed.find(&format!("k{key}"), (0, i64::MAX), 1_000_000);
        }
        bed.derive();
        bed.compare(&mut rng);
    }
}

#[test]
fn a_key_belongs_to_its_topic_and_its_case() {
    let mut bed = Bed::new();
    let bytes = record(0, 5, "u", "Key other");
    bed.index
        .add(&View::parse(&bytes).unwrap(), LogOffset(bytes.len() as u64));
    bed.end = bytes.len() as u64;
    let all = (i64::MIN, i64::MAX);
    assert_eq!(bed.find("Key", all, 9).unwrap(), [LogOffset(0)]);
    assert_eq!(bed.find("key", all, 9).unwrap(), []);
    assert_eq!(
        bed.index.find("T", "Key", all, 9, LogOffset(0)).unwrap(),
        []
    );
}

/// The hash is in files: another one would make every old run useless.
#[test]
fn the_hash_never_changes() {
    assert_ne!(
        super::hash::of(&["tk", "ey"]),
        super::hash::of(&["t", "key"])
    );
    let pinned = format!(
        "{:016x}",
        super::hash::of(&["TopicTest", "7F00000112345678"])
    );
    assert_eq!(pinned, "a1f8086d56b3667a");
}
