//! Chores for the store of a stopped broker: whether everything derived agrees with the log, and
//! deriving it again.

use std::collections::HashMap;
use std::sync::Arc;

use model::record::View;
use model::{LogOffset, QueueOffset};

use crate::clock::Clock;
use crate::derive;
use crate::disk::{Disk, Wait};
use crate::error::{Error, ReadError};
use crate::options::Options;
use crate::pending::{Kind, Pending, Transition};
use crate::store::{Next, Recovery, Store};
use crate::table::{self, Table};

/// So many differences are named; the others are counted.
const NAMED: usize = 20;

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What opening did, as every start does.
    pub recovery: Recovery,
    /// Records whose checksum and position hold.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Damaged places of the log, each one record or more.
    pub damaged: Vec<LogOffset>,
    /// Queues, and how many of their entries have a record.
    pub queues: usize,
    /// Entries of all queues that name a record.
    pub entries: u64,
    /// How many records and entries contradict each other.
    pub wrong: u64,
    /// The first of them, in words.
    pub named: Vec<String>,
    /// Delayed and half messages that wait.
    pub pending: usize,
    /// Topics, groups, offsets and single values in the tables.
    pub rows: usize,
    /// Bytes of the log whose keys are not in the key index yet.
    pub keys_behind: u64,
}

impl Report {
    /// Whether nothing is damaged and nothing contradicts the log.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.recovery.quarantined.is_empty() && self.wrong == 0
    }

    fn contradiction(&mut self, what: impl FnOnce() -> String) {
        self.wrong += 1;
        if self.named.len() < NAMED {
            self.named.push(what());
        }
    }
}

/// Opens the store as a start does, then reads the whole log and compares queues and tables with it.
///
/// # Errors
/// As [`Store::open`]; a broker that runs has the store locked.
pub fn check(
    options: Options,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
) -> Result<Report, Error> {
    let (store, recovery) = Store::open(options, disk, clock)?;
    let mut report = Report {
        recovery,
        ..Report::default()
    };
    let dropped = dropped(&store)?;
    let waits = Pending::default();
    let mut seen: HashMap<u32, u64> = HashMap::new();
    let mut at = store.log_start();
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match store.log.next_record(at, &mut bytes) {
            Ok(None) => break,
            Ok(Some((begin, end))) => {
                report.records += 1;
                report.bytes += end.0 - begin.0;
                at = end;
                if let Ok(view) = View::parse(&bytes) {
                    waits.apply(&Transition::of(&view));
                    let gone = dropped.get(view.topic()).is_some_and(|drop| begin < *drop);
                    if !gone {
                        record(&store, &view, &mut seen, &mut report);
                    }
                }
            }
            Err(ReadError::Damaged(lost) | ReadError::Missing(lost)) => {
                report.damaged.push(lost);
                match derive::behind(&store, lost) {
                    Ok(next) => at = next,
                    Err(_) => break,
                }
            }
            Err(e) => return Err(Error::Broken(e.to_string())),
        }
    }
    entries(&store, &seen, &mut report);
    if let Some(difference) = store.pending.difference(&waits) {
        report.contradiction(|| difference);
    }
    let kinds = [Kind::Timer, Kind::Half];
    report.pending = kinds.map(|kind| store.pending.len(kind)).iter().sum();
    let tables = [Table::Topics, Table::Groups, Table::Offsets, Table::Values];
    report.rows = tables.into_iter().map(|of| store.rows(of).len()).sum();
    report.keys_behind = store
        .marks()
        .dispatched
        .0
        .saturating_sub(store.keys.next().0);
    Ok(report)
}

/// The last position at which each topic was dropped.
fn dropped(store: &Store) -> Result<HashMap<String, LogOffset>, Error> {
    let broken = |e: ReadError| Error::Broken(e.to_string());
    let queue = &store.table_queue;
    let mut dropped = HashMap::new();
    let mut entries = Vec::new();
    let read = store.entries(
        queue,
        queue.start(),
        usize::MAX >> 1,
        Wait::Yes,
        &mut entries,
    );
    read.map_err(broken)?;
    let mut bytes = Vec::new();
    for entry in entries.iter().filter(|entry| entry.size > 0) {
        bytes.clear();
        if store
            .record(entry.log_offset, Wait::Yes, &mut bytes)
            .is_err()
        {
            continue;
        }
        let view = View::parse(&bytes).ok();
        let changes = view.and_then(|view| table::decode(view.body()));
        for (of, key, _) in changes.unwrap_or_default() {
            if of == Table::Dropped {
                let topic = String::from_utf8_lossy(key).into_owned();
                dropped.insert(topic, entry.log_offset);
            }
        }
    }
    Ok(dropped)
}

/// Whether the record's queue knows it.
fn record(store: &Store, view: &View<'_>, seen: &mut HashMap<u32, u64>, report: &mut Report) {
    let name = || format!("{} {} {}", view.topic(), view.queue(), view.queue_offset());
    let Some(queue) = store.find_queue(view.topic(), view.queue().0) else {
        let at = view.log_offset();
        return report.contradiction(|| format!("{}: no such queue, but a record at {at}", name()));
    };
    let mut found = Vec::new();
    let read = store.entries(&queue, view.queue_offset(), 1, Wait::Yes, &mut found);
    let inside = view.queue_offset() >= queue.start();
    let expected = (view.log_offset(), view.len() as u32);
    match (read, found.first()) {
        (Err(e), _) => report.contradiction(|| format!("{}: {e}", name())),
        (_, Some(entry)) if inside && (entry.log_offset, entry.size) == expected => {
            *seen.entry(queue.slot).or_default() += 1;
        }
        (_, entry) => {
            let says = entry.map_or("nothing".to_owned(), |e| e.log_offset.to_string());
            let at = view.log_offset();
            report.contradiction(|| format!("{}: record at {at}, index says {says}", name()));
        }
    }
}

/// Whether each queue has as many entries as records were seen.
fn entries(store: &Store, seen: &HashMap<u32, u64>, report: &mut Report) {
    let queues = store.all_queues();
    report.queues = queues.len();
    for queue in queues {
        let mut named = 0;
        let mut at = queue.start();
        let mut found = Vec::new();
        while at < queue.end() {
            found.clear();
            if let Err(e) = store.entries(&queue, at, 4_096, Wait::Yes, &mut found) {
                report.contradiction(|| format!("{} {} {at}: {e}", queue.topic, queue.id));
                break;
            }
            if found.is_empty() {
                break;
            }
            named += found.iter().filter(|entry| entry.size > 0).count() as u64;
            at = QueueOffset(at.0 + found.len() as u64);
        }
        report.entries += named;
        let records = seen.get(&queue.slot).copied().unwrap_or_default();
        if named != records {
            report.contradiction(|| {
                format!(
                    "{} {}: {named} entries, {records} records",
                    queue.topic, queue.id
                )
            });
        }
    }
}

/// Deletes queues, key index and the snapshot of what waits, and derives all three from the log.
///
/// # Errors
/// As [`Store::open`].
pub fn rebuild(
    options: Options,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
) -> Result<Recovery, Error> {
    // Opened first, for the lock and for what a start repairs.
    let (store, _) = Store::open(options.clone(), Arc::clone(&disk), Arc::clone(&clock))?;
    let emptied = store
        .queues
        .reset()
        .and_then(|()| store.keys.reset(LogOffset(0)))
        .and_then(|()| store.pending.reset(&*disk));
    emptied.map_err(Error::io("emptying the index"))?;
    drop(store);
    let (store, recovery) = Store::open(options, disk, clock)?;
    while store.derive_step() == Next::Now {}
    store.settle().map_err(|e| Error::Broken(e.to_string()))?;
    let written = store.queues.checkpoint(store.marks().dispatched);
    written.map_err(Error::io("writing the queues' checkpoint"))?;
    Ok(recovery)
}
