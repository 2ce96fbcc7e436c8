//! Messages that come later: delay levels and any other time, on one engine.
//!
//! ```text
//!  a send with DELAY or TIMER_*          stored in SCHEDULE_TOPIC_XXXX or rmq_sys_wheel_timer,
//!            |                            with where it goes and when: it waits (store/pending)
//!   past ────┴──> stored where it goes          |
//!                                        due ───┴─── recalled: a marker
//!                                         |
//!              stored where it goes, naming the record that waited
//! ```
//! Never early by the broker's clock, and to the millisecond: a delay of a span of time keeps its
//! length when the clock is set, what waits for a moment follows the clock.

mod deliver;
pub(crate) mod handle;
mod list;
mod recall;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use model::message::{NAME_END, PROPERTIES_MAX, VALUE_END, append, key, property};
use model::{QueueId, TopicName};
use store::pending::{SCHEDULE_TOPIC, TIMER_TOPIC};
use store::{Draft, Queue, Staged};

pub use list::Delayed;
pub use recall::Recalled;

use crate::settings::Setting;
use crate::topic::{Topic, topic_missing};
use crate::{AskedFor, Broker, Error};

/// When a message is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// After the time of this delay level; one that is too high means the highest.
    Level(i32),
    /// After so many milliseconds.
    After(i64),
    /// At this moment, ms since the Unix epoch.
    At(i64),
}

/// Where a message waits, and until when.
pub(crate) struct Wait {
    pub topic: Arc<Topic>,
    pub queue: Arc<Queue>,
    /// Ms since the Unix epoch.
    pub due: i64,
    /// Whether it waits for a delay level: such a message cannot be recalled.
    pub level: bool,
}

/// What the engine keeps between two steps, and counts.
#[derive(Debug, Default)]
pub(crate) struct Delays {
    scratch: Mutex<deliver::Scratch>,
    pub delivered: AtomicU64,
    pub recalled: AtomicU64,
}

impl Broker {
    /// When a message is to come by its properties, as a client may ask. A level beats a time.
    ///
    /// # Errors
    /// [`Error::TimerUnreadable`], [`Error::TimersOff`], [`Error::TimerTooFar`].
    pub(crate) fn when(&self, properties: &str) -> Result<Option<When>, Error> {
        let number = |name: &'static str| match property(properties, name) {
            None => Ok(None),
            Some(text) => text.parse::<i64>().map(Some).map_err(|_| {
                let text = text.chars().take(40).collect();
                Error::TimerUnreadable { name, text }
            }),
        };
        if let Some(level) = number(key::DELAY)?.filter(|&level| level > 0) {
            return Ok(Some(When::Level(i32::try_from(level).unwrap_or(i32::MAX))));
        }
        let when = if let Some(seconds) = number(key::TIMER_DELAY_SEC)? {
            When::After(seconds.saturating_mul(1000))
        } else if let Some(millis) = number(key::TIMER_DELAY_MS)? {
            When::After(millis)
        } else if let Some(due) = number(key::TIMER_DELIVER_MS)? {
            When::At(due)
        } else {
            return Ok(None);
        };
        let left = match when {
            When::At(due) => due.saturating_sub(self.clock.wall()),
            When::After(millis) => millis,
            When::Level(_) => 0,
        };
        let max = self.settings.number(Setting::TimerMax);
        match (self.settings.is(Setting::Timers), left > max) {
            (false, _) => Err(Error::TimersOff),
            (true, true) => Err(Error::TimerTooFar { max }),
            (true, false) => Ok(Some(when)),
        }
    }

    /// Where a message waits. `None`: its time has come already.
    pub(crate) fn wait_until(&self, when: When) -> Result<Option<Wait>, Error> {
        let now = self.clock.wall();
        self.store.pending().observe(now, self.clock.steady());
        let levels = &self.options.delay_levels;
        let (name, id, due) = match when {
            When::Level(level) => {
                let level = (level.max(1) as usize).min(levels.len());
                let Some(&delay) = levels.get(level.wrapping_sub(1)) else {
                    return Ok(None);
                };
                (SCHEDULE_TOPIC, level as u32 - 1, now.saturating_add(delay))
            }
            When::After(millis) => (TIMER_TOPIC, 0, now.saturating_add(millis)),
            When::At(due) => (TIMER_TOPIC, 0, due),
        };
        if due <= now {
            return Ok(None);
        }
        let missing = || topic_missing(name, AskedFor::Send);
        let topic = self.topics.find(name).ok_or_else(missing)?;
        // There may be more levels than the topic declares queues.
        let queue = match topic.queue(&self.store, id) {
            Some(queue) => Arc::clone(queue),
            None => {
                let name = TopicName::parse(name)?;
                self.store.queue(&name, QueueId(id))
            }
        };
        Ok(Some(Wait {
            topic,
            queue,
            due,
            level: matches!(when, When::Level(_)),
        }))
    }

    /// Stores a message that comes to the queue of `draft` later, or now if its time has come. What its
    /// properties say about an earlier delay is left out.
    pub(crate) fn stage_later(&self, draft: &Draft<'_>, when: When) -> Result<Staged, Error> {
        let mut text = String::with_capacity(draft.properties.len() + 128);
        copy_without(draft.properties, is_waiting, &mut text);
        match when {
            When::Level(level) => append(&mut text, key::DELAY, &level.to_string()),
            When::After(_) => {}
            When::At(due) => append(&mut text, key::TIMER_DELIVER_MS, &due.to_string()),
        }
        let name = draft.queue.topic.as_str();
        let Some(wait) = self.wait_until(when)? else {
            let draft = Draft {
                properties: &text,
                ..*draft
            };
            let staged = self.store.stage(&draft);
            let staged = staged.map_err(|error| self.not_staged(error, name))?;
            if let Some(topic) = self.topics.find(name) {
                self.stored(&topic, &staged);
            }
            return Ok(staged);
        };
        wait.push(draft.queue, &mut text);
        if text.len() > PROPERTIES_MAX {
            return Err(self.too_large());
        }
        let staged = self.store.stage(&Draft {
            queue: &wait.queue,
            properties: &text,
            tags_code: wait.due,
            ..*draft
        });
        let staged = staged.map_err(|error| self.not_staged(error, name))?;
        self.stored(&wait.topic, &staged);
        if !wait.level {
            self.stats.timers_in.add(1);
        }
        Ok(staged)
    }
}

impl Wait {
    /// Copies a client's properties: without what only we say, and of a level without the times that it
    /// beats.
    pub fn copy(&self, properties: &str, is_ours: fn(&str) -> bool, out: &mut String) {
        let asks = |name: &str| !self.level && asks_for_time(name);
        let left_out =
            |name: &str| is_ours(name) || (is_waiting(name) && name != key::DELAY && !asks(name));
        copy_without(properties, left_out, out);
    }

    /// Appends where it goes and when. The time last, so that it is easily taken off.
    pub fn push(&self, to: &Queue, out: &mut String) {
        append(out, key::REAL_TOPIC, to.topic.as_str());
        append(out, key::REAL_QID, &to.id.0.to_string());
        append(out, key::TIMER_OUT_MS, &self.due.to_string());
    }
}

/// Copies properties except some, closed by a separator.
pub(crate) fn copy_without(text: &str, left_out: impl Fn(&str) -> bool, out: &mut String) {
    let segments = text.split(char::from(VALUE_END));
    let kept = segments.filter(|segment| {
        let name = segment.split_once(char::from(NAME_END));
        !segment.is_empty() && !name.is_some_and(|(name, _)| left_out(name))
    });
    for segment in kept {
        out.push_str(segment);
        out.push(char::from(VALUE_END));
    }
}

/// Whether a client asks by this property for a time.
fn asks_for_time(name: &str) -> bool {
    matches!(
        name,
        key::TIMER_DELAY_SEC | key::TIMER_DELAY_MS | key::TIMER_DELIVER_MS
    )
}

/// Whether a property is about waiting.
fn is_waiting(name: &str) -> bool {
    matches!(
        name,
        key::DELAY
            | key::REAL_TOPIC
            | key::REAL_QID
            | key::TIMER_OUT_MS
            | key::TIMER_ENQUEUE_MS
            | key::TIMER_DEQUEUE_MS
    ) || asks_for_time(name)
}

/// Reads RocketMQ's table of levels: numbers with `s`, `m`, `h` or `d`, separated by blanks.
///
/// # Errors
/// The entry that cannot be read.
pub fn parse_levels(text: &str) -> Result<Vec<i64>, String> {
    let level = |entry: &str| {
        let (number, unit) = entry.split_at_checked(entry.len().checked_sub(1)?)?;
        let unit = match unit {
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        let number: i64 = number.parse().ok().filter(|&number| number >= 0)?;
        number
            .checked_mul(unit)
            .filter(|&millis| millis <= TEN_YEARS)
    };
    let entries = text.split_whitespace();
    entries
        .map(|entry| level(entry).ok_or_else(|| entry.to_owned()))
        .collect()
}

/// Apache's table of levels.
pub const LEVELS: &str = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";

/// As far ahead as a message may wait, milliseconds.
pub const TEN_YEARS: i64 = 3_653 * 86_400_000;
