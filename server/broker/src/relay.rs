//! Questions that only a client can answer: a tool asks the broker, the broker asks the client, and the
//! tool's request is held until the client has answered.
//!
//! ```text
//! tool -- 307 --> broker -- 307 --> client
//!          (held)    |                |
//! tool <---------- broker <-- answer --
//! ```
//! What a client answers is passed on as it is.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Answer, Broker, Caller, ConnectionId, Error, Notice, limits};

/// What a client answered, in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The protocol's number for how it went; 0 is success.
    pub code: i32,
    /// The client's remark.
    pub remark: Option<String>,
    /// The answer itself.
    pub body: Vec<u8>,
}

/// Numbers of questions begin here, so that they are told apart from what nobody answers.
const FIRST: u32 = 1 << 30;

type Key = (ConnectionId, u64);

/// A client to ask: its connection and its id.
pub(crate) type Client = (ConnectionId, String);

/// A client's id and its answer, or `None` if there will be none.
type Heard = (String, Option<Told>);

/// All open questions, and who waits for which.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    asked: u32,
    open: HashMap<u32, Open>,
    askers: HashMap<Key, Asker>,
}

#[derive(Debug)]
struct Open {
    to: ConnectionId,
    asker: Key,
    place: usize,
}

#[derive(Debug)]
struct Asker {
    open: usize,
    heard: Vec<Heard>,
    until: Duration,
}

impl Questions {
    /// Notes a question to each of these clients; returns their numbers.
    fn begin(&self, caller: &Caller, to: &[Client], until: Duration) -> Option<Vec<u32>> {
        let mut inner = self.lock();
        if inner.open.len() + to.len() > limits::QUESTIONS {
            return None;
        }
        let asker = (caller.connection, caller.ticket);
        let mut numbers = Vec::with_capacity(to.len());
        for (place, &(to, _)) in to.iter().enumerate() {
            let number = FIRST | inner.asked;
            inner.asked = (inner.asked + 1) % FIRST;
            inner.open.insert(number, Open { to, asker, place });
            numbers.push(number);
        }
        let waits = Asker {
            open: to.len(),
            heard: to.iter().map(|(_, id)| (id.clone(), None)).collect(),
            until,
        };
        inner.askers.insert(asker, waits);
        Some(numbers)
    }

    /// A client answered. Returns the asker if that was the last answer it waits for.
    fn answered(&self, from: ConnectionId, number: u32, told: Told) -> Option<Key> {
        let mut inner = self.lock();
        inner.open.get(&number).filter(|open| open.to == from)?;
        inner.close(number, Some(told))
    }

    /// A question did not reach its client.
    fn lost(&self, number: u32) {
        self.lock().close(number, None);
    }

    /// A client is gone. Returns who waits for nobody any more.
    fn closed(&self, gone: ConnectionId) -> Vec<Key> {
        let mut inner = self.lock();
        let open = inner.open.iter().filter(|(_, open)| open.to == gone);
        let numbers: Vec<u32> = open.map(|(&number, _)| number).collect();
        let closed = numbers.into_iter();
        closed
            .filter_map(|number| inner.close(number, None))
            .collect()
    }

    /// What a request that asked has heard, in the order of its questions. `None`: it asked nothing.
    fn finish(&self, caller: &Caller) -> Option<Vec<Heard>> {
        let mut inner = self.lock();
        let asker = (caller.connection, caller.ticket);
        let found = inner.askers.remove(&asker)?;
        if found.open > 0 {
            inner.open.retain(|_, open| open.asker != asker);
        }
        Some(found.heard)
    }

    /// Forgets those whose asker never came back.
    pub fn expire(&self, now: Duration) {
        let mut inner = self.lock();
        let Inner { open, askers, .. } = &mut *inner;
        askers.retain(|_, asker| now <= asker.until + limits::HOLD_MAX);
        open.retain(|_, open| askers.contains_key(&open.asker));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn close(&mut self, number: u32, told: Option<Told>) -> Option<Key> {
        let open = self.open.remove(&number)?;
        let asker = self.askers.get_mut(&open.asker)?;
        asker.open -= 1;
        if let Some(slot) = asker.heard.get_mut(open.place) {
            slot.1 = told;
        }
        (asker.open == 0).then_some(open.asker)
    }
}

impl Broker {
    /// Asks clients, and holds the request until all have answered, are gone, or `limit` is over. Run
    /// again, the request gets what there is.
    pub(crate) fn ask_clients(
        &self,
        caller: &Caller,
        clients: &[Client],
        limit: Duration,
        notice: impl Fn(u32) -> Notice,
    ) -> Result<Answer<Vec<Heard>>, Error> {
        if let Some(heard) = self.questions.finish(caller) {
            return Ok(Answer::Ready(heard));
        }
        let until = self.clock.mono() + limit;
        let numbers = self.questions.begin(caller, clients, until);
        let numbers = numbers.ok_or(Error::Busy("too many questions to clients are open"))?;
        let mut reached = 0;
        for (&(client, _), &number) in clients.iter().zip(&numbers) {
            match self.outlet.notice(client, notice(number)) {
                true => reached += 1,
                false => self.questions.lost(number),
            }
        }
        if reached == 0 {
            return Ok(Answer::Ready(
                self.questions.finish(caller).unwrap_or_default(),
            ));
        }
        Ok(Answer::Hold(limit))
    }

    /// Whether a request asked clients on an earlier run.
    pub(crate) fn has_asked(&self, caller: &Caller) -> bool {
        let asker = (caller.connection, caller.ticket);
        self.questions.lock().askers.contains_key(&asker)
    }

    /// A client answered the question of this number. Anything else that clients answer is nobody's
    /// business.
    pub fn answered(&self, from: ConnectionId, question: u32, told: Told) {
        if let Some(asker) = self.questions.answered(from, question, told) {
            self.outlet.runnable(&[asker]);
        }
    }

    /// Nobody waits for a client that is gone.
    pub(crate) fn ask_no_more(&self, gone: ConnectionId) {
        let free = self.questions.closed(gone);
        if !free.is_empty() {
            self.outlet.runnable(&free);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOL: ConnectionId = ConnectionId(9);

    fn caller(ticket: u64) -> Caller {
        Caller {
            connection: TOOL,
            ticket,
            remote: "127.0.0.1:1".parse().unwrap(),
            language: 0,
            version: 479,
            may_wait: true,
            oneway: false,
        }
    }

    fn told(code: i32) -> Told {
        Told {
            code,
            ..Told::default()
        }
    }

    fn client(connection: u64) -> Client {
        (ConnectionId(connection), connection.to_string())
    }

    const LATER: Duration = Duration::from_secs(10);

    #[test]
    fn the_last_answer_frees_the_asker_and_each_is_at_its_place() {
        let questions = Questions::default();
        let (one, two) = (ConnectionId(1), ConnectionId(2));
        let numbers = questions
            .begin(&caller(7), &[client(1), client(2)], LATER)
            .unwrap();
        assert_eq!(questions.answered(two, numbers[1], told(2)), None);
        assert_eq!(
            questions.answered(two, numbers[0], told(6)),
            None,
            "not its question"
        );
        assert_eq!(
            questions.answered(one, numbers[0], told(1)),
            Some((TOOL, 7))
        );
        assert_eq!(questions.answered(one, numbers[0], told(1)), None, "twice");
        let heard = questions.finish(&caller(7)).unwrap();
        let expected = [("1", 1), ("2", 2)].map(|(id, code)| (id.to_owned(), Some(told(code))));
        assert_eq!(heard, expected);
        assert!(questions.finish(&caller(7)).is_none());
    }

    #[test]
    fn nobody_waits_for_a_client_that_is_gone() {
        let questions = Questions::default();
        questions.begin(&caller(7), &[client(1)], LATER).unwrap();
        questions.begin(&caller(8), &[client(1), client(2)], LATER);
        assert_eq!(questions.closed(ConnectionId(1)), [(TOOL, 7)]);
        let heard = questions.finish(&caller(7)).unwrap();
        assert_eq!(heard, [("1".to_owned(), None)]);
    }

    #[test]
    fn a_request_that_is_over_takes_its_questions_along() {
        let questions = Questions::default();
        let numbers = questions.begin(&caller(7), &[client(1)], LATER).unwrap();
        questions.finish(&caller(7));
        let late = questions.answered(ConnectionId(1), numbers[0], told(0));
        assert_eq!(late, None);
        questions.begin(&caller(8), &[client(1)], LATER);
        questions.expire(LATER * 9);
        assert!(questions.lock().open.is_empty() && questions.lock().askers.is_empty());
    }
}
