//! A message as it goes over the wire, and the answer to it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use remoting::body::batch::Item;
use remoting::code::{request, response};
use remoting::header::send::SendAnswer;
use remoting::{Frame, Head, Payload, Request};

use super::ProducerOptions;
use crate::channel::Channel;
use crate::client::Inner;
use crate::clock;
use crate::error::{Error, MessageError, Result};
use crate::message::Message;
use crate::queue::Queue;
use crate::route::{TEMPLATE, TEMPLATE_QUEUES};

/// What a broker said to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The message's id, the one that consumers see.
    pub id: String,
    /// The id that says where it lies in the broker's log.
    pub offset_id: String,
    /// The queue it was sent to.
    pub queue: Queue,
    /// Its offset there; of a delayed message and of one in a transaction the offset where it waits.
    pub queue_offset: u64,
    /// How safe it is.
    pub status: SendStatus,
    /// What a delayed message can be called back with.
    pub recall_handle: Option<String>,
    /// How safe it is, in the words of a broker that says so.
    pub durability: Option<Cow<'static, str>>,
    /// When it was stored, by the clock of a broker that says so: milliseconds since the Unix epoch.
    pub stored_at: Option<i64>,
    /// It was stored before, by a send with the same idempotency key; this one stored nothing.
    pub replayed: bool,
}

/// How safely a message is stored. All of them mean that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendStatus {
    /// As safely as the broker is configured to.
    Stored,
    /// The disk did not say in time that it has it.
    FlushDiskTimeout,
    /// The replicas did not say in time that they have it.
    FlushSlaveTimeout,
    /// There is no replica that could have it.
    SlaveNotAvailable,
}

/// What is asked of a broker beside taking the message.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    /// No answer at all.
    pub(super) oneway: bool,
    /// An answer that says how safe the message is.
    pub(super) durability: bool,
}

/// A message, or a batch, ready to be written.
pub(super) struct Outgoing<'m> {
    pub(super) topic: Arc<str>,
    /// What the user calls the topic, if that may be something else.
    pub(super) shown: Option<Arc<str>>,
    pub(super) sharding_key: Option<String>,
    /// Of a batch, one of each message.
    pub(super) id: String,
    pub(super) properties: String,
    /// Of a batch, nothing.
    pub(super) body: Bytes,
    /// The messages of a batch.
    pub(super) batch: &'m [Item<'m>],
    pub(super) sys_flag: i32,
    pub(super) flag: i32,
    pub(super) born_at: i64,
    /// The name of the send.
    pub(super) once: Option<String>,
    /// What a broker of another kind would pass over in silence: it is not sent there.
    pub(super) needs: Option<&'static str>,
}

/// What is said of a broker that keeps no names of sends.
const NO_KEYS: &str = "keeps no idempotency keys: nothing was sent";

impl Outgoing<'_> {
    pub(super) fn new(
        client: &Inner,
        options: &ProducerOptions,
        message: &Message,
    ) -> std::result::Result<Outgoing<'static>, MessageError> {
        let born_at = clock::wall_ms();
        let mut id = String::with_capacity(32);
        client.ids.push(born_at, &mut id);
        let mut outgoing = Outgoing {
            shown: client.names.shown(&message.topic),
            topic: client.names.full_shared(message.topic.clone()),
            sharding_key: message.sharding_key.clone(),
            properties: message.property_string(&id)?,
            id,
            body: message.body.clone(),
            batch: &[],
            sys_flag: 0,
            flag: message.flag,
            born_at,
            once: message.idempotency.as_ref().map(|named| named.key.clone()),
            needs: message.idempotency.as_ref().map(|_| NO_KEYS),
        };
        if let Some(kind) = options.compression
            && outgoing.body.len() >= options.compress_from
            && let Some(small) = kind.compress(&outgoing.body)
        {
            outgoing.body = small.into();
            outgoing.sys_flag = kind.flag();
        }
        Ok(outgoing)
    }

    fn is_batch(&self) -> bool {
        !self.batch.is_empty()
    }

    /// What it carries.
    pub(super) fn payload(&self) -> Payload<'_> {
        match self.is_batch() {
            true => Payload::Batch(self.batch),
            false => Payload::Body(&self.body),
        }
    }

    /// Appends the request with this payload: its own, or none if that goes another way.
    pub(super) fn encode(
        &self,
        head: Head,
        group: &str,
        queue: u32,
        wish: Wish,
        payload: Payload<'_>,
        out: &mut Vec<u8>,
    ) {
        let code = match self.is_batch() {
            true => request::SEND_BATCH_MESSAGE,
            false => request::SEND_MESSAGE_V2,
        };
        let request = Request::new(out, head, code, wish.oneway)
            .field("a", group)
            .field("b", &self.topic)
            .field("c", TEMPLATE)
            .number("d", TEMPLATE_QUEUES.into())
            .number("e", queue.into())
            .number("f", self.sys_flag.into())
            .number("g", self.born_at)
            .number("h", self.flag.into())
            .field("i", &self.properties)
            .number("j", 0)
            .field("k", "false")
            .field("m", if self.is_batch() { "true" } else { "false" });
        let request = match wish.durability {
            true => request.field("o", "true"),
            false => request,
        };
        request.payload(payload);
    }

    /// Reads the answer.
    pub(super) fn sent(&self, channel: &Channel, queue: &Queue, frame: &Frame<'_>) -> Result<Sent> {
        let status = match frame.code {
            response::SUCCESS => SendStatus::Stored,
            response::FLUSH_DISK_TIMEOUT => SendStatus::FlushDiskTimeout,
            response::FLUSH_SLAVE_TIMEOUT => SendStatus::FlushSlaveTimeout,
            response::SLAVE_NOT_AVAILABLE => SendStatus::SlaveNotAvailable,
            code => return Err(channel.refused(code, frame.remark)),
        };
        let answer = SendAnswer::read(frame);
        let answer = answer.map_err(|error| Error::malformed(channel.address(), error))?;
        // Of a repeated send, the id is the first one's.
        let id = answer.transaction_id.filter(|_| answer.replayed);
        Ok(Sent {
            id: id.unwrap_or(&self.id).to_owned(),
            offset_id: answer.msg_id.to_owned(),
            queue: Queue {
                topic: self.shown.as_ref().unwrap_or(&queue.topic).clone(),
                broker: queue.broker.clone(),
                id: answer.queue_id.unsigned_abs(),
            },
            queue_offset: answer.queue_offset.unsigned_abs(),
            status,
            recall_handle: answer.recall_handle.map(str::to_owned),
            durability: answer.durability.map(durability),
            stored_at: answer.stored_at,
            replayed: answer.replayed,
        })
    }
}

/// A broker's word for how safe a message is; those of ours are not copied for every message.
fn durability(told: &str) -> Cow<'static, str> {
    match told {
        "fsynced" => Cow::Borrowed("fsynced"),
        "page-cache" => Cow::Borrowed("page-cache"),
        other => Cow::Owned(other.to_owned()),
    }
}
