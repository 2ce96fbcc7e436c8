//! Sends: slabs in, buffers with results out.

use std::sync::Arc;

use bytes::Bytes;
use ffi::slab::read_sends;
use ffi::{Credit, Inbox, Outgoing};
use napi_derive::napi;
use posthouse_client::{Compression, Message, ProducerOptions, Sent};
use serde_json::json;

use crate::client::Client;
use crate::error::{Result, thrown};
use crate::frames::{Results, results};
use crate::port::{Calls, Port};
use crate::value::{QueueName, Value, millis, queue_json, wrong};

/// How a producer works.
#[napi(object)]
pub struct Sending {
    /// Its group.
    pub group: String,
    /// Repetitions at other brokers.
    pub retries: u32,
    /// How long a send may take, ms.
    pub timeout_ms: f64,
    /// Bodies from this many bytes on are compressed; nothing: none is.
    pub compress_over: Option<u32>,
    /// Messages that may be on their way.
    pub max_in_flight: u32,
    /// Bytes of bodies that may be on their way.
    pub max_in_flight_bytes: f64,
}

/// Results that are crossed over at once.
const BURST: usize = 1024;

/// A producer.
#[napi]
pub struct Producer {
    calls: Calls,
    inner: Arc<ffi::Producer>,
    done: Arc<Inbox<(u64, ffi::Result<Sent>)>>,
}

#[napi]
impl Producer {
    /// A producer whose results ring this bell.
    #[napi(constructor)]
    pub fn new(port: &Port, client: &Client, bell: u32, options: Sending) -> Result<Producer> {
        let defaults = ProducerOptions::default();
        let sending = ProducerOptions {
            timeout: millis(options.timeout_ms),
            retries: options.retries,
            compress_from: options
                .compress_over
                .map_or(defaults.compress_from, |bytes| bytes as usize),
            compression: options.compress_over.map(|_| Compression::Zlib),
            ..defaults
        };
        let credit = Credit::new(
            options.max_in_flight as usize,
            options.max_in_flight_bytes as usize,
        );
        let inner = ffi::Producer::open(client.inner(), &options.group, sending, credit);
        Ok(Producer {
            calls: client.calls().clone(),
            inner: Arc::new(inner.map_err(thrown)?),
            done: Arc::new(Inbox::waking(port.bell(bell))),
        })
    }

    /// Sends a slab of messages; the first one has this id, the next ones those behind it. Returns how many
    /// of them, from the first on, there was credit for.
    #[napi]
    pub fn submit(
        &self,
        slab: &[u8],
        first: f64,
        queue: Option<QueueName>,
        limit_ms: Option<f64>,
    ) -> Result<u32> {
        let messages = read_sends(Bytes::copy_from_slice(slab)).map_err(thrown)?;
        let (count, first) = (messages.len(), first as u64);
        let queue = queue.map(Into::into);
        let limit = limit_ms.map(millis);
        let outgoing = |(message, id): (Message, u64)| Outgoing {
            id,
            message,
            queue: queue.clone(),
            limit,
        };
        let mut left = messages.into_iter().zip(first..).map(outgoing).collect();
        self.inner.submit(&mut left, &self.done).map_err(thrown)?;
        Ok((count - left.len()) as u32)
    }

    /// What became of messages.
    #[napi]
    pub fn results(&self) -> Results {
        results(self.done.take(BURST))
    }

    /// Sends a slab of messages of one topic as one batch; returns the first one's result.
    #[napi]
    pub fn batch(&self, call: u32, slab: &[u8]) {
        self.with(call, slab, async |producer, messages| {
            let sent = producer.send_batch(messages).await?;
            let first = sent
                .first()
                .ok_or_else(|| wrong("a batch has no message"))?;
            Ok(Value::Json(sent_json(first)))
        });
    }

    /// Sends a slab of messages, whatever becomes of them.
    #[napi]
    pub fn oneway(&self, call: u32, slab: &[u8]) {
        self.with(call, slab, async |producer, messages| {
            for message in messages {
                producer.send_oneway(message).await?;
            }
            Ok(Value::Nothing)
        });
    }

    /// Waits for what is on its way, then takes leave.
    #[napi]
    pub fn close(&self, call: u32, limit: f64) {
        let inner = self.inner.clone();
        self.calls.block(call, move || {
            inner.close(millis(limit));
            Ok(Value::Nothing)
        });
    }
}

impl Producer {
    fn with<F>(
        &self,
        call: u32,
        slab: &[u8],
        work: impl FnOnce(posthouse_client::Producer, Vec<Message>) -> F,
    ) where
        F: Future<Output = ffi::Result<Value>> + Send + 'static,
    {
        let begun = self.inner.get().cloned().and_then(|producer| {
            let messages = read_sends(Bytes::copy_from_slice(slab))?;
            Ok((producer, messages))
        });
        match begun {
            Err(error) => self.calls.refuse(call, error),
            Ok((producer, messages)) => self.calls.start(call, work(producer, messages)),
        }
    }
}

/// A result, as JSON.
pub fn sent_json(sent: &Sent) -> serde_json::Value {
    json!({
        "status": sent.status as u32,
        "messageId": sent.id,
        "offsetMessageId": sent.offset_id,
        "queue": queue_json(&sent.queue),
        "queueOffset": sent.queue_offset,
        "recallHandle": sent.recall_handle,
    })
}
