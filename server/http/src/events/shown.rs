//! A message as a CloudEvent in JSON: one that was published as an event is what it was; any other is told as
//! `rocketmq.message`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use posthouse_client::{Received, is_reserved};

use super::event::{CONTENT_TYPE, NO_DATA, OF_LEASE, PREFIX, REQUIRED, TYPED, is_name};
use super::{STRUCTURED, is_json};
use crate::json;
use crate::rules;
use crate::time;
use crate::write::{Object, plain_topic};

/// Writes an event without its braces' end: whoever shows more of it goes on.
pub(crate) fn event<'o>(
    out: &'o mut String,
    message: &Received,
    namespace: Option<&str>,
) -> Object<'o> {
    let said = message.property(CONTENT_TYPE);
    let own = |name: &&str| message.property(&format!("{PREFIX}{name}")).is_some();
    if let Some(whole) = structured(message, said) {
        return stored(out, whole);
    }
    let mut object = Object::new(out);
    if REQUIRED.iter().all(own) {
        attributes(&mut object, message);
        let has_data = *message.body != *NO_DATA;
        data(&mut object, message, said, has_data);
        return object;
    }
    let topic = plain_topic(&message.topic, namespace);
    object.string("specversion", "1.0");
    object.string("id", &message.id());
    object.string("source", &format!("/topics/{topic}"));
    object.string("type", "rocketmq.message");
    object.string("time", &time::format(message.born_at));
    let kind = match std::str::from_utf8(&message.body) {
        Ok(_) => "text/plain",
        Err(_) => "application/octet-stream",
    };
    let kind = message.property(rules::CONTENT_TYPE).unwrap_or(kind);
    data(&mut object, message, Some(kind), true);
    object
}

/// Whether a text is a boolean or an integer as JSON writes it: a client of the broker's may have set anything.
fn is_literal(value: &str) -> bool {
    let number = value.parse::<i32>();
    matches!(value, "true" | "false") || number.is_ok_and(|number| number.to_string() == value)
}

fn attributes(object: &mut Object<'_>, message: &Received) {
    let mut seen = Vec::new();
    let typed = message.property(TYPED).unwrap_or_default();
    let is_typed = |name: &str| typed.split(' ').any(|typed| typed == name);
    for (name, value) in message
        .properties()
        .filter(|(name, _)| *name != CONTENT_TYPE)
    {
        // Java's binding writes extensions without the prefix.
        let extension = (!is_reserved(name)).then_some(name);
        let attribute = name.strip_prefix(PREFIX).or(extension);
        let may = |name: &&str| {
            // Its own property says the type of the data; who lends it says what is said of a lease.
            let ours = *name == "datacontenttype" || OF_LEASE.contains(name);
            is_name(name) && !ours && !seen.contains(name)
        };
        if let Some(attribute) = attribute.filter(may) {
            match is_typed(attribute) && is_literal(value) {
                true => object.value(attribute).push_str(value),
                false => object.string(attribute, value),
            }
            seen.push(attribute);
        }
    }
    if let Some(tag) = message.tag().filter(|_| !seen.contains(&"mqtag")) {
        object.string("mqtag", tag);
    }
}

/// An event that was stored whole, but for what it says of a lease: that was another one's.
fn stored<'o>(out: &'o mut String, whole: json::Value<'_>) -> Object<'o> {
    let members = || whole.members().into_iter().flatten();
    if !members().any(|(name, _)| OF_LEASE.contains(&&*name)) {
        return Object::resume(out, whole.raw());
    }
    let mut object = Object::new(out);
    for (name, value) in members().filter(|(name, _)| !OF_LEASE.contains(&&**name)) {
        object.member(&name).push_str(value.raw());
    }
    object
}

/// An event that was stored whole, as Java's binding can.
fn structured<'m>(message: &'m Received, said: Option<&str>) -> Option<json::Value<'m>> {
    said.filter(|kind| kind.starts_with(STRUCTURED))?;
    let whole = json::parse(&message.body).ok()?;
    let names: Vec<_> = whole.members()?.map(|(name, _)| name).collect();
    let is_event = REQUIRED
        .iter()
        .all(|wanted| names.iter().any(|name| name == wanted));
    is_event.then_some(whole)
}

fn data(object: &mut Object<'_>, message: &Received, kind: Option<&str>, has_data: bool) {
    if let Some(kind) = kind {
        object.string("datacontenttype", kind);
    }
    if !has_data {
        return;
    }
    let text = std::str::from_utf8(&message.body).ok();
    let value = json::parse(&message.body).ok();
    // An event that says nothing of its data has JSON.
    match (kind.is_none_or(is_json), text, value) {
        (true, _, Some(value)) => object.value("data").push_str(value.raw()),
        (false, Some(text), _) => object.string("data", text),
        _ => object.string("data_base64", &STANDARD.encode(&message.body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_json_writes_stands_in_json_as_it_is() {
        for literal in ["true", "false", "0", "-7", "2147483647"] {
            assert!(is_literal(literal), "{literal}");
        }
        for text in [
            "+5",
            "007",
            "-0",
            "1.0",
            "2147483648",
            "True",
            "null",
            "",
            "1,\"a\":2",
        ] {
            assert!(!is_literal(text), "{text}");
        }
    }
}
