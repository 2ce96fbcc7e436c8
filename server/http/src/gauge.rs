//! Counts of what is under way, each with a limit; what was taken is given back when it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};

use crate::problem::{Kind, Problem};

static RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
static RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A count with a limit.
#[derive(Debug)]
pub(crate) struct Gauge {
    taken: Arc<AtomicUsize>,
    limit: usize,
    /// What the limit is called, as the cluster's `limits` call it, and what it counts.
    policy: (&'static str, Unit),
}

/// What a limit counts, in the words of the IETF's draft of `RateLimit` fields.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    Requests,
    Bytes,
}

/// A share of a [`Gauge`].
#[derive(Debug)]
pub(crate) struct Taken {
    gauge: Arc<AtomicUsize>,
    amount: usize,
}

impl Gauge {
    pub(crate) fn new(name: &'static str, unit: Unit, limit: usize) -> Gauge {
        Gauge {
            taken: Arc::default(),
            limit,
            policy: (name, unit),
        }
    }

    /// What a caller is told for whom there is no room.
    pub(crate) fn over(&self, kind: &'static Kind, detail: &str) -> Problem {
        let (name, unit) = self.policy;
        let unit = match unit {
            Unit::Requests => "concurrent-requests",
            Unit::Bytes => "content-bytes",
        };
        let policy = format!("\"{name}\";q={};qu=\"{unit}\"", self.limit);
        let left = self.limit.saturating_sub(self.taken());
        let mut problem = Problem::new(kind)
            .detail(detail)
            .header(RETRY_AFTER, HeaderValue::from_static("1"));
        let fields = [
            (&RATE_LIMIT_POLICY, policy),
            (&RATE_LIMIT, format!("\"{name}\";r={left}")),
        ];
        for (header, text) in fields {
            if let Ok(value) = HeaderValue::try_from(text) {
                problem = problem.header(header.clone(), value);
            }
        }
        problem
    }

    /// Takes so much, unless the limit would be passed.
    pub(crate) fn take(&self, amount: usize) -> Option<Taken> {
        let room = |taken: usize| taken.checked_add(amount).filter(|all| *all <= self.limit);
        let (set, get) = (Ordering::AcqRel, Ordering::Acquire);
        self.taken.fetch_update(set, get, room).ok()?;
        Some(Taken {
            gauge: self.taken.clone(),
            amount,
        })
    }

    /// Adds to what was taken here, unless the limit would be passed.
    pub(crate) fn grow(&self, taken: &mut Taken, more: usize) -> bool {
        let Some(mut more) = self.take(more) else {
            return false;
        };
        taken.amount += std::mem::take(&mut more.amount);
        true
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.gauge.fetch_sub(self.amount, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_can_be_taken_again() {
        let gauge = Gauge::new("streams", Unit::Requests, 3);
        let two = gauge.take(2).unwrap();
        assert!(gauge.take(2).is_none());
        let one = gauge.take(1).unwrap();
        assert_eq!(gauge.taken(), 3);
        drop(two);
        assert!(gauge.take(3).is_none());
        drop(one);
        let mut all = gauge.take(1).unwrap();
        assert!(gauge.grow(&mut all, 2));
        assert!(!gauge.grow(&mut all, 1));
        assert_eq!(gauge.taken(), 3);
        drop(all);
        assert_eq!(gauge.taken(), 0);
    }
}
