//! Counts of what is under way, each with a limit; what was taken is given back when it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A count with a limit.
#[derive(Debug)]
pub(crate) struct Gauge {
    taken: Arc<AtomicUsize>,
    limit: usize,
}

/// A share of a [`Gauge`].
#[derive(Debug)]
pub(crate) struct Taken {
    gauge: Arc<AtomicUsize>,
    amount: usize,
}

impl Gauge {
    pub(crate) fn new(limit: usize) -> Gauge {
        Gauge {
            taken: Arc::default(),
            limit,
        }
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
        let gauge = Gauge::new(3);
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
