//! Messages for who asks for them.

use std::time::Duration;

use ffi::slab::write_received;
use napi_derive::napi;
use posthouse_client::{ConsumeFrom, PullConsumer as Inner, PullOptions, Queue};
use serde_json::json;

use crate::client::Client;
use crate::error::{Result, thrown};
use crate::frames::Frame;
use crate::port::Calls;
use crate::value::{QueueName, Value, Wanted, from_of, millis, model_of, queue_json, time_of};

/// How a pull consumer works.
#[napi(object)]
pub struct Pulling {
    /// Its group.
    pub group: String,
    /// How often offsets are told; nothing: only when asked to.
    pub auto_commit_ms: Option<f64>,
    /// Whether each member gets all.
    pub broadcast: bool,
    /// Where such a member keeps its offsets.
    pub offsets_file: Option<String>,
    /// Where a group without an offset begins; see [`from_of`].
    pub start_from: f64,
    /// Messages handed out at once.
    pub batch: u32,
}

/// A consumer that is asked.
#[napi]
pub struct PullConsumer {
    calls: Calls,
    inner: Inner,
    client: posthouse_client::Client,
}

#[napi]
impl PullConsumer {
    /// A consumer that reads nothing yet.
    #[napi(constructor)]
    pub fn new(client: &Client, options: Pulling) -> Result<PullConsumer> {
        let owner = client.inner().get().map_err(thrown)?.clone();
        let runtime = client.inner().runtime();
        let defaults = PullOptions::default();
        let pulling = PullOptions {
            model: model_of(options.broadcast),
            offsets_file: options.offsets_file.map(Into::into),
            from: from_of(options.start_from),
            batch: options.batch as usize,
            auto_commit: options.auto_commit_ms.is_some(),
            persist_period: options
                .auto_commit_ms
                .map_or(defaults.persist_period, millis),
            ..defaults
        };
        let inner = runtime.enter(|| owner.pull_consumer(&options.group, pulling));
        Ok(PullConsumer {
            calls: client.calls().clone(),
            inner: inner.map_err(thrown)?,
            client: owner,
        })
    }

    /// Shares a topic's queues with the group.
    #[napi]
    pub fn subscribe(&self, call: u32, wanted: Wanted) {
        let inner = self.inner.clone();
        self.calls.start(call, async move {
            let (topic, filter) = wanted.parts();
            inner.subscribe(&topic, &filter).await?;
            ffi::Result::Ok(Value::Nothing)
        });
    }

    /// Reads these queues and no others.
    #[napi]
    pub fn assign(&self, call: u32, queues: Vec<QueueName>) {
        let inner = self.inner.clone();
        let queues: Vec<Queue> = queues.into_iter().map(Into::into).collect();
        self.calls.start(call, async move {
            inner.assign(&queues).await?;
            ffi::Result::Ok(Value::Nothing)
        });
    }

    /// The next messages, of one queue.
    #[napi]
    pub fn poll(&self, call: u32, max: u32, wait_ms: f64) {
        let inner = self.inner.clone();
        self.calls.start(call, async move {
            let messages = inner.poll_up_to(max as usize, millis(wait_ms)).await?;
            let messages = messages.iter().map(|message| (0, message));
            ffi::Result::Ok(Value::Messages(write_received(messages)))
        });
    }

    /// One message, if one is here; null: none.
    #[napi]
    pub fn poll_one(&self) -> Result<Option<Frame>> {
        let message = self.inner.poll_one().map_err(thrown)?;
        Ok(message.map(|message| write_received([(0, &message)]).into()))
    }

    /// The offset of the next message that it gets; null if the queue is not its own.
    #[napi]
    pub fn position(&self, queue: QueueName) -> Option<f64> {
        self.inner.position(&queue.into()).map(|at| at as f64)
    }

    /// Goes on at this offset of a queue, or where [`from_of`] says; returns the offset.
    #[napi]
    pub fn seek(&self, call: u32, queue: QueueName, offset: Option<f64>, from: f64) {
        let (inner, admin) = (self.inner.clone(), self.client.admin());
        let queue = self.client.names().full_queue(&queue.into());
        self.calls.start(call, async move {
            let offset = match (offset, from_of(from)) {
                (Some(offset), _) => offset as u64,
                (None, ConsumeFrom::First) => admin.min_offset(&queue).await?,
                (None, ConsumeFrom::Last) => admin.max_offset(&queue).await?,
                (None, ConsumeFrom::Time(_)) => admin.offset_at(&queue, time_of(from)).await?,
            };
            inner.seek(&queue, offset)?;
            ffi::Result::Ok(Value::Json(json!(offset)))
        });
    }

    /// The offset of the first message that was stored at this time or later.
    #[napi]
    pub fn offset_at(&self, call: u32, queue: QueueName, time: f64) {
        let admin = self.client.admin();
        let queue = self.client.names().full_queue(&queue.into());
        self.calls.start(call, async move {
            let offset = admin.offset_at(&queue, time_of(time)).await?;
            ffi::Result::Ok(Value::Json(json!(offset)))
        });
    }

    /// The queues of a topic.
    #[napi]
    pub fn queues(&self, call: u32, topic: String) {
        let (admin, names) = (self.client.admin(), self.client.names().clone());
        self.calls.start(call, async move {
            let queues = admin.queues(&names.full(&topic)).await?.into_iter();
            let queues = queues.map(|queue| queue_json(&names.short_queue(queue)));
            let queues: Vec<_> = queues.collect();
            ffi::Result::Ok(Value::Json(json!(queues)))
        });
    }

    /// Tells brokers what was handed out.
    #[napi]
    pub fn commit(&self, call: u32) {
        let inner = self.inner.clone();
        self.calls.start(call, async move {
            inner.commit().await?;
            ffi::Result::Ok(Value::Nothing)
        });
    }

    /// Tells a broker that the group goes on at this offset of a queue.
    #[napi]
    pub fn commit_at(&self, call: u32, queue: QueueName, offset: f64) {
        let inner = self.inner.clone();
        self.calls.start(call, async move {
            inner.commit_at(&queue.into(), offset as u64).await?;
            ffi::Result::Ok(Value::Nothing)
        });
    }

    /// What the group has done in a queue, or null.
    #[napi]
    pub fn committed(&self, call: u32, queue: QueueName) {
        let inner = self.inner.clone();
        self.calls.start(call, async move {
            let offset = inner.committed(&queue.into()).await?;
            ffi::Result::Ok(Value::Json(json!(offset)))
        });
    }

    /// Reads nothing of these queues, or goes on.
    #[napi]
    pub fn set_paused(&self, queues: Vec<QueueName>, paused: bool) {
        let queues: Vec<Queue> = queues.into_iter().map(Into::into).collect();
        match paused {
            true => self.inner.pause(&queues),
            false => self.inner.resume(&queues),
        }
    }

    /// Ends all polls; each still has its outcome.
    #[napi]
    pub fn end_polls(&self) {
        self.inner.end_polls();
    }

    /// Tells offsets if it does so by itself, and gives its queues up.
    #[napi]
    pub fn close(&self, call: u32, limit: f64) {
        let inner = self.inner.clone();
        let limit = millis(limit).max(Duration::from_millis(1));
        self.calls.start(call, async move {
            // Who does not answer in time learns of it when the client leaves.
            let _ = tokio::time::timeout(limit, inner.shutdown()).await;
            ffi::Result::Ok(Value::Nothing)
        });
    }
}
