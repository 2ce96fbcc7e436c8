//! The threads that call the steps of store, broker and name server again and again.
//!
//! None of those owns a thread, so that a simulator can run their steps from a seed; here each loop
//! has a name, sleeps until its step wants to be called again, hears of the end at once, and is
//! awaited. A loop that panics has broken something that answers rely on: then the process ends
//! before it can acknowledge anything more.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Running loops.
#[derive(Default)]
pub struct Loops {
    end: Arc<End>,
    threads: Vec<JoinHandle<()>>,
}

/// Tells loops to end.
#[derive(Default)]
pub struct End {
    told: Mutex<bool>,
    changed: Condvar,
}

impl End {
    /// Waits up to `limit`; true when the loop is to end.
    pub fn wait(&self, limit: Duration) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(told, limit, |told| !*told);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn tell(&self) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}

impl Loops {
    /// Runs `body` on a thread of that name. It must return soon after [`End`] tells it to.
    pub fn spawn(
        &mut self,
        name: &'static str,
        body: impl FnOnce(&End) + Send + 'static,
    ) -> std::io::Result<()> {
        let end = self.end.clone();
        let guarded = move || {
            if catch_unwind(AssertUnwindSafe(|| body(&end))).is_err() {
                tracing::error!(
                    name,
                    "a loop panicked; ending the process before it answers anything more"
                );
                std::process::abort();
            }
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(guarded)?;
        self.threads.push(thread);
        Ok(())
    }

    /// Calls `step`, which says after what time it wants to be called again; `None` ends the loop.
    pub fn every(
        &mut self,
        name: &'static str,
        mut step: impl FnMut() -> Option<Duration> + Send + 'static,
    ) -> std::io::Result<()> {
        self.spawn(name, move |end| {
            while let Some(pause) = step() {
                if end.wait(pause) {
                    return;
                }
            }
        })
    }

    /// Ends all loops and waits for them.
    pub fn end(self) {
        self.end.tell();
        for thread in self.threads {
            // A panic was answered in the thread itself.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_step_is_called_again_until_the_end_and_the_end_does_not_wait_for_a_pause() {
        let (called, calls) = mpsc::channel();
        let mut loops = Loops::default();
        let mut pauses = [Duration::ZERO, Duration::ZERO, Duration::from_secs(3_600)].into_iter();
        loops
            .every("test", move || {
                let _ = called.send(());
                pauses.next()
            })
            .unwrap();
        for _ in 0..3 {
            calls.recv_timeout(Duration::from_secs(10)).unwrap();
        }
        loops.end();
        assert_eq!(calls.iter().count(), 0);
    }
}
