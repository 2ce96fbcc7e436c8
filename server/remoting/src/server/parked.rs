//! Answers that are written but may not leave yet: their record is not on disk, or not on a replica.
//!
//! One queue a level, in the order of staging. The bytes lie end to end in one ring, so that parking
//! costs a copy and no allocation. An answer may overtake those of another level: clients match by
//! opaque.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use model::{Level, LogOffset, Mark};

use crate::command::Command;
use crate::reply::{Head, Reply};
use crate::server::connection::Connection;
use crate::server::{Hub, Refusal, Service};

const LEVELS: [Level; 3] = [Level::Appended, Level::Flushed, Level::Confirmed];

/// The parked answers of one I/O thread.
#[derive(Default)]
pub(crate) struct Parked {
    queues: [Queue; 3],
    bytes: usize,
    announced: bool,
}

#[derive(Default)]
struct Queue {
    answers: VecDeque<Answer>,
    bytes: VecDeque<u8>,
}

struct Answer {
    at: LogOffset,
    deadline: Instant,
    connection: Rc<Connection>,
    length: usize,
}

impl Parked {
    /// Parks a whole answer. One-way requests have none.
    pub(crate) fn park(
        &mut self,
        mark: Mark,
        connection: &Rc<Connection>,
        bytes: &[u8],
        timeout: Duration,
    ) {
        if bytes.is_empty() {
            return;
        }
        let [appended, flushed, confirmed] = &mut self.queues;
        let queue = match mark.level {
            Level::Appended => appended,
            Level::Flushed => flushed,
            Level::Confirmed => confirmed,
        };
        queue.answers.push_back(Answer {
            at: mark.at,
            deadline: Instant::now() + timeout,
            connection: connection.clone(),
            length: bytes.len(),
        });
        queue.bytes.extend(bytes);
        self.bytes += bytes.len();
        connection.add_in_flight(bytes.len());
    }

    /// Hands out what may leave now.
    pub(crate) fn release(
        &mut self,
        service: &dyn Service,
        mut leave: impl FnMut(&Rc<Connection>, [&[u8]; 2]),
    ) {
        for (queue, level) in self.queues.iter_mut().zip(LEVELS) {
            if queue.answers.is_empty() {
                continue;
            }
            let reached = service.reached(level);
            while let Some(answer) = queue.pop_if(|front| front.at <= reached) {
                self.bytes -= answer.length;
                answer.connection.sub_in_flight(answer.length);
                leave(&answer.connection, queue.front(answer.length));
                queue.bytes.drain(..answer.length);
            }
        }
    }

    /// Hands out a refusal for everything that is left. What a mark covers must be released before.
    pub(crate) fn refuse(
        &mut self,
        refusal: &Refusal,
        mut leave: impl FnMut(&Rc<Connection>, [&[u8]; 2]),
    ) {
        for queue in &mut self.queues {
            while let Some(answer) = queue.pop_if(|_| true) {
                self.bytes -= answer.length;
                answer.connection.sub_in_flight(answer.length);
                let bytes: Vec<u8> = queue.bytes.drain(..answer.length).collect();
                leave(&answer.connection, [&refused(&bytes, refusal), &[]]);
            }
        }
    }

    /// Whether nothing is parked.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Hands out what has waited too long, with the code that says so.
    pub(crate) fn expire(
        &mut self,
        service: &dyn Service,
        now: Instant,
        mut leave: impl FnMut(&Rc<Connection>, [&[u8]; 2]),
    ) {
        for (queue, level) in self.queues.iter_mut().zip(LEVELS) {
            while let Some(answer) = queue.pop_if(|front| front.deadline <= now) {
                self.bytes -= answer.length;
                answer.connection.sub_in_flight(answer.length);
                let bytes: Vec<u8> = queue.bytes.drain(..answer.length).collect();
                let late = with_code(bytes, service.late(level));
                leave(&answer.connection, [&late, &[]]);
            }
        }
    }

    /// When the first of them has waited too long.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let first = |queue: &Queue| queue.answers.front().map(|answer| answer.deadline);
        self.queues.iter().filter_map(first).min()
    }

    /// Tells the hub whether moving marks matter to this thread. Whether they began to.
    pub(crate) fn announce(&mut self, hub: &Hub, thread: usize) -> bool {
        let any = self.bytes > 0;
        if any == self.announced {
            return false;
        }
        self.announced = any;
        hub.set_parked(thread, any);
        any
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Queue {
    fn pop_if(&mut self, may: impl Fn(&Answer) -> bool) -> Option<Answer> {
        self.answers
            .front()
            .is_some_and(may)
            .then(|| self.answers.pop_front())?
    }

    fn front(&self, length: usize) -> [&[u8]; 2] {
        let (left, right) = self.bytes.as_slices();
        match left.split_at_checked(length) {
            Some((whole, _)) => [whole, &[]],
            None => {
                let rest = right.get(..length - left.len());
                [left, rest.unwrap_or_default()]
            }
        }
    }
}

/// The same answer with another code. Not the fast path: it happens when the disk has failed.
pub(crate) fn with_code(frame: Vec<u8>, code: i32) -> Vec<u8> {
    match Command::decode(&frame) {
        Ok(answer) => Command { code, ..answer }.to_bytes(),
        Err(_) => frame,
    }
}

/// What is answered instead. What the answer promised is left out.
pub(crate) fn refused(frame: &[u8], refusal: &Refusal) -> Vec<u8> {
    let Ok(answer) = Command::decode(frame) else {
        return Vec::new();
    };
    let head = Head {
        opaque: answer.opaque,
        serialize: answer.serialize,
    };
    let mut out = Vec::new();
    let reply = Reply::new(&mut out, head, refusal.code);
    reply.remark(&refusal.remark).finish();
    out
}
