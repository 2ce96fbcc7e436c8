//! A message as answers and events show it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use posthouse_client::{Received, is_reserved};
use serde_json::{Map, Value, json};

use crate::time;

const SHARDING_KEY: &str = "__SHARDINGKEY";
const CONTENT_TYPE: &str = "content_type";

/// A message. Its body is text if it is UTF-8, else base64.
pub(crate) fn message(message: &Received) -> Value {
    let (body, encoding, kind) = match std::str::from_utf8(&message.body) {
        Ok(text) => (text.to_owned(), "utf8", "text/plain"),
        Err(_) => (
            STANDARD.encode(&message.body),
            "base64",
            "application/octet-stream",
        ),
    };
    let own = message
        .properties()
        .filter(|(name, _)| !is_reserved(name) && *name != CONTENT_TYPE);
    let properties: Map<String, Value> = own
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({
        "message_id": message.id(),
        "topic": &*message.topic,
        "queue": queue(&message.queue),
        "offset": message.queue_offset,
        "body": body,
        "body_encoding": encoding,
        "content_type": message.property(CONTENT_TYPE).unwrap_or(kind),
        "tag": message.tag(),
        "keys": message.keys().collect::<Vec<_>>(),
        "properties": properties,
        "message_group": message.property(SHARDING_KEY),
        "born_at": time::format(message.born_at),
        "stored_at": time::format(message.stored_at),
    })
}

/// A queue, `broker-a:3`.
pub(crate) fn queue(queue: &posthouse_client::Queue) -> String {
    format!("{}:{}", queue.broker, queue.id)
}
