//! How much of the log the system's page cache keeps.
//!
//! A writer that leaves every page behind makes the system hand out a new page for each one it writes,
//! until memory is full and others are pushed out; where a hypervisor backs memory as it is touched, a
//! new page costs five times what filling it does. So flushed pages are given back behind a window, and
//! are the ones that the next write gets. Not what somebody is reading towards the log's end: from the
//! lowest position read of late on, everything stays.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Log;
use crate::lock;

/// Given back in steps of this, if the window is not small,
const STEP: u64 = 8 << 20;
/// and so much at once.
const PIECE: u64 = 64 << 20;
/// A reader that was not seen for one to two of these has gone, or is so slow that the disk is fast
/// enough for it.
const LOOK: Duration = Duration::from_millis(500);

/// What stays, and what was given back.
#[derive(Debug)]
pub(crate) struct Cached {
    window: u64,
    /// What lies below was given back.
    from: AtomicU64,
    /// The lowest position at or above `from` that was read since the last look.
    read: AtomicU64,
    readers: Mutex<Readers>,
}

#[derive(Debug)]
struct Readers {
    /// The lowest positions read in the last look's time, and since.
    lowest: [u64; 2],
    looked: Duration,
}

impl Cached {
    /// Nothing of what is above `end` was given back, and nothing below is our business. `window`: so
    /// much at the log's end always stays.
    pub fn new(end: u64, window: u64) -> Cached {
        Cached {
            window,
            from: AtomicU64::new(end),
            read: AtomicU64::new(u64::MAX),
            readers: Mutex::new(Readers {
                lowest: [u64::MAX; 2],
                looked: Duration::ZERO,
            }),
        }
    }

    /// Somebody reads the file there. Below what was given back it comes from the disk anyway.
    pub fn note(&self, at: u64) {
        if at < self.read.load(Ordering::Relaxed) && at >= self.from.load(Ordering::Relaxed) {
            self.read.fetch_min(at, Ordering::Relaxed);
        }
    }

    /// What shall be given back now that everything below `flushed` is on the disk.
    fn due(&self, flushed: u64, now: Duration) -> Option<Range<u64>> {
        let from = self.from.load(Ordering::Relaxed);
        let step = STEP.min(self.window / 8).max(4096);
        if flushed.saturating_sub(from) < self.window + step {
            return None;
        }
        let mut readers = lock(&self.readers);
        let [before, since] = &mut readers.lowest;
        *since = self.read.swap(u64::MAX, Ordering::Relaxed).min(*since);
        let kept = (flushed - self.window).min(*before).min(*since);
        if now.saturating_sub(readers.looked) >= LOOK {
            readers.lowest = [readers.lowest[1], u64::MAX];
            readers.looked = now;
        }
        let to = (kept - kept % 4096).min(from.saturating_add(PIECE));
        if to < from.saturating_add(step) {
            return None;
        }
        self.from.store(to, Ordering::Relaxed);
        Some(from..to)
    }
}

impl Log {
    /// The system may use the memory of what is behind the window for something else. Returns whether
    /// there was any.
    pub(super) fn give_back(&self) -> bool {
        let flushed = self.marks.flushed().0;
        let Some(range) = self.cached.due(flushed, self.clock.mono()) else {
            return false;
        };
        for segment in self.segments.all() {
            let here = range.start.max(segment.base)..range.end.min(segment.end());
            if here.start < here.end {
                let base = segment.base;
                // Only a hint: without it they are given back when the system needs memory.
                let _ = segment.file.forget(here.start - base..here.end - base);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn check(cached: &Cached, flushed: u64, ms: u64, due: Option<Range<u64>>) {
        let found = cached.due(flushed * MIB, Duration::from_millis(ms));
        assert_eq!(found, due.map(|due| due.start * MIB..due.end * MIB));
    }

    #[test]
    fn what_is_behind_the_window_is_given_back_once() {
        let cached = Cached::new(5 * MIB, 64 * MIB);
        check(&cached, 60, 1, None);
        // A whole step is waited for.
        check(&cached, 76, 2, None);
        check(&cached, 77, 3, Some(5..13));
        check(&cached, 77, 4, None);
        check(&cached, 100, 5, Some(13..36));
        check(&cached, 200, 6, Some(36..100));
        check(&cached, 200, 7, Some(100..136));
    }

    #[test]
    fn what_a_reader_has_before_it_stays_until_it_was_not_seen_for_a_while() {
        let cached = Cached::new(0, 64 * MIB);
        check(&cached, 74, 500, Some(0..10));
        // This one comes from the disk: too late to keep it.
        cached.note(9 * MIB);
        cached.note(30 * MIB);
        cached.note(20 * MIB);
        check(&cached, 200, 600, Some(10..20));
        check(&cached, 200, 1_000, None);
        // It goes on; what is behind it goes.
        cached.note(40 * MIB);
        check(&cached, 200, 1_100, None);
        check(&cached, 200, 1_500, None);
        check(&cached, 200, 1_600, Some(20..40));
        check(&cached, 200, 2_000, None);
        check(&cached, 200, 2_500, Some(40..104));
    }
}
