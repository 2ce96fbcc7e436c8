//! Pulls: what is checked, how much is returned, and what a consumer is told when there is nothing.

mod look;
mod moved;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use model::group::GroupConfig;
use model::{Mark, QueueOffset, TopicName};
use store::{Queue, Wait};

use look::{Look, Looked, Wish};
pub(crate) use moved::{MovedEvents, OffsetMoved};

use crate::client::table::Subscribed;
use crate::filter::Filter;
use crate::hold::Waiter;
use crate::settings::Setting;
use crate::topic::{Topic, topic_missing};
use crate::{Answer, AskedFor, Broker, Caller, Error, MessageModel, limits};

/// A pull (Apache `PullMessageRequestHeader`).
#[derive(Clone, Copy, Debug)]
pub struct Pull<'a> {
    /// The consumer group, unchecked.
    pub group: &'a str,
    /// The topic, unchecked.
    pub topic: &'a str,
    /// The queue.
    pub queue: i32,
    /// The first position wanted.
    pub offset: i64,
    /// How many messages at most; one is always returned.
    pub max: i32,
    /// Commit this offset on the way (the system flag's bit 0).
    pub commit: Option<i64>,
    /// Hold the pull for so long if there is nothing (the system flag's bit 1).
    pub suspend: Option<Duration>,
    /// The expression to filter by (the system flag's bit 2); without it, the heartbeat's.
    pub expression: Option<&'a str>,
    /// The kind of the expression, as it came.
    pub expression_kind: Option<&'a str>,
    /// The version of the subscription the client pulls for.
    pub version: i64,
    /// A lite pull.
    pub lite: bool,
}

/// What a pull found. The records themselves were appended to the output buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// What the client is to do.
    pub verdict: Verdict,
    /// Why (Apache's `GetMessageStatus`; it is the answer's remark).
    pub status: &'static str,
    /// How many messages were appended.
    pub count: usize,
    /// Where to pull next.
    pub next: QueueOffset,
    /// The queue's first kept position.
    pub min: QueueOffset,
    /// The position behind the queue's last message.
    pub max: QueueOffset,
    /// The broker id to pull from next.
    pub suggested_broker: u64,
    /// The topic's system flag.
    pub topic_sys_flag: i32,
    /// The group's system flag.
    pub group_sys_flag: i32,
}

/// What a consumer is to do after a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Take the messages.
    Found,
    /// There is nothing new.
    NotFound,
    /// All that was looked at was filtered out: go on from `next`.
    RetryImmediately,
    /// The position does not exist: go to `next`.
    OffsetMoved,
}

/// A pull that passed all checks.
struct Checked {
    group: Arc<GroupConfig>,
    topic: Arc<Topic>,
    queue: Arc<Queue>,
    filter: Filter,
    /// A group that was made on the way.
    made: Option<Mark>,
}

/// What a pull of cold records read.
struct ColdPull {
    pulled: Pulled,
    records: Vec<u8>,
    /// How long it looked.
    took: Duration,
}

impl Broker {
    /// Appends the next messages of a queue to `out`.
    ///
    /// # Errors
    /// In the order of the checks of Apache's `PullMessageProcessor`.
    pub fn pull(
        &self,
        caller: &Caller,
        pull: &Pull<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Answer<Pulled>, Error> {
        let checked = self.check_pull(caller, pull)?;
        if !caller.may_wait {
            self.hold
                .leave(&checked.queue, caller.connection, caller.ticket);
        }
        if let Some(target) = self.sent_elsewhere(&checked) {
            return Ok(Answer::After(Mark::REACHED, target));
        }
        if let Some(cold) = self.cold.take::<ColdPull>(caller) {
            let ColdPull {
                pulled,
                records,
                took,
            } = cold?;
            self.stats.got_in(took);
            out.extend_from_slice(&records);
            return Ok(match pulled.verdict {
                Verdict::OffsetMoved => self.moved(&checked, pull, pulled),
                _ => self.finish(&checked, pulled, records.len()),
            });
        }
        if let Some(offset) = pull.commit {
            let (group, topic) = (&checked.group.name, &checked.topic.config.name);
            self.offsets
                .commit(group, topic, checked.queue.id.0, offset, false)?;
        }
        let before = out.len();
        let wish = self.wish(&checked, pull);
        loop {
            let look = Look {
                store: &self.store,
                clock: &*self.clock,
                queue: &checked.queue,
                filter: &checked.filter,
                wish,
                wait: Wait::No,
            };
            let began = self.clock.mono();
            let looked = look.look(out)?;
            self.stats.got_in(self.clock.mono().saturating_sub(began));
            match looked {
                Looked::Here(pulled) if pulled.verdict == Verdict::NotFound => {
                    match self.hold_pull(caller, pull, &checked, &pulled)? {
                        Held::Yes(limit) => return Ok(Answer::Hold(limit)),
                        Held::No => return Ok(self.finish(&checked, pulled, 0)),
                        Held::MeanwhileThereIsMore => {}
                    }
                }
                Looked::Here(pulled) if pulled.verdict == Verdict::OffsetMoved => {
                    return Ok(self.moved(&checked, pull, pulled));
                }
                Looked::Here(pulled) => {
                    return Ok(self.finish(&checked, pulled, out.len() - before));
                }
                Looked::Cold => return self.look_cold(caller, &checked, wish),
            }
        }
    }

    fn check_pull(&self, caller: &Caller, pull: &Pull<'_>) -> Result<Checked, Error> {
        let broker = self.options.address;
        if !self.options.permission.readable() {
            return Err(Error::BrokerNotReadable { broker });
        }
        if pull.lite && !self.settings.is(Setting::LitePull) {
            return Err(Error::LitePullForbidden { broker });
        }
        let (group, made) = self.find_group(pull.group, AskedFor::Pull)?;
        if !group.consume_enable {
            return Err(Error::GroupNotReadable(group.name.clone()));
        }
        let found = self.topics.find(pull.topic);
        let topic = found.ok_or_else(|| topic_missing(pull.topic, AskedFor::Pull))?;
        if !topic.config.perm.readable() {
            return Err(Error::TopicNotReadable(topic.config.name.clone()));
        }
        let id = u32::try_from(pull.queue).ok();
        let id = id.filter(|&id| id < topic.config.read_queues);
        let queue = id.and_then(|id| topic.queue(&self.store, id)).cloned();
        let queue = queue.ok_or_else(|| Error::QueueNotReadable {
            queue: pull.queue,
            topic: topic.config.name.clone(),
            read_queues: topic.config.read_queues,
            consumer: caller.remote,
        })?;
        let filter = match pull.expression {
            Some(expression) => {
                let filter = self.filters.compile(pull.expression_kind, expression)?;
                self.check_allowed(&group.name, &topic.config.name)?;
                filter
            }
            None => self.registered_filter(caller, pull, &group, &topic.config.name)?,
        };
        Ok(Checked {
            group,
            topic,
            queue,
            filter,
            made,
        })
    }

    /// The filter of a pull that brings none: what the heartbeats said.
    fn registered_filter(
        &self,
        caller: &Caller,
        pull: &Pull<'_>,
        group: &GroupConfig,
        topic: &TopicName,
    ) -> Result<Filter, Error> {
        let subscribed = {
            let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
            clients.subscribed(pull.group, caller.connection, pull.topic)
        };
        let (wish, model) = match subscribed {
            Subscribed::NoGroup => return Err(Error::GroupNotLive),
            Subscribed::NoTopic(model) => (None, model),
            Subscribed::To(wish, model) => (Some(wish), model),
        };
        if !self.may_broadcast(group, model) {
            return Err(Error::BroadcastForbidden(group.name.clone()));
        }
        self.check_allowed(&group.name, topic)?;
        let wish = wish.ok_or(Error::NotSubscribed)?;
        if wish.version < pull.version {
            return Err(Error::SubscriptionNotLatest);
        }
        wish.filter.clone()
    }

    fn may_broadcast(&self, group: &GroupConfig, model: MessageModel) -> bool {
        group.consume_broadcast_enable || model == MessageModel::Clustering
    }

    /// Holds a pull that found nothing, if it may be held.
    fn hold_pull(
        &self,
        caller: &Caller,
        pull: &Pull<'_>,
        checked: &Checked,
        pulled: &Pulled,
    ) -> Result<Held, Error> {
        let Some(limit) = pull.suspend.filter(|_| caller.may_wait && !caller.oneway) else {
            return Ok(Held::No);
        };
        let limit = match self.settings.is(Setting::LongPolling) {
            true => limit.min(limits::HOLD_MAX),
            false => {
                Duration::from_millis(self.settings.number(Setting::ShortPolling).unsigned_abs())
            }
        };
        let waiter = Waiter {
            connection: caller.connection,
            ticket: caller.ticket,
            next: pulled.next.0,
            filter: checked.filter.clone(),
            until: self.clock.mono() + limit,
        };
        match self.hold.wait(&checked.queue, waiter)? {
            true => Ok(Held::Yes(limit)),
            false => Ok(Held::MeanwhileThereIsMore),
        }
    }

    /// Counts a pull that is answered, and remembers where the next one starts.
    fn finish(&self, checked: &Checked, pulled: Pulled, bytes: usize) -> Answer<Pulled> {
        let (group, topic) = (&checked.group.name, &checked.topic.config.name);
        let (next, count) = (pulled.next.0 as i64, pulled.count as u64);
        let got = self.count_got(&checked.topic, count, bytes);
        self.offsets
            .pulled(group, topic, checked.queue.id.0, next, got);
        checked.answer(pulled)
    }

    /// An operator sent the group to another offset, and this is its first pull since.
    fn sent_elsewhere(&self, checked: &Checked) -> Option<Pulled> {
        let (group, topic) = (&checked.group.name, &checked.topic.config);
        let queue = &checked.queue;
        let target = self.offsets.take_reset(group, &topic.name, queue.id.0)?;
        tracing::info!(%group, topic = %topic.name, queue = queue.id.0, target, "a consumer goes where it was reset to");
        Some(Pulled {
            verdict: Verdict::OffsetMoved,
            status: "OFFSET_RESET",
            count: 0,
            next: QueueOffset(u64::try_from(target).unwrap_or(0)),
            min: queue.start(),
            max: queue.end(),
            suggested_broker: 0,
            topic_sys_flag: topic.sys_flag,
            group_sys_flag: checked.group.sys_flag,
        })
    }

    /// The consumer is sent to another offset: that is also written down where
    /// `mqadmin startMonitoring` reads it.
    fn moved(&self, checked: &Checked, pull: &Pull<'_>, pulled: Pulled) -> Answer<Pulled> {
        let event = OffsetMoved {
            group: &checked.group.name,
            topic: &checked.topic.config.name,
            queue: checked.queue.id.0,
            asked: pull.offset,
            new: pulled.next.0 as i64,
        };
        tracing::warn!(group = %event.group, topic = %event.topic, queue = event.queue,
            asked = event.asked, new = event.new, status = pulled.status, "a consumer's offset is out of range");
        if self.report_moved(&event) {
            return Answer::After(Mark::REACHED, pulled);
        }
        checked.answer(pulled)
    }

    /// Has a job look into the queue again, waiting for the disk.
    fn look_cold(
        &self,
        caller: &Caller,
        checked: &Checked,
        wish: Wish,
    ) -> Result<Answer<Pulled>, Error> {
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let (queue, filter) = (Arc::clone(&checked.queue), checked.filter.clone());
        let answer = self.cold.defer(caller, move || {
            let look = Look {
                store: &store,
                clock: &*clock,
                queue: &queue,
                filter: &filter,
                wish,
                wait: Wait::Yes,
            };
            let mut records = Vec::new();
            let began = clock.mono();
            match look.look(&mut records)? {
                Looked::Here(pulled) => Ok(ColdPull {
                    pulled,
                    records,
                    took: clock.mono().saturating_sub(began),
                }),
                Looked::Cold => Err(Error::Store("a read that may wait did not".to_owned())),
            }
        })?;
        Ok(answer.map(|cold| cold.pulled))
    }

    fn wish(&self, checked: &Checked, pull: &Pull<'_>) -> Wish {
        Wish {
            offset: pull.offset,
            count_max: (pull.max.max(1) as usize).min(self.settings.size(Setting::PullCountMax)),
            bytes_max: self.settings.size(Setting::PullBytesMax),
            topic_sys_flag: checked.topic.config.sys_flag,
            group_sys_flag: checked.group.sys_flag,
        }
    }
}

enum Held {
    Yes(Duration),
    No,
    MeanwhileThereIsMore,
}

impl Checked {
    fn answer(&self, pulled: Pulled) -> Answer<Pulled> {
        match self.made {
            Some(mark) => Answer::After(mark, pulled),
            None => Answer::Ready(pulled),
        }
    }
}
