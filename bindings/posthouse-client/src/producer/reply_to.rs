//! Where a reply goes: what a request message says of it, apart from the message.

use std::sync::Arc;

use model::message::key;

use crate::error::MessageError;
use crate::queue::Queue;
use crate::received::Received;

use super::request::{CORRELATION_ID, TTL};

/// Where the reply to a message goes. Whoever has its parts may reply, from any process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// The cluster whose topic of replies is used.
    pub cluster: String,
    /// The id of the client that waits.
    pub client: String,
    /// Names request and reply.
    pub correlation: String,
    /// How long the client waits, in milliseconds, as it said.
    pub ttl: Option<String>,
    /// The topic of the request.
    pub topic: Arc<str>,
    /// The broker that the request lies at: the requester is known there.
    pub broker: Arc<str>,
}

impl ReplyTo {
    /// Where the reply to this message goes.
    ///
    /// # Errors
    /// [`MessageError::NoRequest`] if it asks for none.
    pub fn of(request: &Received) -> Result<ReplyTo, MessageError> {
        let part = |name| request.property(name).map(str::to_owned);
        let needed = |name| part(name).ok_or(MessageError::NoRequest);
        let Queue { topic, broker, .. } = &request.queue;
        Ok(ReplyTo {
            cluster: needed(key::CLUSTER)?,
            client: needed(key::REPLY_TO_CLIENT)?,
            correlation: needed(CORRELATION_ID)?,
            ttl: part(TTL),
            topic: topic.clone(),
            broker: broker.clone(),
        })
    }
}
