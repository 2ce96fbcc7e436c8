//! Hands messages to a function: many at a time, or one queue's messages one after the other.

mod concurrent;
mod handed;
mod orderly;
mod send_back;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::metrics::Counters;
use crate::process_queue::{FlowLimits, ProcessQueue};
use crate::queue::Queue;
use crate::reader::{ConsumeFrom, Direct, Membership, Model, ReadOptions, Reader};
use crate::received::Received;
use crate::strategy::Strategy;

pub use handed::{Handed, Open, Takes, settle_all};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// It is done.
    Ack,
    /// Deliver it again. A concurrent consumer sends it back: the broker waits for the group's next
    /// interval, or for this delay level. An orderly one tries it again after a pause, and nothing
    /// behind it before.
    Retry(Option<u8>),
    /// Deliver it again after this time: Posthouse's brokers to the millisecond, Apache's after the delay level that
    /// is as long, or the next one up. An orderly consumer tries it again then, and nothing behind it before.
    RetryAfter(Duration),
    /// It can never be handled: to the group's dead-letter topic.
    Reject,
}

/// How a push consumer works.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// Whether the group's members share the messages or each gets all.
    pub model: Model,
    /// Where a group without an offset begins.
    pub from: ConsumeFrom,
    /// How members share the queues. All members must use the same.
    pub strategy: Strategy,
    /// Whether the messages of a queue are handled one after the other.
    pub orderly: bool,
    /// Messages handled at the same time, all queues together.
    pub concurrency: usize,
    /// How much of one queue may be here and not done.
    pub limits: FlowLimits,
    /// Deliveries before a message is dead-lettered. Unset: 17, or without end if orderly.
    pub max_attempts: Option<u32>,
    /// How long an orderly consumer waits before it tries a message again.
    pub suspend: Duration,
    /// Messages asked for at once, and no more than [`PushOptions::limits`] has. Apache's brokers give 32 of them,
    /// unless they are told otherwise (`maxTransferCountOnMessageInMemory`).
    pub batch: u32,
    /// How long a broker may hold a pull.
    pub hold: Duration,
    /// How often queues are shared out anew when no broker says that they must be.
    pub rebalance_period: Duration,
    /// How often brokers are told the offsets.
    pub persist_period: Duration,
    /// How long the end waits for what is being handled.
    pub grace: Duration,
    /// The file where a broadcasting member keeps what it has done, as Java's `LocalFileOffsetStore`
    /// writes it; no two members may share one. Unset, a member that starts anew begins as a new group
    /// does.
    pub offsets_file: Option<PathBuf>,
}

impl Default for PushOptions {
    fn default() -> Self {
        PushOptions {
            model: Model::Clustering,
            from: ConsumeFrom::Last,
            strategy: Strategy::Average,
            orderly: false,
            concurrency: 20,
            limits: FlowLimits::default(),
            max_attempts: None,
            suspend: Duration::from_secs(1),
            batch: 256,
            hold: Duration::from_secs(15),
            rebalance_period: Duration::from_secs(20),
            persist_period: Duration::from_secs(5),
            grace: Duration::from_secs(10),
            offsets_file: None,
        }
    }
}

/// A running push consumer.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/example.rs")); }
/// # example::run(async |name_server| {
/// use posthouse_client::{Client, Config, Filter, PushOptions, Settle};
///
/// let client = Client::new(Config::new(name_server));
/// let wanted = [("orders", Filter::tags("eu || us"))];
/// let consumer = client
///     .push_consumer("billing", &wanted, PushOptions::default(), |message| async move {
///         println!("{}: {} bytes", message.id(), message.body.len());
///         Settle::Ack
///     })
///     .await?;
/// // … until it is time to go:
/// consumer.shutdown().await;
/// # Ok(())
/// # });
/// ```
#[derive(Clone)]
pub struct PushConsumer {
    membership: Arc<Membership>,
}

/// What the tasks of queues share.
struct Work {
    handler: Arc<Direct>,
    places: Arc<Semaphore>,
    suspend: Duration,
    max_attempts: Option<u32>,
    model: Model,
    counters: Arc<Counters>,
}

/// Runs the user's handler; a panic is its text.
pub(crate) async fn handled(
    handler: &Direct,
    message: Received,
) -> std::result::Result<Settle, String> {
    let caught = catch_unwind(AssertUnwindSafe(|| handler(message)));
    let mut running = caught.map_err(text_of)?;
    std::future::poll_fn(move |context| {
        let polled = catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(context)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(settle)) => Poll::Ready(Ok(settle)),
            Err(panic) => Poll::Ready(Err(text_of(panic))),
        }
    })
    .await
}

fn text_of(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the handler panicked").to_owned()
}

impl Work {
    /// Runs the handler, and counts what came of it.
    async fn settle(&self, reader: &Weak<Reader>, message: &Received) -> Settle {
        let settle = self.settle_uncounted(reader, message).await;
        self.counters.settled(settle);
        settle
    }

    /// Runs the handler, and tells who is to be told.
    async fn settle_uncounted(&self, reader: &Weak<Reader>, message: &Received) -> Settle {
        let Some(reader) = reader.upgrade() else {
            return Settle::Retry(None);
        };
        let names = reader.client.names.clone();
        let Some(observer) = reader.client.config.observer.clone() else {
            drop(reader);
            return self.handle(names.received(message.clone()), message).await;
        };
        let group = reader.group.clone();
        // The consumer may be dropped while its handler runs.
        drop(reader);
        let group = names.short_group(&group);
        let shown = names.received(message.clone());
        observer.consuming(group, &shown);
        let begun = Instant::now();
        let settle = self.handle(shown.clone(), message).await;
        observer.consumed(group, &shown, settle, begun.elapsed());
        settle
    }

    /// Runs the handler. A message whose handler panics comes again, as with Java's exceptions.
    async fn handle(&self, shown: Received, message: &Received) -> Settle {
        match handled(&*self.handler, shown).await {
            Ok(settle) => settle,
            Err(panic) => {
                tracing::error!(id = message.id(), panic, "a handler panicked");
                Settle::Retry(None)
            }
        }
    }
}

impl Client {
    /// Starts a consumer that hands messages to `handler`. Must be called inside a tokio runtime. A
    /// client has at most one consumer of a group.
    ///
    /// # Errors
    /// If a name is none, if a broker refuses an SQL filter, or if the group has a consumer in this
    /// client already.
    pub async fn push_consumer<F, S>(
        &self,
        group: &str,
        wanted: &[(&str, Filter)],
        options: PushOptions,
        handler: F,
    ) -> Result<PushConsumer>
    where
        F: Fn(Received) -> S + Send + Sync + 'static,
        S: Future<Output = Settle> + Send + 'static,
    {
        let handler: Arc<Direct> = Arc::new(move |message| Box::pin(handler(message)));
        self.push(group, wanted, options, handler, None).await
    }

    /// As [`Client::push_consumer`], for who takes messages many at once and says later, from any thread, what
    /// became of them ([`settle_all`]): no task is made for a message.
    ///
    /// # Errors
    /// As [`Client::push_consumer`].
    pub async fn push_consumer_taking(
        &self,
        group: &str,
        wanted: &[(&str, Filter)],
        options: PushOptions,
        takes: Arc<dyn Takes>,
    ) -> Result<PushConsumer> {
        let alone = takes.clone();
        // For messages of which each waits for the one before, and for those that an operator hands over.
        let handler: Arc<Direct> =
            Arc::new(move |message| Box::pin(handed::alone(alone.clone(), message)));
        self.push(group, wanted, options, handler, Some(takes))
            .await
    }

    async fn push(
        &self,
        group: &str,
        wanted: &[(&str, Filter)],
        options: PushOptions,
        handler: Arc<Direct>,
        takes: Option<Arc<dyn Takes>>,
    ) -> Result<PushConsumer> {
        self.keep_up()?;
        let work = Arc::new(Work {
            handler: handler.clone(),
            places: Arc::new(Semaphore::new(options.concurrency.max(1))),
            suspend: options.suspend,
            max_attempts: options.max_attempts,
            model: options.model,
            counters: self.inner.counters.clone(),
        });
        let orderly = options.orderly;
        let handle = move |reader: &Arc<Reader>, queue: Arc<ProcessQueue>| {
            let (reader, work) = (Arc::downgrade(reader), work.clone());
            Some(match (orderly, &takes) {
                (true, _) => tokio::spawn(orderly::run(reader, work, queue)),
                (false, None) => tokio::spawn(concurrent::run(reader, work, queue)),
                (false, Some(takes)) => {
                    tokio::spawn(handed::run(reader, work, takes.clone(), queue))
                }
            })
        };
        let reader = Reader::new(
            self.inner.clone(),
            group,
            read_options(&options),
            Box::new(handle),
            Some(handler),
        )?;
        for (topic, filter) in wanted {
            reader.subscribe(topic, filter)?;
            reader.check(&self.inner.names.full(topic)).await?;
        }
        reader.read_offsets().await?;
        if options.model == Model::Clustering {
            let retry = format!("{}{}", model::name::RETRY_PREFIX, reader.group);
            reader.subscribe(&retry, &Filter::All)?;
        }
        for topic in reader.topics() {
            // Brokers that no route names yet cannot be told; the upkeep asks again.
            let _ = self.inner.route(&topic).await;
        }
        let membership = Membership::of(reader.clone());
        let membership = membership.ok_or_else(|| Error::GroupInUse(group.to_owned()))?;
        self.inner.heartbeat().await;
        reader.start();
        Ok(PushConsumer {
            membership: Arc::new(membership),
        })
    }
}

fn read_options(options: &PushOptions) -> ReadOptions {
    ReadOptions {
        model: options.model,
        from: options.from,
        strategy: options.strategy,
        limits: FlowLimits {
            span: match options.orderly {
                true => u64::MAX,
                false => options.limits.span,
            },
            ..options.limits
        },
        batch: (options.batch as usize).clamp(1, options.limits.messages.max(1)) as i32,
        hold: options.hold,
        orderly: options.orderly && options.model == Model::Clustering,
        rebalance_period: options.rebalance_period,
        persist_period: options.persist_period,
        auto_commit: options.model == Model::Clustering,
        lite: false,
        grace: options.grace,
        offsets_file: match options.model {
            Model::Broadcasting => options.offsets_file.clone(),
            Model::Clustering => None,
        },
    }
}

impl PushConsumer {
    fn reader(&self) -> &Arc<Reader> {
        &self.membership.0
    }

    /// Its group.
    pub fn group(&self) -> &str {
        let reader = self.reader();
        reader.client.names.short_group(&reader.group)
    }

    /// The queues that are its own just now.
    pub fn queues(&self) -> Vec<Queue> {
        let (own, names) = (self.reader().own(), &self.reader().client.names);
        let queues = own.iter().map(|own| names.short_queue(own.queue.clone()));
        let mut queues: Vec<Queue> = queues.collect();
        queues.sort();
        queues
    }

    /// Hands out no more messages until [`PushConsumer::resume`]; what is being handled goes on.
    pub fn pause(&self) {
        for own in self.reader().own() {
            own.pause(true);
        }
    }

    /// Goes on.
    pub fn resume(&self) {
        for own in self.reader().own() {
            own.pause(false);
        }
    }

    /// Wants another topic too, or wants one otherwise. All members of a group must want the same.
    ///
    /// # Errors
    /// If the topic's name is none.
    pub async fn subscribe(&self, topic: &str, filter: &Filter) -> Result<()> {
        self.reader().subscribe(topic, filter)?;
        self.reader().client.heartbeat().await;
        Ok(())
    }

    /// Ends: no more messages, what is being handled is waited for, offsets are told, queues are given
    /// up.
    pub async fn shutdown(&self) {
        self.membership.leave().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_asked_for_than_may_be_here() {
        let asked = |messages| {
            let limits = FlowLimits {
                messages,
                ..FlowLimits::default()
            };
            let options = PushOptions {
                limits,
                ..PushOptions::default()
            };
            read_options(&options).batch
        };
        assert_eq!([0, 1, 100, 1000].map(asked), [1, 1, 100, 256]);
    }
}
