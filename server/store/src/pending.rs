//! What waits in the log: delayed messages until they are due, half messages until they are decided.
//!
//! ```text
//!  stored in a topic of delayed or half messages ──> open ──claim──> claimed ──its closing record is
//!                                                     ^                 │       dispatched──> gone
//!                                                     └────unclaim──────┘
//! ```
//! A record whose prepared offset is not 0 closes what is open at that log offset: the delivered
//! message, a recall, a rollback, the same body appended again further on. So one transition is one
//! record, and the set is a fold over the log: a snapshot, and the records behind it. It follows
//! dispatch, so it never knows more than consumers may. A claim is only in memory: whoever claimed
//! first stages the closing record; after a crash the log alone says whether it stood.

mod alarm;
mod file;
mod set;
#[cfg(test)]
mod tests;
mod transition;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use model::LogOffset;

pub use alarm::Alarm;
pub(crate) use transition::{Place, Transition, timer_out};

use crate::lock;
use set::{Due, Set};

/// The topic of messages with a delay level; its queue is the level less one.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// The topic of messages for any other time.
pub const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
/// The topic of half messages.
pub const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";

/// A wall clock that moves so far against the monotonic one between two looks was set.
const STEP: i64 = 500;

/// What something waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its time.
    Timer,
    /// Its producer's decision.
    Half,
}

impl Kind {
    /// What records of a topic wait for, if they wait.
    pub fn of(topic: &str) -> Option<Kind> {
        match topic {
            SCHEDULE_TOPIC | TIMER_TOPIC => Some(Kind::Timer),
            HALF_TOPIC => Some(Kind::Half),
            _ => None,
        }
    }
}

/// One that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// Where its record lies.
    pub at: LogOffset,
    /// The record's length in bytes.
    pub size: u32,
    /// When it is due, milliseconds since the Unix epoch; of a half message, when it is to be looked
    /// at next, at first its time of storage.
    pub due: i64,
    /// [`key`] of its real topic and `UNIQ_KEY`; 0 if it has none, or a delay level.
    pub key: u64,
}

/// The hash by which [`Pending::find`] finds. The caller compares the real names.
pub fn key(topic: &str, unique_key: &str) -> u64 {
    crate::index::hash::of(&[topic, unique_key]).max(1)
}

fn topic_hash(topic: &str) -> u64 {
    crate::index::hash::of(&[topic]).max(1)
}

/// Everything that waits. Shared by all threads; no call blocks for long.
pub struct Pending {
    set: Mutex<Set>,
    /// How far the wall clock was set since the start, ms: see [`Pending::observe`].
    skew: Arc<AtomicI64>,
    /// Wall less monotonic time when it was looked at last; `i64::MIN` before.
    drift: AtomicI64,
    alarm: Arc<Alarm>,
    /// Records before this are in the snapshot on the disk.
    covered: AtomicU64,
    snapshot_len: AtomicU64,
}

impl Pending {
    fn new(set: Set, covered: LogOffset, snapshot_len: u64) -> Pending {
        Pending {
            set: Mutex::new(set),
            skew: Arc::default(),
            drift: AtomicI64::new(i64::MIN),
            alarm: Arc::default(),
            covered: AtomicU64::new(covered.0),
            snapshot_len: AtomicU64::new(snapshot_len),
        }
    }

    fn set(&self) -> MutexGuard<'_, Set> {
        lock(&self.set)
    }

    /// Rings when something becomes due earlier than was watched for.
    pub fn alarm(&self) -> &Arc<Alarm> {
        &self.alarm
    }

    /// To be called with both clocks before [`Pending::due`], and before the due time of a delay is
    /// computed. A wall clock that was set, forwards or back, moves what waits for a span of time along:
    /// a delay of ten seconds stays ten seconds. What waits for a moment follows the clock.
    pub fn observe(&self, wall: i64, mono: Duration) {
        let drift = wall - i64::try_from(mono.as_millis()).unwrap_or(i64::MAX);
        let before = self.drift.swap(drift, Ordering::Relaxed);
        let step = drift.saturating_sub(before);
        if before != i64::MIN && step.abs() > STEP {
            self.skew.fetch_add(step, Ordering::Relaxed);
            tracing::warn!(
                step_ms = step,
                "the clock was set; delays keep their length"
            );
            self.alarm.ring(i64::MIN);
        }
    }

    pub(crate) fn skew(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.skew)
    }

    fn now_skew(&self) -> i64 {
        self.skew.load(Ordering::Relaxed)
    }

    /// When the first of a kind is due.
    pub fn next_due(&self, kind: Kind) -> Option<i64> {
        self.set().next_due(kind, self.now_skew())
    }

    /// Appends up to `max` that are due at `now`, earliest first, without those claimed.
    pub fn due(&self, kind: Kind, now: i64, max: usize, out: &mut Vec<Open>) {
        let set = self.set();
        let due = set.ordered(kind, self.now_skew(), None);
        out.extend(due.take_while(|open| open.due <= now).take(max));
    }

    /// Claims what is due at `now`, earliest first: up to `max`, and up to `bytes` but at least one.
    pub fn claim_due(&self, kind: Kind, now: i64, max: usize, bytes: u64, out: &mut Vec<Open>) {
        let due = Due {
            kind,
            now,
            max,
            bytes,
        };
        self.set().claim_due(due, self.now_skew(), out);
    }

    /// Claims one: the first decision wins. `None`: it does not wait, or somebody decided already.
    pub fn claim(&self, at: LogOffset) -> Option<Open> {
        let mut set = self.set();
        let open = set.open(at, self.now_skew())?;
        set.claim(at).then_some(open)
    }

    /// Gives a claim back: its closing record could not be staged.
    pub fn unclaim(&self, at: LogOffset) {
        let mut set = self.set();
        set.unclaim(at);
        let due = set.open(at, self.now_skew()).map(|open| open.due);
        drop(set);
        due.into_iter().for_each(|due| self.alarm.ring(due));
    }

    /// Sets when it is due, claimed or not. Only in memory: a start takes the record's word.
    pub fn postpone(&self, at: LogOffset, due: i64) {
        self.set().postpone(at, due, self.now_skew());
        self.alarm.ring(due);
    }

    /// Whether it waits, claimed or not.
    pub fn contains(&self, at: LogOffset) -> bool {
        self.set().contains(at)
    }

    /// Appends those with the key that are not claimed, oldest first.
    pub fn find(&self, key: u64, out: &mut Vec<Open>) {
        self.set().find(key, self.now_skew(), out);
    }

    /// Appends up to `max` of a kind in the order of their due time, those behind `after`, which is the
    /// last one of an earlier list. Without those claimed.
    pub fn list(&self, kind: Kind, after: Option<Open>, max: usize, out: &mut Vec<Open>) {
        let set = self.set();
        out.extend(set.ordered(kind, self.now_skew(), after).take(max));
    }

    /// How many of a kind wait, those claimed included.
    pub fn len(&self, kind: Kind) -> usize {
        self.set().len(kind)
    }

    /// How many of a kind wait to go to a topic, those claimed included.
    pub fn len_of(&self, kind: Kind, topic: &str) -> usize {
        self.set().len_of(kind, topic_hash(topic))
    }

    /// Whether nothing of a kind waits.
    pub fn is_empty(&self, kind: Kind) -> bool {
        self.len(kind) == 0
    }

    /// Positions below `before` of what waits.
    pub(crate) fn below(&self, before: LogOffset) -> Vec<LogOffset> {
        self.set().below(before)
    }

    /// Applies transitions in log order.
    pub(crate) fn apply<'t>(&self, transitions: impl IntoIterator<Item = &'t Transition>) {
        let mut set = self.set();
        let mut earliest = i64::MAX;
        for transition in transitions {
            if let Some(due) = set.apply(transition, self.now_skew()) {
                earliest = earliest.min(due);
            }
        }
        drop(set);
        self.alarm.ring(earliest);
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending")
            .field("timers", &self.len(Kind::Timer))
            .field("halves", &self.len(Kind::Half))
            .finish_non_exhaustive()
    }
}
