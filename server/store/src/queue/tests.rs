//! The queues against a naive model: a vector for each queue and the list of all events in the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use model::{LogOffset, QueueId, QueueOffset, TopicName};

use super::registry::Limits;
use super::{Entry, Queues};
use crate::disk::memory::Memory;
use crate::disk::{Disk, Wait};
use crate::error::ReadError;

const SMALL: Limits = Limits {
    cache: 30_000,
    tails: 60_000,
    unwritten: 40_000,
};

fn topic(number: usize) -> TopicName {
    TopicName::parse(&format!("topic-{number}")).unwrap()
}

fn entry(at: u64) -> Entry {
    Entry {
        log_offset: LogOffset(at),
        size: 100 + (at % 7) as u32,
        tags_code: at as i64 - 5_000,
    }
}

/// What the log says happened, in order.
#[derive(Clone)]
enum Event {
    Record {
        at: u64,
        queue: (usize, u32),
        offset: u64,
    },
    Dropped {
        at: u64,
        topic: usize,
    },
    End {
        at: u64,
        queue: (usize, u32),
        end: u64,
    },
}

#[derive(Clone, Default)]
struct Modelled {
    start: u64,
    entries: Vec<Entry>,
}

impl Modelled {
    fn end(&self) -> u64 {
        self.entries.len() as u64
    }
}

/// The log, the model of the queues, and the queues.
struct Bed {
    disk: Arc<dyn Disk>,
    events: Vec<Event>,
    log_start: u64,
    log_end: u64,
    model: BTreeMap<(usize, u32), Modelled>,
    queues: Queues,
}

impl Bed {
    fn new() -> Bed {
        let disk: Arc<dyn Disk> = Arc::new(Memory::default());
        Bed {
            queues: Queues::open_with(&disk, LogOffset(0), SMALL).unwrap(),
            disk,
            events: Vec::new(),
            log_start: 0,
            log_end: 0,
            model: BTreeMap::new(),
        }
    }

    fn advance(&mut self) -> u64 {
        self.log_end += 100;
        self.log_end - 100
    }

    fn append(&mut self, key: (usize, u32), lost: u64) {
        let at = self.advance();
        let queue = self.model.entry(key).or_default();
        let end = queue.end() + lost;
        queue.entries.resize(end as usize, Entry::HOLE);
        if queue
            .entries
            .iter()
            .skip(queue.start as usize)
            .all(|e| e.size == 0)
        {
            queue.start = end;
        }
        queue.entries.push(entry(at));
        self.events.push(Event::Record {
            at,
            queue: key,
            offset: end,
        });
        self.apply(self.events.len() - 1);
    }

    fn drop_topic(&mut self, topic: usize) {
        let at = self.advance();
        self.model.retain(|key, _| key.0 != topic);
        self.events.push(Event::Dropped { at, topic });
        self.apply(self.events.len() - 1);
    }

    fn apply(&self, event: usize) {
        match self.events[event] {
            Event::Record {
                at,
                queue: key,
                offset,
            } => {
                let queue = self.queues.queue(&topic(key.0), QueueId(key.1));
                self.queues.append(&queue, QueueOffset(offset), entry(at));
            }
            Event::Dropped { at, topic: number } => {
                self.queues
                    .drop_topic(topic(number).as_str(), LogOffset(at));
            }
            Event::End {
                queue: key, end, ..
            } => {
                let queue = self.queues.queue(&topic(key.0), QueueId(key.1));
                self.queues.raise_end(&queue, QueueOffset(end));
            }
        }
    }

    /// Says the ends of all queues in the log, then deletes what is before `start`.
    fn delete_before(&mut self, start: u64) {
        let ends: Vec<_> = self
            .model
            .iter()
            .map(|(key, queue)| (*key, queue.end()))
            .collect();
        for (queue, end) in ends {
            let at = self.advance();
            self.events.push(Event::End { at, queue, end });
        }
        self.log_start = start;
        self.events.retain(|event| event.at() >= start);
        for queue in self.model.values_mut() {
            let kept = queue
                .entries
                .iter()
                .position(|e| e.size > 0 && e.log_offset.0 >= start);
            queue.start = queue.start.max(kept.map_or(queue.end(), |at| at as u64));
        }
        self.queues.raise_start(LogOffset(start));
    }

    /// Opens the disk anew, and replays what is not covered.
    fn reopen(&mut self) {
        self.queues = Queues::open_with(&self.disk, LogOffset(self.log_start), SMALL).unwrap();
        let covered = self.queues.covered().0;
        assert!(covered <= self.log_end);
        for event in 0..self.events.len() {
            if self.events[event].at() >= covered {
                self.apply(event);
            }
        }
    }

    fn compare(&self, rng: &mut Rng) {
        let known: Vec<_> = self
            .queues
            .all()
            .iter()
            .map(|q| (q.topic.clone(), q.id))
            .collect();
        for (name, id) in known {
            let number = name.as_str()[6..].parse().unwrap();
            let nothing = Modelled::default();
            let expected = self.model.get(&(number, id.0)).unwrap_or(&nothing);
            let queue = self.queues.find(name.as_str(), id.0).unwrap();
            assert_eq!(queue.end().0, expected.end(), "end of {name} {id}");
            assert_eq!(queue.start().0, expected.start, "start of {name} {id}");
        }
        for (key, expected) in &self.model {
            let name = topic(key.0);
            let Some(queue) = self.queues.find(name.as_str(), key.1) else {
                assert_eq!(expected.end(), 0);
                continue;
            };
            let kept = expected.entries.get(expected.start as usize..);
            let lengths = kept.unwrap_or_default().iter().map(|e| u64::from(e.size));
            let bytes = self.queues.bytes(&queue).unwrap();
            assert_eq!(bytes, lengths.sum::<u64>(), "length of {name} {}", key.1);
            for (from, max) in [
                (0, usize::MAX >> 1),
                (rng.u64(..=expected.end()), rng.usize(..100)),
            ] {
                let mut out = Vec::new();
                let read =
                    (self.queues).entries(&queue, QueueOffset(from), max, Wait::Yes, &mut out);
                match read {
                    Ok(_) => {
                        let from = from.max(expected.start) as usize;
                        let to = from.saturating_add(max).min(expected.entries.len());
                        assert_eq!(
                            out,
                            &expected.entries[from..to],
                            "{name} {} from {from}",
                            key.1
                        );
                    }
                    Err(ReadError::Index { .. }) => panic!("damaged: {name} {}", key.1),
                    Err(e) => panic!("{e}"),
                }
            }
        }
    }
}

impl Event {
    fn at(&self) -> u64 {
        match *self {
            Event::Record { at, .. } | Event::Dropped { at, .. } | Event::End { at, .. } => at,
        }
    }
}

fn run(rng: &mut Rng, steps: usize) -> Bed {
    let mut bed = Bed::new();
    for _ in 0..steps {
        match rng.u32(..20) {
            0..12 => {
                let key = (rng.usize(..3), rng.u32(..3) * 2);
                let lost = if rng.u32(..10) == 0 {
                    rng.u64(..700)
                } else {
                    0
                };
                bed.append(key, lost);
                for _ in 0..rng.usize(..400) {
                    bed.append(key, 0);
                }
            }
            12 => bed.queues.write_blocks().unwrap(),
            13..15 => {
                let limit = rng.u64(bed.queues.covered().0..=bed.log_end);
                bed.queues.checkpoint(LogOffset(limit / 100 * 100)).unwrap();
            }
            15 => {
                let start = rng.u64(bed.log_start..=bed.log_end) / 100 * 100;
                if rng.bool() {
                    bed.delete_before(start);
                }
            }
            16 => bed.drop_topic(rng.usize(..3)),
            17..19 => bed.reopen(),
            _ => bed.compare(rng),
        }
    }
    bed
}

#[test]
fn queues_say_what_the_model_says_whatever_happens() {
    for seed in 0..150 {
        let mut rng = Rng::with_seed(seed);
        let mut bed = run(&mut rng, 60);
        bed.compare(&mut rng);
        bed.reopen();
        bed.compare(&mut rng);
    }
}

/// Changes a file of the disk at random: flips a byte, cuts it, or deletes it.
fn damage(disk: &dyn Disk, rng: &mut Rng) {
    let names = disk.list("queues").unwrap();
    if names.is_empty() {
        return;
    }
    let path = format!("queues/{}", names[rng.usize(..names.len())]);
    let file = disk.open(&path).unwrap();
    let len = file.len().unwrap();
    match rng.u32(..4) {
        0 => disk.remove(&path).unwrap(),
        1 => file.set_len(rng.u64(..=len)).unwrap(),
        _ if len > 0 => {
            let at = rng.u64(..len);
            let mut byte = [0];
            file.read_at(&mut byte, at).unwrap();
            file.write_at(&[byte[0] ^ (1 << rng.u32(..8))], at).unwrap();
        }
        _ => {}
    }
}

#[test]
fn a_damaged_index_is_built_again_and_never_lies() {
    let mut rebuilt = 0;
    for seed in 0..300 {
        let mut rng = Rng::with_seed(1_000 + seed);
        let mut bed = run(&mut rng, 20);
        bed.queues.checkpoint(LogOffset(bed.log_end)).unwrap();
        damage(&*bed.disk, &mut rng);
        bed.reopen();
        let mut failed = false;
        for queue in bed.queues.all() {
            let mut out = Vec::new();
            let from = queue.start();
            let read = (bed.queues).entries(&queue, from, usize::MAX >> 1, Wait::Yes, &mut out);
            failed |= matches!(read, Err(ReadError::Index { .. }));
        }
        if failed {
            bed.reopen();
            assert_eq!(bed.queues.covered(), LogOffset(0));
            rebuilt += 1;
        }
        bed.compare(&mut rng);
    }
    assert!(rebuilt > 10, "only {rebuilt} blocks were found damaged");
}

#[test]
fn a_long_backlog_does_not_grow_memory() {
    let disk: Arc<dyn Disk> = Arc::new(Memory::default());
    let queues = Queues::open_with(&disk, LogOffset(0), SMALL).unwrap();
    let all: Vec<_> = (0..64)
        .map(|id| queues.queue(&topic(1), QueueId(id)))
        .collect();
    for at in 0..200_000u64 {
        let queue = &all[(at % 64) as usize];
        queues.append(queue, QueueOffset(at / 64), entry(at));
        if at % 1_000 == 0 {
            queues.write_blocks().unwrap();
        }
    }
    let held: usize = (all.iter())
        .map(|queue| {
            let list = queue.list();
            let blocks = list.blocks.iter().filter_map(|b| b.entries.as_ref());
            let cached: usize = blocks.map(|entries| entries.capacity()).sum();
            (cached + list.tail.capacity()) * size_of::<Entry>()
        })
        .sum();
    let limit = SMALL.cache + SMALL.tails + SMALL.unwritten + 64 * 1_024;
    assert!(
        held < limit,
        "{held} bytes of {} are in memory",
        200_000 * size_of::<Entry>()
    );
    let mut out = Vec::new();
    let read = queues.entries(&all[5], QueueOffset(0), 100_000, Wait::Yes, &mut out);
    read.unwrap();
    assert_eq!(out.len(), 200_000 / 64);
    assert!(
        out.iter()
            .enumerate()
            .all(|(i, e)| e.log_offset.0 == i as u64 * 64 + 5)
    );
}
