//! Sends: what is checked, in which order, and what the broker adds before a message is stored.

mod batch;
mod once;
mod properties;

use std::borrow::Cow;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use model::flag::sys;
use model::id::OffsetId;
use model::message::{PROPERTIES_MAX, append, key};
use model::{Level, LogOffset, Mark, QueueId, QueueOffset, TopicName};
use store::{Draft, Flush, Keys, Queue, StageError, Staged};

pub(crate) use once::Once;
pub(crate) use properties::{Facts, rewrite};

use properties::{facts, is_ours};

use crate::delay::{Wait, handle};
use crate::limits;
use crate::retry::Retry;
use crate::settings::Setting;
use crate::topic::{Topic, system, topic_missing};
use crate::transaction::is_half;
use crate::{Answer, AskedFor, Broker, Caller, Error, Role};

/// A send (Apache `SendMessageRequestHeader` and its body).
#[derive(Clone, Copy, Debug)]
pub struct Produce<'a> {
    /// The producer group.
    pub group: &'a str,
    /// The topic, unchecked.
    pub topic: &'a str,
    /// The topic a missing one is created after (`defaultTopic`).
    pub template: &'a str,
    /// The queues the client wants a created topic to have (`defaultTopicQueueNums`).
    pub template_queues: i32,
    /// The queue; below 0 the broker picks one.
    pub queue: i32,
    /// System flag bits.
    pub sys_flag: i32,
    /// The user's flag.
    pub flag: i32,
    /// The client's clock, ms since the Unix epoch.
    pub born_at: i64,
    /// The property string as it came.
    pub properties: &'a str,
    /// How often the message was retried.
    pub reconsume_times: i32,
    /// How often it may be retried; said for retry topics only.
    pub max_reconsume_times: Option<i32>,
    /// Whether a created topic gets the unit flag.
    pub unit_mode: bool,
    /// Whether the body holds several messages.
    pub batch: bool,
    /// The body, or the batch.
    pub body: &'a [u8],
    /// The messages of a batch that was made within the process; then there is no body.
    pub items: &'a [model::batch::Item<'a>],
}

impl Produce<'_> {
    /// How many bytes it carries, or would over the network.
    fn length(&self) -> usize {
        match self.items {
            [] => self.body.len(),
            items => items.iter().map(|item| item.encoded_len()).sum(),
        }
    }
}

/// Where a send went. The ids are written by [`Produced::push_ids`].
#[derive(Debug)]
pub struct Produced<'a> {
    /// Whether replicas were waited for in vain.
    pub status: SendStatus,
    /// The queue.
    pub queue: QueueId,
    /// The position in the queue; of a batch, its first message's.
    pub queue_offset: QueueOffset,
    /// The position in the log; of a batch, its first message's.
    pub log_offset: LogOffset,
    /// Of a batch, the log positions of its other messages.
    pub more: Vec<LogOffset>,
    /// The message's `UNIQ_KEY`; for a batch, the outer one, if it came with one.
    pub unique_key: Option<UniqueKey<'a>>,
    /// By which a message that waits can be called back. Levels have none.
    pub recall_handle: Option<String>,
    /// The address in the ids.
    pub store_host: SocketAddr,
    /// Whether it is on the disk, not only in the system's page cache, when it is answered.
    pub fsynced: bool,
    /// When it was stored, ms since the Unix epoch.
    pub stored_at: i64,
    /// It was stored by an earlier send with the same idempotency key; this one stored nothing.
    pub replayed: bool,
}

/// What became of a send that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendStatus {
    /// As safe as configured.
    Stored,
    /// Stored here, but there is no slave to wait for (Apache `SLAVE_NOT_AVAILABLE`).
    SlaveNotAvailable,
}

/// A message's `UNIQ_KEY`.
#[derive(Debug, PartialEq, Eq)]
pub enum UniqueKey<'a> {
    /// The client sent it.
    Sent(&'a str),
    /// The client sent none; the broker made one.
    Made(Box<str>),
}

impl UniqueKey<'_> {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        match self {
            UniqueKey::Sent(key) => key,
            UniqueKey::Made(key) => key,
        }
    }
}

impl Produced<'_> {
    /// Appends the offset message id; of a batch, all of them, comma-joined. They are ASCII.
    pub fn push_ids(&self, out: &mut Vec<u8>) {
        let first = OffsetId::new(self.store_host, self.log_offset);
        out.extend_from_slice(first.as_bytes());
        for &offset in &self.more {
            first.push_next(offset, out);
        }
    }
}

thread_local! {
    /// The property string that is stored is put together here, so that no send allocates.
    pub(crate) static PROPERTIES: RefCell<String> = const { RefCell::new(String::new()) };
}

impl Broker {
    /// Stores a message, or a batch of them.
    ///
    /// # Errors
    /// In the order of the checks of Apache's `SendMessageProcessor`.
    pub fn produce<'a>(
        &self,
        caller: &Caller,
        send: &Produce<'a>,
    ) -> Result<Answer<Produced<'a>>, Error> {
        match self.produce_now(caller, send) {
            // A server in memory: the oldest messages go first.
            Err(Error::Unavailable(_)) if caller.may_wait && self.store.makes_room() => {
                let store = Arc::clone(&self.store);
                Ok(Answer::Cold(Box::new(move || store.ask_room(limits::ROOM))))
            }
            produced => produced,
        }
    }

    fn produce_now<'a>(
        &self,
        caller: &Caller,
        send: &Produce<'a>,
    ) -> Result<Answer<Produced<'a>>, Error> {
        self.topics.with(send.topic, |found| {
            let made: Arc<Topic>;
            let retried: Produce<'a>;
            let (topic, send) = match self.topic_to_send(found, send)? {
                Target::There(topic) => (topic, send),
                Target::Made(topic) => {
                    made = topic;
                    (&*made, send)
                }
                Target::Retry(name) => match self.send_to_retry(caller, send, &name)? {
                    Retry::Dead(answer) => return Ok(answer),
                    Retry::Ordinary { topic, times } => {
                        retried = Produce {
                            reconsume_times: times,
                            ..*send
                        };
                        made = topic;
                        (&*made, &retried)
                    }
                },
            };
            self.produce_to(caller, send, topic)
        })
    }

    fn produce_to<'a>(
        &self,
        caller: &Caller,
        send: &Produce<'a>,
        topic: &Topic,
    ) -> Result<Answer<Produced<'a>>, Error> {
        let queue = self.queue_to_send(caller, send, topic)?;
        let mut facts = facts(send.properties);
        if topic.config.name.is_retry() {
            // What a client sends back has the properties of its message: the key was that one's.
            facts.once = None;
        }
        if let Some(client) = facts.reply_to {
            self.note_requester(caller, client, send.properties);
        }
        let half = is_half(send, &facts);
        if half && self.settings.is(Setting::RejectTransactions) {
            return Err(Error::TransactionForbidden {
                broker: self.options.address,
            });
        }
        self.check_length(send)?;
        if let Some(key) = facts.once {
            if send.batch {
                let text = "a batch has no idempotency key";
                return Err(Error::Invalid(text.to_owned()));
            }
            return self.produce_once(caller, send, topic, key, || {
                self.produce_checked(caller, send, topic, queue, facts, half)
            });
        }
        self.produce_checked(caller, send, topic, queue, facts, half)
    }

    /// Stores what passed all checks.
    fn produce_checked<'a>(
        &self,
        caller: &Caller,
        send: &Produce<'a>,
        topic: &Topic,
        queue: &Arc<Queue>,
        facts: Facts<'a>,
        half: bool,
    ) -> Result<Answer<Produced<'a>>, Error> {
        if half {
            return self.produce_half(caller, send, topic, queue, facts);
        }
        let produced = if send.batch {
            self.stage_batch(caller, send, topic, queue, facts)
        } else {
            self.stage_one(caller, send, topic, queue, facts)
        };
        let (produced, end) = produced.inspect_err(|_| self.stats.put_failed.add(1))?;
        let level = if facts.no_wait {
            Level::Appended
        } else {
            Level::Confirmed
        };
        Ok(Answer::After(Mark { level, at: end }, produced))
    }

    /// The topic of a send: there, or made now.
    fn topic_to_send<'t>(
        &self,
        found: Option<&'t Arc<Topic>>,
        send: &Produce<'_>,
    ) -> Result<Target<'t>, Error> {
        let until = self.settings.number(Setting::AcceptSendsFrom);
        if until > 0 && self.clock.wall() < until {
            return Err(Error::NotYetServing { until });
        }
        if let Some(topic) = found {
            if topic.config.order && !self.options.permission.writable() {
                return Err(Error::BrokerNotWritable {
                    broker: self.options.address,
                });
            }
            if !topic.sendable {
                return Err(Error::SystemTopicNotSendable(topic.config.name.clone()));
            }
            return Ok(match topic.config.name.is_retry() {
                true => Target::Retry(topic.config.name.clone()),
                false => Target::There(topic),
            });
        }
        let name = TopicName::parse(send.topic)?;
        if !system::sendable(send.topic) {
            return Err(Error::SystemTopicNotSendable(name));
        }
        if name.is_retry() {
            return Ok(Target::Retry(name));
        }
        let (template, queues) = (send.template, send.template_queues);
        let made = self.create_topic_for_send(send.topic, template, queues, send.unit_mode)?;
        Ok(Target::Made(made))
    }

    /// Looks whether a reply could be stored.
    pub(crate) fn check_reply(&self, caller: &Caller, send: &Produce<'_>) -> Result<(), Error> {
        self.topics.with(send.topic, |found| {
            let made;
            let topic = match self.topic_to_send(found, send)? {
                Target::There(topic) => topic,
                Target::Made(topic) => {
                    made = topic;
                    &*made
                }
                Target::Retry(_) => return Ok(()),
            };
            self.queue_to_send(caller, send, topic).map(|_| ())
        })
    }

    pub(crate) fn check_length(&self, send: &Produce<'_>) -> Result<(), Error> {
        match send.length() {
            0 => Err(Error::BodyEmpty),
            length if length > self.options.body_max => Err(self.too_large()),
            _ => Ok(()),
        }
    }

    /// The queue of a send. A client that leaves the choice to the broker gets a random one.
    fn queue_to_send<'t>(
        &self,
        caller: &Caller,
        send: &Produce<'_>,
        topic: &'t Topic,
    ) -> Result<&'t Arc<Queue>, Error> {
        let illegal = || Error::QueueNotWritable {
            queue: send.queue,
            topic: Box::new(topic.config.clone()),
            producer: caller.remote,
        };
        let id = match u32::try_from(send.queue) {
            Ok(id) => id,
            Err(_) if topic.config.write_queues == 0 => return Err(illegal()),
            Err(_) => (self.random() % u64::from(topic.config.write_queues)) as u32,
        };
        topic.queue(&self.store, id).ok_or_else(illegal)
    }

    fn stage_one<'a>(
        &self,
        caller: &Caller,
        send: &Produce<'a>,
        topic: &Topic,
        queue: &Arc<Queue>,
        facts: Facts<'a>,
    ) -> Result<(Produced<'a>, LogOffset), Error> {
        let made = facts.unique_key.is_none().then(|| self.new_unique_key());
        let wait = match facts.waits() {
            true => self.wait_of(send.properties)?,
            false => None,
        };
        let staged = PROPERTIES.with_borrow_mut(|text| {
            text.clear();
            // Ours in front: Java prints properties that share a bucket of its map in this order.
            text.push_str(&self.own.properties);
            match &wait {
                None => rewrite(send.properties, facts.unclean, text),
                Some(wait) => wait.copy(send.properties, is_ours, text),
            }
            if let Some(made) = &made {
                append(text, key::UNIQ_KEY, made);
            }
            if let Some(wait) = &wait {
                wait.push(queue, text);
            }
            if text.len() > PROPERTIES_MAX {
                return Err(self.too_large());
            }
            let (stored_in, tags_code) = match &wait {
                None => (queue, facts.tags_code),
                Some(wait) => (&wait.queue, wait.due),
            };
            let draft = Draft {
                queue: stored_in,
                flag: send.flag,
                sys_flag: send.sys_flag & !sys::TRANSACTION_MASK,
                born_at: send.born_at,
                born_host: caller.remote,
                reconsume_times: send.reconsume_times,
                prepared_offset: 0,
                body: send.body,
                properties: text,
                tags_code,
                keys: Keys::Read {
                    unique: (made.as_deref()).or(facts.unique_key).unwrap_or_default(),
                    keys: facts.keys.unwrap_or_default(),
                    once: facts.once.unwrap_or_default(),
                },
            };
            self.store
                .stage(&draft)
                .map_err(|error| self.not_staged(error, send.topic))
        })?;
        self.stored(wait.as_ref().map_or(topic, |wait| &wait.topic), &staged);
        if wait.as_ref().is_some_and(|wait| !wait.level) {
            self.stats.timers_in.add(1);
        }
        let unique_key = match made {
            Some(made) => Some(UniqueKey::Made(made)),
            None => facts.unique_key.map(UniqueKey::Sent),
        };
        let mut produced = self.produced(queue, staged, unique_key, facts.no_wait);
        if let (Some(wait), Some(key)) = (wait, &produced.unique_key)
            && !wait.level
        {
            let (topic, broker) = (topic.config.name.as_str(), &self.options.name);
            let handle = handle::write(topic, broker, wait.due, key.as_str());
            produced.recall_handle = Some(handle);
        }
        Ok((produced, staged.end))
    }

    /// Where a message that is to come later waits.
    #[cold]
    fn wait_of(&self, properties: &str) -> Result<Option<Wait>, Error> {
        let when = self.when(properties)?;
        when.map_or(Ok(None), |when| self.wait_until(when))
    }

    fn stage_batch<'a>(
        &self,
        caller: &Caller,
        send: &Produce<'a>,
        topic: &Topic,
        queue: &Arc<Queue>,
        outer: Facts<'a>,
    ) -> Result<(Produced<'a>, LogOffset), Error> {
        let mut items = match send.items {
            [] => batch::parse(send.body)?,
            items => batch::of(items)?,
        };
        if outer.waits() {
            return Err(Error::BatchDelayed);
        }
        for item in &mut items {
            self.check_item(item)?;
        }
        let drafts: Vec<Draft<'_>> = (items.iter())
            .map(|item| Draft {
                queue,
                flag: item.flag,
                sys_flag: send.sys_flag & !sys::TRANSACTION_MASK,
                born_at: send.born_at,
                born_host: caller.remote,
                reconsume_times: send.reconsume_times,
                prepared_offset: 0,
                body: item.body,
                properties: &item.properties,
                tags_code: item.facts.tags_code,
                keys: item.keys(),
            })
            .collect();
        let mut staged = Vec::with_capacity(drafts.len());
        let stored = self.store.stage_all(&drafts, &mut staged);
        stored.map_err(|error| self.not_staged(error, send.topic))?;
        self.stored_batch(topic, &staged);
        let first = staged.first().copied();
        let (Some(first), Some(last)) = (first, staged.last()) else {
            return Err(Error::BatchMalformed("it has no message"));
        };
        let unique_key = outer.unique_key.map(UniqueKey::Sent);
        let mut produced = self.produced(queue, first, unique_key, outer.no_wait);
        produced.more = staged
            .iter()
            .skip(1)
            .map(|staged| staged.log_offset)
            .collect();
        Ok((produced, last.end))
    }

    /// A batch's messages are stored with their own properties; they only must not smuggle in what a
    /// single send could not, and each needs a key.
    fn check_item(&self, item: &mut batch::Item<'_>) -> Result<(), Error> {
        if item.facts.transaction {
            return Err(Error::TransactionShape("a batch"));
        }
        if item.facts.waits() {
            return Err(Error::BatchDelayed);
        }
        if item.facts.once.is_some() {
            let text = "a message of a batch has no idempotency key of its own";
            return Err(Error::Invalid(text.to_owned()));
        }
        if item.facts.unclean || item.facts.unique_key.is_none() {
            let mut text = String::with_capacity(item.properties.len() + 64);
            rewrite(&item.properties, item.facts.unclean, &mut text);
            if item.facts.unique_key.is_none() {
                append(&mut text, key::UNIQ_KEY, &self.new_unique_key());
            }
            item.properties = Cow::Owned(text);
        }
        if item.properties.len() > PROPERTIES_MAX {
            return Err(self.too_large());
        }
        Ok(())
    }

    pub(crate) fn produced<'a>(
        &self,
        queue: &Queue,
        staged: Staged,
        unique_key: Option<UniqueKey<'a>>,
        no_wait: bool,
    ) -> Produced<'a> {
        let alone = self.options.role == Role::SyncMaster && !no_wait;
        Produced {
            status: match alone {
                true => SendStatus::SlaveNotAvailable,
                false => SendStatus::Stored,
            },
            queue: queue.id,
            queue_offset: staged.queue_offset,
            log_offset: staged.log_offset,
            more: Vec::new(),
            recall_handle: None,
            unique_key,
            store_host: self.options.address,
            fsynced: self.store.flushes() == Flush::Sync && !no_wait,
            stored_at: staged.stored_at,
            replayed: false,
        }
    }

    pub(crate) fn too_large(&self) -> Error {
        Error::TooLarge {
            body_max: self.options.body_max,
        }
    }

    pub(crate) fn not_staged(&self, error: StageError, topic: &str) -> Error {
        match error {
            StageError::TooLarge(_) => self.too_large(),
            StageError::Dropped => topic_missing(topic, AskedFor::Send),
            StageError::Busy => {
                self.stats.busy.add(1);
                Error::from(StageError::Busy)
            }
            other => Error::from(other),
        }
    }
}

/// Where a send goes.
enum Target<'t> {
    There(&'t Topic),
    Made(Arc<Topic>),
    /// To a retry topic, there or not.
    Retry(TopicName),
}
