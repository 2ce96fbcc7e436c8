//! What Rust says of itself, on its way to Python's `logging`. No thread is made for it: threads that come by here
//! anyway take the lines, and an event loop is woken for them. `posthouse._log` hands them to loggers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, TryLockError, Weak};
use std::time::{Instant, UNIX_EPOCH};

use ffi::{Journal, Level, Wake};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use crate::pump::Waker;

/// Made by the first client or server, for as long as the process lives.
static JOURNAL: OnceLock<Arc<Journal>> = OnceLock::new();

/// Event loops.
static LOOPS: Mutex<Vec<Weak<Waker>>> = Mutex::new(Vec::new());

/// Wakes all event loops that there are: whichever comes first takes the lines.
struct AnyLoop;

impl Wake for AnyLoop {
    fn wake(&self) {
        // Never waits: in a child that was forked at the wrong moment, nobody gives the lock back. Who has it
        // just now looks by itself.
        let loops = LOOPS.try_lock().map(|loops| loops.clone());
        for waker in loops.iter().flatten().filter_map(Weak::upgrade) {
            waker.wake();
        }
    }
}

/// Has an event loop be woken for lines.
pub fn wakes(waker: &Arc<Waker>) {
    let mut loops = match LOOPS.try_lock() {
        Ok(loops) => loops,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        // It is without lines until it is awake for something else, and that is all.
        Err(TryLockError::WouldBlock) => return,
    };
    loops.retain(|known| known.strong_count() > 0);
    loops.push(Arc::downgrade(waker));
    drop(loops);
    if JOURNAL.get().is_some_and(|journal| journal.is_waiting()) {
        waker.wake();
    }
}

/// Before the first thing that may say something.
pub fn begin(py: Python<'_>) -> PyResult<()> {
    JOURNAL.get_or_init(|| Journal::new(Arc::new(AnyLoop)));
    hand_over(py)
}

/// Hands lines to the loggers if there are some; and ten times a second, if somebody comes by as often, looks what
/// the loggers want. It fails only with what the handler of a signal raises, so it comes before what must not be lost.
pub fn look(py: Python<'_>) -> PyResult<()> {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    static LOOKED: AtomicU64 = AtomicU64::new(0);
    let Some(journal) = JOURNAL.get() else {
        return Ok(());
    };
    let tick = BEGUN.elapsed().as_millis() as u64 / 100;
    if journal.is_waiting() || LOOKED.swap(tick, Ordering::Relaxed) != tick {
        return hand_over(py);
    }
    Ok(())
}

fn hand_over(py: Python<'_>) -> PyResult<()> {
    let done = py
        .import("posthouse._log")
        .and_then(|log| log.call_method0("look"))
        .and_then(|handed| handed.extract::<bool>());
    match done {
        // Who was woken for a line meanwhile found us at it, and went on.
        Ok(true) if JOURNAL.get().is_some_and(|journal| journal.is_waiting()) => AnyLoop.wake(),
        // A logger's failure is not the caller's, who sends or receives.
        Err(error) if error.is_instance_of::<PyException>(py) => error.write_unraisable(py, None),
        other => _ = other?,
    }
    Ok(())
}

/// In a child right after a fork: its parent tells these lines.
pub fn forget() {
    if let Some(journal) = JOURNAL.get() {
        journal.after_fork_in_child();
    }
}

/// What is wanted of each area: numbers of Python's `logging`, or more than `ERROR`'s for nothing.
#[pyfunction]
pub fn log_wanted(levels: [u8; ffi::AREAS.len()]) {
    let Some(journal) = JOURNAL.get() else {
        return;
    };
    journal.want(levels.map(|level| match level {
        ..=10 => Level::Debug,
        11..=20 => Level::Info,
        21..=30 => Level::Warn,
        31..=40 => Level::Error,
        _ => Level::Off,
    }));
}

/// A line as Python takes it: area, level, when, text, file and line of the source.
type Shown = (&'static str, u8, f64, String, &'static str, u32);

/// What there is to be told, and how many lines were lost because nobody came for them.
#[pyfunction]
pub fn log_lines() -> (Vec<Shown>, usize) {
    let Some(journal) = JOURNAL.get() else {
        return (Vec::new(), 0);
    };
    let (lines, lost) = journal.take();
    let shown = lines.iter().map(|line| {
        let level = match line.level {
            Level::Off | Level::Error => 40,
            Level::Warn => 30,
            Level::Info => 20,
            Level::Debug => 10,
        };
        let at = line.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (file, number) = line.place;
        let at = at.as_secs_f64();
        (line.area, level, at, line.text.clone(), file, number)
    });
    (shown.collect(), lost)
}
