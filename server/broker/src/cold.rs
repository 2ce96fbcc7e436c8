//! Answers that had to be read where blocking is allowed. The job leaves its result here; the request,
//! run again, picks it up. So nothing is read twice, and a page that was dropped in between does not
//! send the request around in circles.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use store::Clock;

use crate::limits;
use crate::{Answer, Caller, ConnectionId, Error};

type Key = (ConnectionId, u64);
type Result_ = Box<dyn Any + Send>;

/// Results that wait for their request. One whose connection closed is dropped after a minute.
pub(crate) struct Cold {
    clock: Arc<dyn Clock>,
    results: Mutex<HashMap<Key, (Duration, Result_)>>,
}

const KEPT: Duration = Duration::from_secs(60);

impl Cold {
    pub fn new(clock: Arc<dyn Clock>) -> Cold {
        Cold {
            clock,
            results: Mutex::default(),
        }
    }

    /// Answers what the job of an earlier run of this request left, or has `work` done by a job now.
    pub fn answer<T: Send + 'static>(
        self: &Arc<Cold>,
        caller: &Caller,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<Answer<T>, Error> {
        match self.take(caller) {
            Some(result) => result.map(Answer::Ready),
            None => self.defer(caller, work),
        }
    }

    /// The result the job of an earlier run of this request left.
    pub fn take<T: 'static>(&self, caller: &Caller) -> Option<Result<T, Error>> {
        if caller.may_wait {
            return None;
        }
        let (_, result) = self.lock().remove(&(caller.connection, caller.ticket))?;
        result.downcast().ok().map(|result| *result)
    }

    /// Has `work` done by a job.
    pub fn defer<T: Send + 'static>(
        self: &Arc<Cold>,
        caller: &Caller,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<Answer<T>, Error> {
        if self.lock().len() >= limits::COLD_ANSWERS {
            return Err(Error::Busy("too many answers are being read from the disk"));
        }
        let (cold, key) = (Arc::clone(self), (caller.connection, caller.ticket));
        Ok(Answer::Cold(Box::new(move || {
            let result = work();
            let now = cold.clock.mono();
            cold.lock().insert(key, (now, Box::new(result)));
        })))
    }

    /// Drops what nobody came back for.
    pub fn tick(&self) {
        let now = self.clock.mono();
        self.lock().retain(|_, (at, _)| now < *at + KEPT);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, (Duration, Result_)>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
