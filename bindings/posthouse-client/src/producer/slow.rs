//! Leaves brokers alone that were slow or gave no answer (Java's `sendLatencyFaultEnable`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Result};

/// How long a broker is left alone whose answer took so long. The figures are Java 5's.
const STEPS: [(u64, u64); 5] = [
    (15_000, 30_000),
    (5_000, 10_000),
    (3_000, 6_000),
    (1_800, 5_000),
    (550, 2_000),
];

/// What a send without an answer counts as.
const NO_ANSWER: Duration = Duration::from_secs(10);

/// Brokers that are left alone, and until when.
#[derive(Default)]
pub(super) struct Slow {
    any: AtomicBool,
    until: Mutex<HashMap<Arc<str>, Instant>>,
}

impl Slow {
    /// Whether a broker is not left alone just now.
    pub(super) fn is_available(&self, broker: &str, now: Instant) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return true;
        }
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.get(broker).is_none_or(|until| *until <= now)
    }

    /// A send to this broker that began then ended now, and like this.
    pub(super) fn note<T>(
        &self,
        broker: &Arc<str>,
        began: Instant,
        now: Instant,
        result: &Result<T>,
    ) {
        let took = match result {
            Err(Error::Call { .. }) => NO_ANSWER,
            _ => now.saturating_duration_since(began),
        };
        let pause = pause(took);
        if pause.is_zero() && !self.any.load(Ordering::Relaxed) {
            return;
        }
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if pause.is_zero() {
            until.remove(broker);
        } else {
            until.insert(broker.clone(), now + pause);
        }
        self.any.store(!until.is_empty(), Ordering::Relaxed);
    }
}

fn pause(took: Duration) -> Duration {
    let took = took.as_millis() as u64;
    let step = STEPS.iter().find(|(from, _)| took >= *from);
    step.map_or(Duration::ZERO, |(_, pause)| Duration::from_millis(*pause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_broker_is_left_alone_until_its_pause_is_over() {
        let slow = Slow::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        slow.note(&a, start, at(549), &Ok(()));
        assert!(slow.is_available("a", at(549)));
        slow.note(&a, start, at(600), &Ok(()));
        slow.note(&b, at(600), at(601), &Ok(()));
        assert!(!slow.is_available("a", at(2599)) && slow.is_available("b", at(2599)));
        assert!(slow.is_available("a", at(2600)));
    }

    #[test]
    fn a_quick_answer_ends_the_pause() {
        let slow = Slow::default();
        let a: Arc<str> = "a".into();
        let lost: Result<()> = Err(Error::Call {
            address: "a:1".into(),
            source: remoting::client::CallError::Timeout,
        });
        let now = Instant::now();
        slow.note(&a, now, now, &lost);
        assert!(!slow.is_available("a", now + Duration::from_secs(9)));
        slow.note(&a, now, now, &Ok(()));
        assert!(slow.is_available("a", now));
    }
}
