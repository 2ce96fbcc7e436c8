//! Consumes in a group over SSE: messages on leases as they come, acked by ordinary requests, at any node.
//!
//! ```text
//! broker --pop, never more than the reader wants to have at once--> stream --events--> reader
//!    ^------------------------------------ack, at any node-----------------------------'
//! ```
//! Where the group is, the broker knows: events have no id, and a stream that is opened again just goes on.

mod listed;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use posthouse_client::code::response::REQUEST_CODE_NOT_SUPPORTED;
use posthouse_client::{GroupName, Receive, SimpleConsumer};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::body::Response;
use crate::call::Call;
use crate::groups;
use crate::in_flight::Window;
use crate::names;
use crate::node::Node;
use crate::operations::{Operation, row};
use crate::parameters::{NAMESPACE, Parameters};
use crate::problem::{self, Fault, Problem};
use crate::pullers;
use crate::receive::{self, AGAIN, LEASE, LEASE_RANGE, Shown, Unless, allowed_lease};
use crate::sse::{self, End, Out};
use crate::subscriptions::{self, Subscription};
use crate::tickets;
use crate::write::{Bodies, Format};

pub(crate) use listed::{Listed, OpenStream};

pub(crate) const OPERATIONS: &[Operation] = &[row!(
    GET "/v1/groups/{group}/stream" "streamGroup" stream,
    RESERVED_TOPIC, GROUP_NOT_FOUND, SUBSCRIPTION_NOT_FOUND, TOPIC_NOT_FOUND, TOPIC_NOT_WRITABLE,
    GROUP_CONSUMED_BY_PULL, INVALID_TOPIC, INVALID_GROUP, INVALID_LEASE_DURATION, LIMIT_EXCEEDED
)];

const KNOWN: &[&str] = &[
    "topic",
    "lease",
    "max_in_flight",
    "body",
    "format",
    "max_events",
    "max_duration",
    "ticket",
];
const IN_FLIGHT: u64 = 32;
const IN_FLIGHT_MAX: u64 = 1_000;
const TOPICS_MAX: usize = 16;
/// The most that brokers give at once.
const AT_ONCE: usize = 32;
/// How long a broker is asked to wait for a message.
const HOLD: Duration = Duration::from_secs(20);
/// How often a stream that waits looks whether somebody pulls beside it.
const LOOK: Duration = Duration::from_secs(2);
/// How soon a stream without room asks brokers whether other nodes settled something of it, and how seldom in the
/// end, while they did not.
const ASK: Duration = Duration::from_millis(200);
const ASK_MAX: Duration = Duration::from_secs(5);

/// What a caller asks for.
struct Wanted {
    group: String,
    namespace: Option<String>,
    topics: Vec<String>,
    lease: Duration,
    max_in_flight: usize,
    bodies: Bodies,
    format: Format,
    events: u64,
    max_duration: Option<Duration>,
}

fn wanted(call: &Call) -> Result<Wanted, Problem> {
    let mut parameters = Parameters::new(call.query(), KNOWN, &["topic"]);
    let lease = parameters.any_duration("lease", LEASE_RANGE);
    let max_in_flight = parameters.number("max_in_flight", 1..=IN_FLIGHT_MAX);
    let bodies = parameters.word("body", &["auto", "base64", "json"]);
    let format = Format::read(&mut parameters);
    let events = parameters.number("max_events", 1..=u64::MAX);
    let max_duration = parameters.duration("max_duration", Duration::ZERO..=sse::LONGEST);
    parameters.finish()?;
    tickets::allowed(call, parameters.text("ticket"))?;
    let lease = lease.unwrap_or(LEASE);
    allowed_lease(lease, Fault::parameter("lease", LEASE_RANGE))?;
    let namespace = parameters.text(NAMESPACE).map(str::to_owned);
    let group = names::group(call.parameter(0), namespace.as_deref())?;
    let mut topics = Vec::new();
    for topic in parameters.texts("topic") {
        let topic = names::topic(topic, namespace.as_deref())?.to_string();
        if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    few_enough(topics.len())?;
    Ok(Wanted {
        group: group.to_string(),
        topics,
        lease,
        max_in_flight: usize::try_from(max_in_flight.unwrap_or(IN_FLIGHT)).unwrap_or(1),
        bodies: Bodies::of(bodies),
        format,
        events: events.unwrap_or(u64::MAX),
        max_duration,
        namespace,
    })
}

fn few_enough(topics: usize) -> Result<(), Problem> {
    if topics <= TOPICS_MAX {
        return Ok(());
    }
    let detail = format!("at most {TOPICS_MAX} topics go into one stream");
    let fault = Fault::parameter("topic", detail);
    Err(Problem::new(&problem::LIMIT_EXCEEDED).faults(vec![fault]))
}

async fn stream(call: Call) -> Result<Response, Problem> {
    sse::accepted(&call.headers, true)?;
    let wanted = wanted(&call)?;
    let id = call.id.as_str();
    let Some(place) = call.node.a_stream(&call.line) else {
        let problem = Problem::new(&problem::QUOTA_EXCEEDED).detail("too many streams are open");
        return Ok(sse::refused(&problem, id));
    };
    let (out, response) = sse::open(&call.node);
    if call.method == Method::HEAD {
        return Ok(response);
    }
    let stream = match Stream::new(call.node.clone(), wanted, out).await {
        Ok(stream) => stream,
        Err(problem) => return sse::refused_if_it_passes(problem, id),
    };
    let (group, window) = (&stream.wanted.group, &stream.window);
    let listed = call.node.listed.add(group, call.line.peer(), window);
    let counted = call.node.group_streams.take(1);
    tokio::spawn(async move {
        stream.run().await;
        drop((listed, place, counted));
    });
    Ok(response)
}

/// One stream.
struct Stream {
    node: Arc<Node>,
    wanted: Wanted,
    consumer: SimpleConsumer,
    ordered: bool,
    subscriptions: Vec<Subscription>,
    window: Arc<Window>,
    out: Out,
}

/// Waits for messages that go on at brokers, by the place of their topic.
#[derive(Default)]
struct Waits {
    all: JoinSet<(usize, bool)>,
    running: HashSet<usize>,
    /// How often in a row there was something that the group then did not get: it is asked more and more
    /// seldom.
    in_vain: u32,
}

impl Stream {
    async fn new(node: Arc<Node>, wanted: Wanted, out: Out) -> Result<Stream, Problem> {
        let admin = node.client.admin();
        let name = GroupName::parse(&wanted.group).map_err(posthouse_client::Error::from)?;
        let group = groups::existing(&admin, &name).await?;
        let all = subscriptions::of(&group);
        let of = |topic: &String| {
            let own = all.iter().find(|own| own.topic == *topic).cloned();
            own.ok_or_else(|| subscriptions::missing(&wanted.group, topic))
        };
        let consumer = node.client.simple_consumer(&wanted.group)?;
        for topic in &wanted.topics {
            // Where nothing is lent, no subscription is kept either.
            consumer.check_lends(topic).await?;
        }
        let subscriptions = match wanted.topics.as_slice() {
            [] => all.clone(),
            topics => topics.iter().map(of).collect::<Result<_, _>>()?,
        };
        if subscriptions.is_empty() {
            let detail = format!("group {} has no subscription; PUT one", wanted.group);
            return Err(Problem::new(&problem::SUBSCRIPTION_NOT_FOUND).detail(detail));
        }
        few_enough(subscriptions.len())?;
        for own in &subscriptions {
            // What a broker would refuse later is told now, while a status can be.
            node.publisher.check(&node.client, &own.topic, &[]).await?;
            let pulling = node.pullers.now(&node.client, &wanted.group, &own.topic);
            let pulling = pulling.await?;
            if !pulling.is_empty() {
                return Err(pullers::problem(&own.topic, pulling));
            }
        }
        Ok(Stream {
            consumer,
            ordered: group.consume_message_orderly,
            window: Arc::default(),
            node,
            wanted,
            subscriptions,
            out,
        })
    }

    async fn run(self) {
        let asked = self.wanted.max_duration;
        sse::run(&self.node, &self.out, asked, Box::pin(self.work())).await;
        self.node.in_flight.forget(&self.window);
    }

    async fn work(&self) -> Result<(), End> {
        let hello = sse::hello(self.node.options.sse_retry, None);
        self.out.send(hello).await?;
        let mut left = self.wanted.events;
        let mut beat = Instant::now() + sse::jittered(self.node.options.sse_heartbeat);
        let mut waits = Waits::default();
        let (mut turn, mut can_tell) = (0, true);
        while left > 0 {
            // Nothing is taken for a reader that has not read what came before.
            self.out.taken().await?;
            self.alone().await?;
            let used = self.node.in_flight.count(&self.window);
            let room = self.wanted.max_in_flight.saturating_sub(used).min(AT_ONCE);
            let room = room.min(usize::try_from(left).unwrap_or(AT_ONCE));
            if room == 0 {
                self.until(&mut beat, self.room(&mut can_tell)).await?;
                continue;
            }
            let got = self.pop(room, turn).await?;
            turn = turn.wrapping_add(1);
            // A broker that gives more than it was asked for ends the stream no worse.
            left = left.saturating_sub(got as u64);
            if got > 0 {
                waits.in_vain = 0;
            } else {
                self.until(&mut beat, self.some_are_there(&mut waits))
                    .await?;
            }
        }
        Ok(())
    }

    /// Waits for something, with signs of life, unless the reader goes or members pull beside it.
    async fn until(
        &self,
        beat: &mut Instant,
        something: impl Future<Output = Result<(), End>>,
    ) -> Result<(), End> {
        tokio::pin!(something);
        loop {
            tokio::select! {
                done = &mut something => return done,
                () = sleep(sse::jittered(LOOK)) => self.alone().await?,
                () = self.out.gone() => return Err(End::Done),
                () = sleep_until(*beat) => {
                    self.out.send(sse::heartbeat(None)).await?;
                    *beat = Instant::now() + self.node.options.sse_heartbeat;
                }
            }
        }
    }

    /// Waits until something of the stream is settled: here, or at another node, if brokers `can_tell`.
    async fn room(&self, can_tell: &mut bool) -> Result<(), End> {
        let mut pause = ASK;
        loop {
            tokio::select! {
                () = self.window.room() => return Ok(()),
                () = sleep(pause), if *can_tell => *can_tell = self.look_for_room().await?,
            }
            if self.node.in_flight.count(&self.window) < self.wanted.max_in_flight {
                return Ok(());
            }
            pause = ASK_MAX.min(pause * 2);
        }
    }

    /// Finds out what other nodes settled. Brokers that cannot say (`false`) leave it to the end of the leases.
    async fn look_for_room(&self) -> Result<bool, End> {
        let leases = self.window.leases();
        let out = match self.consumer.are_out(&leases).await {
            Err(error) if error.code() == Some(REQUEST_CODE_NOT_SUPPORTED) => return Ok(false),
            out => out.map_err(Problem::from)?,
        };
        for (lease, _) in leases.iter().zip(out).filter(|(_, out)| !out) {
            self.node.in_flight.settled(lease);
        }
        Ok(true)
    }

    /// Sends what the first topic has that has something; another one is first each time.
    async fn pop(&self, room: usize, turn: usize) -> Result<usize, End> {
        let count = self.subscriptions.len();
        for place in 0..count {
            let Some(own) = self.subscriptions.get((turn + place) % count) else {
                continue;
            };
            let receive = Receive {
                max: u32::try_from(room).unwrap_or(1),
                invisible: self.wanted.lease,
                wait: Duration::ZERO,
                filter: own.filter(),
                ordered: self.ordered,
                ..Receive::default()
            };
            let popped = receive::pop(&self.consumer, &own.topic, &Arc::new(receive)).await?;
            let got = popped.messages().len();
            if got > 0 {
                self.send(popped).await?;
                return Ok(got);
            }
        }
        Ok(0)
    }

    async fn send(&self, popped: Unless) -> Result<(), End> {
        let shown = Shown {
            bodies: self.wanted.bodies,
            namespace: self.wanted.namespace.as_deref(),
        };
        let mut text = String::new();
        for leased in popped.messages() {
            let mut data = String::with_capacity(640 + leased.message.body.len());
            let show = match self.wanted.format {
                Format::Message => receive::message,
                Format::CloudEvent => receive::event,
            };
            show(&mut data, &self.node, leased, &self.wanted.group, &shown);
            sse::push(&mut text, None, None, &data);
        }
        let leases = popped.messages().iter().map(|one| one.lease.clone());
        self.node.in_flight.add(&self.window, leases);
        Ok(self.out.promise(Bytes::from(text), popped).await?)
    }

    /// Waits until some topic has something for the group; it may be filtered out. The waits for other topics
    /// go on: a broker that was asked to wait cannot be told otherwise.
    async fn some_are_there(&self, waits: &mut Waits) -> Result<(), End> {
        for (place, own) in self.subscriptions.iter().enumerate() {
            if !waits.running.insert(place) {
                continue;
            }
            let (consumer, topic) = (self.consumer.clone(), own.topic.clone());
            let receive = Receive {
                wait: HOLD,
                ordered: self.ordered,
                ..Receive::default()
            };
            let pause = AGAIN * (1 << waits.in_vain.min(5));
            let pause = if waits.in_vain == 0 {
                Duration::ZERO
            } else {
                pause
            };
            waits.all.spawn(async move {
                let some = consumer.wait_for_some(&topic, &receive).await;
                // Nothing may mean that there is no broker: not at once again.
                sleep(if some { pause } else { AGAIN }).await;
                (place, some)
            });
        }
        if let Some(Ok((place, some))) = waits.all.join_next().await {
            waits.running.remove(&place);
            waits.in_vain = if some { waits.in_vain + 1 } else { 0 };
        }
        Ok(())
    }

    /// Ends the stream if members pull beside it.
    async fn alone(&self) -> Result<(), End> {
        let (node, group) = (&self.node, &self.wanted.group);
        for own in &self.subscriptions {
            let pulling = node.pullers.of(&node.client, group, &own.topic).await?;
            if !pulling.is_empty() {
                let out = node.in_flight.count(&self.window);
                tracing::warn!(
                    %group, topic = own.topic, ?pulling, out,
                    "members pull beside a stream of their group: what is out on leases comes to them again"
                );
                let problem = pullers::problem(&own.topic, pulling).with("conflict", true);
                node.metrics.problem(problem.kind().slug);
                return Err(problem.into());
            }
        }
        Ok(())
    }
}
