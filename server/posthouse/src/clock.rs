//! The real clock: the one place that asks the system for the time; and one that is moved by hand.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use store::Clock;

/// The system's time.
#[derive(Debug)]
pub struct RealClock {
    start: Instant,
}

impl RealClock {
    /// A clock whose monotonic time begins now.
    pub fn new() -> RealClock {
        RealClock {
            start: Instant::now(),
        }
    }
}

impl Default for RealClock {
    fn default() -> RealClock {
        RealClock::new()
    }
}

impl Clock for RealClock {
    #[allow(clippy::disallowed_methods)] // everybody else is handed this clock
    fn wall(&self) -> i64 {
        let now = SystemTime::now();
        match now.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        }
    }

    fn mono(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock whose wall time stands still until it is moved by hand. Connections and waits are real.
#[derive(Debug)]
pub struct Moved {
    real: RealClock,
    began: i64,
    moved: Mutex<Duration>,
}

impl Moved {
    /// A clock that shows the time of now.
    pub fn new() -> Moved {
        let real = RealClock::new();
        Moved {
            began: real.wall(),
            real,
            moved: Mutex::default(),
        }
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        *moved = moved.saturating_add(by);
    }
}

impl Default for Moved {
    fn default() -> Moved {
        Moved::new()
    }
}

impl Clock for Moved {
    fn wall(&self) -> i64 {
        let moved = i64::try_from(self.steady().as_millis());
        self.began.saturating_add(moved.unwrap_or(i64::MAX))
    }

    fn mono(&self) -> Duration {
        self.real.mono()
    }

    fn steady(&self) -> Duration {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
