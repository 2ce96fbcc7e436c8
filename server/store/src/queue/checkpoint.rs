//! Writing down where every queue's entries are, so that a start replays only the log's last part.
//!
//! ```text
//! covered 8 | begin of the log when the starts were looked for 8 | files 4 | files x (number 4 | bytes 4 | greatest log offset 8)
//! topics 4 | topics x (name length 2 | name | queues 4 | queues x queue)
//! queue: id 4 | start 8 | end 8 | blocks 4 | blocks x (base 8 | last log offset 8 | file 4 | at 4 | count 4 | length of the records 8)
//!        runs 4 | runs x (base 8 | entries 4 | entries x (log offset 8 | size 4 | tag hash 8))
//! ```
//! All integers are big-endian; magic and checksum are those of a sealed file.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::{LogOffset, QueueId, QueueOffset, TopicName};

use super::block::{encoded_len, put_entry, take_entry};
use super::files::{DIR, Extent};
use super::list::{Block, Place};
use super::registry::{Limits, Queues};
use super::{BLOCK, Entry, Queue};
use crate::bytes::Reader;
use crate::disk::{Disk, Wait};
use crate::{lock, sealed};

const MAGIC: u32 = 0x5048_5132; // "PHQ2"
/// A checkpoint is due each time the log grew by this many bytes, or by this many times its own size.
/// In the crate's own tests always, so that the crash simulator meets many.
const EVERY: u64 = if cfg!(test) { 1 } else { 64 << 20 };
const TIMES: u64 = if cfg!(test) { 0 } else { 8 };

pub(super) fn path() -> String {
    format!("{DIR}/checkpoint")
}

impl Queues {
    /// Opens what an earlier run left. If any of it is missing or damaged, all of it is deleted and
    /// [`Queues::covered`] is 0: append every record of the log again. `log_start`: where the kept
    /// log begins.
    ///
    /// # Errors
    /// Only if the disk refuses.
    pub fn open(disk: &Arc<dyn Disk>, log_start: LogOffset) -> io::Result<Queues> {
        Queues::open_with(disk, log_start, Limits::default())
    }

    pub(crate) fn open_with(
        disk: &Arc<dyn Disk>,
        log_start: LogOffset,
        limits: Limits,
    ) -> io::Result<Queues> {
        disk.make_dir(DIR)?;
        if let Some(bytes) = sealed::read(&**disk, &path(), MAGIC)? {
            let queues = Queues::empty(disk, limits);
            match queues.load(&bytes, log_start)? {
                Some(()) => return Ok(queues),
                None => {
                    tracing::warn!("the queues' checkpoint is of no use: building from the log")
                }
            }
        }
        let queues = Queues::empty(disk, limits);
        queues.reset()?;
        Ok(queues)
    }

    /// Every record below this is in the queues already and need not be appended again.
    pub fn covered(&self) -> LogOffset {
        LogOffset(self.covered.load(Ordering::Acquire))
    }

    /// Recovery: the log ends at `cut`. True if the queues knew records behind it: then they are empty
    /// now, and every record must be appended again.
    pub fn truncate(&self, cut: LogOffset) -> io::Result<bool> {
        if self.covered() <= cut {
            return Ok(false);
        }
        self.reset()?;
        Ok(true)
    }

    /// Forgets everything, on the disk too.
    pub fn reset(&self) -> io::Result<()> {
        // For good, before the log grows: else the old checkpoint might fit a newer log.
        sealed::remove(self.files.disk(), &path())?;
        self.files.adopt(&[], LogOffset(0))?;
        self.write().clear();
        lock(&self.dropped).clear();
        self.covered.store(0, Ordering::Release);
        Ok(())
    }

    /// A block turned out damaged: the next start is to build everything from the log.
    pub(super) fn distrust(&self) {
        self.failed.store(true, Ordering::Release);
        if let Err(e) = sealed::remove(self.files.disk(), &path()) {
            tracing::warn!("deleting the queues' checkpoint: {e}");
        }
    }

    /// Moves full blocks to the disk, and writes a checkpoint if the log grew so far that it is worth
    /// its bytes. `limit` as in [`Queues::checkpoint`].
    ///
    /// # Errors
    /// As [`Queues::checkpoint`].
    pub fn checkpoint_if_due(&self, limit: LogOffset) -> io::Result<()> {
        let every = EVERY.max(TIMES * self.checkpoint_len.load(Ordering::Relaxed));
        if limit.0.saturating_sub(self.covered().0) >= every {
            return self.checkpoint(limit);
        }
        self.write_blocks()
    }

    /// Writes down all entries of records below `limit`, which is dispatched and flushed.
    ///
    /// # Errors
    /// If the disk refuses; what was on it stands. After a failed flush, or when a block was found
    /// damaged, this process writes none any more: the next start builds from the log.
    pub fn checkpoint(&self, limit: LogOffset) -> io::Result<()> {
        if self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let trimmed = self.trimmed.load(Ordering::Acquire);
        self.write_blocks()?;
        let flushed = self.files.flush();
        let mut extents = flushed.inspect_err(|_| self.failed.store(true, Ordering::Release))?;
        extents.retain(|extent| extent.last.0 >= trimmed);
        let mut writer = sealed::Writer::new(self.files.disk(), &path(), MAGIC)?;
        let out = writer.buffer();
        out.extend_from_slice(&limit.0.to_be_bytes());
        out.extend_from_slice(&trimmed.to_be_bytes());
        out.extend_from_slice(&(extents.len() as u32).to_be_bytes());
        for extent in &extents {
            out.extend_from_slice(&extent.number.to_be_bytes());
            out.extend_from_slice(&extent.len.to_be_bytes());
            out.extend_from_slice(&extent.last.0.to_be_bytes());
        }
        let topics = self.below(limit);
        out.extend_from_slice(&(topics.len() as u32).to_be_bytes());
        for (topic, queues) in &topics {
            let out = writer.buffer();
            out.extend_from_slice(&(topic.as_str().len() as u16).to_be_bytes());
            out.extend_from_slice(topic.as_str().as_bytes());
            out.extend_from_slice(&(queues.len() as u32).to_be_bytes());
            for queue in queues {
                self.put_queue(queue, limit, &extents, writer.buffer())?;
                writer.spill()?;
            }
        }
        let finished = writer.finish()?;
        let len = finished.len;
        finished.publish(self.files.disk())?;
        self.covered.store(limit.0, Ordering::Release);
        self.checkpoint_len.store(len, Ordering::Relaxed);
        self.bury(limit);
        self.files.trim(LogOffset(trimmed))
    }

    /// The topics as they are for records below `limit`: with those dropped only later.
    fn below(&self, limit: LogOffset) -> Vec<(TopicName, Vec<Arc<Queue>>)> {
        let mut all: Vec<_> = {
            let topics = self.read();
            let copy = topics
                .iter()
                .map(|(name, list)| (name.clone(), list.clone()));
            copy.collect()
        };
        // A topic that was dropped in between is in both; what is dropped decides.
        let dropped = lock(&self.dropped);
        let slots: HashSet<u32> = dropped.iter().map(|(_, queue)| queue.slot).collect();
        all.iter_mut()
            .for_each(|(_, list)| list.retain(|queue| !slots.contains(&queue.slot)));
        let later = dropped.iter().filter(|(at, _)| *at >= limit);
        all.extend(later.map(|(_, queue)| (queue.topic.clone(), vec![Arc::clone(queue)])));
        all
    }

    /// Forgets queues of topics whose end the checkpoint covers.
    fn bury(&self, covered: LogOffset) {
        let mut dropped = lock(&self.dropped);
        dropped.retain(|(at, queue)| {
            let keep = *at >= covered;
            if !keep {
                self.free_slot(queue.slot);
            }
            keep
        });
    }

    /// Appends what is below `limit` of one queue.
    fn put_queue(
        &self,
        queue: &Arc<Queue>,
        limit: LogOffset,
        extents: &[Extent],
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let (pointers, inline, base, tail) = {
            let list = queue.list();
            let cut = list.blocks.partition_point(|block| {
                block.last < limit && extents.iter().any(|e| holds(e, block))
            });
            let (pointers, rest) = list.blocks.split_at(cut);
            // Nothing behind the first block that reaches the limit lies below it.
            let count = rest.partition_point(|block| block.last < limit) + 1;
            let inline = rest.get(..count).unwrap_or(rest).to_vec();
            (pointers.to_vec(), inline, list.base, list.tail.clone())
        };
        let mut end = pointers.last().map(Block::end);
        let mut runs: Vec<(u64, Vec<Entry>)> = Vec::new();
        for block in &inline {
            let entries = match &block.entries {
                Some(entries) => entries.to_vec(),
                // Written behind the limit and already out of memory: rare, as flushing is never far behind.
                None => (self.read_block(queue, block, Wait::Yes))
                    .map_err(io::Error::other)?
                    .unwrap_or_default(),
            };
            runs.push((block.base, entries));
        }
        if inline.last().is_none_or(|block| block.last < limit) {
            runs.push((base, tail));
        }
        for (base, entries) in &mut runs {
            entries.truncate(entries.partition_point(|entry| entry.log_offset < limit));
            end = Some(*base + entries.len() as u64);
        }
        runs.retain(|(_, entries)| !entries.is_empty());
        let end = end.unwrap_or(0);
        let start = queue.start().0.min(end);
        out.extend_from_slice(&queue.id.0.to_be_bytes());
        out.extend_from_slice(&start.to_be_bytes());
        out.extend_from_slice(&end.to_be_bytes());
        out.extend_from_slice(&(pointers.len() as u32).to_be_bytes());
        for block in &pointers {
            out.extend_from_slice(&block.base.to_be_bytes());
            out.extend_from_slice(&block.last.0.to_be_bytes());
            out.extend_from_slice(&block.place.file.to_be_bytes());
            out.extend_from_slice(&block.place.at.to_be_bytes());
            out.extend_from_slice(&u32::from(block.count).to_be_bytes());
            out.extend_from_slice(&block.bytes.to_be_bytes());
        }
        out.extend_from_slice(&(runs.len() as u32).to_be_bytes());
        for (base, entries) in &runs {
            out.extend_from_slice(&base.to_be_bytes());
            out.extend_from_slice(&(entries.len() as u32).to_be_bytes());
            entries.iter().for_each(|entry| put_entry(entry, out));
        }
        Ok(())
    }

    /// Takes a checkpoint over; `None` if it makes no sense.
    fn load(&self, bytes: &[u8], log_start: LogOffset) -> io::Result<Option<()>> {
        let mut reader = Reader(bytes);
        let Some((covered, trimmed, extents)) = take_head(&mut reader) else {
            return Ok(None);
        };
        // What the deleted log said between the two, of dropped topics say, nobody knows any more.
        if covered < log_start {
            return Ok(None);
        }
        if !self.files.adopt(&extents, log_start)? {
            return Ok(None);
        }
        let loaded = self.load_topics(&mut reader, &extents, log_start);
        if loaded.is_none() || !reader.is_empty() {
            return Ok(None);
        }
        self.covered.store(covered.0, Ordering::Release);
        self.checkpoint_len
            .store(bytes.len() as u64, Ordering::Relaxed);
        self.trimmed.store(trimmed, Ordering::Release);
        self.raise_start(log_start);
        Ok(Some(()))
    }

    fn load_topics(
        &self,
        reader: &mut Reader<'_>,
        extents: &[Extent],
        log_start: LogOffset,
    ) -> Option<()> {
        for _ in 0..reader.u32()? {
            let len = reader.u16()?;
            let name = std::str::from_utf8(reader.take(usize::from(len))?).ok()?;
            let topic = TopicName::parse(name).ok()?;
            for _ in 0..reader.u32()? {
                self.load_queue(&topic, reader, extents, log_start)?;
            }
        }
        Some(())
    }

    fn load_queue(
        &self,
        topic: &TopicName,
        reader: &mut Reader<'_>,
        extents: &[Extent],
        log_start: LogOffset,
    ) -> Option<()> {
        let id = QueueId(reader.u32()?);
        let (start, end) = (reader.u64()?, reader.u64()?);
        let queue = self.queue(topic, id);
        if start > end || queue.end().0 != 0 {
            return None;
        }
        for _ in 0..reader.u32()? {
            let block = Block {
                base: reader.u64()?,
                last: LogOffset(reader.u64()?),
                place: Place {
                    file: reader.u32()?,
                    at: reader.u32()?,
                },
                count: u16::try_from(reader.u32()?).ok()?,
                bytes: reader.u64()?,
                entries: None,
            };
            let mut list = queue.list();
            let fits =
                block.base >= list.base && block.count > 0 && usize::from(block.count) <= BLOCK;
            let known = block.last < log_start || extents.iter().any(|e| holds(e, &block));
            if !fits || !known {
                return None;
            }
            list.base = block.base.checked_add(u64::from(block.count))?;
            // What the log no longer has is not looked up any more.
            if block.last >= log_start {
                list.blocks.push(block);
            }
        }
        queue.start.store(start, Ordering::Release);
        let base = queue.list().base;
        queue.end.store(base, Ordering::Release);
        for _ in 0..reader.u32()? {
            let mut at = reader.u64()?;
            for _ in 0..reader.u32()? {
                let entry = take_entry(reader)?;
                if at < queue.end().0 {
                    return None;
                }
                self.append(&queue, QueueOffset(at), entry);
                at = at.checked_add(1)?;
            }
        }
        self.raise_end(&queue, QueueOffset(end));
        queue.start.store(start, Ordering::Release);
        queue.set_next(end);
        (queue.end().0 == end).then_some(())
    }
}

/// Whether the block lies in what was flushed of that file.
fn holds(extent: &Extent, block: &Block) -> bool {
    let end = u64::from(block.place.at) + encoded_len(block.count) as u64;
    extent.number == block.place.file && end <= u64::from(extent.len)
}

fn take_head(reader: &mut Reader<'_>) -> Option<(LogOffset, u64, Vec<Extent>)> {
    let (covered, trimmed) = (LogOffset(reader.u64()?), reader.u64()?);
    let mut extents = Vec::new();
    for _ in 0..reader.u32()? {
        extents.push(Extent {
            number: reader.u32()?,
            len: reader.u32()?,
            last: LogOffset(reader.u64()?),
        });
    }
    Some((covered, trimmed, extents))
}
