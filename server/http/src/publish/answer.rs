//! What a sender is told.

use hyper::HeaderMap;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use posthouse_client::{SendStatus, Sent};

use super::Target;
use crate::body::{Body, Response};
use crate::clock;
use crate::idempotency;
use crate::publisher::Kind;
use crate::scheduled::due_at;
use crate::write::Object;

pub(super) static DURABILITY: HeaderName = HeaderName::from_static("mq-durability");
/// What is said of a broker that does not tell.
pub(super) const UNKNOWN: &str = "unknown";

/// The status of a message that is stored: 201 as the broker is configured to, 202 if the confirmation took
/// too long. Both mean: do not send it again.
pub(super) fn status(sent: &Sent) -> StatusCode {
    match sent.status {
        SendStatus::Stored => StatusCode::CREATED,
        _ => StatusCode::ACCEPTED,
    }
}

/// The answer to one message; its headers stand in this map, whatever was in it.
pub(super) fn one(
    mut headers: HeaderMap,
    target: &Target,
    answer: &Sent,
    kind: Kind,
    deliver_at: Option<i64>,
) -> Response {
    let mut out = String::with_capacity(320);
    let mut object = Object::new(&mut out);
    let shown = crate::write::plain_topic(&target.topic, target.namespace.as_deref());
    object.string("topic", shown);
    sent(&mut object, answer, kind, deliver_at, clock::wall_ms);
    object.end();
    headers.clear();
    // With those of every answer they are seven, one more than a map begins with.
    headers.reserve(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(DURABILITY.clone(), durability(answer.durability.as_deref()));
    replayed(&mut headers, answer);
    if let Ok(location) = HeaderValue::try_from(location(target, "messages", &answer.id)) {
        headers.insert(LOCATION, location);
    }
    let mut response = Response::new(Body::from(out));
    *response.status_mut() = status(answer);
    *response.headers_mut() = headers;
    response
}

/// Says that an answer was given before.
pub(crate) fn replayed(headers: &mut HeaderMap, sent: &Sent) {
    if sent.replayed {
        idempotency::replayed(headers);
    }
}

/// What became of a message, as members of an object that is open.
pub(crate) fn sent(
    object: &mut Object<'_>,
    sent: &Sent,
    kind: Kind,
    deliver_at: Option<i64>,
    now: impl FnOnce() -> i64,
) {
    object.string("message_id", &sent.id);
    if kind == Kind::Delay {
        let handle = sent.recall_handle.as_deref();
        // The broker's own word, which may be a little later than the sender's, and is the same for each repetition.
        let deliver_at = handle.and_then(due_at).or(deliver_at);
        // It has no place before it is due.
        object.value("queue").push_str("null");
        object.value("offset").push_str("null");
        match deliver_at {
            Some(time) => object.time("deliver_at", time),
            None => object.value("deliver_at").push_str("null"),
        }
        object.optional("recall_handle", handle);
    } else {
        object.queue("queue", &sent.queue);
        object.number("offset", sent.queue_offset);
    }
    stored(object, sent, now);
}

/// How and when it was stored.
pub(super) fn stored(object: &mut Object<'_>, sent: &Sent, now: impl FnOnce() -> i64) {
    object.time("stored_at", sent.stored_at.unwrap_or_else(now));
    object.string(
        "send_status",
        match sent.status {
            SendStatus::Stored => "stored",
            SendStatus::FlushDiskTimeout => "flush_disk_timeout",
            SendStatus::FlushSlaveTimeout => "flush_slave_timeout",
            SendStatus::SlaveNotAvailable => "slave_not_available",
        },
    );
}

/// What a broker says of how safe a message is.
pub(crate) fn durability(told: Option<&str>) -> HeaderValue {
    let told = told.and_then(|told| match told {
        // What our brokers say most.
        "fsynced" => Some(HeaderValue::from_static("fsynced")),
        "page-cache" => Some(HeaderValue::from_static("page-cache")),
        told => HeaderValue::from_str(told).ok(),
    });
    told.unwrap_or(HeaderValue::from_static(UNKNOWN))
}

/// Where something of a topic is.
pub(crate) fn location(target: &Target, list: &str, id: &str) -> String {
    let namespace = target.namespace.as_deref();
    let topic = crate::write::plain_topic(&target.topic, namespace);
    crate::names::location(&["topics", topic, list, id], namespace)
}
