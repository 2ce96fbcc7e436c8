//! The commit log: one writer's worth of bytes at a time.
//!
//! Callers stage under a short lock and then call [`Log::write_out`]: the first to arrive writes what
//! everybody staged in one system call, the others wait for it and find their bytes written. A failed
//! or short write is final: the log takes nothing more until it is opened again, because what the page
//! cache holds after a failure is not what the disk holds.

pub(crate) mod ahead;
pub(crate) mod cached;
pub(crate) mod dispatch;
pub(crate) mod flush;
pub(crate) mod properties;
pub(crate) mod read;
pub(crate) mod room;
pub(crate) mod segments;
pub(crate) mod stage;
pub(crate) mod tail;
pub(crate) mod texts;

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, RwLock};

use model::LogOffset;

use crate::clock::Clock;
use crate::error::WriteError;
use crate::index::Item;
use crate::index::feed::Feed;
use crate::lock;
use crate::marks::Marks;
use crate::options::Options;
use crate::pending::Transition;
use crate::queue::Entry;
use cached::Cached;
use dispatch::Dispatcher;
use flush::Flusher;
use room::Room;
use segments::{Segment, Segments};
use stage::{Piece, Run, Stage};
use tail::Tail;
use texts::Texts;

/// The log, open for appending.
pub(crate) struct Log {
    pub options: Options,
    pub clock: Arc<dyn Clock>,
    pub segments: Segments,
    pub marks: Marks,
    stage: Mutex<Stage>,
    writer: Mutex<Writer>,
    /// Notified when a range is no longer being zeroed.
    zeroed: Condvar,
    tail: RwLock<Tail>,
    dispatcher: Mutex<Dispatcher>,
    /// Entries for the key index, of records from some position on.
    pub feed: Mutex<Feed>,
    flusher: Mutex<Flusher>,
    /// Held during a flush.
    flushing: Mutex<()>,
    /// Notified when there is something to flush.
    unflushed: Condvar,
    failure: OnceLock<Arc<str>>,
    pub room: Room,
    /// How far the wall clock was set: see [`crate::Pending::observe`].
    skew: Arc<AtomicI64>,
    cached: Cached,
    texts: Texts,
    /// How often a reader met a damaged record.
    pub(crate) damaged: AtomicU64,
    /// Where the cursor was when the background looked last.
    ahead_saw: AtomicU64,
}

/// So much is not written in a moment.
const MUCH: u64 = 1 << 20;

/// Lets threads go first that wait for this core. Who loses it while it holds a lock keeps everybody waiting until
/// it has it again, milliseconds; so what takes long under one begins with a whole slice of time.
fn whole_slice() {
    std::thread::yield_now();
}

/// What whoever writes holds.
struct Writer {
    spare: Vec<u8>,
    pieces: Vec<Piece>,
    runs: Vec<Run>,
    entries: Vec<Entry>,
    transitions: Vec<Transition>,
    keys: Vec<Item>,
    /// The segment written last.
    segment: Option<Arc<Segment>>,
    /// Log offsets that the background is filling with zeros right now.
    zeroing: Option<Range<u64>>,
}

/// Where a recovered log stands.
pub(crate) struct Position {
    pub end: LogOffset,
    pub stored_at: i64,
}

impl Log {
    /// A log that goes on at `position`. The segment it lies in must exist.
    pub fn new(
        options: Options,
        clock: Arc<dyn Clock>,
        segments: Segments,
        position: &Position,
        skew: Arc<AtomicI64>,
    ) -> std::io::Result<Log> {
        let end = position.end.0;
        let segment = match segments.at(end) {
            Some(segment) => segment,
            None => segments.make(end)?,
        };
        let stage = Stage {
            base: end,
            buffer: Vec::new(),
            full: Vec::new(),
            runs: Vec::new(),
            entries: Vec::new(),
            transitions: Vec::new(),
            keys: Vec::new(),
            segment_end: segment.end(),
            reserved: end,
            stored_at: position.stored_at,
            store_host: options.store_host,
            refuse: false,
        };
        Ok(Log {
            marks: Marks::new(options.flush, position.end),
            stage: Mutex::new(stage),
            writer: Mutex::new(Writer {
                spare: Vec::new(),
                pieces: Vec::new(),
                runs: Vec::new(),
                entries: Vec::new(),
                transitions: Vec::new(),
                keys: Vec::new(),
                segment: None,
                zeroing: None,
            }),
            zeroed: Condvar::new(),
            tail: RwLock::new(Tail::new(options.tail_max)),
            dispatcher: Mutex::default(),
            feed: Mutex::new(Feed::new(end)),
            flusher: Mutex::new(Flusher::new(end)),
            flushing: Mutex::default(),
            unflushed: Condvar::new(),
            failure: OnceLock::new(),
            room: Room::default(),
            skew,
            cached: Cached::new(end, options.cached),
            texts: Texts::new(options.texts_max),
            damaged: AtomicU64::new(0),
            ahead_saw: AtomicU64::new(end),
            options,
            clock,
            segments,
        })
    }

    /// Sets the address in the store host of records staged from now on.
    pub fn set_store_host(&self, host: SocketAddr) {
        lock(&self.stage).store_host = host;
    }

    /// Refuses, or takes again, what producers send. Returns whether that is a change.
    pub fn set_refuse(&self, refuse: bool) -> bool {
        std::mem::replace(&mut lock(&self.stage).refuse, refuse) != refuse
    }

    /// Whether producers' messages are taken: nothing has failed, and there is room.
    pub fn takes_messages(&self) -> bool {
        self.failure.get().is_none() && !lock(&self.stage).refuse
    }

    /// When the last record was stored.
    pub fn last_stored_at(&self) -> i64 {
        lock(&self.stage).stored_at
    }

    /// Why the log takes nothing more, if so.
    pub fn failure(&self) -> Option<Arc<str>> {
        self.failure.get().cloned()
    }

    /// Makes the log read-only for good. The first reason stays.
    pub fn fail(&self, reason: String) -> Arc<str> {
        let first = self.failure.get_or_init(|| {
            tracing::error!(%reason, "the store is read-only until it is opened again");
            reason.into()
        });
        self.unflushed.notify_all();
        Arc::clone(first)
    }

    /// Writes all that is staged.
    pub fn write_out(&self) -> Result<(), WriteError> {
        let mine = self.marks.staged();
        let appended = self.marks.appended();
        if appended < mine {
            if mine.0 - appended.0 >= MUCH {
                whole_slice();
            }
            let mut writer = self
                .writer
                .lock()
                .map_err(|_| WriteError(self.fail("a thread panicked while it wrote".into())))?;
            if self.marks.appended() < mine && self.failure.get().is_none() {
                self.take(&mut writer);
                writer = self.await_zeroing(writer);
                let written = self.write(&mut writer);
                written.map_err(|e| WriteError(self.fail(format!("writing the log: {e}"))))?;
                drop(writer);
                self.wake_flusher();
            }
        }
        self.failure()
            .map_or(Ok(()), |reason| Err(WriteError(reason)))
    }

    /// Moves what is staged to the writer.
    fn take(&self, writer: &mut Writer) {
        let spare = std::mem::take(&mut writer.spare);
        let mut stage = lock(&self.stage);
        let (base, end) = (stage.base, stage.end());
        writer.pieces.append(&mut stage.full);
        writer.runs.append(&mut stage.runs);
        writer.entries.append(&mut stage.entries);
        writer.transitions.append(&mut stage.transitions);
        writer.keys.append(&mut stage.keys);
        let bytes = std::mem::replace(&mut stage.buffer, spare);
        stage.base = end;
        drop(stage);
        writer.pieces.push(Piece { base, bytes, end });
    }

    fn await_zeroing<'a>(
        &'a self,
        mut writer: std::sync::MutexGuard<'a, Writer>,
    ) -> std::sync::MutexGuard<'a, Writer> {
        let meets = |writer: &Writer| {
            writer.zeroing.as_ref().is_some_and(|zeroing| {
                (writer.pieces.iter())
                    .any(|piece| piece.base < zeroing.end && piece.end > zeroing.start)
            })
        };
        while meets(&writer) {
            writer = self
                .zeroed
                .wait(writer)
                .unwrap_or_else(PoisonError::into_inner);
        }
        writer
    }

    fn write(&self, writer: &mut Writer) -> std::io::Result<()> {
        let Writer {
            runs,
            entries,
            transitions,
            ..
        } = writer;
        lock(&self.dispatcher).extend(runs, entries, transitions);
        if let Some(last) = writer.pieces.last() {
            lock(&self.feed).extend(&mut writer.keys, last.end);
        }
        let mut pieces = std::mem::take(&mut writer.pieces);
        for piece in pieces.drain(..) {
            if !piece.bytes.is_empty() {
                let segment = self.segment_of(writer, piece.base)?;
                segment
                    .file
                    .write_at(&piece.bytes, piece.base - segment.base)?;
            }
            let mut tail = self.tail.write().unwrap_or_else(PoisonError::into_inner);
            writer.spare = tail.push(piece.base, piece.bytes);
            drop(tail);
            self.marks.move_appended(piece.end);
        }
        writer.pieces = pieces;
        Ok(())
    }

    fn segment_of(&self, writer: &mut Writer, at: u64) -> std::io::Result<Arc<Segment>> {
        if let Some(segment) = &writer.segment
            && segment.base <= at
            && at < segment.end()
        {
            return Ok(Arc::clone(segment));
        }
        let segment = self.segments.at(at).ok_or(std::io::ErrorKind::NotFound)?;
        writer.segment = Some(Arc::clone(&segment));
        Ok(segment)
    }
}
