//! One runtime a process, on one thread; and what must not be touched in a forked child.

use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;

use crate::error::{Code, Error, Result};

/// How long a wait may go on before the language looks for its signals.
const SLICE: Duration = Duration::from_millis(100);

/// The runtime of this process.
#[derive(Debug)]
pub struct Runtime {
    pid: u32,
    handle: Handle,
}

static RUNTIME: Mutex<Option<Arc<Runtime>>> = Mutex::new(None);

impl Runtime {
    /// The runtime of this process, started when it is first asked for. A forked child gets one of its own.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn get() -> Result<Arc<Runtime>> {
        let pid = std::process::id();
        let mut known = RUNTIME
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(runtime) = known.as_ref().filter(|runtime| runtime.pid == pid) {
            return Ok(runtime.clone());
        }
        let started = Arc::new(Runtime::start(pid)?);
        // The parent's is never dropped here: it would wait for threads that only the parent has.
        std::mem::forget(known.replace(started.clone()));
        Ok(started)
    }

    fn start(pid: u32) -> Result<Runtime> {
        let failed = |error: std::io::Error| Error::new(Code::Internal, error.to_string());
        let built = Builder::new_current_thread().enable_all().build();
        let runtime = built.map_err(failed)?;
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new().name("posthouse-io".to_owned());
        // Runs as long as the process does.
        let run = move || runtime.block_on(std::future::pending::<()>());
        thread.spawn(run).map_err(failed)?;
        Ok(Runtime { pid, handle })
    }

    /// Whether this is the process that started it.
    ///
    /// # Errors
    /// [`Code::Forked`] in a child: everything that was made before the fork is its parent's.
    pub fn check(&self) -> Result<()> {
        match self.is_parents() {
            false => Ok(()),
            true => Err(made_by(self.pid)),
        }
    }

    /// Whether it belongs to the process that this one was forked from.
    pub fn is_parents(&self) -> bool {
        self.pid != std::process::id()
    }

    /// Starts something on the runtime's thread.
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.handle.spawn(future)
    }

    /// Runs something inside the runtime's context, on the caller's thread: for calls that spawn.
    pub fn enter<T>(&self, call: impl FnOnce() -> T) -> T {
        let _inside = self.handle.enter();
        call()
    }

    /// Runs a future on the runtime's thread and waits for it; every 100 ms `look` is asked whether to
    /// go on. If it says no, the future is dropped.
    ///
    /// # Errors
    /// What `look` says; [`Code::Internal`] if the future panicked, [`Code::Forked`] in a child.
    pub fn wait<T: Send + 'static, E: From<Error>>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
        mut look: impl FnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<T, E> {
        self.check()?;
        let (done, result) = mpsc::sync_channel(1);
        let task = self.handle.spawn(async move {
            let _ = done.send(future.await);
        });
        loop {
            match result.recv_timeout(SLICE) {
                Ok(value) => return Ok(value),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if let Err(stop) = look() {
                        task.abort();
                        return Err(stop);
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let panicked = Error::new(Code::Internal, "the call panicked");
                    return Err(panicked.into());
                }
            }
        }
    }

    /// As [`Runtime::wait`], for nobody who could be interrupted; gives up after `limit`.
    ///
    /// # Errors
    /// [`Code::Timeout`], and as [`Runtime::wait`].
    pub fn wait_for<T: Send + 'static>(
        &self,
        limit: Duration,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let end = Instant::now() + limit;
        self.wait(future, || match Instant::now() < end {
            true => Ok(()),
            false => Err(Error::new(Code::Timeout, format!("not done in {limit:?}"))),
        })
    }
}

fn made_by(pid: u32) -> Error {
    let text = format!(
        "this was made by process {pid} and this one was forked from it; make a client in each process"
    );
    Error::new(Code::Forked, text)
}

/// A thing of the process that made it. Dropped in a forked child it is forgotten instead: its drop could
/// wait for a thread or a lock that the child does not have.
#[derive(Debug)]
pub struct Parents<T> {
    value: Option<T>,
    pid: u32,
}

impl<T> Parents<T> {
    /// Of this process.
    pub fn new(value: T) -> Parents<T> {
        Parents {
            value: Some(value),
            pid: std::process::id(),
        }
    }

    /// Whether this process made it.
    pub fn is_ours(&self) -> bool {
        self.pid == std::process::id()
    }

    /// As [`Runtime::check`], for what is used past the runtime.
    ///
    /// # Errors
    /// [`Code::Forked`] in a child.
    pub fn check(&self) -> Result<()> {
        match self.is_ours() {
            true => Ok(()),
            false => Err(made_by(self.pid)),
        }
    }

    /// The thing.
    ///
    /// # Panics
    /// Never: it is only taken by the drop.
    pub fn get(&self) -> &T {
        self.value.as_ref().expect("it is there until the drop")
    }
}

impl<T> std::ops::Deref for Parents<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.get()
    }
}

impl<T> Drop for Parents<T> {
    fn drop(&mut self) {
        if !self.is_ours() {
            std::mem::forget(self.value.take());
        }
    }
}

/// To be called in a child right after a fork: gives up what must not stay open in it.
pub fn after_fork_in_child() {
    posthouse::lock::close_in_child();
}
