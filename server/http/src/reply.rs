//! Where the answer to a message goes, as signed text: whoever has it may answer once, through any node.

use posthouse_client::Received;

use crate::token::{Kind, Tokens};

/// Properties of a message that asks for a reply.
const PARTS: [&str; 4] = ["CLUSTER", "REPLY_TO_CLIENT", "CORRELATION_ID", "TTL"];

/// The token of a message that asks for a reply.
pub(crate) fn token(tokens: &Tokens, message: &Received) -> Option<String> {
    message.property("REPLY_TO_CLIENT")?;
    message.property("CORRELATION_ID")?;
    let mut text = String::new();
    for name in PARTS {
        text.push_str(message.property(name).unwrap_or_default());
        text.push('\n');
    }
    let place = [
        &*message.queue.topic,
        &*message.queue.broker,
        &message.born_at.to_string(),
    ]
    .join("\n");
    text.push_str(&place);
    Some(tokens.sign(Kind::Reply, text.as_bytes()))
}
