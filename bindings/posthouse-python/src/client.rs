//! A client.

use std::sync::Arc;
use std::time::Duration;

use ffi::{Access, ClientOptions, Trust};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::raised;
use crate::journal;
use crate::server::Server;

/// Access key, secret key, and the token of keys that are only lent.
type Keys = (String, String, Option<String>);

/// Whether connections are encrypted at all, the authorities, the name that certificates are for, and whether they
/// are looked at.
type Sealing = (bool, Option<Vec<u8>>, Option<String>, bool);

/// A client.
#[pyclass(frozen, module = "posthouse._native")]
pub struct Client {
    pub client: Arc<ffi::Client>,
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (url=None, *, server=None, namespace=None, request_timeout=3.0, instance=None, access=None, tls=None))]
    #[allow(clippy::too_many_arguments)] // Python's keywords
    fn new(
        py: Python<'_>,
        url: Option<String>,
        server: Option<&Bound<'_, Server>>,
        namespace: Option<String>,
        request_timeout: f64,
        instance: Option<String>,
        access: Option<Keys>,
        tls: Option<Sealing>,
    ) -> PyResult<Client> {
        journal::begin(py)?;
        let tls = tls.map(|(sealed, pem, name, verified)| Trust::of(sealed, verified, pem, name));
        let options = ClientOptions {
            url,
            namespace,
            request_timeout: Duration::try_from_secs_f64(request_timeout).unwrap_or_default(),
            instance,
            access: access.map(|(key, secret, token)| Access { key, secret, token }),
            tls: tls.transpose().map_err(|error| raised(py, &error))?,
        };
        let server = server.map(|server| server.get().server.clone());
        let opened = py.detach(|| match server {
            Some(server) => ffi::Client::inside(server, &options),
            None => ffi::Client::open(&options),
        });
        let client = opened.map_err(|error| raised(py, &error))?;
        Ok(Client {
            client: Arc::new(client),
        })
    }

    /// Raises if it was closed, or made before a fork.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        let checked = self.client.get().map(drop);
        checked.map_err(|error| raised(py, &error))
    }

    #[getter]
    fn id(&self, py: Python<'_>) -> PyResult<String> {
        let client = self.client.get().map_err(|error| raised(py, &error))?;
        Ok(client.id().to_owned())
    }

    /// What it has done and what it holds, by name.
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let metrics = self.client.metrics().map_err(|error| raised(py, &error))?;
        let shown = PyDict::new(py);
        for (name, value) in metrics {
            shown.set_item(name, value as f64)?;
        }
        Ok(shown)
    }

    fn close(&self, py: Python<'_>, limit: f64) -> PyResult<()> {
        let limit = Duration::try_from_secs_f64(limit).unwrap_or_default();
        py.detach(|| self.client.close(limit));
        journal::look(py)
    }
}
