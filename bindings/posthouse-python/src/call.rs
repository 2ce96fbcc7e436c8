//! Calls that wait: blocking, or for asyncio.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ffi::{Error, Runtime};
use pyo3::prelude::*;

use crate::error::Stop;
use crate::journal;
use crate::pump::{Event, Pump};

/// How long a blocking wait outside the runtime goes on before signals are looked for.
pub const SLICE: Duration = Duration::from_millis(100);

/// A call's result on its way to Python.
pub type Later = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

/// Where a result goes: to the caller, who waits, or to a pump under an id.
pub type To<'py> = (Option<&'py Bound<'py, Pump>>, u64);

/// Runs a future on the runtime. Without a pump, waits for it and returns what it gives; with one, returns
/// `None` at once.
pub fn call<T: Send + 'static>(
    py: Python<'_>,
    runtime: &Arc<Runtime>,
    to: To<'_>,
    future: impl Future<Output = Result<T, Error>> + Send + 'static,
    show: fn(Python<'_>, T) -> PyResult<Py<PyAny>>,
) -> PyResult<Py<PyAny>> {
    let (Some(pump), id) = to else {
        journal::look(py)?;
        let result = py.detach(|| runtime.wait(future, signals).and_then(|done| Ok(done?)));
        return match result {
            Ok(value) => show(py, value),
            Err(stop) => Err(stop.raised(py)),
        };
    };
    runtime
        .check()
        .map_err(|error| crate::error::raised(py, &error))?;
    let inbox = pump.get().inbox();
    drop(runtime.spawn(async move {
        let result = future.await;
        let later: Later = Box::new(move |py| match result {
            Ok(value) => show(py, value),
            Err(error) => Err(crate::error::raised(py, &error)),
        });
        inbox.push([Event::Called(id, later)]);
    }));
    Ok(py.None())
}

/// Lets Python's signal handlers run, if this is the main thread, and its loggers have what there is for them.
pub fn signals() -> Result<(), Stop> {
    let look = |py: Python<'_>| {
        journal::look(py)?;
        py.check_signals()
    };
    match Python::try_attach(look) {
        Some(looked) => looked.map_err(Stop::Python),
        // The interpreter is gone, and the process goes with it. A thread that came back to it now would be
        // ended in the middle of our frames.
        None => loop {
            std::thread::park();
        },
    }
}

/// Waits in slices until `look` finds something or the time is over, looking for signals in between.
pub fn slices<T: Send>(
    py: Python<'_>,
    limit: Option<Duration>,
    look: impl Fn(Duration) -> Option<T> + Send + Sync,
) -> PyResult<Option<T>> {
    journal::look(py)?;
    let end = limit.and_then(|limit| Instant::now().checked_add(limit));
    let waiting = || loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let slice = left.map_or(SLICE, |left| left.min(SLICE));
        let found = look(slice);
        if found.is_some() || left.is_some_and(|left| left <= slice) {
            return Ok(found);
        }
        signals()?;
    };
    py.detach(waiting).map_err(|stop: Stop| stop.raised(py))
}

/// Shows nothing.
pub fn nothing(py: Python<'_>, _: ()) -> PyResult<Py<PyAny>> {
    Ok(py.None())
}
