//! The way to one server, over TCP or inside the process, and the table of all of them.

mod many;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use remoting::body::HeartbeatData;
use remoting::client::{CallError, Client as Tcp, Incoming};
use remoting::code::request;
use remoting::local::Local;
use remoting::{Answer, Command, Credentials, Language, Payload, Tls};
use tokio::task::JoinHandle;

use crate::config::{Config, Transport};
use crate::error::{Error, Refusal, Result};

pub(crate) use many::Many;

/// The way to one server.
pub(crate) struct Channel {
    address: Arc<str>,
    way: Way,
    credentials: Option<Credentials>,
    /// Whether it was once seen to be Posthouse's.
    posthouse: AtomicBool,
    /// Who has many requests and must wait for a connection waits here, in order.
    line: Arc<tokio::sync::Mutex<()>>,
    in_line: AtomicUsize,
}

/// What the head of most sends fits into.
const HEAD: usize = 384;

enum Way {
    Tcp(Box<Tcp>),
    Local {
        local: Local,
        pushes: JoinHandle<()>,
        /// Where many requests are written: memory that was used just now is near the processor.
        spare: Mutex<Vec<u8>>,
    },
}

impl Channel {
    pub(crate) fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// Sends a request that `encode` writes, and waits for the answer, whatever its code is.
    pub(crate) async fn request(
        &self,
        encode: impl FnOnce(i32, &mut Vec<u8>),
        limit: Duration,
    ) -> Result<Answer> {
        let Some(credentials) = &self.credentials else {
            return self.unsigned(encode, limit).await;
        };
        let signed = credentials.sign(self.whole(encode)?);
        let encode = |opaque, out: &mut Vec<u8>| Command { opaque, ..signed }.encode(out);
        Box::pin(self.unsigned(encode, limit)).await
    }

    /// Sends a message: as [`Channel::request`], but within the process `payload` is read where it lies. `encode` is
    /// given what belongs into the frame.
    pub(crate) async fn send(
        &self,
        payload: Payload<'_>,
        encode: impl FnOnce(i32, Payload<'_>, &mut Vec<u8>),
        limit: Duration,
    ) -> Result<Answer> {
        let (Way::Local { local, .. }, None) = (&self.way, &self.credentials) else {
            let encode = |opaque, out: &mut Vec<u8>| encode(opaque, payload, out);
            // Boxed: a send within the process has no room for it.
            return Box::pin(self.request(encode, limit)).await;
        };
        let mut head = Vec::with_capacity(HEAD);
        encode(1, Payload::NONE, &mut head);
        let answer = local.send(head, payload, limit).await;
        let answer = answer.and_then(|answer| answer.ok_or(CallError::Timeout));
        answer.map_err(|source| self.failed(source))
    }

    /// A request as something that can be signed.
    fn whole(&self, encode: impl FnOnce(i32, &mut Vec<u8>)) -> Result<Command> {
        let mut frame = Vec::new();
        encode(0, &mut frame);
        Command::decode(&frame).map_err(|error| self.failed(CallError::Frame(error)))
    }

    async fn unsigned(
        &self,
        encode: impl FnOnce(i32, &mut Vec<u8>),
        limit: Duration,
    ) -> Result<Answer> {
        let answer = match &self.way {
            Way::Tcp(tcp) => tcp.request(encode, limit).await,
            Way::Local { local, .. } => {
                let mut frame = Vec::new();
                encode(1, &mut frame);
                let answer = Box::pin(local.request(frame, limit)).await;
                answer.and_then(|answer| answer.ok_or(CallError::Timeout))
            }
        };
        answer.map_err(|source| self.failed(source))
    }

    /// Sends a request, and waits for an answer of code 0.
    pub(crate) async fn call(&self, command: Command, limit: Duration) -> Result<Answer> {
        let answer = self.ask(command, limit).await?;
        self.accepted(&answer)?;
        Ok(answer)
    }

    /// Sends a request, and waits for the answer, whatever its code is.
    pub(crate) async fn ask(&self, command: Command, limit: Duration) -> Result<Answer> {
        let language = Language::Rust;
        let encode = |opaque, out: &mut Vec<u8>| {
            let command = Command {
                opaque,
                language,
                ..command
            };
            command.encode(out);
        };
        self.request(encode, limit).await
    }

    /// Whether it was once seen to be Posthouse's: nobody has to be asked.
    pub(crate) fn is_known_posthouse(&self) -> bool {
        self.posthouse.load(Ordering::Relaxed)
    }

    /// Whether a broker knows the requests that only Posthouse serves (`server/docs/protocol.md`). It is
    /// asked until it says so once.
    pub(crate) async fn is_posthouse(&self, client_id: &str, limit: Duration) -> Result<bool> {
        if self.is_known_posthouse() {
            return Ok(true);
        }
        let nobody = HeartbeatData {
            client_id: client_id.to_owned(),
            ..HeartbeatData::default()
        };
        let command = Command::request(request::HEART_BEAT)
            .with("posthouse", "")
            .body(remoting::body::to_vec(&nobody));
        let answer = self.call(command, limit).await?;
        let known = answer.read(|frame| frame.ext.get("posthouse").is_some());
        let known = known.map_err(|error| self.failed(CallError::Frame(error)))?;
        self.posthouse.store(known, Ordering::Relaxed);
        Ok(known)
    }

    /// Sends a request that nobody answers.
    pub(crate) async fn oneway(&self, encode: impl FnOnce(i32, &mut Vec<u8>)) -> Result<()> {
        let Some(credentials) = &self.credentials else {
            return self.unsigned_oneway(encode).await;
        };
        let signed = credentials.sign(self.whole(encode)?);
        let encode = |opaque, out: &mut Vec<u8>| Command { opaque, ..signed }.encode(out);
        self.unsigned_oneway(encode).await
    }

    async fn unsigned_oneway(&self, encode: impl FnOnce(i32, &mut Vec<u8>)) -> Result<()> {
        let sent = match &self.way {
            Way::Tcp(tcp) => tcp.oneway(encode).await,
            Way::Local { local, .. } => {
                let mut frame = Vec::new();
                encode(1, &mut frame);
                let limit = Duration::from_secs(3);
                local.request(frame, limit).await.map(drop)
            }
        };
        sent.map_err(|source| self.failed(source))
    }

    /// An answer of any code but 0 is an error.
    pub(crate) fn accepted(&self, answer: &Answer) -> Result<()> {
        let read = answer.read(|frame| match frame.code {
            0 => Ok(()),
            code => Err(self.refused(code, frame.remark)),
        });
        read.map_err(|error| self.failed(CallError::Frame(error)))?
    }

    /// The error that an answer's code means.
    pub(crate) fn refused(&self, code: i32, remark: Option<&str>) -> Error {
        Error::Refused(Box::new(Refusal {
            code,
            remark: remark.unwrap_or_default().to_owned(),
            address: self.address.clone(),
        }))
    }

    fn failed(&self, source: CallError) -> Error {
        Error::Call {
            address: self.address.clone(),
            source,
        }
    }

    async fn close(&self) {
        match &self.way {
            Way::Tcp(tcp) => tcp.close().await,
            Way::Local { pushes, .. } => pushes.abort(),
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if let Way::Local { pushes, .. } = &self.way {
            pushes.abort();
        }
    }
}

/// Makes what takes the requests of the server at an address.
type IncomingOf = dyn Fn(&Arc<str>) -> Arc<Incoming> + Send + Sync;

/// All ways that were opened, by address.
pub(crate) struct Channels {
    transport: Transport,
    tls: Option<Tls>,
    credentials: Option<Credentials>,
    incoming: Box<IncomingOf>,
    open: Mutex<HashMap<Arc<str>, Arc<Channel>>>,
}

impl Channels {
    /// `incoming` makes what takes the requests of the server at an address.
    pub(crate) fn new(
        config: &Config,
        incoming: impl Fn(&Arc<str>) -> Arc<Incoming> + Send + Sync + 'static,
    ) -> Channels {
        Channels {
            transport: config.transport.clone(),
            tls: config.tls.clone(),
            credentials: config.credentials.clone(),
            incoming: Box::new(incoming),
            open: Mutex::default(),
        }
    }

    /// The way to this address, if it is open.
    pub(crate) fn open_to(&self, address: &str) -> Option<Arc<Channel>> {
        self.table().get(address).cloned()
    }

    /// The way to this address; opened when it is not yet. Over TCP, nothing is connected yet.
    pub(crate) async fn to(&self, address: &str) -> Result<Arc<Channel>> {
        if let Some(channel) = self.open_to(address) {
            return Ok(channel);
        }
        let name: Arc<str> = address.into();
        let way = self.way(&name).await?;
        let channel = Arc::new(Channel {
            address: name.clone(),
            way,
            credentials: self.credentials.clone(),
            posthouse: AtomicBool::new(false),
            line: Arc::default(),
            in_line: AtomicUsize::new(0),
        });
        Ok(self.table().entry(name).or_insert(channel).clone())
    }

    async fn way(&self, address: &Arc<str>) -> Result<Way> {
        if let Transport::Local(entrances) = &self.transport
            && let Some(entrance) = entrances
                .iter()
                .find(|entrance| *entrance.address == **address)
        {
            let (hub, service) = (entrance.hub.clone(), entrance.service.clone());
            let (local, pushed) = Local::open_with_pushes(hub, service);
            let pushes = tokio::spawn(pushed.run((self.incoming)(address)));
            return Ok(Way::Local {
                local,
                pushes,
                spare: Mutex::default(),
            });
        }
        let socket = resolve(address).await?;
        let tcp = Tcp::with_incoming(socket, (self.incoming)(address));
        Ok(Way::Tcp(Box::new(tcp.tls(self.tls.clone()))))
    }

    /// How many connections stand.
    pub(crate) fn connected(&self) -> u64 {
        let table = self.table();
        let stands = |channel: &&Arc<Channel>| match &channel.way {
            Way::Tcp(tcp) => tcp.is_connected(),
            Way::Local { .. } => false,
        };
        table.values().filter(stands).count() as u64
    }

    /// Closes every connection, after what was staged is written.
    pub(crate) async fn close(&self) {
        let all: Vec<_> = self.table().drain().collect();
        for (_, channel) in all {
            channel.close().await;
        }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Arc<Channel>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn resolve(address: &str) -> Result<SocketAddr> {
    if let Ok(socket) = address.parse() {
        return Ok(socket);
    }
    let found = tokio::net::lookup_host(address).await;
    let mut found = found.map_err(|error| Error::Address(address.to_owned(), Some(error)))?;
    let first = found.next();
    first.ok_or_else(|| Error::Address(address.to_owned(), None))
}
