//! How far the log is safe. Each mark is the end (exclusive) of a prefix.
//!
//! `staged >= appended >= flushed`, and `confirmed >= dispatched`. A mark only moves forward, and
//! only after the bytes it covers really are where it says.

use std::sync::atomic::{AtomicU64, Ordering};

use model::{Level, LogOffset};

use crate::options::Flush;

/// The marks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarksView {
    /// Offsets were given out up to here; private to the store.
    pub staged: LogOffset,
    /// The write returned.
    pub appended: LogOffset,
    /// The flush returned.
    pub flushed: LogOffset,
    /// Safe as configured.
    pub confirmed: LogOffset,
    /// Consumers see up to here.
    pub dispatched: LogOffset,
}

#[derive(Debug)]
pub(crate) struct Marks {
    flush: Flush,
    staged: AtomicU64,
    appended: AtomicU64,
    flushed: AtomicU64,
    dispatched: AtomicU64,
}

impl Marks {
    /// Marks of a log that was recovered, and flushed, up to `end`.
    pub fn new(flush: Flush, end: LogOffset) -> Marks {
        let at = || AtomicU64::new(end.0);
        Marks {
            flush,
            staged: at(),
            appended: at(),
            flushed: at(),
            dispatched: at(),
        }
    }

    pub fn view(&self) -> MarksView {
        let at = |mark: &AtomicU64| LogOffset(mark.load(Ordering::Acquire));
        // The lower mark is read first, so that the order holds in what is returned.
        let dispatched = at(&self.dispatched);
        let confirmed = self.confirmed();
        let flushed = at(&self.flushed);
        let appended = at(&self.appended);
        MarksView {
            staged: at(&self.staged),
            appended,
            flushed,
            confirmed,
            dispatched,
        }
    }

    pub fn reached(&self, level: Level) -> LogOffset {
        match level {
            Level::Appended => self.appended(),
            Level::Flushed => self.flushed(),
            Level::Confirmed => self.confirmed(),
        }
    }

    pub fn staged(&self) -> LogOffset {
        LogOffset(self.staged.load(Ordering::Acquire))
    }

    pub fn appended(&self) -> LogOffset {
        LogOffset(self.appended.load(Ordering::Acquire))
    }

    pub fn flushed(&self) -> LogOffset {
        LogOffset(self.flushed.load(Ordering::Acquire))
    }

    pub fn dispatched(&self) -> LogOffset {
        LogOffset(self.dispatched.load(Ordering::Acquire))
    }

    pub fn confirmed(&self) -> LogOffset {
        match self.flush {
            Flush::Sync => self.flushed(),
            Flush::Async => self.appended(),
        }
    }

    pub fn move_staged(&self, to: u64) {
        self.staged.store(to, Ordering::Release);
    }

    pub fn move_appended(&self, to: u64) {
        self.appended.fetch_max(to, Ordering::AcqRel);
    }

    pub fn move_flushed(&self, to: u64) {
        self.flushed.fetch_max(to, Ordering::AcqRel);
    }

    pub fn move_dispatched(&self, to: u64) {
        self.dispatched.fetch_max(to, Ordering::AcqRel);
    }
}
