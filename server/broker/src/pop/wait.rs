//! Pops that found nothing wait here, in their line, and who is woken by what.
//!
//! A message wakes the longest waiting of each filter, not all: it goes to one of them anyway. Who is
//! woken looks again; if messages remain it wakes the next, and if there is nothing for it, it waits on.
//! So every wake-up ends with a waiter that looked, or with none left. A connection that closes hands
//! its wake-ups on.
//!
//! As in `hold`, two threads may meet: the one that waits looks once more *after* it stands in the
//! list, and both put a fence between their write and their read.

use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use model::receipt::PopTopic;
use store::Queue;

use super::line::{Line, Pops, State};
use crate::{Broker, Caller, ConnectionId, limits};

/// One held request.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub connection: ConnectionId,
    pub ticket: u64,
    /// The queue it wants; below 0 any.
    pub queue: i32,
    /// Its expression, by which those who want the same are known.
    pub expression: Box<str>,
    /// It only wants to know whether there is something: it takes nothing from the others.
    pub notify: bool,
    /// Its name, if it may be made again.
    pub attempt: Option<Box<str>>,
}

/// Requests that are to run again.
pub(crate) type Woken = Vec<(ConnectionId, u64)>;

impl Pops {
    /// Lets a request wait. `false`: too many do.
    pub fn wait(&self, line: &Arc<Line>, state: &mut State, waiter: Waiter) -> bool {
        let same = state
            .waiters
            .iter()
            .filter(|other| other.queue == waiter.queue);
        if same.count() >= limits::HELD_POPS_PER_QUEUE
            || self.held.load(Ordering::Relaxed) >= limits::HELD_POPS
        {
            return false;
        }
        let mut waiting = self.waiting();
        let of = waiting.entry(waiter.connection).or_default();
        of.insert(waiter.ticket, Arc::clone(line));
        drop(waiting);
        state.waiters.push_back(waiter);
        line.waiting.store(state.waiters.len(), Ordering::SeqCst);
        self.held.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        true
    }

    fn waiting(
        &self,
    ) -> MutexGuard<
        '_,
        std::collections::HashMap<ConnectionId, std::collections::HashMap<u64, Arc<Line>>>,
    > {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request that waited runs again.
    pub fn leave(&self, connection: ConnectionId, ticket: u64) {
        let line = {
            let mut waiting = self.waiting();
            let Some(of) = waiting.get_mut(&connection) else {
                return;
            };
            let line = of.remove(&ticket);
            if of.is_empty() {
                waiting.remove(&connection);
            }
            line
        };
        if let Some(line) = line {
            self.remove_waiters(&line, &mut line.lock(), |waiter| {
                (waiter.connection, waiter.ticket) == (connection, ticket)
            });
        }
    }

    fn remove_waiters(&self, line: &Line, state: &mut State, gone: impl Fn(&Waiter) -> bool) {
        let before = state.waiters.len();
        state.waiters.retain(|waiter| !gone(waiter));
        self.count(line, state, before);
    }

    fn count(&self, line: &Line, state: &State, before: usize) {
        let after = state.waiters.len();
        line.waiting.store(after, Ordering::SeqCst);
        self.held.fetch_sub(before - after, Ordering::SeqCst);
    }

    /// There may be something in this queue of a line: whoever should look is put to `woken`.
    pub fn wake(&self, line: &Line, state: &mut State, queue: Option<u32>, woken: &mut Woken) {
        let before = state.waiters.len();
        if before == 0 {
            return;
        }
        let mut filters: Vec<Box<str>> = Vec::new();
        state.waiters.retain(|waiter| {
            let fits = waiter.queue < 0 || queue.is_none_or(|queue| waiter.queue == queue as i32);
            let first = waiter.notify || !filters.contains(&waiter.expression);
            if !fits || !first {
                return true;
            }
            if !waiter.notify {
                filters.push(waiter.expression.clone());
            }
            woken.push((waiter.connection, waiter.ticket));
            false
        });
        self.count(line, state, before);
    }

    /// A pop with this name got something: whoever waits with the same name gets that too.
    pub fn wake_same(&self, line: &Line, state: &mut State, attempt: &str, woken: &mut Woken) {
        let before = state.waiters.len();
        state.waiters.retain(|waiter| {
            let same = waiter.attempt.as_deref() == Some(attempt);
            if same {
                woken.push((waiter.connection, waiter.ticket));
            }
            !same
        });
        self.count(line, state, before);
    }

    /// Everybody who waits in a line runs again.
    pub fn wake_all(&self, line: &Line, state: &mut State, woken: &mut Woken) {
        let before = state.waiters.len();
        let all = state.waiters.drain(..);
        woken.extend(all.map(|waiter| (waiter.connection, waiter.ticket)));
        self.count(line, state, before);
    }

    /// These queues grew.
    pub fn arrived(&self, grown: &[Arc<Queue>], woken: &mut Woken) {
        fence(Ordering::SeqCst);
        if self.held.load(Ordering::SeqCst) == 0 {
            return;
        }
        for queue in grown {
            for line in self.of_topic(queue.topic.as_str()) {
                if line.waiting.load(Ordering::SeqCst) == 0 {
                    continue;
                }
                let normal = line.topic(PopTopic::Normal) == &queue.topic;
                let wanted = normal.then_some(queue.id.0);
                self.wake(&line, &mut line.lock(), wanted, woken);
            }
        }
    }

    /// A connection is gone: it waits no more, and what it was woken for is for others.
    pub fn closed(&self, connection: ConnectionId, woken: &mut Woken) {
        let Some(of) = self.waiting().remove(&connection) else {
            return;
        };
        for line in of.into_values() {
            let mut state = line.lock();
            self.remove_waiters(&line, &mut state, |waiter| waiter.connection == connection);
            self.wake(&line, &mut state, None, woken);
        }
    }
}

impl Broker {
    /// How long a request that found nothing may be held: what is left of its poll time.
    pub(super) fn poll_left(&self, caller: &Caller, born_at: i64, poll: i64) -> Option<Duration> {
        if !caller.may_wait || caller.oneway || poll <= 0 {
            return None;
        }
        let left = born_at.saturating_add(poll) - self.clock.wall();
        let left = u64::try_from(left.min(poll))
            .ok()
            .filter(|&left| left > 0)?;
        Some(Duration::from_millis(left).min(limits::HOLD_MAX))
    }

    /// Runs those again who should look.
    pub(crate) fn run_again(&self, woken: &Woken) {
        if !woken.is_empty() {
            self.outlet.runnable(woken);
        }
    }
}
