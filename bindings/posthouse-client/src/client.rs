//! The client: connections, routes and the heartbeat, shared by all producers and consumers made from it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use remoting::body::{self, TopicRoute};
use remoting::{Answer, Command};
use tokio::task::JoinHandle;

use crate::admin::Admin;
use crate::asked;
use crate::channel::{Channel, Channels};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::ids::{self, Ids};
use crate::members::Members;
use crate::metrics::Counters;
use crate::name_servers::NameServers;
use crate::namespace::Names;
use crate::producer::{Producer, ProducerOptions};
use crate::route::{Ask, Broker, Route, Routes};
use crate::upkeep;

/// A client of one cluster. Cheap to clone; all clones are one client with one id, one connection to
/// each server and one cache of routes.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/example.rs")); }
/// # example::run(async |name_server| {
/// use posthouse_client::{Client, Config, Message};
///
/// let client = Client::new(Config::new(name_server));
/// let producer = client.producer("shop")?;
/// let sent = producer.send(Message::new("orders", "one parcel")).await?;
/// println!("{} went to queue {}", sent.id, sent.queue.id);
/// client.shutdown().await;
/// # Ok(())
/// # });
/// ```
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

/// What the clones share.
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) id: String,
    pub(crate) names: Names,
    pub(crate) ids: Ids,
    pub(crate) channels: Channels,
    pub(crate) servers: NameServers,
    pub(crate) routes: Routes,
    pub(crate) members: Members,
    /// Shared with what outlives the client.
    pub(crate) counters: Arc<Counters>,
    upkeep: Mutex<Option<JoinHandle<()>>>,
    closed: AtomicBool,
}

impl Client {
    /// A client. Nothing is connected before it is needed.
    pub fn new(config: Config) -> Client {
        let ip: IpAddr = ids::own_ip(config.name_servers.first().map(String::as_str));
        let inner = Arc::new_cyclic(|own: &Weak<Inner>| {
            let own = own.clone();
            let incoming = move |address: &Arc<str>| asked::incoming(own.clone(), address);
            Inner {
                id: ids::client_id(ip, config.instance.as_deref()),
                ids: Ids::new(ip),
                names: Names::of(config.namespace.clone()),
                channels: Channels::new(&config, incoming),
                servers: NameServers::new(config.name_servers.clone()),
                routes: Routes::default(),
                members: Members::default(),
                counters: Arc::default(),
                upkeep: Mutex::new(None),
                closed: AtomicBool::new(false),
                config,
            }
        });
        Client { inner }
    }

    /// The id that brokers know it by.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// How it names topics and groups.
    pub fn names(&self) -> &Names {
        &self.inner.names
    }

    /// A producer with the defaults of Apache's clients. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If no broker takes the group's name.
    pub fn producer(&self, group: &str) -> Result<Producer> {
        self.producer_with(group, ProducerOptions::default())
    }

    /// A producer. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If no broker takes the group's name.
    pub fn producer_with(&self, group: &str, options: ProducerOptions) -> Result<Producer> {
        self.keep_up()?;
        Producer::new(self.inner.clone(), group, options)
    }

    /// What operators do.
    pub fn admin(&self) -> Admin {
        Admin::new(self.inner.clone())
    }

    /// A topic's route, asked for now, as name servers answer it.
    ///
    /// # Errors
    /// [`Error::NoRoute`] if no name server knows the topic.
    pub async fn route(&self, topic: &str) -> Result<TopicRoute> {
        let inner = &self.inner;
        let ask = inner.ask();
        let topic = inner.names.full(topic);
        ask.servers.route(ask.channels, &topic, ask.limit).await
    }

    /// Takes leave of every broker and closes the connections. What producers and consumers made from
    /// this client try afterwards fails.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        if inner.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let task = inner.lock_upkeep().take();
        if let Some(task) = task {
            task.abort();
            let _ = task.await;
        }
        inner.members.stop().await;
        inner.leave_all().await;
        inner.channels.close().await;
    }

    /// Starts the task that asks for routes and sends heartbeats, unless it runs.
    pub(crate) fn keep_up(&self) -> Result<()> {
        self.inner.open()?;
        let mut task = self.inner.lock_upkeep();
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            *task = Some(tokio::spawn(upkeep::run(Arc::downgrade(&self.inner))));
        }
        Ok(())
    }
}

impl Inner {
    fn lock_upkeep(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails once the client was shut down.
    pub(crate) fn open(&self) -> Result<()> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(Error::Closed),
            false => Ok(()),
        }
    }

    pub(crate) fn ask(&self) -> Ask<'_> {
        Ask {
            servers: &self.servers,
            channels: &self.channels,
            limit: self.config.timeout,
        }
    }

    /// The route of a topic.
    pub(crate) async fn route(&self, topic: &str) -> Result<Arc<Route>> {
        self.routes.of(topic, &self.ask()).await
    }

    /// The way to the master of a broker set that holds this topic.
    pub(crate) async fn master_of(&self, topic: &str, broker: &str) -> Result<Arc<Channel>> {
        self.member_of(topic, broker, 0).await
    }

    /// The way to a member of a broker set that holds this topic; the master's, if there is no such
    /// member; any, if there is no master.
    pub(crate) async fn member_of(
        &self,
        topic: &str,
        broker: &str,
        id: i64,
    ) -> Result<Arc<Channel>> {
        let mut route = self.route(topic).await?;
        if route.broker(broker).is_none() {
            route = self.routes.refresh(topic, &self.ask()).await?;
        }
        let found = route.broker(broker);
        let address = found.and_then(|broker| broker.member(id).or(broker.any()));
        let address = address.ok_or_else(|| Error::UnknownBroker(broker.to_owned()))?;
        self.channels.to(address).await
    }

    /// Asks one server.
    pub(crate) async fn call(&self, address: &str, command: Command) -> Result<Answer> {
        let channel = self.channels.to(address).await?;
        channel.call(command, self.config.timeout).await
    }

    /// Every broker that a route names.
    pub(crate) fn brokers(&self) -> Vec<Broker> {
        self.routes.brokers()
    }

    /// The body of an answer, in either dialect of JSON.
    pub(crate) fn body<T: serde::de::DeserializeOwned>(
        channel: &Channel,
        answer: &Answer,
    ) -> Result<T> {
        let body = answer.read(|frame| body::from_slice(frame.body));
        let malformed = |what: String| Error::malformed(channel.address(), what);
        let body = body.map_err(|error| malformed(error.to_string()))?;
        body.map_err(|error| malformed(error.to_string()))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(task) = self.lock_upkeep().take() {
            task.abort();
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "client {}", self.inner.id)
    }
}

/// How long taking leave may take, a broker.
pub(crate) const LEAVE: Duration = Duration::from_secs(1);
