//! Replies: the answer to a request message is handed to the client that asked, on whatever connection
//! it has now.

use std::net::SocketAddr;
use std::sync::PoisonError;
use std::time::Duration;

use model::message::{append, key, property};

use crate::produce::{Produce, Produced};
use crate::relay::Told;
use crate::settings::Setting;
use crate::{Answer, Broker, Caller, Error, Notice};

/// The requester takes its reply within this time, as with Apache.
const TAKE: Duration = Duration::from_secs(10);

/// The [`key::MSG_TYPE`] of a reply.
const REPLY: &str = "reply";

/// A reply on its way to the client that waits for it (Apache `ReplyMessageRequestHeader`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The replier's producer group.
    pub group: String,
    /// The topic of replies.
    pub topic: String,
    /// As the replier sent it.
    pub template: String,
    /// As the replier sent it.
    pub template_queues: i32,
    /// The queue.
    pub queue: i32,
    /// System flag bits.
    pub sys_flag: i32,
    /// The user's flag.
    pub flag: i32,
    /// The replier's clock, ms since the Unix epoch.
    pub born_at: i64,
    /// Who replied.
    pub born_host: SocketAddr,
    /// This broker's clock, ms since the Unix epoch.
    pub stored_at: i64,
    /// This broker's advertised address.
    pub store_host: SocketAddr,
    /// The properties, `PUSH_REPLY_TIME` among them.
    pub properties: String,
    /// How often the message was retried.
    pub reconsume_times: i32,
    /// Whether the replier is a unit producer.
    pub unit_mode: bool,
    /// The reply itself.
    pub body: Vec<u8>,
}

impl Broker {
    /// Hands a reply to the client its `REPLY_TO_CLIENT` names, then stores it. `None`: it was handed
    /// over, and replies are not stored.
    ///
    /// # Errors
    /// [`Error::ReplyToNobody`], [`Error::ReplyNotTaken`], and those of a send. Nothing is stored then:
    /// a reply that came too late is of no use to anybody.
    pub fn reply<'a>(
        &self,
        caller: &Caller,
        group: &str,
        send: &Produce<'a>,
    ) -> Result<Answer<Option<Produced<'a>>>, Error> {
        let to = property(send.properties, key::REPLY_TO_CLIENT);
        let to = to.ok_or(Error::ReplyToNobody(None))?;
        let nobody = || Error::ReplyToNobody(Some(to.to_owned()));
        let mut clients = Vec::new();
        if !self.has_asked(caller) {
            self.check_reply(caller, send)?;
            let table = self.clients.read().unwrap_or_else(PoisonError::into_inner);
            clients.push((table.connection_of(to).ok_or_else(nobody)?, to.to_owned()));
        }
        let answer = self.ask_clients(caller, &clients, TAKE, |question| Notice::Reply {
            question,
            reply: Box::new(self.reply_of(caller, group, send)),
        })?;
        let heard = match answer {
            Answer::Ready(heard) => heard,
            other => return Ok(other.map(|_| None)),
        };
        let taken = |told: &Told| told.code == 0;
        if !heard
            .iter()
            .any(|(_, told)| told.as_ref().is_some_and(taken))
        {
            return Err(Error::ReplyNotTaken(to.to_owned()));
        }
        if !self.settings.is(Setting::StoreReplies) || send.body.is_empty() {
            return Ok(Answer::Ready(None));
        }
        Ok(self.produce(caller, send)?.map(Some))
    }

    /// A message that wants a reply was sent: its sender is known from now on, though its heartbeat may
    /// be half a minute away.
    #[cold]
    pub(crate) fn note_requester(&self, caller: &Caller, client: &str, properties: &str) {
        // A reply names who asked, not who sends it.
        if property(properties, key::MSG_TYPE) == Some(REPLY) {
            return;
        }
        let known = {
            let table = self.clients.read().unwrap_or_else(PoisonError::into_inner);
            table.connection_of(client).is_some()
        };
        if !known {
            let mut table = self.clients.write().unwrap_or_else(PoisonError::into_inner);
            table.name_requester(caller.connection, client);
        }
    }

    fn reply_of(&self, caller: &Caller, group: &str, send: &Produce<'_>) -> Reply {
        let now = self.clock.wall();
        let mut properties = String::with_capacity(send.properties.len() + 96);
        append(&mut properties, key::PUSH_REPLY_TIME, &now.to_string());
        append(&mut properties, key::MSG_REGION, &self.options.region);
        let trace = if self.options.trace_on {
            "true"
        } else {
            "false"
        };
        append(&mut properties, key::TRACE_ON, trace);
        properties.push_str(send.properties);
        Reply {
            group: group.to_owned(),
            topic: send.topic.to_owned(),
            template: send.template.to_owned(),
            template_queues: send.template_queues,
            queue: send.queue,
            sys_flag: send.sys_flag,
            flag: send.flag,
            born_at: send.born_at,
            born_host: caller.remote,
            stored_at: now,
            store_host: self.options.address,
            properties,
            reconsume_times: send.reconsume_times,
            unit_mode: send.unit_mode,
            body: send.body.to_vec(),
        }
    }
}
