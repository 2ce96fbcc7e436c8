//! The half of a consumer that reads: which queues are its own, from where, and what was pulled.
//!
//! A push consumer hands what was pulled to handlers, a pull consumer to whoever asks. Each queue has a
//! task that pulls and, in a push consumer, one that handles; both end when the queue is somebody
//! else's.

mod asked;
mod offsets;
mod pull;
mod rebalance;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::GroupName;
use remoting::body::{ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel, SubscriptionData};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::client::Inner;
use crate::clock;
use crate::error::Result;
use crate::filter::{Filter, Wanted};
use crate::process_queue::{FlowLimits, ProcessQueue};
use crate::push_consumer::Settle;
use crate::queue::Queue;
use crate::received::Received;
use crate::strategy::Strategy;
use offsets::Offsets;

/// So many messages are handed out one by one of a queue before it is another's turn.
const TURN: usize = 64;

/// Where a group begins in a queue for which it has no offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsumeFrom {
    /// At its end; a young topic's queue is read from its start all the same, as Apache's brokers say.
    #[default]
    Last,
    /// At its start.
    First,
    /// At the first message stored at this time or later, milliseconds since the Unix epoch.
    Time(i64),
}

/// Whether a group's members share the messages or each gets all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Model {
    /// They share.
    #[default]
    Clustering,
    /// Each gets all.
    Broadcasting,
}

/// How queues are shared out and read.
#[derive(Clone, Debug)]
pub(crate) struct ReadOptions {
    pub(crate) model: Model,
    pub(crate) from: ConsumeFrom,
    pub(crate) strategy: Strategy,
    pub(crate) limits: FlowLimits,
    /// Messages asked for at once.
    pub(crate) batch: i32,
    /// How long a broker may hold a pull.
    pub(crate) hold: Duration,
    pub(crate) orderly: bool,
    pub(crate) rebalance_period: Duration,
    pub(crate) persist_period: Duration,
    /// Whether offsets are told to brokers as they move.
    pub(crate) auto_commit: bool,
    /// A pull consumer: another kind in heartbeats, another bit in pulls.
    pub(crate) lite: bool,
    /// How long the end waits for what is being handled.
    pub(crate) grace: Duration,
    /// Where a broadcasting member keeps its offsets.
    pub(crate) offsets_file: Option<PathBuf>,
}

/// Starts what handles a queue's messages.
type Handle = dyn Fn(&Arc<Reader>, Arc<ProcessQueue>) -> Option<JoinHandle<()>> + Send + Sync;

/// Handles one message, for who asks about just that.
pub(crate) type Direct = dyn Fn(Received) -> Handled + Send + Sync;
/// What a handler of the user's comes to.
pub(crate) type Handled = Pin<Box<dyn Future<Output = Settle> + Send>>;

/// See the head of this file.
pub(crate) struct Reader {
    pub(crate) client: Arc<Inner>,
    pub(crate) group: Arc<str>,
    pub(crate) options: ReadOptions,
    pub(crate) offsets: Offsets,
    wanted: Mutex<BTreeMap<Arc<str>, Arc<Wanted>>>,
    queues: Mutex<HashMap<Queue, Held>>,
    /// Counts what was handed out: whose turn it is.
    turn: AtomicUsize,
    handle: Box<Handle>,
    /// Of push consumers.
    direct: Option<Arc<Direct>>,
    started_at: i64,
    /// Rebalance now.
    rebalance: Arc<Notify>,
    /// Something arrived in some queue: for pull consumers.
    pub(crate) arrived: Notify,
    polls_ended: AtomicBool,
    tasks: Mutex<Tasks>,
    stopped: AtomicBool,
}

#[derive(Default)]
struct Tasks {
    rebalance: Option<JoinHandle<()>>,
    offsets: Option<JoinHandle<()>>,
}

/// A queue that is ours, and its tasks.
struct Held {
    queue: Arc<ProcessQueue>,
    pulls: JoinHandle<()>,
    handles: Option<JoinHandle<()>>,
}

impl Reader {
    pub(crate) fn new(
        client: Arc<Inner>,
        group: &str,
        options: ReadOptions,
        handle: Box<Handle>,
        direct: Option<Arc<Direct>>,
    ) -> Result<Arc<Reader>> {
        let group: Arc<str> = GroupName::parse(&client.names.full(group))?.as_str().into();
        Ok(Arc::new(Reader {
            client,
            group,
            options,
            offsets: Offsets::default(),
            wanted: Mutex::default(),
            queues: Mutex::default(),
            turn: AtomicUsize::new(0),
            handle,
            direct,
            started_at: clock::wall_ms(),
            rebalance: Arc::new(Notify::new()),
            arrived: Notify::new(),
            polls_ended: AtomicBool::new(false),
            tasks: Mutex::default(),
            stopped: AtomicBool::new(false),
        }))
    }

    /// Wants a topic from now on, or wants it otherwise.
    pub(crate) fn subscribe(&self, topic: &str, filter: &Filter) -> Result<()> {
        let topic = &*self.client.names.full(topic);
        let wanted = Arc::new(Wanted::new(topic, filter)?);
        self.lock_wanted().insert(wanted.topic.clone(), wanted);
        self.rebalance.notify_one();
        Ok(())
    }

    /// Starts sharing out the queues, and telling brokers the offsets, unless it did.
    pub(crate) fn start(self: &Arc<Reader>) {
        self.start_offsets();
        let mut tasks = self.lock_tasks();
        let task = || tokio::spawn(rebalance::run(Arc::downgrade(self), self.rebalance.clone()));
        tasks.rebalance.get_or_insert_with(task);
    }

    /// Starts telling brokers the offsets, unless it did.
    pub(crate) fn start_offsets(self: &Arc<Reader>) {
        let mut tasks = self.lock_tasks();
        let task = || tokio::spawn(offsets::run(Arc::downgrade(self)));
        tasks.offsets.get_or_insert_with(task);
    }

    /// These messages of a queue are done, which is remembered while the queue is ours. Any thread may say so.
    pub(crate) fn done(&self, queue: &ProcessQueue, done: impl IntoIterator<Item = u64>) {
        queue.done_then(done, |committable| {
            if !queue.is_dropped() {
                self.offsets.set(&queue.queue, committable);
            }
        });
    }

    /// A message that is here, done as it is handed out.
    pub(crate) fn hand_out(&self) -> Option<Received> {
        let queues = self.lock_queues();
        let first = self.first(1, queues.len());
        let (before, behind) = (queues.values().take(first), queues.values().skip(first));
        behind.chain(before).find_map(|held| {
            let queue = &held.queue;
            queue.hand_out(|committable| self.offsets.set(&queue.queue, committable))
        })
    }

    /// Which of so many queues is looked at first by who hands out so many messages of one: each has its turn, or those
    /// behind one that is never empty would have none.
    fn first(&self, messages: usize, queues: usize) -> usize {
        let turn = self.turn.fetch_add(messages, Ordering::Relaxed) / TURN;
        turn.checked_rem(queues).unwrap_or(0)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Polls get nothing more: those that wait learn of it at once.
    pub(crate) fn end_polls(&self) {
        self.polls_ended.store(true, Ordering::Release);
        self.arrived.notify_waiters();
    }

    pub(crate) fn has_ended_polls(&self) -> bool {
        self.polls_ended.load(Ordering::Acquire)
    }

    /// The queues that are ours now.
    pub(crate) fn own(&self) -> Vec<Arc<ProcessQueue>> {
        let queues = self.lock_queues();
        queues.values().map(|held| held.queue.clone()).collect()
    }

    /// The same, in turns: who takes from the first that has something passes none over for good.
    pub(crate) fn in_turn(&self) -> Vec<Arc<ProcessQueue>> {
        let mut own = self.own();
        let first = self.first(TURN, own.len());
        own.rotate_left(first);
        own
    }

    /// One of the queues that are ours now.
    pub(crate) fn find(&self, queue: &Queue) -> Option<Arc<ProcessQueue>> {
        let queues = self.lock_queues();
        queues.get(queue).map(|held| held.queue.clone())
    }

    pub(crate) fn wanted(&self, topic: &str) -> Option<Arc<Wanted>> {
        self.lock_wanted().get(topic).cloned()
    }

    pub(crate) fn topics(&self) -> Vec<Arc<str>> {
        self.lock_wanted().keys().cloned().collect()
    }

    /// Ends every task. What handlers are doing is waited for, for a while.
    pub(crate) async fn end(&self) {
        if self.stopped.swap(true, Ordering::AcqRel) {
            return;
        }
        self.end_polls();
        // A task that is ended in the middle of the file would leave it to a later moment, and nobody would write it again.
        let rest = self.offsets.at_rest().await;
        self.lock_tasks().end();
        drop(rest);
        let held: Vec<Held> = self.lock_queues().drain().map(|(_, held)| held).collect();
        for held in &held {
            held.queue.drop_it();
            held.pulls.abort();
        }
        let end = tokio::time::Instant::now() + self.options.grace;
        for mut held in held {
            if let Some(handles) = &mut held.handles
                && tokio::time::timeout_at(end, &mut *handles).await.is_err()
            {
                handles.abort();
            }
            if self.keeps_offsets() {
                self.note_offset(&held.queue);
            }
            if self.options.orderly {
                self.unlock(&held.queue.queue).await;
            }
        }
        if self.keeps_offsets() {
            self.persist().await;
        }
        self.arrived.notify_waiters();
    }

    fn lock_wanted(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Wanted>>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_queues(&self) -> MutexGuard<'_, HashMap<Queue, Held>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// What heartbeats say of it.
    pub(crate) fn data(&self) -> ConsumerData {
        let wanted = self.lock_wanted();
        let subscriptions = wanted.values().map(|wanted| (&wanted.subscription).into());
        let subscriptions: Vec<SubscriptionData> = subscriptions.collect();
        ConsumerData {
            consume_from_where: match self.options.from {
                ConsumeFrom::Last => ConsumeFromWhere::LastOffset,
                ConsumeFrom::First => ConsumeFromWhere::FirstOffset,
                ConsumeFrom::Time(_) => ConsumeFromWhere::Timestamp,
            },
            consume_type: match self.options.lite {
                true => ConsumeType::ConsumeActively,
                false => ConsumeType::ConsumePassively,
            },
            group_name: self.group.to_string(),
            message_model: match self.options.model {
                Model::Clustering => MessageModel::Clustering,
                Model::Broadcasting => MessageModel::Broadcasting,
            },
            subscription_data_set: subscriptions,
            unit_mode: false,
        }
    }

    /// The group's members or their subscriptions changed.
    pub(crate) fn rebalance(&self) {
        self.rebalance.notify_one();
    }
}

impl Tasks {
    fn end(&mut self) {
        for task in [self.rebalance.take(), self.offsets.take()]
            .into_iter()
            .flatten()
        {
            task.abort();
        }
    }
}

/// A consumer that brokers know of. Dropped, it reads nothing more; brokers hear of it in time.
pub(crate) struct Membership(pub(crate) Arc<Reader>);

impl Membership {
    /// `None` if the group has a consumer in this client.
    pub(crate) fn of(reader: Arc<Reader>) -> Option<Membership> {
        let members = &reader.client.members;
        let first = members.add_consumer(reader.group.clone(), reader.clone());
        first.then(|| Membership(reader))
    }

    /// Ends, and takes leave of the brokers.
    pub(crate) async fn leave(&self) {
        let Membership(reader) = self;
        if reader.is_stopped() {
            return;
        }
        reader.end().await;
        reader.client.members.remove_consumer(&reader.group);
        reader.client.leave(None, Some(&reader.group)).await;
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let Membership(reader) = self;
        if !reader.stopped.swap(true, Ordering::AcqRel) {
            reader.client.members.remove_consumer(&reader.group);
            reader.lock_tasks().end();
            for (_, held) in reader.lock_queues().drain() {
                held.queue.drop_it();
                held.pulls.abort();
            }
        }
    }
}
