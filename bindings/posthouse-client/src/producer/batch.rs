//! Batches: as many requests as their size needs.

use std::borrow::Borrow;

use bytes::Bytes;
use model::TopicName;
use remoting::body::batch::{Item, Known};

use super::Shared;
use super::outgoing::{Outgoing, Sent};
use crate::clock;
use crate::error::{Error, MessageError};
use crate::message::{Deliver, Message};

/// A batch that was not sent whole.
#[derive(Debug, thiserror::Error)]
#[error("{} messages were sent, then: {error}", sent.len())]
pub struct BatchError {
    /// The messages before the request that failed, as their brokers answered.
    pub sent: Vec<Sent>,
    /// What became of that request. Nothing behind it was sent.
    #[source]
    pub error: Error,
}

/// What a broker said to messages that it got in one request: they lie one behind the other in one queue.
#[derive(Clone, Debug)]
pub struct SentTogether {
    /// What holds for all; the offset is the first one's, and the ids of all stand below.
    answer: Sent,
    ids: Ids,
    /// With commas between them.
    offset_ids: String,
}

/// Ids of messages, all as long as each other.
#[derive(Clone, Debug, Default)]
struct Ids {
    text: String,
    count: usize,
}

impl Ids {
    fn each(&self) -> impl Iterator<Item = &str> {
        (0..self.count).map(|at| self.get(at).unwrap_or_default())
    }

    fn get(&self, at: usize) -> Option<&str> {
        let length = self.text.len() / self.count.max(1);
        self.text.get(at * length..(at + 1) * length)
    }
}

impl SentTogether {
    /// How many there are.
    #[allow(clippy::len_without_is_empty)] // nothing is not sent
    pub fn len(&self) -> usize {
        self.ids.count
    }

    /// The id of the one at this place in the request.
    pub fn id(&self, at: usize) -> &str {
        self.ids.get(at).unwrap_or_default()
    }

    /// Its offset in the queue.
    pub fn queue_offset(&self, at: usize) -> u64 {
        self.answer.queue_offset + at as u64
    }

    /// What is the same for each of them. Of what it says, the ids are nobody's, and the offset is the first one's.
    pub fn all(&self) -> &Sent {
        &self.answer
    }

    /// One answer for each of them.
    pub fn each(&self) -> impl Iterator<Item = Sent> + '_ {
        let offset_ids = self.offset_ids.split(',').chain(std::iter::repeat(""));
        (0..self.len()).zip(offset_ids).map(|(at, offset_id)| Sent {
            id: self.id(at).to_owned(),
            offset_id: offset_id.to_owned(),
            queue_offset: self.queue_offset(at),
            ..self.answer.clone()
        })
    }
}

/// What the properties of most messages take.
const PROPERTIES: usize = 96;
/// How long an id is, mostly.
const ID: usize = 32;

/// Messages that will be sent: what stands beside their bodies, and which go in one request.
#[derive(Default)]
struct Laid {
    /// One behind the other.
    properties: String,
    /// Where those of each message end.
    ends: Vec<usize>,
    /// Those of each request.
    ids: Vec<Ids>,
}

impl Laid {
    fn properties(&self, at: usize) -> &str {
        let before = at.checked_sub(1).and_then(|before| self.ends.get(before));
        let range = before.copied().unwrap_or(0)..self.ends.get(at).copied().unwrap_or(0);
        self.properties.get(range).unwrap_or_default()
    }

    /// `id`: the one that stands in its properties.
    fn item<'m>(&'m self, message: &'m Message, at: usize, id: &'m str) -> Item<'m> {
        // Names of RocketMQ's are nobody's own properties, and of what else a batch's message may have of them brokers look
        // at these.
        let is_known = message.keys.is_empty() && message.wait;
        Item {
            flag: message.flag,
            body: &message.body,
            properties: self.properties(at),
            checksum: 0,
            known: is_known.then_some(Known {
                unique_key: id,
                tag: message.tag.as_deref(),
            }),
        }
    }
}

impl Shared {
    /// What was sent, request by request, and what became of the one behind.
    pub(super) async fn send_together<M: Borrow<Message>>(
        &self,
        messages: &[M],
    ) -> (Vec<SentTogether>, Result<(), Error>) {
        let Some(observer) = &self.client.config.observer else {
            return self.send_laid(messages).await;
        };
        let own = messages.iter().map(Borrow::borrow).cloned();
        let mut observed: Vec<Message> = own.collect();
        for message in &mut observed {
            observer.sending(message);
        }
        Box::pin(self.send_laid(&observed)).await
    }

    async fn send_laid<M: Borrow<Message>>(
        &self,
        messages: &[M],
    ) -> (Vec<SentTogether>, Result<(), Error>) {
        let mut sent = Vec::new();
        let mut laid = match self.lay(messages) {
            Ok(laid) => laid,
            Err(error) => return (sent, Err(error)),
        };
        let requests = std::mem::take(&mut laid.ids);
        let mut all = messages.iter().map(Borrow::borrow).enumerate();
        for ids in requests {
            let mut items = Vec::with_capacity(ids.count);
            // The ids are asked first: behind the last one, no message is taken.
            for (id, (at, message)) in ids.each().zip(&mut all) {
                items.push(laid.item(message, at, id));
            }
            let Some(first) = messages.first().map(Borrow::borrow) else {
                break;
            };
            let outgoing = self.request(first, &items);
            match self.deliver(&outgoing, None, self.until()).await {
                Ok(mut answer) => {
                    let offset_ids = std::mem::take(&mut answer.offset_id);
                    sent.push(SentTogether {
                        answer,
                        ids,
                        offset_ids,
                    });
                }
                Err(error) => return (sent, Err(error)),
            }
        }
        (sent, Ok(()))
    }

    /// Shares messages out to requests. Nothing is sent before all of them are right.
    fn lay<M: Borrow<Message>>(&self, messages: &[M]) -> Result<Laid, Error> {
        self.open()?;
        let mut laid = Laid::default();
        let Some(first) = messages.first().map(Borrow::borrow) else {
            return Ok(laid);
        };
        TopicName::check(&self.client.names.full(&first.topic))?;
        let same = |message: &Message| {
            message.topic == first.topic
                && message.sharding_key == first.sharding_key
                && message.wait == first.wait
                && message.when == Deliver::Now
                && message.idempotency.is_none()
        };
        let max = self.options.body_max;
        laid.ends.reserve(messages.len());
        laid.properties.reserve(messages.len() * PROPERTIES);
        let mut ids = Ids {
            text: String::with_capacity(messages.len() * ID),
            count: 0,
        };
        let now = clock::wall_ms();
        let mut length = 0;
        for (at, message) in messages.iter().map(Borrow::borrow).enumerate() {
            if !same(message) {
                return Err(MessageError::Batch.into());
            }
            let begun = ids.text.len();
            self.client.ids.push(now, &mut ids.text);
            message.push_properties(&ids.text[begun..], &mut laid.properties)?;
            laid.ends.push(laid.properties.len());
            let item = laid.item(message, at, &ids.text[begun..]);
            let size = item.encoded_len();
            if item.body.is_empty() {
                return Err(MessageError::EmptyBody.into());
            }
            if size > max {
                return Err(MessageError::TooLong(size, max).into());
            }
            if length + size > max {
                let text = ids.text.split_off(begun);
                let next = Ids { text, count: 0 };
                laid.ids.push(std::mem::replace(&mut ids, next));
                length = 0;
            }
            length += size;
            ids.count += 1;
        }
        laid.ids.push(ids);
        Ok(laid)
    }

    fn request<'m>(&self, first: &Message, items: &'m [Item<'m>]) -> Outgoing<'m> {
        let mut properties = String::new();
        if !first.wait {
            model::message::append(&mut properties, model::message::key::WAIT, "false");
        }
        Outgoing {
            shown: self.client.names.shown(&first.topic),
            topic: self.client.names.full_shared(first.topic.clone()),
            sharding_key: first.sharding_key.clone(),
            id: String::new(),
            properties,
            body: Bytes::new(),
            batch: items,
            sys_flag: 0,
            flag: 0,
            born_at: clock::wall_ms(),
            once: None,
            needs: None,
        }
    }
}
