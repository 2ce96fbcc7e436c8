//! What became of a half message: remembered for a while, and read from the log itself after that.
//!
//! The log remembers for as long as it keeps the half and the record that closed it: both have the same
//! `UNIQ_KEY`, so the key index finds the one from the other. What the index may not have yet is
//! remembered in memory: the last [`limits::DECIDED`] of this life, a fixed number of bytes.

use std::collections::{HashMap, VecDeque};

use model::message::key;
use model::record::View;
use model::{Level, LogOffset, Mark};
use store::Store;

use super::{Decision, read};
use crate::hash::Seeded;
use crate::offset::read_failed;
use crate::topic::system;
use crate::{Error, limits};

/// What closed a half message, or one that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its producer decided.
    Ended(Decision),
    /// Nobody decided until its deadline: it was rolled back.
    Expired,
    /// Asked about too often; its copy lies there.
    Dead(LogOffset),
    /// A half message again, there: put back, or written again before its segment was deleted.
    Again(LogOffset),
}

/// The newest fates.
#[derive(Debug)]
pub(crate) struct Fates {
    known: HashMap<LogOffset, (Fate, LogOffset), Seeded>,
    order: VecDeque<LogOffset>,
    max: usize,
    /// Every fate staged behind this is here.
    since: LogOffset,
}

impl Fates {
    pub fn new(since: LogOffset, max: usize) -> Fates {
        Fates {
            known: HashMap::default(),
            order: VecDeque::new(),
            max,
            since,
        }
    }

    /// `end`: behind the record that closed it.
    pub fn put(&mut self, at: LogOffset, fate: Fate, end: LogOffset) {
        while self.order.len() >= self.max
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some((_, end)) = self.known.remove(&oldest) {
                self.since = end;
            }
        }
        self.order.push_back(at);
        self.known.insert(at, (fate, end));
    }

    /// The fate, and what must be reached before it may be told.
    pub fn get(&self, at: LogOffset) -> Option<(Fate, Mark)> {
        let (fate, end) = *self.known.get(&at)?;
        let level = Level::Confirmed;
        Some((fate, Mark { level, at: end }))
    }

    /// Every fate staged behind this is known here.
    pub fn since(&self) -> LogOffset {
        self.since
    }
}

/// A half message and what the log says became of it. Read by a job.
pub(crate) struct History {
    /// The record.
    pub record: Vec<u8>,
    fates: HashMap<LogOffset, Fate>,
    /// Fates of records below this are among [`History::fates`].
    pub indexed: LogOffset,
}

impl History {
    pub fn read(store: &Store, at: LogOffset) -> Result<History, Error> {
        let indexed = store.indexed();
        let mut history = History {
            record: Vec::new(),
            fates: HashMap::new(),
            indexed,
        };
        read(store, at, &mut history.record)?;
        let view = View::parse(&history.record).map_err(|_| Error::HalfMissing)?;
        let (Some(real), Some(unique)) =
            (view.property(key::REAL_TOPIC), view.property(key::UNIQ_KEY))
        else {
            return Ok(history);
        };
        let mut record = Vec::new();
        let mut fates = HashMap::new();
        for topic in [
            real,
            system::ENDED_HALVES,
            system::DEAD_HALVES,
            system::HALVES,
        ] {
            let found = store.find(topic, unique, 0, i64::MAX, limits::HALF_CANDIDATES);
            for at in found.map_err(read_failed)? {
                record.clear();
                if read(store, at, &mut record).is_err() {
                    continue; // deleted meanwhile
                }
                let Ok(closing) = View::parse(&record) else {
                    continue;
                };
                let is_its = closing.prepared_offset() != 0
                    && closing.topic() == topic
                    && closing.property(key::UNIQ_KEY) == Some(unique);
                if is_its {
                    let fate = match topic {
                        system::ENDED_HALVES if closing.property(key::EXPIRES_AT).is_some() => {
                            Fate::Expired
                        }
                        system::ENDED_HALVES => Fate::Ended(Decision::Rollback),
                        system::DEAD_HALVES => Fate::Dead(at),
                        system::HALVES => Fate::Again(at),
                        _ => Fate::Ended(Decision::Commit),
                    };
                    fates.insert(LogOffset(closing.prepared_offset()), fate);
                }
            }
        }
        history.fates = fates;
        Ok(history)
    }

    pub fn fate(&self, at: LogOffset) -> Option<Fate> {
        self.fates.get(&at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first_and_it_is_known_since_when() {
        let mut fates = Fates::new(LogOffset(5), 2);
        for at in [10, 20, 30] {
            fates.put(
                LogOffset(at),
                Fate::Ended(Decision::Commit),
                LogOffset(at + 5),
            );
        }
        assert_eq!(fates.get(LogOffset(10)), None);
        assert_eq!(fates.since(), LogOffset(15));
        let (fate, mark) = fates.get(LogOffset(30)).unwrap();
        assert_eq!(fate, Fate::Ended(Decision::Commit));
        assert_eq!(mark.at, LogOffset(35));
    }
}
