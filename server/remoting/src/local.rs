//! A service called inside the process: the same commands, no socket and no task.
//!
//! The service runs on the caller's thread. An answer that is ready returns at once; one that waits
//! for a mark, for a wake-up or for slow work resolves the caller's future. Many requests at once are a
//! [`Burst`].

mod burst;

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use model::Mark;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::answer::Answer;
use crate::client::{CallError, Heard, Incoming, answer_to};
use crate::code::response::SYSTEM_ERROR;
use crate::command::Command;
use crate::frame::{Decoder, Frame};
use crate::request::Payload;
use crate::server::hub::{Hub, LOCAL};
use crate::server::parked::{refused, with_code};
use crate::server::{Again, Door, Outcome, Peer, Refusal, Run, Service};

pub use burst::Burst;

/// So many bytes of a message do not wait for others that could be written with them.
const MUCH: usize = 32 << 10;

/// A caller inside the process. To the service it is a connection like any other; what is pushed to it
/// comes out of its [`Pushed`], if it was opened with one.
pub struct Local {
    hub: Arc<Hub>,
    service: Arc<dyn Service>,
    peer: Arc<Peer>,
}

impl Local {
    /// Opens a connection to the service that is served on this hub.
    pub fn open(hub: Arc<Hub>, service: Arc<dyn Service>) -> Local {
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let id = hub.connection_id(LOCAL);
        let peer = Arc::new(Peer::new(id, remote, Door::Main, &hub));
        service.opened(&peer);
        Local { hub, service, peer }
    }

    /// Opens a connection to which the service can push.
    pub fn open_with_pushes(hub: Arc<Hub>, service: Arc<dyn Service>) -> (Local, Pushed) {
        let local = Local::open(hub, service);
        let (sender, frames) = mpsc::unbounded_channel();
        // Bounded by `Peer::push`: it counts bytes until they are taken.
        local.hub.enter_local(&local.peer, sender);
        let pushed = Pushed {
            frames,
            service: local.service.clone(),
            peer: local.peer.clone(),
        };
        (local, pushed)
    }

    /// Runs one request. `Ok(None)` if it was one-way. Needs a tokio runtime with a timer unless the
    /// answer is ready at once.
    pub async fn invoke(
        &self,
        request: &Command,
        limit: Duration,
    ) -> Result<Option<Command>, CallError> {
        let answer = self.request(request.to_bytes(), limit).await?;
        let answer = answer.map(|answer| answer.command());
        answer.transpose().map_err(CallError::Frame)
    }

    /// As [`Local::invoke`], for who wrote the frame itself.
    ///
    /// # Errors
    /// [`CallError`]; after `Timeout` the request may have been done.
    pub async fn request(
        &self,
        frame: Vec<u8>,
        limit: Duration,
    ) -> Result<Option<Answer>, CallError> {
        let until = Instant::now() + limit;
        let ticket = self.hub.connection_id(LOCAL).0;
        timeout_at(until, self.run(ticket, Asked::whole(&frame), None))
            .await
            .map_err(|_| CallError::Timeout)?
    }

    /// As [`Local::request`], for requests that services never hold, as sends are: nothing is kept in order to be
    /// woken. `head` is a frame without what it carries, which is read where it lies. The request runs here and now, and the
    /// future, which has room for no more than an answer that waits, is its end.
    ///
    /// # Errors
    /// As [`Local::request`].
    pub fn send<'a>(
        &'a self,
        head: Vec<u8>,
        payload: Payload<'a>,
        limit: Duration,
    ) -> impl Future<Output = Result<Option<Answer>, CallError>> + Send + 'a {
        let ticket = self.hub.connection_id(LOCAL).0;
        let ran = self.run_once(ticket, Asked::apart(&head, payload), None);
        async move {
            let Ran { outcome, answered } = ran?;
            match outcome {
                Ended::Done => answered.told(None),
                Ended::Staged(mark, staged) => {
                    // What is much is written while it is near the processor.
                    if payload.encoded_len() < MUCH {
                        turn().await;
                    }
                    let written = staged.commit();
                    let safe = match written {
                        Ok(()) if !self.has(mark) => {
                            let safe = Box::pin(timeout(limit, self.until(mark))).await;
                            safe.map_err(|_| CallError::Timeout)?
                        }
                        written => written,
                    };
                    answered.told(safe.err())
                }
                // Boxed: a send has no room for what it seldom does.
                Ended::NotYet(not_yet) => {
                    Box::pin(async move {
                        let rest = async {
                            let again = ready(not_yet, None).await?;
                            let asked = Asked::apart(&head, payload);
                            self.run_on(ticket, asked, Some(again), None).await
                        };
                        let ended = timeout(limit, rest).await;
                        ended.map_err(|_| CallError::Timeout)?
                    })
                    .await
                }
            }
        }
    }

    /// What a service keeps for a request that runs again, it keeps under the ticket.
    async fn run(
        &self,
        ticket: u64,
        asked: Asked<'_>,
        again: Option<Again>,
    ) -> Result<Option<Answer>, CallError> {
        let woken = Arc::new(Notify::new());
        let _registered = Registered::new(&self.hub, ticket, &woken);
        self.run_on(ticket, asked, again, Some(&woken)).await
    }

    /// `woken`: how it hears that it may run again; without, it is not held.
    async fn run_on(
        &self,
        ticket: u64,
        asked: Asked<'_>,
        mut again: Option<Again>,
        woken: Option<&Notify>,
    ) -> Result<Option<Answer>, CallError> {
        loop {
            let Ran { outcome, answered } = self.run_once(ticket, asked, again)?;
            match outcome {
                Ended::Done => return answered.told(None),
                Ended::Staged(mark, staged) => {
                    turn().await;
                    let safe = match staged.commit() {
                        Ok(()) => self.until(mark).await,
                        refused => refused,
                    };
                    return answered.told(safe.err());
                }
                Ended::NotYet(not_yet) => again = Some(ready(not_yet, woken).await?),
            }
        }
    }

    /// Runs a request as far as it gets at once.
    fn run_once(
        &self,
        ticket: u64,
        asked: Asked<'_>,
        again: Option<Again>,
    ) -> Result<Ran<'_>, CallError> {
        let mut out = Vec::new();
        let run = Run { again, ticket };
        let (oneway, outcome) = asked.read(|frame| {
            let call = || self.service.call(&self.peer, frame, run, &mut out);
            (frame.is_oneway(), catch_unwind(AssertUnwindSafe(call)))
        })?;
        let outcome = match outcome.map_err(|_| CallError::Panicked)? {
            Outcome::Done => Ended::Done,
            Outcome::After(mark) => Ended::Staged(mark, Staged(Some(&*self.service))),
            Outcome::Hold(time) => Ended::NotYet(NotYet::Held(time)),
            Outcome::Cold(job) => Ended::NotYet(NotYet::Cold(job)),
        };
        let answered = Answered { out, oneway };
        Ok(Ran { outcome, answered })
    }

    fn has(&self, mark: Mark) -> bool {
        self.service.reached(mark.level) >= mark.at
    }

    /// Waits for a mark.
    async fn until(&self, mark: Mark) -> Result<(), Short> {
        if self.has(mark) {
            return Ok(());
        }
        let reached = async {
            loop {
                let moved = self.hub.marks().notified();
                let mut moved = std::pin::pin!(moved);
                moved.as_mut().enable();
                let failed = self.service.failed();
                if self.has(mark) {
                    return Ok(());
                }
                if let Some(refusal) = failed {
                    return Err(Short::Refused(refusal));
                }
                moved.await;
            }
        };
        let limit = self.service.mark_timeout();
        let reached = timeout(limit, reached).await;
        reached.unwrap_or_else(|_| Err(Short::Late(self.service.late(mark.level))))
    }
}

/// A request that ran.
struct Ran<'a> {
    outcome: Ended<'a>,
    answered: Answered,
}

/// How far a request got.
enum Ended<'a> {
    Done,
    /// Its answer counts once what it staged has reached the mark.
    Staged(Mark, Staged<'a>),
    /// It runs again.
    NotYet(NotYet),
}

/// What a request waits for before it runs again.
enum NotYet {
    /// To be woken, or this time.
    Held(Duration),
    /// This work.
    Cold(Box<dyn FnOnce() + Send>),
}

/// Waits until a request may run again. `woken`: how it hears that; without, it is not held.
async fn ready(not_yet: NotYet, woken: Option<&Notify>) -> Result<Again, CallError> {
    match (not_yet, woken) {
        (NotYet::Held(_), None) => Ok(Again::Deadline),
        (NotYet::Held(time), Some(woken)) => {
            let waited = timeout(time, woken.notified()).await;
            Ok(waited.map_or(Again::Deadline, |()| Again::Woken))
        }
        (NotYet::Cold(job), _) => {
            let done = tokio::task::spawn_blocking(job).await;
            done.map(|()| Again::Warm).map_err(|_| CallError::Panicked)
        }
    }
}

/// What a service wrote.
struct Answered {
    out: Vec<u8>,
    oneway: bool,
}

impl Answered {
    /// The answer, or what is told instead.
    fn told(self, short: Option<Short>) -> Result<Option<Answer>, CallError> {
        let mut out = match short {
            Some(short) => short.instead_of(self.out),
            None => self.out,
        };
        if self.oneway || out.is_empty() {
            return Ok(None);
        }
        // What is said unasked may stand behind the answer; a caller in the process asks by itself.
        let length = Decoder::peek(&out).map_err(CallError::Frame)?;
        out.truncate(length.unwrap_or(out.len()));
        Ok(Some(Answer::new(Bytes::from(out))))
    }
}

/// A request as it lies in memory.
#[derive(Clone, Copy)]
struct Asked<'a> {
    /// The frame, or its beginning.
    head: &'a [u8],
    /// What it carries, if that does not lie in the frame.
    payload: Option<Payload<'a>>,
}

thread_local! {
    /// Requests are read one after the other, so nothing is allocated to read one.
    static DECODER: RefCell<Decoder> = RefCell::new(Decoder::new());
}

impl<'a> Asked<'a> {
    fn whole(frame: &'a [u8]) -> Asked<'a> {
        let (head, payload) = (frame, None);
        Asked { head, payload }
    }

    fn apart(head: &'a [u8], payload: Payload<'a>) -> Asked<'a> {
        let payload = Some(payload);
        Asked { head, payload }
    }

    fn read<T>(self, read: impl FnOnce(&Frame<'_>) -> T) -> Result<T, CallError> {
        DECODER.with(|decoder| match decoder.try_borrow_mut() {
            Ok(mut decoder) => self.read_with(&mut decoder, read),
            // A service called another one.
            Err(_) => self.read_with(&mut Decoder::new(), read),
        })
    }

    fn read_with<T>(
        self,
        decoder: &mut Decoder,
        read: impl FnOnce(&Frame<'_>) -> T,
    ) -> Result<T, CallError> {
        let frame = decoder.decode(self.head).map_err(CallError::Frame)?;
        Ok(read(&match self.payload {
            None => frame,
            Some(Payload::Body(body)) => Frame { body, ..frame },
            Some(Payload::Batch(batch)) => Frame { batch, ..frame },
        }))
    }
}

/// Why what was staged is not as safe as it was to be.
#[derive(Clone)]
enum Short {
    /// It does not count.
    Refused(Refusal),
    /// It counts, with this code.
    Late(i32),
}

impl Short {
    /// What is answered then.
    fn instead_of(&self, answer: Vec<u8>) -> Vec<u8> {
        match self {
            Short::Refused(refusal) => refused(&answer, refusal),
            Short::Late(0) => with_code(answer, SYSTEM_ERROR),
            Short::Late(code) => with_code(answer, *code),
        }
    }
}

/// What a call staged: it is committed even if its caller gives up first.
struct Staged<'a>(Option<&'a dyn Service>);

impl Staged<'_> {
    /// Writes it, with all that others have staged since.
    fn commit(mut self) -> Result<(), Short> {
        let committed = self.0.take().map_or(Ok(()), |service| service.commit());
        committed.map_err(Short::Refused)
    }
}

/// Lets the tasks that are ready stage first: whoever commits writes for all. tokio's `yield_now` would look for new
/// work too, and then wake a task once more that somebody else woke meanwhile: an HTTP connection that reads a body
/// wakes itself.
async fn turn() {
    let mut over = false;
    poll_fn(|cx| match std::mem::replace(&mut over, true) {
        true => Poll::Ready(()),
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if let Some(service) = self.0.take() {
            // Nobody is left to hear of a refusal; a store that cannot write says so itself.
            let _ = service.commit();
        }
    }
}

/// What a service says unasked to a caller inside the process.
pub struct Pushed {
    frames: mpsc::UnboundedReceiver<Vec<u8>>,
    service: Arc<dyn Service>,
    peer: Arc<Peer>,
}

impl Pushed {
    /// Hands each request to `incoming`, and what that returns to the service, until the connection is
    /// closed.
    pub async fn run(mut self, incoming: Arc<Incoming>) {
        let mut later = JoinSet::new();
        while let Some(frames) = self.frames.recv().await {
            self.peer.arrived(frames.len());
            let mut rest = frames.as_slice();
            while let Ok(Some(length)) = Decoder::peek(rest) {
                let (frame, behind) = rest.split_at(length);
                rest = behind;
                let Ok(request) = Command::decode(frame) else {
                    break;
                };
                let (opaque, oneway) = (request.opaque, request.flag & 2 != 0);
                match incoming(request) {
                    Heard::Answer(answer) if !oneway => {
                        answered(&*self.service, &self.peer, answer_to(opaque, *answer));
                    }
                    Heard::Later(answer) => {
                        let (service, peer) = (self.service.clone(), self.peer.clone());
                        later.spawn(async move {
                            let answer = answer_to(opaque, answer.await);
                            if !oneway {
                                answered(&*service, &peer, answer);
                            }
                        });
                        while later.try_join_next().is_some() {}
                    }
                    Heard::Nothing | Heard::Answer(_) => {}
                }
            }
        }
    }
}

fn answered(service: &dyn Service, peer: &Peer, answer: Command) {
    if let Ok(answer) = Decoder::new().decode(&answer.to_bytes()) {
        service.answered(peer, &answer);
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.hub.forget(&self.peer);
        self.service.closed(&self.peer);
    }
}

/// A ticket that [`Hub::wake`] finds, however the call ends.
struct Registered<'a> {
    hub: &'a Hub,
    ticket: u64,
}

impl<'a> Registered<'a> {
    fn new(hub: &'a Hub, ticket: u64, notify: &Arc<Notify>) -> Registered<'a> {
        hub.hold_local(ticket, notify.clone());
        Registered { hub, ticket }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.hub.release_local(self.ticket);
    }
}
