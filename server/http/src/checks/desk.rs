//! Who here answers for which producer group: while somebody does, brokers know the door as a producer of
//! the group and ask it; what they ask lies here until somebody takes it.
//!
//! ```text
//! broker --39--> Desk of the group --take--> long poll, stream, else webhook      one question to one of them
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use posthouse_client::{Check, Client, Decision, Producer, ProducerOptions, Result};
use tokio::sync::{Mutex as AsyncMutex, Notify};

use crate::clock;
use crate::publisher;
use crate::told::Promise;

/// How long a question may take to be answered; then it may go to somebody else. As often as Apache's
/// brokers ask.
pub(crate) const ANSWER_IN: Duration = Duration::from_secs(30);
/// Bytes of the messages of questions that lie at one desk. What comes beyond is asked again later.
const BYTES: usize = 16 << 20;

/// The desks of all groups.
#[derive(Default)]
pub(crate) struct Desks {
    all: Mutex<HashMap<Arc<str>, Arc<Desk>>>,
}

/// One group's.
struct Desk {
    group: Arc<str>,
    /// Who answers for it just now.
    attended: AtomicUsize,
    /// The registration with the brokers. Taking leave and coming back never overlap.
    producer: AsyncMutex<Option<Producer>>,
    waiting: Mutex<VecDeque<Asked>>,
    /// The topics of those who listen, each as often as somebody does: they go before webhooks.
    listening: Mutex<Vec<Arc<str>>>,
    came: Notify,
}

/// A question that nobody has taken yet.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub check: Check,
    /// Milliseconds since the Unix epoch.
    pub answer_by: i64,
}

/// Somebody answers for a group and a topic as long as this lives.
pub(crate) struct Attendance {
    desk: Arc<Desk>,
    topic: Arc<str>,
    by: By,
}

/// How somebody is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// They listen: a long poll, a stream.
    Listening,
    /// They are called, if nobody listens.
    Webhook,
}

impl Desks {
    /// From now on somebody answers for the half messages of a group that go to a topic.
    pub(crate) async fn attend(
        &self,
        client: &Client,
        group: &str,
        topic: Arc<str>,
        by: By,
    ) -> Result<Attendance> {
        let desk = self.desk(group);
        if by == By::Listening {
            desk.listening().push(topic.clone());
        }
        // Leaves in any case: also if brokers cannot be told, or the caller goes meanwhile.
        let attendance = Attendance { desk, topic, by };
        let desk = &attendance.desk;
        let mut producer = desk.producer.lock().await;
        let own = match producer.take() {
            Some(own) => own,
            None => {
                let asked = desk.clone();
                let options = ProducerOptions {
                    announce: true,
                    stands_in: true,
                    ..publisher::options()
                };
                client.transaction_producer(group, options, move |check| {
                    asked.put(check);
                    // Nothing is told to the broker: the answer comes as a resolution, or not at all.
                    async { Decision::Unknown }
                })?
            }
        };
        let told = producer.insert(own).announce(&attendance.topic).await;
        drop(producer);
        told.map(|()| attendance)
    }

    fn desk(&self, group: &str) -> Arc<Desk> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|own, desk| {
            let used = Arc::strong_count(desk) > 1 || !desk.lock().is_empty();
            used || &**own == group
        });
        let group: Arc<str> = group.into();
        let desk = all.entry(group.clone()).or_insert_with(|| {
            Arc::new(Desk {
                group,
                attended: AtomicUsize::new(0),
                producer: AsyncMutex::default(),
                waiting: Mutex::default(),
                listening: Mutex::default(),
                came: Notify::new(),
            })
        });
        // Under the lock, so that it is not put away before.
        desk.attended.fetch_add(1, Ordering::AcqRel);
        desk.clone()
    }
}

impl Desk {
    /// The questions that may still be answered.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Asked>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::wall_ms();
        waiting.retain(|asked| now < asked.answer_by);
        waiting
    }

    fn listening(&self) -> MutexGuard<'_, Vec<Arc<str>>> {
        self.listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, check: Check) {
        let mut waiting = self.lock();
        let size = |asked: &Asked| asked.check.message.body.len() + 1_024;
        if waiting.iter().map(size).sum::<usize>() > BYTES {
            tracing::warn!(group = %self.group, "too many questions about transactions wait for an answer");
            return;
        }
        let by = i64::try_from(ANSWER_IN.as_millis()).unwrap_or(0);
        let answer_by = clock::wall_ms() + by;
        waiting.push_back(Asked { check, answer_by });
        drop(waiting);
        self.came.notify_waiters();
    }
}

impl Attendance {
    /// Up to `max` questions, as soon as there is one.
    pub(crate) async fn take(&self, max: usize) -> Taken {
        loop {
            let came = self.desk.came.notified();
            tokio::pin!(came);
            // From here on no question comes unheard.
            came.as_mut().enable();
            let taken = self.take_now(max);
            if !taken.asked.is_empty() {
                return taken;
            }
            came.await;
        }
    }

    /// The same without waiting.
    pub(crate) fn take_now(&self, max: usize) -> Taken {
        let mut asked = Vec::new();
        let last = self.by == By::Webhook && self.desk.listening().contains(&self.topic);
        let max = if last { 0 } else { max };
        let mut waiting = self.desk.lock();
        let mut place = 0;
        while asked.len() < max
            && let Some(next) = waiting.get(place)
        {
            match next.check.transaction.topic() == &*self.topic {
                true => asked.extend(waiting.remove(place)),
                false => place += 1,
            }
        }
        drop(waiting);
        Taken {
            desk: self.desk.clone(),
            asked,
        }
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        if self.by == By::Listening {
            let mut listening = self.desk.listening();
            let own = listening.iter().position(|topic| *topic == self.topic);
            own.map(|own| listening.swap_remove(own));
            drop(listening);
            // What it did not take is for webhooks.
            self.desk.came.notify_waiters();
        }
        let last = self.desk.attended.fetch_sub(1, Ordering::AcqRel) == 1;
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if !last {
            return;
        }
        let desk = self.desk.clone();
        runtime.spawn(async move {
            let mut producer = desk.producer.lock().await;
            // Somebody may have come meanwhile.
            if desk.attended.load(Ordering::Acquire) == 0
                && let Some(producer) = producer.take()
            {
                producer.shutdown().await;
            }
        });
    }
}

/// Questions for somebody. Dropped before they were told, they lie at the desk again.
pub(crate) struct Taken {
    desk: Arc<Desk>,
    pub asked: Vec<Asked>,
}

impl Promise for Taken {
    fn told(&mut self) {
        self.asked.clear();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.asked.is_empty() {
            return;
        }
        let mut waiting = self.desk.lock();
        for asked in self.asked.drain(..).rev() {
            waiting.push_front(asked);
        }
        drop(waiting);
        self.desk.came.notify_waiters();
    }
}
