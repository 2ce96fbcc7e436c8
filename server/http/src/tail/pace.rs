//! How a long round gives way. It would use a core of its own for as long as there are events, and where cores are
//! scarce, whoever answers remoting would wait for its turn as long as the system lets a thread run.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Work between two looks at the clocks.
const STRETCH: Duration = Duration::from_millis(2);
/// The shortest that the runtime knows: in truth up to twice that.
const REST: Duration = Duration::from_millis(1);
/// A stretch of which this part was spent waiting for a core is followed by a rest.
const KEPT_WAITING: u32 = 8;

/// The pace of one round.
pub(super) struct Pace {
    since: Instant,
    ran: Duration,
}

impl Pace {
    pub(super) fn new() -> Pace {
        Pace {
            since: Instant::now(),
            ran: ran(),
        }
    }

    /// Lets other tasks go on, and other threads that wait for this core; after a stretch in which this thread was kept
    /// waiting for one, for about as long as it worked.
    pub(super) async fn give_way(&mut self) {
        std::thread::yield_now();
        let took = self.since.elapsed();
        if took < STRETCH {
            return tokio::task::yield_now().await;
        }
        let worked = ran().saturating_sub(self.ran);
        match kept_waiting(took, worked) {
            true => tokio::time::sleep(REST).await,
            false => tokio::task::yield_now().await,
        }
        *self = Pace::new();
    }
}

/// Nothing in a round blocks: what the thread did not run, it waited for a core.
fn kept_waiting(took: Duration, worked: Duration) -> bool {
    took.saturating_sub(worked) * KEPT_WAITING > took
}

/// How long this thread has run.
fn ran() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods)] // not running is what is tested
    #[tokio::test(start_paused = true)]
    async fn who_was_kept_from_running_rests_and_who_ran_goes_on() {
        let mut pace = Pace::new();
        // A thread that sleeps does not run, as one that waits for a core.
        std::thread::sleep(STRETCH * 5);
        let begun = tokio::time::Instant::now();
        pace.give_way().await;
        assert!(begun.elapsed() >= REST);

        assert!(!kept_waiting(STRETCH, STRETCH * 9 / 10));
        assert!(kept_waiting(STRETCH, STRETCH / 2));
    }
}
