//! What is due is stored where it goes, in batches: a batch's bodies are read in the order they lie in
//! the log, and stored in the order they were due.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use model::message::{PROPERTIES_MAX, VALUE_END, append, key, properties};
use model::record::View;
use model::tag::tags_code;
use model::{LogOffset, QueueId, TopicName};
use store::pending::TIMER_TOPIC;
use store::{Draft, Entry, Keys, Kind, Open, Queue, ReadError, Reads, StageError, Wait};

use crate::topic::Topic;
use crate::{Broker, Error, Planted};

/// So many messages are delivered at once.
const BATCH: usize = 512;
/// So many bytes, but at least one message.
const BATCH_BYTES: u64 = 2 << 20;
/// When this many were due at once more are, so often that one step, one write and one wake-up of each
/// consumer for all that are due in this time cost far less than a step each millisecond.
const MANY: usize = 8;
const TOGETHER: Duration = Duration::from_millis(4);
/// So many queues that messages go to are remembered in a batch.
const TARGETS: usize = 64;
/// What could not be stored is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// What cannot be read, or cannot be stored ever, is tried again after this.
const MUCH_LATER: i64 = 3_600_000;
/// The clocks are compared at least so often while something waits.
const LOOK: Duration = Duration::from_secs(1);

/// Kept from step to step, so that a message costs no allocation.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    due: Vec<Open>,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    /// What was read, in the order it was due.
    found: Vec<(Open, Range<usize>)>,
    text: String,
    /// What the planted bug has delivered and not closed.
    unclosed: Vec<LogOffset>,
}

impl Broker {
    /// Delivers a batch of what is due. Returns when to call again.
    pub(crate) fn delay_step(&self, now: i64) -> Result<Duration, Error> {
        let pending = self.store.pending();
        pending.observe(now, self.clock.steady());
        let scratch = self.delays.scratch.lock();
        let mut scratch = scratch.unwrap_or_else(PoisonError::into_inner);
        let scratch = &mut *scratch;
        for at in scratch.unclosed.drain(..) {
            self.stage_marker(at, "planted", "bug")?;
        }
        scratch.due.clear();
        pending.claim_due(Kind::Timer, now, BATCH, BATCH_BYTES, &mut scratch.due);
        let many = scratch.due.len() >= MANY;
        if !scratch.due.is_empty() {
            self.read_due(scratch, now);
            let stored = self.store_due(scratch, now);
            self.commit()?;
            if let Err(error) = stored {
                tracing::warn!(%error, "delayed messages wait until they can be stored");
                return Ok(AGAIN);
            }
        }
        let next = pending.next_due(Kind::Timer);
        Ok(next.map_or(Duration::MAX, |due| {
            let left = u64::try_from(due.saturating_sub(now)).unwrap_or(0);
            match Duration::from_millis(left) {
                // Some that are due did not fit into the batch.
                Duration::ZERO => Duration::ZERO,
                left if many => left.clamp(TOGETHER, LOOK),
                left => left.min(LOOK),
            }
        }))
    }

    /// Reads the claimed records. One that is damaged or gone is reported and waits on: what cannot be
    /// delivered must not vanish.
    fn read_due(&self, scratch: &mut Scratch, now: i64) {
        let Scratch {
            due,
            entries,
            bytes,
            found,
            ..
        } = scratch;
        due.sort_unstable_by_key(|open| open.at);
        entries.clear();
        entries.extend(due.iter().map(|open| Entry {
            log_offset: open.at,
            size: open.size,
            tags_code: 0,
        }));
        bytes.clear();
        // Mostly they are in memory, where a system call for each would cost most of the time.
        let read = match self.store.read_runs(entries, bytes, Wait::No) {
            Ok(Reads::WouldBlock) => self.store.read_runs(entries, bytes, Wait::Yes),
            read => read,
        };
        if read.is_err() {
            bytes.clear();
            for open in due.iter() {
                let read = self.store.record(open.at, Wait::Yes, bytes);
                if let Err(error @ (ReadError::Io(_) | ReadError::Index { .. })) = read {
                    tracing::warn!(at = open.at.0, %error, "reading a delayed message");
                }
            }
        }
        found.clear();
        let mut at = 0;
        for open in due.drain(..) {
            let rest = bytes.get(at..).unwrap_or_default();
            match View::parse(rest) {
                Ok(view) if view.log_offset() == open.at => {
                    found.push((open, at..at + view.len()));
                    at += view.len();
                }
                _ => {
                    tracing::error!(
                        at = open.at.0,
                        "a delayed message cannot be read; it waits on"
                    );
                    self.wait_on(open.at, now);
                }
            }
        }
        found.sort_by_key(|(open, _)| (open.due, open.at));
    }

    fn wait_on(&self, at: LogOffset, now: i64) {
        let pending = self.store.pending();
        pending.postpone(at, now.saturating_add(MUCH_LATER));
        pending.unclaim(at);
    }

    /// Stores what was read. What was not stored is given back.
    fn store_due(&self, scratch: &mut Scratch, now: i64) -> Result<(), StageError> {
        let Scratch {
            bytes,
            found,
            text,
            unclosed,
            ..
        } = scratch;
        let mut goes: Vec<Goes> = Vec::new();
        let (mut left, mut timers) = (found.iter(), 0);
        while let Some((open, range)) = left.next() {
            let view = View::parse(bytes.get(range.clone()).unwrap_or_default());
            let Ok(view) = view else { continue };
            match self.deliver(&view, now, &mut goes, text) {
                Ok(()) => {
                    self.delays.delivered.fetch_add(1, Ordering::Relaxed);
                    timers += u64::from(view.topic() == TIMER_TOPIC);
                    if self.options.planted == Planted::DeliveredInTwoSteps {
                        unclosed.push(open.at);
                    }
                }
                Err(error @ StageError::TooLarge(_)) => {
                    tracing::error!(at = open.at.0, %error, "a delayed message cannot be stored; it waits on");
                    self.wait_on(open.at, now);
                }
                Err(error) => {
                    let pending = self.store.pending();
                    pending.unclaim(open.at);
                    left.for_each(|(open, _)| pending.unclaim(open.at));
                    self.stats.timers_out.add(timers);
                    return Err(error);
                }
            }
        }
        self.stats.timers_out.add(timers);
        Ok(())
    }

    fn deliver(
        &self,
        view: &View<'_>,
        now: i64,
        goes: &mut Vec<Goes>,
        text: &mut String,
    ) -> Result<(), StageError> {
        let said = Said::of(view);
        let known = (goes.iter()).position(|goes| goes.is(said.topic, said.queue));
        let to = match known {
            Some(known) => &goes[known],
            None => {
                let Some(new) = self.goes(said.topic, said.queue, view) else {
                    return Ok(());
                };
                if goes.len() == TARGETS {
                    goes.clear();
                }
                goes.push(new);
                &goes[goes.len() - 1]
            }
        };
        let mut draft = Draft {
            queue: &to.queue,
            flag: view.flag(),
            sys_flag: view.sys_flag(),
            born_at: view.born_at(),
            born_host: view.born_host(),
            reconsume_times: view.reconsume_times(),
            prepared_offset: match self.options.planted {
                Planted::DeliveredInTwoSteps => 0,
                _ => view.log_offset().0,
            },
            body: view.body(),
            properties: delivered(view, now, text),
            tags_code: tags_code(said.tags),
            keys: said.keys,
        };
        let mut staged = self.store.stage(&draft);
        if staged == Err(StageError::Busy) {
            let written = self.store.write_out();
            written.map_err(|error| StageError::ReadOnly(error.0))?;
            staged = self.store.stage(&draft);
        }
        let anew;
        if staged == Err(StageError::Dropped) {
            anew = self.store.queue(&to.queue.topic, to.queue.id);
            draft.queue = &anew;
            staged = self.store.stage(&draft);
        }
        let staged = staged?;
        if let Some(topic) = &to.topic {
            self.stored(topic, &staged);
        }
        Ok(())
    }

    /// The queue a delayed message goes to. If the topic has fewer queues than when it was sent, another
    /// one: there no consumer would look. If the topic is gone, its queue all the same, as with Apache:
    /// who makes the topic again finds the message.
    fn goes(&self, name: &str, id: u32, view: &View<'_>) -> Option<Goes> {
        let topic = self.topics.find(name);
        let there = match &topic {
            Some(topic) if id >= topic.queue_count().max(1) => id % topic.queue_count().max(1),
            _ => id,
        };
        let known = topic
            .as_ref()
            .and_then(|topic| topic.queue(&self.store, there));
        let queue = match known {
            Some(queue) => Arc::clone(queue),
            None => {
                let at = view.log_offset().0;
                tracing::warn!(
                    topic = name,
                    queue = id,
                    at,
                    "a delayed message comes to a topic that is not there"
                );
                self.store
                    .queue(&TopicName::parse(name).ok()?, QueueId(there))
            }
        };
        Some(Goes { topic, queue, id })
    }
}

/// Where a message goes. Kept from one to the next: many go to the same queue.
struct Goes {
    topic: Option<Arc<Topic>>,
    queue: Arc<Queue>,
    /// The queue that was asked for.
    id: u32,
}

impl Goes {
    fn is(&self, name: &str, id: u32) -> bool {
        self.id == id && self.queue.topic.as_str() == name
    }
}

/// What a waiting message's properties say that its delivery needs.
struct Said<'v> {
    topic: &'v str,
    queue: u32,
    tags: Option<&'v str>,
    keys: Keys<'v>,
}

impl<'v> Said<'v> {
    fn of(view: &View<'v>) -> Said<'v> {
        let (mut topic, mut queue, mut tags) = ("", 0, None);
        let (mut unique, mut keys, mut once) = ("", "", "");
        for (name, value) in properties(view.properties()) {
            match name {
                key::REAL_TOPIC => topic = value,
                key::REAL_QID => queue = value.parse().unwrap_or_default(),
                key::TAGS => tags = Some(value),
                key::UNIQ_KEY => unique = value,
                key::KEYS => keys = value,
                key::IDEMPOTENCY_KEY => once = value,
                _ => {}
            }
        }
        Said {
            topic,
            queue,
            tags,
            keys: Keys::Read { unique, keys, once },
        }
    }
}

/// The properties of a message as it is delivered: like Apache, a level's keep where it went, another
/// one's also when.
fn delivered<'t>(view: &View<'t>, now: i64, text: &'t mut String) -> &'t str {
    let all = view.properties();
    if view.topic() == store::pending::SCHEDULE_TOPIC {
        // It is the last one.
        let closed = all.strip_suffix(char::from(VALUE_END)).unwrap_or(all);
        let at = closed.rfind(char::from(VALUE_END)).map_or(0, |at| at + 1);
        let (before, last) = all.split_at(at);
        return match last.starts_with(key::TIMER_OUT_MS) {
            true => before,
            false => all,
        };
    }
    text.clear();
    text.push_str(all);
    let second = view.stored_at().div_euclid(1000) * 1000;
    append(text, key::TIMER_ENQUEUE_MS, &second.to_string());
    append(text, key::TIMER_DEQUEUE_MS, &now.to_string());
    match text.len() > PROPERTIES_MAX {
        true => all,
        false => text,
    }
}
