//! What became of one transaction, for whoever asks.

use std::sync::Arc;

use model::LogOffset;
use model::message::key;
use model::record::View;

use super::fate::{Fate, History};
use super::half::expires_at;
use super::{Decision, EndTransaction, Place, check_half};
use crate::{Answer, Broker, Caller, Error};

/// How a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionState {
    /// Nobody decided yet.
    Pending {
        /// How often its producers were asked.
        checks: u32,
        /// When it is rolled back by itself, ms since the Unix epoch.
        expires_at: Option<i64>,
    },
    /// Its message is or will be delivered.
    Committed,
    /// Its producer rolled it back.
    RolledBack,
    /// Nobody decided in time: its message lies in `TRANS_CHECK_MAX_TIME_TOPIC`.
    TimedOut,
}

impl Broker {
    /// How the transaction of a half message stands, which is named as by [`Broker::end_transaction`].
    ///
    /// # Errors
    /// [`Error::HalfMissing`], also once the log no longer knows; [`Error::HalfDiffers`].
    pub fn transaction_state(
        &self,
        caller: &Caller,
        group: &str,
        queue_offset: i64,
        log_offset: i64,
    ) -> Result<Answer<TransactionState>, Error> {
        let at = LogOffset(u64::try_from(log_offset).map_err(|_| Error::HalfMissing)?);
        if let Some(read) = self.cold.take::<History>(caller) {
            let named = EndTransaction {
                group,
                queue_offset,
                log_offset,
                decision: Decision::Commit,
                from_check: true,
            };
            return self.state_of(&read?, &named).map(Answer::Ready);
        }
        if at >= self.store.marks().dispatched {
            self.show();
        }
        let at = self.store.moved(at).map_or(at, |moved| moved.to);
        let store = Arc::clone(&self.store);
        match self.cold.defer(caller, move || History::read(&store, at))? {
            Answer::Cold(job) => Ok(Answer::Cold(job)),
            _ => Err(Error::HalfMissing),
        }
    }

    fn state_of(
        &self,
        history: &History,
        named: &EndTransaction<'_>,
    ) -> Result<TransactionState, Error> {
        let view = View::parse(&history.record).map_err(|_| Error::HalfMissing)?;
        let first = self.store.moved(LogOffset(named.log_offset as u64));
        check_half(
            &view,
            view.property(key::PGROUP).unwrap_or_default(),
            named,
            first.filter(|first| first.to == view.log_offset()),
        )?;
        let state = self.transactions.state();
        let mut place = Place::Half(view.log_offset());
        loop {
            match state.fate(place.offset(), Some(history)) {
                Some((Fate::Ended(Decision::Commit), _)) => return Ok(TransactionState::Committed),
                Some((Fate::Ended(Decision::Rollback), _)) => {
                    return Ok(TransactionState::RolledBack);
                }
                Some((Fate::Expired, _)) => return Ok(TransactionState::TimedOut),
                Some((Fate::Dead(at), _)) => place = Place::Dead(at),
                Some((Fate::Again(at), _)) => place = Place::Half(at),
                None => break,
            }
        }
        match place {
            Place::Half(at) if self.store.pending().contains(at) => Ok(TransactionState::Pending {
                checks: state.checks_of(at),
                expires_at: expires_at(&view),
            }),
            Place::Dead(_) => Ok(TransactionState::TimedOut),
            Place::Half(_) => {
                state.is_known(history)?;
                Err(Error::HalfMissing)
            }
        }
    }
}
