//! How Rust reaches an environment (the main thread's, or a worker's): one weak thread-safe function that
//! carries nothing, and what is ready to be taken.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::UNIX_EPOCH;

use ffi::{Inbox, Journal, Level, Runtime, Wake};
use napi::bindgen_prelude::{Function, Uint32Array};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;

use crate::error::Failure;
use crate::frames::Frame;
use crate::value::Value;

/// Weak: it keeps no process alive. One call at most waits in it.
type Waker = ThreadsafeFunction<(), (), (), napi::Status, false, true, 1>;

/// What an environment's objects share.
pub struct Ring {
    waker: Waker,
    /// Who has something to be taken.
    rung: Mutex<Vec<u32>>,
    wakeups: AtomicU64,
}

impl Ring {
    fn ring(&self, bell: u32) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let first = rung.is_empty();
        rung.push(bell);
        drop(rung);
        if first {
            self.wakeups.fetch_add(1, Ordering::Relaxed);
            // An environment that is ending answers with an error: then nobody is left to be told.
            self.waker.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}

/// Rings for one object.
struct Bell {
    ring: Arc<Ring>,
    number: u32,
}

impl Wake for Bell {
    fn wake(&self) {
        self.ring.ring(self.number);
    }
}

/// What became of a call.
pub struct Ended {
    call: u32,
    result: ffi::Result<Value>,
}

/// What became of a call, for JavaScript.
#[napi(object, object_from_js = false)]
pub struct Outcome {
    /// The call's number.
    pub call: u32,
    /// What went wrong, if something did.
    pub failure: Option<Failure>,
    /// What came, as JSON.
    pub text: Option<String>,
    /// Messages that came.
    pub frame: Option<Frame>,
}

/// What Rust says of itself, for JavaScript.
#[napi(object, object_from_js = false)]
pub struct LogLine {
    /// `error`, `warn`, `info` or `debug`.
    pub level: &'static str,
    /// What it is about.
    pub area: &'static str,
    /// What it says.
    pub message: String,
    /// When it was said, in milliseconds since 1970.
    pub at: f64,
}

/// Lines that have come.
#[napi(object, object_from_js = false)]
pub struct LogLines {
    /// They.
    pub lines: Vec<LogLine>,
    /// How many were lost because nobody came for them.
    pub lost: u32,
}

/// The door of an environment.
#[napi]
pub struct Port {
    ring: Arc<Ring>,
    ended: Arc<Inbox<Ended>>,
    /// Made when lines are first wanted.
    journal: OnceLock<Arc<Journal>>,
}

/// The bell of the port itself.
const OWN: u32 = 0;

#[napi]
impl Port {
    /// `wake` is called, without arguments, when there is something to be taken.
    #[napi(constructor)]
    pub fn new(wake: Function<'_, (), ()>) -> napi::Result<Port> {
        let waker = wake
            .build_threadsafe_function::<()>()
            .weak::<true>()
            .max_queue_size::<1>()
            .callee_handled::<false>()
            .build()?;
        let ring = Arc::new(Ring {
            waker,
            rung: Mutex::default(),
            wakeups: AtomicU64::new(0),
        });
        let bell = Bell {
            ring: ring.clone(),
            number: OWN,
        };
        let ended = Arc::new(Inbox::waking(Arc::new(bell)));
        Ok(Port {
            ring,
            ended,
            journal: OnceLock::new(),
        })
    }

    /// Wants lines of this level and of graver ones: 0 none, 1 errors, 2 warnings, 3 what happened, 4 all. `bell`
    /// rings when there are some.
    #[napi]
    pub fn want_lines(&self, bell: u32, level: u32) {
        let journal = self.journal.get_or_init(|| Journal::new(self.bell(bell)));
        let level = match level {
            0 => Level::Off,
            1 => Level::Error,
            2 => Level::Warn,
            3 => Level::Info,
            _ => Level::Debug,
        };
        journal.want([level; ffi::AREAS.len()]);
    }

    /// Lines that have come.
    #[napi]
    pub fn lines(&self) -> LogLines {
        let (lines, lost) = self
            .journal
            .get()
            .map(|journal| journal.take())
            .unwrap_or_default();
        let shown = lines.iter().map(|line| LogLine {
            level: match line.level {
                Level::Off | Level::Error => "error",
                Level::Warn => "warn",
                Level::Info => "info",
                Level::Debug => "debug",
            },
            area: line.area,
            message: line.text.clone(),
            at: line
                .at
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_millis() as f64,
        });
        LogLines {
            lines: shown.collect(),
            lost: u32::try_from(lost).unwrap_or(u32::MAX),
        }
    }

    /// The bells that rang since it was last asked; 0 is for outcomes.
    #[napi]
    pub fn rung(&self) -> Uint32Array {
        let mut rung = self
            .ring
            .rung
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *rung).into()
    }

    /// How often it was woken.
    #[napi]
    pub fn wakeups(&self) -> f64 {
        self.ring.wakeups.load(Ordering::Relaxed) as f64
    }

    /// What became of calls.
    #[napi]
    pub fn outcomes(&self) -> Vec<Outcome> {
        let ended = self.ended.drain().into_iter();
        ended
            .map(|Ended { call, result }| {
                let mut outcome = Outcome {
                    call,
                    failure: None,
                    text: None,
                    frame: None,
                };
                match result {
                    Ok(Value::Nothing) => {}
                    Ok(Value::Json(text)) => outcome.text = Some(text.to_string()),
                    Ok(Value::Messages(frame)) => outcome.frame = Some(frame.into()),
                    Err(error) => outcome.failure = Some(error.into()),
                }
                outcome
            })
            .collect()
    }
}

/// Where the outcomes of an object's calls go. It belongs to no thread.
#[derive(Clone)]
pub struct Calls {
    ended: Arc<Inbox<Ended>>,
    runtime: Arc<Runtime>,
}

impl Port {
    /// A bell with this number.
    pub fn bell(&self, number: u32) -> Arc<dyn Wake> {
        Arc::new(Bell {
            ring: self.ring.clone(),
            number,
        })
    }

    /// For the calls of an object.
    pub fn calls(&self) -> ffi::Result<Calls> {
        Ok(Calls {
            ended: self.ended.clone(),
            runtime: Runtime::get()?,
        })
    }
}

impl Calls {
    /// Runs something on the runtime.
    pub fn start<E: Into<ffi::Error>>(
        &self,
        call: u32,
        work: impl Future<Output = Result<Value, E>> + Send + 'static,
    ) {
        let work = async { work.await.map_err(Into::into) };
        let task = self.runtime.spawn(work);
        self.await_end(call, task);
    }

    /// Runs something that may block, on a thread of its own.
    pub fn block(&self, call: u32, work: impl FnOnce() -> ffi::Result<Value> + Send + 'static) {
        let task = self.runtime.enter(|| tokio::task::spawn_blocking(work));
        self.await_end(call, task);
    }

    /// The outcome of something that could not be started.
    pub fn refuse(&self, call: u32, error: impl Into<ffi::Error>) {
        self.ended.push([Ended {
            call,
            result: Err(error.into()),
        }]);
    }

    fn await_end(&self, call: u32, task: tokio::task::JoinHandle<ffi::Result<Value>>) {
        let ended = self.ended.clone();
        let end = async move {
            let result = task.await.unwrap_or_else(|stopped| {
                // A promise must not wait forever, whatever went wrong here.
                Err(ffi::Error::new(ffi::Code::Internal, stopped.to_string()))
            });
            ended.push([Ended { call, result }]);
        };
        drop(self.runtime.spawn(end));
    }
}
