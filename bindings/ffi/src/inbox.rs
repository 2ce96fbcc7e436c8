//! What Rust has for the language: it wakes once, and the language takes many.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Wakes the language's thread: a byte to a socket pair, or a thread-safe function. Must not block.
pub trait Wake: Send + Sync {
    /// There is something in an inbox that was empty.
    fn wake(&self);
}

/// Things for the language. Whoever puts the first one in wakes it; nobody else does.
pub struct Inbox<T> {
    ready: Mutex<VecDeque<T>>,
    arrived: Condvar,
    /// Threads in [`Inbox::wait`]. A condition variable asks the system even if nobody waits.
    waiting: AtomicUsize,
    armed: AtomicBool,
    closed: AtomicBool,
    wake: Mutex<Option<Arc<dyn Wake>>>,
}

impl<T> Default for Inbox<T> {
    fn default() -> Inbox<T> {
        Inbox {
            ready: Mutex::default(),
            arrived: Condvar::new(),
            waiting: AtomicUsize::new(0),
            armed: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            wake: Mutex::default(),
        }
    }
}

impl<T> Inbox<T> {
    /// An inbox that wakes somebody.
    pub fn waking(wake: Arc<dyn Wake>) -> Inbox<T> {
        let inbox = Inbox::default();
        inbox.set_wake(Some(wake));
        inbox
    }

    /// Who is woken from now on. If something is there already, at once.
    pub fn set_wake(&self, wake: Option<Arc<dyn Wake>>) {
        *lock(&self.wake) = wake;
        // What rang for nobody rings again.
        self.armed.store(false, Ordering::SeqCst);
        if !self.lock().is_empty() || self.is_closed() {
            self.signal();
        }
    }

    /// Puts things in.
    pub fn push(&self, things: impl IntoIterator<Item = T>) {
        let mut ready = self.lock();
        let before = ready.len();
        ready.extend(things);
        let added = ready.len() - before;
        // Who waits said so under the same lock.
        let waiting = self.waiting.load(Ordering::Relaxed);
        drop(ready);
        match added.min(waiting) {
            0 => {}
            1 => self.arrived.notify_one(),
            _ => self.arrived.notify_all(),
        }
        if added > 0 {
            self.signal();
        }
    }

    fn signal(&self) {
        if !self.armed.swap(true, Ordering::SeqCst)
            && let Some(wake) = &*lock(&self.wake)
        {
            wake.wake();
        }
    }

    /// Takes everything. Disarms first, so that what comes meanwhile wakes again.
    pub fn drain(&self) -> VecDeque<T> {
        self.armed.store(false, Ordering::SeqCst);
        std::mem::take(&mut *self.lock())
    }

    /// Takes up to so many, without waiting.
    pub fn take(&self, max: usize) -> Vec<T> {
        self.armed.store(false, Ordering::SeqCst);
        let mut ready = self.lock();
        let taken = max.min(ready.len());
        let things = ready.drain(..taken).collect();
        let left = !ready.is_empty();
        drop(ready);
        if left {
            self.arrived.notify_one();
            self.signal();
        }
        things
    }

    /// Takes up to so many; waits for the first one, at most so long. Several threads may.
    pub fn wait(&self, max: usize, limit: Duration) -> Vec<T> {
        let end = Instant::now() + limit;
        let mut ready = self.lock();
        loop {
            if !ready.is_empty() || self.is_closed() {
                drop(ready);
                return self.take(max);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Vec::new();
            }
            self.waiting.fetch_add(1, Ordering::Relaxed);
            let waited = self.arrived.wait_timeout(ready, left);
            ready = waited.unwrap_or_else(PoisonError::into_inner).0;
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Nothing comes any more. What is there can still be taken.
    pub fn close(&self) {
        let ready = self.lock();
        self.closed.store(true, Ordering::SeqCst);
        drop(ready);
        self.arrived.notify_all();
        self.signal();
    }

    /// Whether nothing comes any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// How many things are there.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        lock(&self.ready)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn it_wakes_once_until_it_is_emptied() {
        let count = Arc::new(Count::default());
        let inbox = Inbox::waking(count.clone());
        inbox.push([1, 2]);
        inbox.push([3]);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(inbox.drain(), [1, 2, 3]);
        inbox.push([4]);
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn what_is_left_wakes_again() {
        let count = Arc::new(Count::default());
        let inbox = Inbox::waking(count.clone());
        inbox.push(0..3);
        assert_eq!(inbox.take(2), [0, 1]);
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
        assert_eq!(inbox.take(2), [2]);
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn who_comes_later_is_woken_for_what_is_there() {
        let inbox = Inbox::default();
        inbox.push([1]);
        let count = Arc::new(Count::default());
        inbox.set_wake(Some(count.clone()));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_close_ends_every_wait() {
        let inbox = Arc::new(Inbox::<u8>::default());
        let waiter = {
            let inbox = inbox.clone();
            std::thread::spawn(move || inbox.wait(1, Duration::from_secs(60)))
        };
        inbox.close();
        assert!(waiter.join().unwrap().is_empty());
    }
}
