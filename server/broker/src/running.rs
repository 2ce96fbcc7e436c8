//! What a tool may know of, and do to, a running consumer: its state, its offsets, one message handed
//! to its listener.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use model::LogOffset;
use model::id::parse_offset_id;
use model::record::View;
use store::Wait;

use crate::relay::{Client, Told};
use crate::{Answer, Broker, Caller, ConnectionId, Error, Notice};

/// Tools wait for a consumer as long as Apache's broker does.
const CONSUMER: Duration = Duration::from_secs(10);
const STATUS: Duration = Duration::from_secs(5);
/// The first version (3.1.8) whose consumers answer questions about themselves.
const ANSWERS: i32 = 62;
/// The first version (3.0.7) whose consumers say their offsets and take a reset.
const TAKES_RESETS: i32 = 28;

/// One message for a consumer's listener (Apache `CONSUME_MESSAGE_DIRECTLY`).
#[derive(Clone, Copy, Debug)]
pub struct ConsumeDirectly<'a> {
    /// The group.
    pub group: &'a str,
    /// The consumer.
    pub client: &'a str,
    /// The message: its offset id.
    pub message: &'a str,
    /// The topic, as the tool named it.
    pub topic: &'a str,
}

impl Broker {
    /// What a consumer says of itself (Apache `GET_CONSUMER_RUNNING_INFO`), in its own words.
    ///
    /// # Errors
    /// [`Error::ConsumerOffline`], [`Error::ConsumerTooOld`], [`Error::ConsumerSilent`].
    pub fn running_info(
        &self,
        caller: &Caller,
        group: &str,
        client: &str,
        jstack: bool,
    ) -> Result<Answer<Told>, Error> {
        self.ask_consumer(caller, group, client, |question| Notice::RunningInfo {
            question,
            group: group.to_owned(),
            client: client.to_owned(),
            jstack,
        })
    }

    /// Hands a message to a consumer's listener, past its queues; the answer says how it went, in the
    /// consumer's words.
    ///
    /// # Errors
    /// As [`Broker::running_info`], [`Error::NoRecord`], [`Error::Invalid`].
    pub fn consume_directly(
        &self,
        caller: &Caller,
        wanted: &ConsumeDirectly<'_>,
    ) -> Result<Answer<Told>, Error> {
        let (group, client) = (wanted.group, wanted.client);
        let mut record = Vec::new();
        if !self.has_asked(caller) {
            self.consumer(group, client)?;
            let id = parse_offset_id(wanted.message).map(|(_, at)| at);
            let id = id.ok_or_else(|| {
                Error::Invalid(format!("{} is no offset message id", wanted.message))
            })?;
            record = match self.cold.take::<Vec<u8>>(caller) {
                Some(read) => read?,
                None => {
                    let store = Arc::clone(&self.store);
                    let visible = self.store.marks().dispatched;
                    let answer = self.cold.defer(caller, move || {
                        let none = Error::NoRecord(id.0 as i64);
                        let mut record = Vec::new();
                        let read = store.record(id, Wait::Yes, &mut record);
                        let there = id < visible && read.is_ok();
                        there.then_some(record).ok_or(none)
                    })?;
                    return Ok(answer.map(|_| Told::default()));
                }
            };
            self.refuse_unseen(id, &record)?;
        }
        let sys_flag = self.topics.find(wanted.topic);
        let sys_flag = sys_flag.map_or(0, |topic| topic.config.sys_flag);
        let group_sys_flag = self.groups.find(group).map_or(0, |config| config.sys_flag);
        self.ask_consumer(caller, group, client, |question| Notice::ConsumeDirectly {
            question,
            group: group.to_owned(),
            client: client.to_owned(),
            message: wanted.message.to_owned(),
            topic: wanted.topic.to_owned(),
            broker: self.options.name.clone(),
            topic_sys_flag: sys_flag,
            group_sys_flag,
            record: record.clone(),
        })
    }

    /// The records of the store's own tables are shown to nobody.
    fn refuse_unseen(&self, at: LogOffset, record: &[u8]) -> Result<(), Error> {
        let view = View::parse(record);
        match view.is_ok_and(|view| self.topics.find(view.topic()).is_some()) {
            true => Ok(()),
            false => Err(Error::NoRecord(at.0 as i64)),
        }
    }

    /// The offsets that the members of a group, or one of them, have in a topic (Apache
    /// `INVOKE_BROKER_TO_GET_CONSUMER_STATUS`): client id and answer. Who does not answer is left out.
    ///
    /// # Errors
    /// [`Error::NoConsumerOnline`], [`Error::ConsumerTooOld`].
    pub fn consumer_status(
        &self,
        caller: &Caller,
        group: &str,
        topic: &str,
        client: Option<&str>,
    ) -> Result<Answer<Vec<(String, Told)>>, Error> {
        let mut members = match self.has_asked(caller) {
            true => Vec::new(),
            false => self.reach(group)?,
        };
        if let Some(client) = client {
            members.retain(|(_, id)| id == client);
        }
        let answer = self.ask_clients(caller, &members, STATUS, |question| {
            Notice::ConsumerStatus {
                question,
                group: group.to_owned(),
                topic: topic.to_owned(),
            }
        })?;
        Ok(answer.map(|heard| {
            let heard = heard.into_iter();
            let heard = heard.filter_map(|(id, told)| Some((id, told?)));
            heard.filter(|(_, told)| told.code == 0).collect()
        }))
    }

    /// The members of a group, all of which understand what has to do with their offsets.
    pub(crate) fn reach(&self, group: &str) -> Result<Vec<Client>, Error> {
        let members = {
            let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
            clients.reach(group)
        };
        if members.is_empty() {
            return Err(Error::NoConsumerOnline(group.to_owned()));
        }
        let old = members.iter().find(|member| member.2 < TAKES_RESETS);
        match old {
            Some((_, client, version)) => Err(Error::ConsumerTooOld {
                client: client.clone(),
                version: *version,
            }),
            None => Ok(members.into_iter().map(|(at, id, _)| (at, id)).collect()),
        }
    }

    fn consumer(&self, group: &str, client: &str) -> Result<ConnectionId, Error> {
        let member = {
            let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
            clients.member(group, client)
        };
        let (connection, version) = member.ok_or_else(|| Error::ConsumerOffline {
            group: group.to_owned(),
            client: client.to_owned(),
        })?;
        match version < ANSWERS {
            true => Err(Error::ConsumerTooOld {
                client: client.to_owned(),
                version,
            }),
            false => Ok(connection),
        }
    }

    fn ask_consumer(
        &self,
        caller: &Caller,
        group: &str,
        client: &str,
        notice: impl Fn(u32) -> Notice,
    ) -> Result<Answer<Told>, Error> {
        // A consumer that left after it answered has answered all the same.
        let to = match self.has_asked(caller) {
            true => Vec::new(),
            false => vec![(self.consumer(group, client)?, client.to_owned())],
        };
        let answer = self.ask_clients(caller, &to, CONSUMER, notice)?;
        let silent = || Error::ConsumerSilent {
            group: group.to_owned(),
            client: client.to_owned(),
        };
        Ok(match answer {
            Answer::Ready(heard) => Answer::Ready(
                heard
                    .into_iter()
                    .find_map(|(_, told)| told)
                    .ok_or_else(silent)?,
            ),
            other => other.map(|_| Told::default()),
        })
    }
}
