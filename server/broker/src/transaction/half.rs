//! Half messages: sends that nobody sees before their producer says so.

use std::sync::Arc;

use model::flag::sys;
use model::message::{NAME_END, PROPERTIES_MAX, VALUE_END, append, key};
use model::record::View;
use model::{Level, Mark};
use store::{Draft, Flush, Keys, Queue};

use super::said::Said;
use crate::produce::{Facts, PROPERTIES, Produce, Produced, UniqueKey, rewrite};
use crate::settings::Setting;
use crate::topic::{Topic, system, topic_missing};
use crate::{Answer, AskedFor, Broker, Caller, Error};

/// Bytes of properties that are left free for what is added to a half message later.
const ROOM: usize = 64;

/// Whether a send is a half message. A retry of a client older than 4.6.1 is not: it only still says so.
pub(crate) fn is_half(send: &Produce<'_>, facts: &Facts<'_>) -> bool {
    let prepared = send.sys_flag & sys::TRANSACTION_MASK == sys::TRANSACTION_PREPARED;
    let old_retry = send.reconsume_times > 0 && facts.delay;
    (facts.transaction || prepared) && !old_retry
}

/// The value of `CHECK_IMMUNITY_TIME_IN_SECONDS`, in milliseconds.
pub(super) fn immunity_of(value: &str) -> Option<i64> {
    let seconds: i64 = value.parse().ok()?;
    (seconds >= 0).then(|| seconds.saturating_mul(1000))
}

/// Until when a half message waits for a decision, ms since the Unix epoch, if its producer said.
pub(crate) fn expires_at(half: &View<'_>) -> Option<i64> {
    half.property(key::EXPIRES_AT)?.parse().ok()
}

/// The same of a send.
fn deadline(said: &Said<'_>) -> Result<Option<i64>, Error> {
    let Some(text) = said.expires_at else {
        return Ok(None);
    };
    let deadline = text.parse().ok().filter(|&deadline: &i64| deadline > 0);
    let short: String = text.chars().take(32).collect();
    let why = || format!("{} is no time: \"{short}\"", key::EXPIRES_AT);
    deadline.ok_or_else(|| Error::Invalid(why())).map(Some)
}

/// Ends a half message's properties: when it is asked about first. A start finds it there, whatever
/// the settings are then.
pub(super) fn push_due(text: &mut String, due: i64) {
    append(text, key::TIMER_OUT_MS, &due.to_string());
}

/// A half message's properties without that.
pub(super) fn seen(properties: &str) -> &str {
    let own = properties.trim_end_matches(char::from(VALUE_END));
    let from = own.rfind(char::from(VALUE_END)).map_or(0, |at| at + 1);
    let ours = own
        .get(from..)
        .and_then(|last| last.strip_prefix(key::TIMER_OUT_MS));
    match ours.is_some_and(|rest| rest.starts_with(char::from(NAME_END))) {
        true => properties.get(..from).unwrap_or_default(),
        false => properties,
    }
}

impl Broker {
    /// Stores a half message. It always waits until it is confirmed: its end must find it.
    pub(crate) fn produce_half<'a>(
        &self,
        caller: &Caller,
        send: &Produce<'a>,
        topic: &Topic,
        queue: &Arc<Queue>,
        facts: Facts<'a>,
    ) -> Result<Answer<Produced<'a>>, Error> {
        if send.batch {
            return Err(Error::TransactionShape("a batch"));
        }
        if facts.delay || facts.timer {
            return Err(Error::TransactionShape("a message with a delay"));
        }
        let halves = self.topics.find(system::HALVES);
        let half_queue = halves
            .as_ref()
            .and_then(|topic| topic.queue(&self.store, 0));
        let missing = || topic_missing(system::HALVES, AskedFor::Send);
        let half_queue = half_queue.ok_or_else(missing)?;
        let said = Said::of(send.properties);
        let deadline = deadline(&said)?;
        let unique = match facts.unique_key {
            Some(sent) => UniqueKey::Sent(sent),
            None => UniqueKey::Made(self.new_unique_key()),
        };
        let staged = PROPERTIES.with_borrow_mut(|text| {
            text.clear();
            text.push_str(&self.own.properties);
            rewrite(send.properties, facts.unclean, text);
            self.push_half(send, &said, (topic, queue), &unique, deadline, text);
            if text.len() + ROOM > PROPERTIES_MAX {
                return Err(self.too_large());
            }
            let draft = Draft {
                queue: half_queue,
                flag: send.flag,
                sys_flag: send.sys_flag & !sys::TRANSACTION_MASK,
                born_at: send.born_at,
                born_host: caller.remote,
                reconsume_times: send.reconsume_times,
                prepared_offset: 0,
                body: send.body,
                properties: text,
                tags_code: facts.tags_code,
                keys: Keys::Read {
                    unique: unique.as_str(),
                    keys: facts.keys.unwrap_or_default(),
                    once: facts.once.unwrap_or_default(),
                },
            };
            let staged = self.store.stage(&draft);
            staged.map_err(|error| self.not_staged(error, send.topic))
        });
        let staged = staged.inspect_err(|_| self.stats.put_failed.add(1))?;
        if let Some(halves) = &halves {
            self.stored(halves, &staged);
        }
        self.transactions.prepared.add(1);
        let mut produced = self.produced(half_queue, staged, Some(unique), facts.no_wait);
        produced.fsynced = self.store.flushes() == Flush::Sync;
        produced.queue = queue.id;
        let mark = Mark {
            level: Level::Confirmed,
            at: staged.end,
        };
        Ok(Answer::After(mark, produced))
    }

    /// Ends the properties of a half message: what a decision needs to know of the send.
    fn push_half(
        &self,
        send: &Produce<'_>,
        said: &Said<'_>,
        (topic, queue): (&Topic, &Queue),
        unique: &UniqueKey<'_>,
        deadline: Option<i64>,
        text: &mut String,
    ) {
        if let UniqueKey::Made(made) = unique {
            append(text, key::UNIQ_KEY, made);
        }
        if said.group.is_empty() {
            append(text, key::PGROUP, send.group);
        }
        append(text, key::TRANSACTION_ID, unique.as_str());
        append(text, key::REAL_TOPIC, topic.config.name.as_str());
        append(text, key::REAL_QID, &queue.id.to_string());
        let timeout = self.settings.number(Setting::TransactionTimeout);
        let rest = said.immunity().unwrap_or(timeout);
        let due = self.clock.wall().saturating_add(rest);
        push_due(text, deadline.map_or(due, |deadline| deadline.min(due)));
    }
}

#[cfg(test)]
mod tests {
    use model::message::property;

    use super::*;

    #[test]
    fn only_the_last_due_time_is_hidden() {
        let mut text = "TIMER_OUT_MS\u{1}7\u{2}TAGS\u{1}a\u{2}".to_owned();
        let before = text.clone();
        assert_eq!(seen(&text), before);
        push_due(&mut text, 1_795_535_100_000);
        assert_eq!(property(&text, key::TIMER_OUT_MS), Some("1795535100000"));
        assert_eq!(seen(&text), before);
        assert_eq!(seen(""), "");
    }

    #[test]
    fn an_immunity_is_whole_seconds_from_0_on() {
        let of = |value| {
            let text = format!("CHECK_IMMUNITY_TIME_IN_SECONDS\u{1}{value}\u{2}");
            Said::of(&text).immunity()
        };
        assert_eq!(
            [of("0"), of("7"), of("-1"), of("x")],
            [Some(0), Some(7000), None, None]
        );
        assert_eq!(Said::of("").immunity(), None);
    }
}
