//! The real clock: the one place that asks the system for the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

impl store::Clock for RealClock {
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
