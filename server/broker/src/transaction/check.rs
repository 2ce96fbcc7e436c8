//! Asking producers: which half messages are due, whom to ask, and when to give up.
//!
//! A question counts when it was handed to a producer's connection, not when nobody was there to be
//! asked: such a half message waits until a producer of its group comes back, or until it is as old as
//! messages get here.

use std::time::Duration;

use model::LogOffset;
use model::QueueId;
use model::TopicName;
use model::message::key;
use model::record::{self, Record, View};
use store::Draft;
use store::pending::{Kind, Open};

use super::fate::Fate;
use super::half::expires_at;
use super::state::Asked;
use super::{copy, read, with_checks};
use crate::settings::Setting;
use crate::topic::{system, topic_missing};
use crate::{AskedFor, Broker, Error, HalfCheck, Notice, limits};

/// How long a half message rests whose producers are away; one of them coming back wakes it.
const AWAY: i64 = 3_600_000;
/// How long one rests whose producers take nothing right now.
const CROWDED: i64 = 1_000;
/// How often is looked whether producers came back.
const LOOK: Duration = Duration::from_secs(1);

/// What became of a question.
enum Asking {
    /// A producer has it.
    Handed,
    /// There is nobody.
    Nobody,
    /// There is somebody, who takes nothing now.
    Refused,
}

impl Broker {
    /// Asks about half messages that are due at `now` (ms since the Unix epoch), some at a time.
    /// Returns when to call again.
    ///
    /// # Errors
    /// As [`Broker::commit`].
    pub(crate) fn transaction_step(&self, now: i64) -> Result<Duration, Error> {
        self.wake_returned(now);
        self.close_planted()?;
        let mut due = Vec::new();
        let pending = self.store.pending();
        pending.due(Kind::Half, now, limits::CHECKS_AT_ONCE, &mut due);
        for open in &due {
            if let Err(error) = self.look_at(open, now) {
                tracing::warn!(at = open.at.0, %error, "a half message could not be looked at");
                pending.postpone(open.at, now + self.check_interval());
            }
        }
        let rows = self.transactions.state().persist(&self.store);
        let staged = rows.unwrap_or_else(|error| {
            // They are in memory, and are tried again with the next step.
            tracing::warn!(%error, "how often producers were asked could not be staged");
            false
        });
        if staged || !due.is_empty() {
            self.commit()?;
        }
        if due.len() == limits::CHECKS_AT_ONCE {
            return Ok(Duration::ZERO);
        }
        let away = !self.transactions.state().away.is_empty();
        let idle = if away { LOOK } else { Duration::MAX };
        // Wall time is looked at again soon: it may be set.
        Ok(pending.next_due(Kind::Half).map_or(idle, |next| {
            let left = u64::try_from(next.saturating_sub(now)).unwrap_or(0);
            Duration::from_millis(left.max(1)).min(LOOK)
        }))
    }

    /// The planted bug's second step.
    fn close_planted(&self) -> Result<(), Error> {
        let unclosed = std::mem::take(&mut self.transactions.state().unclosed);
        for at in unclosed {
            self.stage_marker(at, "planted", "bug")?;
        }
        Ok(())
    }

    fn check_interval(&self) -> i64 {
        self.settings.number(Setting::TransactionCheckInterval)
    }

    /// Makes due whose producers were away and are back.
    fn wake_returned(&self, now: i64) {
        let mut state = self.transactions.state();
        if state.away.is_empty() || !state.looks(now) {
            return;
        }
        let clients = self.clients();
        state.away.retain(|group, halves| {
            let (own, stand_ins) = clients.producers_of(group);
            let back = !own.is_empty() || !stand_ins.is_empty();
            if back {
                for &at in halves.iter() {
                    self.store.pending().postpone(at, now);
                }
            }
            !back
        });
    }

    fn look_at(&self, open: &Open, now: i64) -> Result<(), Error> {
        let mut bytes = Vec::new();
        read(&self.store, open.at, &mut bytes)?;
        let half = View::parse(&bytes).map_err(|_| Error::HalfMissing)?;
        let asked = self.asked(&half);
        let pending = self.store.pending();
        // After a start the set only knows when it was to be asked about first.
        if let Some(asked) = asked.filter(|asked| now < asked.next) {
            pending.postpone(open.at, asked.next);
            return Ok(());
        }
        let times = asked.map_or(0, |asked| asked.times);
        let deadline = expires_at(&half);
        if deadline.is_some_and(|deadline| deadline <= now) {
            return self.expire(&half, times);
        }
        // One with a deadline is kept until then, whoever is asked or not.
        let until = |due: i64| deadline.map_or(due, |deadline| deadline.min(due));
        if i64::from(times) >= self.settings.number(Setting::TransactionCheckMax) {
            return match deadline {
                Some(deadline) => {
                    pending.postpone(open.at, deadline);
                    Ok(())
                }
                None => self.give_up(&half, times),
            };
        }
        let group = half.property(key::PGROUP).unwrap_or_default();
        match self.ask(&half, group, times + 1)? {
            Asking::Handed => {
                self.transactions.asked.add(1);
                let next = until(now + self.check_interval());
                let mut state = self.transactions.state();
                // A decision may have come meanwhile; then nobody asks again.
                if state.fate(open.at, None).is_none() {
                    let times = times + 1;
                    state.set_asked(open.at, Asked { times, next });
                }
                pending.postpone(open.at, next);
            }
            Asking::Refused => pending.postpone(open.at, until(now + CROWDED)),
            Asking::Nobody if deadline.is_none() && self.is_old(&half, now) => {
                self.give_up(&half, times)?;
            }
            Asking::Nobody => {
                pending.postpone(open.at, until(now + AWAY));
                let mut state = self.transactions.state();
                state.away.entry(group.into()).or_default().insert(open.at);
            }
        }
        Ok(())
    }

    /// How often was asked about a half message. One that was written again before its segment was
    /// deleted takes its count along.
    fn asked(&self, half: &View<'_>) -> Option<Asked> {
        let mut state = self.transactions.state();
        let (at, before) = (half.log_offset(), LogOffset(half.prepared_offset()));
        let known = state.asked(at);
        let moved = || state.asked(before).filter(|_| before != LogOffset(0));
        let asked = known.or_else(moved)?;
        if known.is_none() {
            state.set_asked(at, asked);
            state.forget(before);
        }
        Some(asked)
    }

    /// Whether it was stored longer ago than messages are kept. When it was first stored, only its
    /// producer's clock says once it was written again.
    fn is_old(&self, half: &View<'_>, now: i64) -> bool {
        let since = match half.prepared_offset() {
            0 => half.stored_at(),
            _ => half.born_at(),
        };
        let keep = self.settings.number(Setting::ReservedTime);
        since.saturating_add(keep) < now
    }

    /// Hands the question to a producer of the group, any that takes it, else to who stands in for them. By
    /// turns the other way round: a producer that never answers, since it makes no transactions, say, must
    /// not keep the question from who would.
    fn ask(&self, half: &View<'_>, group: &str, times: u32) -> Result<Asking, Error> {
        let (mut first, mut then) = self.clients().producers_of(group);
        if first.is_empty() && then.is_empty() {
            return Ok(Asking::Nobody);
        }
        if times.is_multiple_of(2) {
            std::mem::swap(&mut first, &mut then);
        }
        let check = HalfCheck {
            queue_offset: half.queue_offset(),
            log_offset: half.log_offset(),
            store_host: half.store_host(),
            broker: self.options.name.clone(),
            unique_key: half.property(key::UNIQ_KEY).unwrap_or_default().to_owned(),
            record: real(half, times)?,
        };
        let notice = Notice::CheckTransaction(Box::new(check));
        for producers in [&mut first, &mut then] {
            if !producers.is_empty() {
                let from = self.random() as usize % producers.len();
                producers.rotate_left(from);
            }
        }
        let handed = (first.iter().chain(&then))
            .any(|&producer| self.outlet.notice(producer, notice.clone()));
        Ok(match handed {
            true => Asking::Handed,
            false => Asking::Refused,
        })
    }

    /// Rolls it back, and puts a copy where an operator finds it. Both or none: a commit that comes later
    /// is refused.
    fn expire(&self, half: &View<'_>, times: u32) -> Result<(), Error> {
        let topic = self.ensure_system_topic(system::DEAD_HALVES)?;
        let missing = || topic_missing(system::DEAD_HALVES, AskedFor::Send);
        let queue = topic.queue(&self.store, 0).ok_or_else(missing)?;
        let at = half.log_offset();
        let mut text = String::new();
        let kept = Draft {
            // The marker is what closes it.
            prepared_offset: 0,
            ..copy(half, queue, at, with_checks(half, times, &mut text))
        };
        let (ended, marker) = self.marker(half, true)?;
        let marker = marker.draft(self, &ended, at, half);
        let mut state = self.transactions.state();
        if self.store.pending().claim(at).is_none() {
            return Ok(()); // decided meanwhile
        }
        let mut staged = Vec::new();
        let both = self.store.stage_all(&[marker, kept], &mut staged);
        both.inspect_err(|_| self.store.pending().unclaim(at))?;
        let [ended, kept] = staged[..] else {
            return Ok(());
        };
        state.closed(at, Fate::Expired, ended.end);
        self.stored(&topic, &kept);
        self.transactions.rolled_back.add(1);
        let property = |name| half.property(name).unwrap_or_default();
        tracing::warn!(
            topic = property(key::REAL_TOPIC),
            group = property(key::PGROUP),
            key = property(key::UNIQ_KEY),
            half = at.0,
            asked = times,
            "nobody decided about a half message until its deadline: it is rolled back; a copy lies in {}",
            system::DEAD_HALVES
        );
        Ok(())
    }

    /// Puts it where an operator finds it. Never dropped, and loud: a message that somebody may have
    /// meant to send is not delivered.
    fn give_up(&self, half: &View<'_>, times: u32) -> Result<(), Error> {
        let topic = self.ensure_system_topic(system::DEAD_HALVES)?;
        let missing = || topic_missing(system::DEAD_HALVES, AskedFor::Send);
        let queue = topic.queue(&self.store, 0).ok_or_else(missing)?;
        let at = half.log_offset();
        let mut text = String::new();
        let draft = copy(half, queue, at, with_checks(half, times, &mut text));
        let mut state = self.transactions.state();
        if self.store.pending().claim(at).is_none() {
            return Ok(()); // decided meanwhile
        }
        let staged =
            (self.store.stage(&draft)).inspect_err(|_| self.store.pending().unclaim(at))?;
        state.closed(at, Fate::Dead(staged.log_offset), staged.end);
        self.stored(&topic, &staged);
        self.transactions.dead.add(1);
        let property = |name| half.property(name).unwrap_or_default();
        tracing::error!(
            topic = property(key::REAL_TOPIC),
            group = property(key::PGROUP),
            key = property(key::UNIQ_KEY),
            half = at.0,
            dead = staged.log_offset.0,
            asked = times,
            "a half message was given up: no producer of its group decided; it lies in {}",
            system::DEAD_HALVES
        );
        Ok(())
    }
}

/// A half message as the record it is to be, in its real topic and queue, where it lies now.
fn real(half: &View<'_>, times: u32) -> Result<Vec<u8>, Error> {
    let topic = half.property(key::REAL_TOPIC).unwrap_or_default();
    let topic = TopicName::parse(topic)?;
    let queue = half.property(key::REAL_QID).and_then(|id| id.parse().ok());
    let mut text = String::new();
    let record = Record {
        topic: topic.as_str(),
        queue: QueueId(queue.unwrap_or_default()),
        queue_offset: half.queue_offset(),
        log_offset: half.log_offset(),
        flag: half.flag(),
        sys_flag: half.sys_flag(),
        born_at: half.born_at(),
        born_host: half.born_host(),
        stored_at: half.stored_at(),
        store_host: half.store_host(),
        reconsume_times: half.reconsume_times(),
        prepared_offset: 0,
        body: half.body(),
        properties: with_checks(half, times, &mut text),
    };
    let mut out = Vec::with_capacity(half.len() + 64);
    record::encode(&record, &mut out);
    Ok(out)
}
