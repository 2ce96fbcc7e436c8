//! Requests that somebody answers: asked here and answered by any consumer, or asked anywhere and answered
//! here.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use posthouse_client::code::response::SYSTEM_ERROR;
use posthouse_client::{Error, Message, MessageError};

use crate::body::{Body, Response};
use crate::call::Call;
use crate::clock;
use crate::draft::{Draft, FIELDS};
use crate::idempotency;
use crate::json::{self, At, Faults};
use crate::media;
use crate::names;
use crate::operations::{Operation, row};
use crate::parameters::{NAMESPACE, Parameters};
use crate::problem::{self, Fault, Problem};
use crate::publish::{self, read_json};
use crate::publisher::{self, Kind};
use crate::reply;
use crate::trace;
use crate::write::{self, Bodies, Object};

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(POST "/v1/topics/{topic}/messages:request" "requestReply" request,
        MALFORMED_JSON, INVALID_REQUEST, INVALID_IDEMPOTENCY_KEY, RESERVED_TOPIC, TOPIC_NOT_WRITABLE,
        TOPIC_NOT_FOUND, MESSAGE_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_TOPIC, EMPTY_BODY, INVALID_BASE64,
        INVALID_TAG, INVALID_KEY, INVALID_MESSAGE_GROUP, INVALID_PROPERTY, RESERVED_PROPERTY,
        PROPERTIES_TOO_LARGE, INVALID_DELIVERY_TIME, MESSAGE_TYPE_MISMATCH, PUBLISH_OUTCOME_UNKNOWN,
        IDEMPOTENCY_KEY_REFUSED, REPLY_TIMEOUT),
    row!(POST "/v1/replies" "sendReply" send_reply,
        MALFORMED_JSON, INVALID_REQUEST, INVALID_IDEMPOTENCY_KEY, INVALID_REPLY_TOKEN, MESSAGE_TOO_LARGE,
        REQUESTER_GONE, UNSUPPORTED_MEDIA_TYPE, EMPTY_BODY, INVALID_BASE64, INVALID_TAG, INVALID_KEY,
        INVALID_MESSAGE_GROUP, INVALID_PROPERTY, RESERVED_PROPERTY, PROPERTIES_TOO_LARGE, INVALID_DELIVERY_TIME,
        IDEMPOTENCY_KEY_REFUSED),
];

const TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

async fn request(mut call: Call) -> Result<Response, Problem> {
    media::is_json(&call.headers)?;
    let mut parameters = Parameters::new(call.query(), &["timeout"], &[]);
    let limit = parameters
        .duration("timeout", Duration::from_millis(1)..=TIMEOUT_MAX)
        .unwrap_or(TIMEOUT);
    parameters.finish()?;
    let namespace = parameters.text(NAMESPACE).map(str::to_owned);
    let topic = names::topic(call.parameter(0), namespace.as_deref())?;
    let topic: std::sync::Arc<str> = topic.as_str().into();
    no_key(&call)?;
    let _place = call.node.to_wait()?;
    let limits = &call.node.options.limits;
    let (request, most) = (limits.request, limits.body);
    let body = call.body(request).await?;
    let own = topic.clone();
    let read = read_json(body, move |body| publish::read(body, &own, most)).await?;
    let mut message = read.message;
    message.trace_context = trace::of(&call.headers);
    let node = &call.node;
    let kind = Kind::of(&message);
    let mut left = limit;
    (node.publisher)
        .takes(&node.client, &message, &mut left)
        .await?;
    let asked = node
        .publisher
        .requester(&node.client)?
        .request_and_id(message, left)
        .await;
    let (id, reply) = match asked {
        Ok(asked) => asked,
        Err(Error::NoReply(_)) => {
            let detail = "the message was sent, but nobody replied in time";
            return Err(Problem::new(&problem::REPLY_TIMEOUT).detail(detail));
        }
        Err(error) => return Err(publisher::failed(error, kind)),
    };
    let mut out = String::with_capacity(256 + reply.body.len());
    let mut whole = Object::new(&mut out);
    whole.string("message_id", &id);
    let inner = whole.value("reply");
    let mut object = Object::new(inner);
    write::body(&mut object, &reply, Bodies::Auto);
    write::properties(&mut object, &reply);
    object.time("born_at", reply.born_at);
    object.end();
    whole.end();
    let mut response = Response::new(Body::from(out));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media::JSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn send_reply(mut call: Call) -> Result<Response, Problem> {
    media::is_json(&call.headers)?;
    let mut parameters = Parameters::new(call.query(), &[], &[]);
    parameters.finish()?;
    no_key(&call)?;
    let limits = &call.node.options.limits;
    let (request, most) = (limits.request, limits.body);
    let body = call.body(request).await?;
    let (token, message) = read_json(body, move |body| read_reply(body, most)).await?;
    let node = &call.node;
    let to = reply::read(&node.tokens, &token).ok_or_else(|| {
        let fault = Fault::pointer("/reply_token", "this is no reply_token of this cluster");
        Problem::new(&problem::INVALID_REPLY_TOKEN).faults(vec![fault])
    })?;
    let gone =
        || Problem::new(&problem::REQUESTER_GONE).detail("nobody waits for this reply any more");
    if to.ends_at.is_some_and(|end| end <= clock::wall_ms()) {
        return Err(gone());
    }
    let producer = node.publisher.producer(&node.client)?;
    match producer
        .reply_to(&to.to, message.body, &message.properties)
        .await
    {
        Ok(()) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            Ok(response)
        }
        Err(Error::Message(MessageError::NoRequest)) => Err(gone()),
        Err(error) if error.code() == Some(SYSTEM_ERROR) => Err(gone()),
        Err(error) => Err(error.into()),
    }
}

/// The token of a reply, and the reply as a message.
fn read_reply(body: &[u8], most: usize) -> Result<(String, Message), Problem> {
    let (at, mut faults, mut token) = (At::Root, Faults::default(), None);
    let nowhere: std::sync::Arc<str> = "".into();
    let mut draft = Draft::new(&nowhere, clock::wall_ms());
    for (name, value) in faults.object(at, json::parse(body)?).into_iter().flatten() {
        let here = at.member(&name);
        match &*name {
            "reply_token" => token = faults.text(here, value, 4096),
            "body" | "body_encoding" | "content_type" | "properties" => {
                draft.field(&name, here, value, &mut faults);
            }
            _ => faults.unknown(
                at,
                &name,
                &["reply_token", FIELDS[0], FIELDS[1], FIELDS[2], "properties"],
            ),
        }
    }
    if token.is_none() && faults.is_empty() {
        faults.missing(at, "reply_token");
    }
    if faults.is_empty() {
        draft.finish(at, most, &mut faults);
    }
    faults.check()?;
    let token = token.ok_or_else(|| Problem::new(&problem::INTERNAL))?;
    Ok((token.into_owned(), draft.message))
}

/// A question is asked once: a key would promise what nobody keeps.
fn no_key(call: &Call) -> Result<(), Problem> {
    match idempotency::key(&call.headers)? {
        None => Ok(()),
        Some(_) => {
            let fault = Fault::header("Idempotency-Key", "requests and replies take no key");
            Err(Problem::new(&problem::IDEMPOTENCY_KEY_REFUSED).faults(vec![fault]))
        }
    }
}
