//! Batches: as many requests as their size needs.

use std::borrow::Borrow;

use model::TopicName;
use remoting::body::batch::{Item, push};

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

/// Size of an item without body and properties.
const ITEM: usize = 22;
/// What the properties of most messages take.
const PROPERTIES: usize = 96;
/// How long an id is, mostly.
const ID: usize = 32;

impl Shared {
    /// What was sent, request by request, and what became of the one behind.
    pub(super) async fn send_together<M: Borrow<Message>>(
        &self,
        messages: &[M],
    ) -> (Vec<SentTogether>, Result<(), Error>) {
        let mut sent = Vec::new();
        let requests = match &self.client.config.observer {
            None => self.requests(messages),
            Some(observer) => {
                let own = messages.iter().map(Borrow::borrow).cloned();
                let mut observed: Vec<Message> = own.collect();
                for message in &mut observed {
                    observer.sending(message);
                }
                self.requests(&observed)
            }
        };
        let requests = match requests {
            Ok(requests) => requests,
            Err(error) => return (sent, Err(error)),
        };
        for (outgoing, ids) in requests {
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

    /// The requests, each with the ids of its messages. Nothing is sent before all of them are right.
    fn requests<M: Borrow<Message>>(&self, messages: &[M]) -> Result<Vec<(Outgoing, Ids)>, Error> {
        self.open()?;
        let Some(first) = messages.first().map(Borrow::borrow) else {
            return Ok(Vec::new());
        };
        TopicName::check(&self.client.names.full(&first.topic))?;
        let same = |message: &Message| {
            message.topic == first.topic
                && message.sharding_key == first.sharding_key
                && message.wait == first.wait
                && message.when == Deliver::Now
                && message.idempotency.is_none()
        };
        let mut all = messages.iter().map(Borrow::borrow);
        if !all.all(same) {
            return Err(MessageError::Batch.into());
        }
        let max = self.options.body_max;
        let mut requests = Vec::new();
        let size = |message: &Message| ITEM + PROPERTIES + message.body.len();
        let all = messages.iter().map(Borrow::borrow);
        let mut body = Vec::with_capacity(all.map(size).sum::<usize>().min(max));
        let mut ids = Ids {
            text: String::with_capacity(messages.len() * ID),
            count: 0,
        };
        let mut properties = String::with_capacity(2 * PROPERTIES);
        let now = clock::wall_ms();
        for message in messages.iter().map(Borrow::borrow) {
            let begun = ids.text.len();
            self.client.ids.push(now, &mut ids.text);
            properties.clear();
            message.push_properties(&ids.text[begun..], &mut properties)?;
            let size = ITEM + message.body.len() + properties.len();
            if message.body.is_empty() {
                return Err(MessageError::EmptyBody.into());
            }
            if size > max {
                return Err(MessageError::TooLong(size, max).into());
            }
            if body.len() + size > max {
                let next = ids.text.split_off(begun);
                let whole = std::mem::replace(
                    &mut ids,
                    Ids {
                        text: next,
                        count: 0,
                    },
                );
                requests.push((self.request(first, std::mem::take(&mut body)), whole));
            }
            let item = Item {
                flag: message.flag,
                body: &message.body,
                properties: &properties,
                checksum: 0,
            };
            if !push(&mut body, &item) {
                return Err(MessageError::Properties(properties.len()).into());
            }
            ids.count += 1;
        }
        requests.push((self.request(first, body), ids));
        Ok(requests)
    }

    fn request(&self, first: &Message, body: Vec<u8>) -> Outgoing {
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
            body: body.into(),
            batch: true,
            sys_flag: 0,
            flag: 0,
            born_at: clock::wall_ms(),
            once: None,
            needs: None,
        }
    }
}
