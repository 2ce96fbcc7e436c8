//! The calling end: one connection to a server, many requests at a time.
//!
//! The connection is made when it is needed and made again after it broke; a request that was on its
//! way when it broke fails, because only its sender knows whether it may be repeated.

mod link;
mod waiting;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::answer::Answer;
use crate::command::Command;
use crate::frame::FrameError;
use crate::tls::Tls;
use link::{Connection, Link};
use waiting::Call;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection within the time.
    #[error("cannot connect to {0}")]
    Connect(SocketAddr, #[source] std::io::Error),
    /// The connection broke before the answer came.
    #[error("the connection to {0} broke")]
    Broken(SocketAddr),
    /// No answer within the time. It may still have been done.
    #[error("no answer in time")]
    Timeout,
    /// What came is no frame.
    #[error("the answer is no frame")]
    Frame(#[source] FrameError),
    /// A service inside the process panicked.
    #[error("the service panicked")]
    Panicked,
}

/// Takes requests that the server sends on its own.
pub type Incoming = dyn Fn(Command) -> Heard + Send + Sync;

/// What comes of a request of the server.
pub enum Heard {
    /// No answer.
    Nothing,
    /// This answer.
    Answer(Box<Command>),
    /// The answer that this comes to. It is dropped when the connection ends.
    Later(Pin<Box<dyn Future<Output = Command> + Send>>),
}

impl From<Option<Command>> for Heard {
    fn from(answer: Option<Command>) -> Heard {
        answer.map_or(Heard::Nothing, |answer| Heard::Answer(Box::new(answer)))
    }
}

/// Is told what came of many requests, any number of them at a time, by their numbers in
/// [`Client::send_each`]. Called on the connection's task: it must not block.
pub trait Answers: Send + Sync {
    /// These have ended.
    fn come(self: Arc<Self>, ended: Vec<(usize, Result<Answer, CallError>)>);
}

/// An answer to the request with this opaque.
pub(crate) fn answer_to(opaque: i32, answer: Command) -> Command {
    let flag = answer.flag | 1;
    Command {
        opaque,
        flag,
        ..answer
    }
}

/// A connection to one server.
pub struct Client {
    address: SocketAddr,
    next: AtomicI32,
    incoming: Arc<Incoming>,
    tls: Option<Tls>,
    connection: Mutex<Option<Connection>>,
    connecting: tokio::sync::Mutex<()>,
}

/// Apache's clients wait this long for a connection.
const CONNECT: Duration = Duration::from_secs(3);

impl Client {
    /// A client that answers requests of the server with nothing. It does not connect yet.
    pub fn new(address: SocketAddr) -> Client {
        Client::with_incoming(address, Arc::new(|_| Heard::Nothing))
    }

    /// A client that hands requests of the server to `incoming`.
    pub fn with_incoming(address: SocketAddr, incoming: Arc<Incoming>) -> Client {
        Client {
            address,
            next: AtomicI32::new(1),
            incoming,
            tls: None,
            connection: Mutex::new(None),
            connecting: tokio::sync::Mutex::new(()),
        }
    }

    /// Reaches the server over TLS, if there is one.
    pub fn tls(mut self, tls: Option<Tls>) -> Client {
        self.tls = tls;
        self
    }

    /// The server's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request under an opaque of ours, and waits for its answer.
    ///
    /// # Errors
    /// [`CallError`]; after `Timeout` and `Broken` the request may have been done.
    pub async fn invoke(&self, request: Command, limit: Duration) -> Result<Command, CallError> {
        let encode = |opaque, out: &mut Vec<u8>| Command { opaque, ..request }.encode(out);
        let answer = self.request(encode, limit).await?;
        answer.command().map_err(CallError::Frame)
    }

    /// As [`Client::invoke`], for who writes the frame itself: `encode` is handed the opaque and the
    /// buffer to append to. What callers stage at the same time leaves in one write.
    ///
    /// # Errors
    /// [`CallError`], as with [`Client::invoke`].
    pub async fn request(
        &self,
        encode: impl FnOnce(i32, &mut Vec<u8>),
        limit: Duration,
    ) -> Result<Answer, CallError> {
        let until = Instant::now() + limit;
        let link = match self.open() {
            Some(link) => link,
            // Boxed: a request has no room for what it seldom does.
            None => Box::pin(timeout_at(until, self.link()))
                .await
                .map_err(|_| CallError::Timeout)??,
        };
        timeout_if_full(&link, until).await?;
        let opaque = self.opaque();
        if !link.waiting.add(opaque, until) {
            return Err(CallError::Broken(self.address));
        }
        let call = Call { link, opaque };
        call.link.stage(|out| encode(opaque, out));
        call.await
    }

    /// Sends many requests, one behind the other, without a future for any of them: `encode` is handed each one's
    /// number, its opaque and the buffer to append to, and `answers` is told what came of them. `false` if no
    /// connection stands, or its peer takes nothing just now: then nothing was sent, see [`Client::ready`].
    pub fn send_each(
        &self,
        count: usize,
        until: Instant,
        mut encode: impl FnMut(usize, i32, &mut Vec<u8>),
        answers: &Arc<dyn Answers>,
    ) -> bool {
        let Some(link) = self.open().filter(|link| !link.is_full()) else {
            return false;
        };
        let first = self.next.fetch_add(count as i32, Ordering::Relaxed);
        let opaques = || (0..count).map(|number| first.wrapping_add(number as i32));
        if !link.waiting.add_each(opaques(), until, answers) {
            return false;
        }
        link.stage(|out| {
            for (number, opaque) in opaques().enumerate() {
                encode(number, opaque, out);
            }
        });
        true
    }

    /// Waits for a connection that takes requests, until then.
    ///
    /// # Errors
    /// [`CallError`]; nothing was sent.
    pub async fn ready(&self, until: Instant) -> Result<(), CallError> {
        let link = timeout_at(until, self.link()).await;
        let link = link.map_err(|_| CallError::Timeout)??;
        timeout_if_full(&link, until).await
    }

    /// Sends a request that nobody answers. Returns when the socket took it.
    ///
    /// # Errors
    /// If there is no connection, or it broke.
    pub async fn invoke_oneway(&self, request: Command) -> Result<(), CallError> {
        let opaque = self.opaque();
        let request = Command { opaque, ..request }.oneway();
        self.oneway(|_, out| request.encode(out)).await
    }

    /// As [`Client::invoke_oneway`], for who writes the frame itself.
    ///
    /// # Errors
    /// If there is no connection, or it broke.
    pub async fn oneway(&self, encode: impl FnOnce(i32, &mut Vec<u8>)) -> Result<(), CallError> {
        let link = self.link().await?;
        link.room().await;
        let opaque = self.opaque();
        let position = link.stage(|out| encode(opaque, out));
        link.until_written(position).await
    }

    /// Whether a connection stands.
    pub fn is_connected(&self) -> bool {
        self.open().is_some()
    }

    fn opaque(&self) -> i32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn connection(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Option<Arc<Link>> {
        let connection = self.connection();
        let link = connection.as_ref().map(|connection| &connection.link)?;
        link.waiting.is_open().then(|| link.clone())
    }

    async fn link(&self) -> Result<Arc<Link>, CallError> {
        if let Some(link) = self.open() {
            return Ok(link);
        }
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(link) = self.open() {
            return Ok(link);
        }
        let failed = |error| CallError::Connect(self.address, error);
        let connecting = timeout(CONNECT, TcpStream::connect(self.address));
        let stream = connecting.await.map_err(|elapsed| failed(elapsed.into()))?;
        let stream = stream.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (address, incoming) = (self.address, self.incoming.clone());
        let connection = match &self.tls {
            None => Connection::begin(address, stream.into_split(), incoming),
            Some(tls) => {
                let shaking = timeout(CONNECT, tls.connect(address, stream));
                let shaken = shaking.await.map_err(|elapsed| failed(elapsed.into()))?;
                let halves = tokio::io::split(shaken.map_err(failed)?);
                Connection::begin(address, halves, incoming)
            }
        };
        let link = connection.link.clone();
        let before = self.connection().replace(connection);
        drop(before);
        Ok(link)
    }

    /// Closes the connection, after what was staged is written; the next call makes a new one.
    pub async fn close(&self) {
        let connection = self.connection().take();
        if let Some(connection) = connection {
            let _ = timeout(CONNECT, connection.link.flush()).await;
        }
    }
}

/// Only a connection whose peer takes nothing makes callers wait before they stage.
async fn timeout_if_full(link: &Link, until: Instant) -> Result<(), CallError> {
    if link.is_full() {
        let room = timeout_at(until, link.room());
        room.await.map_err(|_| CallError::Timeout)?;
    }
    Ok(())
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a client of {}", self.address)
    }
}
