//! What is said of a message whose body is the body: `Mq-*` headers, one codec for publishing and receiving.
//! Values are percent-encoded, once.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderMap as Headers, HeaderName, HeaderValue};
use posthouse_client::Received;

use crate::draft::Draft;
use crate::duration;
use crate::json::nearest;
use crate::parameters::{decode, percent_decode};
use crate::problem::{self, Fault, Kind, Problem};
use crate::rules::{self, Refused};
use crate::time;
use crate::write::own_properties;

const KNOWN: [&str; 7] = [
    "mq-tag",
    "mq-keys",
    "mq-message-group",
    "mq-properties",
    "mq-delay",
    "mq-delay-level",
    "mq-deliver-at",
];

/// A message without its body, and what is wrong with its headers.
pub(crate) struct Read {
    draft: Draft<'static>,
    faults: Vec<Fault>,
    kind: Option<&'static Kind>,
    misunderstood: bool,
}

impl Read {
    fn add(&mut self, name: &str, detail: impl Into<String>) {
        self.misunderstood = true;
        self.faults.push(Fault::header(name, detail));
    }

    fn refuse(&mut self, name: &str, Refused { kind, detail }: Refused) {
        self.kind.get_or_insert(kind);
        self.faults.push(Fault::header(name, detail));
    }

    fn allowed(&mut self, name: &str, checked: Result<(), Refused>) -> bool {
        if let Err(refused) = checked {
            self.refuse(name, refused);
        }
        checked.is_ok()
    }
}

/// Reads the headers of a message to a topic.
pub(crate) fn read(headers: &HeaderMap, topic: &Arc<str>, now: i64) -> Read {
    let mut read = Read {
        draft: Draft::new(topic, now),
        faults: Vec::new(),
        kind: None,
        misunderstood: false,
    };
    let mut has_any = false;
    for name in headers
        .keys()
        .map(HeaderName::as_str)
        .filter(|name| name.starts_with("mq-"))
    {
        has_any = true;
        if !KNOWN.contains(&name) {
            let detail = match nearest(name, &KNOWN) {
                Some(near) => format!("unknown header; did you mean {near}?"),
                None => "unknown header".to_owned(),
            };
            read.add(name, detail);
        }
    }
    for name in KNOWN.into_iter().filter(|_| has_any) {
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else {
            continue;
        };
        if values.next().is_some() {
            read.add(name, "this header is given more than once");
            continue;
        }
        // Properties are a form: they are decoded pair by pair.
        let text = value.to_str().ok();
        let decoded = match name {
            "mq-properties" => text.map(Cow::Borrowed),
            _ => text.and_then(percent_decode),
        };
        match decoded {
            Some(text) => header(&mut read, name, &text),
            None => read.add(name, "percent-encoded UTF-8 expected"),
        }
    }
    let kind = headers
        .get(CONTENT_TYPE)
        .map_or(Some("application/octet-stream"), |kind| kind.to_str().ok());
    match kind {
        Some(kind) => {
            if read.allowed("content-type", rules::content_type(kind)) {
                read.draft.put_content_type(Cow::Owned(kind.to_owned()));
            }
        }
        None => read.add("content-type", "ASCII expected"),
    }
    read
}

fn header(read: &mut Read, name: &'static str, text: &str) {
    match name {
        "mq-tag" => {
            if read.allowed(name, rules::tag(text)) {
                read.draft.message.tag = Some(text.into());
            }
        }
        "mq-keys" => {
            for (place, key) in text.split(' ').filter(|key| !key.is_empty()).enumerate() {
                if place == rules::KEYS_MAX {
                    let kind = &problem::INVALID_KEY;
                    read.refuse(
                        name,
                        Refused {
                            kind,
                            detail: "at most 16 keys",
                        },
                    );
                    return;
                }
                if read.allowed(name, rules::key(key)) {
                    read.draft.message.keys.push(key.to_owned());
                }
            }
        }
        "mq-message-group" => {
            if read.allowed(name, rules::message_group(text)) {
                read.draft.message.sharding_key = Some(text.to_owned());
            }
        }
        "mq-properties" => properties(read, name, text),
        "mq-delay" => match duration::parse(text) {
            Some(delay) => read.draft.delay(delay),
            None => read.add(name, "duration like \"5m\" expected"),
        },
        "mq-delay-level" => {
            let level = text.parse().unwrap_or(0);
            let mut refused = None;
            read.draft.level(level, |why| {
                refused = Some(why);
                false
            });
            if let Some(why) = refused {
                read.refuse(name, why);
            }
        }
        _ => match time::parse(text) {
            Some(time) => read.draft.deliver_at(time),
            None => read.add(name, "a time like \"2026-11-24T02:00:00Z\" expected"),
        },
    }
}

fn properties(read: &mut Read, header: &str, text: &str) {
    for (place, pair) in text.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        if place == rules::PROPERTIES_MAX {
            let kind = &problem::PROPERTIES_TOO_LARGE;
            read.refuse(
                header,
                Refused {
                    kind,
                    detail: "at most 128 properties",
                },
            );
            return;
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(name), Some(value)) = (decode(name), decode(value)) else {
            read.add(
                header,
                "a form like region=hz&buyer=42 in percent-encoded UTF-8 expected",
            );
            return;
        };
        if read
            .draft
            .message
            .properties
            .iter()
            .any(|(own, _)| *own == name)
        {
            read.add(header, "a property is given more than once");
        } else if read.allowed(header, rules::property(&name, &value)) {
            let property = (name.into_owned(), value.into_owned());
            read.draft.message.properties.push(property);
        }
    }
}

/// The message with its body.
///
/// # Errors
/// Everything that is wrong with headers and body.
pub(crate) fn finish(mut read: Read, body: Bytes, limit: usize) -> Result<Draft<'static>, Problem> {
    if read.draft.has_two_times() {
        let kind = &problem::INVALID_DELIVERY_TIME;
        let detail = "at most one of mq-delay, mq-delay-level and mq-deliver-at";
        read.refuse("mq-delay", Refused { kind, detail });
    }
    read.draft.put_body(body, None);
    let size = read.draft.body_size(limit).err();
    let problem = match (read.misunderstood, read.kind) {
        (true, _) => Problem::new(&problem::INVALID_REQUEST),
        (false, Some(kind)) => Problem::new(kind),
        (false, None) => {
            if let Some(Refused { kind, detail }) = size {
                return Err(Problem::new(kind).detail(detail));
            }
            return match read.draft.property_size() {
                Ok(()) => Ok(read.draft),
                Err(Refused { kind, detail }) => Err(Problem::new(kind).detail(detail)),
            };
        }
    };
    Err(problem.faults(read.faults))
}

/// Where the body is the message, a request that is too large is a message that is.
pub(crate) fn too_large(problem: Problem) -> Problem {
    if std::ptr::eq(problem.kind(), &problem::REQUEST_TOO_LARGE) {
        return Problem::new(&problem::MESSAGE_TOO_LARGE)
            .detail("the body is longer than a message may be")
            .header(CONNECTION, HeaderValue::from_static("close"));
    }
    problem
}

/// Says of a message in headers what [`read`] reads, and where it is.
pub(crate) fn write(headers: &mut Headers, message: &Received) {
    let mut put = |name: &'static str, text: &str| {
        if let Ok(value) = HeaderValue::try_from(encode(text, b" ")) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    put("mq-message-id", &message.id());
    put("mq-topic", &message.topic);
    put(
        "mq-queue",
        &format!("{}:{}", message.queue.broker, message.queue.id),
    );
    put("mq-offset", &message.queue_offset.to_string());
    put("mq-born-at", &time::format(message.born_at));
    put("mq-stored-at", &time::format(message.stored_at));
    if let Some(tag) = message.tag() {
        put("mq-tag", tag);
    }
    let keys: Vec<&str> = message.keys().collect();
    if !keys.is_empty() {
        put("mq-keys", &keys.join(" "));
    }
    if let Some(group) = message.property("__SHARDINGKEY") {
        put("mq-message-group", group);
    }
    let pairs: Vec<String> = own_properties(message)
        .map(|(name, value)| format!("{}={}", encode(name, b""), encode(value, b"")))
        .collect();
    if !pairs.is_empty()
        && let Ok(value) = HeaderValue::try_from(pairs.join("&"))
    {
        headers.insert(HeaderName::from_static("mq-properties"), value);
    }
    let kind = message.property(rules::CONTENT_TYPE);
    let kind = kind.and_then(|kind| HeaderValue::from_str(kind).ok());
    let kind = kind.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_TYPE, kind);
}

/// Percent-encodes whatever could be misread; `plain` stays as it is beside letters, digits and marks.
fn encode(text: &str, plain: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let clear = byte.is_ascii_alphanumeric() || b"-._~:/@,;!*".contains(&byte);
        match clear || plain.contains(&byte) {
            true => out.push(char::from(byte)),
            false => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        pairs.collect()
    }

    #[test]
    fn headers_say_what_the_envelope_says() {
        let headers = headers(&[
            ("mq-tag", "thumb%C3%A4"),
            ("mq-keys", "a  b"),
            ("mq-properties", "width=640&Place=a+b%26c"),
            ("mq-message-group", "cust-7"),
            ("content-type", "image/png"),
        ]);
        let read = read(&headers, &"t".into(), 0);
        let message = finish(read, Bytes::from_static(b"x"), 10).unwrap().message;
        assert_eq!(message.tag.as_deref(), Some("thumbä"));
        assert_eq!(message.keys, ["a", "b"]);
        let property = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let wanted = [
            property("width", "640"),
            property("Place", "a b&c"),
            property("content_type", "image/png"),
        ];
        assert_eq!(message.properties, wanted);
        assert_eq!(message.sharding_key.as_deref(), Some("cust-7"));
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let headers = headers(&[
            ("mq-tga", "x"),
            ("mq-delay", "soon"),
            ("mq-tag", "a|b"),
            ("mq-keys", "%zz"),
        ]);
        let read = read(&headers, &"t".into(), 0);
        let problem = finish(read, Bytes::from_static(b"x"), 10).err().unwrap();
        let shown = problem.to_json(None);
        assert_eq!(shown["status"], 400);
        let told = shown["errors"].as_array().unwrap();
        let told: Vec<_> = told
            .iter()
            .map(|error| error["header"].as_str().unwrap())
            .collect();
        assert_eq!(told, ["mq-tga", "mq-tag", "mq-keys", "mq-delay"]);
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for text in ["a b", "ä&=%+", "\u{1}"] {
            assert_eq!(percent_decode(&encode(text, b" ")).unwrap(), text);
            assert_eq!(decode(&encode(text, b"")).unwrap(), text);
        }
    }
}
