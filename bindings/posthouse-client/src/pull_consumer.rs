//! Messages for who asks for them (Java's lite pull consumer).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout_at};

use crate::client::Client;
use crate::clock;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::process_queue::FlowLimits;
use crate::queue::Queue;
use crate::reader::{ConsumeFrom, Membership, Model, ReadOptions, Reader};
use crate::received::Received;
use crate::strategy::Strategy;

/// How a pull consumer works.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// Whether the group's members share the queues of subscribed topics or each reads all of them. A broadcasting member
    /// counts by itself what it has done: no broker is told.
    pub model: Model,
    /// The file where a broadcasting member keeps what it has done, as Java's `LocalFileOffsetStore` writes it; no two
    /// members may share one. Unset, a member that starts anew begins as a new group does.
    pub offsets_file: Option<PathBuf>,
    /// Where a group without an offset begins.
    pub from: ConsumeFrom,
    /// How members share the queues of subscribed topics. All members must use the same.
    pub strategy: Strategy,
    /// How much of one queue may be here and not handed out.
    pub limits: FlowLimits,
    /// Messages handed out at once, at most.
    pub batch: usize,
    /// Whether brokers are told what was handed out, every few seconds and at the end.
    pub auto_commit: bool,
    /// How long a broker may hold a pull.
    pub hold: Duration,
    /// How often queues are shared out anew when no broker says that they must be.
    pub rebalance_period: Duration,
    /// How often brokers are told the offsets.
    pub persist_period: Duration,
}

impl Default for PullOptions {
    fn default() -> Self {
        PullOptions {
            model: Model::Clustering,
            offsets_file: None,
            from: ConsumeFrom::Last,
            strategy: Strategy::Average,
            limits: FlowLimits::default(),
            batch: 10,
            auto_commit: true,
            hold: Duration::from_secs(20),
            rebalance_period: Duration::from_secs(20),
            persist_period: Duration::from_secs(5),
        }
    }
}

/// A consumer that is asked.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/example.rs")); }
/// # example::run(async |name_server| {
/// # let client = posthouse_client::Client::new(posthouse_client::Config::new(name_server));
/// # client.producer("shop")?.send(posthouse_client::Message::new("orders", "x")).await?;
/// use std::time::Duration;
/// use posthouse_client::{Client, Config, Filter, PullOptions};
///
/// let client = Client::new(Config::new(name_server));
/// let consumer = client.pull_consumer("audit", PullOptions::default())?;
/// consumer.subscribe("orders", &Filter::All).await?;
/// for message in consumer.poll(Duration::from_secs(5)).await? {
///     println!("{} at {}", message.id(), message.queue_offset);
/// }
/// consumer.commit().await?;
/// consumer.shutdown().await;
/// # Ok(())
/// # });
/// ```
#[derive(Clone)]
pub struct PullConsumer {
    membership: Arc<Membership>,
    batch: usize,
}

impl Client {
    /// A consumer that is asked for messages. Must be called inside a tokio runtime. It reads nothing
    /// before it is told what: see [`PullConsumer::subscribe`] and [`PullConsumer::assign`].
    ///
    /// # Errors
    /// If no broker takes the group's name, or the group has a consumer in this client already.
    pub fn pull_consumer(&self, group: &str, options: PullOptions) -> Result<PullConsumer> {
        self.keep_up()?;
        let read = ReadOptions {
            model: options.model,
            from: options.from,
            strategy: options.strategy,
            limits: options.limits,
            batch: options.batch.clamp(1, 1024) as i32,
            hold: options.hold,
            orderly: false,
            rebalance_period: options.rebalance_period,
            persist_period: options.persist_period,
            auto_commit: options.auto_commit,
            lite: true,
            grace: Duration::ZERO,
            offsets_file: match options.model {
                Model::Broadcasting => options.offsets_file,
                Model::Clustering => None,
            },
        };
        let reader = Reader::new(self.inner.clone(), group, read, Box::new(|_, _| None), None)?;
        let membership = Membership::of(reader);
        let membership = membership.ok_or_else(|| Error::GroupInUse(group.to_owned()))?;
        Ok(PullConsumer {
            membership: Arc::new(membership),
            batch: options.batch.max(1),
        })
    }
}

impl PullConsumer {
    fn reader(&self) -> &Arc<Reader> {
        &self.membership.0
    }

    /// Shares a topic's queues with the other members of the group, or reads all of them if it broadcasts.
    ///
    /// # Errors
    /// If the topic has no route, or a broker refuses the filter; [`Error::OffsetsFile`].
    pub async fn subscribe(&self, topic: &str, filter: &Filter) -> Result<()> {
        let reader = self.reader();
        reader.read_offsets().await?;
        let topic = &*reader.client.names.full(topic);
        reader.client.route(topic).await?;
        reader.subscribe(topic, filter)?;
        reader.check(topic).await?;
        reader.client.heartbeat().await;
        reader.start();
        Ok(())
    }

    /// Reads these queues and no others, whoever else reads them.
    ///
    /// # Errors
    /// If a queue's offset cannot be had; [`Error::OffsetsFile`].
    pub async fn assign(&self, queues: &[Queue]) -> Result<()> {
        let reader = self.reader();
        reader.read_offsets().await?;
        let queues = reader.client.names.full_queues(queues);
        let mut topics: Vec<&Arc<str>> = queues.iter().map(|queue| &queue.topic).collect();
        topics.sort();
        topics.dedup();
        for own in reader.own() {
            if !topics.contains(&&own.queue.topic) {
                reader.own_now(&own.queue.topic, Vec::new()).await?;
            }
        }
        for topic in topics {
            let theirs = queues.iter().filter(|queue| queue.topic == *topic);
            reader.own_now(topic, theirs.cloned().collect()).await?;
        }
        reader.start_offsets();
        Ok(())
    }

    /// The queues that are its own just now.
    pub fn queues(&self) -> Vec<Queue> {
        let (own, names) = (self.reader().own(), &self.reader().client.names);
        let queues = own.iter().map(|own| names.short_queue(own.queue.clone()));
        let mut queues: Vec<Queue> = queues.collect();
        queues.sort();
        queues
    }

    /// The next messages, of one queue: as soon as there are some, none when the time is over. What was
    /// handed out counts as done.
    ///
    /// # Errors
    /// [`Error::Closed`] once it was shut down, or its polls ended.
    pub async fn poll(&self, limit: Duration) -> Result<Vec<Received>> {
        self.poll_up_to(self.batch, limit).await
    }

    /// As [`PullConsumer::poll`], at most so many.
    ///
    /// # Errors
    /// As [`PullConsumer::poll`].
    pub async fn poll_up_to(&self, max: usize, limit: Duration) -> Result<Vec<Received>> {
        let reader = self.reader();
        let end = Instant::now() + limit;
        loop {
            let arrived = reader.arrived.notified();
            // Behind that line: it hears of an end that comes after this look.
            if reader.has_ended_polls() {
                return Err(Error::Closed);
            }
            for own in reader.in_turn() {
                let messages = own.take(max.max(1));
                if !messages.is_empty() {
                    let done = messages.iter().map(|message| message.queue_offset);
                    let committable = own.done(done);
                    reader.offsets.set(&own.queue, committable);
                    let names = &reader.client.names;
                    let short = |message| names.received(message);
                    return Ok(match names.namespace() {
                        Some(_) => messages.into_iter().map(short).collect(),
                        None => messages,
                    });
                }
            }
            if timeout_at(end, arrived).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    /// One message, if one is here; it does not wait. It counts as done, as what is polled does: for who takes messages
    /// one by one, and may stop at any.
    ///
    /// # Errors
    /// As [`PullConsumer::poll`].
    pub fn poll_one(&self) -> Result<Option<Received>> {
        let reader = self.reader();
        if reader.has_ended_polls() {
            return Err(Error::Closed);
        }
        let message = reader.hand_out();
        Ok(message.map(|message| reader.client.names.received(message)))
    }

    /// Where it is in a queue: the offset of the next message that it hands out, or behind the last there is. `None` if the
    /// queue is not its own.
    pub fn position(&self, queue: &Queue) -> Option<u64> {
        let reader = self.reader();
        let own = reader.find(&reader.client.names.full_queue(queue))?;
        Some(own.committable())
    }

    /// Ends all polls: those that wait, and later ones, return [`Error::Closed`] at once. What was handed out before and
    /// reached nobody can still be given back with [`PullConsumer::seek`], before [`PullConsumer::shutdown`] tells brokers
    /// what is done.
    pub fn end_polls(&self) {
        self.reader().end_polls();
    }

    /// Goes on at this offset of a queue.
    ///
    /// # Errors
    /// [`Error::NotAssigned`] if the queue is not its own.
    pub fn seek(&self, queue: &Queue, offset: u64) -> Result<()> {
        let reader = self.reader();
        let full = reader.client.names.full_queue(queue);
        let own = reader.find(&full);
        let own = own.ok_or_else(|| Error::NotAssigned(queue.clone()))?;
        own.seek(offset);
        reader.offsets.set(&full, offset);
        Ok(())
    }

    /// Goes on at the start of a queue.
    ///
    /// # Errors
    /// [`Error::NotAssigned`] if the queue is not its own; others if its broker gives no answer.
    pub async fn seek_to_begin(&self, queue: &Queue) -> Result<()> {
        let client = &self.reader().client;
        let start = client.min_offset(&client.names.full_queue(queue)).await?;
        self.seek(queue, start)
    }

    /// Goes on at the end of a queue.
    ///
    /// # Errors
    /// [`Error::NotAssigned`] if the queue is not its own; others if its broker gives no answer.
    pub async fn seek_to_end(&self, queue: &Queue) -> Result<()> {
        let client = &self.reader().client;
        let end = client.max_offset(&client.names.full_queue(queue)).await?;
        self.seek(queue, end)
    }

    /// Goes on at the first message that was stored at this time or later.
    ///
    /// # Errors
    /// [`Error::NotAssigned`] if the queue is not its own; others if its broker gives no answer.
    pub async fn seek_to_time(&self, queue: &Queue, time: SystemTime) -> Result<()> {
        let client = &self.reader().client;
        let full = client.names.full_queue(queue);
        let offset = client.offset_at(&full, clock::ms(time)).await?;
        self.seek(queue, offset)
    }

    /// Reads nothing more of these queues until they are resumed.
    pub fn pause(&self, queues: &[Queue]) {
        self.set_paused(queues, true);
    }

    /// Goes on with these queues.
    pub fn resume(&self, queues: &[Queue]) {
        self.set_paused(queues, false);
    }

    fn set_paused(&self, queues: &[Queue], paused: bool) {
        let reader = self.reader();
        let queues = reader.client.names.full_queues(queues);
        for own in queues.iter().filter_map(|queue| reader.find(queue)) {
            own.pause(paused);
        }
        reader.arrived.notify_waiters();
    }

    /// Tells brokers what was handed out; if it broadcasts, counts it as done.
    ///
    /// # Errors
    /// The first broker that does not take it; [`Error::OffsetsFile`].
    pub async fn commit(&self) -> Result<()> {
        self.reader().commit().await
    }

    /// The same of one queue, at this offset whatever was handed out.
    ///
    /// # Errors
    /// If its broker does not take it; [`Error::OffsetsFile`].
    pub async fn commit_at(&self, queue: &Queue, offset: u64) -> Result<()> {
        let reader = self.reader();
        let queue = reader.client.names.full_queue(queue);
        reader.commit_at(&queue, offset).await
    }

    /// What the group has done in a queue, as its broker knows it; if it broadcasts, what this member has done.
    ///
    /// # Errors
    /// If its broker gives no answer; [`Error::OffsetsFile`].
    pub async fn committed(&self, queue: &Queue) -> Result<Option<u64>> {
        let reader = self.reader();
        reader
            .committed(&reader.client.names.full_queue(queue))
            .await
    }

    /// Ends: offsets are told if it commits by itself, queues are given up.
    pub async fn shutdown(&self) {
        self.membership.leave().await;
    }
}
