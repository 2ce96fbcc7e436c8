//! Where the answer to a message goes, as signed text: whoever has it may answer, through any node.

use posthouse_client::{Received, ReplyTo};

use crate::token::{Kind, Tokens};

/// What a `reply_token` says.
pub(crate) struct Wanted {
    pub to: ReplyTo,
    /// When nobody waits any more: milliseconds since the Unix epoch.
    pub ends_at: Option<i64>,
}

const END: char = '\n';

/// The token of a message that asks for a reply.
pub(crate) fn token(tokens: &Tokens, message: &Received) -> Option<String> {
    let ReplyTo {
        cluster,
        client,
        correlation,
        ttl,
        topic,
        broker,
    } = ReplyTo::of(message).ok()?;
    let ttl = ttl.unwrap_or_default();
    let born_at = message.born_at;
    let text = format!(
        "{cluster}{END}{client}{END}{correlation}{END}{ttl}{END}{topic}{END}{broker}{END}{born_at}"
    );
    Some(tokens.sign(Kind::Reply, text.as_bytes()))
}

/// What a token says, if it is one.
pub(crate) fn read(tokens: &Tokens, token: &str) -> Option<Wanted> {
    let text = String::from_utf8(tokens.read(Kind::Reply, token)?).ok()?;
    let parts: Vec<&str> = text.split(END).collect();
    let &[cluster, client, correlation, ttl, topic, broker, born_at] = parts.as_slice() else {
        return None;
    };
    let born_at: i64 = born_at.parse().ok()?;
    let waits: Option<i64> = ttl.parse().ok();
    let to = ReplyTo {
        cluster: cluster.to_owned(),
        client: client.to_owned(),
        correlation: correlation.to_owned(),
        ttl: (!ttl.is_empty()).then(|| ttl.to_owned()),
        topic: topic.into(),
        broker: broker.into(),
    };
    Some(Wanted {
        to,
        ends_at: waits.map(|waits| born_at.saturating_add(waits)),
    })
}
