//! Requests and replies: a message that somebody answers, over the brokers and past all queues.
//!
//! ```text
//! requester ── message with CORRELATION_ID, REPLY_TO_CLIENT, TTL ──> broker ──> a consumer of the topic
//!     ^                                                                            │ reply
//!     └──────────────────────── 326 ── broker <── 325 ─────────────────────────────┘
//! ```
//! The reply goes through the broker that the request lies at: the requester made itself known there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::TopicName;
use model::message::{append, key, property};
use remoting::Command;
use remoting::code::{request, response};
use remoting::header::SendHeader;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{Producer, ReplyTo, Shared};
use crate::channel::Channel;
use crate::client::Inner;
use crate::clock;
use crate::error::{Error, MessageError, Result};
use crate::message::{Message, checked, is_reserved};
use crate::received::Received;
use crate::route::{Broker, TEMPLATE, TEMPLATE_QUEUES};

/// Names request and reply (Java's `MessageConst.PROPERTY_CORRELATION_ID`).
pub(crate) const CORRELATION_ID: &str = "CORRELATION_ID";
pub(crate) const TTL: &str = "TTL";
const MESSAGE_TYPE: &str = "MSG_TYPE";
const REPLY: &str = "reply";

impl Producer {
    /// Sends a message, and waits for the reply of the consumer that gets it: as long as `limit`, the
    /// sending included.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/example.rs")); }
    /// # example::run(async |name_server| {
    /// # let client = posthouse_client::Client::new(posthouse_client::Config::new(name_server));
    /// # let replier = client.producer("clerks")?;
    /// # let clerks = client.push_consumer("clerks", &[("quotes", posthouse_client::Filter::All)], posthouse_client::PushOptions::default(), move |question| {
    /// #     let replier = replier.clone();
    /// #     async move { replier.reply(&question, "7 crowns").await.map_or(posthouse_client::Settle::Retry(None), |()| posthouse_client::Settle::Ack) }
    /// # }).await?;
    /// # let producer = client.producer("shop")?;
    /// use std::time::Duration;
    /// use posthouse_client::Message;
    ///
    /// let question = Message::new("quotes", "how much is a parcel?");
    /// let reply = producer.request(question, Duration::from_secs(30)).await?;
    /// println!("{}", String::from_utf8_lossy(&reply.body));
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`Error::NoReply`] if none came in time; else as [`Producer::send`].
    pub async fn request(&self, message: Message, limit: Duration) -> Result<Received> {
        let asked = self.request_and_id(message, limit).await;
        asked.map(|(_, reply)| reply)
    }

    /// As [`Producer::request`], and tells the id of the message that asked.
    ///
    /// # Errors
    /// As [`Producer::request`].
    pub async fn request_and_id(
        &self,
        message: Message,
        limit: Duration,
    ) -> Result<(String, Received)> {
        let end = Instant::now() + limit;
        let shared = &self.shared;
        let client = &shared.client;
        let mut outgoing = shared.outgoing(&message)?;
        let mut id = String::with_capacity(32);
        client.ids.push(clock::wall_ms(), &mut id);
        for (name, value) in [
            (CORRELATION_ID, id.as_str()),
            (key::REPLY_TO_CLIENT, client.id.as_str()),
            (TTL, &limit.as_millis().to_string()),
        ] {
            append(&mut outgoing.properties, name, value);
        }
        let (waiter, reply) = Awaited::new(client.clone(), id);
        let asks = async {
            shared.announce(&outgoing.topic).await?;
            let sending = client.counters.sending(1);
            sending.ended_with(shared.deliver(&outgoing, None, shared.until()).await)?;
            // The other end lives in the table until we leave.
            reply.await.map_err(|_| Error::Closed)
        };
        let reply = timeout_at(end, asks).await;
        drop(waiter);
        let reply = reply.unwrap_or(Err(Error::NoReply(limit)))?;
        Ok((outgoing.id, reply))
    }

    /// Replies to a message that asks for it. Returns once the requester has the reply.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/example.rs")); }
    /// # example::run(async |name_server| {
    /// use posthouse_client::{Client, Config, Filter, PushOptions, Settle};
    ///
    /// let client = Client::new(Config::new(name_server));
    /// let replier = client.producer("clerks")?;
    /// let wanted = [("quotes", Filter::All)];
    /// client.push_consumer("clerks", &wanted, PushOptions::default(), move |question| {
    ///     let replier = replier.clone();
    ///     async move {
    ///         match replier.reply(&question, "7 crowns").await {
    ///             Ok(()) => Settle::Ack,
    ///             Err(error) => {
    ///                 eprintln!("nobody waits for it any more: {error}");
    ///                 Settle::Ack
    ///             }
    ///         }
    ///     }
    /// })
    /// .await?;
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`MessageError::NoRequest`] if the message asks for no reply. The broker refuses with 1 if the
    /// requester is gone.
    pub async fn reply(&self, request: &Received, body: impl Into<Bytes>) -> Result<()> {
        self.reply_with(request, body, &[]).await
    }

    /// As [`Producer::reply`], with properties of the replier's own.
    ///
    /// # Errors
    /// As [`Producer::reply`]; and if a property is none.
    pub async fn reply_with(
        &self,
        request: &Received,
        body: impl Into<Bytes>,
        properties: &[(String, String)],
    ) -> Result<()> {
        self.reply_to(&ReplyTo::of(request)?, body, properties)
            .await
    }

    /// As [`Producer::reply_with`], for who has not the message, but only where its reply goes.
    ///
    /// # Errors
    /// As [`Producer::reply_with`].
    pub async fn reply_to(
        &self,
        to: &ReplyTo,
        body: impl Into<Bytes>,
        properties: &[(String, String)],
    ) -> Result<()> {
        let shared = &self.shared;
        shared.open()?;
        let text = reply_properties(to, properties)?;
        let cluster = &to.cluster;
        let topic = format!("{cluster}_REPLY_TOPIC");
        TopicName::parse(&topic)?;
        let header = SendHeader {
            producer_group: &shared.group,
            topic: &topic,
            default_topic: TEMPLATE,
            default_topic_queues: TEMPLATE_QUEUES as i32,
            queue_id: 0,
            sys_flag: 0,
            born_at: clock::wall_ms(),
            flag: 0,
            properties: Some(&text),
            reconsume_times: Some(0),
            unit_mode: false,
            max_reconsume_times: None,
            batch: false,
            broker_name: None,
            durability: None,
        };
        let command = header.fill_letters(Command::request(request::SEND_REPLY_MESSAGE_V2));
        let command = command.body(body.into().to_vec());
        let channel = shared.way_back(to, &topic).await?;
        let answer = channel.ask(command, shared.options.timeout).await?;
        let read = answer.read(|frame| match frame.code {
            // However safely the reply is kept: the requester has it.
            response::SUCCESS
            | response::FLUSH_DISK_TIMEOUT
            | response::FLUSH_SLAVE_TIMEOUT
            | response::SLAVE_NOT_AVAILABLE => Ok(()),
            code => Err(channel.refused(code, frame.remark)),
        });
        read.map_err(|error| Error::malformed(channel.address(), error))?
    }
}

/// The properties of a reply.
fn reply_properties(
    to: &ReplyTo,
    properties: &[(String, String)],
) -> std::result::Result<String, MessageError> {
    let mut text = String::with_capacity(160);
    append(&mut text, MESSAGE_TYPE, REPLY);
    append(&mut text, CORRELATION_ID, &to.correlation);
    append(&mut text, key::REPLY_TO_CLIENT, &to.client);
    if let Some(ttl) = &to.ttl {
        append(&mut text, TTL, ttl);
    }
    for (name, value) in properties {
        if is_reserved(name) {
            return Err(MessageError::Reserved(name.clone()));
        }
        checked(&mut text, name, value)?;
    }
    Ok(text)
}

impl Shared {
    /// The way to the broker that the request came from; if it is gone, to any that takes replies.
    async fn way_back(&self, to: &ReplyTo, topic: &str) -> Result<Arc<Channel>> {
        let client = &self.client;
        match client
            .master_of(&client.names.full(&to.topic), &to.broker)
            .await
        {
            Err(Error::UnknownBroker(_) | Error::NoRoute(_)) => {
                let route = client.route(topic).await?;
                let master = route.brokers.iter().find_map(Broker::master);
                let master = master.ok_or_else(|| Error::NoRoute(topic.to_owned()))?;
                client.channels.to(master).await
            }
            channel => channel,
        }
    }
}

/// A reply that is waited for, until this is dropped.
struct Awaited {
    client: Arc<Inner>,
    id: String,
}

impl Awaited {
    fn new(client: Arc<Inner>, id: String) -> (Awaited, oneshot::Receiver<Received>) {
        let (sender, reply) = oneshot::channel();
        client.members.await_reply(id.clone(), sender);
        (Awaited { client, id }, reply)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.client.members.take_reply(&self.id);
    }
}

impl Inner {
    /// Hands a reply (326) to who waits for it. One that nobody waits for any more is dropped, and the
    /// broker is told that it was taken all the same, as by Java.
    pub(crate) fn replied(&self, command: &Command) {
        let properties = command.field("properties").unwrap_or_default();
        let id = property(properties, CORRELATION_ID).unwrap_or_default();
        let Some(waiter) = self.members.take_reply(id) else {
            tracing::debug!(id, "a reply comes that nobody waits for");
            return;
        };
        let _ = waiter.send(Received::from_reply(command));
    }
}
