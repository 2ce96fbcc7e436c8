//! All queues: finding them, growing them, reading them, and moving full tails to the disk.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use model::{LogOffset, QueueId, QueueOffset, TopicName};

use super::block::{self, Identity};
use super::cache::Cache;
use super::files::Files;
use super::list::{Block, Found, List, Place};
use super::{BLOCK, Entry, Queue};
use crate::disk::{Disk, Reads, Wait};
use crate::error::ReadError;
use crate::index::hash::Build;
use crate::lock;

/// Memory the queues may use, bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Written blocks that stay in memory.
    pub cache: usize,
    /// All tails together; above it the longer ones become short blocks.
    pub tails: usize,
    /// Blocks that wait to be written; above it whoever appends writes them.
    pub unwritten: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            cache: 16 << 20,
            tails: 48 << 20,
            unwritten: 16 << 20,
        }
    }
}

/// Blocks are written in pieces of about this many bytes.
const PIECE: usize = 1 << 20;
/// A tail with fewer entries is not made a block: the pointer would cost more than it saves.
const SHORTEST: usize = 16;

type Topics = HashMap<TopicName, Vec<Arc<Queue>>, Build>;

/// All queues of a store.
pub(crate) struct Queues {
    pub(super) topics: RwLock<Topics>,
    slots: Mutex<Slots>,
    pub(super) files: Files,
    pub(super) cache: Cache,
    limits: Limits,
    /// Blocks that are in memory only: queue and first queue offset.
    unwritten: Mutex<Vec<(Arc<Queue>, u64)>>,
    unwritten_bytes: AtomicUsize,
    /// Bytes that the tails have room for.
    pub(super) tail_bytes: AtomicUsize,
    pub(super) covered: AtomicU64,
    pub(super) checkpoint_len: AtomicU64,
    /// Where the log began when the queues' starts were last looked for.
    pub(super) trimmed: AtomicU64,
    /// Queues of dropped topics until the checkpoint lies behind the record that says so.
    pub(super) dropped: Mutex<Vec<(LogOffset, Arc<Queue>)>>,
    /// A flush failed: what is on the disk is not known, so no checkpoint is written any more.
    pub(super) failed: AtomicBool,
}

#[derive(Debug, Default)]
struct Slots {
    next: u32,
    free: Vec<u32>,
}

impl Queues {
    /// Queues that keep their blocks in `disk`, none yet.
    pub(super) fn empty(disk: &Arc<dyn Disk>, limits: Limits) -> Queues {
        Queues {
            topics: RwLock::default(),
            slots: Mutex::default(),
            files: Files::new(Arc::clone(disk)),
            cache: Cache::new(limits.cache),
            limits,
            unwritten: Mutex::default(),
            unwritten_bytes: AtomicUsize::new(0),
            tail_bytes: AtomicUsize::new(0),
            covered: AtomicU64::new(0),
            checkpoint_len: AtomicU64::new(0),
            trimmed: AtomicU64::new(0),
            dropped: Mutex::default(),
            failed: AtomicBool::new(false),
        }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Topics> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Topics> {
        self.topics.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queue, made if it is new.
    pub fn queue(&self, topic: &TopicName, id: QueueId) -> Arc<Queue> {
        if let Some(queue) = self.find(topic.as_str(), id.0) {
            return queue;
        }
        let mut topics = self.write();
        if !topics.contains_key(topic) {
            topics.insert(topic.clone(), Vec::new());
        }
        // Queues share the name of their topic.
        let name = topics.get_key_value(topic).map(|(name, _)| name.clone());
        let list = topics.entry(topic.clone()).or_default();
        match list.binary_search_by_key(&id, |queue| queue.id) {
            Ok(at) => Arc::clone(&list[at]),
            Err(at) => {
                let slot = self.take_slot();
                let queue = Queue::new(name.unwrap_or_else(|| topic.clone()), id, slot);
                list.insert(at, Arc::clone(&queue));
                queue
            }
        }
    }

    fn take_slot(&self) -> u32 {
        let mut slots = lock(&self.slots);
        slots.free.pop().unwrap_or_else(|| {
            slots.next += 1;
            slots.next - 1
        })
    }

    pub(super) fn free_slot(&self, slot: u32) {
        lock(&self.slots).free.push(slot);
    }

    /// The queue, if it is there.
    pub fn find(&self, topic: &str, id: u32) -> Option<Arc<Queue>> {
        let topics = self.read();
        let list = topics.get(topic)?;
        // Mostly a topic has all its queues, and the id is the place.
        if let Some(queue) = list.get(id as usize).filter(|queue| queue.id.0 == id) {
            return Some(Arc::clone(queue));
        }
        let at = list.binary_search_by_key(&id, |queue| queue.id.0).ok()?;
        list.get(at).cloned()
    }

    /// All queues there are.
    pub fn all(&self) -> Vec<Arc<Queue>> {
        self.read().values().flatten().cloned().collect()
    }

    /// Makes an entry visible.
    pub fn append(&self, queue: &Queue, at: QueueOffset, entry: Entry) {
        self.append_all(queue, at.0, &[entry]);
    }

    /// Makes entries visible, the first of them at `at`. Entries of a queue come in order; those that are
    /// there already are skipped, and positions that were left out (their records were lost) read as
    /// entries of size 0.
    pub fn append_all(&self, queue: &Queue, at: u64, entries: &[Entry]) {
        let (mut at, mut rest) = (at, entries);
        while !rest.is_empty() {
            let mut list = queue.list();
            let end = list.end();
            if at < end {
                let known = ((end - at) as usize).min(rest.len());
                (at, rest) = (at + known as u64, &rest[known..]);
                continue;
            }
            if at > end {
                self.skip(queue, &mut list, at);
            }
            let room = BLOCK - list.tail.len();
            let (now, later) = rest.split_at(room.min(rest.len()));
            if list.tail.capacity() - list.tail.len() < now.len() {
                self.grow(&mut list.tail, now.len());
            }
            list.tail.extend_from_slice(now);
            (at, rest) = (at + now.len() as u64, later);
            queue.end.store(at, Ordering::Release);
            if list.tail.len() < BLOCK {
                return;
            }
            self.seal(queue, &mut list);
            drop(list);
            if self.unwritten_bytes.load(Ordering::Relaxed) > self.limits.unwritten
                && let Err(e) = self.write_blocks()
            {
                tracing::warn!("writing queue blocks: {e}");
            }
        }
    }

    #[cold]
    fn grow(&self, tail: &mut Vec<Entry>, count: usize) {
        let before = tail.capacity();
        tail.reserve(count);
        let more = (tail.capacity() - before) * size_of::<Entry>();
        self.tail_bytes.fetch_add(more, Ordering::Relaxed);
    }

    /// Moves the end to `to`; what lies between was lost, or deleted if the queue is empty.
    fn skip(&self, queue: &Queue, list: &mut List, to: u64) {
        if !list.tail.is_empty() {
            self.seal(queue, list);
        }
        if queue.start().0 == list.base {
            queue.start.store(to, Ordering::Release);
        }
        list.base = to;
        queue.end.store(to, Ordering::Release);
    }

    fn seal(&self, queue: &Queue, list: &mut List) {
        let before = list.tail.capacity() * size_of::<Entry>();
        let room = list.room();
        let base = list.seal(room);
        let after = list.tail.capacity() * size_of::<Entry>();
        self.tail_bytes.fetch_add(after, Ordering::Relaxed);
        self.tail_bytes.fetch_sub(before, Ordering::Relaxed);
        let bytes = (list.base - base) as usize * size_of::<Entry>();
        self.unwritten_bytes.fetch_add(bytes, Ordering::Relaxed);
        lock(&self.unwritten).extend(queue.me.upgrade().map(|queue| (queue, base)));
    }

    /// A queue whose records up to `end` were deleted continues there.
    pub fn raise_end(&self, queue: &Queue, end: QueueOffset) {
        let mut list = queue.list();
        if list.end() < end.0 {
            self.skip(queue, &mut list, end.0);
        }
    }

    /// Appends up to `max` entries from `from` on to `out`; fewer at the end. `from` below the start
    /// begins at the start. With [`Wait::No`] a block that is not in memory is [`Reads::WouldBlock`]
    /// if nothing was appended before it.
    pub fn entries(
        &self,
        queue: &Queue,
        from: QueueOffset,
        max: usize,
        wait: Wait,
        out: &mut Vec<Entry>,
    ) -> Result<Reads, ReadError> {
        let mut from = from.0.max(queue.start().0);
        let mut left = max;
        while left > 0 {
            let found = queue.list().copy(from, left, out);
            match found {
                Found::End => break,
                Found::Copied(count) => {
                    from += count as u64;
                    left -= count;
                    if from >= queue.end().0 {
                        break;
                    }
                }
                Found::Cold(_) if left < max && wait == Wait::No => break,
                Found::Cold(block) => {
                    if self.fetch(queue, &block, wait)? == Reads::WouldBlock {
                        return Ok(Reads::WouldBlock);
                    }
                }
            }
        }
        Ok(Reads::Done)
    }

    /// Brings a block into memory.
    fn fetch(&self, queue: &Queue, block: &Block, wait: Wait) -> Result<Reads, ReadError> {
        match self.read_block(queue, block, wait) {
            Ok(Some(entries)) => self.remember(queue, block, Arc::new(entries)),
            Ok(None) => return Ok(Reads::WouldBlock),
            // If its file was deleted with the log it describes, the next look finds the new start.
            Err(e) => {
                let same = queue.list().block_mut(block.base).map(|b| b.place);
                if same == Some(block.place) {
                    self.distrust();
                    return Err(e);
                }
            }
        }
        Ok(Reads::Done)
    }

    /// The length of all records that a queue has, from its start on.
    ///
    /// # Errors
    /// As [`Queues::entries`].
    pub fn bytes(&self, queue: &Queue) -> Result<u64, ReadError> {
        let start = queue.start();
        let (whole, cut) = queue.list().bytes(start.0);
        let mut entries = Vec::new();
        if let Some(block) = cut {
            let rest = block.end().saturating_sub(start.0) as usize;
            self.entries(queue, start, rest, Wait::Yes, &mut entries)?;
        }
        let rest = entries.iter().map(|entry| u64::from(entry.size));
        Ok(whole + rest.sum::<u64>())
    }

    /// A block's entries from the disk; `None` if that would block.
    pub(super) fn read_block(
        &self,
        queue: &Queue,
        block: &Block,
        wait: Wait,
    ) -> Result<Option<Vec<Entry>>, ReadError> {
        let mut bytes = Vec::new();
        let len = block::encoded_len(block.count);
        match self.files.read(block.place, len, wait, &mut bytes) {
            Ok(Reads::WouldBlock) => return Ok(None),
            Ok(Reads::Done) => {}
            // A file that was cut: damaged like any other.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => bytes.clear(),
            Err(e) => return Err(ReadError::Io(e)),
        }
        let entries = block::decode(Identity::of(queue, block), &bytes);
        entries.map(Some).ok_or_else(|| ReadError::Index {
            topic: queue.topic.clone(),
            queue: queue.id,
            at: QueueOffset(block.base),
        })
    }

    fn remember(&self, queue: &Queue, block: &Block, entries: Arc<Vec<Entry>>) {
        {
            let mut list = queue.list();
            match list.block_mut(block.base) {
                Some(b) if b.place == block.place && b.entries.is_none() => {
                    b.entries = Some(entries);
                }
                _ => return,
            }
        }
        self.cache.note(queue, block.base, usize::from(block.count));
    }

    /// Writes full blocks to their files, so that memory may forget them. Call it every 100 ms or so
    /// while there is traffic; a checkpoint does it too.
    pub fn write_blocks(&self) -> io::Result<()> {
        self.spill();
        let waiting = std::mem::take(&mut *lock(&self.unwritten));
        let mut rest = waiting.as_slice();
        let mut bytes = Vec::new();
        while !rest.is_empty() {
            let (count, failed) = self.write_piece(rest, &mut bytes);
            rest = &rest[count..];
            if let Some(e) = failed {
                lock(&self.unwritten).extend_from_slice(rest);
                return Err(e);
            }
        }
        Ok(())
    }

    /// Writes the first of `waiting` in one piece; returns how many are done.
    fn write_piece(
        &self,
        waiting: &[(Arc<Queue>, u64)],
        bytes: &mut Vec<u8>,
    ) -> (usize, Option<io::Error>) {
        bytes.clear();
        let mut blocks = Vec::new();
        let mut last = LogOffset(0);
        let mut taken = 0;
        for (queue, base) in waiting {
            if bytes.len() >= PIECE {
                break;
            }
            taken += 1;
            // It may have been deleted with the log it describes.
            let Some(found) = queue.list().block_mut(*base).cloned() else {
                continue;
            };
            let Some(entries) = found.entries.clone() else {
                continue;
            };
            let at = bytes.len() as u32;
            block::encode(Identity::of(queue, &found), &entries, bytes);
            last = last.max(found.last);
            blocks.push((Arc::clone(queue), *base, found.count, at));
        }
        let begin = match self.files.append(bytes, last) {
            Ok(place) => place,
            Err(e) => return (0, Some(e)),
        };
        for (queue, base, count, at) in blocks {
            let place = Place {
                file: begin.file,
                at: begin.at + at,
            };
            // It may have been deleted meanwhile; then its bytes are not counted any more.
            match queue.list().block_mut(base) {
                Some(block) => block.place = place,
                None => continue,
            }
            self.cache.note(&queue, base, usize::from(count));
            let bytes = usize::from(count) * size_of::<Entry>();
            self.unwritten_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        (taken, None)
    }

    /// Makes blocks of the longer tails if all tails together are over their limit.
    fn spill(&self) {
        if self.tail_bytes.load(Ordering::Relaxed) <= self.limits.tails {
            return;
        }
        for least in [BLOCK / 4, SHORTEST] {
            for queue in self.all() {
                let mut list = queue.list();
                if list.tail.len() >= least {
                    self.seal(&queue, &mut list);
                }
                drop(list);
                if self.tail_bytes.load(Ordering::Relaxed) <= self.limits.tails / 2 {
                    return;
                }
            }
        }
    }

    /// Takes the topic's queues out. `at` is the position of the record that says so: the disk may
    /// forget them only once that record is flushed.
    pub fn drop_topic(&self, topic: &str, at: LogOffset) -> Vec<Arc<Queue>> {
        let gone = self.write().remove(topic).unwrap_or_default();
        let mut dropped = lock(&self.dropped);
        dropped.extend(gone.iter().map(|queue| (at, Arc::clone(queue))));
        gone
    }

    /// The log begins here now: entries below are gone. Their files go with the next checkpoint.
    pub fn raise_start(&self, log_start: LogOffset) {
        if log_start.0 <= self.trimmed.load(Ordering::Acquire) {
            return;
        }
        let dropped: Vec<_> = (lock(&self.dropped).iter())
            .map(|(_, queue)| Arc::clone(queue))
            .collect();
        for queue in self.all().into_iter().chain(dropped) {
            if let Err(e) = self.trim(&queue, log_start) {
                tracing::warn!("finding where {} {} begins: {e}", queue.topic, queue.id);
            }
        }
        self.trimmed.store(log_start.0, Ordering::Release);
    }

    /// Reads every block of a queue; throws all away if one is damaged.
    pub fn check_readable(&self, topic: &str, id: u32) -> io::Result<()> {
        let Some(queue) = self.find(topic, id) else {
            return Ok(());
        };
        let blocks = queue.list().blocks.clone();
        for block in blocks.iter().filter(|block| block.entries.is_none()) {
            if let Err(error) = self.read_block(&queue, block, Wait::Yes) {
                tracing::warn!(%error, "building the queues from the log");
                return self.reset();
            }
        }
        Ok(())
    }

    fn trim(&self, queue: &Queue, log_start: LogOffset) -> Result<(), ReadError> {
        let boundary = {
            let mut list = queue.list();
            let dead = list.blocks.partition_point(|block| block.last < log_start);
            for block in list.blocks.drain(..dead) {
                if !block.place.is_written() {
                    let bytes = usize::from(block.count) * size_of::<Entry>();
                    self.unwritten_bytes.fetch_sub(bytes, Ordering::Relaxed);
                }
            }
            let first = list.blocks.first().map(|block| (block.base, block.end()));
            let base = first.map_or_else(
                || list.base + list.tail.partition_point(|e| e.log_offset < log_start) as u64,
                |(base, _)| base,
            );
            if base == list.end() {
                let bytes = list.forget_tail() * size_of::<Entry>();
                self.tail_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
            queue.start.fetch_max(base, Ordering::AcqRel);
            first
        };
        let Some((base, end)) = boundary else {
            return Ok(());
        };
        let from = base.max(queue.start().0);
        let mut entries = Vec::new();
        let max = end.saturating_sub(from) as usize;
        self.entries(queue, QueueOffset(from), max, Wait::Yes, &mut entries)?;
        let below = entries.partition_point(|e| e.log_offset < log_start);
        queue.start.fetch_max(from + below as u64, Ordering::AcqRel);
        Ok(())
    }
}

impl std::fmt::Debug for Queues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queues")
            .field("topics", &self.read().len())
            .finish_non_exhaustive()
    }
}
