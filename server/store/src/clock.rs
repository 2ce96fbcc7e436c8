//! Time, handed in. The wall clock drives what users see (stored-at, retention); the monotonic clock
//! drives waits. Tests move a [`ManualClock`] by hand.

use std::sync::Mutex;
use std::time::Duration;

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch. May jump.
    fn wall(&self) -> i64;
    /// Time since some fixed moment. Never goes back.
    fn mono(&self) -> Duration;
    /// What leases and delays are measured with. Never goes back, and goes on with the wall clock when
    /// somebody moves that by hand; connections and waits, which are real, follow [`Clock::mono`].
    fn steady(&self) -> Duration {
        self.mono()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: Mutex<(i64, Duration)>,
}

impl ManualClock {
    /// A clock at `wall` milliseconds since the Unix epoch, monotonic time zero.
    pub fn new(wall: i64) -> ManualClock {
        ManualClock {
            now: Mutex::new((wall, Duration::ZERO)),
        }
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let mut now = self.lock();
        now.0 += by.as_millis() as i64;
        now.1 += by;
    }

    /// Sets the wall clock, backwards if asked; the monotonic clock stays.
    pub fn set_wall(&self, wall: i64) {
        self.lock().0 = wall;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (i64, Duration)> {
        self.now
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> i64 {
        self.lock().0
    }

    fn mono(&self) -> Duration {
        self.lock().1
    }
}
