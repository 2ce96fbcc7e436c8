//! Staging: positions are given out and records encoded, under one short lock.
//!
//! The lock is taken per record; nothing is allocated, and no disk is touched except when a segment
//! ends or its reserved space does before the background made more. Space is there before an offset is
//! given out: a full disk leaves nothing half done.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, MutexGuard};

use model::message::PROPERTIES_MAX;
use model::record::{self, MAGIC_BLANK, Ready, Record};
use model::{LogOffset, QueueOffset};

use super::Log;
use crate::error::StageError;
use crate::index::{Item, Keys, keys};
use crate::pending::{Place, Transition};
use crate::queue::{Entry, Queue};

/// Bytes a segment keeps free behind its last record, for the filler's head: remaining length 4, magic
/// 4, log offset 8, checksum 4. RocketMQ has only the first two; with its position in it, a filler
/// that an earlier life of the file left behind is not taken for ours.
pub(crate) const FILLER: u64 = 20;

/// Bodies of this length on are encoded before the lock is taken: what others wait for is short then.
const LONG: usize = 32 << 10;

/// The clock is read for one of so many records staged together.
const CLOCK_EVERY: usize = 16;

/// A message about to be staged, its bytes borrowed from wherever they arrived.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Where it goes.
    pub queue: &'a Arc<Queue>,
    /// The user's flag, opaque to us.
    pub flag: i32,
    /// System flag; the two host bits are set by the encoder.
    pub sys_flag: i32,
    /// The client's clock, milliseconds since the Unix epoch.
    pub born_at: i64,
    /// Who sent it.
    pub born_host: SocketAddr,
    /// How often it was retried.
    pub reconsume_times: i32,
    /// Log offset of the record it came from, else 0.
    pub prepared_offset: u64,
    /// The body, compressed or not.
    pub body: &'a [u8],
    /// The property string, without `__CRC32#`; at most `PROPERTIES_MAX` bytes.
    pub properties: &'a str,
    /// The hash of its tag, 0 if it has none; of a delayed message, when it is due.
    pub tags_code: i64,
    /// Its keys.
    pub keys: Keys<'a>,
}

/// Where a record will lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Its position in the queue.
    pub queue_offset: QueueOffset,
    /// Its position in the log.
    pub log_offset: LogOffset,
    /// The position behind it: what a mark must reach.
    pub end: LogOffset,
    /// Our clock, milliseconds since the Unix epoch; never goes back.
    pub stored_at: i64,
}

/// Entries of one queue, one behind the other in the log too, on their way to being seen.
pub(crate) struct Run {
    pub queue: Arc<Queue>,
    /// The position of the first one.
    pub at: u64,
    pub count: usize,
}

/// Bytes on their way to one segment.
pub(crate) struct Piece {
    pub base: u64,
    pub bytes: Vec<u8>,
    /// The log offset reached when it is written: behind a filler, the next segment's first byte.
    pub end: u64,
}

/// Whose record it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Producer,
    Ours,
}

/// What the staging lock guards.
pub(crate) struct Stage {
    /// Log offset of the buffer's first byte.
    pub base: u64,
    pub buffer: Vec<u8>,
    /// Filled pieces of earlier segments.
    pub full: Vec<Piece>,
    /// Whose the entries are, in their order.
    pub runs: Vec<Run>,
    pub entries: Vec<Entry>,
    /// What the records mean for what waits; most mean nothing.
    pub transitions: Vec<Transition>,
    /// Entries for the key index.
    pub keys: Vec<Item>,
    /// Log offset behind the current segment.
    pub segment_end: u64,
    /// Log offset up to which there is space.
    pub reserved: u64,
    /// When the last record was stored.
    pub stored_at: i64,
    pub store_host: SocketAddr,
    /// Set while the partition is over its limit.
    pub refuse: bool,
}

impl Stage {
    /// Where the next record goes.
    pub fn end(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    fn held(&self) -> usize {
        self.full
            .iter()
            .map(|piece| piece.bytes.len())
            .sum::<usize>()
            + self.buffer.len()
    }

    fn draft<'a>(&self, draft: &Draft<'a>, queue_offset: u64, topic: &'a str) -> Record<'a> {
        let at = LogOffset(self.end());
        record_of(
            draft,
            queue_offset,
            topic,
            at,
            self.stored_at,
            self.store_host,
        )
    }

    /// Encodes one record for which there is room, unless that was done.
    fn push(&mut self, draft: &Draft<'_>, ready: Option<Ready>, skew: &AtomicI64) -> Staged {
        let queue_offset = draft.queue.next();
        let log_offset = LogOffset(self.end());
        let record = self.draft(draft, queue_offset, draft.queue.topic.as_str());
        let size = match ready.and_then(|ready| ready.at(&record)) {
            Some(bytes) => self.put(bytes),
            None => record::encode(&record, &mut self.buffer),
        } as u32;
        draft.queue.set_next(queue_offset + 1);
        match self.runs.last_mut() {
            Some(run)
                if Arc::ptr_eq(&run.queue, draft.queue)
                    && run.at + run.count as u64 == queue_offset =>
            {
                run.count += 1;
            }
            _ => self.runs.push(Run {
                queue: Arc::clone(draft.queue),
                at: queue_offset,
                count: 1,
            }),
        }
        self.entries.push(Entry {
            log_offset,
            size,
            tags_code: draft.tags_code,
        });
        if let Some(seed) = draft.queue.key_seed {
            let place = (log_offset.0, self.stored_at);
            let (flag, text) = (draft.sys_flag, draft.properties);
            keys::push(seed, place, flag, draft.keys, text, &mut self.keys);
        }
        if draft.prepared_offset != 0 || draft.queue.kind.is_some() {
            self.note(draft, log_offset, size, skew);
        }
        Staged {
            queue_offset: QueueOffset(queue_offset),
            log_offset,
            end: LogOffset(self.end()),
            stored_at: self.stored_at,
        }
    }
}

impl Stage {
    /// Takes a record as a piece of its own.
    fn put(&mut self, bytes: Vec<u8>) -> usize {
        let size = bytes.len();
        let before = std::mem::take(&mut self.buffer);
        for bytes in [before, bytes] {
            let base = self.base;
            self.base += bytes.len() as u64;
            if !bytes.is_empty() {
                let end = self.base;
                self.full.push(Piece { base, bytes, end });
            }
        }
        size
    }

    #[cold]
    fn note(&mut self, draft: &Draft<'_>, at: LogOffset, size: u32, skew: &AtomicI64) {
        let place = Place {
            at,
            size,
            stored_at: self.stored_at,
            skew: skew.load(Ordering::Relaxed),
        };
        let (kind, from) = (draft.queue.kind, draft.prepared_offset);
        (self.transitions).extend(Transition::new(kind, from, draft.properties, &place));
    }
}

fn record_of<'a>(
    draft: &Draft<'a>,
    queue_offset: u64,
    topic: &'a str,
    log_offset: LogOffset,
    stored_at: i64,
    store_host: SocketAddr,
) -> Record<'a> {
    Record {
        topic,
        queue: draft.queue.id,
        queue_offset: QueueOffset(queue_offset),
        log_offset,
        flag: draft.flag,
        sys_flag: draft.sys_flag,
        born_at: draft.born_at,
        born_host: draft.born_host,
        stored_at,
        store_host,
        reconsume_times: draft.reconsume_times,
        prepared_offset: draft.prepared_offset,
        body: draft.body,
        properties: draft.properties,
    }
}

/// Appends the head of a filler from `at` to the segment's end.
fn push_filler(at: u64, segment_end: u64, out: &mut Vec<u8>) {
    let from = out.len();
    out.extend_from_slice(&((segment_end - at) as u32).to_be_bytes());
    out.extend_from_slice(&MAGIC_BLANK.to_be_bytes());
    out.extend_from_slice(&at.to_be_bytes());
    let sum = record::crc(&out[from..]);
    out.extend_from_slice(&sum.to_be_bytes());
}

/// Where the filler at `at` says that its segment ends, if `bytes` begin with a whole one.
pub(crate) fn filler_end(bytes: &[u8], at: u64) -> Option<u64> {
    let head = bytes.first_chunk::<{ FILLER as usize }>()?;
    let total = u32::from_be_bytes(*head.first_chunk()?);
    let mut whole = Vec::with_capacity(head.len());
    push_filler(at, at.checked_add(u64::from(total))?, &mut whole);
    (whole == head).then_some(at + u64::from(total))
}

impl Log {
    /// Gives the record its positions and encodes it.
    pub fn stage(&self, draft: &Draft<'_>) -> Result<Staged, StageError> {
        let ready = match draft.body.len() {
            LONG.. => Some(self.ready(draft)?),
            _ => None,
        };
        let mut stage = self.staging()?;
        self.admit(&mut stage, std::slice::from_ref(draft), Whose::Producer)?;
        let staged = stage.push(draft, ready, &self.skew);
        self.marks.move_staged(staged.end.0);
        Ok(staged)
    }

    /// The same for our own records, which are also taken while producers are refused. `then` runs
    /// before anybody else can stage.
    pub fn stage_system(
        &self,
        draft: &Draft<'_>,
        then: impl FnOnce(&Staged),
    ) -> Result<Staged, StageError> {
        let mut stage = self.staging()?;
        self.admit(&mut stage, std::slice::from_ref(draft), Whose::Ours)?;
        let staged = stage.push(draft, None, &self.skew);
        self.marks.move_staged(staged.end.0);
        then(&staged);
        Ok(staged)
    }

    /// One of our own records, if `still` holds when nobody else can stage; else `None`, and nothing
    /// was staged.
    pub fn stage_system_if(
        &self,
        draft: &Draft<'_>,
        still: impl FnOnce() -> bool,
    ) -> Result<Option<Staged>, StageError> {
        let mut stage = self.staging()?;
        if !still() {
            return Ok(None);
        }
        self.admit(&mut stage, std::slice::from_ref(draft), Whose::Ours)?;
        let staged = stage.push(draft, None, &self.skew);
        self.marks.move_staged(staged.end.0);
        Ok(Some(staged))
    }

    /// All or none, one behind the other in one segment.
    pub fn stage_all(&self, drafts: &[Draft<'_>], out: &mut Vec<Staged>) -> Result<(), StageError> {
        let mut stage = self.staging()?;
        self.admit(&mut stage, drafts, Whose::Producer)?;
        out.extend(
            drafts
                .iter()
                .map(|draft| stage.push(draft, None, &self.skew)),
        );
        self.marks.move_staged(stage.end());
        Ok(())
    }

    /// A record that is long, but for its position. What may be refused for its size is refused here.
    fn ready(&self, draft: &Draft<'_>) -> Result<Ready, StageError> {
        let topic = draft.queue.topic.as_str();
        let store_host = self.staging()?.store_host;
        let record = record_of(draft, 0, topic, LogOffset(0), 0, store_host);
        let len = record::encoded_len(&record);
        if len > self.options.record_max || draft.properties.len() > PROPERTIES_MAX {
            return Err(StageError::TooLarge(len));
        }
        Ok(Ready::new(&record))
    }

    /// The staging lock; a thread that panicked while it held it made the store read-only.
    pub fn staging(&self) -> Result<MutexGuard<'_, Stage>, StageError> {
        let stage = self.stage.lock().map_err(|_| {
            StageError::ReadOnly(self.fail("a thread panicked while it staged a record".into()))
        })?;
        match self.failure() {
            Some(reason) => Err(StageError::ReadOnly(reason)),
            None => Ok(stage),
        }
    }

    /// Checks everything that may be refused, and makes room. Afterwards nothing can fail.
    fn admit(
        &self,
        stage: &mut Stage,
        drafts: &[Draft<'_>],
        whose: Whose,
    ) -> Result<(), StageError> {
        if stage.refuse && whose == Whose::Producer {
            return Err(StageError::Full);
        }
        let mut total = 0;
        for draft in drafts {
            let len = record::encoded_len(&stage.draft(draft, 0, draft.queue.topic.as_str()));
            if draft.queue.is_dropped() {
                return Err(StageError::Dropped);
            }
            if len > self.options.record_max || draft.properties.len() > PROPERTIES_MAX {
                return Err(StageError::TooLarge(len));
            }
            total += len;
        }
        if total as u64 + FILLER > self.options.segment_size {
            return Err(StageError::TooLarge(total));
        }
        if stage.held() > 0 && stage.held() + total > self.options.staged_max {
            return Err(StageError::Busy);
        }
        if stage.end() + total as u64 + FILLER > stage.segment_end {
            self.roll(stage)?;
        }
        // Producers leave some reserved space to our own records: snapshots must be possible on a disk
        // that is full, or nothing could be deleted.
        let slack = match whose {
            Whose::Producer => self.options.reserve_step / 8,
            Whose::Ours => 0,
        };
        let need = stage.end() + total as u64 + FILLER + slack;
        if need.min(stage.segment_end) > stage.reserved {
            self.reserve(stage, need)?;
        }
        // The clock is not asked for each of the many records that one tick stages; but what comes at its
        // time must not say that it came before.
        let comes = drafts.iter().any(|draft| draft.prepared_offset != 0);
        if comes || stage.entries.len().is_multiple_of(CLOCK_EVERY) {
            stage.stored_at = stage.stored_at.max(self.clock.wall());
        }
        Ok(())
    }

    /// Ends the segment with a filler. The next one stands before anything is changed.
    fn roll(&self, stage: &mut Stage) -> Result<(), StageError> {
        let next = self.segments.make(stage.segment_end);
        let next = next.map_err(|e| self.refused(e, "making a segment"))?;
        push_filler(stage.end(), stage.segment_end, &mut stage.buffer);
        stage.full.push(Piece {
            base: stage.base,
            bytes: std::mem::take(&mut stage.buffer),
            end: next.base,
        });
        stage.base = next.base;
        stage.segment_end = next.end();
        stage.reserved = next.base + self.segments.first_step();
        self.marks.move_staged(next.base);
        self.room.want();
        Ok(())
    }

    fn reserve(&self, stage: &mut Stage, need: u64) -> Result<(), StageError> {
        let Some(segment) = self.segments.at(stage.base) else {
            return Err(StageError::Full);
        };
        let to = (stage.reserved + self.options.reserve_step).max(need);
        let to = to.min(segment.end());
        let range = stage.reserved - segment.base..to - segment.base;
        let reserved = segment.file.reserve(range);
        reserved.map_err(|e| self.refused(e, "reserving space"))?;
        stage.reserved = to;
        Ok(())
    }

    /// No space heals by itself; anything else is final.
    fn refused(&self, error: io::Error, what: &str) -> StageError {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => StageError::Full,
            _ => StageError::ReadOnly(self.fail(format!("{what}: {error}"))),
        }
    }
}
