//! What is remembered of transactions in memory, under one lock: the newest fates, how often which half
//! message was asked about, and whose producers are away.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{Level, LogOffset, Mark};
use store::{Change, Store, Table};

use super::fate::{Fate, Fates, History};
use crate::hash::Seeded;
use crate::stats::Counter;
use crate::{Error, limits};

/// Rows of half messages that wait no more are deleted after so long: one that was written again
/// elsewhere still takes its row along.
const KEPT: i64 = 7 * 86_400_000;

/// Transactions of one broker.
#[derive(Debug)]
pub(crate) struct Transactions {
    state: Mutex<State>,
    /// Half messages stored.
    pub prepared: Counter,
    /// Committed ones.
    pub committed: Counter,
    /// Those rolled back.
    pub rolled_back: Counter,
    /// Questions that reached a producer.
    pub asked: Counter,
    /// Those given up.
    pub dead: Counter,
}

/// How often was asked about a half message, and when it is the next time (ms since the Unix epoch).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub times: u32,
    pub next: i64,
}

#[derive(Debug)]
pub(crate) struct State {
    fates: Fates,
    asked: HashMap<LogOffset, Asked, Seeded>,
    /// Rows that differ from [`State::asked`].
    changed: HashSet<LogOffset>,
    /// By producer group, the half messages that wait for one of its producers to come back.
    pub away: HashMap<Box<str>, HashSet<LogOffset>>,
    /// When was looked last whether some of them are back, ms since the Unix epoch.
    looked: i64,
    /// What the planted bug has committed and not closed.
    pub unclosed: Vec<LogOffset>,
}

impl Transactions {
    /// What the store knows. `now`: milliseconds since the Unix epoch.
    pub fn open(store: &Store, now: i64) -> Transactions {
        let rows = store.rows(Table::Checks);
        let asked = rows.iter().filter_map(|(key, value)| {
            let row = read_row(key, value);
            if row.is_none() {
                tracing::error!("a row of transaction checks cannot be read");
            }
            row
        });
        let since = store.reached(Level::Appended);
        let mut state = State {
            fates: Fates::new(since, limits::DECIDED),
            asked: asked.collect(),
            changed: HashSet::new(),
            away: HashMap::new(),
            looked: 0,
            unclosed: Vec::new(),
        };
        // A kill may have come between a decision and the end of its row.
        state.retain(|at, asked| {
            store.pending().contains(at) || now < asked.next.saturating_add(KEPT)
        });
        Transactions {
            state: Mutex::new(state),
            prepared: Counter::default(),
            committed: Counter::default(),
            rolled_back: Counter::default(),
            asked: Counter::default(),
            dead: Counter::default(),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What became of what lies at `at`, in memory or in what was read, and what must be reached before
    /// it may be told.
    pub fn fate(&self, at: LogOffset, read: Option<&History>) -> Option<(Fate, Option<Mark>)> {
        let remembered = self.fates.get(at).map(|(fate, mark)| (fate, Some(mark)));
        remembered.or_else(|| read?.fate(at).map(|fate| (fate, None)))
    }

    /// Whether what neither memory nor the history names has not happened.
    pub fn is_known(&self, history: &History) -> Result<(), Error> {
        match history.indexed >= self.fates.since() {
            true => Ok(()),
            false => Err(Error::Busy("the key index is not up to date yet")),
        }
    }

    /// What was pending at `at` is no more.
    pub fn closed(&mut self, at: LogOffset, fate: Fate, end: LogOffset) {
        self.fates.put(at, fate, end);
        self.forget(at);
    }

    /// How often was asked about a half message.
    pub fn checks_of(&self, at: LogOffset) -> u32 {
        self.asked.get(&at).map_or(0, |asked| asked.times)
    }

    /// The same, and when it is next.
    pub fn asked(&self, at: LogOffset) -> Option<Asked> {
        self.asked.get(&at).copied()
    }

    pub fn set_asked(&mut self, at: LogOffset, asked: Asked) {
        self.asked.insert(at, asked);
        self.changed.insert(at);
    }

    /// As if nobody had asked about it.
    pub fn forget(&mut self, at: LogOffset) {
        if self.asked.remove(&at).is_some() {
            self.changed.insert(at);
        }
    }

    /// Forgets those that `keep` says no to.
    fn retain(&mut self, keep: impl Fn(LogOffset, Asked) -> bool) {
        let changed = &mut self.changed;
        self.asked.retain(|&at, &mut asked| {
            let kept = keep(at, asked);
            if !kept {
                changed.insert(at);
            }
            kept
        });
    }

    /// Whether it is time to look whether producers came back: once a second.
    pub fn looks(&mut self, now: i64) -> bool {
        let due = (now - self.looked).abs() >= 1_000;
        if due {
            self.looked = now;
        }
        due
    }

    /// Stages the rows that changed, as one record; whether there were any.
    pub fn persist(&mut self, store: &Store) -> Result<bool, Error> {
        if self.changed.is_empty() {
            return Ok(false);
        }
        let rows: Vec<([u8; 8], Option<[u8; 12]>)> = (self.changed.iter())
            .map(|at| (at.0.to_be_bytes(), self.asked.get(at).map(row)))
            .collect();
        let changes: Vec<Change<'_>> = (rows.iter())
            .map(|(key, row)| (Table::Checks, &key[..], row.as_ref().map(|row| &row[..])))
            .collect();
        store.put(&changes)?;
        self.changed.clear();
        Ok(true)
    }
}

/// How often 4, when next 8.
fn row(asked: &Asked) -> [u8; 12] {
    let mut row = [0; 12];
    row[..4].copy_from_slice(&asked.times.to_be_bytes());
    row[4..].copy_from_slice(&asked.next.to_be_bytes());
    row
}

fn read_row(key: &[u8], value: &[u8]) -> Option<(LogOffset, Asked)> {
    let at = LogOffset(u64::from_be_bytes(key.try_into().ok()?));
    let (times, next) = value.split_first_chunk::<4>()?;
    let asked = Asked {
        times: u32::from_be_bytes(*times),
        next: i64::from_be_bytes(next.try_into().ok()?),
    };
    Some((at, asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_as_it_was_and_other_bytes_are_refused() {
        let asked = Asked { times: 3, next: -1 };
        let key = 77u64.to_be_bytes();
        assert_eq!(read_row(&key, &row(&asked)), Some((LogOffset(77), asked)));
        assert_eq!(read_row(&key, &[0; 11]), None);
        assert_eq!(read_row(&[0; 7], &row(&asked)), None);
    }
}
