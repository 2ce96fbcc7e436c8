//! A client: where it connects, and what keeps the server in the process alive for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use posthouse_client::Config;

use crate::error::{Code, Error, Result};
use crate::runtime::{Parents, Runtime};
use crate::server::{EmbeddedOptions, Server};
use crate::target::Target;

/// How a client is made.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Where to; see [`Target::resolve`].
    pub url: Option<String>,
    /// How long a request may take that says nothing else.
    pub request_timeout: Duration,
    /// The second half of its id; `None`: a text that no other client has.
    pub instance: Option<String>,
}

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            url: None,
            request_timeout: Duration::from_secs(3),
            instance: None,
        }
    }
}

/// A client.
pub struct Client {
    runtime: Arc<Runtime>,
    inner: Parents<posthouse_client::Client>,
    /// Kept alive, if it is in this process.
    server: Mutex<Option<Arc<Server>>>,
    closed: AtomicBool,
}

impl Client {
    /// A client of what the URL or the environment names. Nothing is connected before it is needed, but
    /// `embedded:` starts a server.
    ///
    /// # Errors
    /// [`Code::Config`], naming what is wrong; [`Code::Unsupported`].
    pub fn open(options: &ClientOptions) -> Result<Client> {
        match Target::resolve(options.url.as_deref())? {
            Target::Embedded(None) => {
                let server = Server::start(&EmbeddedOptions::default())?;
                Client::inside(server, options)
            }
            Target::Embedded(Some(path)) => Client::inside(Server::shared(&path)?, options),
            Target::Remote {
                servers,
                credentials: None,
                namespace: None,
                tls: false,
            } => Client::new(Config::new(&servers.join(";")), None, options),
            Target::Remote { tls, namespace, .. } => {
                let what = match (tls, namespace) {
                    (true, _) => "tls",
                    (_, Some(_)) => "a namespace",
                    _ => "an access key",
                };
                let text = format!("this client does not support {what} yet");
                Err(Error::new(Code::Unsupported, text))
            }
        }
    }

    /// A client of a server in this process.
    ///
    /// # Errors
    /// [`Code::Forked`] for a server of the parent's; if the system gives no thread.
    pub fn inside(server: Arc<Server>, options: &ClientOptions) -> Result<Client> {
        server.check()?;
        let config = Config::new(&server.name_server()).transport(server.transport());
        Client::new(config, Some(server), options)
    }

    fn new(config: Config, server: Option<Arc<Server>>, options: &ClientOptions) -> Result<Client> {
        let runtime = Runtime::get()?;
        let config = Config {
            timeout: options.request_timeout,
            instance: options.instance.clone(),
            ..config
        };
        let inner = runtime.enter(|| posthouse_client::Client::new(config));
        Ok(Client {
            runtime,
            inner: Parents::new(inner),
            server: Mutex::new(server),
            closed: AtomicBool::new(false),
        })
    }

    /// The runtime that it works on.
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// The client itself.
    ///
    /// # Errors
    /// [`Code::Closed`], [`Code::Forked`].
    pub fn get(&self) -> Result<&posthouse_client::Client> {
        self.runtime.check()?;
        match self.is_closed() {
            true => Err(Error::closed("client")),
            false => Ok(self.inner.get()),
        }
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Takes leave of the brokers; a private server in this process ends with its client. A second time,
    /// and in a forked child, it does nothing.
    pub fn close(&self, limit: Duration) {
        if self.runtime.is_parents() || self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let client = self.inner.get().clone();
        let left = async move { client.shutdown().await };
        // Whoever does not answer in time learns of it when the connection is gone.
        let _ = self.runtime.wait_for(limit, left);
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        drop(server.take());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Never waits: a garbage collector may be who drops it.
        if !self.runtime.is_parents() && !self.closed.swap(true, Ordering::AcqRel) {
            let client = self.inner.get().clone();
            let server = {
                let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
                server.take()
            };
            let left = async move {
                client.shutdown().await;
                // The end of a server waits for its loops: not on the runtime's thread.
                let _ = tokio::task::spawn_blocking(move || drop(server)).await;
            };
            drop(self.runtime.spawn(left));
        }
    }
}
