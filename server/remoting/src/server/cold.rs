//! The blocking pool: a few threads, started when they are needed, for work that would make every
//! other connection of an I/O thread wait.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A job, and what tells its I/O thread that it is done (`false`: it panicked).
pub(crate) struct Job {
    pub(crate) work: Box<dyn FnOnce() + Send>,
    pub(crate) done: Box<dyn FnOnce(bool) + Send>,
}

/// Bounded in threads and in waiting jobs.
pub(crate) struct Pool {
    state: Mutex<State>,
    more: Condvar,
    threads: usize,
    jobs: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

/// A thread without work for this long ends.
const LINGER: Duration = Duration::from_secs(10);

impl Pool {
    pub(crate) fn new(threads: usize, jobs: usize) -> Arc<Pool> {
        Arc::new(Pool {
            state: Mutex::default(),
            more: Condvar::new(),
            threads: threads.max(1),
            jobs,
        })
    }

    /// Queues a job; `false` if too many wait.
    pub(crate) fn submit(self: &Arc<Pool>, job: Job) -> bool {
        let mut state = self.state();
        if state.waiting.len() >= self.jobs {
            return false;
        }
        state.waiting.push_back(job);
        self.more.notify_one();
        if state.waiting.len() > state.idle && state.threads < self.threads {
            let pool = self.clone();
            let thread = thread::Builder::new().name("cold".to_owned());
            match thread.spawn(move || pool.work()) {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => {
                    tracing::error!(%error, "no thread for slow requests");
                    state.waiting.pop_back();
                    return false;
                }
                Err(_) => {}
            }
        }
        true
    }

    fn work(&self) {
        let mut state = self.state();
        loop {
            if let Some(job) = state.waiting.pop_front() {
                drop(state);
                let fine = catch_unwind(AssertUnwindSafe(job.work)).is_ok();
                (job.done)(fine);
                state = self.state();
                continue;
            }
            state.idle += 1;
            let waited = self.more.wait_timeout(state, LINGER);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.idle -= 1;
            if timeout.timed_out() && state.waiting.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
