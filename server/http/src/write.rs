//! JSON written straight into one buffer: answers with many messages are made without a tree of values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use posthouse_client::{Queue, Received, is_reserved};

use crate::events::TYPED;
use crate::json;
use crate::parameters::Parameters;
use crate::rules::CONTENT_TYPE;
use crate::time;
use crate::trace::OF_EVENT;

/// Java's name of the property that orders messages.
const SHARDING_KEY: &str = "__SHARDINGKEY";
const TRACE_CONTEXT: &str = "TRACE_CONTEXT";
const DLQ_TOPIC: &str = "DLQ_ORIGIN_TOPIC";
const DLQ_MESSAGE: &str = "DLQ_ORIGIN_MESSAGE_ID";
const DLQ_REASON: &str = "DLQ_REASON";

/// How bodies are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bodies {
    /// Text if it is UTF-8, else base64.
    Auto,
    /// Base64 always.
    Base64,
    /// JSON as it is; what is none as [`Bodies::Auto`].
    Json,
    /// Not at all.
    None,
}

impl Bodies {
    pub(crate) fn of(word: Option<&str>) -> Bodies {
        match word {
            Some("base64") => Bodies::Base64,
            Some("json") => Bodies::Json,
            Some("none") => Bodies::None,
            _ => Bodies::Auto,
        }
    }
}

/// What the data of a stream's events are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    /// Messages, as all answers show them.
    #[default]
    Message,
    /// CloudEvents.
    CloudEvent,
}

impl Format {
    /// What the parameter `format` says.
    pub(crate) fn read(parameters: &mut Parameters<'_>) -> Format {
        match parameters.word("format", &["message", "cloudevent"]) {
            Some("cloudevent") => Format::CloudEvent,
            _ => Format::Message,
        }
    }
}

/// A string in quotes.
pub(crate) fn string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    loop {
        let plain = json::plain(rest.as_bytes());
        let (clean, behind) = rest.split_at(plain);
        out.push_str(clean);
        let Some(c) = behind.chars().next() else {
            break;
        };
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => {
                let code = c as u32;
                out.push_str("\\u00");
                for shift in [4, 0] {
                    out.extend(char::from_digit(code >> shift & 15, 16));
                }
            }
        }
        rest = behind.get(c.len_utf8()..).unwrap_or_default();
    }
    out.push('"');
}

pub(crate) fn number(out: &mut String, number: u64) {
    out.push_str(itoa::Buffer::new().format(number));
}

/// Writes an object member by member.
pub(crate) struct Object<'o> {
    out: &'o mut String,
    first: bool,
}

impl<'o> Object<'o> {
    pub(crate) fn new(out: &'o mut String) -> Object<'o> {
        out.push('{');
        Object { out, first: true }
    }

    /// Goes on with an object that is whole.
    pub(crate) fn resume(out: &'o mut String, whole: &str) -> Object<'o> {
        let open = whole.strip_suffix('}').unwrap_or(whole);
        out.push_str(open);
        let first = open.trim() == "{";
        Object { out, first }
    }

    /// Goes on behind members that stand elsewhere.
    pub(crate) fn behind(out: &'o mut String) -> Object<'o> {
        Object { out, first: false }
    }

    /// The buffer, for members that were written by [`Object::behind`].
    pub(crate) fn members(&mut self) -> &mut String {
        self.out
    }

    /// The buffer, behind a name that needs no escapes.
    pub(crate) fn value(&mut self, name: &str) -> &mut String {
        self.out.push_str(if self.first { "\"" } else { ",\"" });
        self.first = false;
        self.out.push_str(name);
        self.out.push_str("\":");
        self.out
    }

    /// The buffer, behind any name.
    pub(crate) fn member(&mut self, name: &str) -> &mut String {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        string(self.out, name);
        self.out.push(':');
        self.out
    }

    pub(crate) fn string(&mut self, name: &str, text: &str) {
        string(self.value(name), text);
    }

    pub(crate) fn optional(&mut self, name: &str, text: Option<&str>) {
        match text {
            Some(text) => self.string(name, text),
            None => self.value(name).push_str("null"),
        }
    }

    pub(crate) fn number(&mut self, name: &str, value: u64) {
        number(self.value(name), value);
    }

    /// A time, in milliseconds since the Unix epoch.
    pub(crate) fn time(&mut self, name: &str, ms: i64) {
        let out = self.value(name);
        out.push('"');
        time::push(out, ms);
        out.push('"');
    }

    /// A queue: `broker-a:3`.
    pub(crate) fn queue(&mut self, name: &str, queue: &Queue) {
        let out = self.value(name);
        string(out, &queue.broker);
        out.pop();
        out.push(':');
        number(out, queue.id.into());
        out.push('"');
    }

    pub(crate) fn end(self) {
        self.out.push('}');
    }
}

/// A message without its braces' end: whoever shows more of it goes on.
pub(crate) fn message<'o>(
    out: &'o mut String,
    message: &Received,
    bodies: Bodies,
    namespace: Option<&str>,
) -> Object<'o> {
    let mut object = Object::new(out);
    object.string("message_id", &message.id());
    object.string("topic", plain_topic(&message.topic, namespace));
    object.queue("queue", &message.queue);
    object.number("offset", message.queue_offset);
    body(&mut object, message, bodies);
    object.optional("tag", message.tag());
    let out = object.value("keys");
    out.push('[');
    for (place, key) in message.keys().enumerate() {
        if place > 0 {
            out.push(',');
        }
        string(out, key);
    }
    out.push(']');
    properties(&mut object, message);
    object.optional("message_group", message.property(SHARDING_KEY));
    object.time("born_at", message.born_at);
    object.time("stored_at", message.stored_at);
    // An event's own stands among its attributes.
    let trace = message.property(TRACE_CONTEXT);
    let trace = trace.or(message.property(OF_EVENT));
    object.optional("trace_parent", trace);
    dead_letter(&mut object, message);
    object
}

/// The properties that its sender gave it.
pub(crate) fn own_properties(message: &Received) -> impl Iterator<Item = (&str, &str)> {
    let hidden = [CONTENT_TYPE, TYPED, DLQ_TOPIC, DLQ_MESSAGE, DLQ_REASON];
    message
        .properties()
        .filter(move |(name, _)| !is_reserved(name) && !hidden.contains(name))
}

/// A topic's name as callers in this namespace write it.
pub(crate) fn plain_topic<'t>(topic: &'t str, namespace: Option<&str>) -> &'t str {
    let inside = namespace.and_then(|namespace| topic.strip_prefix(namespace)?.strip_prefix('%'));
    inside.unwrap_or(topic)
}

/// Body, encoding and content type of a message.
pub(crate) fn body(object: &mut Object<'_>, message: &Received, bodies: Bodies) {
    let text = std::str::from_utf8(&message.body).ok();
    encoded(object, message, text, bodies);
    let kind = match text {
        Some(_) => "text/plain",
        None => "application/octet-stream",
    };
    let said = message.property(CONTENT_TYPE);
    object.string("content_type", said.unwrap_or(kind));
}

/// The properties that its sender gave a message.
pub(crate) fn properties(object: &mut Object<'_>, message: &Received) {
    let out = object.value("properties");
    out.push('{');
    for (place, (name, value)) in own_properties(message).enumerate() {
        if place > 0 {
            out.push(',');
        }
        string(out, name);
        out.push(':');
        string(out, value);
    }
    out.push('}');
}

fn encoded(object: &mut Object<'_>, message: &Received, text: Option<&str>, bodies: Bodies) {
    let json = match bodies {
        Bodies::Json => text.and_then(|text| json::parse(text.as_bytes()).ok()),
        _ => None,
    };
    if let Some(json) = json {
        object.value("body").push_str(json.raw());
        object.string("body_encoding", "json");
        return;
    }
    let encoding = match (bodies, text) {
        (Bodies::None, _) => return,
        (Bodies::Auto | Bodies::Json, Some(text)) => {
            object.string("body", text);
            "utf8"
        }
        _ => {
            let out = object.value("body");
            out.push('"');
            STANDARD.encode_string(&message.body, out);
            out.push('"');
            "base64"
        }
    };
    object.string("body_encoding", encoding);
}

fn dead_letter(object: &mut Object<'_>, message: &Received) {
    let Some(topic) = message.property(DLQ_TOPIC) else {
        object.value("dead_letter").push_str("null");
        return;
    };
    let mut dead = Object::new(object.value("dead_letter"));
    dead.string("topic", topic);
    dead.optional("message_id", message.property(DLQ_MESSAGE));
    dead.optional("reason", message.property(DLQ_REASON));
    dead.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_comes_back() {
        let mut all: String = (0..=0x7f_u8).map(char::from).collect();
        all.push_str("ä€😀\u{2028}");
        let mut out = String::new();
        string(&mut out, &all);
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), all);
    }

    #[test]
    fn objects_are_json() {
        let mut out = String::new();
        let mut object = Object::new(&mut out);
        object.string("a", "x\"y");
        object.number("n", 7);
        object.optional("none", None);
        object.time("t", 0);
        object.queue("q", &Queue::new("t", "b\"", 3));
        object.end();
        let read: serde_json::Value = serde_json::from_str(&out).unwrap();
        let wanted = serde_json::json!({"a": "x\"y", "n": 7, "none": null, "t": "1970-01-01T00:00:00.000Z", "q": "b\":3"});
        assert_eq!(read, wanted);
    }
}
