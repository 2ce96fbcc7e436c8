//! Has whoever deletes old segments look now: a segment was begun, or there was no space for what a producer sent.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::lock;

/// Looks are counted, so that who asked for one knows when it, and no earlier one, is over.
#[derive(Default)]
pub(crate) struct Room {
    looks: Mutex<Looks>,
    changed: Condvar,
}

#[derive(Default)]
struct Looks {
    asked: u64,
    begun: u64,
    ended: u64,
}

impl Room {
    /// Somebody should look.
    pub(super) fn want(&self) {
        lock(&self.looks).asked += 1;
        self.changed.notify_all();
    }

    /// The same, and waits until that was done, at most so long.
    pub(crate) fn ask(&self, limit: Duration) {
        let mut looks = lock(&self.looks);
        looks.asked += 1;
        let own = looks.asked;
        self.changed.notify_all();
        let done = self
            .changed
            .wait_timeout_while(looks, limit, |looks| looks.ended < own);
        drop(done.unwrap_or_else(PoisonError::into_inner));
    }

    /// The look that was begun last is over. Waits for the next one, at most so long; whether somebody wants it.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let mut looks = lock(&self.looks);
        looks.ended = looks.begun;
        self.changed.notify_all();
        let (mut looks, _) = self
            .changed
            .wait_timeout_while(looks, limit, |looks| looks.asked == looks.begun)
            .unwrap_or_else(PoisonError::into_inner);
        let wanted = looks.asked > looks.begun;
        looks.begun = looks.asked;
        wanted
    }
}
