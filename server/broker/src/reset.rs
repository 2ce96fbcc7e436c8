//! Sending a group to other offsets.
//!
//! A reset stands beside the committed offset until the group's consumer has heard of it: its next pull
//! is answered "go to this offset", and only then do its commits count again. So what it had in hand
//! cannot undo the reset, however it is timed; the last of several resets wins. It is a row in the log
//! like the offset itself.

use std::sync::Arc;
use std::sync::PoisonError;

use model::{GroupName, Mark};

use crate::offset::read_failed;
use crate::ordering::MessageQueue;
use crate::settings::Setting;
use crate::topic::{Topic, topic_missing};
use crate::{Answer, AskedFor, Broker, Caller, Error, Notice};

/// Where a group is to be sent (Apache `INVOKE_BROKER_TO_RESET_OFFSET`).
#[derive(Clone, Copy, Debug)]
pub struct Reset<'a> {
    /// The group.
    pub group: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// One queue; below 0 all of them.
    pub queue: i32,
    /// To this offset, of one queue.
    pub offset: Option<i64>,
    /// To the first message stored at or after this time, ms since the Unix epoch; below 0 behind the
    /// last one.
    pub time: i64,
    /// Whether consumers may be sent forward, where they are told themselves.
    pub force: bool,
    /// Who asks is a C++ tool: consumers, where they are told themselves, are told in a list.
    pub as_list: bool,
}

/// Queues and their offsets.
type Targets = Vec<(MessageQueue, i64)>;

impl Broker {
    /// Sends a group to other offsets, whether or not it is online; returns them. With
    /// [`crate::Options::server_side_reset`] off the consumers that are online are told instead, and
    /// commit the offsets themselves.
    ///
    /// # Errors
    /// [`Error::TopicMissing`], [`Error::GroupMissing`], [`Error::OffsetOutOfRange`]; when consumers are
    /// told, [`Error::NoOffsets`], [`Error::ResetOffline`], [`Error::ConsumerTooOld`].
    pub fn reset_offsets(
        &self,
        caller: &Caller,
        reset: &Reset<'_>,
    ) -> Result<Answer<Vec<(MessageQueue, i64)>>, Error> {
        let topic = self.topics.find(reset.topic);
        let topic = topic.ok_or_else(|| topic_missing(reset.topic, AskedFor::Reset))?;
        if !self.settings.is(Setting::ServerSideReset) {
            return self.tell_to_reset(caller, reset, &topic);
        }
        let group = self.groups.find(reset.group);
        let group = group.ok_or_else(|| Error::GroupMissing {
            group: reset.group.to_owned(),
            asked: AskedFor::Reset,
        })?;
        let queues = match u32::try_from(reset.queue) {
            Ok(queue) => queue..queue.saturating_add(1),
            Err(_) => 0..topic.config.read_queues,
        };
        let targets = match (reset.offset, u32::try_from(reset.queue)) {
            (Some(offset), Ok(queue)) => vec![(queue, self.target(&topic, queue, offset)?)],
            _ => match self.offsets_at(caller, &topic, queues, reset.time)? {
                Answer::Ready(targets) => targets,
                other => return Ok(other.map(|_| Vec::new())),
            },
        };
        let (group, name) = (&group.name, &topic.config.name);
        let mut woken = Vec::new();
        for &(id, offset) in &targets {
            self.offsets.reset(group, name, id, offset)?;
            self.cancel_in_flight(group.as_str(), name.as_str(), id as i32);
            if let Some(queue) = topic.known_queue(id) {
                self.hold.wake_all(queue, &mut woken);
            }
        }
        if !woken.is_empty() {
            self.outlet.runnable(&woken);
        }
        tracing::info!(%group, topic = %name, ?targets, client = %caller.remote, "offsets were reset");
        // The rows are staged by `commit`, which every batch with an `After` ends with.
        Ok(Answer::After(Mark::REACHED, self.named(&topic, targets)))
    }

    /// One offset of one queue, if the queue reaches so far.
    fn target(&self, topic: &Topic, queue: u32, offset: i64) -> Result<i64, Error> {
        let (name, id) = (topic.config.name.as_str(), queue as i32);
        let (min, max) = (self.min_offset(name, id), self.max_offset(name, id));
        // Apache lets the offset behind the end pass, where no message will be for a while.
        match (min..=max + 1).contains(&offset) && queue < topic.queue_count() {
            true => Ok(offset.min(max)),
            false => Err(Error::OffsetOutOfRange { offset, min, max }),
        }
    }

    /// The offsets that belong to a time. Looks into records, so it is cold.
    fn offsets_at(
        &self,
        caller: &Caller,
        topic: &Topic,
        queues: std::ops::Range<u32>,
        time: i64,
    ) -> Result<Answer<Vec<(u32, i64)>>, Error> {
        let name = topic.config.name.as_str();
        let known: Vec<_> = queues
            .map(|id| (id, self.store.find_queue(name, id)))
            .collect();
        let store = Arc::clone(&self.store);
        self.cold.answer(caller, move || {
            let at = |(id, queue): (u32, Option<Arc<store::Queue>>)| {
                let Some(queue) = queue else {
                    return Ok((id, 0));
                };
                let offset = match time < 0 {
                    true => queue.end(),
                    false => store
                        .offset_at(&queue, time, store::Boundary::Lower)
                        .map_err(read_failed)?,
                };
                Ok((id, offset.0 as i64))
            };
            known.into_iter().map(at).collect()
        })
    }

    fn named(&self, topic: &Topic, targets: Vec<(u32, i64)>) -> Targets {
        let name = topic.config.name.as_str();
        let targets = targets.into_iter();
        targets
            .map(|(id, offset)| (self.message_queue(name, id), offset))
            .collect()
    }

    /// The consumers of the group are told where to go on (Apache with `useServerSideResetOffset` off,
    /// and 4.x).
    fn tell_to_reset(
        &self,
        caller: &Caller,
        reset: &Reset<'_>,
        topic: &Topic,
    ) -> Result<Answer<Targets>, Error> {
        let (group, name) = (reset.group, topic.config.name.as_str());
        let queues = 0..topic.config.write_queues;
        let mut targets = match self.offsets_at(caller, topic, queues, reset.time)? {
            Answer::Ready(targets) => targets,
            other => return Ok(other.map(|_| Vec::new())),
        };
        for (id, target) in &mut targets {
            let now = self.offsets.look(group, name, |p| p.committed(*id));
            let now = now.ok_or_else(|| Error::NoOffsets(group.to_owned()))?;
            if !reset.force {
                *target = (*target).min(now);
            }
        }
        let members = match self.reach(group) {
            Err(Error::NoConsumerOnline(_)) => {
                return Err(Error::ResetOffline {
                    group: group.to_owned(),
                    topic: name.to_owned(),
                    time: reset.time,
                });
            }
            members => members?,
        };
        let targets = self.named(topic, targets);
        for (connection, _) in members {
            let told = Notice::ResetOffsets {
                group: group.to_owned(),
                topic: name.to_owned(),
                time: reset.time,
                offsets: targets.clone(),
                as_list: reset.as_list,
            };
            self.outlet.notice(connection, told);
        }
        tracing::info!(
            group,
            topic = name,
            ?targets,
            "consumers were told to reset their offsets"
        );
        Ok(Answer::Ready(targets))
    }

    /// Gives a group the offsets that another one has in a topic (Apache `CLONE_GROUP_OFFSET`), or in
    /// all its topics without one. Unless `offline`, topics that the members of the other group do not
    /// subscribe to are passed over.
    ///
    /// # Errors
    /// [`Error::TopicMissing`], [`Error::Name`], [`Error::Busy`].
    pub fn clone_offsets(
        &self,
        from: &str,
        to: &str,
        topic: Option<&str>,
        offline: bool,
    ) -> Result<Answer<()>, Error> {
        let to = GroupName::parse(to)?;
        let topics = match topic.filter(|topic| !topic.is_empty()) {
            Some(topic) => {
                let found = self.topics.find(topic);
                vec![found.ok_or_else(|| topic_missing(topic, AskedFor::Reset))?]
            }
            None => {
                let names = self.offsets.topics_of(from).into_iter();
                names
                    .filter_map(|name| self.topics.find(name.as_str()))
                    .collect()
            }
        };
        for topic in topics {
            let name = &topic.config.name;
            let subscribes = {
                let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
                clients.subscribes(from, name.as_str())
            };
            if !offline && subscribes == Some(false) {
                continue;
            }
            let offsets = (self.offsets).look(from, name.as_str(), |p| Some(p.all_committed()));
            for (queue, offset) in offsets.unwrap_or_default() {
                self.offsets.commit(&to, name, queue, offset, true)?;
            }
        }
        Ok(Answer::After(Mark::REACHED, ()))
    }
}
