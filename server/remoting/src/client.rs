//! The calling end: one connection to a server, many requests at a time.
//!
//! The connection is made when it is needed and made again after it broke; a request that was on its
//! way when it broke fails, because only its sender knows whether it may be repeated.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::command::Command;
use crate::frame::{Decoder, FrameError};

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

/// Takes requests that the server sends on its own; what it returns is sent back.
pub type Incoming = dyn Fn(Command) -> Option<Command> + Send + Sync;

/// A connection to one server.
pub struct Client {
    address: SocketAddr,
    next: AtomicI32,
    incoming: Arc<Incoming>,
    connection: tokio::sync::Mutex<Option<Connection>>,
}

struct Connection {
    link: Arc<Link>,
    reader: JoinHandle<()>,
}

/// What the calls and the reading task of a connection share.
struct Link {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    waiting: Waiting,
}

/// Who waits for which opaque; `None` once the connection is broken.
struct Waiting(Mutex<Option<HashMap<i32, oneshot::Sender<Command>>>>);

/// Apache's clients wait this long for a connection.
const CONNECT: Duration = Duration::from_secs(3);

impl Client {
    /// A client that answers requests of the server with nothing. It does not connect yet.
    pub fn new(address: SocketAddr) -> Client {
        Client::with_incoming(address, Arc::new(|_| None))
    }

    /// A client that hands requests of the server to `incoming`.
    pub fn with_incoming(address: SocketAddr, incoming: Arc<Incoming>) -> Client {
        Client {
            address,
            next: AtomicI32::new(1),
            incoming,
            connection: tokio::sync::Mutex::new(None),
        }
    }

    /// The server's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request under an opaque of ours, and waits for its answer.
    pub async fn invoke(&self, request: Command, limit: Duration) -> Result<Command, CallError> {
        let call = async {
            let opaque = self.opaque();
            let request = Command { opaque, ..request };
            let (sender, receiver) = oneshot::channel();
            let link = self.send(&request, Some(sender)).await?;
            let _forgets = Forgets { link, opaque };
            receiver.await.map_err(|_| CallError::Broken(self.address))
        };
        timeout(limit, call).await.map_err(|_| CallError::Timeout)?
    }

    /// Sends a request that nobody answers.
    pub async fn invoke_oneway(&self, request: Command) -> Result<(), CallError> {
        let opaque = self.opaque();
        let request = Command { opaque, ..request }.oneway();
        self.send(&request, None).await.map(drop)
    }

    fn opaque(&self) -> i32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    async fn send(
        &self,
        request: &Command,
        sender: Option<oneshot::Sender<Command>>,
    ) -> Result<Arc<Link>, CallError> {
        let link = self.link().await?;
        if let Some(sender) = sender
            && !link.waiting.add(request.opaque, sender)
        {
            return Err(CallError::Broken(self.address));
        }
        let written = link.write(&request.to_bytes()).await;
        written.map_err(|_| CallError::Broken(self.address))?;
        Ok(link)
    }

    async fn link(&self) -> Result<Arc<Link>, CallError> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &*slot
            && connection.link.waiting.is_open()
        {
            return Ok(connection.link.clone());
        }
        let failed = |error| CallError::Connect(self.address, error);
        let connecting = timeout(CONNECT, TcpStream::connect(self.address));
        let stream = connecting.await.map_err(|elapsed| failed(elapsed.into()))?;
        let stream = stream.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (reader, writer) = stream.into_split();
        let link = Arc::new(Link {
            writer: tokio::sync::Mutex::new(writer),
            waiting: Waiting(Mutex::new(Some(HashMap::new()))),
        });
        let reader = tokio::spawn(read(reader, link.clone(), self.incoming.clone()));
        *slot = Some(Connection {
            link: link.clone(),
            reader,
        });
        Ok(link)
    }

    /// Closes the connection; the next call makes a new one.
    pub async fn close(&self) {
        self.connection.lock().await.take();
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a client of {}", self.address)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
        self.link.waiting.break_off();
    }
}

impl Link {
    /// Writes a whole frame. A call that is given up half-way through one takes the connection along.
    async fn write(&self, frame: &[u8]) -> std::io::Result<()> {
        struct Unless<'a>(&'a Waiting, bool);
        impl Drop for Unless<'_> {
            fn drop(&mut self) {
                if !self.1 {
                    self.0.break_off();
                }
            }
        }
        let mut writer = self.writer.lock().await;
        let mut whole = Unless(&self.waiting, false);
        let written = writer.write_all(frame).await;
        whole.1 = written.is_ok();
        written
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Option<HashMap<i32, oneshot::Sender<Command>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    fn add(&self, opaque: i32, sender: oneshot::Sender<Command>) -> bool {
        let mut waiting = self.lock();
        let Some(waiting) = waiting.as_mut() else {
            return false;
        };
        waiting.insert(opaque, sender);
        true
    }

    fn take(&self, opaque: i32) -> Option<oneshot::Sender<Command>> {
        self.lock().as_mut()?.remove(&opaque)
    }

    fn break_off(&self) {
        self.lock().take();
    }
}

/// A call that is over, answered or not, is waited for no longer.
struct Forgets {
    link: Arc<Link>,
    opaque: i32,
}

impl Drop for Forgets {
    fn drop(&mut self) {
        self.link.waiting.take(self.opaque);
    }
}

async fn read(mut reader: OwnedReadHalf, link: Arc<Link>, incoming: Arc<Incoming>) {
    let mut bytes = Vec::new();
    'read: while let Ok(1..) = reader.read_buf(&mut bytes).await {
        loop {
            let length = match Decoder::peek(&bytes) {
                Ok(Some(length)) => length,
                Ok(None) => break,
                Err(_) => break 'read,
            };
            let Some(Ok(command)) = bytes.get(..length).map(Command::decode) else {
                break 'read;
            };
            bytes.drain(..length);
            let (opaque, oneway) = (command.opaque, command.flag & 2 != 0);
            if command.is_response() {
                if let Some(sender) = link.waiting.take(opaque) {
                    let _ = sender.send(command);
                }
            } else if let Some(answer) = incoming(command)
                && !oneway
            {
                let flag = answer.flag | 1;
                let answer = Command {
                    opaque,
                    flag,
                    ..answer
                };
                if link.write(&answer.to_bytes()).await.is_err() {
                    break 'read;
                }
            }
        }
    }
    link.waiting.break_off();
}
