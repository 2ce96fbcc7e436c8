//! Receiving: messages of a group on leases, as soon as there are some.
//!
//! What a caller waits for takes nothing: a broker is asked whether there is something, then popped without
//! waiting, in a task that a vanished caller does not end. So every lease is either told or given back.

mod given_back;

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    HeaderValue,
};
use posthouse_client::code::own_response::IDEMPOTENCY_DIFFERS;
use posthouse_client::{Filter, GroupConfig, Leased, Receive, SimpleConsumer};
use tokio::time::Instant;

use crate::body::{Body, Response};
use crate::call::Call;
use crate::clock;
use crate::events;
use crate::groups;
use crate::idempotency;
use crate::lease;
use crate::media;
use crate::mq_headers;
use crate::names;
use crate::node::Node;
use crate::operations::{Operation, row};
use crate::parameters::{NAMESPACE, Parameters};
use crate::problem::{self, Fault, Problem};
use crate::pullers;
use crate::reply;
use crate::subscriptions::{self, Subscription};
use crate::time;
use crate::told;
use crate::write::{self, Bodies};
pub(crate) use given_back::Unless;

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(POST "/v1/groups/{group}/messages:receive" "receiveMessages" receive,
    INVALID_IDEMPOTENCY_KEY, IDEMPOTENCY_IN_PROGRESS, IDEMPOTENCY_KEY_REUSED, RESERVED_TOPIC,
    TOPIC_NOT_WRITABLE, TOPIC_NOT_FOUND, GROUP_NOT_FOUND,
    SUBSCRIPTION_NOT_FOUND, SUBSCRIPTION_MISMATCH, GROUP_CONSUMED_BY_PULL, INVALID_TOPIC, INVALID_GROUP,
    INVALID_LEASE_DURATION, INVALID_FILTER),
];

const WAIT: Duration = Duration::from_secs(10);
const WAIT_MAX: Duration = Duration::from_secs(30);
const MAX: u64 = 16;
pub(crate) const LEASE: Duration = Duration::from_secs(60);
const LEASE_MIN: Duration = Duration::from_secs(1);
const LEASE_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// A broker may say that there is something which this group then does not get: it is filtered out, or out in
/// order. So soon it is asked again.
pub(crate) const AGAIN: Duration = Duration::from_millis(20);

static MQ_LEASE_ID: HeaderName = HeaderName::from_static("mq-lease-id");
static MQ_LEASE_EXPIRES_AT: HeaderName = HeaderName::from_static("mq-lease-expires-at");
static MQ_DELIVERY_ATTEMPT: HeaderName = HeaderName::from_static("mq-delivery-attempt");
static MQ_REPLY_TOKEN: HeaderName = HeaderName::from_static("mq-reply-token");

/// What a caller asks for.
struct Wanted {
    namespace: Option<String>,
    group: String,
    topic: Option<String>,
    filter: Option<Filter>,
    max: u32,
    wait: Duration,
    lease: Duration,
    bodies: Bodies,
}

impl Wanted {
    fn shown(&self) -> Shown<'_> {
        Shown {
            bodies: self.bodies,
            namespace: self.namespace.as_deref(),
        }
    }
}

async fn receive(call: Call) -> Result<Response, Problem> {
    let wanted = wanted(&call)?;
    let kind = media::accepted(&call.headers, &[media::JSON, media::BYTES, events::BATCH])?;
    if kind == media::BYTES && wanted.max != 1 {
        let fault = Fault::parameter(
            "max",
            "application/octet-stream is one message: max=1 expected",
        );
        return Err(Problem::new(&problem::INVALID_PARAMETER).faults(vec![fault]));
    }
    let key = idempotency::key(&call.headers)?;
    let _place = call.node.to_wait()?;
    let (group, subscription) = subscription(&call.node, &wanted).await?;
    let ordered = group.consume_message_orderly;
    let scope = format!("receive {} {}", wanted.group, subscription.topic);
    let _running = call.node.under_way.begin(&scope, key)?;
    alone(&call.node, &wanted.group, &subscription.topic).await?;
    let consumer = call.node.client.simple_consumer(&wanted.group)?;
    let receive = Receive {
        max: wanted.max,
        invisible: wanted.lease,
        wait: Duration::ZERO,
        filter: subscription.filter(),
        ordered,
        attempt: key.map(str::to_owned),
        ..Receive::default()
    };
    let leased = next(
        &call.node,
        &consumer,
        &subscription.topic,
        receive,
        wanted.wait,
    )
    .await?;
    let replayed = leased.was_lent_before();
    let mut response = match kind {
        media::BYTES => one(&call.node, leased, &wanted),
        events::BATCH => many(leased, kind, ["[", "]"], |out, one| {
            event(out, &call.node, one, &wanted.group, &wanted.shown());
        }),
        _ => many(leased, kind, ["{\"messages\":[", "]}"], |out, one| {
            message(out, &call.node, one, &wanted.group, &wanted.shown());
        }),
    };
    if replayed {
        idempotency::replayed(response.headers_mut());
    }
    Ok(response)
}

fn wanted(call: &Call) -> Result<Wanted, Problem> {
    let known = ["topic", "max", "wait", "lease", "body", "tag", "sql"];
    let mut parameters = Parameters::new(call.query(), &known, &[]);
    let max = parameters.number("max", 1..=32);
    let wait = parameters.duration("wait", Duration::ZERO..=WAIT_MAX);
    let lease = parameters.any_duration("lease", LEASE_RANGE);
    let bodies = parameters.word("body", &["auto", "base64", "json"]);
    parameters.finish()?;
    let lease = lease.unwrap_or(LEASE);
    allowed_lease(lease, Fault::parameter("lease", LEASE_RANGE))?;
    let namespace = parameters.text(NAMESPACE).map(str::to_owned);
    let namespace = namespace.as_deref();
    let topic = parameters
        .text("topic")
        .map(|topic| names::topic(topic, namespace))
        .transpose()?;
    let said = parameters.text("tag").is_some() || parameters.text("sql").is_some();
    let filter = crate::tail::filter(&mut parameters)?;
    Ok(Wanted {
        group: names::group(call.parameter(0), namespace)?
            .as_str()
            .to_owned(),
        topic: topic.map(|topic| topic.as_str().to_owned()),
        filter: said.then_some(filter),
        max: u32::try_from(max.unwrap_or(MAX)).unwrap_or(1),
        wait: wait.unwrap_or(WAIT),
        lease,
        bodies: Bodies::of(bodies),
        namespace: namespace.map(str::to_owned),
    })
}

pub(crate) const LEASE_RANGE: &str = "a duration like \"30s\" from 1s to 12h expected";

/// # Errors
/// `invalid-lease-duration`.
pub(crate) fn allowed_lease(lease: Duration, fault: Fault) -> Result<(), Problem> {
    match (LEASE_MIN..=LEASE_MAX).contains(&lease) {
        true => Ok(()),
        false => Err(Problem::new(&problem::INVALID_LEASE_DURATION).faults(vec![fault])),
    }
}

/// What the group wants of the topic: as it is kept with the group. A caller that says a filter makes the
/// subscription, if there is none; it cannot change one.
async fn subscription(
    node: &Node,
    wanted: &Wanted,
) -> Result<(GroupConfig, Subscription), Problem> {
    let admin = node.client.admin();
    let group = groups::to_consume(node, &wanted.group).await?;
    let (topic, filter) = match kept(&group, wanted)? {
        Kept::Own(own) => return Ok((group, own)),
        Kept::New(topic, filter) => (topic, filter),
    };
    node.publisher.check(&node.client, topic, &[]).await?;
    if let Filter::Sql(_) = filter {
        admin.check_filter(topic, filter).await?;
    }
    let _turn = node.turns.of(&wanted.group).await;
    // Somebody else may have had the turn before.
    let mut group = groups::to_consume(node, &wanted.group).await?;
    if let Kept::Own(own) = kept(&group, wanted)? {
        return Ok((group, own));
    }
    let new = Subscription::new(topic, filter, clock::wall_ms());
    subscriptions::put(&mut group, new.clone());
    admin.put_group(&group).await?;
    Ok((group, new))
}

/// What a group keeps of what a caller wants.
enum Kept<'w> {
    Own(Subscription),
    /// Nothing yet: this filter of this topic.
    New(&'w str, &'w Filter),
}

fn kept<'w>(group: &GroupConfig, wanted: &'w Wanted) -> Result<Kept<'w>, Problem> {
    let all = subscriptions::of(group);
    let own = match (&wanted.topic, all.as_slice()) {
        (Some(topic), all) => all.iter().find(|own| own.topic == *topic),
        (None, [only]) => Some(only),
        (None, _) => {
            let detail = format!("the group has {} subscriptions: say which topic", all.len());
            let fault = Fault::parameter("topic", detail);
            return Err(Problem::new(&problem::INVALID_PARAMETER).faults(vec![fault]));
        }
    };
    match (own, &wanted.filter) {
        (Some(own), Some(filter)) if !own.is(filter) => {
            let detail = "the group's subscription has another filter; a receive cannot change it";
            Err(Problem::new(&problem::SUBSCRIPTION_MISMATCH)
                .detail(detail)
                .with("filter", own.expression.as_str()))
        }
        (Some(own), _) => Ok(Kept::Own(own.clone())),
        (None, filter) => {
            let topic = wanted.topic.as_deref().unwrap_or_default();
            let filter = filter.as_ref();
            let filter = filter.ok_or_else(|| subscriptions::missing(&wanted.group, topic))?;
            Ok(Kept::New(topic, filter))
        }
    }
}

/// A group gets a topic one way at a time: members that pull it would get what was popped once more.
async fn alone(node: &Node, group: &str, topic: &str) -> Result<(), Problem> {
    let pullers = node.client.admin().pullers(group, topic).await?;
    match pullers.is_empty() {
        true => Ok(()),
        false => Err(pullers::problem(topic, pullers)),
    }
}

/// The next messages, each of which is told to the caller or given back.
async fn next(
    node: &Arc<Node>,
    consumer: &SimpleConsumer,
    topic: &str,
    receive: Receive,
    wait: Duration,
) -> Result<Unless, Problem> {
    let end = Instant::now() + wait;
    let receive = Arc::new(receive);
    loop {
        let popped = pop(consumer, topic, &receive).await?;
        let left = end.saturating_duration_since(Instant::now());
        if !popped.is_empty() || left.is_zero() || node.is_draining() {
            return Ok(popped);
        }
        let waiting = Receive {
            wait: left,
            ..Receive::clone(&receive)
        };
        let ended = tokio::select! {
            _ = consumer.wait_for_some(topic, &waiting) => false,
            () = node.ended() => true,
        };
        if ended {
            return Ok(popped);
        }
        let again = pop(consumer, topic, &receive).await?;
        if !again.is_empty() {
            return Ok(again);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(again);
        }
        tokio::time::sleep(AGAIN.min(left)).await;
    }
}

/// Pops without waiting. If the caller vanishes meanwhile, what comes is given back.
pub(crate) async fn pop(
    consumer: &SimpleConsumer,
    topic: &str,
    receive: &Arc<Receive>,
) -> Result<Unless, Problem> {
    let (consumer, topic, receive) = (consumer.clone(), topic.to_owned(), receive.clone());
    let task = tokio::spawn(async move {
        let (leased, replayed) = consumer.receive_once(&topic, &receive).await?;
        Ok(Unless::new(consumer, leased, replayed))
    });
    let popped = task.await.map_err(|_| Problem::new(&problem::INTERNAL))?;
    let popped = popped.map_err(|error: posthouse_client::Error| match error.code() {
        Some(IDEMPOTENCY_DIFFERS) => {
            let detail = "a receive with this key asked for another max or lease";
            Problem::new(&problem::IDEMPOTENCY_KEY_REUSED).detail(detail)
        }
        _ => error.into(),
    })?;
    if !popped.is_empty() {
        // One look at the sockets: a caller that left before is noticed now, not after it was answered.
        tokio::task::yield_now().await;
    }
    Ok(popped)
}

/// All messages, each as `show` writes it, between two ends.
fn many(
    leased: Unless,
    kind: &'static str,
    [begin, end]: [&str; 2],
    mut show: impl FnMut(&mut String, &Leased),
) -> Response {
    let all = leased.messages();
    let size: usize = all.iter().map(|one| one.message.body.len() + 640).sum();
    let mut out = String::with_capacity(16 + size);
    out.push_str(begin);
    for (place, one) in all.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        show(&mut out, one);
    }
    out.push_str(end);
    let mut response = Response::new(told::body(out.into(), leased));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// How messages are shown to a caller.
pub(crate) struct Shown<'a> {
    pub bodies: Bodies,
    pub namespace: Option<&'a str>,
}

pub(crate) fn message(
    out: &mut String,
    node: &Node,
    leased: &Leased,
    group: &str,
    shown: &Shown<'_>,
) {
    let mut object = write::message(out, &leased.message, shown.bodies, shown.namespace);
    let text = object.value("lease_id");
    text.push('"');
    lease::push(&node.tokens, group, leased, text);
    text.push('"');
    object.time("lease_expires_at", leased.lease.ends_at());
    object.number("delivery_attempt", attempt(leased));
    object.optional(
        "reply_token",
        reply::token(&node.tokens, &leased.message).as_deref(),
    );
    object.end();
}

/// A message as a CloudEvent; what belongs to the lease is told in extensions.
pub(crate) fn event(
    out: &mut String,
    node: &Node,
    leased: &Leased,
    group: &str,
    shown: &Shown<'_>,
) {
    let mut object = events::event(out, &leased.message, shown.namespace);
    let text = object.value("mqleaseid");
    text.push('"');
    lease::push(&node.tokens, group, leased, text);
    text.push('"');
    object.time("mqleaseexpiresat", leased.lease.ends_at());
    object.number("mqdeliveryattempt", attempt(leased));
    if let Some(token) = reply::token(&node.tokens, &leased.message) {
        object.string("mqreplytoken", &token);
    }
    object.end();
}

fn attempt(leased: &Leased) -> u64 {
    u64::from(leased.message.reconsume_times.unsigned_abs()) + 1
}

/// One message: the body is the body.
fn one(node: &Node, leased: Unless, wanted: &Wanted) -> Response {
    let Some(first) = leased.messages().first().cloned() else {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return response;
    };
    let mut response = Response::new(told::body(first.message.body.clone(), leased));
    let headers = response.headers_mut();
    mq_headers::write(headers, &first.message);
    let mut id = String::new();
    lease::push(&node.tokens, &wanted.group, &first, &mut id);
    let ours = [
        (&MQ_LEASE_ID, Some(id)),
        (
            &MQ_LEASE_EXPIRES_AT,
            Some(time::format(first.lease.ends_at())),
        ),
        (&MQ_DELIVERY_ATTEMPT, Some(attempt(&first).to_string())),
        (&MQ_REPLY_TOKEN, reply::token(&node.tokens, &first.message)),
    ];
    for (name, text) in ours {
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(name.clone(), value);
        }
    }
    bytes_of_others(headers);
    response
}

/// Bytes that somebody published are never a page of ours.
pub(crate) fn bytes_of_others(headers: &mut hyper::HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
}
