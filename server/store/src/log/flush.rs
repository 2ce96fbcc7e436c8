//! Flushing: group commit without a timer, or paced write-back with one.
//!
//! `SYNC_FLUSH`: whatever was appended while the last `fdatasync` ran is flushed by the next one.
//! `ASYNC_FLUSH`: a flush begins at most one interval after the first unflushed byte; in between, bytes
//! are handed to the disk in even steps, so that the flush finds little left. An older segment is
//! flushed before a newer one. A failed flush is never repeated: the next would succeed and lie.

use std::sync::PoisonError;
use std::time::Duration;

use super::Log;
use crate::error::WriteError;
use crate::lock;
use crate::options::Flush;
use crate::store::Next;

/// With nothing to flush, whoever writes wakes the flush loop.
const IDLE: Duration = Duration::from_secs(1);

/// The flush side's notes.
pub(crate) struct Flusher {
    /// Handed to the disk up to this log offset.
    paced: u64,
    /// When the first unflushed byte was seen.
    since: Option<Duration>,
    /// Somebody waits for something to flush.
    waiting: bool,
    /// There is something to flush.
    wanted: bool,
}

impl Flusher {
    pub fn new(end: u64) -> Flusher {
        Flusher {
            paced: end,
            since: None,
            waiting: false,
            wanted: false,
        }
    }
}

impl Log {
    /// Flushes what is due.
    pub fn flush_step(&self) -> Result<Next, WriteError> {
        if let Some(reason) = self.failure() {
            return Err(WriteError(reason));
        }
        let target = self.marks.appended().0;
        if self.marks.flushed().0 >= target {
            return Ok(Next::After(IDLE));
        }
        if self.options.flush == Flush::Async
            && let Some(rest) = self.pace(target)
        {
            return Ok(Next::After(rest));
        }
        self.flush_to(target)?;
        let more = self.marks.appended().0 > target;
        Ok(match self.options.flush {
            Flush::Sync if more => Next::Now,
            Flush::Async if more => Next::After(self.options.flush_interval),
            _ => Next::After(IDLE),
        })
    }

    /// Flushes everything appended, now.
    pub fn flush_all(&self) -> Result<(), WriteError> {
        if let Some(reason) = self.failure() {
            return Err(WriteError(reason));
        }
        let target = self.marks.appended().0;
        if self.marks.flushed().0 < target {
            self.flush_to(target)?;
            let mut flusher = lock(&self.flusher);
            flusher.wanted = true;
            if flusher.waiting {
                self.unflushed.notify_one();
            }
        }
        Ok(())
    }

    /// One at a time: Linux tells a failed write to one flush of a descriptor, and another that ran beside it would
    /// succeed before the failure is known.
    fn flush_to(&self, target: u64) -> Result<(), WriteError> {
        let _alone = lock(&self.flushing);
        if let Some(reason) = self.failure() {
            return Err(WriteError(reason));
        }
        let from = self.marks.flushed().0;
        if from >= target {
            return Ok(());
        }
        for segment in self.segments.all() {
            if segment.base < target && segment.end() > from {
                let synced = segment.file.sync_data();
                synced.map_err(|e| WriteError(self.fail(format!("flushing the log: {e}"))))?;
            }
        }
        // A write that failed meanwhile may have left its bytes out of what was just flushed.
        if let Some(reason) = self.failure() {
            return Err(WriteError(reason));
        }
        self.marks.move_flushed(target);
        let mut flusher = lock(&self.flusher);
        flusher.paced = flusher.paced.max(target);
        // `wanted` stays: whoever waits for the mark is told by the flush loop's next round.
        let more = self.marks.appended().0 > target;
        flusher.since = more.then(|| self.clock.mono());
        Ok(())
    }

    /// Hands whole steps to the disk; returns how long the flush itself may still wait.
    fn pace(&self, target: u64) -> Option<Duration> {
        let step = self.options.write_back_step.max(1);
        let (from, to, rest) = {
            let mut flusher = lock(&self.flusher);
            let now = self.clock.mono();
            let since = *flusher.since.get_or_insert(now);
            let from = flusher.paced;
            let to = from + (target - from.min(target)) / step * step;
            flusher.paced = to;
            flusher.wanted = false;
            let due = since + self.options.flush_interval;
            (
                from,
                to,
                due.checked_sub(now).filter(|rest| !rest.is_zero()),
            )
        };
        for segment in self.segments.all() {
            let range = from.max(segment.base)..to.min(segment.end());
            if range.start < range.end {
                // Only a hint: what goes wrong here is found by the flush.
                let _ = segment
                    .file
                    .write_back(range.start - segment.base..range.end - segment.base);
            }
        }
        rest
    }

    /// Blocks until there may be something to flush, or `limit` is over.
    pub fn wait_flush(&self, limit: Duration) {
        let mut flusher = lock(&self.flusher);
        if flusher.wanted || self.failure().is_some() {
            flusher.wanted = false;
            return;
        }
        flusher.waiting = true;
        let (mut flusher, _) = self
            .unflushed
            .wait_timeout(flusher, limit)
            .unwrap_or_else(PoisonError::into_inner);
        flusher.waiting = false;
        flusher.wanted = false;
    }

    /// Called after each write.
    pub(super) fn wake_flusher(&self) {
        let mut flusher = lock(&self.flusher);
        let due = match self.options.flush {
            Flush::Sync => true,
            Flush::Async => {
                let appended = self.marks.appended().0;
                flusher.since.is_none() || appended - flusher.paced >= self.options.write_back_step
            }
        };
        if !due || flusher.wanted {
            return;
        }
        flusher.since.get_or_insert_with(|| self.clock.mono());
        flusher.wanted = true;
        if flusher.waiting {
            self.unflushed.notify_one();
        }
    }
}
