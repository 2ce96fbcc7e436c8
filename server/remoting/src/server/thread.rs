//! One I/O thread: what its connections share, and the end of a tick.
//!
//! A tick is what happens between two looks at the sockets. Connections that staged something are
//! noted in it; when all that were ready had their turn, one commit covers them all and each gets
//! one write. A tick with a single stager is committed on the spot: nobody else would join it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Waker;

use model::Mark;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::frame::{Decoder, FrameError};
use crate::limits::{Limits, READ};
use crate::reply::{Head, Reply};
use crate::server::buffers::Buffers;
use crate::server::cold::Pool;
use crate::server::connection::Connection;
use crate::server::held::{Cause, Deadlines};
use crate::server::parked::Parked;
use crate::server::{Again, ConnectionId, Hub, Outcome, Refusal, Run, Service};

/// What an I/O thread's tasks share. It never leaves its thread.
pub(crate) struct Thread {
    pub(crate) index: usize,
    pub(crate) hub: Arc<Hub>,
    pub(crate) service: Arc<dyn Service>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) cold: Arc<Pool>,
    /// Bytes of large frames that have not arrived whole, of all threads.
    pub(crate) partial: Arc<AtomicUsize>,
    pub(crate) read: RefCell<Vec<u8>>,
    pub(crate) buffers: Buffers,
    pub(crate) connections: RefCell<HashMap<ConnectionId, Rc<Connection>>>,
    pub(crate) parked: RefCell<Parked>,
    pub(crate) deadlines: RefCell<Deadlines>,
    pub(crate) deadline_moved: Notify,
    pub(crate) tick_due: Notify,
    /// Bytes that sockets did not take, of all connections of this thread.
    pub(crate) unwritten: Cell<usize>,
    pub(crate) draining: Cell<bool>,
    /// Somebody stopped reading because of a limit of the thread.
    pub(crate) starved: Cell<bool>,
    pub(crate) acceptors: RefCell<Vec<JoinHandle<()>>>,
    decoder: RefCell<Decoder>,
    tick: RefCell<Tick>,
    tick_scheduled: Cell<bool>,
    woken: RefCell<Vec<(ConnectionId, u64)>>,
    turns: Turns,
    next_ticket: Cell<u64>,
    stopped: Cell<bool>,
    stop_waker: RefCell<Option<Waker>>,
}

/// What this tick must finish.
#[derive(Default)]
struct Tick {
    staged: Vec<Staged>,
    /// Connections whose out-buffers are written when the tick ends.
    dirty: Vec<Rc<Connection>>,
}

/// An answer in a connection's out-buffer that may not leave before its mark.
pub(crate) struct Staged {
    /// Position in `Tick::dirty`.
    connection: u32,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) mark: Mark,
    head: Head,
}

impl Thread {
    pub(crate) fn new(
        index: usize,
        hub: Arc<Hub>,
        service: Arc<dyn Service>,
        limits: Arc<Limits>,
        cold: Arc<Pool>,
        partial: Arc<AtomicUsize>,
    ) -> Rc<Thread> {
        Rc::new(Thread {
            index,
            hub,
            service,
            limits,
            cold,
            partial,
            read: RefCell::new(vec![0; READ]),
            buffers: Buffers::default(),
            connections: RefCell::default(),
            parked: RefCell::default(),
            deadlines: RefCell::default(),
            deadline_moved: Notify::new(),
            tick_due: Notify::new(),
            unwritten: Cell::new(0),
            draining: Cell::new(false),
            starved: Cell::new(false),
            acceptors: RefCell::default(),
            decoder: RefCell::default(),
            tick: RefCell::default(),
            tick_scheduled: Cell::new(false),
            woken: RefCell::default(),
            turns: Turns::default(),
            next_ticket: Cell::new(1),
            stopped: Cell::new(false),
            stop_waker: RefCell::default(),
        })
    }

    /// A new ticket; the low byte is the thread, so that no two threads share one.
    pub(crate) fn ticket(&self) -> u64 {
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        ticket << 8 | self.index as u64
    }

    /// Runs one request (or takes an answer) and does what its outcome says.
    pub(crate) fn call(&self, connection: &Rc<Connection>, bytes: &[u8], run: Run) -> Next {
        let mut decoder = self.decoder.borrow_mut();
        let frame = match decoder.decode(bytes) {
            Ok(frame) => frame,
            Err(error) => return Next::Broken(error),
        };
        if frame.is_response() {
            let answered = || self.service.answered(&connection.peer, &frame);
            if catch_unwind(AssertUnwindSafe(answered)).is_err() {
                tracing::error!(peer = ?connection.peer, "taking an answer panicked");
            }
            return Next::Served;
        }
        let head = Head {
            opaque: frame.opaque,
            serialize: frame.serialize,
        };
        let oneway = frame.is_oneway();
        let mut out = connection.out(self);
        let start = out.len();
        let call = || self.service.call(&connection.peer, &frame, run, &mut out);
        let outcome = catch_unwind(AssertUnwindSafe(call));
        let answer = |code: i32, remark: &str, out: &mut Vec<u8>| {
            out.truncate(start);
            if !oneway {
                Reply::new(out, head, code).remark(remark).finish();
            }
        };
        match outcome {
            Ok(Outcome::Done) if oneway => out.truncate(start),
            Ok(Outcome::Done) => {}
            Ok(Outcome::After(mark)) => {
                if oneway {
                    out.truncate(start);
                }
                let end = out.len();
                drop(out);
                self.stage(connection, start, end, mark, head);
            }
            Ok(Outcome::Hold(time)) if run.again != Some(Again::Deadline) => {
                out.truncate(start);
                return Next::Hold(time);
            }
            Ok(Outcome::Cold(job)) => {
                out.truncate(start);
                return Next::Cold(job);
            }
            Ok(Outcome::Hold(_)) => {
                tracing::error!(code = frame.code, "a request would be held beyond its time");
                answer(
                    crate::code::response::SYSTEM_ERROR,
                    "held too long",
                    &mut out,
                );
            }
            Err(_) => {
                tracing::error!(code = frame.code, peer = ?connection.peer, "a request panicked");
                let remark = "this request failed inside the server, see its log";
                answer(crate::code::response::SYSTEM_ERROR, remark, &mut out);
            }
        }
        Next::Served
    }

    /// Answers a request that was not run (again), with a code and a text.
    pub(crate) fn refuse(&self, connection: &Connection, bytes: &[u8], code: i32, remark: &str) {
        let mut decoder = self.decoder.borrow_mut();
        let Ok(frame) = decoder.decode(bytes) else {
            return;
        };
        if !frame.is_oneway() {
            let head = Head {
                opaque: frame.opaque,
                serialize: frame.serialize,
            };
            let mut out = connection.out(self);
            Reply::new(&mut out, head, code).remark(remark).finish();
        }
    }

    fn stage(&self, of: &Rc<Connection>, start: usize, end: usize, mark: Mark, head: Head) {
        self.note(of);
        let connection = of.place.get();
        self.tick.borrow_mut().staged.push(Staged {
            connection,
            start,
            end,
            mark,
            head,
        });
    }

    /// Notes that this connection's out-buffer is written when the tick ends, and not before.
    pub(crate) fn note(&self, connection: &Rc<Connection>) {
        if !connection.noted.replace(true) {
            let mut tick = self.tick.borrow_mut();
            connection.place.set(tick.dirty.len() as u32);
            tick.dirty.push(connection.clone());
        }
    }

    /// A connection has staged: ends the tick now if it is alone, else when the others had their turn.
    pub(crate) fn tick(&self) {
        if self.turns.alone() && !self.tick_scheduled.get() {
            self.finish_tick();
        } else if !self.tick_scheduled.replace(true) {
            self.tick_due.notify_one();
        }
    }

    /// The task that ends ticks. It is woken behind all connections that are ready, and yields once
    /// more, so that who became ready meanwhile joins.
    pub(crate) async fn ticks(self: Rc<Thread>) {
        loop {
            self.tick_due.notified().await;
            tokio::task::yield_now().await;
            self.tick_scheduled.set(false);
            self.finish_tick();
        }
    }

    /// Commits what was staged, runs what that woke, and writes every noted out-buffer.
    pub(crate) fn finish_tick(&self) {
        // Requests that wake each other in a circle may not keep the thread: the mailbox was
        // signalled for each of them, so the rest runs in the next tick.
        let mut rounds = 8;
        loop {
            self.commit();
            if rounds > 0 {
                rounds -= 1;
                self.run_woken();
            }
            if self.tick.borrow().staged.is_empty() {
                break;
            }
        }
        let mut dirty = std::mem::take(&mut self.tick.borrow_mut().dirty);
        for connection in dirty.drain(..) {
            connection.noted.set(false);
            connection.staged.set(0);
            connection.flush(self);
        }
        let mut tick = self.tick.borrow_mut();
        if tick.dirty.is_empty() {
            tick.dirty = dirty;
        }
    }

    fn commit(&self) {
        if self.tick.borrow().staged.is_empty() {
            return;
        }
        let result = catch_unwind(AssertUnwindSafe(|| self.service.commit()));
        let result = result.unwrap_or_else(|_| {
            tracing::error!("a commit panicked");
            Err(Refusal {
                code: crate::code::response::SYSTEM_ERROR,
                remark: "the commit failed inside the server, see its log".to_owned(),
            })
        });
        let mut tick = self.tick.borrow_mut();
        let Tick { staged, dirty } = &mut *tick;
        let mut parked = self.parked.borrow_mut();
        let mut marks = Marks::new(&*self.service);
        if result.is_err() || !staged.iter().all(|answer| marks.reached(answer.mark)) {
            // A connection may have had two turns in this tick, with others between.
            staged.sort_by_key(|answer| answer.connection);
            for group in staged.chunk_by(|a, b| a.connection == b.connection) {
                let at = group.first().map_or(0, |first| first.connection as usize);
                let Some(connection) = dirty.get(at) else {
                    continue;
                };
                connection.rewrite(self, group, |answer, bytes, out| match &result {
                    Ok(()) if marks.reached(answer.mark) => out.extend_from_slice(bytes),
                    Ok(()) => {
                        parked.park(answer.mark, connection, bytes, self.service.mark_timeout())
                    }
                    Err(refusal) if !bytes.is_empty() => {
                        let reply = Reply::new(out, answer.head, refusal.code);
                        reply.remark(&refusal.remark).finish();
                    }
                    Err(_) => {}
                });
            }
        }
        staged.clear();
        drop(tick);
        let first = parked.announce(&self.hub, self.index);
        drop(parked);
        if first {
            self.deadline_moved.notify_one();
            // The mark may have moved before the flush thread knew that somebody waits.
            self.release();
        }
    }

    /// Parked answers whose mark is reached go back into their out-buffers; if none will be reached any
    /// more, the others are refused.
    pub(crate) fn release(&self) {
        let mut parked = self.parked.borrow_mut();
        // Asked for before the marks: whatever they cover then is safe, and leaves as it is.
        let waiting = !parked.is_empty();
        let failed = waiting.then(|| self.service.failed()).flatten();
        parked.release(&*self.service, |connection, bytes| {
            self.unpark(connection, bytes);
        });
        if let Some(refusal) = failed {
            parked.refuse(&refusal, |connection, bytes| {
                self.unpark(connection, bytes);
            });
        }
        parked.announce(&self.hub, self.index);
        self.feed(&parked);
    }

    /// Parked answers whose time is over leave with another code.
    pub(crate) fn expire_parked(&self, now: std::time::Instant) {
        let mut parked = self.parked.borrow_mut();
        parked.expire(&*self.service, now, |connection, bytes| {
            self.unpark(connection, bytes);
        });
        parked.announce(&self.hub, self.index);
        self.feed(&parked);
    }

    fn unpark(&self, connection: &Rc<Connection>, bytes: [&[u8]; 2]) {
        let mut out = connection.out(self);
        for part in bytes {
            out.extend_from_slice(part);
        }
        drop(out);
        self.note(connection);
    }

    fn feed(&self, parked: &Parked) {
        if self.starved.get() && parked.bytes() < self.limits.parked {
            self.starved.set(false);
            for connection in self.connections.borrow().values() {
                connection.nudge();
            }
        }
    }

    fn run_woken(&self) {
        let mut woken = self.woken.take();
        Hub::take_woken(&mut woken);
        for (connection, ticket) in woken.drain(..) {
            self.rerun(connection, ticket, Cause::Run(Again::Woken));
        }
        self.woken.replace(woken);
    }

    /// Runs a held or cold request again.
    pub(crate) fn rerun(&self, connection: ConnectionId, ticket: u64, cause: Cause) {
        let found = self.connections.borrow().get(&connection).cloned();
        if let Some(connection) = found {
            connection.rerun(self, ticket, cause);
        }
    }

    /// Resolves when the thread shall end.
    pub(crate) async fn until_stopped(&self) {
        std::future::poll_fn(|context| {
            if self.stopped.get() {
                return std::task::Poll::Ready(());
            }
            let mut waker = self.stop_waker.borrow_mut();
            if !waker
                .as_ref()
                .is_some_and(|old| old.will_wake(context.waker()))
            {
                *waker = Some(context.waker().clone());
            }
            std::task::Poll::Pending
        })
        .await;
    }

    pub(crate) fn stop(&self) {
        self.stopped.set(true);
        if let Some(waker) = self.stop_waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// What became of a request, for who keeps its bytes.
pub(crate) enum Next {
    Served,
    Hold(std::time::Duration),
    Cold(Box<dyn FnOnce() + Send>),
    Broken(FrameError),
}

/// Asks the service for each watermark at most once.
pub(crate) struct Marks<'a> {
    service: &'a dyn Service,
    known: [Option<model::LogOffset>; 3],
}

impl<'a> Marks<'a> {
    pub(crate) fn new(service: &'a dyn Service) -> Marks<'a> {
        Marks {
            service,
            known: [None; 3],
        }
    }

    pub(crate) fn reached(&mut self, mark: Mark) -> bool {
        let [appended, flushed, confirmed] = &mut self.known;
        let known = match mark.level {
            model::Level::Appended => appended,
            model::Level::Flushed => flushed,
            model::Level::Confirmed => confirmed,
        };
        mark.at <= *known.get_or_insert_with(|| self.service.reached(mark.level))
    }
}

thread_local! {
    /// Counts how often this thread had nothing more to run and looked at its sockets.
    static TURN: Cell<u64> = const { Cell::new(0) };
}

/// Called when the thread is about to wait.
pub(crate) fn turn_ends() {
    TURN.set(TURN.get() + 1);
}

/// How many connections staged in this turn and in the one before.
#[derive(Default)]
struct Turns {
    turn: Cell<u64>,
    stagers: Cell<u32>,
    before: Cell<u32>,
}

impl Turns {
    /// Counts a stager. Whether it is the only one, as far as one can tell.
    fn alone(&self) -> bool {
        let now = TURN.get();
        if self.turn.replace(now) != now {
            self.before.set(self.stagers.replace(0));
        }
        self.stagers.set(self.stagers.get() + 1);
        self.stagers.get() == 1 && self.before.get() <= 1
    }
}
