//! Clients.

use std::collections::BTreeMap;
use std::sync::Arc;

use ffi::{Access, ClientOptions, Trust};
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::error::{Result, thrown};
use crate::port::{Calls, Port};
use crate::server::Server;
use crate::value::{Value, millis};

/// With what requests are signed.
#[napi(object, object_to_js = false)]
pub struct Signing {
    /// A user's name.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// The token of one that is only lent.
    pub security_token: Option<String>,
}

/// How connections are encrypted.
#[napi(object, object_to_js = false)]
pub struct Sealing {
    /// Whether they are.
    pub sealed: bool,
    /// Whether certificates are looked at.
    pub verified: bool,
    /// Who may have signed them (PEM); nothing: the system's authorities.
    pub ca: Option<Buffer>,
    /// The name that they are for; nothing: the server's address.
    pub name: Option<String>,
}

/// A client.
#[napi]
pub struct Client {
    calls: Calls,
    inner: Arc<ffi::Client>,
}

#[napi]
impl Client {
    /// A client of a server in the process.
    #[napi(factory)]
    pub fn inside(
        port: &Port,
        server: &Server,
        namespace: Option<String>,
        timeout_ms: f64,
        instance: Option<String>,
    ) -> Result<Client> {
        let options = ClientOptions {
            url: None,
            namespace,
            request_timeout: millis(timeout_ms),
            instance,
            ..ClientOptions::default()
        };
        let server = server.running().map_err(thrown)?;
        let inner = ffi::Client::inside(server, &options).map_err(thrown)?;
        Client::new(port, inner)
    }

    /// A client of what the URL or the environment names.
    #[napi(factory)]
    #[allow(clippy::too_many_arguments)] // the options of `connect`
    pub fn open(
        port: &Port,
        url: Option<String>,
        namespace: Option<String>,
        timeout_ms: f64,
        instance: Option<String>,
        access: Option<Signing>,
        tls: Option<Sealing>,
    ) -> Result<Client> {
        let tls = tls.map(|tls| {
            let pem = tls.ca.map(Into::into);
            Trust::of(tls.sealed, tls.verified, pem, tls.name)
        });
        let options = ClientOptions {
            url,
            namespace,
            request_timeout: millis(timeout_ms),
            instance,
            access: access.map(|access| Access {
                key: access.access_key,
                secret: access.secret_key,
                token: access.security_token,
            }),
            tls: tls.transpose().map_err(thrown)?,
        };
        let inner = ffi::Client::open(&options).map_err(thrown)?;
        Client::new(port, inner)
    }

    /// What it has done and what it holds, by name.
    #[napi]
    pub fn metrics(&self) -> Result<BTreeMap<String, f64>> {
        let metrics = self.inner.metrics().map_err(thrown)?.into_iter();
        Ok(metrics
            .map(|(name, value)| (name.to_owned(), value as f64))
            .collect())
    }

    /// Takes leave.
    #[napi]
    pub fn close(&self, call: u32, limit: f64) {
        let inner = self.inner.clone();
        self.calls.block(call, move || {
            inner.close(millis(limit));
            Ok(Value::Nothing)
        });
    }
}

impl Client {
    fn new(port: &Port, inner: ffi::Client) -> Result<Client> {
        Ok(Client {
            calls: port.calls().map_err(thrown)?,
            inner: Arc::new(inner),
        })
    }

    /// The client.
    pub fn inner(&self) -> &Arc<ffi::Client> {
        &self.inner
    }

    /// Where the outcomes of its calls go.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }
}
