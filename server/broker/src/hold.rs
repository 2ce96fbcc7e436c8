//! Who waits for messages of which queue, and who is woken when some arrive.
//!
//! A pull that found nothing is kept here as a waiter at its queue. When dispatch has made entries
//! visible, the waiters look at them (at their tag codes, or at the properties of their records): one
//! whose filter lets nothing through goes on waiting. Nothing is looked at again by a timer, so an answer is never late by one.
//!
//! Two threads may meet: one finds the queue empty and starts to wait, the other makes an entry
//! visible and looks for waiters. The first one therefore looks at the queue's end once more *after* it
//! stands in the list, and both put a fence between their write and their read.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use model::QueueOffset;
use store::{Properties, Queue, Reads, Store, Wait};

use crate::filter::Filter;
use crate::{ConnectionId, Error, limits};

/// One held pull.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub connection: ConnectionId,
    pub ticket: u64,
    /// The first position this waiter has not looked at.
    pub next: u64,
    pub filter: Filter,
    /// When its door runs it again anyway, on the monotonic clock.
    pub until: Duration,
}

/// The waiters of one queue.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Vec<Waiter>);

impl Waiters {
    /// `count` entries from position `first` on became visible. Moves those whose filter says that it
    /// passes one of them to `woken`. Positions before `first` that a waiter has not seen wake it too:
    /// it will find out by itself.
    fn arrived(
        &mut self,
        first: u64,
        count: usize,
        passes: impl Fn(&Filter, usize) -> bool,
        woken: &mut Vec<(ConnectionId, u64)>,
    ) {
        let end = first + count as u64;
        self.0.retain_mut(|waiter| {
            let unseen = match waiter.next.checked_sub(first) {
                None => true,
                Some(skip) => (skip as usize..count).any(|n| passes(&waiter.filter, n)),
            };
            if unseen {
                woken.push((waiter.connection, waiter.ticket));
            } else {
                waiter.next = waiter.next.max(end);
            }
            !unseen
        });
    }

    fn remove(&mut self, connection: ConnectionId, ticket: u64) -> bool {
        let found = (self.0.iter())
            .position(|waiter| (waiter.connection, waiter.ticket) == (connection, ticket));
        found.map(|at| self.0.swap_remove(at)).is_some()
    }
}

#[derive(Debug, Default)]
struct Slot {
    count: AtomicUsize,
    waiters: Mutex<Waiters>,
}

impl Slot {
    fn change<T>(&self, held: &AtomicUsize, change: impl FnOnce(&mut Waiters) -> T) -> T {
        let mut waiters: MutexGuard<'_, Waiters> =
            self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        let before = waiters.0.len();
        let result = change(&mut waiters);
        let after = waiters.0.len();
        self.count.store(after, Ordering::SeqCst);
        if after >= before {
            held.fetch_add(after - before, Ordering::Relaxed);
        } else {
            held.fetch_sub(before - after, Ordering::Relaxed);
        }
        result
    }
}

/// All waiters, by the slot of their queue.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    slots: RwLock<Vec<Arc<Slot>>>,
    held: AtomicUsize,
}

impl Hold {
    /// Lets a pull wait, unless the queue has grown beyond its position in the meantime (`false`).
    pub fn wait(&self, queue: &Queue, waiter: Waiter) -> Result<bool, Error> {
        if self.held.load(Ordering::Relaxed) >= limits::HELD_PULLS {
            return Err(Error::Busy("too many pulls wait for messages"));
        }
        let slot = self.slot(queue.slot);
        let (connection, ticket, next) = (waiter.connection, waiter.ticket, waiter.next);
        let room = slot.change(&self.held, |waiters| {
            let room = waiters.0.len() < limits::HELD_PULLS_PER_QUEUE;
            if room {
                waiters.0.push(waiter);
            }
            room
        });
        if !room {
            return Err(Error::Busy(
                "too many pulls wait for messages of this queue",
            ));
        }
        fence(Ordering::SeqCst);
        if queue.end() <= QueueOffset(next) {
            return Ok(true);
        }
        // If dispatch was faster it has taken the waiter out, and the wake-up is harmless.
        slot.change(&self.held, |waiters| waiters.remove(connection, ticket));
        Ok(false)
    }

    /// A held pull runs again: it waits no longer.
    pub fn leave(&self, queue: &Queue, connection: ConnectionId, ticket: u64) {
        if let Some(slot) = self.find(queue.slot)
            && slot.count.load(Ordering::SeqCst) > 0
        {
            slot.change(&self.held, |waiters| waiters.remove(connection, ticket));
        }
    }

    /// These queues grew: collects who must run again.
    pub fn arrived(
        &self,
        store: &Store,
        grown: &[Arc<Queue>],
        woken: &mut Vec<(ConnectionId, u64)>,
    ) {
        fence(Ordering::SeqCst);
        if self.held.load(Ordering::SeqCst) == 0 {
            return;
        }
        for queue in grown {
            let Some(slot) = self.find(queue.slot) else {
                continue;
            };
            if slot.count.load(Ordering::SeqCst) > 0 {
                slot.change(&self.held, |waiters| {
                    wake(store, queue, waiters, woken);
                });
            }
        }
    }

    /// Everyone who waits for the queue runs again: it is gone, or a group is to go elsewhere.
    pub fn wake_all(&self, queue: &Queue, woken: &mut Vec<(ConnectionId, u64)>) {
        if let Some(slot) = self.find(queue.slot) {
            slot.change(&self.held, |waiters| {
                let all = waiters.0.drain(..);
                woken.extend(all.map(|waiter| (waiter.connection, waiter.ticket)));
            });
        }
    }

    /// Forgets waiters whose time is over: their doors have run them again, or are gone.
    pub fn expire(&self, now: Duration) {
        if self.held.load(Ordering::Relaxed) == 0 {
            return;
        }
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        for slot in slots.iter() {
            if slot.count.load(Ordering::Relaxed) > 0 {
                slot.change(&self.held, |waiters| {
                    waiters.0.retain(|waiter| now <= waiter.until);
                });
            }
        }
    }

    /// How many pulls are held.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn find(&self, slot: u32) -> Option<Arc<Slot>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(slot as usize).cloned()
    }

    fn slot(&self, slot: u32) -> Arc<Slot> {
        if let Some(found) = self.find(slot) {
            return found;
        }
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        while slots.len() <= slot as usize {
            slots.push(Arc::default());
        }
        Arc::clone(&slots[slot as usize])
    }
}

/// Wakes those of `waiters` who want one of the queue's entries they have not looked at yet.
fn wake(store: &Store, queue: &Queue, waiters: &mut Waiters, woken: &mut Vec<(ConnectionId, u64)>) {
    let Some(first) = waiters.0.iter().map(|waiter| waiter.next).min() else {
        return;
    };
    let first = first.max(queue.start().0);
    let mut entries = Vec::new();
    let read = store.entries(
        queue,
        QueueOffset(first),
        limits::SCAN_ENTRIES,
        Wait::No,
        &mut entries,
    );
    let all_seen = queue.end().0 <= first + entries.len() as u64;
    if !matches!(read, Ok(Reads::Done)) || !all_seen || queue.start().0 > first {
        // Too far behind to judge here: let them look for themselves.
        let all = waiters.0.drain(..);
        woken.extend(all.map(|waiter| (waiter.connection, waiter.ticket)));
        return;
    }
    let mut properties = Properties::default();
    let mut readable = false;
    if waiters
        .0
        .iter()
        .any(|waiter| waiter.filter.reads_properties())
    {
        let read = store.properties(&entries, None, Wait::No, &mut properties);
        readable = matches!(read, Ok(Reads::Done));
    }
    // Many filters over many messages take longer than others can wait: then the filter is tried
    // where the pull runs again.
    let left = Cell::new(limits::WAKE_EVALUATIONS);
    let passes = |filter: &Filter, n: usize| {
        let Some(entry) = entries.get(n).filter(|entry| entry.size > 0) else {
            return false;
        };
        if !filter.reads_properties() {
            return filter.passes(entry.tags_code, &[]);
        }
        left.set(left.get().saturating_sub(1));
        !readable || left.get() == 0 || filter.passes(entry.tags_code, properties.get(n))
    };
    waiters.arrived(first, entries.len(), passes, woken);
}

#[cfg(test)]
mod tests;
