//! Publishing: as JSON, as bytes, and many at once.

mod answer;
pub(crate) mod batch;
mod raw;

use std::sync::Arc;
use std::time::Duration;

use posthouse_client::Message;

use crate::body::Response;
use crate::call::Call;
use crate::clock;
use crate::draft::{Draft, FIELDS};
use crate::gauge::Taken;
use crate::idempotency::{self, Running};
use crate::json::{self, At, Effort, Faults};
use crate::media;
use crate::names;
use crate::node::Node;
use crate::operations::{Operation, row};
use crate::parameters::{NAMESPACE, Parameters};
use crate::problem::{self, Problem};
use crate::publisher::{self, Kind};
use crate::trace;

pub(crate) use answer::{durability, location, replayed};

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(POST "/v1/topics/{topic}/messages" "publishMessage" json,
        MALFORMED_JSON, INVALID_REQUEST, INVALID_IDEMPOTENCY_KEY, IDEMPOTENCY_IN_PROGRESS, RESERVED_TOPIC, TOPIC_NOT_WRITABLE,
        TOPIC_NOT_FOUND, MESSAGE_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_TOPIC, EMPTY_BODY, INVALID_BASE64,
        INVALID_TAG, INVALID_KEY, INVALID_MESSAGE_GROUP, INVALID_PROPERTY, RESERVED_PROPERTY,
        PROPERTIES_TOO_LARGE, INVALID_DELIVERY_TIME, MESSAGE_TYPE_MISMATCH, IDEMPOTENCY_KEY_REUSED,
        PUBLISH_OUTCOME_UNKNOWN),
    row!(POST "/v1/topics/{topic}/messages:raw" "publishRaw" raw::publish,
        INVALID_REQUEST, INVALID_IDEMPOTENCY_KEY, IDEMPOTENCY_IN_PROGRESS, RESERVED_TOPIC,
        TOPIC_NOT_WRITABLE, TOPIC_NOT_FOUND,
        MESSAGE_TOO_LARGE, INVALID_TOPIC, EMPTY_BODY, INVALID_TAG, INVALID_KEY, INVALID_MESSAGE_GROUP,
        INVALID_PROPERTY, RESERVED_PROPERTY, PROPERTIES_TOO_LARGE, INVALID_DELIVERY_TIME,
        MESSAGE_TYPE_MISMATCH, IDEMPOTENCY_KEY_REUSED,
        PUBLISH_OUTCOME_UNKNOWN),
    row!(POST "/v1/topics/{topic}/messages:batch" "publishBatch" batch::publish,
        MALFORMED_JSON, INVALID_REQUEST, INVALID_IDEMPOTENCY_KEY, IDEMPOTENCY_IN_PROGRESS, RESERVED_TOPIC, TOPIC_NOT_FOUND,
        UNSUPPORTED_MEDIA_TYPE, INVALID_TOPIC, INVALID_BATCH),
];

/// Bodies longer than this are read in the blocking pool: no step may hold up everybody else.
const LONG: usize = 64 << 10;
/// In a document of this length nothing takes long.
const SHORT: usize = 4 << 10;

/// Where a message goes, and how long that may take.
pub(crate) struct Target {
    /// The topic, in its namespace.
    pub topic: Arc<str>,
    pub namespace: Option<String>,
    pub timeout: Duration,
    /// The trace that the request is a part of.
    trace: Option<String>,
}

impl Target {
    /// What path and query say.
    pub(crate) fn of(call: &Call) -> Result<Target, Problem> {
        Target::read(call, &["timeout"], |_| ()).map(|(target, ())| target)
    }

    /// The same with a parameter that is one of some words.
    pub(crate) fn with(
        call: &Call,
        name: &'static str,
        words: &[&'static str],
    ) -> Result<(Target, Option<&'static str>), Problem> {
        Target::read(call, &["timeout", name], |parameters| {
            parameters.word(name, words)
        })
    }

    fn read<T>(
        call: &Call,
        known: &[&'static str],
        more: impl FnOnce(&mut Parameters<'_>) -> T,
    ) -> Result<(Target, T), Problem> {
        let mut parameters = Parameters::new(call.query(), known, &[]);
        let range = Duration::from_millis(1)..=publisher::TIMEOUT_MAX;
        let timeout = parameters.duration("timeout", range);
        let more = more(&mut parameters);
        parameters.finish()?;
        let namespace = parameters.text(NAMESPACE).map(str::to_owned);
        let topic = names::topic(call.parameter(0), namespace.as_deref())?;
        let target = Target {
            topic: topic.into(),
            namespace,
            timeout: timeout.unwrap_or(publisher::TIMEOUT),
            trace: trace::of(&call.headers),
        };
        Ok((target, more))
    }

    /// Begins to answer a request with a key, which counts in the topic.
    ///
    /// # Errors
    /// `idempotency-in-progress`.
    fn begin(&self, node: &Node, key: Option<&str>) -> Result<Option<Running>, Problem> {
        if key.is_none() {
            return Ok(None);
        }
        let scope = format!("topic {}", self.topic);
        node.under_way.begin(&scope, key)
    }

    /// Makes a message a part of the request's trace, unless it is an event that says its own.
    pub(crate) fn trace(&self, message: &mut Message) {
        let own = |message: &Message| {
            let mut names = message.properties.iter().map(|(name, _)| name);
            names.any(|name| name == trace::OF_EVENT)
        };
        if self.trace.is_some() && !own(message) {
            message.trace_context.clone_from(&self.trace);
        }
    }

    /// Waits for a broker's answer as long as the caller does.
    ///
    /// # Errors
    /// `broker-timeout`.
    pub(crate) async fn in_time<T>(&self, call: impl Future<Output = T>) -> Result<T, Problem> {
        let answered = tokio::time::timeout(self.timeout, call).await;
        answered.map_err(|_| Problem::late())
    }
}

/// Reads with a function that may take long for long bodies.
pub(crate) async fn read_body<T: Send + 'static>(
    body: bytes::Bytes,
    read: impl FnOnce(&bytes::Bytes) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    match body.len() <= LONG {
        true => read(&body),
        false => read_elsewhere(body, read).await,
    }
}

/// Reads a document: here, if that is quickly done. Of a long one that is looked at first: lists of little things take many
/// times as long as text.
pub(crate) async fn read_json<T: Send + 'static>(
    body: bytes::Bytes,
    read: impl FnOnce(&bytes::Bytes) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    match body.len() <= SHORT || (body.len() <= LONG && json::is_quick(&body)) {
        true => read(&body),
        false => read_elsewhere(body, read).await,
    }
}

async fn read_elsewhere<T: Send + 'static>(
    body: bytes::Bytes,
    read: impl FnOnce(&bytes::Bytes) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(move || read(&body)).await;
    // Only a panic ends it otherwise, and that is ours.
    done.unwrap_or_else(|_| Err(Problem::new(&problem::INTERNAL)))
}

/// A message that was read.
pub(crate) struct Read {
    pub message: Message,
    /// When it is delivered, if its sender said a time: milliseconds since the Unix epoch.
    pub deliver_at: Option<i64>,
    /// The same as its sender said it.
    pub said: String,
}

impl Read {
    pub(crate) fn of(draft: Draft<'_>) -> Read {
        Read {
            message: draft.message,
            deliver_at: draft.deliver_at,
            said: draft.said,
        }
    }

    /// Names it by the request's key.
    pub(crate) fn named(mut self, key: Option<String>) -> Read {
        if let Some(key) = key {
            idempotency::name(&mut self.message, key, &self.said);
        }
        self
    }
}

/// The key of a request, kept while its body is read.
///
/// # Errors
/// `invalid-idempotency-key`.
pub(crate) fn key(call: &Call) -> Result<Option<String>, Problem> {
    Ok(idempotency::key(&call.headers)?.map(str::to_owned))
}

/// What a publish holds until it is answered.
pub(crate) struct Held {
    _running: Option<Running>,
    _place: Taken,
}

/// Begins to answer a publish: where it goes, the name that it has, and what it holds.
///
/// # Errors
/// Those of [`Target::of`], [`key`], [`Target::begin`] and [`place`].
pub(crate) fn begin(call: &Call) -> Result<(Target, Option<String>, Held), Problem> {
    let target = Target::of(call)?;
    let key = key(call)?;
    let held = Held {
        _running: target.begin(&call.node, key.as_deref())?,
        _place: place(&call.node)?,
    };
    Ok((target, key, held))
}

/// A place among the messages that are being published.
///
/// # Errors
/// `unavailable`.
pub(crate) fn place(node: &Node) -> Result<Taken, Problem> {
    let taken = node.publishes.take(1);
    let detail = "too many messages are being published";
    taken.ok_or_else(|| node.publishes.over(&problem::UNAVAILABLE, detail))
}

#[allow(clippy::manual_async_fn)] // the future of an `async fn` has room for its arguments twice
fn json(mut call: Call) -> impl Future<Output = Result<Response, Problem>> + Send {
    async move {
        media::is_json(&call.headers)?;
        let (target, key, _held) = begin(&call)?;
        let limits = &call.node.options.limits;
        let (request, limit) = (limits.request, limits.body);
        let body = call.body(request).await?;
        let topic = target.topic.clone();
        let read = read_json(body, move |body| Ok(read(body, &topic, limit)?.named(key)));
        publish(&mut call, &target, read.await?).await
    }
}

/// The message that a document is.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn read(body: &bytes::Bytes, topic: &Arc<str>, limit: usize) -> Result<Read, Problem> {
    let mut faults = Faults::default();
    let mut draft = Draft::new(topic, clock::wall_ms()).within(body);
    let at = At::Root;
    // One walk proves the document and reads it.
    let is_object = json::walk(body, Effort::Any, |walk| {
        draft.fields(walk, at, &mut faults, |name, _, faults| {
            faults.unknown(at, name, &FIELDS);
        })
    })?;
    let whole = is_object == Some(true) && draft.finish(at, limit, &mut faults);
    faults.check()?;
    // With any effort there is always an end, and what is not whole has its fault.
    match whole {
        true => Ok(Read::of(draft)),
        false => Err(Problem::new(&problem::INTERNAL)),
    }
}

/// Sends one message and answers.
pub(crate) async fn publish(
    call: &mut Call,
    target: &Target,
    read: Read,
) -> Result<Response, Problem> {
    let Read {
        mut message,
        deliver_at,
        ..
    } = read;
    target.trace(&mut message);
    let node = &call.node;
    let kind = Kind::of(&message);
    let mut left = target.timeout;
    let known = (node.publisher).known(&node.client, &message.topic, &mut left);
    known.await?.takes(&message)?;
    let producer = node.publisher.producer(&node.client)?;
    let sent = node.publisher.send(producer, message, left).await;
    if sent.is_err() {
        node.publisher.forget(&target.topic);
    }
    // hyper gives the map of an answer's headers to the next request: neither is made anew.
    let headers = std::mem::take(&mut call.headers);
    Ok(answer::one(headers, target, &sent?, kind, deliver_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_without_escapes_is_not_copied() {
        let topic = "t".into();
        let body = |text: &'static str| {
            let request = bytes::Bytes::from_static(text.as_bytes());
            let read = read(&request, &topic, 100).unwrap();
            let inside = request.as_ptr_range().contains(&read.message.body.as_ptr());
            (read.message.body, inside)
        };
        assert_eq!(body(r#"{"body":"paid"}"#), ("paid".into(), true));
        assert_eq!(body(r#"{"body":{"a":1}}"#), ("{\"a\":1}".into(), true));
        assert_eq!(body(r#"{"body":"a\tb"}"#), ("a\tb".into(), false));
    }
}
