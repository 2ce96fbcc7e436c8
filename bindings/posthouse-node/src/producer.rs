//! Sends: slabs in, buffers with results out.

use std::sync::Arc;

use bytes::Bytes;
use ffi::slab::{read_sends, write_received};
use ffi::{Checks, Credit, Done, Inbox, Outgoing};
use napi::bindgen_prelude::Uint32Array;
use napi_derive::napi;
use posthouse_client::{Begin, Compression, Decision, Message, ProducerOptions, Sent, Transaction};
use serde_json::json;

use crate::client::Client;
use crate::error::{Result, thrown};
use crate::frames::{Frame, Results, results};
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
    client: Arc<ffi::Client>,
    done: Arc<Inbox<Done>>,
    /// What brokers ask, of a producer of transactions.
    checks: Option<Arc<Checks>>,
}

#[napi]
impl Producer {
    /// A producer whose results ring this bell.
    #[napi(constructor)]
    pub fn new(port: &Port, client: &Client, bell: u32, options: Sending) -> Result<Producer> {
        let (sending, credit) = options.parts();
        let inner = ffi::Producer::open(client.inner(), &options.group, sending, credit);
        let inner = inner.map_err(thrown)?;
        Ok(Producer::over(port, client, bell, inner, None))
    }

    /// A producer of transactions; what brokers ask about them rings the bell of `checks`.
    #[napi(factory)]
    pub fn transactional(
        port: &Port,
        client: &Client,
        bell: u32,
        checks: u32,
        options: Sending,
    ) -> Result<Producer> {
        let (sending, credit) = options.parts();
        let group = &options.group;
        let inner = ffi::Producer::transactional(client.inner(), group, sending, credit);
        let (inner, asked) = inner.map_err(thrown)?;
        asked.ready.set_wake(Some(port.bell(checks)));
        Ok(Producer::over(port, client, bell, inner, Some(asked)))
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
        let done = self.done.clone();
        self.inner.submit(&mut left, done).map_err(thrown)?;
        Ok((count - left.len()) as u32)
    }

    /// What became of messages.
    #[napi]
    pub fn results(&self) -> Results {
        results(self.done.take(BURST))
    }

    /// Sends a slab of messages of one topic as one batch; returns each one's result.
    #[napi]
    pub fn batch(&self, call: u32, slab: &[u8]) {
        self.with(call, slab, async |producer, messages| {
            let sent = producer.send_batch(messages).await?;
            Ok(Value::Json(sent.iter().map(sent_json).collect()))
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

    /// Sends a message, and waits for the reply of the consumer that gets it.
    #[napi]
    pub fn request(&self, call: u32, slab: &[u8], limit_ms: f64) {
        self.with(call, slab, async move |producer, messages| {
            let reply = producer.request(one(messages)?, millis(limit_ms)).await?;
            Ok(Value::Messages(write_received([(0, &reply)])))
        });
    }

    /// Calls a delayed message back.
    #[napi]
    pub fn recall(&self, call: u32, handle: String) {
        self.with(call, &EMPTY, async move |producer, _| {
            let recalled = producer.recall(&handle).await?;
            let answer = json!({ "messageId": recalled.id, "recalled": recalled.recalled });
            Ok(Value::Json(answer))
        });
    }

    /// Sends a half message.
    #[napi]
    pub fn begin(&self, call: u32, slab: &[u8]) {
        self.with(call, slab, async |producer, messages| {
            let half = producer.begin(one(messages)?, &Begin::default()).await?;
            let transaction = half.transaction.to_string();
            let begun = json!({ "sent": sent_json(&half.sent), "transaction": transaction });
            Ok(Value::Json(begun))
        });
    }

    /// Decides about a half message: 0 commit, 1 rollback.
    #[napi]
    pub fn resolve(&self, call: u32, transaction: String, decision: u32) {
        let client = self.client.clone();
        self.calls.start(call, async move {
            let transaction = transaction.parse::<Transaction>();
            let transaction = transaction.map_err(|error| wrong(error.to_string()))?;
            let decision = decision_of(decision);
            client.get()?.resolve(&transaction, decision).await?;
            ffi::Result::Ok(Value::Nothing)
        });
    }

    /// Half messages that brokers ask about; null: none.
    #[napi]
    pub fn take_checks(&self) -> Option<Frame> {
        let taken = self.checks.as_ref()?.ready.take(BURST);
        if taken.is_empty() {
            return None;
        }
        let messages = taken.iter().map(|one| (one.id, &one.message.message));
        Some(write_received(messages).into())
    }

    /// What is decided about them: of each its id (low, high), and 0 commit, 1 rollback, 2 unknown.
    #[napi]
    pub fn answer_checks(&self, answers: Uint32Array) {
        if let Some(checks) = &self.checks {
            checks.settle(answers.chunks_exact(3).map(|numbers| {
                let id = u64::from(numbers[1]) << 32 | u64::from(numbers[0]);
                (id, decision_of(numbers[2]))
            }));
        }
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

impl Sending {
    fn parts(&self) -> (ProducerOptions, Credit) {
        let defaults = ProducerOptions::default();
        let compress = self.compress_over.map(|bytes| bytes as usize);
        let sending = ProducerOptions {
            timeout: millis(self.timeout_ms),
            retries: self.retries,
            compress_from: compress.unwrap_or(defaults.compress_from),
            compression: compress.map(|_| Compression::Zlib),
            ..defaults
        };
        let bytes = self.max_in_flight_bytes as usize;
        (sending, Credit::new(self.max_in_flight as usize, bytes))
    }
}

impl Producer {
    fn over(
        port: &Port,
        client: &Client,
        bell: u32,
        inner: ffi::Producer,
        checks: Option<Arc<Checks>>,
    ) -> Producer {
        Producer {
            calls: client.calls().clone(),
            inner: Arc::new(inner),
            client: client.inner().clone(),
            done: Arc::new(Inbox::waking(port.bell(bell))),
            checks,
        }
    }

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

/// A slab without messages.
const EMPTY: [u8; 8] = [0; 8];

fn one(messages: Vec<Message>) -> ffi::Result<Message> {
    let first = messages.into_iter().next();
    first.ok_or_else(|| wrong("there is no message"))
}

fn decision_of(number: u32) -> Decision {
    match number {
        0 => Decision::Commit,
        1 => Decision::Rollback,
        _ => Decision::Unknown,
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
        "replayed": sent.replayed,
    })
}
