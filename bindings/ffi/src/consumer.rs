//! What a push consumer delivers, for a language that takes and settles.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use posthouse_client::{
    Check, Decision, Filter, Handed, Open, PushOptions, Received, Settle, Takes, settle_all,
};
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

/// With which something that was delivered is settled.
pub trait Settles<A>: Sized {
    /// Says what became of them.
    fn settle(settled: Vec<(Self, A)>);
}

impl Settles<Settle> for Open {
    fn settle(settled: Vec<(Open, Settle)>) {
        settle_all(settled);
    }
}

impl<A> Settles<A> for oneshot::Sender<A> {
    fn settle(settled: Vec<(oneshot::Sender<A>, A)>) {
        for (waiting, answer) in settled {
            // Who asked may be gone.
            let _ = waiting.send(answer);
        }
    }
}

/// Messages that wait to be taken, and those that wait to be settled. How many there are together is
/// bounded by the consumer's concurrency.
pub struct Deliveries<Q = Received, S = Open> {
    /// What can be taken.
    pub ready: Inbox<Delivered<Q>>,
    open: Mutex<Waiting<S>>,
}

struct Waiting<S> {
    all: Slab<(u32, S)>,
    /// Tells a delivery from an earlier one in the same place.
    turn: u32,
}

impl<Q, S> Default for Deliveries<Q, S> {
    fn default() -> Deliveries<Q, S> {
        let open = Waiting {
            all: Slab::new(),
            turn: 0,
        };
        Deliveries {
            ready: Inbox::default(),
            open: Mutex::new(open),
        }
    }
}

impl<Q, S> Deliveries<Q, S> {
    /// Hands many over at once. If nobody will take them, they are never settled.
    pub(crate) fn deliver(&self, handed: impl IntoIterator<Item = (Q, S)>) {
        let mut open = self.lock();
        if self.ready.is_closed() {
            return;
        }
        let place = |(message, settles)| {
            open.turn = open.turn.wrapping_add(1);
            let turn = open.turn;
            let place = open.all.insert((turn, settles));
            let id = u64::from(turn) << 32 | place as u64;
            Delivered { id, message }
        };
        let delivered: Vec<Delivered<Q>> = handed.into_iter().map(place).collect();
        drop(open);
        self.ready.push(delivered);
    }

    /// Says what became of messages. Unknown ids are ignored: their consumer gave them up.
    pub fn settle<A>(&self, settled: impl IntoIterator<Item = (u64, A)>)
    where
        S: Settles<A>,
    {
        let mut open = self.lock();
        let known = settled.into_iter().filter_map(|(id, answer)| {
            let (turn, place) = ((id >> 32) as u32, (id & u64::from(u32::MAX)) as usize);
            let known = open.all.get(place).is_some_and(|(own, _)| *own == turn);
            known.then(|| (open.all.remove(place).1, answer))
        });
        let known: Vec<(S, A)> = known.collect();
        drop(open);
        S::settle(known);
    }

    /// Nothing more is delivered, and nobody says what becomes of what was.
    pub(crate) fn close(&self) {
        let mut open = self.lock();
        self.ready.close();
        open.all.clear();
    }

    /// How many messages were delivered and are not settled.
    pub fn unsettled(&self) -> usize {
        self.lock().all.len()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<S>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Takes for Deliveries {
    fn take(&self, messages: Vec<Handed>) {
        self.deliver(messages.into_iter().map(|one| (one.message, one.open)));
    }
}

/// Questions about half messages that nobody decided about.
pub type Checks = Deliveries<Check, oneshot::Sender<Decision>>;

impl Checks {
    /// Hands a question over and waits for what is decided; `None` if nobody will say.
    pub(crate) async fn ask(&self, asked: Check) -> Option<Decision> {
        let (decide, decided) = oneshot::channel();
        self.deliver([(asked, decide)]);
        decided.await.ok()
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
        let options = PushOptions {
            grace: GRACE,
            ..options
        };
        let inner = client.get()?;
        let inner = inner
            .push_consumer_taking(&group, &wanted, options, deliveries.clone())
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

    /// The same, but nothing in a forked child: a thread of the parent's may have been at them when it forked, and
    /// nobody gives their lock back here.
    pub fn own_deliveries(&self) -> Option<&Arc<Deliveries>> {
        (!self.runtime.is_parents()).then_some(&self.deliveries)
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
        // What was not settled by now never will be: nothing waits for it.
        self.deliveries.close();
        let inner = self.inner.get().clone();
        let leave = async move { inner.shutdown().await };
        let _ = self.runtime.wait_for(limit.max(GRACE * 2), leave);
    }
}

impl Drop for PushConsumer {
    fn drop(&mut self) {
        if !self.runtime.is_parents() && !self.closed.swap(true, Ordering::AcqRel) {
            let (inner, deliveries) = (self.inner.get().clone(), self.deliveries.clone());
            // What nobody settles any more holds the queue that holds the deliveries.
            deliveries.close();
            drop(self.runtime.spawn(async move { inner.shutdown().await }));
        }
    }
}

/// The language waits for its own handlers before it closes. This much is left to what was settled and is on its way
/// back to its broker.
const GRACE: Duration = Duration::from_millis(200);
