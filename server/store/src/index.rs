//! The key index: which records may have a key.
//!
//! Each record gives an entry for its `UNIQ_KEY` and for each blank-separated item of its `KEYS`: a
//! 64-bit hash of topic and key, the log offset, the time. Entries gather in a buffer; a full buffer is
//! sorted and becomes a run, a file that never changes; many runs are merged into one. A run names the
//! range of the log it covers, so the runs alone say how far the index is. It follows dispatch with a
//! cursor of its own, and everything in it can be derived from the log again.

pub(crate) mod feed;
pub(crate) mod hash;
pub(crate) mod keys;
mod merge;
mod order;
mod run;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::{Arc, Mutex};

use model::LogOffset;
use model::record::View;

use crate::disk::Disk;
use crate::lock;
pub use keys::Keys;
use run::{Run, Writer};

const DIR: &str = "keys";

/// One key of one record. The order is that of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Item {
    hash: u64,
    at: u64,
    stored_at: i64,
}

/// How much is in memory, and how many runs there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Entries in the buffer.
    pub buffer: usize,
    /// So many small runs are merged into one.
    pub runs: usize,
    /// A run with more entries is not merged again.
    pub merged: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            buffer: 256 << 10,
            runs: 16,
            merged: 4 << 20,
        }
    }
}

/// The index of one store.
pub(crate) struct KeyIndex {
    disk: Arc<dyn Disk>,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Oldest first, without gaps.
    runs: Vec<Arc<Run>>,
    /// What is becoming a run, sorted: entries of the log from `from` to `sealed_to`.
    sealing: Arc<Vec<Item>>,
    sealed_to: u64,
    buffer: Vec<Item>,
    /// Memory of the buffer before.
    space: Vec<Item>,
    /// No run covers the log from here to `next`.
    from: u64,
    next: u64,
}

impl KeyIndex {
    /// Opens what an earlier run left, as far as it fits a log from `start` to `end`; what does not is
    /// deleted for good and derived again.
    pub fn open(
        disk: &Arc<dyn Disk>,
        start: LogOffset,
        end: LogOffset,
        limits: Limits,
    ) -> io::Result<KeyIndex> {
        disk.make_dir(DIR)?;
        let mut found = Vec::new();
        let mut useless = Vec::new();
        for name in disk.list(DIR)? {
            match Run::open(&**disk, &name)? {
                Some(run) if run.to > start.0 => found.push(run),
                _ => useless.push(name),
            }
        }
        // Of runs that begin together the longest: it was merged from the others.
        found.sort_by_key(|run| (run.from, std::cmp::Reverse(run.to)));
        let mut runs: Vec<Arc<Run>> = Vec::new();
        for run in found {
            let next = runs.last().map_or(run.from.min(start.0), |last| last.to);
            if run.from == next && run.to <= end.0 {
                runs.push(Arc::new(run));
            } else {
                useless.push(run.name);
            }
        }
        for name in &useless {
            disk.remove(&format!("{DIR}/{name}"))?;
        }
        if !useless.is_empty() {
            // Before the log grows: else an old run might fit a newer log.
            disk.sync_dir(DIR)?;
        }
        let next = runs.last().map_or(start.0, |run| run.to);
        let state = State {
            runs,
            from: next,
            next,
            ..State::default()
        };
        Ok(KeyIndex {
            disk: Arc::clone(disk),
            limits,
            state: Mutex::new(state),
        })
    }

    /// Other limits, so that a short test meets them.
    #[cfg(test)]
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Every record below this is in the index.
    pub fn next(&self) -> LogOffset {
        LogOffset(lock(&self.state).next)
    }

    /// Adds a record's keys; `end` is the position behind it.
    pub fn add(&self, view: &View<'_>, end: LogOffset) {
        let place = (view.log_offset().0, view.stored_at());
        let (seed, text) = (keys::seed(view.topic()), view.stored_properties());
        let mut state = lock(&self.state);
        let out = &mut state.buffer;
        keys::push(seed, place, view.sys_flag(), Keys::Unread, text, out);
        state.next = end.0;
    }

    /// Adds the entries of all records up to `end`.
    pub fn extend(&self, items: &mut Vec<Item>, end: LogOffset) {
        let mut state = lock(&self.state);
        state.buffer.append(items);
        state.next = end.0;
    }

    /// Nothing up to `end` has a key.
    pub fn skip(&self, end: LogOffset) {
        let mut state = lock(&self.state);
        state.next = state.next.max(end.0);
    }

    /// Records of the topic that may have the key, stored from `begin` to `end`, newest first, none
    /// below `log_start`. A damaged run makes the whole index be derived again, from `log_start` on.
    pub fn find(
        &self,
        topic: &str,
        key: &str,
        (begin, end): (i64, i64),
        max: usize,
        log_start: LogOffset,
    ) -> io::Result<Vec<LogOffset>> {
        let hash = hash::of(&[topic, key]);
        let asked = |item: &Item| {
            let in_time = begin <= item.stored_at && item.stored_at <= end;
            item.hash == hash && item.at >= log_start.0 && in_time
        };
        let (mut found, runs) = {
            let state = lock(&self.state);
            let waiting = state.sealing.iter().chain(&state.buffer);
            let found = waiting.filter(|item| asked(item));
            (found.copied().collect::<Vec<_>>(), state.runs.clone())
        };
        let mut runs = runs.iter().rev();
        let mut out: Vec<LogOffset> = Vec::new();
        loop {
            found.sort_unstable_by_key(|item| std::cmp::Reverse(item.at));
            out.extend(found.drain(..).map(|item| LogOffset(item.at)));
            out.dedup();
            let Some(run) = runs.next().filter(|_| out.len() < max) else {
                break;
            };
            match run.find(hash, &mut found) {
                Ok(()) => found.retain(asked),
                Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                    tracing::warn!("{e}: the key index is derived again");
                    self.reset(log_start)?;
                    return Err(e);
                }
                Err(e) => return Err(e),
            }
        }
        out.truncate(max);
        Ok(out)
    }

    /// Throws everything away, on the disk too.
    pub fn reset(&self, log_start: LogOffset) -> io::Result<()> {
        let mut state = lock(&self.state);
        let runs = std::mem::take(&mut state.runs);
        state.sealing = Arc::default();
        state.buffer.clear();
        state.from = log_start.0;
        state.next = log_start.0;
        self.remove(&runs)
    }

    fn remove(&self, runs: &[Arc<Run>]) -> io::Result<()> {
        for run in runs {
            self.disk.remove(&format!("{DIR}/{}", run.name))?;
        }
        match runs {
            [] => Ok(()),
            _ => self.disk.sync_dir(DIR),
        }
    }

    /// Makes a run of the buffer if it is full, and merges runs if there are many. Only one caller at
    /// a time.
    pub fn step(&self) -> io::Result<()> {
        if lock(&self.state).buffer.len() < self.limits.buffer {
            return Ok(());
        }
        self.seal()
    }

    /// Makes a run of the buffer, so that the next start need not derive it.
    pub fn seal(&self) -> io::Result<()> {
        let (items, from, to) = {
            let mut state = lock(&self.state);
            if state.sealing.is_empty() {
                let State { buffer, space, .. } = &mut *state;
                order::sort(buffer, space);
                space.clear();
                std::mem::swap(buffer, space);
                state.sealing = Arc::new(std::mem::take(&mut state.space));
                state.sealed_to = state.next;
            }
            (Arc::clone(&state.sealing), state.from, state.sealed_to)
        };
        if items.is_empty() {
            return Ok(());
        }
        let mut writer = Writer::new(&*self.disk, from, to)?;
        for item in items.iter() {
            writer.push(item)?;
        }
        let run = Arc::new(writer.finish(&*self.disk)?);
        {
            let mut state = lock(&self.state);
            if state.from != from {
                return self.remove(&[run]);
            }
            state.runs.push(run);
            state.from = to;
            state.sealing = Arc::default();
            if let Ok(mut space) = Arc::try_unwrap(items) {
                space.clear();
                state.space = space;
            }
        }
        self.merge()
    }

    fn merge(&self) -> io::Result<()> {
        let small = {
            let state = lock(&self.state);
            let large = |run: &Arc<Run>| run.count >= self.limits.merged;
            let first = state.runs.iter().rposition(large).map_or(0, |at| at + 1);
            state.runs.get(first..).unwrap_or_default().to_vec()
        };
        if small.len() < self.limits.runs {
            return Ok(());
        }
        let merged = Arc::new(merge::merge(&*self.disk, &small)?);
        if merged.count >= self.limits.merged {
            merged.give_back();
        }
        {
            let mut state = lock(&self.state);
            let same = |run: &Arc<Run>| small.iter().any(|old| Arc::ptr_eq(old, run));
            // Some may be gone by now, with the log they describe.
            state.runs.retain(|run| !same(run));
            let at = state.runs.partition_point(|run| run.to <= merged.from);
            state.runs.insert(at, merged);
        }
        self.remove(&small)
    }

    /// The log begins here now: runs about what is before it are deleted.
    pub fn trim(&self, log_start: LogOffset) -> io::Result<()> {
        let old = {
            let mut state = lock(&self.state);
            let count = state.runs.partition_point(|run| run.to <= log_start.0);
            state.runs.drain(..count).collect::<Vec<_>>()
        };
        self.remove(&old)
    }
}
