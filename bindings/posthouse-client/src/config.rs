//! What a client is told: where the name servers are, and how long things may take.

use std::sync::Arc;
use std::time::Duration;

use remoting::server::{Hub, Service};
use remoting::{Credentials, Tls};

use crate::namespace::Namespace;
use crate::observer::Observer;

/// Settings of a [`crate::Client`].
///
/// ```
/// let config = posthouse_client::Config::new("10.0.0.1:9876;10.0.0.2:9876");
/// assert_eq!(config.name_servers.len(), 2);
/// ```
#[derive(Clone)]
pub struct Config {
    /// `host:port` of each name server. One is asked until it fails, then the next.
    pub name_servers: Vec<String>,
    /// How servers are reached.
    pub transport: Transport,
    /// The second half of the client's id; unset, a text that no other client has.
    pub instance: Option<String>,
    /// The part of the cluster whose topics and groups are meant: every name is short for one with it. [`crate::Admin`]
    /// alone says names in full. Unset, all names are as they are.
    pub namespace: Option<Namespace>,
    /// TLS to every server that is reached over TCP; unset, none.
    pub tls: Option<Tls>,
    /// Whose requests they are, for servers that want to know; unset, nobody's. Requests of one that has
    /// credentials are put together twice, so that they can be signed.
    pub credentials: Option<Credentials>,
    /// Who is told what is sent and consumed.
    pub observer: Option<Arc<dyn Observer>>,
    /// How long a request may take that says nothing else.
    pub timeout: Duration,
    /// How often routes are asked for again.
    pub route_period: Duration,
    /// How often brokers hear from producers and consumers.
    pub heartbeat_period: Duration,
}

impl Config {
    /// The defaults of Apache's clients. Addresses are separated by `;` or `,`.
    pub fn new(name_servers: &str) -> Config {
        let addresses = name_servers.split([';', ',']).map(str::trim);
        let addresses = addresses.filter(|address| !address.is_empty());
        Config {
            name_servers: addresses.map(str::to_owned).collect(),
            transport: Transport::Tcp,
            instance: None,
            namespace: None,
            tls: None,
            credentials: None,
            observer: None,
            timeout: Duration::from_secs(3),
            route_period: Duration::from_secs(30),
            heartbeat_period: Duration::from_secs(30),
        }
    }

    /// Means topics and groups of this part of the cluster.
    ///
    /// ```
    /// use posthouse_client::{Config, Namespace};
    ///
    /// let config = Config::new("10.0.0.1:9876").namespace(Namespace::parse("eu").unwrap());
    /// ```
    pub fn namespace(mut self, namespace: Namespace) -> Config {
        self.namespace = Some(namespace);
        self
    }

    /// Reaches servers over TLS.
    ///
    /// ```no_run
    /// use posthouse_client::{Config, Credentials, Tls};
    ///
    /// let authorities = std::fs::read("ca.pem").unwrap();
    /// let config = Config::new("mq.example:9876")
    ///     .tls(Tls::trusting(&authorities, None)?.named("mq.example")?)
    ///     .credentials(Credentials::new("shop", "its secret"));
    /// # Ok::<(), posthouse_client::TlsError>(())
    /// ```
    pub fn tls(mut self, tls: Tls) -> Config {
        self.tls = Some(tls);
        self
    }

    /// Signs every request.
    pub fn credentials(mut self, credentials: Credentials) -> Config {
        self.credentials = Some(credentials);
        self
    }

    /// Tells somebody what is sent and consumed.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Config {
        self.observer = Some(observer);
        self
    }

    /// Reaches servers another way.
    pub fn transport(mut self, transport: Transport) -> Config {
        self.transport = transport;
        self
    }
}

/// How servers are reached.
#[derive(Clone, Default)]
pub enum Transport {
    /// Over TCP.
    #[default]
    Tcp,
    /// By plain calls for servers of this process; over TCP for all others.
    Local(Vec<Entrance>),
}

/// A server of this process, and the address that routes call it by.
#[derive(Clone)]
pub struct Entrance {
    /// `ip:port`, as in routes.
    pub address: String,
    /// The server's mailboxes.
    pub hub: Arc<Hub>,
    /// What is called.
    pub service: Arc<dyn Service>,
}

impl std::fmt::Debug for Entrance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} inside this process", self.address)
    }
}
