//! The server in the process.

use std::sync::{Arc, Mutex, PoisonError};

use ffi::EmbeddedOptions;
use napi_derive::napi;
use serde_json::json;

use crate::error::{Result, thrown};
use crate::port::{Calls, Port};
use crate::value::{Value, millis};

/// How it is started.
#[napi(object)]
pub struct Embedded {
    /// Its folder; nothing: in memory.
    pub path: Option<String>,
    /// How much it keeps in memory, bytes.
    pub memory_bytes: Option<f64>,
    /// Where it listens.
    pub listen: Option<String>,
    /// Whether its clock is moved by hand.
    pub manual_clock: bool,
    /// Settings by RocketMQ's names, name and value in turn.
    pub settings: Vec<String>,
}

/// A server in the process.
#[napi]
pub struct Server {
    calls: Calls,
    inner: Arc<Mutex<Option<Arc<ffi::Server>>>>,
}

#[napi]
impl Server {
    /// Not started yet.
    #[napi(constructor)]
    pub fn new(port: &Port) -> Result<Server> {
        Ok(Server {
            calls: port.calls().map_err(thrown)?,
            inner: Arc::default(),
        })
    }

    /// Starts it; returns its address, or null.
    #[napi]
    pub fn start(&self, call: u32, options: Embedded) {
        let inner = self.inner.clone();
        let settings = options.settings.chunks_exact(2);
        let options = EmbeddedOptions {
            path: options.path.map(Into::into),
            memory_bytes: options.memory_bytes.map(|bytes| bytes as u64),
            listen: options.listen,
            manual_clock: options.manual_clock,
            settings: settings
                .map(|pair| (pair[0].clone(), pair[1].clone()))
                .collect(),
        };
        self.calls.block(call, move || {
            let server = ffi::Server::start(&options)?;
            let address = json!(server.namesrv_addr());
            *inner.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
            Ok(Value::Json(address))
        });
    }

    /// Moves its clock; returns how many messages became due.
    #[napi]
    pub fn advance(&self, call: u32, by: f64) {
        match self.running() {
            Err(error) => self.calls.refuse(call, error),
            Ok(server) => self.calls.block(call, move || {
                let due = server.advance(millis(by))?;
                Ok(Value::Json(json!(due)))
            }),
        }
    }

    /// Ends it.
    #[napi]
    pub fn close(&self, call: u32) {
        let inner = self.inner.clone();
        self.calls.block(call, move || {
            let server = inner.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(server) = server {
                server.close();
            }
            Ok(Value::Nothing)
        });
    }
}

impl Server {
    /// The server, if it runs.
    pub fn running(&self) -> ffi::Result<Arc<ffi::Server>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clone().ok_or_else(|| ffi::Error::closed("server"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The garbage collector must not wait for a server's end.
        let server = self
            .inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(server) = server {
            let end = std::thread::Builder::new().spawn(move || drop(server));
            drop(end);
        }
    }
}
