//! Offsets: in memory at once, at the brokers every few seconds, with each pull, and at the end; those
//! of a broadcasting member in a file of its own instead.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use remoting::body::{self, ResetOffsets};
use tokio::time::{MissedTickBehavior, interval};

use super::{ConsumeFrom, Model, Reader};
use crate::error::{Error, Result};
use crate::process_queue::ProcessQueue;
use crate::queue::Queue;

/// What a group has done, by queue.
#[derive(Default)]
pub(crate) struct Offsets {
    table: Mutex<HashMap<Queue, Offset>>,
    /// Of a member with a file: one at a time is at it.
    file: tokio::sync::Mutex<File>,
    /// Something was told that the file does not have.
    is_unwritten: AtomicBool,
}

#[derive(Default)]
struct File {
    is_read: bool,
}

#[derive(Clone, Copy)]
struct Offset {
    now: u64,
    /// What the broker was told last; of a broadcasting member, what it counts as done.
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
        if let Some(known) = table.get_mut(queue) {
            known.now = offset;
            return;
        }
        let fresh = Offset {
            now: offset,
            told: None,
        };
        table.insert(queue.clone(), fresh);
    }

    /// Waits until nobody writes the file; nobody begins before what is returned is dropped.
    pub(super) async fn at_rest(&self) -> impl Drop + '_ {
        self.file.lock().await
    }

    fn told(&self, queue: &Queue, offset: u64) {
        if let Some(entry) = self.lock().get_mut(queue) {
            entry.told = Some(offset);
        }
    }

    /// A broadcasting member counts this as done, whatever it handed out.
    fn count(&self, queue: &Queue, offset: u64) {
        let fresh = Offset {
            now: offset,
            told: None,
        };
        let mut table = self.lock();
        table.entry(queue.clone()).or_insert(fresh).told = Some(offset);
        self.is_unwritten.store(true, Ordering::Release);
    }

    /// The same of all that was handed out.
    fn count_all(&self) {
        for offset in self.lock().values_mut() {
            if offset.told != Some(offset.now) {
                offset.told = Some(offset.now);
                self.is_unwritten.store(true, Ordering::Release);
            }
        }
    }

    fn counted(&self, queue: &Queue) -> Option<u64> {
        self.lock().get(queue).and_then(|offset| offset.told)
    }

    fn forget(&self, queue: &Queue) {
        self.lock().remove(queue);
    }

    fn all_counted(&self) -> Vec<(Queue, u64)> {
        let table = self.lock();
        let counted = |(queue, offset): (&Queue, &Offset)| Some((queue.clone(), offset.told?));
        let mut all: Vec<_> = table.iter().filter_map(counted).collect();
        all.sort();
        all
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

async fn read(path: PathBuf) -> io::Result<Vec<u8>> {
    let read = tokio::task::spawn_blocking(move || std::fs::read(path));
    read.await
        .unwrap_or_else(|ended| Err(io::Error::other(ended)))
}

async fn replace(path: PathBuf, bytes: Vec<u8>) -> io::Result<()> {
    let replace = tokio::task::spawn_blocking(move || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // Behind the whole name: names that differ in their ending alone are other members'.
        let mut new = path.clone().into_os_string();
        new.push(".new");
        std::fs::write(&new, bytes)?;
        std::fs::rename(new, path)
    });
    replace
        .await
        .unwrap_or_else(|ended| Err(io::Error::other(ended)))
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
        if reader.keeps_offsets() {
            reader.persist().await;
        }
    }
}

impl Reader {
    /// Remembers what may be committed of a queue, if it is still ours.
    pub(crate) fn note_offset(&self, queue: &ProcessQueue) {
        self.offsets.set(&queue.queue, queue.committable());
    }

    /// Tells brokers what they do not know yet, and stops at the first that does not take it. A broadcasting member
    /// counts it as done by itself.
    pub(crate) async fn commit(&self) -> Result<()> {
        if self.options.model == Model::Broadcasting {
            self.read_offsets().await?;
            self.offsets.count_all();
            return self.write_offsets().await;
        }
        for (queue, offset) in self.offsets.untold() {
            self.tell(&queue, offset).await?;
        }
        Ok(())
    }

    /// The group goes on at this offset of a queue, whatever was handed out.
    pub(crate) async fn commit_at(&self, queue: &Queue, offset: u64) -> Result<()> {
        if self.options.model == Model::Broadcasting {
            self.read_offsets().await?;
            self.offsets.count(queue, offset);
            return self.write_offsets().await;
        }
        let command = self.client.offset_command(&self.group, queue, offset);
        let channel = self.client.master_of(&queue.topic, &queue.broker).await?;
        channel.call(command, self.client.config.timeout).await?;
        Ok(())
    }

    /// What the group, or this broadcasting member, has done in a queue.
    pub(crate) async fn committed(&self, queue: &Queue) -> Result<Option<u64>> {
        match self.options.model {
            Model::Clustering => self.client.group_offset(&self.group, queue, None).await,
            Model::Broadcasting => {
                self.read_offsets().await?;
                Ok(self.offsets.counted(queue))
            }
        }
    }

    /// Whether offsets are kept by itself.
    pub(super) fn keeps_offsets(&self) -> bool {
        self.options.auto_commit || self.options.offsets_file.is_some() && !self.options.lite
    }

    /// Reads what this broadcasting member did before, once.
    pub(crate) async fn read_offsets(&self) -> Result<()> {
        let Some(path) = self.options.offsets_file.clone() else {
            return Ok(());
        };
        let mut file = self.offsets.file.lock().await;
        if file.is_read {
            return Ok(());
        }
        let failed = |source| Error::OffsetsFile {
            path: path.clone(),
            source,
        };
        let bytes = match read(path.clone()).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                file.is_read = true;
                return Ok(());
            }
            bytes => bytes.map_err(failed)?,
        };
        let kept: ResetOffsets = body::from_slice(&bytes)
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        for (queue, offset) in kept.offset_table.0 {
            let queue = Queue::from_wire(queue);
            let offset = offset.max(0).unsigned_abs();
            self.offsets.set(&queue, offset);
            self.offsets.told(&queue, offset);
        }
        file.is_read = true;
        Ok(())
    }

    /// Writes what this broadcasting member did, if it has a file. That is replaced whole: a kill leaves the old one or
    /// the new one.
    async fn write_offsets(&self) -> Result<()> {
        let Some(path) = self.options.offsets_file.clone() else {
            return Ok(());
        };
        let _alone = self.offsets.file.lock().await;
        if !self.offsets.is_unwritten.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let table = self.offsets.all_counted().into_iter();
        let table = table.map(|(queue, offset)| (queue.wire(), offset.cast_signed()));
        let file = ResetOffsets {
            offset_table: table.collect(),
        };
        let written = replace(path.clone(), body::to_vec(&file)).await;
        written.map_err(|source| {
            self.offsets.is_unwritten.store(true, Ordering::Release);
            Error::OffsetsFile { path, source }
        })
    }

    /// Tells brokers, or the member's own file, what they do not know yet. What fails is told the next
    /// time.
    pub(crate) async fn persist(&self) {
        if self.options.model == Model::Broadcasting {
            self.offsets.count_all();
            if let Err(error) = self.write_offsets().await {
                tracing::warn!(%error, "the offsets are not written yet");
            }
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
        if self.options.model == Model::Broadcasting {
            return;
        }
        if self.options.auto_commit
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
            Model::Clustering => self.client.group_offset(&self.group, queue, None).await?,
        };
        if let Some(stored) = stored {
            return Ok(stored);
        }
        let retry = queue.topic.starts_with(model::name::RETRY_PREFIX);
        match self.options.from {
            ConsumeFrom::Last if retry => Ok(0),
            ConsumeFrom::Last => self.end_for_new(queue).await,
            ConsumeFrom::First => self.client.min_offset(queue).await,
            ConsumeFrom::Time(_) if retry => self.end_for_new(queue).await,
            ConsumeFrom::Time(ms) => self.client.offset_at(queue, ms).await,
        }
    }

    /// The end of a queue for which the group has no offset. Brokers say so of an empty queue too: had its very first
    /// message come since, the end would be behind it. Asked once more, they say 0 then. What a broadcasting member has done
    /// they never knew.
    async fn end_for_new(&self, queue: &Queue) -> Result<u64> {
        let end = self.client.max_offset(queue).await?;
        if self.options.model == Model::Broadcasting {
            return Ok(end);
        }
        let stored = self.client.group_offset(&self.group, queue, None).await?;
        Ok(stored.unwrap_or(end))
    }
}
