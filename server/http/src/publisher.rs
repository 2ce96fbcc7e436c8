//! How the door sends: one producer for everybody, and what it knows of topics.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::{HeaderValue, RETRY_AFTER};
use posthouse_client::code::{own_response, response};
use posthouse_client::{Client, Deliver, Error, Message, Producer, ProducerOptions, Sent};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use crate::problem::{self, Problem};
use crate::topics;

/// The group that the door sends under where no transaction needs another one.
const GROUP: &str = "POSTHOUSE_HTTP";
/// The group that it asks under.
const REQUESTERS: &str = "POSTHOUSE_HTTP_REQUESTS";
/// How long a send may take that says nothing else.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may say that it may take.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// How long what is known of a topic is believed.
const KNOWN_FOR: Duration = Duration::from_secs(30);
/// The attribute that keeps a topic's message type (Apache `TopicAttributes`).
const MESSAGE_TYPE: &str = "message.type";

/// What a message is, by its fields (Apache `TopicMessageType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Fifo,
    Delay,
    Transaction,
}

impl Kind {
    pub(crate) fn of(message: &Message) -> Kind {
        match (&message.when, &message.sharding_key) {
            (Deliver::Now, None) => Kind::Normal,
            (Deliver::Now, Some(_)) => Kind::Fifo,
            _ => Kind::Delay,
        }
    }

    /// The kind that a topic's attribute names, in capitals or not.
    fn named(name: &str) -> Option<Kind> {
        let all = [Kind::Normal, Kind::Fifo, Kind::Delay, Kind::Transaction];
        let found = |kind: &Kind| kind.as_str().eq_ignore_ascii_case(name);
        all.into_iter().find(found)
    }

    fn as_str(self) -> &'static str {
        match self {
            Kind::Normal => "NORMAL",
            Kind::Fifo => "FIFO",
            Kind::Delay => "DELAY",
            Kind::Transaction => "TRANSACTION",
        }
    }
}

/// What is known of a topic.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    /// The type of a topic that takes one kind of message; `None` takes all.
    only: Option<Kind>,
    /// Whether its brokers know more times of delivery than the delay levels.
    has_timers: bool,
    since: Instant,
}

pub(crate) struct Publisher {
    /// Whether a topic that does not exist is made.
    makes_topics: bool,
    producer: OnceLock<Producer>,
    requester: OnceLock<Producer>,
    topics: Mutex<HashMap<Box<str>, Known>>,
    /// Places in the blocking pool for what is sent from there.
    long: Semaphore,
}

impl Publisher {
    pub(crate) fn new(makes_topics: bool) -> Publisher {
        Publisher {
            makes_topics,
            producer: OnceLock::new(),
            requester: OnceLock::new(),
            topics: Mutex::default(),
            long: Semaphore::new(LONG_AT_ONCE),
        }
    }

    /// The producer that is not announced to any broker: nobody asks it anything.
    pub(crate) fn producer(&self, client: &Client) -> Result<&Producer, Problem> {
        if let Some(producer) = self.producer.get() {
            return Ok(producer);
        }
        let producer = client.producer_with(GROUP, options())?;
        Ok(self.producer.get_or_init(|| producer))
    }

    /// The producer that brokers hear of, since they hand it replies.
    pub(crate) fn requester(&self, client: &Client) -> Result<&Producer, Problem> {
        if let Some(producer) = self.requester.get() {
            return Ok(producer);
        }
        let announced = ProducerOptions {
            announce: true,
            ..options()
        };
        let producer = client.producer_with(REQUESTERS, announced)?;
        Ok(self.requester.get_or_init(|| producer))
    }

    /// Whether a topic exists and takes this kind of message.
    ///
    /// # Errors
    /// `topic-not-found`: nobody's typo makes a topic, unless that was asked for. `message-type-mismatch`.
    pub(crate) async fn check(
        &self,
        client: &Client,
        topic: &str,
        kinds: &[Kind],
    ) -> Result<(), Problem> {
        let known = self.known(client, topic, &mut { TIMEOUT }).await?;
        kinds.iter().try_for_each(|kind| known.is_of(*kind, topic))
    }

    /// Whether a topic exists and takes this message.
    ///
    /// # Errors
    /// Those of [`Publisher::known`]; `unsupported-by-broker` for a time that its brokers would not see, and
    /// deliver the message at once.
    pub(crate) async fn takes(
        &self,
        client: &Client,
        message: &Message,
        left: &mut Duration,
    ) -> Result<(), Problem> {
        let known = self.known(client, &message.topic, left).await?;
        known.takes(message)
    }

    /// What is known of a topic, to ask about many messages. Brokers are asked within the time that is `left`, which
    /// is less behind that.
    ///
    /// # Errors
    /// `topic-not-found`, as [`Publisher::check`]; `broker-timeout`: nothing was sent yet.
    pub(crate) async fn known(
        &self,
        client: &Client,
        topic: &str,
        left: &mut Duration,
    ) -> Result<Known, Problem> {
        let known = {
            let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
            let known = topics.get(topic);
            known.filter(|known| known.is_fresh()).copied()
        };
        match known {
            Some(known) => Ok(known),
            // Boxed: a publish has no room for what it seldom does.
            None => {
                let begun = Instant::now();
                let learned = tokio::time::timeout(*left, self.learn(client, topic));
                let learned = Box::pin(learned).await;
                *left = left.saturating_sub(begun.elapsed());
                learned.unwrap_or_else(|_| Err(Problem::late()))
            }
        }
    }

    async fn learn(&self, client: &Client, topic: &str) -> Result<Known, Problem> {
        let mut has_timers = true;
        let admin = client.admin();
        let mut found = admin.topic(topic).await;
        if matches!(found, Err(Error::NoRoute(_)))
            && self.makes_topics
            && let Some(new) = topics::made_by_use(topic)
        {
            admin.put_topic(&new).await?;
            found = Ok(new);
        }
        let only = match found {
            Ok(config) => {
                let only = config.attributes.get(MESSAGE_TYPE);
                only.and_then(|only| Kind::named(only))
            }
            // Brokers before 5.0 know neither types nor timers.
            Err(error) if error.code() == Some(response::REQUEST_CODE_NOT_SUPPORTED) => {
                has_timers = false;
                None
            }
            Err(error) => return Err(error.into()),
        };
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        // Deleted topics are not kept for ever.
        if topics.len() >= 1_024 {
            topics.retain(|_, known| known.is_fresh());
        }
        let known = Known {
            only,
            has_timers,
            since: Instant::now(),
        };
        topics.insert(topic.into(), known);
        Ok(known)
    }

    /// What is known of a topic may have changed.
    pub(crate) fn forget(&self, topic: &str) {
        self.topics
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(topic);
    }
}

impl Known {
    /// Whether the topic takes this message.
    ///
    /// # Errors
    /// Those of [`Publisher::takes`].
    pub(crate) fn takes(&self, message: &Message) -> Result<(), Problem> {
        self.is_of(Kind::of(message), &message.topic)?;
        if matches!(message.when, Deliver::At(_)) && !self.has_timers {
            let detail = "the broker knows delay levels only: nothing was sent; say a delay_level";
            return Err(Problem::new(&problem::UNSUPPORTED_BY_BROKER).detail(detail));
        }
        Ok(())
    }

    pub(crate) fn is_of(&self, kind: Kind, topic: &str) -> Result<(), Problem> {
        let Some(only) = self.only.filter(|only| *only != kind) else {
            return Ok(());
        };
        let (kind, only) = (
            kind.as_str().to_ascii_lowercase(),
            only.as_str().to_ascii_lowercase(),
        );
        let detail = format!("topic {topic} takes messages of type {only}, this one is {kind}");
        Err(Problem::new(&problem::MESSAGE_TYPE_MISMATCH).detail(detail))
    }

    fn is_fresh(&self) -> bool {
        self.since.elapsed() < KNOWN_FOR
    }
}

/// Bodies go as they came: compressing one would hold the thread that serves everybody.
pub(crate) fn options() -> ProducerOptions {
    ProducerOptions {
        timeout: TIMEOUT_MAX,
        compression: None,
        announce: false,
        tell_durability: true,
        ..ProducerOptions::default()
    }
}

/// Who sends so many bytes within the process has them copied, summed and written to the log before it goes on.
pub(crate) const LONG: usize = 256 << 10;
/// So many of these are sent at once. What a broker in the process has to read first is done in the same pool, and must
/// find a thread there while these wait for it.
const LONG_AT_ONCE: usize = 64;

impl Publisher {
    /// Sends a message within a time.
    ///
    /// # Errors
    /// `publish-outcome-unknown` if nobody knows whether it is stored.
    pub(crate) async fn send(
        &self,
        producer: &Producer,
        message: Message,
        limit: Duration,
    ) -> Result<Sent, Problem> {
        let kind = Kind::of(&message);
        let sent = match message.body.len() {
            LONG.. => Box::pin(self.send_long(producer.clone(), message, limit)).await?,
            _ => producer.send_within(message, limit).await,
        };
        sent.map_err(|error| failed(error, kind))
    }

    async fn send_long(
        &self,
        producer: Producer,
        message: Message,
        mut left: Duration,
    ) -> Result<Result<Sent, Error>, Problem> {
        let _place = self.place(&mut left).await?;
        elsewhere(async move { producer.send_within(message, left).await }).await
    }

    /// A place for what is sent [`elsewhere`], within the time that is `left`, which is less behind that.
    ///
    /// # Errors
    /// `unavailable`: nothing was sent.
    pub(crate) async fn place(&self, left: &mut Duration) -> Result<SemaphorePermit<'_>, Problem> {
        let begun = Instant::now();
        let place = tokio::time::timeout(*left, self.long.acquire()).await;
        *left = left.saturating_sub(begun.elapsed());
        let full = || Problem::unavailable("too many long messages are being sent");
        place.ok().and_then(Result::ok).ok_or_else(full)
    }
}

/// Runs in the blocking pool what would hold the thread that serves everybody. It ends with whoever waits for it, as if
/// it ran here: also with the server, behind which there is nothing to wait by.
///
/// # Errors
/// `internal` if it panics.
pub(crate) fn elsewhere<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = Result<T, Problem>> + Send {
    let runtime = Handle::current();
    let (caller, gone) = oneshot::channel::<()>();
    let work = async move {
        tokio::select! {
            biased;
            _ = gone => None,
            done = work => Some(done),
        }
    };
    let done = tokio::task::spawn_blocking(move || runtime.block_on(work));
    async move {
        let _caller = caller;
        let done = done.await.ok().flatten();
        done.ok_or_else(|| Problem::new(&problem::INTERNAL))
    }
}

/// Nobody knows whether a message is stored.
pub(crate) fn unknown() -> Problem {
    let detail = "no broker answered in time: the message may be stored or not";
    Problem::new(&problem::PUBLISH_OUTCOME_UNKNOWN).detail(detail)
}

/// What a send's error is to its sender.
pub(crate) fn failed(error: Error, kind: Kind) -> Problem {
    if error.is_timeout() || error.may_be_done() {
        return unknown();
    }
    // Only Posthouse's brokers get keys, and say so of them.
    if let Error::Refused(refusal) = &error
        && refusal.code == response::SYSTEM_BUSY
        && refusal.remark.contains("idempotency key")
    {
        return Problem::new(&problem::IDEMPOTENCY_IN_PROGRESS)
            .detail("the first request with this key is under way: ask again for its answer")
            .header(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    match error.code() {
        Some(own_response::IDEMPOTENCY_DIFFERS) => {
            let detail = "another message was sent to this topic with this key";
            Problem::new(&problem::IDEMPOTENCY_KEY_REUSED).detail(detail)
        }
        Some(response::MESSAGE_ILLEGAL) if kind == Kind::Delay => {
            let detail = "the broker keeps no message that long";
            Problem::new(&problem::INVALID_DELIVERY_TIME).detail(detail)
        }
        Some(response::MESSAGE_ILLEGAL) => {
            let detail = "the broker takes no message of this size";
            Problem::new(&problem::MESSAGE_TOO_LARGE).detail(detail)
        }
        Some(response::NO_PERMISSION) => {
            let detail = "the topic, or its broker, takes no messages";
            Problem::new(&problem::TOPIC_NOT_WRITABLE).detail(detail)
        }
        _ => error.into(),
    }
}
