//! Sends with an idempotency key: the first one is stored, the same again is answered as the first was,
//! and another one with its key is refused.
//!
//! The key is the message's property `IDEMPOTENCY_KEY`, so the log itself remembers it: the newest keys
//! are in memory, older ones, or those of the time before a restart, are found by the key index. A key
//! counts for a day from its storage.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use model::message::{key, property};
use model::record::View;
use model::{Level, LogOffset, Mark, QueueId};
use store::pending::{self, HALF_TOPIC, SCHEDULE_TOPIC, TIMER_TOPIC};
use store::{Kind, ReadError, Reads, Staged, Store, Wait};

use super::{Produce, Produced, UniqueKey};
use crate::delay::handle;
use crate::offset::read_failed;
use crate::topic::Topic;
use crate::{Answer, Broker, Caller, Error, limits};

/// How long a key counts, ms.
const KEPT: i64 = 86_400_000;

/// The newest keys.
#[derive(Debug)]
pub(crate) struct Once {
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    first: HashMap<Name, First>,
    order: VecDeque<Name>,
    /// Every key that was stored behind this is here.
    since: LogOffset,
    max: usize,
}

/// A topic and a key as a number that two pairs hardly ever share.
type Name = (u64, u64);

/// The first send with a key.
#[derive(Clone, Copy, Debug)]
struct First {
    at: LogOffset,
    end: LogOffset,
    /// When it was sent, ms since the Unix epoch.
    sent_at: i64,
}

/// What a job found of a key: the record of the first send, if there is one.
struct Earlier(Option<Vec<u8>>);

impl Once {
    /// `since`: how long the log is.
    pub fn new(since: LogOffset, max: usize) -> Once {
        Once {
            known: Mutex::new(Known {
                first: HashMap::new(),
                order: VecDeque::new(),
                since,
                max,
            }),
        }
    }
}

impl Known {
    fn put(&mut self, name: Name, first: First) {
        while self.order.len() >= self.max
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(gone) = self.first.remove(&oldest) {
                self.since = self.since.max(gone.end);
            }
        }
        if self.first.insert(name, first).is_none() {
            self.order.push_back(name);
        }
    }
}

impl Broker {
    /// Stores a message unless one with its key was stored before.
    pub(super) fn produce_once<'a>(
        &self,
        caller: &Caller,
        send: &Produce<'a>,
        topic: &Topic,
        once: &str,
        store: impl FnOnce() -> Result<Answer<Produced<'a>>, Error>,
    ) -> Result<Answer<Produced<'a>>, Error> {
        if once.len() > limits::IDEMPOTENCY_KEY {
            let text = format!(
                "an idempotency key has up to {} bytes",
                limits::IDEMPOTENCY_KEY
            );
            return Err(Error::Invalid(text));
        }
        let (now, name) = (self.clock.wall(), topic.config.name.as_str());
        let id = (pending::key(name, once), pending::key(once, name));
        let earlier = match self.cold.take::<Earlier>(caller) {
            Some(read) => Some(read?),
            None => None,
        };
        let mut known = (self.once.known.lock()).unwrap_or_else(PoisonError::into_inner);
        let first = known.first.get(&id).copied();
        let mut first = first.filter(|first| now.saturating_sub(first.sent_at) < KEPT);
        // Its first place was deleted: a copy of it, delivered or appended again, may be further on.
        let moved = first.is_some_and(|first| first.at < self.store.log_start());
        if moved {
            first = None;
        }
        if let Some(first) = first {
            let mut record = Vec::new();
            match self.store.record(first.at, Wait::No, &mut record) {
                Ok(Reads::Done) => return self.replay(send, once, name, &record, Some(first.end)),
                Ok(Reads::WouldBlock) => {}
                Err(ReadError::Missing(_) | ReadError::Damaged(_)) => {
                    return Err(Error::Busy(
                        "the first send with this idempotency key is on its way",
                    ));
                }
                Err(error) => return Err(read_failed(error)),
            }
        }
        match earlier {
            Some(Earlier(Some(record))) => return self.replay(send, once, name, &record, None),
            // The job looked at all that memory does not know, and there is none.
            Some(Earlier(None)) if first.is_none() => {}
            None if first.is_none() && !moved && known.since <= self.store.log_start() => {}
            _ => {
                if first.is_none() && self.store.indexed() < known.since {
                    return Err(Error::Busy("the key index is not up to date yet"));
                }
                drop(known);
                return self.look_for_first(caller, once, name, first.map(|first| first.at));
            }
        }
        let answer = store()?;
        if let Answer::After(mark, produced) = &answer {
            let first = First {
                at: produced.log_offset,
                end: mark.at,
                sent_at: now,
            };
            known.put(id, first);
        }
        Ok(answer)
    }

    /// Has a job find the first send with a key, or read it.
    fn look_for_first<'a>(
        &self,
        caller: &Caller,
        once: &str,
        topic: &str,
        at: Option<LogOffset>,
    ) -> Result<Answer<Produced<'a>>, Error> {
        let (store, now) = (Arc::clone(&self.store), self.clock.wall());
        let (once, topic) = (once.to_owned(), topic.to_owned());
        let job = self.cold.defer(caller, move || match at {
            Some(at) => {
                let mut record = Vec::new();
                store
                    .record(at, Wait::Yes, &mut record)
                    .map_err(read_failed)?;
                Ok(Earlier(Some(record)))
            }
            None => find(&store, &once, &topic, now).map(Earlier),
        })?;
        match job {
            Answer::Cold(job) => Ok(Answer::Cold(job)),
            _ => Err(Error::Busy("what has this idempotency key is on the disk")),
        }
    }

    /// The first answer again, if this is the first send again. `end`: behind its record.
    fn replay<'a>(
        &self,
        send: &Produce<'a>,
        once: &str,
        topic: &str,
        record: &[u8],
        end: Option<LogOffset>,
    ) -> Result<Answer<Produced<'a>>, Error> {
        let lost = || Error::Store("the first send with this idempotency key".to_owned());
        let view = View::parse(record).map_err(|_| lost())?;
        if !is_first(&view, once, topic) {
            // Two keys share a number: as good as never, and then nothing is stored twice.
            return Err(Error::Busy(
                "this idempotency key cannot be told from another one",
            ));
        }
        let digest = |text| property(text, key::IDEMPOTENCY_DIGEST).unwrap_or_default();
        if digest(view.properties()) != digest(send.properties) {
            return Err(Error::IdempotencyDiffers);
        }
        let waits = Kind::of(view.topic());
        let unique = view
            .property(key::UNIQ_KEY)
            .map(|unique| UniqueKey::Made(unique.into()));
        let queue = match waits {
            Some(_) => view
                .property(key::REAL_QID)
                .and_then(|id| id.parse().ok())
                .map(QueueId),
            None => None,
        };
        let level = view.property(key::DELAY).is_some();
        let due = view
            .property(key::TIMER_OUT_MS)
            .and_then(|due| due.parse().ok());
        let recall_handle = match (waits, due, &unique) {
            (Some(Kind::Timer), Some(due), Some(unique)) if !level => Some(handle::write(
                topic,
                &self.options.name,
                due,
                unique.as_str(),
            )),
            _ => None,
        };
        let at = view.log_offset();
        let staged = Staged {
            queue_offset: view.queue_offset(),
            log_offset: at,
            end: end.unwrap_or(LogOffset(at.0 + record.len() as u64)),
            stored_at: view.stored_at(),
        };
        let stored_in = self.store.find_queue(view.topic(), view.queue().0);
        let stored_in = stored_in.ok_or_else(lost)?;
        let mut produced = self.produced(&stored_in, staged, unique, false);
        produced.queue = queue.unwrap_or(produced.queue);
        produced.recall_handle = recall_handle;
        produced.replayed = true;
        let mark = Mark {
            level: Level::Confirmed,
            at: staged.end,
        };
        Ok(Answer::After(mark, produced))
    }
}

/// Whether a record is of a send with this key to this topic.
fn is_first(view: &View<'_>, once: &str, topic: &str) -> bool {
    let to = match Kind::of(view.topic()) {
        Some(_) => view.property(key::REAL_TOPIC).unwrap_or_default(),
        None => view.topic(),
    };
    to == topic && view.property(key::IDEMPOTENCY_KEY) == Some(once)
}

/// The oldest record with this key that still counts. May block.
fn find(store: &Store, once: &str, topic: &str, now: i64) -> Result<Option<Vec<u8>>, Error> {
    let mut first: Option<(LogOffset, Vec<u8>)> = None;
    for stored_in in [topic, TIMER_TOPIC, SCHEDULE_TOPIC, HALF_TOPIC] {
        let span = (now.saturating_sub(KEPT), i64::MAX);
        let found = store.find_once(stored_in, once, span, limits::IDEMPOTENCY_CANDIDATES);
        for at in found.map_err(read_failed)? {
            let mut record = Vec::new();
            if store.record(at, Wait::Yes, &mut record).is_err() {
                continue; // deleted meanwhile
            }
            let ours = View::parse(&record).is_ok_and(|view| is_first(&view, once, topic));
            if ours && first.as_ref().is_none_or(|(before, _)| at < *before) {
                first = Some((at, record));
            }
        }
    }
    Ok(first.map(|(_, record)| record))
}
