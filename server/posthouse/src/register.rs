//! The broker's side of registration: every name server knows our topics, and at once when they change.
//!
//! The broker calls [`Registrar`] before it answers whoever changed a topic. A name server of this
//! process is told in that call; those behind sockets are told by a task each, on one thread of their
//! own, so nothing here ever waits for a network. Each gets the whole table at the start, in every
//! period, and after any failure; between those a single changed topic alone, as Apache's brokers do
//! (a name server that forgot us refuses it, and gets the whole table). Several changes become one
//! whole table, at most one a second.

mod message;
mod remote;
mod route;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use broker::Registrar;
use model::TopicName;
use model::topic::{DataVersion, TopicConfig};
use namesrv::{LocalBroker, NameServer};
use tokio::sync::watch;

use remote::Remote;

/// Who a broker is to its name servers.
pub type Identity = LocalBroker;

/// Whose topics are registered.
pub trait Source: Send + Sync {
    /// All topics as they are registered, and the version of the table.
    fn registration(&self) -> (Vec<TopicConfig>, DataVersion);
    /// What a name server keeps as ordered topics.
    fn set_order_topics(&self, topics: &[String]);
}

impl Source for broker::Broker {
    fn registration(&self) -> (Vec<TopicConfig>, DataVersion) {
        let registration = broker::Broker::registration(self);
        (registration.topics, registration.version)
    }

    fn set_order_topics(&self, topics: &[String]) {
        broker::Broker::set_order_topics(self, topics);
    }
}

/// How often and how soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two whole tables without a change (`registerNameServerPeriod`).
    pub period: Duration,
    /// Between two whole tables at least.
    pub gap: Duration,
    /// Before the first retry; doubled up to `period` for each further one.
    pub retry: Duration,
    /// For one request.
    pub limit: Duration,
}

impl Timing {
    /// Apache's: the period is clamped to 10–60 s.
    pub fn with_period(period: Duration) -> Timing {
        Timing {
            period: period.clamp(Duration::from_secs(10), Duration::from_secs(60)),
            gap: Duration::from_secs(1),
            retry: Duration::from_secs(1),
            limit: Duration::from_secs(6),
        }
    }
}

/// A broker's registrations. Hand it to the broker as its [`Registrar`], then start it.
pub struct Register {
    identity: Identity,
    timing: Timing,
    local: Option<Arc<NameServer>>,
    remotes: Vec<Remote>,
    /// Changes before the start are part of the first whole table.
    started: AtomicBool,
    source: OnceLock<Arc<dyn Source>>,
    /// Of the thread that talks to name servers.
    runtime: OnceLock<tokio::runtime::Handle>,
    /// How many name servers have been tried, and how many took us.
    first: Mutex<(usize, usize)>,
    tried: Condvar,
}

impl Register {
    /// Registrations with a name server of this process and with those of a list (`host:port`).
    pub fn new(
        identity: Identity,
        timing: Timing,
        local: Option<Arc<NameServer>>,
        servers: &[String],
    ) -> Register {
        Register {
            identity,
            timing,
            local,
            remotes: servers.iter().map(|server| Remote::new(server)).collect(),
            started: AtomicBool::new(false),
            source: OnceLock::new(),
            runtime: OnceLock::new(),
            first: Mutex::new((0, 0)),
            tried: Condvar::new(),
        }
    }

    /// Registers `source` with the name server of this process, and starts the thread that registers it
    /// with all others and keeps it registered.
    pub fn start(self: &Arc<Self>, source: Arc<dyn Source>) -> std::io::Result<Running> {
        let source = self.source.get_or_init(|| source);
        self.started.store(true, Ordering::SeqCst);
        self.register_local(source.as_ref());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let _ = self.runtime.set(runtime.handle().clone());
        let (stop, stopped) = watch::channel(false);
        let register = self.clone();
        let thread = std::thread::Builder::new().name("register".to_owned());
        let thread = thread.spawn(move || {
            runtime.block_on(register.run(stopped));
            // A look-up of a name that hangs must not hold the end up.
            runtime.shutdown_background();
        })?;
        Ok(Running {
            register: self.clone(),
            stop,
            thread: Some(thread),
        })
    }

    async fn run(self: Arc<Self>, stopped: watch::Receiver<bool>) {
        let mut tasks = tokio::task::JoinSet::new();
        for at in 0..self.remotes.len() {
            let (register, stopped) = (self.clone(), stopped.clone());
            tasks.spawn(async move {
                if let Some(remote) = register.remotes.get(at) {
                    remote.serve(&register, stopped).await;
                }
            });
        }
        self.keep_local(stopped).await;
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a registration ended");
            }
        }
    }

    /// A topic that was deleted in the name server but not here comes back in a period, as with any
    /// other name server.
    async fn keep_local(&self, mut stopped: watch::Receiver<bool>) {
        loop {
            let period = tokio::time::timeout(self.timing.period, stopped.wait_for(|stop| *stop));
            if period.await.is_ok() {
                break;
            }
            if let Some(source) = self.source.get() {
                self.register_local(source.as_ref());
            }
        }
        if let Some(server) = &self.local {
            server.unregister_local(&self.identity);
        }
    }

    fn register_local(&self, source: &dyn Source) {
        if let Some(server) = &self.local {
            let (topics, version) = source.registration();
            let (_, order) = server.register_local(&self.identity, version, &topics);
            tell_order(source, order);
        }
    }

    fn note_tried(&self, accepted: bool) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.0 += 1;
        first.1 += usize::from(accepted);
        self.tried.notify_all();
    }
}

impl Registrar for Register {
    fn changed(&self, topics: &[TopicConfig], version: DataVersion) {
        if !self.started.load(Ordering::SeqCst) {
            return;
        }
        if let Some(server) = &self.local {
            server.update_local(&self.identity, version, topics);
        }
        for remote in &self.remotes {
            remote.note(topics, version);
        }
    }

    fn removed(&self, topic: &TopicName, version: DataVersion) {
        if !self.started.load(Ordering::SeqCst) {
            return;
        }
        if let Some(server) = &self.local {
            server.forget_local(&self.identity, version, topic.as_str());
        }
        for remote in &self.remotes {
            remote.note_all();
        }
    }

    fn brokers_of(&self, topic: &str) -> Vec<(String, u32)> {
        route::brokers_of(self, topic)
    }
}

fn tell_order(source: &dyn Source, order: BTreeMap<String, String>) {
    if !order.is_empty() {
        let topics: Vec<String> = order.into_keys().collect();
        source.set_order_topics(&topics);
    }
}

/// The thread that keeps a broker registered.
pub struct Running {
    register: Arc<Register>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Waits until every name server has been tried once, or for `limit`; how many took us, a name
    /// server of this process included.
    pub fn first(&self, limit: Duration) -> usize {
        let all = self.register.remotes.len();
        let first = self.register.first.lock();
        let first = first.unwrap_or_else(PoisonError::into_inner);
        let waited = (self.register.tried).wait_timeout_while(first, limit, |f| f.0 < all);
        let (first, _) = waited.unwrap_or_else(PoisonError::into_inner);
        first.1 + usize::from(self.register.local.is_some())
    }

    /// Unregisters everywhere (for a second at most where nobody answers) and ends the thread.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the registration thread panicked");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
