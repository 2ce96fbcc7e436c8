//! A name server and a broker in this process.

use std::path::PathBuf;
use std::sync::Arc;

use ffi::EmbeddedOptions;
use pyo3::prelude::*;

use crate::convert;
use crate::error::raised;
use crate::journal;

/// An embedded server.
#[pyclass(frozen, module = "posthouse._native")]
pub struct Server {
    pub server: Arc<ffi::Server>,
}

#[pymethods]
impl Server {
    #[new]
    #[pyo3(signature = (path=None, *, memory_bytes=None, listen=None, manual_clock=false, settings=Vec::new()))]
    fn new(
        py: Python<'_>,
        path: Option<PathBuf>,
        memory_bytes: Option<u64>,
        listen: Option<String>,
        manual_clock: bool,
        settings: Vec<(String, String)>,
    ) -> PyResult<Server> {
        journal::begin(py)?;
        let options = EmbeddedOptions {
            path,
            memory_bytes,
            listen,
            manual_clock,
            settings,
        };
        let started = py.detach(|| ffi::Server::start(&options));
        let server = started.map_err(|error| raised(py, &error))?;
        Ok(Server { server })
    }

    #[getter]
    fn namesrv_addr(&self) -> Option<&str> {
        self.server.namesrv_addr()
    }

    #[getter]
    fn path(&self) -> Option<PathBuf> {
        self.server.path().map(PathBuf::from)
    }

    fn advance(&self, py: Python<'_>, by: &Bound<'_, PyAny>) -> PyResult<usize> {
        let by = convert::seconds(by)?;
        journal::look(py)?;
        let moved = py.detach(|| self.server.advance(by));
        moved.map_err(|error| raised(py, &error))
    }

    /// Calls back every delayed message that waits.
    fn recall_all(&self, py: Python<'_>) -> PyResult<usize> {
        let recalled = py.detach(|| self.server.recall_all());
        recalled.map_err(|error| raised(py, &error))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.server.close());
        journal::look(py)
    }
}
