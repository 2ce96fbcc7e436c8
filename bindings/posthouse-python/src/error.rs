//! Errors become the Python classes of `posthouse._errors`, chosen there by code.

use ffi::{Code, Error};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The Python exception of an error, as an object.
pub fn exception(py: Python<'_>, error: &Error) -> PyResult<Py<PyAny>> {
    let make = MAKE.get_or_try_init(py, || {
        let module = py.import("posthouse._errors")?;
        module.getattr("_make").map(Bound::unbind)
    })?;
    let facts = (
        error.code.as_str(),
        &error.message,
        error.response_code,
        error.retryable,
        error.topic.as_deref(),
        error.broker.as_deref(),
    );
    make.call1(py, facts)
}

/// The error to raise.
pub fn raised(py: Python<'_>, error: &Error) -> PyErr {
    match exception(py, error) {
        Ok(exception) => PyErr::from_value(exception.into_bound(py)),
        Err(failed) => failed,
    }
}

/// A `ConfigError`.
pub fn config(py: Python<'_>, message: impl Into<String>) -> PyErr {
    raised(py, &Error::new(Code::Config, message))
}

/// Why a blocking call ended early: an error of ours, or one that a signal handler raised.
pub enum Stop {
    Ours(Error),
    Python(PyErr),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Ours(error)
    }
}

impl Stop {
    pub fn raised(self, py: Python<'_>) -> PyErr {
        match self {
            Stop::Ours(error) => raised(py, &error),
            Stop::Python(error) => error,
        }
    }
}
