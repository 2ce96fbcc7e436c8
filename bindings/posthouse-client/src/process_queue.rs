//! The messages of one queue that were pulled and are not done.
//!
//! ```text
//! committed ≤ first unfinished … taken by handlers … | ready … | next to pull
//! ```
//! What may be committed is the lowest offset that is not done: one slow message holds it back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use remoting::body::HeldQueue;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock;
use crate::queue::Queue;
use crate::received::Received;

/// How much of one queue may be here and not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLimits {
    /// Messages.
    pub messages: usize,
    /// Bytes of their records.
    pub bytes: usize,
    /// From the first to the last offset; not for orderly consumers.
    pub span: u64,
}

impl Default for FlowLimits {
    fn default() -> Self {
        FlowLimits {
            messages: 1000,
            bytes: 100 << 20,
            span: 2000,
        }
    }
}

/// See the head of this file.
pub(crate) struct ProcessQueue {
    pub(crate) queue: Queue,
    state: Mutex<State>,
    dropped: AtomicBool,
    paused: AtomicBool,
    /// There is something to take, or nothing ever will be.
    pub(crate) arrived: Notify,
    /// Something was done, or sought, or resumed, or nothing ever will be.
    pub(crate) moved: Notify,
    /// Somebody sought another place, or the queue is dropped.
    pub(crate) sought: Notify,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Received>,
    /// Size of each message that is not done.
    open: BTreeMap<u64, usize>,
    bytes: usize,
    /// The next offset to pull.
    next: u64,
    /// Counts seeks: what was pulled before one is not wanted any more.
    era: u64,
    /// When the broker last said that the queue is locked for us.
    locked: Option<Instant>,
    /// When it was pulled, and when a message was done: milliseconds since the Unix epoch, 0 for never.
    pulled_at: i64,
    done_at: i64,
}

/// So many messages are handed out one by one until more are pulled.
const ROOM: usize = 64;

/// Java trusts its lock for so long; brokers keep it twice as long.
const LOCK_LIFE: Duration = Duration::from_secs(30);

impl ProcessQueue {
    pub(crate) fn new(queue: Queue, next: u64) -> ProcessQueue {
        let state = State {
            next,
            ..State::default()
        };
        ProcessQueue {
            queue,
            state: Mutex::new(state),
            dropped: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            arrived: Notify::new(),
            moved: Notify::new(),
            sought: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing more is pulled, and nothing taken.
    pub(crate) fn drop_it(&self) {
        self.dropped.store(true, Ordering::Release);
        self.arrived.notify_waiters();
        self.arrived.notify_one();
        self.moved.notify_waiters();
        self.moved.notify_one();
        self.sought.notify_one();
    }

    /// Which seek the queue is in.
    pub(crate) fn era(&self) -> u64 {
        self.lock().era
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }

    /// Returns when it is dropped. For who takes from it: what arrives meanwhile wakes nobody else.
    pub(crate) async fn until_dropped(&self) {
        while !self.is_dropped() {
            self.arrived.notified().await;
        }
    }

    pub(crate) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
        self.moved.notify_one();
        self.arrived.notify_one();
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// What to pull next, and the era it belongs to; `None` while there is enough here.
    pub(crate) fn to_pull(&self, limits: &FlowLimits) -> Option<(u64, u64)> {
        if self.is_paused() {
            return None;
        }
        let state = self.lock();
        let first = state.open.first_key_value().map(|(offset, _)| *offset);
        let last = state.open.last_key_value().map(|(offset, _)| *offset);
        let span = last.unwrap_or_default() - first.unwrap_or_default();
        let full = state.open.len() >= limits.messages
            || state.bytes >= limits.bytes
            || span > limits.span;
        (!full).then_some((state.next, state.era))
    }

    /// Takes what was pulled: the messages that are wanted, with their sizes, and where to go on.
    pub(crate) fn put(&self, messages: Vec<(Received, usize)>, next: u64, era: u64) {
        let mut state = self.lock();
        if state.era != era {
            return;
        }
        let some = !messages.is_empty();
        state.pulled_at = clock::wall_ms();
        for (message, size) in messages {
            if state.open.insert(message.queue_offset, size).is_none() {
                state.bytes += size;
                state.ready.push_back(message);
            }
        }
        state.next = next;
        drop(state);
        if some {
            self.arrived.notify_one();
        }
    }

    /// The next messages for a handler, at most so many.
    pub(crate) fn take(&self, max: usize) -> Vec<Received> {
        if self.is_dropped() || self.is_paused() {
            return Vec::new();
        }
        let mut state = self.lock();
        let count = max.min(state.ready.len());
        state.ready.drain(..count).collect()
    }

    /// The next message, done as it is handed out; `then` is told what may be committed before anybody else is.
    pub(crate) fn hand_out(&self, then: impl FnOnce(u64)) -> Option<Received> {
        if self.is_dropped() || self.is_paused() {
            return None;
        }
        let mut state = self.lock();
        let message = state.ready.pop_front()?;
        if let Some(size) = state.open.remove(&message.queue_offset) {
            state.bytes -= size;
        }
        state.done_at = clock::wall_ms();
        then(state.committable());
        // Who pulls is not woken for every message: it would come back with one each time.
        let is_room = state.ready.len().is_multiple_of(ROOM);
        drop(state);
        if is_room {
            self.moved.notify_one();
        }
        Some(message)
    }

    /// Puts messages back that were taken and will be taken again, first.
    pub(crate) fn put_back(&self, messages: Vec<Received>) {
        let mut state = self.lock();
        for message in messages.into_iter().rev() {
            if state.open.contains_key(&message.queue_offset) {
                state.ready.push_front(message);
            }
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// These offsets are done. Returns what may be committed now.
    pub(crate) fn done(&self, offsets: impl IntoIterator<Item = u64>) -> u64 {
        self.done_then(offsets, |committable| committable)
    }

    /// As [`ProcessQueue::done`]; `then` is told what may be committed before anybody else is told of more.
    pub(crate) fn done_then<T>(
        &self,
        offsets: impl IntoIterator<Item = u64>,
        then: impl FnOnce(u64) -> T,
    ) -> T {
        let mut state = self.lock();
        for offset in offsets {
            if let Some(size) = state.open.remove(&offset) {
                state.bytes -= size;
            }
        }
        state.done_at = clock::wall_ms();
        let told = then(state.committable());
        drop(state);
        self.moved.notify_one();
        told
    }

    /// What may be committed.
    pub(crate) fn committable(&self) -> u64 {
        self.lock().committable()
    }

    /// Forgets everything here and goes on at this offset.
    pub(crate) fn seek(&self, offset: u64) {
        let mut state = self.lock();
        let locked = state.locked;
        *state = State {
            next: offset,
            era: state.era + 1,
            locked,
            ..State::default()
        };
        drop(state);
        self.moved.notify_one();
        self.sought.notify_one();
    }

    /// The broker said that the queue is ours, or that it is not.
    pub(crate) fn set_locked(&self, locked: Option<Instant>) {
        self.lock().locked = locked;
        self.arrived.notify_one();
    }

    /// How many messages are here, not done, and the bytes of their records.
    pub(crate) fn held(&self) -> (u64, u64) {
        let state = self.lock();
        (state.open.len() as u64, state.bytes as u64)
    }

    /// What tools are told of it.
    pub(crate) fn described(&self, now: Instant) -> HeldQueue {
        let locked = self.is_locked(now);
        let state = self.lock();
        let offset = |entry: Option<(&u64, &usize)>| entry.map_or(0, |(at, _)| at.cast_signed());
        HeldQueue {
            cached_msg_count: state.open.len() as i64,
            cached_msg_min_offset: offset(state.open.first_key_value()),
            cached_msg_max_offset: offset(state.open.last_key_value()),
            cached_mib: (state.bytes >> 20) as i64,
            commit_offset: state.committable().cast_signed(),
            droped: self.is_dropped(),
            last_consume_timestamp: state.done_at,
            last_lock_timestamp: state.locked.map_or(0, |at| {
                clock::wall_ms() - now.saturating_duration_since(at).as_millis() as i64
            }),
            last_pull_timestamp: state.pulled_at,
            locked,
        }
    }

    pub(crate) fn is_locked(&self, now: Instant) -> bool {
        let locked = self.lock().locked;
        locked.is_some_and(|at| now.saturating_duration_since(at) < LOCK_LIFE)
    }
}

impl State {
    fn committable(&self) -> u64 {
        let first = self.open.first_key_value();
        first.map_or(self.next, |(offset, _)| *offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(offset: u64) -> (Received, usize) {
        (Received::for_tests("t", offset), 100)
    }

    fn queue() -> ProcessQueue {
        ProcessQueue::new(Queue::new("t", "b", 0), 10)
    }

    #[test]
    fn the_slowest_message_decides_what_is_committed() {
        let queue = queue();
        assert_eq!(queue.committable(), 10);
        queue.put(vec![message(10), message(11), message(13)], 14, 0);
        let taken = queue.take(10);
        assert_eq!(taken.len(), 3);
        assert_eq!(queue.done([11]), 10);
        assert_eq!(queue.done([10]), 13);
        assert_eq!(queue.done([13]), 14);
    }

    #[test]
    fn what_is_handed_out_one_by_one_is_done_and_the_next_is_what_may_be_committed() {
        let queue = queue();
        let hand_out = || {
            let mut told = 0;
            let message = queue.hand_out(|committable| told = committable);
            message.map(|message| (message.queue_offset, told))
        };
        assert_eq!(hand_out(), None);
        queue.put(vec![message(10), message(12)], 15, 0);
        assert_eq!(hand_out(), Some((10, 12)));
        queue.pause(true);
        assert_eq!(hand_out(), None);
        queue.pause(false);
        assert_eq!(hand_out(), Some((12, 15)));
        assert_eq!(queue.held(), (0, 0));
        queue.put(vec![message(15)], 16, 0);
        queue.seek(3);
        assert_eq!((hand_out(), queue.committable()), (None, 3));
        queue.put(vec![message(3)], 4, 1);
        queue.drop_it();
        assert_eq!(hand_out(), None);
    }

    #[test]
    fn enough_is_enough() {
        let queue = queue();
        let limits = FlowLimits {
            messages: 3,
            bytes: 250,
            span: 5,
        };
        assert_eq!(queue.to_pull(&limits), Some((10, 0)));
        queue.put(vec![message(10), message(11)], 12, 0);
        assert_eq!(queue.to_pull(&limits), Some((12, 0)));
        queue.put(vec![message(12)], 13, 0);
        assert_eq!(queue.to_pull(&limits), None, "300 bytes are here");
        queue.done([11, 12]);
        queue.put(vec![message(16)], 17, 0);
        assert_eq!(queue.to_pull(&limits), None, "10 to 16 is too far");
        queue.done([10]);
        assert_eq!(queue.to_pull(&limits), Some((17, 0)));
    }

    #[test]
    fn what_was_pulled_before_a_seek_is_not_wanted() {
        let queue = queue();
        queue.put(vec![message(10)], 11, 0);
        queue.seek(5);
        queue.put(vec![message(11)], 12, 0);
        assert!(queue.take(10).is_empty());
        assert_eq!(queue.to_pull(&FlowLimits::default()), Some((5, 1)));
        assert_eq!(queue.done([10]), 5);
    }
}
