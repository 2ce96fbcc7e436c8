//! What a push consumer delivers, for a language that takes and settles.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use posthouse_client::{Filter, PushOptions, Received, Settle};
use slab::Slab;
use tokio::sync::oneshot;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::inbox::Inbox;
use crate::runtime::{Parents, Runtime};

/// A message that was delivered and is to be settled; or a question about one.
#[derive(Debug)]
pub struct Delivered<Q = Received> {
    /// By which it is settled.
    pub id: u64,
    /// The message.
    pub message: Q,
}

/// Messages that wait to be taken, and those that wait to be settled. How many there are together is
/// bounded by the consumer's concurrency.
pub struct Deliveries<Q = Received, A = Settle> {
    /// What can be taken.
    pub ready: Inbox<Delivered<Q>>,
    open: Mutex<Open<A>>,
}

struct Open<A> {
    waiting: Slab<(u32, oneshot::Sender<A>)>,
    /// Tells a delivery from an earlier one in the same place.
    turn: u32,
}

impl<Q, A> Default for Deliveries<Q, A> {
    fn default() -> Deliveries<Q, A> {
        let open = Open {
            waiting: Slab::new(),
            turn: 0,
        };
        Deliveries {
            ready: Inbox::default(),
            open: Mutex::new(open),
        }
    }
}

impl<Q, A> Deliveries<Q, A> {
    /// Hands one over and waits for what becomes of it; `None` if nobody will say.
    pub(crate) async fn deliver(&self, message: Q) -> Option<A> {
        let (settle, settled) = oneshot::channel();
        let id = {
            let mut open = self.lock();
            if self.ready.is_closed() {
                return None;
            }
            open.turn = open.turn.wrapping_add(1);
            let turn = open.turn;
            let place = open.waiting.insert((turn, settle));
            u64::from(turn) << 32 | place as u64
        };
        self.ready.push([Delivered { id, message }]);
        settled.await.ok()
    }

    /// Says what became of messages. Unknown ids are ignored: their consumer gave them up.
    pub fn settle(&self, settled: impl IntoIterator<Item = (u64, A)>) {
        let mut open = self.lock();
        for (id, settle) in settled {
            let (turn, place) = ((id >> 32) as u32, (id & u64::from(u32::MAX)) as usize);
            let known = open.waiting.get(place).is_some_and(|(own, _)| *own == turn);
            if known {
                let (_, waiting) = open.waiting.remove(place);
                let _ = waiting.send(settle);
            }
        }
    }

    /// Nothing more is delivered, and nobody says what becomes of what was.
    pub(crate) fn close(&self) {
        let mut open = self.lock();
        self.ready.close();
        open.waiting.clear();
    }

    /// How many messages were delivered and are not settled.
    pub fn unsettled(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, Open<A>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A push consumer whose messages the language takes.
pub struct PushConsumer {
    runtime: Arc<Runtime>,
    inner: Parents<posthouse_client::PushConsumer>,
    deliveries: Arc<Deliveries>,
    closed: AtomicBool,
}

impl PushConsumer {
    /// Starts a consumer. To be run on the runtime, see [`Runtime::wait`].
    ///
    /// # Errors
    /// [`crate::Code::Config`] for names that are none, or a group that this client has a consumer of;
    /// [`crate::Code::Filter`] for a filter that the broker refuses.
    pub async fn open(
        client: Arc<Client>,
        group: String,
        wanted: Vec<(String, Filter)>,
        options: PushOptions,
    ) -> Result<PushConsumer> {
        let deliveries = Arc::new(Deliveries::default());
        let wanted: Vec<(&str, Filter)> = wanted
            .iter()
            .map(|(topic, filter)| (topic.as_str(), filter.clone()))
            .collect();
        let handing = deliveries.clone();
        let options = PushOptions {
            grace: GRACE,
            ..options
        };
        let handler = move |message| {
            let handing = handing.clone();
            async move {
                match handing.deliver(message).await {
                    Some(settle) => settle,
                    // Nobody will settle it. It is not done and not given back either: it comes to the
                    // next member as if for the first time, once this one has left.
                    None => std::future::pending().await,
                }
            }
        };
        let inner = client.get()?;
        let inner = inner
            .push_consumer(&group, &wanted, options, handler)
            .await?;
        Ok(PushConsumer {
            runtime: client.runtime().clone(),
            inner: Parents::new(inner),
            deliveries,
            closed: AtomicBool::new(false),
        })
    }

    /// What it delivers.
    pub fn deliveries(&self) -> &Arc<Deliveries> {
        &self.deliveries
    }

    /// The consumer itself.
    ///
    /// # Errors
    /// [`crate::Code::Closed`], [`crate::Code::Forked`].
    pub fn get(&self) -> Result<&posthouse_client::PushConsumer> {
        self.runtime.check()?;
        match self.closed.load(Ordering::Acquire) {
            true => Err(Error::closed("consumer")),
            false => Ok(self.inner.get()),
        }
    }

    /// The runtime that it works on.
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// Leaves the group; what was settled until now counts, what was not comes to the next member. A
    /// second time, and in a forked child, it does nothing.
    pub fn close(&self, limit: Duration) {
        if self.runtime.is_parents() || self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = self.inner.get().clone();
        let leave = async move { inner.shutdown().await };
        let _ = self.runtime.wait_for(limit.max(GRACE * 2), leave);
        self.deliveries.close();
    }
}

impl Drop for PushConsumer {
    fn drop(&mut self) {
        if !self.runtime.is_parents() && !self.closed.swap(true, Ordering::AcqRel) {
            let inner = self.inner.get().clone();
            drop(self.runtime.spawn(async move { inner.shutdown().await }));
        }
    }
}

/// The language waits for its own handlers before it closes; what it has not settled by then is not waited
/// for.
const GRACE: Duration = Duration::from_millis(200);
