//! What a run sent and was acked, and whether a recovered store agrees.

use std::collections::{BTreeMap, BTreeSet};

use model::{Level, LogOffset, QueueId, QueueOffset};

use crate::clock::ManualClock;
use crate::disk::Wait;
use crate::disk::sim::Sim;
use crate::log::stage::Draft;
use crate::options::Flush;
use crate::pending::{Kind, SCHEDULE_TOPIC};
use crate::store::{Next, Recovery, Store};
use crate::table::Table;
use crate::tests::kit::{draft, topic};

const QUEUES: u32 = 3;

/// How a run goes.
pub(super) struct Plan {
    pub flush: Flush,
    /// The planted bug: what is only written counts as acked.
    pub ack_before_flush: bool,
}

#[derive(Clone)]
enum What {
    Record {
        queue: u32,
        body: Vec<u8>,
        key: usize,
        at: LogOffset,
    },
    Row {
        key: u8,
        value: Option<u8>,
    },
    /// A record that waits.
    Waits {
        at: LogOffset,
    },
    /// The record before this one in the ledger, or a marker, closes what waits at `at`.
    Closes {
        at: LogOffset,
    },
}

/// Everything that was staged, in log order.
#[derive(Clone, Default)]
pub(super) struct Ledger {
    staged: Vec<(LogOffset, What)>,
    /// From this step of the trace on, everything before that log offset was acked.
    acks: Vec<(usize, LogOffset)>,
}

impl Ledger {
    /// What was acked when the trace had `position` steps.
    pub fn acked(&self, position: usize) -> LogOffset {
        let acks = self.acks.iter().rev();
        let acked = acks.filter(|(at, _)| *at <= position).map(|ack| ack.1);
        acked.max().unwrap_or_default()
    }

    /// Does `steps` random things.
    pub fn run(
        &mut self,
        store: &Store,
        sim: &Sim,
        clock: &ManualClock,
        plan: &Plan,
        rng: &mut fastrand::Rng,
        steps: usize,
    ) {
        for _ in 0..steps {
            match rng.u8(..27) {
                0..9 => self.send(store, rng),
                9 => self.put(store, rng),
                10 => drop(store.checkpoint_step()),
                11 => drop(store.ahead_step()),
                12 => drop(store.derive_step()),
                13..16 => self.delay(store, rng),
                16..19 => self.deliver(store, rng),
                19 => self.recall(store),
                _ => self.commit(store, sim, clock, plan, rng),
            }
        }
    }

    fn send(&mut self, store: &Store, rng: &mut fastrand::Rng) {
        let count = if rng.u8(..3) == 0 { 3 } else { 1 };
        let id = rng.u32(..QUEUES);
        let queue = store.queue(&topic("t"), QueueId(id));
        // Equal sizes, so that what is left of one run fits where the next one writes.
        let bodies: Vec<Vec<u8>> = (0..count)
            .map(|_| vec![rng.u8(..); [100, 100, 100, 900][rng.usize(..4)]])
            .collect();
        // Of what a crash takes away, the run that follows uses the keys again.
        let first = self.staged.len();
        let properties: Vec<_> = (first..first + count).map(properties).collect();
        let drafts: Vec<_> = (bodies.iter().zip(&properties))
            .map(|(body, properties)| Draft {
                properties,
                ..draft(&queue, body)
            })
            .collect();
        let mut staged = Vec::new();
        if store.stage_all(&drafts, &mut staged).is_err() {
            return;
        }
        for ((staged, body), key) in staged.iter().zip(bodies).zip(first..) {
            let what = What::Record {
                queue: id,
                body,
                key,
                at: staged.log_offset,
            };
            self.staged.push((staged.end, what));
        }
    }

    fn delay(&mut self, store: &Store, rng: &mut fastrand::Rng) {
        let queue = store.queue(&topic(SCHEDULE_TOPIC), QueueId(rng.u32(..2)));
        let properties = delayed(rng.i64(..1_000));
        let delayed = Draft {
            properties: &properties,
            ..draft(&queue, &[7; 100])
        };
        if let Ok(staged) = store.stage(&delayed) {
            let at = staged.log_offset;
            self.staged.push((staged.end, What::Waits { at }));
        }
    }

    /// Some of what waits is stored where it goes.
    fn deliver(&mut self, store: &Store, rng: &mut fastrand::Rng) {
        let mut due = Vec::new();
        (store.pending()).claim_due(Kind::Timer, rng.i64(..1_000), 3, 250, &mut due);
        for open in due {
            let id = rng.u32(..QUEUES);
            let queue = store.queue(&topic("t"), QueueId(id));
            let mut bytes = Vec::new();
            let read = store.record(open.at, Wait::Yes, &mut bytes);
            read.expect("what waits can be read");
            let view = model::record::View::parse(&bytes).unwrap();
            let key = self.staged.len();
            let properties = properties(key);
            let delivered = Draft {
                properties: &properties,
                prepared_offset: open.at.0,
                ..draft(&queue, view.body())
            };
            let Ok(staged) = store.stage(&delivered) else {
                store.pending().unclaim(open.at);
                continue;
            };
            let what = What::Record {
                queue: id,
                body: view.body().to_vec(),
                key,
                at: staged.log_offset,
            };
            self.staged.push((staged.end, what));
            self.staged.push((staged.end, What::Closes { at: open.at }));
        }
    }

    fn recall(&mut self, store: &Store) {
        let mut first = Vec::new();
        store.pending().list(Kind::Timer, None, 1, &mut first);
        let Some(open) = first
            .first()
            .and_then(|open| store.pending().claim(open.at))
        else {
            return;
        };
        let queue = store.queue(&topic("recalled"), QueueId(0));
        let marker = Draft {
            prepared_offset: open.at.0,
            ..draft(&queue, b"-")
        };
        match store.stage(&marker) {
            Ok(staged) => (self.staged).push((staged.end, What::Closes { at: open.at })),
            Err(_) => store.pending().unclaim(open.at),
        }
    }

    fn put(&mut self, store: &Store, rng: &mut fastrand::Rng) {
        let key = rng.u8(..4);
        let value = rng.bool().then(|| rng.u8(..));
        let bytes = value.map(|value| [value]);
        let bytes = bytes.as_ref().map(|bytes| &bytes[..]);
        if let Ok(mark) = store.put(&[(Table::Topics, &[key], bytes)]) {
            self.staged.push((mark.at, What::Row { key, value }));
        }
    }

    fn commit(
        &mut self,
        store: &Store,
        sim: &Sim,
        clock: &ManualClock,
        plan: &Plan,
        rng: &mut fastrand::Rng,
    ) {
        if store.write_out().is_err() {
            return;
        }
        if plan.flush == Flush::Sync || rng.u8(..4) == 0 {
            clock.advance(std::time::Duration::from_millis(200));
            let _ = store.flush_step();
            let _ = store.flush_step();
        }
        store.dispatch(&mut |_| ());
        let level = match plan.ack_before_flush {
            true => Level::Appended,
            false => Level::Flushed,
        };
        self.acks.push((sim.position(), store.reached(level)));
    }

    /// Compares; returns the ledger of what survived, acked from the beginning.
    pub fn audit(
        &self,
        store: &Store,
        recovery: &Recovery,
        acked: LogOffset,
    ) -> Result<Ledger, String> {
        let end = recovery.log.1;
        if !recovery.quarantined.is_empty() {
            return Err(format!("quarantined {:?}", recovery.quarantined));
        }
        if end < acked {
            return Err(format!("acked up to {acked}, recovered up to {end}"));
        }
        let kept = self.staged.partition_point(|(at, _)| *at <= end);
        let kept = &self.staged[..kept];
        for queue in 0..QUEUES {
            audit_queue(store, queue, kept)?;
        }
        audit_rows(store, kept)?;
        audit_pending(store, kept)?;
        audit_keys(store, kept)?;
        Ok(Ledger {
            staged: kept.to_vec(),
            acks: vec![(0, acked)],
        })
    }
}

fn audit_queue(store: &Store, id: u32, kept: &[(LogOffset, What)]) -> Result<(), String> {
    let mut expected = kept.iter().filter_map(|(_, what)| match what {
        What::Record { queue, body, .. } if *queue == id => Some(body),
        _ => None,
    });
    let mut entries = Vec::new();
    let mut bytes = Vec::new();
    if let Some(queue) = store.find_queue("t", id) {
        let all = usize::MAX >> 1;
        let read = store.entries(&queue, QueueOffset(0), all, Wait::Yes, &mut entries);
        read.map_err(|e| e.to_string())?;
        if entries.len() as u64 != queue.end().0 {
            return Err(format!("queue {id} ends elsewhere than its entries"));
        }
    }
    for (n, entry) in entries.iter().enumerate() {
        let body = expected
            .next()
            .ok_or(format!("queue {id} has more than was sent"))?;
        bytes.clear();
        let read = store.record(entry.log_offset, Wait::Yes, &mut bytes);
        read.map_err(|e| format!("queue {id}, {n}: {e}"))?;
        let view = model::record::View::parse(&bytes).map_err(|e| e.to_string())?;
        if view.body() != body || view.queue_offset() != QueueOffset(n as u64) {
            return Err(format!("queue {id} has another record at {n}"));
        }
    }
    match expected.count() {
        0 => Ok(()),
        more => Err(format!("queue {id} lacks {more} records")),
    }
}

fn audit_rows(store: &Store, kept: &[(LogOffset, What)]) -> Result<(), String> {
    let mut expected = BTreeMap::new();
    for (_, what) in kept {
        if let What::Row { key, value } = what {
            match value {
                Some(value) => expected.insert(vec![*key], vec![*value]),
                None => expected.remove(&vec![*key]),
            };
        }
    }
    let rows: BTreeMap<_, _> = store.rows(Table::Topics).into_iter().collect();
    if rows == expected {
        Ok(())
    } else {
        Err(format!("rows are {rows:?}, not {expected:?}"))
    }
}

/// What was acked waits still, or a record that is there closed it; never both, never neither.
fn audit_pending(store: &Store, kept: &[(LogOffset, What)]) -> Result<(), String> {
    let mut expected = BTreeSet::new();
    for (_, what) in kept {
        match what {
            What::Waits { at } => assert!(expected.insert(*at)),
            What::Closes { at } => assert!(expected.remove(at), "closed twice"),
            _ => {}
        }
    }
    let mut waits = Vec::new();
    (store.pending()).list(Kind::Timer, None, usize::MAX, &mut waits);
    let waits: BTreeSet<_> = waits.iter().map(|open| open.at).collect();
    if waits == expected {
        return Ok(());
    }
    Err(format!("at {waits:?} something waits, not at {expected:?}"))
}

fn delayed(due: i64) -> String {
    format!(
        "REAL_TOPIC\u{1}t\u{2}REAL_QID\u{1}0\u{2}UNIQ_KEY\u{1}k\u{2}TIMER_OUT_MS\u{1}{due:03}\u{2}"
    )
}

/// Each of the same length.
fn key(n: usize) -> String {
    format!("{n:06}")
}

fn properties(n: usize) -> String {
    format!("KEYS\u{1}{}\u{2}", key(n))
}

/// What is left to derive is derived; then each key has its record, and no other.
fn audit_keys(store: &Store, kept: &[(LogOffset, What)]) -> Result<(), String> {
    while store.derive_step() == Next::Now {}
    for (_, what) in kept {
        let What::Record { key: n, at, .. } = what else {
            continue;
        };
        let found = store.find("t", &key(*n), 0, i64::MAX, 2);
        let found = found.map_err(|e| format!("key {n}: {e}"))?;
        if found != [*at] {
            return Err(format!("key {n} is at {at}, found at {found:?}"));
        }
    }
    Ok(())
}
