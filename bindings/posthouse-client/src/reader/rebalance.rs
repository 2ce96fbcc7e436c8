//! Shares out the queues: every 20 s, and at once when a broker says that the group changed.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use model::subscription::ExpressionKind;
use remoting::Command;
use remoting::body::{self, LockAnswer, LockRequest};
use remoting::code::request;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::{Held, Model, Reader, pull};
use crate::client::Inner;
use crate::error::{Error, Result};
use crate::process_queue::ProcessQueue;
use crate::queue::Queue;

/// While something is missing (a route, a lock, our own name on the list), we look again so soon.
const SOON: Duration = Duration::from_secs(1);

/// How often we look soon for a retry topic: a broker may be configured to make none.
const RETRY_TOPIC_LOOKS: u32 = 10;

/// What came of sharing out the queues.
#[derive(PartialEq, Eq)]
enum Shared {
    All,
    /// Only the group's retry topic is not there yet.
    NoRetryTopic,
    NotAll,
}

/// Runs until the consumer is gone.
pub(super) async fn run(reader: Weak<Reader>, wake: Arc<Notify>) {
    let mut last_lock = Instant::now();
    let mut looks = RETRY_TOPIC_LOOKS;
    loop {
        let Some(strong) = reader.upgrade() else {
            return;
        };
        let period = strong.options.rebalance_period;
        if strong.options.orderly && last_lock.elapsed() >= period {
            strong.lock_again().await;
            last_lock = Instant::now();
        }
        let soon = match strong.rebalance_all().await {
            Shared::All => false,
            Shared::NotAll => true,
            Shared::NoRetryTopic => {
                looks = looks.saturating_sub(1);
                looks > 0
            }
        };
        // The consumer may be dropped while nothing happens.
        drop(strong);
        let pause = if soon { SOON.min(period) } else { period };
        let _ = timeout(pause, wake.notified()).await;
    }
}

impl Reader {
    async fn rebalance_all(self: &Arc<Reader>) -> Shared {
        let topics = self.topics();
        let mut shared = Shared::All;
        for topic in &topics {
            match self.rebalance_topic(topic).await {
                Ok(true) => {}
                Ok(false) => shared = Shared::NotAll,
                Err(Error::NoRoute(_)) if topic.starts_with(model::name::RETRY_PREFIX) => {
                    if shared == Shared::All {
                        shared = Shared::NoRetryTopic;
                    }
                }
                Err(error) => {
                    tracing::debug!(%topic, %error, "the queues stay with whom they are");
                    shared = Shared::NotAll;
                }
            }
        }
        shared
    }

    async fn rebalance_topic(self: &Arc<Reader>, topic: &Arc<str>) -> Result<bool> {
        let route = self.client.route(topic).await?;
        let mut queues = route.readable.clone();
        queues.sort();
        let own = match self.options.model {
            Model::Broadcasting => queues,
            Model::Clustering => {
                let mut members = self.client.group_members(&self.group, topic).await?;
                members.sort();
                if !members.contains(&self.client.id) {
                    // The broker has not heard of us yet, or not any more.
                    self.client.heartbeat().await;
                    return Ok(false);
                }
                let strategy = self.options.strategy;
                strategy.allocate(&queues, &members, &self.client.id)
            }
        };
        self.own_now(topic, own).await
    }

    /// Lets a broker look at an SQL filter before it is used: in a pull, some pass over a wrong one.
    pub(crate) async fn check(&self, topic: &str) -> Result<()> {
        let Some(wanted) = self.wanted(topic) else {
            return Ok(());
        };
        if wanted.subscription.kind == ExpressionKind::Tag {
            return Ok(());
        }
        self.client.check_filter(&self.group, &wanted).await
    }

    /// Gives up what is not ours any more, then takes what is new.
    pub(crate) async fn own_now(
        self: &Arc<Reader>,
        topic: &Arc<str>,
        own: Vec<Queue>,
    ) -> Result<bool> {
        let own: HashSet<Queue> = own.into_iter().collect();
        let held: Vec<Queue> = {
            let held = self.lock_queues();
            let of_topic = held.keys().filter(|queue| queue.topic == *topic);
            of_topic.cloned().collect()
        };
        for queue in held.iter().filter(|queue| !own.contains(*queue)) {
            self.give_up(queue).await;
        }
        let new: Vec<Queue> = own
            .into_iter()
            .filter(|queue| !held.contains(queue))
            .collect();
        let locked = match self.options.orderly && !new.is_empty() {
            true => self.lock(&new).await,
            false => new.clone(),
        };
        let all = locked.len() == new.len();
        for queue in locked {
            let offset = self.first_offset(&queue).await?;
            self.hold(queue, offset);
        }
        Ok(all)
    }

    /// Begins to read a queue.
    fn hold(self: &Arc<Reader>, queue: Queue, offset: u64) {
        let process = Arc::new(ProcessQueue::new(queue.clone(), offset));
        if self.options.orderly {
            process.set_locked(Some(Instant::now()));
        }
        let mut queues = self.lock_queues();
        if self.is_stopped() || queues.contains_key(&queue) {
            return;
        }
        tracing::debug!(%queue, offset, group = %self.group, "reads a queue");
        let pulls = tokio::spawn(pull::run(Arc::downgrade(self), process.clone()));
        let handles = (self.handle)(self, process.clone());
        let held = Held {
            queue: process,
            pulls,
            handles,
        };
        queues.insert(queue, held);
    }

    /// Ends reading a queue: somebody else goes on where we end.
    async fn give_up(&self, queue: &Queue) {
        let Some(held) = self.lock_queues().remove(queue) else {
            return;
        };
        held.queue.drop_it();
        held.pulls.abort();
        if self.options.orderly
            && let Some(handles) = held.handles
        {
            // The message being handled is done before somebody else gets the next one.
            let _ = timeout(self.options.rebalance_period, handles).await;
        }
        if self.keeps_offsets() {
            self.note_offset(&held.queue);
        }
        self.give_up_offset(queue).await;
        if self.options.orderly {
            self.unlock(queue).await;
        }
        tracing::debug!(%queue, group = %self.group, "gives a queue up");
    }

    /// Asks brokers to lock queues for us. Returns those that are.
    async fn lock(&self, queues: &[Queue]) -> Vec<Queue> {
        let mut locked = Vec::new();
        let brokers: HashSet<&Arc<str>> = queues.iter().map(|queue| &queue.broker).collect();
        for broker in brokers {
            let theirs = queues.iter().filter(|queue| queue.broker == *broker);
            let theirs: Vec<Queue> = theirs.cloned().collect();
            match self.lock_at(&theirs).await {
                Ok(ours) => locked.extend(ours),
                Err(error) => tracing::debug!(%broker, %error, "no queue is locked"),
            }
        }
        locked
    }

    /// All of these are on one broker.
    async fn lock_at(&self, queues: &[Queue]) -> Result<Vec<Queue>> {
        let Some(first) = queues.first() else {
            return Ok(Vec::new());
        };
        let channel = self.client.master_of(&first.topic, &first.broker).await?;
        let body = body::to_vec(&self.lock_request(queues));
        let command = Command::request(request::LOCK_BATCH_MQ).body(body);
        let answer = channel.call(command, self.client.config.timeout).await?;
        let ours: LockAnswer = Inner::body(&channel, &answer)?;
        let is_ours = |queue: &&Queue| ours.locked.contains(&queue.wire());
        Ok(queues.iter().filter(is_ours).cloned().collect())
    }

    fn lock_request(&self, queues: &[Queue]) -> LockRequest {
        LockRequest {
            client_id: self.client.id.clone(),
            consumer_group: self.group.to_string(),
            mq_set: queues.iter().map(Queue::wire).collect(),
            only_this_broker: false,
        }
    }

    async fn lock_again(&self) {
        let own = self.own();
        let queues: Vec<Queue> = own.iter().map(|own| own.queue.clone()).collect();
        let asked = Instant::now();
        let locked = self.lock(&queues).await;
        for own in own {
            if locked.contains(&own.queue) {
                own.set_locked(Some(asked));
            }
        }
    }

    pub(super) async fn unlock(&self, queue: &Queue) {
        let body = body::to_vec(&self.lock_request(std::slice::from_ref(queue)));
        let command = Command::request(request::UNLOCK_BATCH_MQ).body(body);
        if let Ok(channel) = self.client.master_of(&queue.topic, &queue.broker).await {
            // The lock ends by itself if nobody hears this.
            let _ = channel.call(command, Duration::from_secs(1)).await;
        }
    }
}
