//! Transactions: when a half message becomes visible, and when its producer is asked.
//!
//! ```text
//!  send, TRAN_MSG ──> half: a record in RMQ_SYS_TRANS_HALF_TOPIC, pending
//!    │ commit ───────> a record in the real topic                     ┐
//!    │ rollback ─────> a marker in RMQ_SYS_TRANS_OP_HALF_TOPIC        │ each names the log offset of
//!    │ asked too often> dead: a copy in TRANS_CHECK_MAX_TIME_TOPIC    │ what it closes (prepared offset)
//!    │                    │ commit, rollback: as above                │
//!    │                    └ put back (323): a half again              ┘
//!    └ no decision in time: its producer is asked (39), and again each interval
//! ```
//! One step is one record, so no kill falls between "copied" and "done", and the first decision wins:
//! steps are staged under one lock, and a later one finds what the first did, in memory or, after a
//! restart, in the log itself. A half's body is written once, however often it is asked about: how
//! often is a row of a table.

mod check;
mod fate;
mod half;
mod look;
mod resume;
mod said;
mod state;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use model::flag::sys;
use model::message::{append, key};
use model::record::View;
use model::{Level, LogOffset, Mark, QueueOffset};
use store::pending::Kind;
use store::{Draft, Keys, Moved, ReadError, Reads, Staged, Store, Wait};

use crate::delay::copy_without;
use crate::offset::read_failed;
use crate::topic::{system, topic_missing};
use crate::{Answer, AskedFor, Broker, Caller, Error, Planted};

use fate::{Fate, History};
pub(crate) use half::{expires_at, is_half};
pub use look::TransactionState;
use said::Said;
use state::State;
pub(crate) use state::Transactions;

/// What a producer decided about its half message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Deliver it.
    Commit,
    /// Nobody is to see it.
    Rollback,
}

/// The end of a transaction (Apache `END_TRANSACTION`), with a decision.
#[derive(Clone, Copy, Debug)]
pub struct EndTransaction<'a> {
    /// The group that sent the half message.
    pub group: &'a str,
    /// Where the half message lies in its queue.
    pub queue_offset: i64,
    /// Where it lies in the log.
    pub log_offset: i64,
    /// What was decided.
    pub decision: Decision,
    /// Whether the broker asked.
    pub from_check: bool,
}

/// A half message whose producer is asked what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HalfCheck {
    /// Where it lies in its queue.
    pub queue_offset: QueueOffset,
    /// Where it lies in the log.
    pub log_offset: LogOffset,
    /// The address in its offset id.
    pub store_host: SocketAddr,
    /// Its `UNIQ_KEY`.
    pub unique_key: String,
    /// The broker that asks.
    pub broker: String,
    /// It as a record, in its real topic and queue.
    pub record: Vec<u8>,
}

thread_local! {
    /// The half message that is being ended.
    static HALF: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Broker {
    /// Ends a transaction. The same decision again changes nothing and is fine.
    ///
    /// # Errors
    /// [`Error::HalfMissing`], [`Error::HalfDiffers`] when it is not the caller's half message,
    /// [`Error::TransactionDecided`] when another decision came first, [`Error::TransactionLate`].
    pub fn end_transaction(
        &self,
        caller: &Caller,
        end: &EndTransaction<'_>,
    ) -> Result<Answer<()>, Error> {
        if let Some(read) = self.cold.take::<History>(caller) {
            let history = read?;
            let done = self.end_half(end, &history.record, Some(&history))?;
            return done.ok_or(Error::HalfMissing);
        }
        let at = LogOffset(u64::try_from(end.log_offset).map_err(|_| Error::HalfMissing)?);
        if at >= self.store.marks().dispatched {
            // Its send was answered as soon as it was confirmed: it may still have to be shown.
            self.show();
        }
        let mut at = at;
        let done = HALF.with_borrow_mut(|record| {
            record.clear();
            let mut read = self.store.record(at, Wait::No, record);
            if let (Err(ReadError::Missing(_)), Some(moved)) = (&read, self.store.moved(at)) {
                at = moved.to;
                read = self.store.record(at, Wait::No, record);
            }
            match read {
                Ok(Reads::Done) => self.end_half(end, record, None),
                Ok(Reads::WouldBlock) => Ok(None),
                Err(ReadError::Missing(_) | ReadError::Damaged(_)) => Err(Error::HalfMissing),
                Err(error) => Err(read_failed(error)),
            }
        })?;
        if let Some(answer) = done {
            return Ok(answer);
        }
        let store = Arc::clone(&self.store);
        let answer = self.cold.defer(caller, move || History::read(&store, at))?;
        Ok(answer.map(|_| ()))
    }

    /// `None`: what became of it can only be read from the log, which is for a job.
    fn end_half(
        &self,
        end: &EndTransaction<'_>,
        record: &[u8],
        history: Option<&History>,
    ) -> Result<Option<Answer<()>>, Error> {
        let view = View::parse(record).map_err(|_| Error::HalfMissing)?;
        let named = LogOffset(end.log_offset as u64);
        let first = match view.log_offset() {
            at if at == named => None,
            at => self.store.moved(named).filter(|moved| moved.to == at),
        };
        let said = Said::of(view.properties());
        check_half(&view, said.group, end, first)?;
        let late = !end.from_check && self.is_late(&view, &said);
        let mut state = self.transactions.state();
        let mut place = Place::Half(view.log_offset());
        loop {
            if let Place::Half(at) = place
                && self.store.pending().claim(at).is_some()
            {
                let done = match late {
                    true => Err(Error::TransactionLate),
                    false => self.close(&mut state, at, (&view, &said), end.decision),
                };
                return match done {
                    Ok(mark) => Ok(Some(Answer::After(mark, ()))),
                    Err(error) => {
                        self.store.pending().unclaim(at);
                        Err(error)
                    }
                };
            }
            match state.fate(place.offset(), history) {
                Some((Fate::Expired, _)) if end.decision == Decision::Commit => {
                    let first = Decision::Rollback;
                    return Err(Error::TransactionDecided { first });
                }
                Some((Fate::Expired, mark)) => {
                    return Ok(Some(
                        mark.map_or(Answer::Ready(()), |mark| Answer::After(mark, ())),
                    ));
                }
                Some((Fate::Ended(first), mark)) if first == end.decision => {
                    return Ok(Some(
                        mark.map_or(Answer::Ready(()), |mark| Answer::After(mark, ())),
                    ));
                }
                Some((Fate::Ended(first), _)) => {
                    return Err(Error::TransactionDecided { first });
                }
                Some((Fate::Dead(at), _)) => place = Place::Dead(at),
                Some((Fate::Again(at), _)) => place = Place::Half(at),
                None => {
                    // Retention appended it again since it was read.
                    if let Some(moved) = self.store.moved(place.offset()) {
                        place = Place::Half(moved.to);
                        continue;
                    }
                    let Some(history) = history else {
                        return Ok(None);
                    };
                    state.is_known(history)?;
                    let Place::Dead(at) = place else {
                        return Err(Error::HalfMissing);
                    };
                    // Nobody asks about a dead one any more: a decision is welcome at any time.
                    let mark = self.close(&mut state, at, (&view, &said), end.decision)?;
                    return Ok(Some(Answer::After(mark, ())));
                }
            }
        }
    }

    /// Stages the record that ends it, and remembers that.
    fn close(
        &self,
        state: &mut State,
        at: LogOffset,
        half: (&View<'_>, &Said<'_>),
        decision: Decision,
    ) -> Result<Mark, Error> {
        let staged = match decision {
            Decision::Commit => self.stage_commit(at, half, state.checks_of(at))?,
            Decision::Rollback => self.stage_rollback(at, half.0)?,
        };
        state.closed(at, Fate::Ended(decision), staged.end);
        if decision == Decision::Commit && self.options.planted == Planted::CommittedInTwoSteps {
            state.unclosed.push(at);
        }
        match decision {
            Decision::Commit => self.transactions.committed.add(1),
            Decision::Rollback => self.transactions.rolled_back.add(1),
        }
        Ok(Mark {
            level: Level::Confirmed,
            at: staged.end,
        })
    }

    /// The half message as the message it was meant to be.
    fn stage_commit(
        &self,
        at: LogOffset,
        (half, said): (&View<'_>, &Said<'_>),
        checks: u32,
    ) -> Result<Staged, Error> {
        let topic = self.topics.find(said.topic);
        let missing = || topic_missing(said.topic, AskedFor::Send);
        let topic = topic.ok_or_else(missing)?;
        let wanted = said.queue.and_then(|queue| queue.parse().ok());
        let wanted: u32 = wanted.unwrap_or_default();
        // The topic may have fewer queues than when the message was sent.
        let queue = (topic.queue(&self.store, wanted))
            .or_else(|| topic.queue(&self.store, wanted % topic.config.write_queues.max(1)))
            .ok_or_else(missing)?;
        let (mut text, mut shorter) = (String::new(), String::new());
        let mut properties = with_checks(half, checks, &mut text);
        if said.expires_at.is_some() {
            // It is between the producer and us.
            copy_without(properties, |name| name == key::EXPIRES_AT, &mut shorter);
            properties = &shorter;
        }
        let draft = Draft {
            sys_flag: half.sys_flag() & !sys::TRANSACTION_MASK | sys::TRANSACTION_COMMIT,
            prepared_offset: match self.options.planted {
                Planted::CommittedInTwoSteps => 0,
                _ => at.0,
            },
            tags_code: said.tags_code(),
            keys: said.keys(),
            ..plain_copy(half, queue, at, properties)
        };
        let staged = self.store.stage(&draft)?;
        self.stored(&topic, &staged);
        Ok(staged)
    }

    /// Stages the marker that the half message is not to be seen.
    fn stage_rollback(&self, at: LogOffset, half: &View<'_>) -> Result<Staged, Error> {
        let (queue, marker) = self.marker(half, false)?;
        Ok(self.store.stage(&marker.draft(self, &queue, at, half))?)
    }

    /// A marker in Apache's topic for that, with its body, the half's place in its queue.
    fn marker(&self, half: &View<'_>, expired: bool) -> Result<(Arc<store::Queue>, Marker), Error> {
        let topic = self.topics.find(system::ENDED_HALVES);
        let queue = topic.as_ref().and_then(|topic| topic.queue(&self.store, 0));
        let missing = || topic_missing(system::ENDED_HALVES, AskedFor::Send);
        let mut properties = String::new();
        append(&mut properties, key::TAGS, "d");
        for name in [key::UNIQ_KEY, key::EXPIRES_AT] {
            let value = half.property(name);
            if let Some(value) = value.filter(|_| expired || name != key::EXPIRES_AT) {
                append(&mut properties, name, value);
            }
        }
        let body = half.queue_offset().to_string();
        let queue = Arc::clone(queue.ok_or_else(missing)?);
        Ok((queue, Marker { properties, body }))
    }

    /// Whether the producer set a time within which it is not asked, and it is over: then the producer
    /// may be answering a question right now.
    fn is_late(&self, half: &View<'_>, said: &Said<'_>) -> bool {
        let limit = said.immunity();
        limit.is_some_and(|limit| self.clock.wall() > half.stored_at().saturating_add(limit))
    }

    /// How many half messages wait for a decision.
    pub(crate) fn halves(&self) -> usize {
        self.store.pending().len(Kind::Half)
    }
}

/// What says that a half message is not to be seen.
struct Marker {
    properties: String,
    body: String,
}

impl Marker {
    fn draft<'a>(
        &'a self,
        broker: &Broker,
        queue: &'a Arc<store::Queue>,
        at: LogOffset,
        half: &View<'a>,
    ) -> Draft<'a> {
        Draft {
            flag: 0,
            sys_flag: 0,
            reconsume_times: 0,
            body: self.body.as_bytes(),
            born_at: broker.clock.wall(),
            born_host: broker.options.address,
            ..copy(half, queue, at, &self.properties)
        }
    }
}

/// What a decision is about.
#[derive(Clone, Copy)]
enum Place {
    /// A half message.
    Half(LogOffset),
    /// One that was given up.
    Dead(LogOffset),
}

impl Place {
    fn offset(self) -> LogOffset {
        match self {
            Place::Half(at) | Place::Dead(at) => at,
        }
    }
}

/// Whether the record is the caller's half message (Apache `checkPrepareMessage`), by where it lies or
/// by its first place.
fn check_half(
    half: &View<'_>,
    group: &str,
    end: &EndTransaction<'_>,
    first: Option<Moved>,
) -> Result<(), Error> {
    let (queue_offset, log_offset) = match first {
        Some(first) => (first.queue_offset, first.from),
        None => (half.queue_offset(), half.log_offset()),
    };
    if half.topic() != system::HALVES {
        return Err(Error::HalfMissing);
    }
    if group != end.group {
        return Err(Error::HalfDiffers("The producer group wrong"));
    }
    if queue_offset.0 as i64 != end.queue_offset {
        return Err(Error::HalfDiffers(
            "The transaction state table offset wrong",
        ));
    }
    if log_offset.0 as i64 != end.log_offset {
        return Err(Error::HalfDiffers("The commit log offset wrong"));
    }
    Ok(())
}

/// A half message on its way to another queue, closing what is pending at `at`.
fn copy<'a>(
    half: &View<'a>,
    queue: &'a Arc<store::Queue>,
    at: LogOffset,
    properties: &'a str,
) -> Draft<'a> {
    Draft {
        tags_code: model::tag::tags_code(model::message::property(properties, key::TAGS)),
        ..plain_copy(half, queue, at, properties)
    }
}

/// The same without its tag.
fn plain_copy<'a>(
    half: &View<'a>,
    queue: &'a Arc<store::Queue>,
    at: LogOffset,
    properties: &'a str,
) -> Draft<'a> {
    Draft {
        queue,
        flag: half.flag(),
        sys_flag: half.sys_flag() & !sys::TRANSACTION_MASK,
        born_at: half.born_at(),
        born_host: half.born_host(),
        reconsume_times: half.reconsume_times(),
        prepared_offset: at.0,
        body: half.body(),
        properties,
        tags_code: 0,
        keys: Keys::Unread,
    }
}

/// The half's properties as others see them, with how often was asked about it if that happened.
fn with_checks<'a>(half: &View<'a>, checks: u32, text: &'a mut String) -> &'a str {
    if checks == 0 {
        return half::seen(half.properties());
    }
    text.push_str(half::seen(half.properties()));
    append(text, key::TRANSACTION_CHECK_TIMES, &checks.to_string());
    text
}

/// A record that should be there, read where blocking is allowed.
fn read(store: &Store, at: LogOffset, out: &mut Vec<u8>) -> Result<(), Error> {
    match store.record(at, Wait::Yes, out) {
        Ok(_) => Ok(()),
        Err(ReadError::Missing(_) | ReadError::Damaged(_)) => Err(Error::HalfMissing),
        Err(error) => Err(read_failed(error)),
    }
}
