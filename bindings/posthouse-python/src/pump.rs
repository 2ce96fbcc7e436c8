//! Results on their way to Python: Rust puts them in and writes one byte, Python's own thread takes them.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ffi::{Done, Inbox, Wake};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::call::Later;
use crate::error;
use crate::journal;
use crate::received::SendResult;

/// A result, under the id by which Python knows it.
pub enum Event {
    Sent(Done),
    Called(u64, Later),
}

impl From<Done> for Event {
    fn from(done: Done) -> Event {
        Event::Sent(done)
    }
}

/// Wakes an event loop: a byte to the socket that it watches.
pub struct Waker {
    ours: UnixStream,
    wakeups: AtomicU64,
}

impl Wake for Waker {
    fn wake(&self) {
        self.wakeups.fetch_add(1, Ordering::Relaxed);
        // A full socket has bytes enough to wake somebody; a closed one has nobody to wake.
        let _ = (&self.ours).write(&[1]);
    }
}

/// The results for one event loop, or for one thread.
#[pyclass(frozen, module = "posthouse._native")]
pub struct Pump {
    inbox: Arc<Inbox<Event>>,
    waker: Arc<Waker>,
    theirs: UnixStream,
    /// The process that it was made in.
    pid: u32,
}

impl Pump {
    pub fn inbox(&self) -> Arc<Inbox<Event>> {
        self.inbox.clone()
    }

    pub fn waker(&self) -> Arc<Waker> {
        self.waker.clone()
    }
}

#[pymethods]
impl Pump {
    #[new]
    fn new() -> PyResult<Pump> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        let waker = Arc::new(Waker {
            ours,
            wakeups: AtomicU64::new(0),
        });
        journal::wakes(&waker);
        Ok(Pump {
            inbox: Arc::new(Inbox::waking(waker.clone())),
            waker,
            theirs,
            pid: std::process::id(),
        })
    }

    /// What the event loop watches for reading.
    fn fileno(&self) -> i32 {
        self.theirs.as_raw_fd()
    }

    /// How often the event loop was woken.
    #[getter]
    fn wakeups(&self) -> u64 {
        self.waker.wakeups.load(Ordering::Relaxed)
    }

    /// What has come. First the results of sends, many at once: the number of their producer, their ids, and the
    /// results. Then pairs of id and result of everything else, a result being an exception if the call, or the
    /// send, failed.
    fn drain<'py>(&self, py: Python<'py>) -> PyResult<(Vec<Sent>, Bound<'py, PyList>)> {
        let mut bytes = [0_u8; 64];
        loop {
            match (&self.theirs).read(&mut bytes) {
                Ok(64) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        // Behind that: a line that comes from here on writes a byte that is read the next time. If a signal's handler raises
        // meanwhile, what is here is not lost, and the loop is to come again for it.
        if let Err(raised) = journal::look(py) {
            self.waker.wake();
            return Err(raised);
        }
        let mut all: Vec<Sent> = Vec::new();
        let mut others = Vec::new();
        for event in self.inbox.drain() {
            let (id, sent) = match event {
                Event::Sent((id, Ok(sent))) => (id, Py::new(py, SendResult::from(sent))?),
                other => {
                    others.push(other);
                    continue;
                }
            };
            let producer = id >> SHIFT;
            match all.last_mut() {
                Some((last, ids, results)) if *last == producer => {
                    ids.push(id);
                    results.push(sent);
                }
                _ => all.push((producer, vec![id], vec![sent])),
            }
        }
        Ok((all, shown(py, others)?))
    }

    /// The same, for a thread: waits for the first result, at most so long.
    fn wait<'py>(&self, py: Python<'py>, limit: f64) -> PyResult<Bound<'py, PyList>> {
        let limit = Duration::try_from_secs_f64(limit).unwrap_or_default();
        journal::look(py)?;
        let events = py.detach(|| self.inbox.wait(1024, limit));
        shown(py, events)
    }

    /// Ends every wait; what is there, and what still comes, can be taken. Nothing waits in a forked child, where nobody gives
    /// back a lock that was taken when it was forked.
    fn close(&self) {
        if self.pid == std::process::id() {
            self.inbox.close();
        }
    }
}

/// Results of sends: their producer's number, their ids, and they.
type Sent = (u64, Vec<u64>, Vec<Py<SendResult>>);

/// The ids of a producer's sends begin at its number, moved so far; `_aio.py` has the same.
const SHIFT: u32 = 40;

fn shown<'py>(
    py: Python<'py>,
    events: impl IntoIterator<Item = Event>,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for event in events {
        let (id, outcome) = match event {
            Event::Sent((id, result)) => (id, sent(py, result)?),
            Event::Called(id, later) => {
                let failed = |error: PyErr| error.into_value(py).into_any();
                (id, later(py).unwrap_or_else(failed))
            }
        };
        list.append(PyTuple::new(
            py,
            [id.into_pyobject(py)?.into_any(), outcome.into_bound(py)],
        )?)?;
    }
    Ok(list)
}

/// What became of a send, or the exception that says why nothing did.
pub fn sent(py: Python<'_>, result: ffi::Result<posthouse_client::Sent>) -> PyResult<Py<PyAny>> {
    match result {
        Ok(sent) => Ok(Py::new(py, SendResult::from(sent))?.into_any()),
        Err(failed) => error::exception(py, &failed),
    }
}
