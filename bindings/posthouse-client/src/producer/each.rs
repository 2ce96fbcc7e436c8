//! Sends many messages at once, each on its own: it goes round the queues, is repeated, and ends as if it had been
//! sent alone.
//!
//! ```text
//! a burst ─ no route yet ─> waits for the one question that its topic asks
//!    └─ by broker ─> at most so many as one write, in order ─> told as answers come
//!                                                └─ failed, may be repeated ─> a task of its own
//! ```
//! What goes the usual way shares everything: no task, no future and no timer is made for one message. Names of sends
//! leave with the others; only the first write that has some waits, in its place, until its broker said that it keeps
//! them.

use std::sync::Arc;
use std::time::Duration;

use remoting::Answer;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::outgoing::{Outgoing, Sent};
use super::tries::Tries;
use super::{Producer, Shared};
use crate::channel::{Channel, Many};
use crate::error::{Error, Result};
use crate::message::Message;
use crate::metrics::Counters;
use crate::queue::Queue;
use crate::route::Route;

/// One message of many.
#[derive(Clone, Debug)]
pub struct Each {
    /// The message.
    pub message: Message,
    /// The queue that it must go to; `None`: any.
    pub queue: Option<Queue>,
}

/// Is told what became of messages that were sent at once.
pub trait Ends: Send + Sync + 'static {
    /// What became of some of them, by their places in what was sent. Called on the runtime's threads: it must
    /// not block.
    fn ended(&self, ended: Vec<(usize, Result<Sent>)>);
}

/// What leaves as one write: the first answers come while the rest is served.
const WRITE_MESSAGES: usize = 128;
const WRITE_BYTES: usize = 256 << 10;

impl Producer {
    /// Sends messages, each as [`Producer::send`] does, in their order. `ends` is told of every one of them, in any
    /// order, and once; each may take so long, or as long as the producer is set. To be called inside a runtime.
    pub fn send_each(&self, messages: Vec<Each>, limit: Option<Duration>, ends: Arc<dyn Ends>) {
        let until = Instant::now() + limit.unwrap_or(self.shared.options.timeout);
        let names = &self.shared.client.names;
        let part = |(at, each): (usize, Each)| {
            let mut part = Part { at, each };
            if names.namespace().is_some() {
                let Each { message, queue } = &mut part.each;
                message.topic = names.full_shared(message.topic.clone());
                *queue = queue.as_ref().map(|queue| names.full_queue(queue));
            }
            part
        };
        self.shared.client.counters.begun(messages.len());
        let ends: Arc<dyn Ends> = Arc::new(Counted {
            counters: self.shared.client.counters.clone(),
            ends,
        });
        let parts = messages.into_iter().enumerate().map(part).collect();
        self.send_parts(parts, until, &ends, true);
    }

    /// `waits`: whether messages of a topic without a route wait for it, behind those that do already.
    fn send_parts(&self, parts: Vec<Part>, until: Instant, ends: &Arc<dyn Ends>, waits: bool) {
        let shared = &self.shared;
        let mut ended = Vec::new();
        let mut writes: Vec<Write> = Vec::new();
        let mut last: Option<(Arc<str>, Arc<Route>)> = None;
        let begun = Instant::now();
        for part in parts {
            let topic = &part.each.message.topic;
            let known = last.take().filter(|(known, _)| known == topic);
            let Some((topic, route)) = known.or_else(|| self.known(topic, waits)) else {
                match waits {
                    true => self.wait_for_route(part, until, ends),
                    false => self.send_alone(part, until, ends),
                }
                continue;
            };
            match shared.ready(&part, &route, begun) {
                Ok(None) => self.send_alone(part, until, ends),
                Ok(Some((channel, one))) => add(&mut writes, channel, one, |channel, asks| Write {
                    producer: self.clone(),
                    channel,
                    ones: Vec::new(),
                    bytes: 0,
                    asks,
                    begun,
                    until,
                    ends: ends.clone(),
                }),
                Err(error) => ended.push((part.at, Err(error))),
            }
            last = Some((topic, route));
        }
        if !ended.is_empty() {
            ends.ended(ended);
        }
        for write in writes {
            write.channel.clone().send_many(Arc::new(write), until);
        }
    }

    /// The route of a topic that need not be waited for.
    fn known(&self, topic: &Arc<str>, waits: bool) -> Option<(Arc<str>, Arc<Route>)> {
        if waits && self.shared.awaited().contains_key(topic) {
            return None;
        }
        let route = self.shared.client.routes.cached_to_publish(topic)?;
        Some((topic.clone(), route))
    }

    /// Sends it in a task of its own: something about it has to be waited for.
    fn send_alone(&self, part: Part, until: Instant, ends: &Arc<dyn Ends>) {
        let (producer, ends) = (self.clone(), ends.clone());
        drop(tokio::spawn(async move {
            let shared = &*producer.shared;
            let Part { at, each } = part;
            let sent = match shared.outgoing(&each.message) {
                Ok(outgoing) => shared.deliver(&outgoing, each.queue.as_ref(), until).await,
                Err(error) => Err(error),
            };
            ends.ended(vec![(at, sent)]);
        }));
    }

    /// Sends it when its topic's route is there. The first one asks for it, for all.
    fn wait_for_route(&self, part: Part, until: Instant, ends: &Arc<dyn Ends>) {
        let topic = part.each.message.topic.clone();
        let mut awaited = self.shared.awaited();
        let first = !awaited.contains_key(&topic);
        let waiting = awaited.entry(topic.clone()).or_default();
        match waiting.parts.last_mut() {
            Some((last, to, parts)) if *last == until && Arc::ptr_eq(to, ends) => parts.push(part),
            _ => waiting.parts.push((until, ends.clone(), vec![part])),
        }
        waiting.more.notify_one();
        drop(awaited);
        if first {
            let producer = self.clone();
            drop(tokio::spawn(
                async move { producer.await_route(topic).await },
            ));
        }
    }

    async fn await_route(&self, topic: Arc<str>) {
        let shared = &*self.shared;
        let mut asked = std::pin::pin!(shared.way_to(&topic));
        loop {
            let (next, more) = shared.expire(&topic);
            tokio::select! {
                // What could not be had, each message asks for itself.
                _ = &mut asked => break,
                () = sleep_until(next.unwrap_or_else(|| shared.until())) => {}
                () = more.notified() => {}
            }
        }
        loop {
            let parts = {
                let mut awaited = shared.awaited();
                let waiting = awaited.get_mut(&topic);
                let parts = waiting.map(|waiting| std::mem::take(&mut waiting.parts));
                match parts.filter(|parts| !parts.is_empty()) {
                    Some(parts) => parts,
                    // From now on nobody waits.
                    None => {
                        awaited.remove(&topic);
                        return;
                    }
                }
            };
            for (until, ends, parts) in parts {
                self.send_parts(parts, until, &ends, false);
            }
        }
    }
}

/// Counts what is told.
struct Counted {
    counters: Arc<Counters>,
    ends: Arc<dyn Ends>,
}

impl Ends for Counted {
    fn ended(&self, ended: Vec<(usize, Result<Sent>)>) {
        let well = ended.iter().filter(|(_, sent)| sent.is_ok()).count();
        self.counters.ended(ended.len(), well);
        self.ends.ended(ended);
    }
}

/// A message, and its place in what was sent at once.
struct Part {
    at: usize,
    each: Each,
}

/// Messages that wait for their topic's route.
#[derive(Default)]
pub(super) struct Awaited {
    parts: Vec<(Instant, Arc<dyn Ends>, Vec<Part>)>,
    more: Arc<Notify>,
}

impl Shared {
    fn awaited(&self) -> std::sync::MutexGuard<'_, std::collections::HashMap<Arc<str>, Awaited>> {
        let awaited = self.awaited.lock();
        awaited.unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Asks for a topic's route, and looks its brokers' addresses up.
    async fn way_to(&self, topic: &str) -> Result<()> {
        let route = self.route(topic).await?;
        for target in &route.writable {
            if self.client.channels.open_to(&target.master).is_none() {
                self.client.channels.to(&target.master).await?;
            }
        }
        Ok(())
    }

    /// Ends what has waited too long for a route. When the next one will have.
    fn expire(&self, topic: &Arc<str>) -> (Option<Instant>, Arc<Notify>) {
        let now = Instant::now();
        let mut awaited = self.awaited();
        let Some(waiting) = awaited.get_mut(topic) else {
            return (None, Arc::default());
        };
        let late = |(until, ..): &mut (Instant, Arc<dyn Ends>, Vec<Part>)| *until <= now;
        let late: Vec<_> = waiting.parts.extract_if(.., late).collect();
        let next = waiting.parts.iter().map(|(until, ..)| *until).min();
        let more = waiting.more.clone();
        drop(awaited);
        for (_, ends, parts) in late {
            let no_route = || Error::Timeout(Box::new(Error::NoRoute(topic.to_string())));
            let ended = parts.iter().map(|part| (part.at, Err(no_route())));
            ends.ended(ended.collect());
        }
        (next, more)
    }

    /// A message that can leave at once, and by which way. `None`: something has to be asked or opened first, or
    /// somebody watches each send.
    fn ready(
        &self,
        part: &Part,
        route: &Route,
        now: Instant,
    ) -> Result<Option<(Arc<Channel>, One)>> {
        let Each { message, queue } = &part.each;
        if self.client.config.observer.is_some() {
            return Ok(None);
        }
        let outgoing = self.outgoing(message)?;
        let target = self.choose(route, &outgoing, queue.as_ref(), None, now)?;
        let Some(channel) = self.client.channels.open_to(&target.master) else {
            return Ok(None);
        };
        let one = One {
            at: part.at,
            outgoing,
            queue: target.queue.clone(),
            named: queue.is_some(),
        };
        Ok(Some((channel, one)))
    }
}

/// A message that leaves with others.
struct One {
    at: usize,
    outgoing: Outgoing<'static>,
    /// Where it goes.
    queue: Queue,
    /// Whether it was to go there and nowhere else.
    named: bool,
}

/// Messages that leave together.
struct Write {
    producer: Producer,
    channel: Arc<Channel>,
    ones: Vec<One>,
    bytes: usize,
    /// Whether the broker must say first that it keeps names of sends.
    asks: bool,
    begun: Instant,
    until: Instant,
    ends: Arc<dyn Ends>,
}

fn add(
    writes: &mut Vec<Write>,
    channel: Arc<Channel>,
    one: One,
    begin: impl FnOnce(Arc<Channel>, bool) -> Write,
) {
    let length = one.outgoing.body.len();
    // Apart from the others, for of a broker that keeps no names these get an answer each.
    let asks = one.outgoing.needs.is_some() && !channel.is_known_posthouse();
    let open = writes.iter_mut().rev();
    let mut open = open.filter(|write| Arc::ptr_eq(&write.channel, &channel));
    // Only the last one: what comes later leaves later.
    let has_room = |write: &&mut Write| {
        write.ones.len() < WRITE_MESSAGES
            && write.bytes + length <= WRITE_BYTES
            && write.asks == asks
    };
    let write = match open.next().filter(has_room) {
        Some(write) => write,
        None => {
            writes.push(begin(channel, asks));
            writes.last_mut().expect("it was pushed")
        }
    };
    write.bytes += length;
    write.ones.push(one);
}

impl Many for Write {
    fn count(&self) -> usize {
        self.ones.len()
    }

    fn encode(&self, number: usize, opaque: i32, out: &mut Vec<u8>) {
        if let Some(one) = self.ones.get(number) {
            let shared = &self.producer.shared;
            let payload = one.outgoing.payload();
            shared.encode(&one.outgoing, one.queue.id, opaque, false, payload, out);
        }
    }

    fn ended(self: Arc<Self>, answers: Vec<(usize, Result<Answer>)>) {
        let shared = &self.producer.shared;
        let now = Instant::now();
        let mut ended = Vec::with_capacity(answers.len());
        for (number, answer) in answers {
            let Some(one) = self.ones.get(number) else {
                continue;
            };
            let sent = answer.and_then(|answer| {
                let read = answer.read(|frame| one.outgoing.sent(&self.channel, &one.queue, frame));
                read.map_err(|error| Error::malformed(self.channel.address(), error))?
            });
            (shared.slow).note(&one.queue.broker, self.begun, now, &sent);
            let to = one.named.then_some(&one.queue);
            let mut tries = Tries::of(&shared.options, &one.outgoing, to, self.until);
            match tries.end(&shared.options, &one.outgoing, &one.queue, sent) {
                Some(end) => ended.push((one.at, end)),
                None => {
                    shared.client.counters.send_again();
                    self.clone().try_again(number, tries);
                }
            }
        }
        if !ended.is_empty() {
            self.ends.ended(ended);
        }
    }

    fn asks(&self) -> Option<&str> {
        self.asks.then_some(&*self.producer.shared.client.id)
    }

    fn unsent(self: Arc<Self>) {
        // Each one asks for itself: what became of it is told of it alone.
        for number in 0..self.ones.len() {
            let write = self.clone();
            drop(tokio::spawn(async move {
                let Some(one) = write.ones.get(number) else {
                    return;
                };
                let (shared, to) = (&write.producer.shared, one.named.then_some(&one.queue));
                let sent = shared.deliver(&one.outgoing, to, write.until).await;
                write.ends.ended(vec![(one.at, sent)]);
            }));
        }
    }
}

impl Write {
    /// Sends one of them elsewhere.
    fn try_again(self: Arc<Self>, number: usize, tries: Tries) {
        drop(tokio::spawn(async move {
            let Some(one) = self.ones.get(number) else {
                return;
            };
            let (shared, outgoing) = (&self.producer.shared, &one.outgoing);
            let sent = match shared.route_until(&outgoing.topic, tries.until).await {
                Ok(route) => {
                    let route = shared.another_route(outgoing, tries.until, route).await;
                    shared.try_on(outgoing, tries, route).await
                }
                Err(error) => Err(error),
            };
            self.ends.ended(vec![(one.at, sent)]);
        }));
    }
}
