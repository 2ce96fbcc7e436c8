//! A client: where it connects, and what keeps the server in the process alive for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use posthouse_client::{Config, Credentials, Namespace, Tls};

use crate::error::{Code, Error, Result};
use crate::producer::Credit;
use crate::runtime::{Parents, Runtime};
use crate::server::{EmbeddedOptions, Server};
use crate::target::{Target, shown};

/// How a client is made.
#[derive(Clone)]
pub struct ClientOptions {
    /// Where to; see [`Target::resolve`].
    pub url: Option<String>,
    /// How long a request may take that says nothing else.
    pub request_timeout: Duration,
    /// The part of the cluster whose topics and groups it means; `None`: as the URL says, then as
    /// `POSTHOUSE_NAMESPACE` says, else none. For a server in this process that was given, none.
    pub namespace: Option<String>,
    /// The second half of its id; `None`: a text that no other client has.
    pub instance: Option<String>,
    /// Whose requests they are; `None`: as the URL says, else nobody's.
    pub access: Option<Access>,
    /// Whether connections are encrypted, and whom they trust; `None`: as the URL says, else they are not.
    pub tls: Option<Trust>,
}

impl std::fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientOptions")
            .field("url", &self.url.as_deref().map(shown))
            .field("namespace", &self.namespace)
            .field("request_timeout", &self.request_timeout)
            .field("instance", &self.instance)
            .field("access", &self.access)
            .field("tls", &self.tls)
            .finish()
    }
}

/// With what requests are signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    /// The access key: a user's name.
    pub key: String,
    /// Its secret.
    pub secret: String,
    /// The token of one that is only lent.
    pub token: Option<String>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither the secret nor the token: texts of options end in logs.
        f.debug_struct("Access")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Whom connections trust.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Connections are not encrypted.
    Plain,
    /// Who has a certificate that the system's authorities, or these (PEM), signed.
    Authorities {
        /// Text with certificates; `None`: the system's.
        pem: Option<Vec<u8>>,
        /// The name that certificates are for; `None`: the server's address.
        name: Option<String>,
    },
    /// Everybody: what is sent is sealed, but who reads it is not known.
    Anybody,
}

impl Trust {
    /// Of choices as languages have them: whether anything is sealed, whether certificates are looked at, and what
    /// [`Trust::Authorities`] holds.
    ///
    /// # Errors
    /// [`Code::Config`] for authorities or a name where nobody looks.
    pub fn of(
        sealed: bool,
        verified: bool,
        pem: Option<Vec<u8>>,
        name: Option<String>,
    ) -> Result<Trust> {
        match (sealed, verified) {
            (false, _) => Ok(Trust::Plain),
            (true, true) => Ok(Trust::Authorities { pem, name }),
            (true, false) if pem.is_none() && name.is_none() => Ok(Trust::Anybody),
            (true, false) => {
                let what = if pem.is_some() { "ca" } else { "name" };
                let text = format!("tls: {what} says whom to trust, and without verify all are");
                Err(Error::new(Code::Config, text))
            }
        }
    }
}

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            url: None,
            namespace: None,
            request_timeout: Duration::from_secs(3),
            instance: None,
            access: None,
            tls: None,
        }
    }
}

/// A client.
pub struct Client {
    runtime: Arc<Runtime>,
    inner: Parents<posthouse_client::Client>,
    /// Kept alive, if it is in this process.
    server: Mutex<Option<Arc<Server>>>,
    /// Of its producers, as long as there are.
    credits: Mutex<Vec<Weak<Credit>>>,
    closed: AtomicBool,
}

impl Client {
    /// A client of what the URL or the environment names. Nothing is connected before it is needed, but
    /// `embedded:` starts a server.
    ///
    /// # Errors
    /// [`Code::Config`], naming what is wrong; [`Code::Unsupported`].
    pub fn open(options: &ClientOptions) -> Result<Client> {
        let target = Target::resolve(options.url.as_deref())?;
        if let Target::Embedded(_) = &target {
            not_inside(options)?;
        }
        let of_environment = std::env::var("POSTHOUSE_NAMESPACE");
        let of_environment = of_environment.ok().filter(|name| !name.is_empty());
        let named = |of_url| (options.namespace.clone()).or(of_url).or(of_environment);
        match target {
            Target::Embedded(path) => {
                let options = ClientOptions {
                    namespace: named(None),
                    ..options.clone()
                };
                // Before a server is started for nothing.
                namespace(&options)?;
                let server = match path {
                    None => Server::start(&EmbeddedOptions::default())?,
                    Some(path) => Server::shared(&path)?,
                };
                Client::inside(server, &options)
            }
            Target::Remote {
                servers,
                credentials,
                tls,
                namespace,
            } => {
                let options = &ClientOptions {
                    namespace: named(namespace),
                    ..options.clone()
                };
                let mut config = Config::new(&servers.join(";"));
                if let Some(access) = options.access.clone().or(credentials) {
                    let credentials = Credentials::new(access.key, &access.secret);
                    config = config.credentials(match access.token {
                        Some(token) => credentials.token(token),
                        None => credentials,
                    });
                }
                let system = Trust::Authorities {
                    pem: None,
                    name: None,
                };
                if let Some(tls) = sealed(options.tls.as_ref().or(tls.then_some(&system)))? {
                    config = config.tls(tls);
                }
                Client::new(config, None, options)
            }
        }
    }

    /// A client of a server in this process.
    ///
    /// # Errors
    /// [`Code::Forked`] for a server of the parent's; [`Code::Config`] for what only a connection has; if the
    /// system gives no thread.
    pub fn inside(server: Arc<Server>, options: &ClientOptions) -> Result<Client> {
        server.check()?;
        not_inside(options)?;
        let config = Config::new(&server.name_server()).transport(server.transport());
        Client::new(config, Some(server), options)
    }

    fn new(config: Config, server: Option<Arc<Server>>, options: &ClientOptions) -> Result<Client> {
        let runtime = Runtime::get()?;
        let config = Config {
            timeout: options.request_timeout,
            instance: options.instance.clone(),
            namespace: namespace(options)?,
            ..config
        };
        let inner = runtime.enter(|| posthouse_client::Client::new(config));
        Ok(Client {
            runtime,
            inner: Parents::new(inner),
            server: Mutex::new(server),
            credits: Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// The runtime that it works on.
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// Whether its brokers are in this process.
    pub(crate) fn is_inside(&self) -> bool {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.is_some()
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

    /// What it has done and what it holds, by name; also after it was closed. The names are those of
    /// [`posthouse_client::Metrics::named`], and two for what producers may still send: `credits_free`, messages, and
    /// `credit_bytes_free`.
    ///
    /// # Errors
    /// [`Code::Forked`].
    pub fn metrics(&self) -> Result<Vec<(&'static str, u64)>> {
        self.runtime.check()?;
        let (mut messages, mut bytes) = (0, 0);
        for credit in self.lock_credits().iter().filter_map(Weak::upgrade) {
            let (some, size) = credit.free();
            messages += some as u64;
            bytes += size as u64;
        }
        let credits = [("credits_free", messages), ("credit_bytes_free", bytes)];
        let metrics = self.inner.get().metrics().named();
        Ok(metrics.into_iter().chain(credits).collect())
    }

    /// Counts what this is the credit of.
    pub(crate) fn count_credit(&self, credit: &Arc<Credit>) {
        let mut credits = self.lock_credits();
        credits.retain(|credit| credit.strong_count() > 0);
        credits.push(Arc::downgrade(credit));
    }

    fn lock_credits(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Credit>>> {
        self.credits.lock().unwrap_or_else(PoisonError::into_inner)
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

/// There is no connection to a server in this process: nothing to sign for and nothing to seal.
fn not_inside(options: &ClientOptions) -> Result<()> {
    let what = match (&options.access, &options.tls) {
        (Some(_), _) => "credentials",
        (None, Some(Trust::Authorities { .. } | Trust::Anybody)) => "tls",
        (None, None | Some(Trust::Plain)) => return Ok(()),
    };
    let text = format!("{what}: a server in this process is reached without a connection");
    Err(Error::new(Code::Config, text))
}

fn namespace(options: &ClientOptions) -> Result<Option<Namespace>> {
    let parse = |name: &String| {
        Namespace::parse(name)
            .map_err(|error| Error::new(Code::Config, format!("namespace {name:?}: {error}")))
    };
    options.namespace.as_ref().map(parse).transpose()
}

/// What a choice about TLS comes to.
fn sealed(trust: Option<&Trust>) -> Result<Option<Tls>> {
    let made = match trust {
        None | Some(Trust::Plain) => return Ok(None),
        Some(Trust::Anybody) => Tls::trusting_anybody(None),
        Some(Trust::Authorities { pem, name }) => {
            let pem = match pem {
                Some(pem) => pem.clone(),
                None => posthouse_client::system_authorities()
                    .map_err(|error| Error::new(Code::Config, error.to_string()))?,
            };
            let trusting = Tls::trusting(&pem, None);
            trusting.and_then(|tls| match name {
                Some(name) => tls.named(name),
                None => Ok(tls),
            })
        }
    };
    let tls = made.map_err(|error| Error::new(Code::Config, error.to_string()))?;
    Ok(Some(tls))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_to_trust_is_not_said_where_all_are_trusted() {
        let (pem, name) = (|| Some(b"PEM".to_vec()), || Some("broker".to_owned()));
        for (pem, name, what) in [(pem(), name(), "ca"), (None, name(), "name")] {
            let error = Trust::of(true, false, pem, name).unwrap_err();
            assert_eq!(error.code, Code::Config);
            assert!(error.message.contains(what), "{error}");
        }
        assert!(Trust::of(true, false, None, None).is_ok());
        assert!(Trust::of(true, true, pem(), name()).is_ok());
    }
}
