//! Putting a half message that was given up back, so that its producers are asked anew (Apache
//! `RESUME_CHECK_HALF_MESSAGE`).

use std::sync::Arc;

use model::id::parse_offset_id;
use model::message::{append, key, properties};
use model::record::View;
use model::{Level, LogOffset, Mark};

use super::fate::{Fate, History};
use super::half::push_due;
use super::{Decision, Place, copy};
use crate::topic::{system, topic_missing};
use crate::{Answer, AskedFor, Broker, Caller, Error};

impl Broker {
    /// Asks anew about the half message with this offset id, or about the dead one, as if nobody had
    /// asked. Doing so twice is doing it once.
    ///
    /// # Errors
    /// [`Error::HalfMissing`], [`Error::TransactionDecided`].
    pub fn resume_transaction(&self, caller: &Caller, id: &str) -> Result<Answer<()>, Error> {
        if let Some(read) = self.cold.take::<History>(caller) {
            return self.resume(&read?);
        }
        let (_, at) = parse_offset_id(id).ok_or(Error::HalfMissing)?;
        let at = self.store.moved(at).map_or(at, |moved| moved.to);
        let store = Arc::clone(&self.store);
        let answer = self.cold.defer(caller, move || History::read(&store, at))?;
        Ok(answer.map(|_| ()))
    }

    fn resume(&self, history: &History) -> Result<Answer<()>, Error> {
        let view = View::parse(&history.record).map_err(|_| Error::HalfMissing)?;
        let at = view.log_offset();
        let mut place = match view.topic() {
            system::HALVES => Place::Half(at),
            system::DEAD_HALVES => Place::Dead(at),
            _ => return Err(Error::HalfMissing),
        };
        let pending = self.store.pending();
        let mut state = self.transactions.state();
        loop {
            if let Place::Half(at) = place
                && pending.claim(at).is_some()
            {
                pending.unclaim(at);
                state.forget(at);
                pending.postpone(at, self.clock.wall());
                state.persist(&self.store)?;
                return Ok(Answer::Ready(()));
            }
            match state.fate(place.offset(), Some(history)) {
                Some((Fate::Ended(first), _)) => return Err(Error::TransactionDecided { first }),
                Some((Fate::Expired, _)) => {
                    let first = Decision::Rollback;
                    return Err(Error::TransactionDecided { first });
                }
                Some((Fate::Dead(at), _)) => place = Place::Dead(at),
                Some((Fate::Again(at), _)) => place = Place::Half(at),
                None => {
                    state.is_known(history)?;
                    let Place::Dead(at) = place else {
                        return Err(Error::HalfMissing);
                    };
                    let (to, mark) = self.put_back(at, &view)?;
                    state.closed(at, Fate::Again(to), mark.at);
                    return Ok(Answer::After(mark, ()));
                }
            }
        }
    }

    /// Stages a half message again, closing the dead one at `at`.
    fn put_back(&self, at: LogOffset, view: &View<'_>) -> Result<(LogOffset, Mark), Error> {
        let halves = self.topics.find(system::HALVES);
        let queue = halves
            .as_ref()
            .and_then(|topic| topic.queue(&self.store, 0));
        let missing = || topic_missing(system::HALVES, AskedFor::Send);
        let mut text = String::new();
        for (name, value) in properties(view.properties()) {
            if name != key::TRANSACTION_CHECK_TIMES {
                append(&mut text, name, value);
            }
        }
        push_due(&mut text, self.clock.wall());
        let staged = (self.store).stage(&copy(view, queue.ok_or_else(missing)?, at, &text))?;
        let mark = Mark {
            level: Level::Confirmed,
            at: staged.end,
        };
        Ok((staged.log_offset, mark))
    }
}
