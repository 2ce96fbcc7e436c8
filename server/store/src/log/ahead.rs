//! Work ahead of the cursor, so that the hot path meets no new block and no new file.
//!
//! An overwrite of a written block costs `fdatasync` half of what a first write costs. So zeros are
//! written ahead in the background, in pieces that a writer who catches up waits for. Only where
//! somebody waits for the flush: with `ASYNC_FLUSH` it would be twice the work for nothing.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Log;
use super::segments::Segment;
use crate::lock;
use crate::options::Flush;
use crate::store::Next;

/// Zeros written at once.
const PIECE: u64 = 1 << 20;
/// The background keeps this far from the cursor, or it would be in the writer's way.
const MARGIN: u64 = 2 << 20;
/// How often the cursor is looked at while it moves,
const BUSY: Duration = Duration::from_millis(20);
/// and while it stands still.
const IDLE: Duration = Duration::from_millis(250);

impl Log {
    /// Does one piece of it, and of what is to be done behind the cursor.
    pub fn ahead_step(&self) -> Next {
        if self.failure().is_some() {
            return Next::Never;
        }
        let (cursor, segment_end, refuse) = {
            let stage = lock(&self.stage);
            (stage.end(), stage.segment_end, stage.refuse)
        };
        let moved = self.ahead_saw.swap(cursor, Ordering::Relaxed) != cursor;
        let pause = match self.give_back() {
            true => Next::Now,
            false => Next::After(if moved { BUSY } else { IDLE }),
        };
        let Some(segment) = self.segments.at(cursor).filter(|_| !refuse) else {
            return pause;
        };
        let ahead = match self.options.flush {
            Flush::Sync => self.options.zero_ahead.min(segment.capacity),
            Flush::Async => 0,
        };
        let started = cursor > segment.base || segment.base > 0;
        if started && segment_end - cursor < ahead.max(segment.capacity / 8) {
            // Without space the next segment is tried again when it is needed, and then refused.
            let _ = self.segments.make(segment_end);
        }
        self.reserve_ahead(&segment, cursor);
        match self.zero_piece(&segment, ahead) {
            true => Next::Now,
            false => pause,
        }
    }

    /// Keeps one step of space ahead of the cursor, outside the staging lock.
    fn reserve_ahead(&self, segment: &Segment, cursor: u64) {
        let from = lock(&self.stage).reserved;
        let step = self.options.reserve_step;
        if from < segment.base || from >= segment.end() || from - cursor.min(from) > step / 2 {
            return;
        }
        let to = (from + step).min(segment.end());
        let range = from - segment.base..to - segment.base;
        if segment.file.reserve(range).is_ok() {
            let mut stage = lock(&self.stage);
            if stage.segment_end == segment.end() {
                stage.reserved = stage.reserved.max(to);
            }
        }
    }

    /// Writes zeros where nothing was written yet. Returns whether it did.
    fn zero_piece(&self, segment: &Segment, ahead: u64) -> bool {
        let range = {
            // Nobody writes while the writer is held, so what is staged now is all there is to spare.
            let mut writer = lock(&self.writer);
            let (cursor, reserved) = {
                let stage = lock(&self.stage);
                (stage.end(), stage.reserved)
            };
            let near = cursor + MARGIN.min(ahead / 8);
            let start = segment.prewritten().max(near).next_multiple_of(4096);
            let limit = (cursor + ahead).min(segment.end()).min(reserved);
            let range = start..(start + PIECE).min(limit);
            if range.start >= range.end {
                return false;
            }
            writer.zeroing = Some(range.clone());
            range
        };
        let zeros = vec![0u8; (range.end - range.start) as usize];
        let at = range.start - segment.base;
        let written = segment.file.write_at(&zeros, at);
        lock(&self.writer).zeroing = None;
        self.zeroed.notify_all();
        match written {
            Ok(()) => {
                segment.set_prewritten(range.end);
                let _ = segment.file.write_back(at..at + zeros.len() as u64);
                true
            }
            // Nothing was promised for these bytes, and a writer that meets the same trouble says so.
            Err(_) => false,
        }
    }
}
