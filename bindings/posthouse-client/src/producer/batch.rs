//! Batches: as many requests as their size needs.

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

/// Size of an item without body and properties.
const ITEM: usize = 22;
/// What the properties of most messages take.
const PROPERTIES: usize = 96;

impl Shared {
    pub(super) async fn send_batch(&self, messages: &[Message]) -> Result<Vec<Sent>, BatchError> {
        let Some(observer) = &self.client.config.observer else {
            return self.send_batch_as_it_is(messages).await;
        };
        let mut observed = messages.to_vec();
        for message in &mut observed {
            observer.sending(message);
        }
        self.send_batch_as_it_is(&observed).await
    }

    async fn send_batch_as_it_is(&self, messages: &[Message]) -> Result<Vec<Sent>, BatchError> {
        let mut sent = Vec::with_capacity(messages.len());
        let requests = match self.requests(messages) {
            Ok(requests) => requests,
            Err(error) => return Err(BatchError { sent, error }),
        };
        for (outgoing, ids) in requests {
            match self.deliver(&outgoing, None, self.until()).await {
                Ok(answer) => split(answer, ids, &mut sent),
                Err(error) => return Err(BatchError { sent, error }),
            }
        }
        Ok(sent)
    }

    /// The requests, each with the ids of its messages. Nothing is sent before all of them are right.
    fn requests(&self, messages: &[Message]) -> Result<Vec<(Outgoing, Vec<String>)>, Error> {
        self.open()?;
        let Some(first) = messages.first() else {
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
        if !messages.iter().all(same) {
            return Err(MessageError::Batch.into());
        }
        let max = self.options.body_max;
        let mut requests = Vec::new();
        let size = |message: &Message| ITEM + PROPERTIES + message.body.len();
        let all: usize = messages.iter().map(size).sum();
        let mut body = Vec::with_capacity(all.min(max));
        let mut ids = Vec::with_capacity(messages.len());
        let now = clock::wall_ms();
        for message in messages {
            let mut id = String::with_capacity(32);
            self.client.ids.push(now, &mut id);
            let properties = message.property_string(&id)?;
            let size = ITEM + message.body.len() + properties.len();
            if message.body.is_empty() {
                return Err(MessageError::EmptyBody.into());
            }
            if size > max {
                return Err(MessageError::TooLong(size, max).into());
            }
            if body.len() + size > max {
                let whole = (std::mem::take(&mut body), std::mem::take(&mut ids));
                requests.push(self.request(first, whole));
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
            ids.push(id);
        }
        requests.push(self.request(first, (body, ids)));
        Ok(requests)
    }

    fn request(
        &self,
        first: &Message,
        (body, ids): (Vec<u8>, Vec<String>),
    ) -> (Outgoing, Vec<String>) {
        let mut properties = String::new();
        if !first.wait {
            model::message::append(&mut properties, model::message::key::WAIT, "false");
        }
        let outgoing = Outgoing {
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
        };
        (outgoing, ids)
    }
}

/// One answer for each message of a request: they lie one behind the other. The ids of all stand in one text,
/// which no message's answer may copy.
fn split(mut answer: Sent, ids: Vec<String>, sent: &mut Vec<Sent>) {
    let offset_ids = std::mem::take(&mut answer.offset_id);
    let mut offset_ids = offset_ids.split(',');
    for (at, id) in ids.into_iter().enumerate() {
        sent.push(Sent {
            id,
            offset_id: offset_ids.next().unwrap_or_default().to_owned(),
            queue_offset: answer.queue_offset + at as u64,
            ..answer.clone()
        });
    }
}
