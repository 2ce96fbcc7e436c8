//! What Rust has for the language: it wakes once, and the language takes many.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Wakes the language's thread: a byte to a socket pair, or a thread-safe function. Must not block.
pub trait Wake: Send + Sync {
    /// There is something in an inbox that was empty.
    fn wake(&self);
}

/// Things for the language. Whoever puts the first one in wakes it; nobody else does.
pub struct Inbox<T> {
    inside: Mutex<Inside<T>>,
    arrived: Condvar,
    /// Threads in [`Inbox::wait`]. A condition variable asks the system even if nobody waits.
    waiting: AtomicUsize,
    wake: Mutex<Option<Arc<dyn Wake>>>,
}

struct Inside<T> {
    ready: VecDeque<T>,
    /// Somebody was woken who has not taken since. Under the lock of what is there: a wake that comes when all
    /// is taken already may find nobody who listens, and the next one must not be left out because of it.
    rang: bool,
    closed: bool,
}

impl<T> Inside<T> {
    /// Whether somebody has to be woken now.
    fn rings(&mut self) -> bool {
        (self.closed || !self.ready.is_empty()) && !std::mem::replace(&mut self.rang, true)
    }
}

impl<T> Default for Inbox<T> {
    fn default() -> Inbox<T> {
        Inbox {
            inside: Mutex::new(Inside {
                ready: VecDeque::new(),
                rang: false,
                closed: false,
            }),
            arrived: Condvar::new(),
            waiting: AtomicUsize::new(0),
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
        let mut inside = self.lock();
        // What rang for nobody rings again.
        inside.rang = false;
        self.wake_after(inside);
    }

    /// Puts things in.
    pub fn push(&self, things: impl IntoIterator<Item = T>) {
        let mut inside = self.lock();
        let before = inside.ready.len();
        inside.ready.extend(things);
        let added = inside.ready.len() - before;
        // Who waits said so under the same lock.
        let waiting = self.waiting.load(Ordering::Relaxed);
        self.wake_after(inside);
        match added.min(waiting) {
            0 => {}
            1 => self.arrived.notify_one(),
            _ => self.arrived.notify_all(),
        }
    }

    fn wake_after(&self, mut inside: MutexGuard<'_, Inside<T>>) {
        let rings = inside.rings();
        drop(inside);
        if rings && let Some(wake) = &*lock(&self.wake) {
            wake.wake();
        }
    }

    /// Takes everything; what comes from now on wakes again.
    pub fn drain(&self) -> VecDeque<T> {
        let mut inside = self.lock();
        inside.rang = false;
        std::mem::take(&mut inside.ready)
    }

    /// Takes up to so many, without waiting.
    pub fn take(&self, max: usize) -> Vec<T> {
        self.take_first(|ready| max.min(ready.len()))
    }

    /// As [`Inbox::take`], and no more than have so many bytes together, but always one.
    pub fn take_within(&self, max: usize, bytes: usize, size: impl Fn(&T) -> usize) -> Vec<T> {
        let mut sum = 0;
        self.take_first(|ready| {
            let fits = |thing: &&T| {
                let first = sum == 0;
                sum += size(thing).max(1);
                first || sum <= bytes
            };
            ready.iter().take(max).take_while(fits).count()
        })
    }

    fn take_first(&self, count: impl FnOnce(&VecDeque<T>) -> usize) -> Vec<T> {
        let mut inside = self.lock();
        inside.rang = false;
        let taken = count(&inside.ready);
        let things = inside.ready.drain(..taken).collect();
        if !inside.ready.is_empty() {
            self.wake_after(inside);
            self.arrived.notify_one();
        }
        things
    }

    /// Takes up to so many; waits for the first one, at most so long. Several threads may.
    pub fn wait(&self, max: usize, limit: Duration) -> Vec<T> {
        let end = Instant::now() + limit;
        let mut inside = self.lock();
        loop {
            if !inside.ready.is_empty() || inside.closed {
                drop(inside);
                return self.take(max);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Vec::new();
            }
            self.waiting.fetch_add(1, Ordering::Relaxed);
            let waited = self.arrived.wait_timeout(inside, left);
            inside = waited.unwrap_or_else(PoisonError::into_inner).0;
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Nothing comes any more. What is there can still be taken.
    pub fn close(&self) {
        let mut inside = self.lock();
        inside.closed = true;
        self.wake_after(inside);
        self.arrived.notify_all();
    }

    /// Whether nothing comes any more.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// How many things are there.
    pub fn len(&self) -> usize {
        self.lock().ready.len()
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Inside<T>> {
        lock(&self.inside)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// How often somebody was woken.
    #[derive(Default)]
    pub(crate) struct Count(pub AtomicUsize);

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
    fn what_is_taken_at_once_is_small_or_one() {
        let inbox = Inbox::default();
        inbox.push([3, 2, 1, 9, 0, 0]);
        let take = |max| inbox.take_within(max, 5, |size| *size);
        assert_eq!(take(10), [3, 2]);
        assert_eq!(take(10), [1]);
        assert_eq!(take(10), [9]);
        assert_eq!(take(1), [0]);
        assert_eq!(take(10), [0]);
        assert!(take(10).is_empty());
    }

    #[test]
    fn who_comes_later_is_woken_for_what_is_there() {
        let inbox = Inbox::default();
        inbox.push([1]);
        let count = Arc::new(Count::default());
        inbox.set_wake(Some(count.clone()));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    const ROUNDS: usize = 20_000;

    /// A wake that comes when all is taken already may be heard by nobody: JavaScript stops listening then.
    #[test]
    fn a_wake_that_comes_too_late_keeps_none_of_the_next_from_coming() {
        let count = Arc::new(Count::default());
        let inbox = Arc::new(Inbox::waking(count.clone()));
        let (begun, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let until = |counter: &AtomicUsize, round| {
            while counter.load(Ordering::SeqCst) < round {
                std::thread::yield_now();
            }
        };
        let missed = std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    until(&begun, round);
                    (0..4).for_each(|n| inbox.push([n]));
                    done.store(round, Ordering::SeqCst);
                }
            });
            let missed = (1..=ROUNDS).find(|&round| {
                begun.store(round, Ordering::SeqCst);
                let mut taken = 0;
                while taken < 4 {
                    taken += inbox.take(4).len();
                }
                until(&done, round);
                let before = count.0.load(Ordering::SeqCst);
                inbox.push([4]);
                assert_eq!(inbox.take(4), [4]);
                count.0.load(Ordering::SeqCst) == before
            });
            begun.store(ROUNDS, Ordering::SeqCst);
            missed
        });
        assert_eq!(missed, None, "the round whose last message woke nobody");
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
