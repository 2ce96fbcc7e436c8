//! What a run sent and was acked, and whether a recovered store agrees.

use std::collections::BTreeMap;

use model::{Level, LogOffset, QueueId, QueueOffset};

use crate::clock::ManualClock;
use crate::disk::Wait;
use crate::disk::sim::Sim;
use crate::log::stage::Draft;
use crate::options::Flush;
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
            match rng.u8(..20) {
                0..9 => self.send(store, rng),
                9 => self.put(store, rng),
                10 => drop(store.checkpoint_step()),
                11 => drop(store.ahead_step()),
                12 => drop(store.derive_step()),
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
        let read = store.entries(&queue, QueueOffset(0), all, &mut entries);
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
