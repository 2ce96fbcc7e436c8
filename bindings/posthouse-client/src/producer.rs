//! Sends messages: which queue, how often, and what came of it.

mod batch;
mod each;
mod outgoing;
mod recall;
mod reply_to;
mod request;
mod slow;
mod transaction;
mod tries;

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::tag::java_hash;
use model::{GroupName, TopicName};
use remoting::client::CallError;
use remoting::{Payload, Serialize};
use tokio::time::{Instant, timeout_at};

use crate::channel::Channel;
use crate::client::Inner;
use crate::compress::Compression;
use crate::error::{Error, MessageError, Result};
use crate::message::Message;
use crate::queue::Queue;
use crate::route::{Broker, Route, Target};
use outgoing::{Outgoing, Wish};
use slow::Slow;
use tries::Tries;

pub use batch::{BatchError, SentTogether};
pub use each::{Each, Ends};
pub use outgoing::{SendStatus, Sent};
pub use recall::Recalled;
pub use reply_to::ReplyTo;
pub use transaction::{Begin, Expiry, Half};

/// How a producer sends.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// How long a send may take, its repetitions included.
    pub timeout: Duration,
    /// How often a send is repeated at another broker.
    pub retries: u32,
    /// Whether a message that one broker stored less safely than it is configured to is sent to another
    /// one too: it may then be there twice.
    pub retry_unsafe: bool,
    /// Whether brokers that were slow or gave no answer are left alone for a while.
    pub avoid_slow: bool,
    /// The longest body.
    pub body_max: usize,
    /// Bodies of this length on are compressed. Batches never are.
    pub compress_from: usize,
    /// How; `None`: not at all.
    pub compression: Option<Compression>,
    /// How headers of sends are written. Every broker reads both.
    pub serialize: Serialize,
    /// Whether brokers hear of the group. They ask only those producers about half messages, and hand
    /// replies only to those, that they hear of.
    pub announce: bool,
    /// Whether it answers for producers elsewhere: brokers of Posthouse ask those first about half messages.
    pub stands_in: bool,
    /// Whether brokers are asked how safe a message is, see [`Sent::durability`]. Only Posthouse says so.
    pub tell_durability: bool,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        ProducerOptions {
            timeout: Duration::from_secs(3),
            retries: 2,
            retry_unsafe: false,
            avoid_slow: true,
            body_max: 4 << 20,
            compress_from: 4096,
            compression: Some(Compression::Zlib),
            serialize: Serialize::Binary,
            announce: true,
            stands_in: false,
            tell_durability: false,
        }
    }
}

/// Sends messages. Cheap to clone; safe to use from many tasks at once, whose messages then leave
/// together.
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
}

struct Shared {
    client: Arc<Inner>,
    group: Arc<str>,
    options: ProducerOptions,
    slow: Slow,
    /// The brokers that were told of the group.
    announced: Mutex<HashSet<Arc<str>>>,
    /// Topics whose route is being asked for, and what waits for it.
    awaited: Mutex<HashMap<Arc<str>, each::Awaited>>,
    closed: AtomicBool,
}

impl Producer {
    pub(crate) fn new(client: Arc<Inner>, group: &str, options: ProducerOptions) -> Result<Self> {
        let group: Arc<str> = GroupName::parse(&client.names.full(group))?.as_str().into();
        if options.announce {
            client
                .members
                .add_producer(group.clone(), options.stands_in);
        }
        let slow = Slow::default();
        let closed = AtomicBool::new(false);
        let shared = Shared {
            client,
            group,
            options,
            slow,
            announced: Mutex::default(),
            awaited: Mutex::default(),
            closed,
        };
        Ok(Producer {
            shared: Arc::new(shared),
        })
    }

    /// Its group.
    pub fn group(&self) -> &str {
        let shared = &self.shared;
        shared.client.names.short_group(&shared.group)
    }

    /// Sends a message and returns when a broker has it as safely as it is configured to. A message
    /// with a sharding key goes to that key's queue and is not tried elsewhere; any other goes round
    /// the queues, and to another broker if the first one does not take it.
    ///
    /// # Errors
    /// [`Error::Message`] if it was not sent. After [`Error::Call`] and [`Error::Timeout`] it may be
    /// stored or not.
    pub async fn send(&self, message: Message) -> Result<Sent> {
        self.send_within(message, self.shared.options.timeout).await
    }

    /// As [`Producer::send`], but it may take this long, whatever [`ProducerOptions::timeout`] is.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub fn send_within(
        &self,
        message: Message,
        limit: Duration,
    ) -> impl Future<Output = Result<Sent>> + Send + '_ {
        let shared = &*self.shared;
        let sending = shared.client.counters.sending(1);
        // The future has no room for the message beside what is made of it.
        let outgoing = shared.outgoing(&message);
        async move {
            let sent = match outgoing {
                Ok(ref outgoing) => {
                    let until = Instant::now() + limit;
                    shared.deliver(outgoing, None, until).await
                }
                Err(error) => Err(error),
            };
            sending.ended_with(sent)
        }
    }

    /// Sends a message to this queue and no other.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn send_to(&self, queue: &Queue, message: Message) -> Result<Sent> {
        let shared = &*self.shared;
        let queue = shared.client.names.full_queue(queue);
        let sending = shared.client.counters.sending(1);
        let sent = match shared.outgoing(&message) {
            Ok(outgoing) => {
                let until = shared.until();
                shared.deliver(&outgoing, Some(&queue), until).await
            }
            Err(error) => Err(error),
        };
        sending.ended_with(sent)
    }

    /// Sends a message and does not ask what became of it. Returns when the socket took it.
    ///
    /// # Errors
    /// If it could not even be sent.
    pub async fn send_oneway(&self, message: Message) -> Result<()> {
        let shared = &*self.shared;
        let sending = shared.client.counters.sending(1);
        sending.ended_with(shared.oneway(&message).await)
    }

    /// Sends messages of one topic together, in as many requests as their size needs. They are stored in
    /// the order given, the messages of one request in one queue.
    ///
    /// # Errors
    /// [`BatchError`] says how many were sent before the first request that failed.
    pub async fn send_batch(
        &self,
        messages: Vec<Message>,
    ) -> std::result::Result<Vec<Sent>, BatchError> {
        let (sent, end) = self.send_together(&messages).await;
        let sent = sent.iter().flat_map(SentTogether::each).collect();
        match end {
            Ok(()) => Ok(sent),
            Err(error) => Err(BatchError { sent, error }),
        }
    }

    /// As [`Producer::send_batch`], for who keeps the messages and needs no answer of its own for each of them: what
    /// was sent, request by request, and what became of the request behind.
    pub async fn send_together<M: Borrow<Message>>(
        &self,
        messages: &[M],
    ) -> (Vec<SentTogether>, Result<()>) {
        let sending = self.shared.client.counters.sending(messages.len());
        let (sent, end) = self.shared.send_together(messages).await;
        let well: usize = sent.iter().map(SentTogether::len).sum();
        sending.ended(well as u64);
        (sent, end)
    }

    /// The queues of a topic that can be written.
    ///
    /// # Errors
    /// [`Error::NoRoute`] if there is no such topic, nor one to make it from.
    pub async fn queues(&self, topic: &str) -> Result<Vec<Queue>> {
        let names = &self.shared.client.names;
        let route = self.shared.route(&names.full(topic)).await?;
        let queues = route.writable.iter();
        Ok(queues
            .map(|target| names.short_queue(target.queue.clone()))
            .collect())
    }

    /// Makes sure that every broker of a topic knows that the group has a producer here, whom it may ask
    /// about transactions. [`Producer::begin`] does so itself.
    ///
    /// # Errors
    /// If the topic has no route.
    pub async fn announce(&self, topic: &str) -> Result<()> {
        self.shared.open()?;
        let topic = self.shared.client.names.full(topic);
        self.shared.announce(&topic).await
    }

    /// Takes leave of the brokers. What is under way is not waited for.
    pub async fn shutdown(&self) {
        let shared = &self.shared;
        let first = !shared.closed.swap(true, Ordering::AcqRel);
        let leaves = first && shared.options.announce;
        let members = &shared.client.members;
        if leaves && members.remove_producer(&shared.group, shared.options.stands_in) {
            shared.client.leave(Some(&shared.group), None).await;
        }
    }
}

impl Shared {
    fn outgoing(&self, message: &Message) -> Result<Outgoing<'static>> {
        self.open()?;
        TopicName::check(&self.client.names.full(&message.topic))?;
        let max = self.options.body_max;
        match message.body.len() {
            0 => return Err(MessageError::EmptyBody.into()),
            length if length > max => return Err(MessageError::TooLong(length, max).into()),
            _ => {}
        }
        let Some(observer) = &self.client.config.observer else {
            return Ok(Outgoing::new(&self.client, &self.options, message)?);
        };
        let mut observed = message.clone();
        observer.sending(&mut observed);
        Ok(Outgoing::new(&self.client, &self.options, &observed)?)
    }

    fn open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        self.client.open()
    }

    async fn route(&self, topic: &str) -> Result<Arc<Route>> {
        let client = &self.client;
        client.routes.to_publish(topic, &client.ask()).await
    }

    /// The same, for a send: a name server that is silent takes its time from the send's, not its own on top.
    async fn route_until(&self, topic: &str, until: Instant) -> Result<Arc<Route>> {
        if let Some(route) = self.client.routes.cached_to_publish(topic) {
            return Ok(route);
        }
        let route = Box::pin(timeout_at(until, self.route(topic))).await;
        let no_route = || Error::NoRoute(topic.to_string());
        route.map_err(|_| Error::Timeout(Box::new(no_route())))?
    }

    /// Makes sure that every broker of a topic has heard of the group.
    async fn announce(&self, topic: &str) -> Result<()> {
        if !self.options.announce {
            return Ok(());
        }
        let route = self.route(topic).await?;
        let masters = route.brokers.iter().filter_map(Broker::master);
        let new: Vec<Arc<str>> = {
            let told = self.announced.lock();
            let told = told.unwrap_or_else(PoisonError::into_inner);
            masters
                .filter(|master| !told.contains(*master))
                .cloned()
                .collect()
        };
        if !new.is_empty() {
            let heard = self.client.heartbeat().await;
            let heard = new.into_iter().filter(|master| heard.contains(master));
            let told = self.announced.lock();
            told.unwrap_or_else(PoisonError::into_inner).extend(heard);
        }
        Ok(())
    }

    /// When a send that begins now has taken too long.
    fn until(&self) -> Instant {
        Instant::now() + self.options.timeout
    }

    async fn oneway(&self, message: &Message) -> Result<()> {
        let outgoing = self.outgoing(message)?;
        let until = self.until();
        let route = self.route_until(&outgoing.topic, until).await?;
        let target = self.choose(&route, &outgoing, None, None, Instant::now())?;
        let channel = self.way(target, &outgoing, until).await?;
        let encode = |opaque, out: &mut Vec<u8>| {
            let payload = outgoing.payload();
            self.encode(&outgoing, target.queue.id, opaque, true, payload, out);
        };
        let sent = timeout_at(until, channel.oneway(encode)).await;
        sent.map_err(|_| late(target))?
    }

    /// Sends, and tells who is to be told.
    async fn deliver(
        &self,
        outgoing: &Outgoing<'_>,
        to: Option<&Queue>,
        until: Instant,
    ) -> Result<Sent> {
        let observer = self.client.config.observer.as_ref();
        let begun = observer.map(|_| Instant::now());
        let result = self.deliver_unseen(outgoing, to, until).await;
        if let (Some(observer), Some(begun)) = (observer, begun) {
            observer.sent(
                &self.client.names.short(&outgoing.topic),
                result.as_ref(),
                begun.elapsed(),
            );
        }
        result
    }

    /// Sends, to another broker if need be, until one has it or time or tries are over.
    async fn deliver_unseen(
        &self,
        outgoing: &Outgoing<'_>,
        to: Option<&Queue>,
        until: Instant,
    ) -> Result<Sent> {
        let route = self.route_until(&outgoing.topic, until).await?;
        let tries = Tries::of(&self.options, outgoing, to, until);
        self.try_on(outgoing, tries, route).await
    }

    /// Sends until a broker has it or time or tries are over.
    async fn try_on(
        &self,
        outgoing: &Outgoing<'_>,
        mut tries: Tries,
        mut route: Arc<Route>,
    ) -> Result<Sent> {
        loop {
            // What a try came to has its room here, and not while the next route is asked for.
            let end = {
                let begun = Instant::now();
                let (to, avoid) = (tries.to.as_ref(), tries.avoid.as_deref());
                let target = self.choose(&route, outgoing, to, avoid, begun)?;
                let result = self.once(target, outgoing, tries.until).await;
                let queue = &target.queue;
                self.slow
                    .note(&queue.broker, begun, Instant::now(), &result);
                tries.end(&self.options, outgoing, queue, result)
            };
            if let Some(end) = end {
                return end;
            }
            self.client.counters.send_again();
            route = Box::pin(self.another_route(outgoing, tries.until, route)).await;
        }
    }

    /// The route, asked for again: it may be why a send failed.
    async fn another_route(
        &self,
        outgoing: &Outgoing<'_>,
        until: Instant,
        route: Arc<Route>,
    ) -> Arc<Route> {
        let ask = self.client.ask();
        let refresh = (self.client.routes).refresh_to_publish(&outgoing.topic, &ask);
        match timeout_at(until, refresh).await {
            Ok(Ok(fresh)) => fresh,
            _ => route,
        }
    }

    async fn once(&self, target: &Target, outgoing: &Outgoing<'_>, until: Instant) -> Result<Sent> {
        let channel = self.way(target, outgoing, until).await?;
        let encode = |opaque, payload: Payload<'_>, out: &mut Vec<u8>| {
            self.encode(outgoing, target.queue.id, opaque, false, payload, out);
        };
        let left = until.saturating_duration_since(Instant::now());
        let answer = channel.send(outgoing.payload(), encode, left).await?;
        let read = answer.read(|frame| outgoing.sent(&channel, &target.queue, frame));
        read.map_err(|error| Error::malformed(channel.address(), error))?
    }

    /// The way to a broker that does all that a message asks for. Finding its address and asking what it does
    /// take their time from the send's.
    async fn way(
        &self,
        target: &Target,
        outgoing: &Outgoing<'_>,
        until: Instant,
    ) -> Result<Arc<Channel>> {
        if let Some(channel) = self.client.channels.open_to(&target.master)
            && (outgoing.needs.is_none() || channel.is_known_posthouse())
        {
            return Ok(channel);
        }
        let found = async {
            let channel = self.client.channels.to(&target.master).await?;
            self.supported(&channel, outgoing).await?;
            Ok(channel)
        };
        // Boxed: a send has no room for what it seldom does.
        let found = Box::pin(timeout_at(until, found)).await;
        found.map_err(|_| late(target))?
    }

    /// Whether a broker does all that a message asks for: another one would pass over it.
    async fn supported(&self, channel: &Channel, outgoing: &Outgoing<'_>) -> Result<()> {
        let Some(what) = outgoing.needs else {
            return Ok(());
        };
        match channel
            .is_posthouse(&self.client.id, self.client.config.timeout)
            .await?
        {
            true => Ok(()),
            false => Err(Error::Unsupported {
                address: channel.address().clone(),
                what,
            }),
        }
    }

    fn encode(
        &self,
        outgoing: &Outgoing<'_>,
        queue: u32,
        opaque: i32,
        oneway: bool,
        payload: Payload<'_>,
        out: &mut Vec<u8>,
    ) {
        let head = remoting::Head {
            opaque,
            // The code that refuses another message with this name has more than the 16 bits that a binary
            // header has for it.
            serialize: match outgoing.once {
                Some(_) => Serialize::Json,
                None => self.options.serialize,
            },
        };
        let wish = Wish {
            oneway,
            durability: self.options.tell_durability,
        };
        outgoing.encode(head, &self.group, queue, wish, payload, out);
    }

    /// The queue for a message: the one asked for, its key's, or the next one, not of the broker that
    /// failed just now, nor of one that was slow.
    fn choose<'r>(
        &self,
        route: &'r Route,
        outgoing: &Outgoing<'_>,
        to: Option<&Queue>,
        avoid: Option<&str>,
        now: Instant,
    ) -> Result<&'r Target> {
        let all = &route.writable;
        let none = || Error::NoQueue(outgoing.topic.to_string(), "written");
        if let Some(queue) = to {
            let found = all.iter().find(|target| target.queue == *queue);
            return found.ok_or_else(none);
        }
        if all.is_empty() {
            return Err(none());
        }
        if let Some(key) = &outgoing.sharding_key {
            // Java's `SelectMessageQueueByHash`.
            let at = (java_hash(key) % all.len() as i32).unsigned_abs() as usize;
            return all.get(at).ok_or_else(none);
        }
        if let Some(once) = &outgoing.once {
            return home(all, once).ok_or_else(none);
        }
        let next = || all.get(route.next.fetch_add(1, Ordering::Relaxed) % all.len());
        let other = |target: &&Target| avoid != Some(&*target.queue.broker);
        let fast = |target: &&Target| {
            !self.options.avoid_slow || self.slow.is_available(&target.queue.broker, now)
        };
        let turns = || (0..all.len()).filter_map(|_| next());
        let chosen = turns().find(|target| other(target) && fast(target));
        let chosen = chosen.or_else(|| turns().find(other)).or_else(next);
        chosen.ok_or_else(none)
    }
}

/// What a send ends with whose time is over before its broker answered.
fn late(target: &Target) -> Error {
    Error::Call {
        address: target.master.clone(),
        source: CallError::Timeout,
    }
}

/// The queue of a send's name. Whichever queues come or go, most names stay at their broker, who alone
/// keeps them.
fn home<'r>(all: &'r [Target], once: &str) -> Option<&'r Target> {
    let weight = |target: &Target| {
        let mut text = md5::Context::new();
        text.consume(&*target.queue.broker);
        text.consume([0]);
        text.consume(once);
        text.finalize().0
    };
    let best = all.iter().max_by_key(|target| weight(target))?;
    let of_best = |target: &&Target| target.queue.broker == best.queue.broker;
    let at = java_hash(once).unsigned_abs() as usize % all.iter().filter(of_best).count();
    all.iter().filter(of_best).nth(at)
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.options.announce && !self.closed.load(Ordering::Acquire) {
            let members = &self.client.members;
            members.remove_producer(&self.group, self.options.stands_in);
        }
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "producer of {}", self.group())
    }
}
