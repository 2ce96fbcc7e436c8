//! What is due by time. The broker has no loop: whoever owns it calls [`crate::Broker::tick`].

use std::time::Duration;

use store::Kind;

use crate::{Broker, Error};

/// How often [`crate::Broker::tick`] wants to be called.
pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// How long at most may be slept when nothing waits.
const IDLE: Duration = Duration::from_secs(60);
const TEN_SECONDS: Duration = Duration::from_secs(10);

/// When what was done last, on the monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct Ticks {
    second: Option<Duration>,
    ten_seconds: Option<Duration>,
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub second: bool,
    pub ten_seconds: bool,
}

impl Ticks {
    /// What is due at `now`, which counts as done.
    pub fn due(&mut self, now: Duration) -> Due {
        let due = |last: &mut Option<Duration>, interval| {
            let due = last.is_none_or(|last| now >= last + interval);
            if due {
                *last = Some(now);
            }
            due
        };
        Due {
            second: due(&mut self.second, SECOND),
            ten_seconds: due(&mut self.ten_seconds, TEN_SECONDS),
        }
    }
}

impl Broker {
    /// Does a piece of what is due at a moment of its own: delayed messages, questions about half messages,
    /// leases that ran out. Returns when to call again; [`Broker::wait_deadline`] ends earlier if a message
    /// arrives, or is popped, that is due earlier.
    ///
    /// # Errors
    /// As [`Broker::commit`].
    pub fn deadlines_step(&self) -> Result<Duration, Error> {
        let alarm = self.store.pending().alarm();
        // What arrives while this looks around may be missed by it: then the alarm rings.
        alarm.watch(i64::MAX);
        self.pops.watch(Duration::MAX);
        let now = self.clock.wall();
        let parts = [
            Some(self.delay_step(now)?),
            Some(self.transaction_step(now)?),
            self.lease_step()?,
            self.operations_step()?,
        ];
        let next = parts.into_iter().flatten().fold(IDLE, Duration::min);
        let millis = i64::try_from(next.as_millis()).unwrap_or(i64::MAX);
        alarm.watch(now.saturating_add(millis));
        self.pops.watch(self.clock.steady().saturating_add(next));
        Ok(next)
    }

    /// When something is due next, by the wall clock; `None` if nothing waits. For whoever moves that
    /// clock by hand.
    pub fn next_deadline(&self) -> Option<i64> {
        let pending = self.store.pending();
        let now = self.clock.steady();
        let (over, next) = self.pops.due(now);
        let left = match over.is_empty() {
            true => next.map(|next| next.saturating_sub(now)),
            false => Some(Duration::ZERO),
        };
        let millis = |left: Duration| i64::try_from(left.as_nanos().div_ceil(1_000_000));
        let lease = left.map(|left| {
            let millis = millis(left).unwrap_or(i64::MAX);
            self.clock.wall().saturating_add(millis)
        });
        let kinds = [Kind::Timer, Kind::Half].map(|kind| pending.next_due(kind));
        kinds.into_iter().flatten().chain(lease).min()
    }

    /// Blocks for so long, or until something is due earlier than the last step knew. For one thread.
    pub fn wait_deadline(&self, limit: Duration) {
        self.store.pending().alarm().wait(limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_that_comes_early_does_nothing() {
        let mut ticks = Ticks::default();
        let at = |ms| Duration::from_millis(ms);
        let due = |second, ten_seconds| Due {
            second,
            ten_seconds,
        };
        assert_eq!(ticks.due(at(0)), due(true, true));
        assert_eq!(ticks.due(at(500)), due(false, false));
        assert_eq!(ticks.due(at(1000)), due(true, false));
        assert_eq!(ticks.due(at(10_000)), due(true, true));
    }
}
