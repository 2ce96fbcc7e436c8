//! Offsets: in memory at once, at the brokers every few seconds, with each pull, and at the end.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::{MissedTickBehavior, interval};

use super::{ConsumeFrom, Model, Reader};
use crate::error::Result;
use crate::process_queue::ProcessQueue;
use crate::queue::Queue;

/// What a group has done, by queue.
#[derive(Default)]
pub(crate) struct Offsets {
    table: Mutex<HashMap<Queue, Offset>>,
}

#[derive(Clone, Copy)]
struct Offset {
    now: u64,
    /// What the broker was told last.
    told: Option<u64>,
}

impl Offsets {
    fn lock(&self) -> MutexGuard<'_, HashMap<Queue, Offset>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, queue: &Queue) -> Option<u64> {
        self.lock().get(queue).map(|offset| offset.now)
    }

    pub(crate) fn set(&self, queue: &Queue, offset: u64) {
        let mut table = self.lock();
        let fresh = Offset {
            now: offset,
            told: None,
        };
        table.entry(queue.clone()).or_insert(fresh).now = offset;
    }

    fn told(&self, queue: &Queue, offset: u64) {
        if let Some(entry) = self.lock().get_mut(queue) {
            entry.told = Some(offset);
        }
    }

    fn forget(&self, queue: &Queue) {
        self.lock().remove(queue);
    }

    fn untold(&self) -> Vec<(Queue, u64)> {
        let table = self.lock();
        let untold = table
            .iter()
            .filter(|(_, offset)| offset.told != Some(offset.now));
        untold
            .map(|(queue, offset)| (queue.clone(), offset.now))
            .collect()
    }
}

/// Tells brokers the offsets, until the consumer is gone.
pub(super) async fn run(reader: Weak<Reader>) {
    let Some(period) = reader.upgrade().map(|reader| reader.options.persist_period) else {
        return;
    };
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(reader) = reader.upgrade() else {
            return;
        };
        if reader.options.auto_commit {
            reader.persist().await;
        }
    }
}

impl Reader {
    /// Remembers what may be committed of a queue, if it is still ours.
    pub(crate) fn note_offset(&self, queue: &ProcessQueue) {
        self.offsets.set(&queue.queue, queue.committable());
    }

    /// Tells brokers what they do not know yet, and stops at the first that does not take it.
    pub(crate) async fn commit(&self) -> Result<()> {
        for (queue, offset) in self.offsets.untold() {
            self.tell(&queue, offset).await?;
        }
        Ok(())
    }

    /// Tells brokers what they do not know yet. What fails is told the next time.
    pub(crate) async fn persist(&self) {
        if self.options.model == Model::Broadcasting {
            return;
        }
        for (queue, offset) in self.offsets.untold() {
            if let Err(error) = self.tell(&queue, offset).await {
                tracing::debug!(%queue, offset, %error, "the offset is not told yet");
            }
        }
    }

    /// Tells the broker the offset of a queue that goes to somebody else, and forgets it.
    pub(super) async fn give_up_offset(&self, queue: &Queue) {
        if self.options.auto_commit
            && self.options.model == Model::Clustering
            && let Some(offset) = self.offsets.get(queue)
            && let Err(error) = self.tell(queue, offset).await
        {
            tracing::warn!(%queue, offset, %error, "the last offset is not told");
        }
        self.offsets.forget(queue);
    }

    async fn tell(&self, queue: &Queue, offset: u64) -> Result<()> {
        let command = self.client.offset_command(&self.group, queue, offset);
        let channel = self.client.master_of(&queue.topic, &queue.broker).await?;
        channel.call(command, self.client.config.timeout).await?;
        self.offsets.told(queue, offset);
        Ok(())
    }

    /// Where to begin.
    pub(super) async fn first_offset(&self, queue: &Queue) -> Result<u64> {
        let stored = match self.options.model {
            Model::Broadcasting => self.offsets.get(queue),
            Model::Clustering => self.client.group_offset(&self.group, queue).await?,
        };
        if let Some(stored) = stored {
            return Ok(stored);
        }
        let retry = queue.topic.starts_with(model::name::RETRY_PREFIX);
        match self.options.from {
            ConsumeFrom::Last if retry => Ok(0),
            ConsumeFrom::Last => self.client.max_offset(queue).await,
            ConsumeFrom::First => self.client.min_offset(queue).await,
            ConsumeFrom::Time(_) if retry => self.client.max_offset(queue).await,
            ConsumeFrom::Time(ms) => self.client.offset_at(queue, ms).await,
        }
    }
}
