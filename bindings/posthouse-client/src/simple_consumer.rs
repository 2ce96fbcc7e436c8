//! Messages on loan: popped by who asks, acked one by one, by whoever holds the lease (Apache's POP).
//!
//! No queue belongs to anybody, so nothing is shared out, and a message that is not acked in time comes
//! again, to any member.

mod give_back;
mod settle;
mod wait;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use model::GroupName;
use model::tag::java_hash;
use remoting::code::{request, response};
use remoting::header::pop::{AckHeader, ChangeInvisibleHeader, NotificationHeader, PopHeader};
use remoting::{Answer, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::channel::Channel;
use crate::client::{Client, Inner};
use crate::error::{Error, Result};
use crate::filter::{Filter, Wanted};
use crate::lease::{Lease, Pop};
use crate::push_consumer::Settle;
use crate::queue::Queue;
use crate::reader::ConsumeFrom;
use crate::received::{Received, records};

/// A message on loan.
#[derive(Clone, Debug)]
pub struct Leased {
    /// The message.
    pub message: Received,
    /// What it is acked with.
    pub lease: Lease,
}

/// What is wanted of a topic at once.
#[derive(Clone, Debug)]
pub struct Receive {
    /// At most so many messages; brokers give at most 32.
    pub max: u32,
    /// How long the messages are lent. A message that is not acked by then comes again.
    pub invisible: Duration,
    /// How long to wait while there are none.
    pub wait: Duration,
    /// What is wanted. All members of a group must want the same.
    pub filter: Filter,
    /// Where a group without an offset begins.
    pub from: ConsumeFrom,
    /// In order: while a message of a message group is lent, later ones of it are not.
    pub ordered: bool,
    /// Names the attempt: asked again under the name while they are out, brokers lend the same messages once
    /// more. Unless it is ordered, only Posthouse's brokers do, and no other is asked. With several brokers,
    /// that holds at the one that lent: another may be the first to have something when it is asked again.
    pub attempt: Option<String>,
}

impl Default for Receive {
    fn default() -> Self {
        Receive {
            max: 16,
            invisible: Duration::from_secs(60),
            wait: Duration::from_secs(15),
            filter: Filter::All,
            from: ConsumeFrom::First,
            ordered: false,
            attempt: None,
        }
    }
}

/// The most that brokers give at once.
const POP_MAX: u32 = 32;
/// Behind the wait: how long an answer may take.
const SLACK: Duration = Duration::from_secs(10);
/// How long brokers are left alone that had something, and lent nothing.
const IN_VAIN: Duration = Duration::from_millis(20);

/// A consumer of messages on loan. Cheap to clone; it has no state that another process with the same
/// group could not have.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/example.rs")); }
/// # example::run(async |name_server| {
/// # let client = posthouse_client::Client::new(posthouse_client::Config::new(name_server));
/// # client.producer("shop")?.send(posthouse_client::Message::new("orders", "x")).await?;
/// use posthouse_client::{Client, Config, Receive};
///
/// let client = Client::new(Config::new(name_server));
/// let consumer = client.simple_consumer("billing")?;
/// for leased in consumer.receive("orders", &Receive::default()).await? {
///     println!("{} bytes", leased.message.body.len());
///     consumer.ack(&leased.lease).await?;
/// }
/// # Ok(())
/// # });
/// ```
#[derive(Clone)]
pub struct SimpleConsumer {
    client: Arc<Inner>,
    group: Arc<str>,
    turn: Arc<AtomicUsize>,
}

impl Client {
    /// A consumer of messages on loan.
    ///
    /// # Errors
    /// If no broker takes the group's name.
    pub fn simple_consumer(&self, group: &str) -> Result<SimpleConsumer> {
        self.inner.open()?;
        Ok(SimpleConsumer {
            client: self.inner.clone(),
            group: GroupName::parse(&self.inner.names.full(group))?
                .as_str()
                .into(),
            turn: Arc::new(AtomicUsize::new(0)),
        })
    }
}

impl SimpleConsumer {
    /// Its group.
    pub fn group(&self) -> &str {
        self.client.names.short_group(&self.group)
    }

    /// The next messages of a topic, as soon as there are some; none when the wait is over.
    ///
    /// # Errors
    /// If the topic has no route, or a broker refuses or gives no answer.
    pub async fn receive(&self, topic: &str, receive: &Receive) -> Result<Vec<Leased>> {
        let (leased, _) = self.receive_as(topic, receive, false).await?;
        Ok(leased)
    }

    /// The same, where the attempt's name is that of one request: `true` if these messages were lent to it before.
    /// In order, they are then on the same leases too. Brokers of Apache's, which know names in order only, never
    /// say that.
    ///
    /// # Errors
    /// As [`SimpleConsumer::receive`]; refused with 310000 if a request of this name asked for another number of
    /// messages or another time, and they are still out.
    pub async fn receive_once(
        &self,
        topic: &str,
        receive: &Receive,
    ) -> Result<(Vec<Leased>, bool)> {
        self.receive_as(topic, receive, receive.attempt.is_some())
            .await
    }

    async fn receive_as(
        &self,
        topic: &str,
        receive: &Receive,
        once: bool,
    ) -> Result<(Vec<Leased>, bool)> {
        self.client.open()?;
        let topic = &*self.client.names.full(topic);
        let wanted = Wanted::new(topic, &receive.filter)?;
        let end = Instant::now() + receive.wait;
        let mut was_told = false;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let mut brokers = self.brokers(topic).await?;
            if let Some(attempt) = &receive.attempt {
                // The one that was asked first before is asked first again, unless brokers came or went. It is
                // the one that lent, if it had something then.
                brokers.sort_by(|(one, _), (other, _)| one.cmp(other));
                let first = java_hash(attempt).unsigned_abs() as usize % brokers.len().max(1);
                brokers.rotate_left(first);
            }
            // With one broker, it waits for us; with several, nobody must lend while another one waits.
            let hold = if brokers.len() == 1 {
                left
            } else {
                Duration::ZERO
            };
            for (name, channel) in &brokers {
                if receive.attempt.is_some() && !receive.ordered {
                    self.keeps_names(channel).await?;
                }
                let pop = (receive, once, hold);
                let found = self.pop(&wanted, pop, name, channel).await?;
                if !found.0.is_empty() {
                    let messages = found.0.iter().map(|leased| &leased.message);
                    self.client.counters.received(messages);
                    return Ok(found);
                }
            }
            if was_told {
                // What a broker has may be nothing that this receive gets.
                sleep_until(end.min(Instant::now() + IN_VAIN)).await;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || (brokers.len() == 1)
                // It has waited already.
                || !self.any_has_some(topic, brokers, receive, left).await
            {
                return Ok((Vec::new(), false));
            }
            was_told = true;
        }
    }

    /// The message is done. `false`: it is not, and comes again, since another lease is in the place of this
    /// one, or none. Only Posthouse's brokers say so; of leases that ran out they know the last of each queue,
    /// since their start.
    ///
    /// # Errors
    /// If the broker that lent it refuses or gives no answer.
    pub async fn ack(&self, lease: &Lease) -> Result<bool> {
        let done = self.end(lease).await?;
        self.client.counters.acknowledged(usize::from(done));
        Ok(done)
    }

    /// The lease is over, and the message does not come again. `false`: it does.
    async fn end(&self, lease: &Lease) -> Result<bool> {
        let topic = lease.real_topic(&self.group);
        let header = AckHeader {
            consumer_group: &self.group,
            topic: &topic,
            queue_id: lease.queue_id() as i32,
            receipt: lease.receipt(),
            offset: lease.offset().cast_signed(),
        };
        let command = header.fill(Command::request(request::ACK_MESSAGE));
        let channel = self.lender(lease).await?;
        let answer = channel.call(command, self.client.config.timeout).await?;
        let held = answer.read(|frame| frame.ext.get("held") != Some("false"));
        held.map_err(|error| Error::malformed(channel.address(), error))
    }

    /// Lends the message for so long from now on. The old lease is worth nothing any more.
    ///
    /// # Errors
    /// [`Error::LeaseEnded`] if the message is not out on this lease, which Apache's brokers do not say; or
    /// the broker that lent it gives no answer.
    pub async fn extend(&self, lease: &Lease, invisible: Duration) -> Result<Lease> {
        let (lease, _) = self.renew(lease, invisible, None).await?;
        Ok(lease)
    }

    /// The same under a name: made again while the new lease lives, it gets that lease, and `true`. Only
    /// Posthouse's brokers keep names, and no other is asked.
    ///
    /// # Errors
    /// As [`SimpleConsumer::extend`]; refused with 310000 if a request of this name asked for another time.
    pub async fn extend_once(
        &self,
        lease: &Lease,
        invisible: Duration,
        once: &str,
    ) -> Result<(Lease, bool)> {
        self.keeps_names(&*self.lender(lease).await?).await?;
        self.renew(lease, invisible, Some(once)).await
    }

    /// Whether a broker keeps names of requests.
    async fn keeps_names(&self, channel: &Channel) -> Result<()> {
        let (id, limit) = (&self.client.id, self.client.config.timeout);
        match channel.is_posthouse(id, limit).await? {
            true => Ok(()),
            false => Err(Error::Unsupported {
                address: channel.address().clone(),
                what: "keeps no idempotency keys: nothing was done",
            }),
        }
    }

    async fn renew(
        &self,
        lease: &Lease,
        invisible: Duration,
        once: Option<&str>,
    ) -> Result<(Lease, bool)> {
        let topic = lease.real_topic(&self.group);
        let header = ChangeInvisibleHeader {
            consumer_group: &self.group,
            topic: &topic,
            queue_id: lease.queue_id() as i32,
            receipt: lease.receipt(),
            offset: lease.offset().cast_signed(),
            invisible_ms: invisible.as_millis() as i64,
            once,
        };
        let command = header.fill(Command::request(request::CHANGE_MESSAGE_INVISIBLETIME));
        let channel = self.lender(lease).await?;
        let answer = channel.call(command, self.client.config.timeout).await?;
        let read = answer.read(|frame| {
            let number = |name| frame.ext.get(name)?.parse::<i64>().ok();
            let revive = i32::try_from(number("reviveQid")?).ok()?;
            let lease = lease.again(number("popTime")?, number("invisibleTime")?, revive);
            let held = frame.ext.get("held") != Some("false");
            Some((held, lease, frame.ext.get("replayed") == Some("true")))
        });
        let read = read.map_err(|error| Error::malformed(channel.address(), error))?;
        match read {
            Some((true, lease, replayed)) => Ok((lease, replayed)),
            Some((false, ..)) => Err(Error::LeaseEnded),
            None => Err(Error::malformed(channel.address(), "no new lease")),
        }
    }

    /// To the group's dead-letter topic with it, and the lease is over.
    ///
    /// # Errors
    /// If the broker that lent it refuses or gives no answer.
    pub async fn dead_letter(&self, leased: &Leased) -> Result<()> {
        let command = Command::request(request::CONSUMER_SEND_MSG_BACK)
            .with("offset", leased.message.log_offset)
            .with("group", &self.group)
            .with("delayLevel", -1)
            .with("originMsgId", leased.message.id())
            .with("originTopic", self.client.names.full(&leased.message.topic))
            .with("unitMode", false)
            .with("maxReconsumeTimes", 16);
        let channel = self.lender(&leased.lease).await?;
        channel.call(command, self.client.config.timeout).await?;
        self.client.counters.settled(Settle::Reject);
        self.end(&leased.lease).await?;
        Ok(())
    }

    async fn lender(&self, lease: &Lease) -> Result<Arc<Channel>> {
        self.client.open()?;
        self.client.master_of(lease.topic(), lease.broker()).await
    }

    /// The brokers of a topic, another one first each time.
    async fn brokers(&self, topic: &str) -> Result<Vec<(Arc<str>, Arc<Channel>)>> {
        let route = self.client.route(topic).await?;
        let readable = |name: &str| route.readable.iter().any(|queue| &*queue.broker == name);
        let mut brokers = Vec::new();
        for broker in route.brokers.iter().filter(|broker| readable(&broker.name)) {
            if let Some(address) = broker.master() {
                let channel = self.client.channels.to(address).await?;
                brokers.push((broker.name.clone(), channel));
            }
        }
        if brokers.is_empty() {
            return Err(Error::NoQueue(topic.to_owned(), "read"));
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % brokers.len();
        brokers.rotate_left(turn);
        Ok(brokers)
    }

    async fn pop(
        &self,
        wanted: &Wanted,
        (receive, once, hold): (&Receive, bool, Duration),
        broker: &str,
        channel: &Channel,
    ) -> Result<(Vec<Leased>, bool)> {
        let header = PopHeader {
            consumer_group: &self.group,
            topic: &wanted.topic,
            queue_id: -1,
            max_msgs: receive.max.clamp(1, POP_MAX) as i32,
            invisible_ms: receive.invisible.as_millis() as i64,
            poll_ms: hold.as_millis() as i64,
            // The broker's now: its clock is not ours.
            born_at: 0,
            init_mode: i32::from(receive.from == ConsumeFrom::Last),
            expression_type: Some(wanted.subscription.kind.as_str()),
            expression: Some(&wanted.subscription.expression),
            order: receive.ordered,
            attempt: receive.attempt.as_deref(),
            once: receive.attempt.as_deref().filter(|_| once),
        };
        let command = header.fill(Command::request(request::POP_MESSAGE));
        let answer = channel.ask(command, hold + SLACK).await?;
        let malformed = |what: String| Error::malformed(channel.address(), what);
        let read = answer.read(|frame| match frame.code {
            response::SUCCESS => Ok(Some(frame.ext.get("replayed") == Some("true"))),
            response::POLLING_FULL | response::POLLING_TIMEOUT | response::PULL_NOT_FOUND => {
                Ok(None)
            }
            code => Err(channel.refused(code, frame.remark)),
        });
        let Some(replayed) = read.map_err(|error| malformed(error.to_string()))?? else {
            return Ok((Vec::new(), false));
        };
        let mut leased = leased(&answer, &wanted.topic, broker).map_err(malformed)?;
        // Brokers compare hashes of tags; what was not wanted is done.
        let mut kept = Vec::with_capacity(leased.len());
        for one in leased.drain(..) {
            match wanted.accepts(&one.message) {
                true => kept.push(Leased {
                    message: self.client.names.received(one.message),
                    ..one
                }),
                false => _ = self.end(&one.lease).await?,
            }
        }
        Ok((kept, replayed))
    }

    /// Waits until one of the brokers has something.
    async fn any_has_some(
        &self,
        topic: &str,
        brokers: Vec<(Arc<str>, Arc<Channel>)>,
        receive: &Receive,
        wait: Duration,
    ) -> bool {
        let header = NotificationHeader {
            consumer_group: &self.group,
            topic,
            queue_id: -1,
            poll_ms: wait.as_millis() as i64,
            born_at: 0,
            order: receive.ordered,
            attempt: receive.attempt.as_deref(),
        };
        let mut asked = JoinSet::new();
        for (_, channel) in brokers {
            let command = header.fill(Command::request(request::NOTIFICATION));
            asked.spawn(async move {
                let answer = channel.call(command, wait + SLACK).await.ok()?;
                let has = answer.read(|frame| frame.ext.get("hasMsg") == Some("true"));
                has.ok().filter(|has| *has)
            });
        }
        while let Some(answer) = asked.join_next().await {
            if matches!(answer, Ok(Some(_))) {
                return true;
            }
        }
        false
    }
}

/// The messages of an answer, each with its lease.
fn leased(
    answer: &Answer,
    topic: &Arc<str>,
    broker: &str,
) -> std::result::Result<Vec<Leased>, String> {
    let body = answer.body().map_err(|error| error.to_string())?;
    let read = answer.read(|frame| {
        let number = |name| frame.ext.get(name)?.parse::<i64>().ok();
        let pop = Pop {
            popped_at: number("popTime")?,
            invisible_ms: number("invisibleTime")?,
            revive_queue: i32::try_from(number("reviveQid")?).ok()?,
            broker,
        };
        let starts = starts(frame.ext.get("startOffsetInfo").unwrap_or_default());
        let counts = counts(frame.ext.get("orderCountInfo").unwrap_or_default());
        Some((pop, starts, counts))
    });
    let (pop, starts, counts) = read
        .map_err(|error| error.to_string())?
        .ok_or("the answer to a pop lacks its time")?;
    let queue_of =
        |view: &model::record::View<'_>| Queue::new(topic.clone(), broker, view.queue().0);
    let mut all = Vec::new();
    for (mut message, _) in records(&body, queue_of) {
        if message.property("POP_CK").is_none() {
            // In order, it comes again from where it lies, which does not say how often.
            let place = (message.queue.id, Some(message.queue_offset));
            let count = counts.get(&place).or(counts.get(&(place.0, None)));
            message.reconsume_times = count.copied().unwrap_or(0).max(message.reconsume_times);
        }
        let handle = match message.property("POP_CK") {
            // A message that came before: the broker made its handle.
            Some(handle) => handle.to_owned(),
            None => {
                let (queue, offset) = (message.queue.id, message.queue_offset);
                let start = starts.get(&queue).copied().unwrap_or(offset);
                Lease::handle(&pop, start, queue, offset)
            }
        };
        let lease = Lease::new(topic.clone(), &handle).map_err(|error| error.to_string())?;
        all.push(Leased { message, lease });
    }
    Ok(all)
}

/// How often messages of the topic itself were lent in order before: `0 queue times` for the rest of a queue,
/// `0 qoQUEUE%OFFSET times` for one of it, with `;` between.
fn counts(info: &str) -> HashMap<(u32, Option<u64>), i32> {
    let items = info.split(';').filter_map(|item| {
        let mut fields = item.split(' ');
        let (retry, place, times) = (fields.next()?, fields.next()?, fields.next()?);
        let place = match place.strip_prefix("qo") {
            Some(one) => {
                let (queue, offset) = one.split_once('%')?;
                (queue.parse().ok()?, Some(offset.parse().ok()?))
            }
            None => (place.parse().ok()?, None),
        };
        (retry == "0").then_some((place, times.parse().ok()?))
    });
    items.collect()
}

/// The first offset of each queue of the topic itself: `0 queue offset`, with `;` between.
fn starts(info: &str) -> HashMap<u32, u64> {
    let items = info.split(';').filter_map(|item| {
        let mut fields = item.split(' ');
        let (retry, queue, offset) = (fields.next()?, fields.next()?, fields.next()?);
        (retry == "0").then_some((queue.parse().ok()?, offset.parse().ok()?))
    });
    items.collect()
}
