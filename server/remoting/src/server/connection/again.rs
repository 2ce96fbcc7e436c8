//! Requests that run again: held until something happens, or cold until their job has read for them.

use std::rc::Rc;
use std::time::Instant;

use super::Connection;
use crate::code::response::{SYSTEM_BUSY, SYSTEM_ERROR};
use crate::server::cold::Job;
use crate::server::held::{Cause, Held};
use crate::server::hub::Mail;
use crate::server::thread::{Next, Thread};
use crate::server::{Again, Run};

/// A request whose jobs never warm anything up is answered with an error.
const JOBS_MAX: u32 = 16;

impl Connection {
    /// Does what a run asked for with the request's bytes: to keep them, or nothing any more.
    pub(super) fn settle(
        &self,
        thread: &Thread,
        ticket: u64,
        bytes: Vec<u8>,
        jobs: u32,
        next: Next,
    ) {
        match next {
            Next::Served => thread.buffers.give(bytes),
            Next::Broken(error) => self.broken(thread, error),
            Next::Hold(time) => {
                let until = Instant::now() + time;
                let held = Held {
                    bytes,
                    deadline: Some(until),
                    // What jobs read took it this far.
                    jobs: 0,
                };
                self.hold(thread, ticket, held, until);
            }
            Next::Cold(work) => {
                let (deadline, jobs) = (None, jobs + 1);
                let held = Held {
                    bytes,
                    deadline,
                    jobs,
                };
                self.warm_up(thread, ticket, held, work);
            }
        }
    }

    fn hold(&self, thread: &Thread, ticket: u64, held: Held, deadline: Instant) {
        if self.held_bytes.get() + held.bytes.len() > thread.limits.held {
            let remark = "[OVERLOAD]system busy, start flow control for a while: \
                          too many requests of this connection wait";
            return thread.refuse(self, &held.bytes, SYSTEM_BUSY, remark);
        }
        self.held_bytes
            .set(self.held_bytes.get() + held.bytes.len());
        self.held.borrow_mut().insert(ticket, held);
        let mut deadlines = thread.deadlines.borrow_mut();
        if deadlines.push(deadline, self.peer.id, ticket) {
            thread.deadline_moved.notify_one();
        }
    }

    fn warm_up(&self, thread: &Thread, ticket: u64, held: Held, work: Box<dyn FnOnce() + Send>) {
        let (hub, index, id) = (thread.hub.clone(), thread.index, self.peer.id);
        let job = Job {
            work,
            done: Box::new(move |fine| {
                hub.post(index, Mail::Warm(id, ticket, fine));
            }),
        };
        if held.jobs > JOBS_MAX {
            return thread.refuse(
                self,
                &held.bytes,
                SYSTEM_ERROR,
                "the data could not be read",
            );
        }
        if !thread.cold.submit(job) {
            let remark = "[OVERLOAD]system busy, start flow control for a while: \
                          too many requests wait for the disk";
            return thread.refuse(self, &held.bytes, SYSTEM_BUSY, remark);
        }
        self.add_in_flight(held.bytes.len());
        self.held.borrow_mut().insert(ticket, held);
    }

    /// Runs a held or cold request again, or notes that it shall when `out` has room.
    pub(crate) fn rerun(self: &Rc<Self>, thread: &Thread, ticket: u64, cause: Cause) {
        let held = self.held.borrow_mut().remove(&ticket);
        let Some(held) = held else {
            return;
        };
        // A cold request is run again by its job, a held one by anything else.
        let is_cold = held.deadline.is_none();
        let by_job = matches!(cause, Cause::Run(Again::Warm) | Cause::Failed);
        let full = self.waiting() >= thread.limits.out;
        if is_cold != by_job || full {
            self.held.borrow_mut().insert(ticket, held);
            if full {
                self.deferred.borrow_mut().push_back((ticket, cause));
            }
            return;
        }
        self.let_go(thread, &held);
        let next = match cause {
            Cause::Failed => {
                let remark = "this request failed inside the server, see its log";
                thread.refuse(self, &held.bytes, SYSTEM_ERROR, remark);
                Next::Served
            }
            Cause::Run(again) => {
                let again = Some(again);
                thread.call(self, &held.bytes, Run { again, ticket })
            }
        };
        thread.note(self);
        self.settle(thread, ticket, held.bytes, held.jobs, next);
    }

    fn let_go(&self, thread: &Thread, held: &Held) {
        match held.deadline {
            Some(_) => {
                self.held_bytes
                    .set(self.held_bytes.get() - held.bytes.len());
                thread.deadlines.borrow_mut().live -= 1;
            }
            None => self.sub_in_flight(held.bytes.len()),
        }
    }

    pub(super) fn run_deferred(self: &Rc<Self>, thread: &Thread) {
        let mut ran = false;
        while self.waiting() < thread.limits.out {
            let Some((ticket, cause)) = self.deferred.borrow_mut().pop_front() else {
                break;
            };
            self.rerun(thread, ticket, cause);
            ran = true;
        }
        if ran {
            thread.finish_tick();
        }
    }

    /// Runs everything held as if its time were over.
    pub(crate) fn end_holds(self: &Rc<Self>, thread: &Thread) {
        let held = self.held.borrow();
        let waiting = held.iter().filter(|(_, held)| held.deadline.is_some());
        let tickets: Vec<u64> = waiting.map(|(&ticket, _)| ticket).collect();
        drop(held);
        for ticket in tickets {
            self.rerun(thread, ticket, Cause::Run(Again::Deadline));
        }
    }

    /// Whether this request is held.
    pub(crate) fn holds(&self, ticket: u64) -> bool {
        let held = self.held.borrow();
        held.get(&ticket)
            .is_some_and(|held| held.deadline.is_some())
    }
}
