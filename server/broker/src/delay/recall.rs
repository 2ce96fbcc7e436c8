//! Calling a delayed message back (Apache `RECALL_MESSAGE`).
//!
//! Whoever claims a message first decides: it is delivered, or it is recalled, never both. Apache
//! answers 0 to every handle it can read; whether the message will surely not come we say beside that.
//! A recall that is asked for again has the same answer, behind a restart too: what is due later and does
//! not wait was called back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::message::{append, key};
use model::record::View;
use model::{Level, LogOffset, Mark};
use store::pending::{self, TIMER_TOPIC};
use store::{Draft, Keys, Kind, Open, Reads, Staged, Wait};

use super::handle;
use crate::offset::read_failed;
use crate::settings::Setting;
use crate::topic::topic_missing;
use crate::{Answer, AskedFor, Broker, Caller, Error};

/// A message that was stored is seen so soon, mostly.
const SOON: Duration = Duration::from_millis(50);

/// A message that is due so soon, and does not wait, may be on its way.
const DUE_SOON: i64 = 1_000;

/// How many messages are called back before they are written out.
const RECALLED_AT_ONCE: usize = 1024;

/// What became of a recall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recalled {
    /// The id in the handle.
    pub unique_key: String,
    /// Whether the message will surely not come: it was called back, now or before.
    pub recalled: bool,
}

/// What is known of the messages with a handle's key.
enum Found {
    These(Vec<Open>),
    Cold(Answer<Recalled>),
}

impl Broker {
    /// Calls a delayed message back, by the handle that its send's answer had.
    ///
    /// # Errors
    /// In the order of Apache's checks: [`Error::RecallForbidden`], [`Error::TopicMissing`],
    /// [`Error::Recall`].
    pub fn recall(
        &self,
        caller: &Caller,
        topic: &str,
        handle: &str,
    ) -> Result<Answer<Recalled>, Error> {
        if !self.settings.is(Setting::Recall) {
            return Err(Error::RecallForbidden);
        }
        if self.topics.find(topic).is_none() {
            return Err(topic_missing(topic, AskedFor::Recall));
        }
        let handle = handle::read(handle).ok_or(Error::Recall("recall handle is invalid"))?;
        if handle.topic != topic {
            return Err(Error::Recall("recall failed, topic not match"));
        }
        if handle.broker != self.options.name {
            return Err(Error::Recall("recall failed, broker service not available"));
        }
        let left = handle.time.saturating_sub(self.clock.wall());
        if left <= 0 || left > self.settings.number(Setting::TimerMax).saturating_add(1) {
            return Err(Error::Recall("recall failed, timestamp invalid"));
        }
        // A send is answered when it is safe, and seen a moment later.
        self.show();
        let answer = |recalled| Recalled {
            unique_key: handle.unique_key.clone(),
            recalled,
        };
        let found = match self.with_key(caller, topic, &handle.unique_key)? {
            Found::These(found) => found,
            Found::Cold(answer) => return Ok(answer),
        };
        let mut last = None;
        for open in found {
            if let Some(staged) = self.call_back(open.at, topic, &handle.unique_key)? {
                last = Some(staged);
            }
        }
        let Some(staged) = last else {
            let marks = self.store.marks();
            // It may be on its way: a send that did not wait for the disk is answered before it is seen.
            if caller.may_wait && marks.dispatched < marks.staged {
                return Ok(Answer::Hold(SOON));
            }
            if left <= DUE_SOON {
                return Ok(Answer::Ready(answer(false)));
            }
            // Whoever called it back may still wait for the disk.
            let mark = Mark {
                level: Level::Confirmed,
                at: marks.staged,
            };
            return Ok(Answer::After(mark, answer(true)));
        };
        let mark = Mark {
            level: Level::Confirmed,
            at: staged.end,
        };
        Ok(Answer::After(mark, answer(true)))
    }

    /// Calls back every delayed message that waits, for whoever empties a broker. Returns how many.
    ///
    /// # Errors
    /// As [`Broker::commit`], and if a message could not be called back: then some were.
    pub fn recall_all(&self) -> Result<usize, Error> {
        self.show();
        let mut recalled = 0;
        loop {
            let mut opens = Vec::new();
            let pending = self.store.pending();
            pending.list(Kind::Timer, None, RECALLED_AT_ONCE, &mut opens);
            if opens.is_empty() {
                return Ok(recalled);
            }
            for open in opens {
                recalled += usize::from(self.call_back(open.at, "all", "")?.is_some());
            }
            self.commit()?;
        }
    }

    /// The waiting messages with the key: the hash may be of several.
    fn with_key(&self, caller: &Caller, topic: &str, unique_key: &str) -> Result<Found, Error> {
        let mut opens = Vec::new();
        let hash = pending::key(topic, unique_key);
        self.store.pending().find(hash, &mut opens);
        // What a job read while this request waited is in memory now.
        let wait = match self.cold.take::<()>(caller) {
            Some(read) => read.map(|()| Wait::Yes)?,
            None => Wait::No,
        };
        let mut found = Vec::new();
        let mut bytes = Vec::new();
        for open in opens {
            bytes.clear();
            match self.store.record(open.at, wait, &mut bytes) {
                Ok(Reads::Done) => {}
                Ok(Reads::WouldBlock) => {
                    let store = Arc::clone(&self.store);
                    let job = self.cold.defer(caller, move || {
                        let read = store.record(open.at, Wait::Yes, &mut Vec::new());
                        read.map(|_| ()).map_err(read_failed)
                    })?;
                    let nobody = |()| Recalled {
                        unique_key: String::new(),
                        recalled: false,
                    };
                    return Ok(Found::Cold(job.map(nobody)));
                }
                Err(error) => return Err(read_failed(error)),
            }
            let same = |view: View<'_>| {
                view.property(key::REAL_TOPIC) == Some(topic)
                    && view.property(key::UNIQ_KEY) == Some(unique_key)
            };
            if View::parse(&bytes).is_ok_and(same) {
                found.push(open);
            }
        }
        Ok(Found::These(found))
    }

    /// Stores the marker that closes it. `None`: it was delivered or called back already.
    fn call_back(
        &self,
        at: LogOffset,
        topic: &str,
        unique_key: &str,
    ) -> Result<Option<Staged>, Error> {
        let pending = self.store.pending();
        if pending.claim(at).is_none() {
            return Ok(None);
        }
        let staged = self.stage_marker(at, topic, unique_key);
        match staged {
            Ok(_) => _ = self.delays.recalled.fetch_add(1, Ordering::Relaxed),
            Err(_) => pending.unclaim(at),
        }
        staged.map(Some)
    }

    pub(crate) fn stage_marker(
        &self,
        at: LogOffset,
        topic: &str,
        unique_key: &str,
    ) -> Result<Staged, Error> {
        let missing = || topic_missing(TIMER_TOPIC, AskedFor::Recall);
        let timers = self.topics.find(TIMER_TOPIC).ok_or_else(missing)?;
        let queue = timers.queue(&self.store, 0).ok_or_else(missing)?;
        let mut properties = String::new();
        append(
            &mut properties,
            key::TIMER_DEL_UNIQKEY,
            &format!("{topic}+{unique_key}"),
        );
        let staged = self.store.stage(&Draft {
            queue,
            flag: 0,
            sys_flag: 0,
            born_at: self.clock.wall(),
            born_host: self.options.address,
            reconsume_times: 0,
            prepared_offset: at.0,
            body: b"0",
            properties: &properties,
            tags_code: 0,
            keys: Keys::Unread,
        });
        let staged = staged.map_err(|error| self.not_staged(error, TIMER_TOPIC))?;
        self.stored(&timers, &staged);
        Ok(staged)
    }
}
