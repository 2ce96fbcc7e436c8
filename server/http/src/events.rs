//! CloudEvents: published one by one or many at once, kept as messages, and shown as events again.

mod event;
mod shown;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderName};

use crate::body::Response;
use crate::call::Call;
use crate::clock;
use crate::json::{self, At, Value};
use crate::media;
use crate::operations::{Operation, row};
use crate::problem::{self, Fault, Place, Problem};
use crate::publish::batch::{self, Entry};
use crate::publish::{self, Read, Target, read_body, read_json};
use event::{Event, Faults, Key, OF_TEXT};

pub(crate) use event::TYPED;
pub(crate) use shown::event;

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(POST "/v1/topics/{topic}/events" "publishEvents" publish,
        MALFORMED_JSON, INVALID_REQUEST, INVALID_IDEMPOTENCY_KEY, RESERVED_TOPIC, TOPIC_NOT_WRITABLE,
        TOPIC_NOT_FOUND, MESSAGE_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_TOPIC, EMPTY_BODY, INVALID_TAG,
        INVALID_MESSAGE_GROUP, INVALID_PROPERTY, RESERVED_PROPERTY, PROPERTIES_TOO_LARGE,
        INVALID_DELIVERY_TIME, MESSAGE_TYPE_MISMATCH, INVALID_BATCH, INVALID_CLOUDEVENT,
        IDEMPOTENCY_KEY_REUSED, IDEMPOTENCY_IN_PROGRESS, PUBLISH_OUTCOME_UNKNOWN),
];

/// The media type of one event in JSON.
pub(crate) const STRUCTURED: &str = "application/cloudevents+json";
/// The media type of many events in JSON.
pub(crate) const BATCH: &str = "application/cloudevents-batch+json";
/// What all media types of CloudEvents begin with.
const FAMILY: &str = "application/cloudevents";
const HEADER_PREFIX: &str = "ce-";

async fn publish(mut call: Call) -> Result<Response, Problem> {
    let (target, key) = asked(&call)?;
    let _place = publish::place(&call.node)?;
    let (kind, utf8) = media::content_type(&call.headers).unwrap_or((String::new(), true));
    let (limits, now) = (&call.node.options.limits, clock::wall_ms());
    let (limit, request, many) = (limits.body, limits.request, limits.batch);
    let topic = target.topic.clone();
    let read = match kind.as_str() {
        STRUCTURED | BATCH if !utf8 => return Err(unsupported()),
        STRUCTURED => {
            let body = call.body(request).await?;
            read_json(body, move |body| {
                one(json::parse(body)?, At::Root, &topic, &key, now, limit)
            })
            .await?
        }
        BATCH => {
            let body = call.body(many).await?;
            let entries = read_json(body, move |body| all(body, &topic, &key, now, limit));
            return batch::publish_all(&call.node, target, None, entries.await?, now).await;
        }
        kind if kind.starts_with(FAMILY) => return Err(unsupported()),
        _ => {
            let body = call.body(limit).await;
            let body = body.map_err(crate::mq_headers::too_large)?;
            let headers = std::mem::take(&mut call.headers);
            // Digested with the rest of what a repeat is known by: long data is no work for this thread.
            read_body(body.clone(), move |_| {
                let place = |name: &str| Place::Header(format!("{HEADER_PREFIX}{name}"));
                let mut faults = Faults::new(&place);
                let mut event = of_headers(&headers, &mut faults);
                event.data = Some(body);
                event.message(&topic, &key, now, limit, faults)
            })
            .await?
        }
    };
    publish::publish(&mut call, &target, read).await
}

fn unsupported() -> Problem {
    let detail =
        format!("{STRUCTURED} and {BATCH} in UTF-8, or the data's own type beside ce- headers");
    Problem::new(&problem::UNSUPPORTED_MEDIA_TYPE)
        .faults(vec![Fault::header("Content-Type", detail)])
}

/// Where events go, and what makes a repeat of one.
fn asked(call: &Call) -> Result<(Target, Key), Problem> {
    let (target, idempotency) = Target::with(call, "idempotency", &["event", "none"])?;
    let key = match (publish::key(call)?, idempotency) {
        (Some(_), Some("none")) => {
            let fault = Fault::parameter("idempotency", "none stands against the Idempotency-Key");
            return Err(Problem::new(&problem::INVALID_PARAMETER).faults(vec![fault]));
        }
        (Some(key), _) => Key::Said(key),
        (None, Some("none")) => Key::None,
        (None, _) => Key::OfEvent,
    };
    Ok((target, key))
}

/// The binary mode: attributes are headers, percent-encoded, and the body is the data.
fn of_headers(headers: &HeaderMap, faults: &mut Faults<'_>) -> Event {
    let mut event = Event::default();
    let attributes = headers.keys().map(HeaderName::as_str);
    for header in attributes {
        let Some(name) = header.strip_prefix(HEADER_PREFIX) else {
            continue;
        };
        let mut values = headers.get_all(header).iter();
        let value = values.next().and_then(|value| value.to_str().ok());
        let value = value.and_then(unescaped);
        match value {
            _ if values.next().is_some() => faults.add(name, "given more than once"),
            _ if name == "datacontenttype" => faults.add(name, "this is what Content-Type says"),
            Some(value) => event.attributes.push((name.to_owned(), value)),
            None => faults.add(name, "percent-encoded UTF-8 expected"),
        }
    }
    if let Some(kind) = headers.get(CONTENT_TYPE) {
        match kind.to_str() {
            Ok(kind) => {
                let attribute = ("datacontenttype".to_owned(), kind.to_owned());
                event.attributes.push(attribute);
            }
            Err(_) => faults.add("datacontenttype", "ASCII expected"),
        }
    }
    event
}

/// An attribute out of its header; `None` if that is no UTF-8. Senders older than the encoding of 1.0.1 quote, or
/// write what they have: a `%` that begins no escape means itself.
fn unescaped(text: &str) -> Option<String> {
    let quoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let mut rest = quoted.unwrap_or(text).bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = rest.next() {
        let hex = |at: usize| char::from(rest.clone().nth(at)?).to_digit(16);
        let (byte, behind) = match byte {
            b'\\' if quoted.is_some() => (rest.next()?, 0),
            b'%' => match (hex(0), hex(1)) {
                (Some(high), Some(low)) => ((high << 4 | low) as u8, 2),
                _ => (byte, 0),
            },
            byte => (byte, 0),
        };
        out.push(byte);
        rest.by_ref().take(behind).for_each(drop);
    }
    String::from_utf8(out).ok()
}

/// A JSON array of events; what is wrong with one is told there.
fn all(
    body: &[u8],
    topic: &Arc<str>,
    key: &Key,
    now: i64,
    limit: usize,
) -> Result<Vec<Entry>, Problem> {
    let mut faults = json::Faults::default();
    let items = faults.array(At::Root, json::parse(body)?);
    faults.check()?;
    let mut entries = Vec::new();
    for (place, item) in items.into_iter().flatten().enumerate() {
        if place == batch::ENTRIES_MAX {
            let detail = format!("at most {} events", batch::ENTRIES_MAX);
            return Err(batch::invalid(At::Root, detail));
        }
        let key = match key {
            Key::Said(key) => &Key::Said(crate::idempotency::of_entry(key, place)),
            key => key,
        };
        let id = item.members().and_then(|mut members| {
            let id = members.find(|(name, _)| name == "id")?.1.as_str()?;
            (id.chars().count() <= batch::ID_MAX).then(|| id.into_owned())
        });
        let at = At::Root;
        let read = one(item, at.item(place), topic, key, now, limit);
        entries.push(Entry::of(id, read));
    }
    match entries.is_empty() {
        true => Err(batch::invalid(At::Root, "at least one event")),
        false => Ok(entries),
    }
}

/// An event in JSON.
fn one(
    value: Value<'_>,
    at: At<'_>,
    topic: &Arc<str>,
    key: &Key,
    now: i64,
    limit: usize,
) -> Result<Read, Problem> {
    let mut shape = json::Faults::default();
    let members = shape.object(at, value);
    shape.check()?;
    let place = |name: &str| Place::Pointer(at.member(name).pointer());
    let mut faults = Faults::new(&place);
    let mut event = Event::default();
    let (mut data, mut binary) = (None, None);
    for (name, value) in members.into_iter().flatten() {
        match &*name {
            // What is null is not there.
            _ if value.kind() == json::Kind::Null && name != "data" => {}
            "data" => data = Some(value),
            "data_base64" => binary = Some(value),
            name if OF_TEXT.contains(&name) && value.as_str().is_none() => {
                faults.add(name, "a string expected");
            }
            _ => match attribute(value) {
                Some(text) => {
                    if value.kind() != json::Kind::String {
                        event.typed.push(name.clone().into_owned());
                    }
                    event.attributes.push((name.into_owned(), text));
                }
                None => faults.add(
                    &name,
                    "a string, a boolean or an integer of 32 bits expected",
                ),
            },
        }
    }
    event.data = match (data, binary) {
        (Some(_), Some(_)) => {
            faults.add("data_base64", "either data or data_base64");
            None
        }
        (Some(data), None) if data.kind() == json::Kind::Null => None,
        (Some(data), None) => {
            let kind = event.get("datacontenttype");
            let text = data.as_str().filter(|_| !kind.is_none_or(is_json));
            if kind.is_none() {
                let json = ("datacontenttype".to_owned(), media::JSON.to_owned());
                event.attributes.push(json);
            }
            let bytes = match text {
                Some(text) => text.into_owned(),
                None => data.compact().into_owned(),
            };
            Some(Bytes::from(bytes))
        }
        (None, Some(text)) => {
            let bytes = text
                .as_str()
                .and_then(|text| STANDARD.decode(text.as_bytes()).ok());
            if bytes.is_none() {
                faults.add("data_base64", "base64 with padding expected (RFC 4648)");
            }
            bytes.map(Bytes::from)
        }
        (None, None) => None,
    };
    event.message(topic, key, now, limit, faults)
}

/// An attribute's value as CloudEvents writes it in text.
fn attribute(value: Value<'_>) -> Option<String> {
    match value.kind() {
        json::Kind::String => value.as_str().map(|text| text.into_owned()),
        json::Kind::Bool => Some(value.raw().to_owned()),
        json::Kind::Number => value
            .raw()
            .parse::<i32>()
            .ok()
            .map(|number| number.to_string()),
        _ => None,
    }
}

/// Whether data of this media type is JSON.
fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let (_, sub) = kind.split_once('/').unwrap_or_default();
    sub.eq_ignore_ascii_case("json") || sub.to_ascii_lowercase().ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn attributes_come_out_of_headers_as_they_were() {
        for (header, attribute) in [
            ("Euro%20%E2%82%ac%20%F0%9F%98%80", "Euro € 😀"),
            ("\"a \\\"b\\\" \\\\ %41\"", "a \"b\" \\ A"),
            ("100 %", "100 %"),
            ("100% of %zz%4", "100% of %zz%4"),
            ("a \"b\" \\", "a \"b\" \\"),
            ("\"", "\""),
            ("", ""),
        ] {
            assert_eq!(unescaped(header).as_deref(), Some(attribute), "{header}");
        }
        for none in ["%ff", "%C0%A0", "\"a\\\""] {
            assert_eq!(unescaped(none), None, "{none}");
        }
    }
}
