//! Messages that are pushed: taken many at once, settled many at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ffi::Delivered;
use ffi::slab::write_received;
use napi::bindgen_prelude::Uint32Array;
use napi_derive::napi;
use posthouse_client::{
    FlowLimits, Producer, ProducerOptions, PushOptions, Queue, Received, Settle,
};

use crate::client::Client;
use crate::error::{Result, thrown};
use crate::frames::Frame;
use crate::port::{Calls, Port};
use crate::value::{QueueName, Value, Wanted, from_of, millis, model_of, wrong};

/// How a push consumer works.
#[napi(object)]
pub struct Consuming {
    /// Its group.
    pub group: String,
    /// What it wants.
    pub wanted: Vec<Wanted>,
    /// Whether messages of a queue come one after the other.
    pub orderly: bool,
    /// Whether each member gets all.
    pub broadcast: bool,
    /// Messages that may be delivered and not settled.
    pub concurrency: u32,
    /// Where a group without an offset begins; see [`from_of`].
    pub start_from: f64,
    /// Deliveries before a message is a dead letter.
    pub max_attempts: Option<u32>,
    /// Messages of a queue that may be here.
    pub cache_messages: u32,
    /// Bytes of a queue that may be here.
    pub cache_bytes: f64,
    /// Where a member that gets all keeps its offsets.
    pub offsets_file: Option<String>,
}

/// A push consumer.
#[napi]
pub struct PushConsumer {
    calls: Calls,
    client: Arc<ffi::Client>,
    bell: Arc<dyn ffi::Wake>,
    inner: Arc<OnceLock<ffi::PushConsumer>>,
    /// Messages whose sender waits for a reply, until they are settled.
    asking: Mutex<HashMap<u64, Received>>,
    replier: Arc<OnceLock<Producer>>,
}

/// Messages that are crossed over at once, and their bytes: so little that the memory which the garbage collector gave
/// back is used again while the processor still has it, and that who keeps a message does not keep much.
const BURST: usize = 1024;
const SLAB: usize = 128 << 10;

#[napi]
impl PushConsumer {
    /// A consumer whose deliveries ring this bell; not started.
    #[napi(constructor)]
    pub fn new(port: &Port, client: &Client, bell: u32) -> PushConsumer {
        PushConsumer {
            calls: client.calls().clone(),
            client: client.inner().clone(),
            bell: port.bell(bell),
            inner: Arc::default(),
            asking: Mutex::default(),
            replier: Arc::default(),
        }
    }

    /// Starts it.
    #[napi]
    pub fn open(&self, call: u32, options: Consuming) {
        let (client, bell, inner) = (self.client.clone(), self.bell.clone(), self.inner.clone());
        let limits = FlowLimits {
            messages: options.cache_messages as usize,
            bytes: options.cache_bytes as usize,
            ..FlowLimits::default()
        };
        let pushing = PushOptions {
            model: model_of(options.broadcast),
            offsets_file: options.offsets_file.map(Into::into),
            from: from_of(options.start_from),
            orderly: options.orderly,
            concurrency: options.concurrency as usize,
            max_attempts: options.max_attempts,
            limits,
            ..PushOptions::default()
        };
        let wanted = options.wanted.into_iter().map(Wanted::parts).collect();
        self.calls.start(call, async move {
            let opened = ffi::PushConsumer::open(client, options.group, wanted, pushing).await?;
            opened.deliveries().ready.set_wake(Some(bell));
            let _ = inner.set(opened);
            ffi::Result::Ok(Value::Nothing)
        });
    }

    /// Delivered messages; null: none.
    #[napi]
    pub fn take(&self) -> Option<Frame> {
        let size = |one: &Delivered| one.message.body.len() + one.message.property_text().len();
        let ready = &self.inner.get()?.deliveries().ready;
        let taken = ready.take_within(BURST, SLAB, size);
        if taken.is_empty() {
            return None;
        }
        let asks = |one: &&Delivered| one.message.property(REPLY_TO_CLIENT).is_some();
        let asking = taken.iter().filter(asks);
        let asking = asking.map(|one| (one.id, one.message.clone()));
        self.lock_asking().extend(asking);
        let messages = taken.iter().map(|one| (one.id, &one.message));
        Some(write_received(messages).into())
    }

    /// What became of messages: of each its id (low, high), and 0 done, 1 again, 2 never, or 3 and more:
    /// again after n - 3 milliseconds.
    #[napi]
    pub fn settle(&self, settled: Uint32Array) {
        let Some(inner) = self.inner.get() else {
            return;
        };
        let mut asking = self.lock_asking();
        let settled = settled.chunks_exact(3).map(|numbers| {
            let id = id_of(numbers[0], numbers[1]);
            if !asking.is_empty() {
                asking.remove(&id);
            }
            let settle = match numbers[2] {
                0 => Settle::Ack,
                1 => Settle::Retry(None),
                2 => Settle::Reject,
                after => Settle::RetryAfter(Duration::from_millis(u64::from(after - 3))),
            };
            (id, settle)
        });
        inner.deliveries().settle(settled);
    }

    /// Replies to a message that was delivered and is not settled.
    #[napi]
    pub fn reply(&self, call: u32, low: u32, high: u32, body: &[u8]) {
        let asked = self.lock_asking().get(&id_of(low, high)).cloned();
        let (client, inner) = (self.client.clone(), self.inner.clone());
        let (replier, body) = (self.replier.clone(), Bytes::copy_from_slice(body));
        self.calls.start(call, async move {
            let asked = asked.ok_or_else(|| wrong("this message asks for no reply"))?;
            let replier = match (replier.get(), inner.get()) {
                (Some(replier), _) => replier,
                (None, None) => return Err(ffi::Error::closed("consumer")),
                (None, Some(inner)) => {
                    // Brokers need not hear of it: nobody asks it anything.
                    let options = ProducerOptions {
                        announce: false,
                        ..ProducerOptions::default()
                    };
                    let group = inner.get()?.group();
                    let made = client.get()?.producer_with(group, options)?;
                    replier.get_or_init(|| made)
                }
            };
            replier.reply(&asked, body).await?;
            Ok(Value::Nothing)
        });
    }

    /// Delivers nothing, or goes on.
    #[napi]
    pub fn set_paused(&self, paused: bool) -> Result<()> {
        let Some(inner) = self.inner.get() else {
            return Ok(());
        };
        let inner = inner.get().map_err(thrown)?;
        match paused {
            true => inner.pause(),
            false => inner.resume(),
        }
        Ok(())
    }

    /// The queues that it reads.
    #[napi]
    pub fn queues(&self) -> Result<Vec<QueueName>> {
        let Some(inner) = self.inner.get() else {
            return Ok(Vec::new());
        };
        let queues = inner.get().map_err(thrown)?.queues();
        Ok(queues.into_iter().map(named).collect())
    }

    /// Leaves the group.
    #[napi]
    pub fn close(&self, call: u32, limit: f64) {
        let inner = self.inner.clone();
        self.calls.block(call, move || {
            if let Some(inner) = inner.get() {
                inner.close(millis(limit).max(Duration::from_millis(1)));
            }
            Ok(Value::Nothing)
        });
    }
}

impl PushConsumer {
    fn lock_asking(&self) -> MutexGuard<'_, HashMap<u64, Received>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The property of a message whose sender waits for a reply (Java's `PROPERTY_MESSAGE_REPLY_TO_CLIENT`).
const REPLY_TO_CLIENT: &str = "REPLY_TO_CLIENT";

fn id_of(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// A queue's name.
pub fn named(queue: Queue) -> QueueName {
    QueueName {
        topic: queue.topic.to_string(),
        broker: queue.broker.to_string(),
        queue_id: queue.id,
    }
}
