//! Messages that a consumer could not take: when they come again, and when they are dead letters.
//!
//! ```text
//!            36 send back, or a send to %RETRY%g
//!                  |
//!       times >= max, level < 0, no retry queues, an ordered group gives up?
//!          | yes                                | no
//!     %DLQ%g, at once                   waits, then %RETRY%g
//! ```
//! One record is one transition: what was sent back names the record it came from, so no crash falls
//! between "stored anew" and "done with".

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

use model::group::{GroupConfig, RetryPolicy};
use model::id::push_offset_id;
use model::message::{NAME_END, PROPERTIES_MAX, VALUE_END, append, key, property};
use model::name::RETRY_PREFIX;
use model::record::View;
use model::tag::tags_code;
use model::{GroupName, Level, LogOffset, Mark, TopicName};
use store::{Draft, Keys, Queue, ReadError, Reads, Staged, Wait};

use crate::delay::When;
use crate::offset::read_failed;
use crate::produce::{Produce, Produced};
use crate::settings::Setting;
use crate::stats::item::Rare;
use crate::topic::{Topic, system, topic_missing};
use crate::{Answer, AskedFor, Broker, Caller, Error, UniqueKey};

/// Queues of a dead-letter topic.
const DLQ_QUEUES: u32 = 1;
/// Clients from this version on (3.4.9) say how often a message may be retried.
const SAYS_MAX: i32 = 121;

/// A message that a consumer could not take (Apache `CONSUMER_SEND_MSG_BACK`).
#[derive(Clone, Copy, Debug)]
pub struct SendBack<'a> {
    /// The group, unchecked.
    pub group: &'a str,
    /// Where the message lies in the log.
    pub offset: i64,
    /// Above 0 the delay level of the retry, 0 leaves it to the group's policy, below 0 means no
    /// retry: a dead letter.
    pub level: i32,
    /// So many milliseconds instead, if no dead letter is meant.
    pub after: Option<i64>,
    /// How often the message may be retried, if the consumer says.
    pub max: Option<i32>,
    /// Whether a retry topic that is made gets the unit flag.
    pub unit_mode: bool,
}

/// What becomes of a message that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Dead,
    Again(Pause),
}

/// How long a message waits for its retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// As long as this delay level.
    Level(i32),
    /// So many milliseconds.
    Millis(i64),
}

impl Broker {
    /// Takes a message back that a consumer could not take: it comes again later, or is a dead letter.
    ///
    /// # Errors
    /// [`Error::GroupMissing`], [`Error::BrokerNotWritable`], [`Error::TopicNotWritable`],
    /// [`Error::NothingToSendBack`], and those of a send.
    pub fn send_back(&self, caller: &Caller, back: &SendBack<'_>) -> Result<Answer<()>, Error> {
        let (group, _) = self.find_group(back.group, AskedFor::Send)?;
        let broker = self.options.address;
        if !self.options.permission.writable() {
            return Err(Error::BrokerNotWritable { broker });
        }
        let record = match self.consumed(caller, back.offset)? {
            Source::Here(record) => record,
            Source::Cold(answer) => return Ok(answer),
        };
        let none = Error::NothingToSendBack(back.offset);
        let view = View::parse(&record).map_err(|_| none)?;
        let max = retries(&group, caller, back.max);
        let mut fate = fate(&group, view.reconsume_times(), max, back.level);
        if let (Fate::Again(pause), Some(after)) = (&mut fate, back.after) {
            *pause = Pause::Millis(after.min(self.settings.number(Setting::TimerMax)));
        }
        let mut properties = String::with_capacity(view.properties().len() + 256);
        retried(&view, &mut properties);
        let topic = match fate {
            Fate::Dead => {
                mark_dead(&mut properties);
                self.dead_letter_topic(&group.name)?
            }
            Fate::Again(_) => {
                let name = TopicName::retry_of(&group.name);
                self.retry_topic(name, group.retry_queues, back.unit_mode)?
            }
        };
        let draft = Returned {
            flag: view.flag(),
            sys_flag: view.sys_flag(),
            born_at: view.born_at(),
            born_host: view.born_host(),
            reconsume_times: view.reconsume_times().saturating_add(1),
            prepared_offset: view.log_offset().0,
            body: view.body(),
            properties: &properties,
            tags_code: tags_code(view.property(key::TAGS)),
        };
        let staged = match fate {
            Fate::Dead => self.stage_returned(&topic, &draft)?.0,
            Fate::Again(pause) => self.stage_paused(&topic, &draft, pause)?,
        };
        let from = view.property(key::RETRY_TOPIC).unwrap_or(view.topic());
        self.count_rare(Rare::SentBack, from, &group.name, 1);
        if fate == Fate::Dead {
            self.count_rare(Rare::Dead, from, &group.name, 1);
            tracing::info!(group = %group.name, topic = from,
                from = back.offset, at = staged.log_offset.0, times = view.reconsume_times(), "a message is a dead letter");
        }
        let mark = Mark {
            level: Level::Confirmed,
            at: staged.end,
        };
        Ok(Answer::After(mark, ()))
    }

    /// The message that is sent back.
    fn consumed(&self, caller: &Caller, offset: i64) -> Result<Source, Error> {
        let none = Error::NothingToSendBack(offset);
        let at = LogOffset(u64::try_from(offset).map_err(|_| none.clone())?);
        // Nobody consumed what nobody may see yet.
        if at >= self.store.marks().dispatched {
            return Err(none);
        }
        let mut record = Vec::new();
        match self.cold.take::<Vec<u8>>(caller) {
            Some(read) => record = read?,
            None => match self.store.record(at, Wait::No, &mut record) {
                Ok(Reads::Done) => {}
                Ok(Reads::WouldBlock) => {
                    let store = Arc::clone(&self.store);
                    let answer = self.cold.defer(caller, move || {
                        let mut record = Vec::new();
                        let read = store.record(at, Wait::Yes, &mut record);
                        read.map(|_| record).map_err(|_| none)
                    })?;
                    return Ok(Source::Cold(answer.map(|_| ())));
                }
                Err(ReadError::Missing(_) | ReadError::Damaged(_)) => return Err(none),
                Err(error) => return Err(read_failed(error)),
            },
        }
        // A record of the store's tables, a half message, a timer: nobody was handed these, and one
        // that waits must not be taken for done because somebody names it.
        let consumable = View::parse(&record).is_ok_and(|view| system::consumable(view.topic()));
        match consumable {
            true => Ok(Source::Here(record)),
            false => Err(none),
        }
    }

    /// A send to a retry topic: what a consumer does whose send-back was refused, and how a consumer
    /// in order gives up. `None`: it is stored like any message, with the times returned.
    pub(crate) fn send_to_retry<'a>(
        &self,
        caller: &Caller,
        send: &Produce<'a>,
        name: &TopicName,
    ) -> Result<Retry<'a>, Error> {
        if send.batch {
            return Err(Error::BatchToRetry(name.clone()));
        }
        let group = name.as_str().strip_prefix(RETRY_PREFIX);
        let (group, _) = self.find_group(group.unwrap_or_default(), AskedFor::Send)?;
        // Clients whose producer knows no times write them into the message.
        let said = |name| property(send.properties, name).and_then(|text| text.parse().ok());
        let times = match send.reconsume_times {
            0 => said(key::RECONSUME_TIME).unwrap_or(0),
            times => times,
        };
        let max = said(key::MAX_RECONSUME_TIMES).or(send.max_reconsume_times);
        let max = retries(&group, caller, max);
        let gives_up = {
            let locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.any(group.name.as_str(), self.clock.mono())
        };
        if !gives_up && times <= max && group.retry_queues > 0 {
            let topic = self.retry_topic(name.clone(), 1, send.unit_mode)?;
            return Ok(Retry::Ordinary { topic, times });
        }
        self.check_length(send)?;
        let mut properties = String::with_capacity(send.properties.len() + 256);
        properties.push_str(&self.own.properties);
        kept(send.properties, &mut properties);
        let made = property(send.properties, key::UNIQ_KEY).is_none();
        let made = made.then(|| self.new_unique_key());
        if let Some(made) = &made {
            append(&mut properties, key::UNIQ_KEY, made);
        }
        mark_dead(&mut properties);
        let topic = self.dead_letter_topic(&group.name)?;
        let draft = Returned {
            flag: send.flag,
            sys_flag: send.sys_flag,
            born_at: send.born_at,
            born_host: caller.remote,
            reconsume_times: times,
            prepared_offset: 0,
            body: send.body,
            properties: &properties,
            tags_code: tags_code(property(send.properties, key::TAGS)),
        };
        let (staged, queue) = self.stage_returned(&topic, &draft)?;
        let from = property(send.properties, key::RETRY_TOPIC).unwrap_or(name.as_str());
        self.count_rare(Rare::Dead, from, &group.name, 1);
        tracing::info!(group = %group.name, at = staged.log_offset.0, times, gives_up, "a message is a dead letter");
        let no_wait = property(send.properties, key::WAIT) == Some("false");
        let unique_key = match made {
            Some(made) => Some(UniqueKey::Made(made)),
            None => property(send.properties, key::UNIQ_KEY).map(UniqueKey::Sent),
        };
        let produced = self.produced(&queue, staged, unique_key, no_wait);
        let mark = Mark {
            level: match no_wait {
                true => Level::Appended,
                false => Level::Confirmed,
            },
            at: staged.end,
        };
        Ok(Retry::Dead(Answer::After(mark, produced)))
    }

    /// A group's dead-letter topic: one queue, to read and to write.
    pub(crate) fn dead_letter_topic(&self, group: &GroupName) -> Result<Arc<Topic>, Error> {
        let name = TopicName::dlq_of(group);
        self.ensure_retry_topic(name.clone(), DLQ_QUEUES, false, false)?;
        let found = self.topics.find(name.as_str());
        found.ok_or_else(|| topic_missing(name.as_str(), AskedFor::Send))
    }

    fn retry_topic(&self, name: TopicName, queues: u32, unit: bool) -> Result<Arc<Topic>, Error> {
        self.ensure_retry_topic(name.clone(), queues.max(1), false, unit)?;
        let found = self.topics.find(name.as_str());
        let topic = found.ok_or_else(|| topic_missing(name.as_str(), AskedFor::Send))?;
        match topic.config.perm.writable() && topic.config.write_queues > 0 {
            true => Ok(topic),
            false => Err(Error::TopicNotWritable(name)),
        }
    }

    /// Stores it now.
    fn stage_returned(
        &self,
        topic: &Topic,
        returned: &Returned<'_>,
    ) -> Result<(Staged, Arc<Queue>), Error> {
        if returned.properties.len() > PROPERTIES_MAX {
            return Err(self.too_large());
        }
        let id = (self.random() % u64::from(topic.config.write_queues.max(1))) as u32;
        let queue = topic.queue(&self.store, id);
        let name = topic.config.name.as_str();
        let queue = queue.ok_or_else(|| topic_missing(name, AskedFor::Send))?;
        let draft = returned.draft(queue);
        let staged = self.store.stage(&draft);
        let staged = staged.map_err(|error| self.not_staged(error, name))?;
        self.stored(topic, &staged);
        Ok((staged, Arc::clone(queue)))
    }

    /// Stores it so that it comes to the topic after a pause.
    fn stage_paused(
        &self,
        topic: &Topic,
        returned: &Returned<'_>,
        pause: Pause,
    ) -> Result<Staged, Error> {
        let id = (self.random() % u64::from(topic.config.write_queues.max(1))) as u32;
        let queue = topic.queue(&self.store, id);
        let name = topic.config.name.as_str();
        let queue = queue.ok_or_else(|| topic_missing(name, AskedFor::Send))?;
        let when = match pause {
            Pause::Level(level) => When::Level(level),
            Pause::Millis(millis) => When::After(millis),
        };
        self.stage_later(&returned.draft(queue), when)
    }
}

/// What a send to a retry topic is.
pub(crate) enum Retry<'a> {
    /// A message like any other, for this topic, retried so often.
    Ordinary { topic: Arc<Topic>, times: i32 },
    /// A dead letter, stored.
    Dead(Answer<Produced<'a>>),
}

enum Source {
    Here(Vec<u8>),
    Cold(Answer<()>),
}

/// A message that goes back into the log.
struct Returned<'a> {
    flag: i32,
    sys_flag: i32,
    born_at: i64,
    born_host: SocketAddr,
    reconsume_times: i32,
    prepared_offset: u64,
    body: &'a [u8],
    properties: &'a str,
    tags_code: i64,
}

impl<'a> Returned<'a> {
    fn draft(&self, queue: &'a Arc<Queue>) -> Draft<'a> {
        Draft {
            queue,
            flag: self.flag,
            sys_flag: self.sys_flag,
            born_at: self.born_at,
            born_host: self.born_host,
            reconsume_times: self.reconsume_times,
            prepared_offset: self.prepared_offset,
            body: self.body,
            properties: self.properties,
            tags_code: self.tags_code,
            keys: Keys::Unread,
        }
    }
}

/// How often a message of the group may be retried. A client that leaves it open says a number below
/// 0, or is too old to say.
fn retries(group: &GroupConfig, caller: &Caller, said: Option<i32>) -> i32 {
    let said = said.filter(|&max| max >= 0 && caller.version >= SAYS_MAX);
    said.unwrap_or(group.retry_max_times)
}

/// What becomes of a message that was retried `times` before.
fn fate(group: &GroupConfig, times: i32, max: i32, level: i32) -> Fate {
    // With no queue to retry from nothing can come again. Apache drops such a message.
    if level < 0 || times >= max || group.retry_queues == 0 {
        return Fate::Dead;
    }
    if level > 0 {
        return Fate::Again(Pause::Level(level));
    }
    Fate::Again(match group.retry_policy.wait(times) {
        Some(millis) => Pause::Millis(millis),
        None => Pause::Level(RetryPolicy::level(times)),
    })
}

/// The properties of a message that comes again: its own, and where it came from first.
fn retried(view: &View<'_>, out: &mut String) {
    if view.property(key::ORIGIN_MESSAGE_ID).is_none() {
        let mut id = String::with_capacity(56);
        push_offset_id(&mut id, view.store_host(), view.log_offset());
        append(out, key::ORIGIN_MESSAGE_ID, &id);
    }
    if view.property(key::RETRY_TOPIC).is_none() {
        append(out, key::RETRY_TOPIC, view.topic());
    }
    kept(view.properties(), out);
    append(out, key::WAIT, "false");
}

/// A dead letter says where it came from in the words that replay tools read.
pub(crate) fn mark_dead(properties: &mut String) {
    let origins = [
        (key::RETRY_TOPIC, key::DLQ_ORIGIN_TOPIC),
        (key::ORIGIN_MESSAGE_ID, key::DLQ_ORIGIN_MESSAGE_ID),
    ];
    for (from, to) in origins {
        if let Some(value) = property(properties, from).map(str::to_owned) {
            append(properties, to, &value);
        }
    }
}

/// Copies properties, except what belongs to one delivery: how long it waited, how it was handed out,
/// where it was dead before. A dead letter with a delay left over would come hours late.
pub(crate) fn kept(properties: &str, out: &mut String) {
    let segments = properties.split(char::from(VALUE_END));
    let segments = segments.filter(|segment| {
        let (name, _) = segment.split_once(char::from(NAME_END)).unwrap_or_default();
        !segment.is_empty() && !of_one_delivery(name)
    });
    for segment in segments {
        out.push_str(segment);
        out.push(char::from(VALUE_END));
    }
}

fn of_one_delivery(name: &str) -> bool {
    matches!(
        name,
        key::WAIT
            | key::POP_CK
            | key::CRC32
            | key::DELAY
            | key::DLQ_ORIGIN_TOPIC
            | key::DLQ_ORIGIN_MESSAGE_ID
            | key::RECONSUME_TIME
            | key::MAX_RECONSUME_TIMES
            | "REAL_TOPIC"
            | "REAL_QID"
    ) || name.starts_with("TIMER_")
}

#[cfg(test)]
mod tests;
