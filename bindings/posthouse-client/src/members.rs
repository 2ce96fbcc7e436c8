//! The producers and consumers of a client, as its heartbeat names them.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use remoting::body::{HeartbeatData, ProducerData};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::reader::Reader;
use crate::received::Received;
use crate::transaction::{Check, Decision};

/// A function that decides about half messages.
pub(crate) type Decide =
    dyn Fn(Check) -> Pin<Box<dyn Future<Output = Decision> + Send>> + Send + Sync;

/// Checks that run at the same time, of all groups. Apache's clients queue 2000.
const CHECKS: usize = 1000;

/// Who there is.
pub(crate) struct Members {
    table: Mutex<Table>,
    checks: Arc<Semaphore>,
    /// Who waits for which reply.
    replies: Mutex<HashMap<String, oneshot::Sender<Received>>>,
}

impl Default for Members {
    fn default() -> Self {
        Members {
            table: Mutex::default(),
            checks: Arc::new(Semaphore::new(CHECKS)),
            replies: Mutex::default(),
        }
    }
}

#[derive(Default)]
struct Table {
    producers: BTreeMap<Arc<str>, Producers>,
    /// Who decides about the half messages of a group.
    deciders: HashMap<Arc<str>, Arc<Decide>>,
    consumers: HashMap<Arc<str>, Arc<Reader>>,
}

/// How many producers a group has.
#[derive(Default)]
struct Producers {
    own: usize,
    /// That stand in for others.
    stand_ins: usize,
}

impl Producers {
    fn count(&mut self, stands_in: bool) -> &mut usize {
        match stands_in {
            true => &mut self.stand_ins,
            false => &mut self.own,
        }
    }
}

impl Members {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add_producer(&self, group: Arc<str>, stands_in: bool) {
        *self
            .lock()
            .producers
            .entry(group)
            .or_default()
            .count(stands_in) += 1;
    }

    /// Whether it was the group's last.
    pub(crate) fn remove_producer(&self, group: &str, stands_in: bool) -> bool {
        let mut table = self.lock();
        let Some(producers) = table.producers.get_mut(group) else {
            return false;
        };
        let count = producers.count(stands_in);
        *count = count.saturating_sub(1);
        let last = producers.own + producers.stand_ins == 0;
        if last {
            table.producers.remove(group);
            table.deciders.remove(group);
        }
        last
    }

    /// `false` if the group has a consumer in this client.
    pub(crate) fn add_consumer(&self, group: Arc<str>, member: Arc<Reader>) -> bool {
        let mut table = self.lock();
        if table.consumers.contains_key(&group) {
            return false;
        }
        table.consumers.insert(group, member);
        true
    }

    pub(crate) fn remove_consumer(&self, group: &str) {
        self.lock().consumers.remove(group);
    }

    pub(crate) fn groups(&self) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let table = self.lock();
        let producers = table.producers.keys().cloned().collect();
        (producers, table.consumers.keys().cloned().collect())
    }

    /// The heartbeat's body, `None` if there is nobody to speak for.
    pub(crate) fn heartbeat(&self, client_id: &str) -> Option<HeartbeatData> {
        let table = self.lock();
        let producers = table.producers.iter().map(|(group, of)| ProducerData {
            group_name: group.to_string(),
            stands_in: of.own == 0,
        });
        let data = HeartbeatData {
            client_id: client_id.to_owned(),
            producer_data_set: producers.collect(),
            consumer_data_set: table
                .consumers
                .values()
                .map(|member| member.data())
                .collect(),
            ..HeartbeatData::default()
        };
        let nobody = data.producer_data_set.is_empty() && data.consumer_data_set.is_empty();
        (!nobody).then_some(data)
    }

    /// From now on, this function is asked about the half messages of a group.
    pub(crate) fn set_check(
        &self,
        group: Arc<str>,
        decide: impl Fn(Check) -> Pin<Box<dyn Future<Output = Decision> + Send>> + Send + Sync + 'static,
    ) {
        self.lock().deciders.insert(group, Arc::new(decide));
    }

    /// Who is to be asked about a half message of a group, and a place to do so.
    pub(crate) fn check(&self, group: &str) -> Option<(Arc<Decide>, OwnedSemaphorePermit)> {
        let decide = self.lock().deciders.get(group).cloned()?;
        let place = self.checks.clone().try_acquire_owned().ok()?;
        Some((decide, place))
    }

    /// From now on, the reply with this correlation id is waited for.
    pub(crate) fn await_reply(&self, id: String, waiter: oneshot::Sender<Received>) {
        self.lock_replies().insert(id, waiter);
    }

    /// Who waits for a reply, for the last time.
    pub(crate) fn take_reply(&self, id: &str) -> Option<oneshot::Sender<Received>> {
        self.lock_replies().remove(id)
    }

    fn lock_replies(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Received>>> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn consumer(&self, group: &str) -> Option<Arc<Reader>> {
        self.lock().consumers.get(group).cloned()
    }

    /// How many messages consumers have here, not done, and the bytes of their records.
    pub(crate) fn buffered(&self) -> (u64, u64) {
        let all: Vec<_> = self.lock().consumers.values().cloned().collect();
        let held = all.iter().flat_map(|member| member.own());
        held.fold((0, 0), |(messages, bytes), queue| {
            let (more, longer) = queue.held();
            (messages + more, bytes + longer)
        })
    }

    /// Lets every consumer end its work.
    pub(crate) async fn stop(&self) {
        let all: Vec<_> = self.lock().consumers.values().cloned().collect();
        for member in all {
            member.end().await;
        }
    }
}
