//! One connection: read what is there, serve its whole frames, write once.
//!
//! It stops reading while its peer does not take the answers it has, or while too much of it waits
//! for the disk. A held request (a long poll) is not in flight: it neither counts nor stops anything.

mod again;

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{HashMap, VecDeque};
use std::io::{self, Read};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::frame::{Decoder, FrameError};
use crate::limits::{PUSHED, TICK_FRAMES, TICK_STAGED};
use crate::server::held::{Cause, Held};
use crate::server::thread::{Next, Staged, Thread};
use crate::server::{Peer, Run};

/// A tail above this counts against the limit of all connections.
const LARGE_TAIL: usize = 64 << 10;

/// A connection's state, shared by the tasks of its thread.
pub(crate) struct Connection {
    pub(crate) peer: Arc<Peer>,
    /// Noted in the thread's tick: the tick's end writes, and nobody before.
    pub(crate) noted: Cell<bool>,
    /// Its position in the tick.
    pub(crate) place: Cell<u32>,
    /// Bytes of requests that staged something in this tick.
    pub(crate) staged: Cell<usize>,
    stream: TcpStream,
    out: RefCell<Out>,
    /// What was read and not served yet.
    tail: RefCell<Vec<u8>>,
    /// The tail holds whole frames, left when a limit was met.
    leftover: Cell<bool>,
    /// Part of the tail that is counted in `Thread::partial`.
    counted: Cell<usize>,
    in_flight: Cell<usize>,
    held: RefCell<HashMap<u64, Held>>,
    held_bytes: Cell<usize>,
    /// Runs that wait until `out` has room.
    deferred: RefCell<VecDeque<(u64, Cause)>>,
    waker: RefCell<Option<Waker>>,
    /// The socket took no more.
    blocked: Cell<bool>,
    /// Part of `out` that is counted in `Thread::unwritten`.
    unwritten: Cell<usize>,
    /// The task does not read; whoever makes room wakes it.
    stopped: Cell<bool>,
    closing: Cell<bool>,
    /// Something was read, or written, since the last sweep.
    has_read: Cell<bool>,
    has_written: Cell<bool>,
    /// Sweeps since something was read, or written.
    quiet_read: Cell<u32>,
    quiet_write: Cell<u32>,
}

#[derive(Default)]
struct Out {
    bytes: Vec<u8>,
    written: usize,
}

impl Out {
    fn waiting(&self) -> usize {
        self.bytes.len() - self.written
    }
}

impl Connection {
    pub(crate) fn new(peer: Arc<Peer>, stream: TcpStream, tail: Vec<u8>) -> Rc<Connection> {
        Rc::new(Connection {
            peer,
            noted: Cell::new(false),
            place: Cell::new(0),
            staged: Cell::new(0),
            stream,
            out: RefCell::default(),
            leftover: Cell::new(!tail.is_empty()),
            tail: RefCell::new(tail),
            counted: Cell::new(0),
            in_flight: Cell::new(0),
            held: RefCell::default(),
            held_bytes: Cell::new(0),
            deferred: RefCell::default(),
            waker: RefCell::default(),
            blocked: Cell::new(false),
            unwritten: Cell::new(0),
            stopped: Cell::new(false),
            closing: Cell::new(false),
            has_read: Cell::new(true),
            has_written: Cell::new(true),
            quiet_read: Cell::new(0),
            quiet_write: Cell::new(0),
        })
    }

    /// The connection's task: ready when the connection shall be closed.
    pub(crate) fn poll(self: &Rc<Self>, thread: &Thread, context: &mut Context<'_>) -> Poll<()> {
        self.remember(context.waker());
        loop {
            if self.closing.get() {
                return Poll::Ready(());
            }
            if self.blocked.get() && !self.noted.get() {
                match self.stream.poll_write_ready(context) {
                    Poll::Ready(Ok(())) => {
                        self.flush(thread);
                        continue;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            self.run_deferred(thread);
            if thread.draining.get() && self.is_settled() {
                return Poll::Ready(());
            }
            if !self.may_read(thread) {
                self.stopped.set(true);
                return Poll::Pending;
            }
            if self.leftover.replace(false) {
                self.serve_tail(thread);
                continue;
            }
            match ready!(self.stream.poll_read_ready(context)).and_then(|()| self.read(thread)) {
                Ok(0) => return Poll::Ready(()),
                // There may be more: the others have their turn first.
                Ok(read) if read == thread.read.borrow().len() => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(()),
            }
        }
    }

    /// Reads once and serves what came. How many bytes that was.
    fn read(self: &Rc<Self>, thread: &Thread) -> io::Result<usize> {
        let read = self.fill(&mut thread.read.borrow_mut())?;
        if read == 0 {
            return Ok(0);
        }
        self.has_read.set(true);
        let buffer = thread.read.borrow();
        let bytes = buffer.get(..read).unwrap_or_default();
        let mut tail = self.tail.take();
        if tail.is_empty() {
            let served = self.serve(thread, bytes);
            let rest = bytes.get(served..).unwrap_or_default();
            if !rest.is_empty() {
                let mut tail = thread.buffers.take();
                tail.extend_from_slice(rest);
                self.keep(thread, tail);
            }
        } else {
            tail.extend_from_slice(bytes);
            self.tail.replace(tail);
            self.serve_tail(thread);
        }
        Ok(read)
    }

    /// One `read`. Less than the buffer holds means that the socket is empty; asking again to hear
    /// "would block" would cost a system call per request, so the readiness is cleared at once.
    fn fill(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut partial = None;
        let result = self.stream.try_io(Interest::READABLE, || {
            let read = (&*SockRef::from(&self.stream)).read(buffer)?;
            if cfg!(target_os = "linux") && 0 < read && read < buffer.len() {
                partial = Some(read);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(read)
        });
        partial.map_or(result, Ok)
    }

    fn serve_tail(self: &Rc<Self>, thread: &Thread) {
        let mut tail = self.tail.take();
        let served = self.serve(thread, &tail);
        tail.drain(..served);
        self.keep(thread, tail);
    }

    /// Keeps what was not served, and counts it if it is large.
    fn keep(&self, thread: &Thread, tail: Vec<u8>) {
        let counted = if tail.len() > LARGE_TAIL {
            tail.len()
        } else {
            0
        };
        let before = self.counted.replace(counted);
        if counted > before {
            thread
                .partial
                .fetch_add(counted - before, Ordering::Relaxed);
        } else if counted < before {
            thread
                .partial
                .fetch_sub(before - counted, Ordering::Relaxed);
        }
        if tail.is_empty() {
            thread.buffers.give(tail);
            self.tail.take();
        } else {
            self.tail.replace(tail);
        }
    }

    /// Serves the whole frames at the front of `bytes`, ends the batch, says how far it came.
    fn serve(self: &Rc<Self>, thread: &Thread, bytes: &[u8]) -> usize {
        let mut served = 0;
        let mut frames = 0;
        while !self.closing.get() {
            let rest = bytes.get(served..).unwrap_or_default();
            let length = match Decoder::peek(rest) {
                Ok(Some(length)) => length,
                Ok(None) => break,
                Err(error) => {
                    self.broken(thread, error);
                    break;
                }
            };
            if !self.may_read(thread) {
                self.leftover.set(true);
                break;
            }
            let request = rest.get(..length).unwrap_or_default();
            let run = Run {
                again: None,
                ticket: thread.ticket(),
            };
            match thread.call(self, request, run) {
                Next::Served => {}
                next => {
                    let mut kept = thread.buffers.take();
                    kept.extend_from_slice(request);
                    self.settle(thread, run.ticket, kept, 0, next);
                }
            }
            served += length;
            frames += 1;
            if self.noted.get() {
                self.staged.set(self.staged.get() + length);
            }
            let full = self.waiting() >= thread.limits.out;
            if frames >= TICK_FRAMES || self.staged.get() >= TICK_STAGED || full {
                frames = 0;
                self.write(thread);
            }
        }
        if self.noted.get() {
            thread.tick();
        } else {
            self.flush(thread);
        }
        served
    }

    /// Bytes that are no frames: what was asked before is answered, then the connection ends.
    fn broken(&self, thread: &Thread, error: FrameError) {
        tracing::debug!(peer = ?self.peer, %error, "closing a connection");
        self.write(thread);
        self.close();
    }

    /// Sends frames that nobody asked for. They are taken whole, but a peer that takes nothing is
    /// not kept.
    pub(crate) fn push(self: &Rc<Self>, thread: &Thread, frames: &[u8]) {
        self.peer.arrived(frames.len());
        if self.waiting() > thread.limits.out + PUSHED {
            return self.close();
        }
        self.out(thread).extend_from_slice(frames);
        thread.note(self);
    }

    /// The out-buffer.
    pub(crate) fn out(&self, thread: &Thread) -> RefMut<'_, Vec<u8>> {
        let mut out = self.out.borrow_mut();
        if out.bytes.capacity() == 0 {
            out.bytes = thread.buffers.take();
        }
        RefMut::map(out, |out| &mut out.bytes)
    }

    /// Lets `each` write again, or leave out, the staged answers (sorted by place) of the out-buffer.
    pub(crate) fn rewrite(
        &self,
        thread: &Thread,
        staged: &[Staged],
        mut each: impl FnMut(&Staged, &[u8], &mut Vec<u8>),
    ) {
        let mut new = thread.buffers.take();
        let mut out = self.out.borrow_mut();
        let mut from = out.written;
        for answer in staged {
            let between = out.bytes.get(from..answer.start);
            new.extend_from_slice(between.unwrap_or_default());
            let bytes = out.bytes.get(answer.start..answer.end);
            each(answer, bytes.unwrap_or_default(), &mut new);
            from = answer.end;
        }
        new.extend_from_slice(out.bytes.get(from..).unwrap_or_default());
        out.written = 0;
        thread.buffers.give(std::mem::replace(&mut out.bytes, new));
    }

    /// Writes `out`, or ends the tick that will.
    fn write(&self, thread: &Thread) {
        if self.noted.get() {
            thread.finish_tick();
        } else {
            self.flush(thread);
        }
    }

    /// Writes what the socket takes. Only for connections that are not noted in a tick.
    pub(crate) fn flush(&self, thread: &Thread) {
        let mut out = self.out.borrow_mut();
        let mut blocked = false;
        while let Some(rest) = out.bytes.get(out.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.try_write(rest) {
                Ok(written) => {
                    out.written += written;
                    self.has_written.set(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    blocked = true;
                    break;
                }
                Err(_) => {
                    drop(out);
                    return self.close();
                }
            }
        }
        if !blocked {
            out.written = 0;
            thread.buffers.give(std::mem::take(&mut out.bytes));
        } else if out.written >= out.bytes.len() / 2 {
            let written = std::mem::take(&mut out.written);
            out.bytes.drain(..written);
        }
        let unwritten = if blocked { out.waiting() } else { 0 };
        drop(out);
        let before = self.unwritten.replace(unwritten);
        thread
            .unwritten
            .set(thread.unwritten.get() - before + unwritten);
        if blocked {
            if !self.blocked.replace(true) {
                self.quiet_write.set(0);
            }
            self.wake();
        } else {
            self.blocked.set(false);
            self.nudge();
        }
    }

    fn may_read(&self, thread: &Thread) -> bool {
        let limits = &thread.limits;
        let waiting = self.waiting();
        if thread.draining.get() || self.closing.get() {
            return false;
        }
        if thread.parked.borrow().bytes() >= limits.parked {
            thread.starved.set(true);
            return false;
        }
        waiting < limits.out
            && (waiting == 0 || thread.unwritten.get() < limits.unwritten)
            && self.in_flight.get() < limits.in_flight
            && (self.counted.get() == 0 || thread.partial.load(Ordering::Relaxed) < limits.partial)
    }

    fn waiting(&self) -> usize {
        self.out.borrow().waiting()
    }

    fn is_settled(&self) -> bool {
        let nothing_held = self.held.borrow().is_empty();
        nothing_held && self.waiting() == 0 && self.in_flight.get() == 0 && !self.noted.get()
    }

    /// Counts bytes that wait for a mark or a job.
    pub(crate) fn add_in_flight(&self, bytes: usize) {
        self.in_flight.set(self.in_flight.get() + bytes);
    }

    pub(crate) fn sub_in_flight(&self, bytes: usize) {
        self.in_flight.set(self.in_flight.get() - bytes);
        self.nudge();
    }

    /// Ends the connection's task.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        self.wake();
    }

    /// Lets a connection look again whether it may read.
    pub(crate) fn nudge(&self) {
        if self.stopped.replace(false) {
            self.wake();
        }
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    fn remember(&self, waker: &Waker) {
        let mut kept = self.waker.borrow_mut();
        if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
    }

    /// Called now and then, every `period`: closes the connection if it has been dead for too long.
    pub(crate) fn sweep(&self, thread: &Thread, period: Duration) {
        let quiet = |moved: &Cell<bool>, sweeps: &Cell<u32>| {
            sweeps.set(if moved.replace(false) {
                0
            } else {
                sweeps.get() + 1
            });
            period * sweeps.get()
        };
        let read = quiet(&self.has_read, &self.quiet_read);
        let written = quiet(&self.has_written, &self.quiet_write);
        let limits = &thread.limits;
        let in_frame = !self.leftover.get() && !self.tail.borrow().is_empty();
        let why = if read.min(written) >= limits.idle {
            "nothing moved"
        } else if self.blocked.get() && written >= limits.write_stall {
            "its peer takes no answers"
        } else if in_frame && !self.stopped.get() && read >= limits.frame_stall {
            "a frame never arrived whole"
        } else {
            // Limits of the thread and of all threads are looked at again.
            return self.nudge();
        };
        tracing::debug!(peer = ?self.peer, why, "closing a connection");
        self.close();
    }

    /// Gives back what the thread counted for it, and lets the peer know.
    pub(crate) fn leave(&self, thread: &Thread) {
        self.closing.set(true);
        thread
            .partial
            .fetch_sub(self.counted.take(), Ordering::Relaxed);
        thread
            .unwritten
            .set(thread.unwritten.get() - self.unwritten.take());
        let held = self.held.take();
        let live = held.values().filter(|held| held.deadline.is_some()).count();
        thread.deadlines.borrow_mut().live -= live;
        // Parked answers may keep this value alive for seconds; the peer need not wait for them.
        let _ = SockRef::from(&self.stream).shutdown(std::net::Shutdown::Both);
    }
}
