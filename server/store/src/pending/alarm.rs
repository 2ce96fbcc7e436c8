//! Wakes whoever sleeps until something is due, when something earlier arrives.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::lock;

/// One sleeper's alarm.
#[derive(Debug, Default)]
pub struct Alarm {
    /// What the sleeper knows of: earlier times ring.
    watched: AtomicI64,
    rung: Mutex<bool>,
    ringing: Condvar,
}

impl Alarm {
    /// The sleeper will be awake at `due`. It says `i64::MAX` before it looks what is due, so that
    /// nothing which arrives while it looks is missed.
    pub fn watch(&self, due: i64) {
        self.watched.store(due, Ordering::SeqCst);
    }

    /// Something is due at `due`.
    pub fn ring(&self, due: i64) {
        if due < self.watched.load(Ordering::SeqCst) {
            *lock(&self.rung) = true;
            self.ringing.notify_one();
        }
    }

    /// Sleeps until it rings, up to `limit`.
    pub fn wait(&self, limit: Duration) {
        let rung = lock(&self.rung);
        let waited = (self.ringing).wait_timeout_while(rung, limit, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}
