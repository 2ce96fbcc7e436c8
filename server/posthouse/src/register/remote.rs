//! One name server behind a socket: what it has not been told yet, and the task that tells it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::TopicName;
use model::topic::{DataVersion, TopicConfig};
use remoting::Command;
use remoting::body::{self, KvTable};
use remoting::client::{CallError, Client};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Register, message, tell_order};

/// How long the end waits for a name server that does not answer.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Topics in one message: so many, with the longest names, stay below a frame's 16 MiB.
const AT_ONCE: usize = 10_000;

/// What a name server has not been told.
struct Pending {
    /// The whole table is due as soon as the gap allows.
    all: bool,
    /// Topics that changed since it was told.
    topics: BTreeMap<TopicName, TopicConfig>,
    version: DataVersion,
}

/// What to tell next.
enum Next {
    All,
    One(TopicConfig, DataVersion),
    Wait(Instant),
}

/// One name server.
pub struct Remote {
    server: String,
    pending: Mutex<Pending>,
    changed: Notify,
}

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0} has no address: {1}")]
    Unresolved(String, std::io::Error),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("it answered {0}: {1}")]
    Refused(i32, String),
}

impl Remote {
    pub fn new(server: &str) -> Remote {
        Remote {
            server: server.to_owned(),
            pending: Mutex::new(Pending {
                all: true,
                topics: BTreeMap::new(),
                version: DataVersion::default(),
            }),
            changed: Notify::new(),
        }
    }

    /// Where it is, as it was written.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// These topics changed.
    pub fn note(&self, topics: &[TopicConfig], version: DataVersion) {
        let mut pending = self.pending();
        pending.version = version;
        if !pending.all {
            let topics = topics.iter().map(|t| (t.name.clone(), t.clone()));
            pending.topics.extend(topics);
        }
        drop(pending);
        self.changed.notify_one();
    }

    /// The whole table must be told.
    pub fn note_all(&self) {
        self.pending().tell_all();
        self.changed.notify_one();
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the name server told until the end, then unregisters.
    pub async fn serve(&self, register: &Register, mut stopped: watch::Receiver<bool>) {
        let mut link = Link {
            remote: self,
            register,
            client: None,
            retry: register.timing.retry,
            not_before: Instant::now(),
            due: Instant::now(),
            tried: false,
            passed: 0,
        };
        while !*stopped.borrow() {
            let next = self.pending().next(link.not_before, link.due);
            let until = match next {
                Next::Wait(until) => until,
                next => {
                    tokio::select! {
                        () = link.tell(next) => continue,
                        _ = stopped.wait_for(|stop| *stop) => break,
                    }
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep_until(until) => {}
                _ = stopped.wait_for(|stop| *stop) => break,
            }
        }
        link.unregister().await;
    }
}

impl Pending {
    fn tell_all(&mut self) {
        self.all = true;
        self.topics.clear();
    }

    /// What is due. Takes what it returns.
    fn next(&mut self, not_before: Instant, due: Instant) -> Next {
        let now = Instant::now();
        if !self.all
            && self.topics.len() == 1
            && let Some((_, topic)) = self.topics.pop_first()
        {
            return Next::One(topic, self.version);
        }
        if !self.topics.is_empty() || now >= due {
            self.tell_all();
        }
        if !self.all {
            return Next::Wait(due);
        }
        if now < not_before {
            return Next::Wait(not_before);
        }
        self.all = false;
        Next::All
    }
}

/// The task's own state.
struct Link<'r> {
    remote: &'r Remote,
    register: &'r Register,
    client: Option<Client>,
    /// Before the next try after a failure.
    retry: Duration,
    /// When the next whole table may be sent.
    not_before: Instant,
    /// When the next whole table must be sent.
    due: Instant,
    tried: bool,
    /// How many parts of tables were sent under a version of their own.
    passed: i64,
}

impl Link<'_> {
    async fn tell(&mut self, next: Next) {
        let timing = self.register.timing;
        let one = matches!(next, Next::One(..));
        let result = self.try_tell(next).await;
        if !self.tried {
            self.tried = true;
            self.register.note_tried(result.is_ok());
        }
        let server = &self.remote.server;
        match result {
            Ok(()) if one => {}
            Ok(()) => {
                if self.retry != timing.retry {
                    tracing::info!(server, "the name server takes our registration again");
                }
                self.retry = timing.retry;
                self.not_before = Instant::now() + timing.gap;
                self.due = Instant::now() + timing.period;
            }
            // It forgot us, or never knew us: it needs the whole table, at once.
            Err(Failure::Refused(..)) if one => self.remote.note_all(),
            Err(failure) => {
                tracing::warn!(server, %failure, "the name server did not take our registration");
                self.client = None;
                self.not_before = Instant::now() + self.retry;
                self.retry = (self.retry * 2).min(timing.period);
                self.remote.note_all();
            }
        }
    }

    async fn try_tell(&mut self, next: Next) -> Result<(), Failure> {
        let Some(source) = self.register.source.get() else {
            return Ok(());
        };
        let (topics, version) = match next {
            Next::One(topic, version) => (vec![topic], version),
            _ => source.registration(),
        };
        // A table too large for one message goes in parts, each under a version of its own, or the name
        // server would not take what it has already; the last part's is the table's.
        let parts = topics.chunks(AT_ONCE).count();
        for (at, part) in topics.chunks(AT_ONCE).enumerate() {
            let version = if at + 1 < parts {
                self.passing(version)
            } else {
                version
            };
            let answer = self.register(part, version).await?;
            if let Ok(order) = body::from_slice::<KvTable>(&answer.body) {
                tell_order(source.as_ref(), order.table);
            }
        }
        Ok(())
    }

    /// A version that no table ever had.
    fn passing(&mut self, version: DataVersion) -> DataVersion {
        self.passed += 1;
        DataVersion {
            timestamp: -self.passed,
            ..version
        }
    }

    async fn register(
        &mut self,
        topics: &[TopicConfig],
        version: DataVersion,
    ) -> Result<Command, Failure> {
        let request = message::register(&self.register.identity, topics, version);
        let answer = self.call(request, self.register.timing.limit).await?;
        if answer.code != remoting::code::response::SUCCESS {
            let remark = answer.remark.unwrap_or_default();
            return Err(Failure::Refused(answer.code, remark));
        }
        Ok(answer)
    }

    /// Asks over the connection that stands, else over the first that can be made: a name such as
    /// `localhost` may have addresses at which nobody listens.
    async fn call(&mut self, request: Command, limit: Duration) -> Result<Command, Failure> {
        let clients = match self.client.take() {
            Some(client) => vec![client],
            None => resolve(&self.remote.server).await?,
        };
        let nowhere = std::io::ErrorKind::NotFound.into();
        let mut failure = Failure::Unresolved(self.remote.server.clone(), nowhere);
        for client in clients {
            match client.invoke(request.clone(), limit).await {
                Ok(answer) => {
                    self.client = Some(client);
                    return Ok(answer);
                }
                Err(error @ CallError::Connect(..)) => failure = error.into(),
                Err(error) => return Err(error.into()),
            }
        }
        Err(failure)
    }

    async fn unregister(&mut self) {
        let server = &self.remote.server;
        if self.client.is_none() {
            return;
        }
        let request = message::unregister(&self.register.identity);
        match timeout(LAST_WORD, self.call(request, LAST_WORD)).await {
            Ok(Ok(_)) => tracing::info!(server, "unregistered"),
            Ok(Err(failure)) => tracing::warn!(server, %failure, "not unregistered"),
            Err(_) => tracing::warn!(server, "not unregistered in time"),
        }
    }
}

/// Clients for the addresses of a name server.
pub async fn resolve(server: &str) -> Result<Vec<Client>, Failure> {
    let addresses = tokio::net::lookup_host(server).await;
    let addresses = addresses.map_err(|error| Failure::Unresolved(server.to_owned(), error))?;
    Ok(addresses.map(Client::new).collect())
}
