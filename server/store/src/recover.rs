//! What is cut off after a crash, and what is only reported.
//!
//! Above the durable mark the first thing that is no record ends the log, even if something valid
//! stands behind it: it was never promised, and a log has no holes. What lies behind the cut is zeroed,
//! and the zeros flushed, before anything is appended; else a stale record could come back after the
//! next crash. Below the durable mark nothing is ever cut: damage is reported, and the scan finds its
//! way back at the next record whose checksum, which covers its position, holds.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use model::LogOffset;
use model::record::{self, MAGIC_BLANK, MAGIC_V1, MAGIC_V2, RecordError, View};

use crate::error::Error;
use crate::log::Position;
use crate::log::read::RECORD_MAX;
use crate::log::segments::{Segment, Segments};
use crate::log::stage::{FILLER, filler_end};
use crate::store::Recovery;

/// The log is read in pieces of this.
const WINDOW: usize = 4 << 20;
/// How far behind the cut a torn append is measured, for the report.
const TORN_MAX: u64 = 64 << 20;

/// Where recovery begins.
pub(crate) struct From {
    /// Everything before this was flushed: damage there is not an end.
    pub durable: LogOffset,
    /// Records before this need not be shown to `each`.
    pub covered: LogOffset,
    /// No record before `durable` was stored later.
    pub stored_at: i64,
}

/// Planted bugs, to show that the crash harness finds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Planted {
    /// What lies behind the cut is left there.
    pub keep_behind_cut: bool,
    /// A snapshot of what waits counts before the records that emptied it are flushed.
    pub hasty_snapshot: bool,
}

/// Scans, cuts, zeroes and flushes. `each` sees every valid record from `covered` on, in log order.
pub(crate) fn recover(
    segments: &Segments,
    from: &From,
    planted: Planted,
    each: &mut dyn FnMut(&View<'_>),
) -> Result<(Position, Recovery), Error> {
    let durable = from.durable.0.max(segments.start());
    settle(segments, durable)?;
    let mut scan = Scan {
        segments,
        window: Vec::new(),
        window_at: 0,
        stored_at: from.stored_at,
        recovery: Recovery::default(),
    };
    let start = from.covered.0.max(segments.start()).min(durable);
    let end = scan.run(start, durable, from.covered.0, each)?;
    if !planted.keep_behind_cut {
        scan.cut(end)?;
    }
    scan.recovery.log = (LogOffset(segments.start()), LogOffset(end));
    let position = Position {
        end: LogOffset(end),
        stored_at: scan.stored_at,
    };
    Ok((position, scan.recovery))
}

/// Makes the page cache tell what the disk holds: what is dirty is flushed, and what was not known to
/// be durable is read again. After a failed flush the cache holds bytes the disk never got.
fn settle(segments: &Segments, durable: u64) -> Result<(), Error> {
    for segment in segments.all() {
        if segment.end() > durable {
            let name = segment.path();
            segment.file.sync_data().map_err(Error::io(name.clone()))?;
            let len = segment.file.len().map_err(Error::io(name.clone()))?;
            let from = durable.max(segment.base) - segment.base;
            if from < len {
                segment
                    .file
                    .forget(from & !4095..len)
                    .map_err(Error::io(name))?;
            }
        }
    }
    Ok(())
}

struct Scan<'s> {
    segments: &'s Segments,
    window: Vec<u8>,
    /// Log offset of the window's first byte.
    window_at: u64,
    stored_at: i64,
    recovery: Recovery,
}

enum Item {
    Record(u64),
    Filler(u64),
}

impl Scan<'_> {
    /// Returns where the log ends.
    fn run(
        &mut self,
        start: u64,
        durable: u64,
        covered: u64,
        each: &mut dyn FnMut(&View<'_>),
    ) -> Result<u64, Error> {
        let mut at = start;
        while let Some(segment) = self.segments.at(at) {
            match self.item(&segment, at).map_err(Error::io(segment.path()))? {
                Ok(Item::Record(end)) => {
                    if let Ok(view) = View::parse(self.held(at..end)) {
                        let stored_at = view.stored_at();
                        if at >= covered {
                            each(&view);
                        }
                        self.stored_at = self.stored_at.max(stored_at);
                    }
                    self.recovery.scanned += end - at;
                    at = end;
                }
                Ok(Item::Filler(end)) => {
                    if end != segment.end() {
                        self.segments.set_capacity(segment.base, end - segment.base);
                    }
                    at = end;
                }
                Err(_) if at < durable => {
                    let next = self
                        .next_valid(&segment, at, durable)
                        .map_err(Error::io(segment.path()))?;
                    tracing::error!(from = at, to = next, "damaged records are left out");
                    (self.recovery.quarantined).push((LogOffset(at), LogOffset(next)));
                    at = next;
                }
                Err(error) => {
                    self.recovery.cut = self.torn(&segment, at, error)?;
                    break;
                }
            }
        }
        Ok(at.max(durable))
    }

    fn held(&self, range: Range<u64>) -> &[u8] {
        let from = range.start - self.window_at;
        let to = range.end - self.window_at;
        self.window
            .get(from as usize..to as usize)
            .unwrap_or_default()
    }

    /// Makes the window hold `len` bytes from `at` on, or as many as there are.
    fn fill(&mut self, segment: &Segment, at: u64, len: usize) -> io::Result<()> {
        let end = self.window_at + self.window.len() as u64;
        if self.window_at <= at && at + len as u64 <= end {
            return Ok(());
        }
        let want = (len.max(WINDOW) as u64).min(segment.end().saturating_sub(at)) as usize;
        self.window.resize(want, 0);
        self.window_at = at;
        let count = segment.file.read_at(&mut self.window, at - segment.base)?;
        self.window.truncate(count);
        Ok(())
    }

    /// What stands at `at`.
    fn item(&mut self, segment: &Segment, at: u64) -> io::Result<Result<Item, RecordError>> {
        self.fill(segment, at, FILLER as usize)?;
        let head = self.held_up_to(at, FILLER as usize);
        let Some((total, magic)) = record::head(head) else {
            return Ok(Err(RecordError::Short));
        };
        if magic == MAGIC_BLANK {
            let last = self.segments.at(segment.end()).is_none();
            let end = filler_end(head, at).filter(|&end| last || end == segment.end());
            return Ok(end.map(Item::Filler).ok_or(RecordError::Crc));
        }
        if magic != MAGIC_V1 && magic != MAGIC_V2 {
            return Ok(Err(RecordError::Magic(magic)));
        }
        let end = at + u64::from(total);
        if total as usize > RECORD_MAX || end + FILLER > segment.end() {
            return Ok(Err(RecordError::Lengths));
        }
        self.fill(segment, at, total as usize)?;
        let bytes = self.held_up_to(at, total as usize);
        Ok(View::verify(bytes, LogOffset(at)).map(|_| Item::Record(end)))
    }

    fn held_up_to(&self, at: u64, len: usize) -> &[u8] {
        let end = self.window_at + self.window.len() as u64;
        self.held(at..(at + len as u64).min(end).max(at))
    }

    /// The first valid record behind a damaged one, at most the durable mark, which is a boundary.
    fn next_valid(&mut self, segment: &Arc<Segment>, at: u64, durable: u64) -> io::Result<u64> {
        let limit = durable.min(segment.end());
        let mut probe = at + 1;
        while probe + 8 <= limit {
            self.fill(segment, probe, 8)?;
            let held = self.window.len() as u64 - (probe - self.window_at);
            if held < 8 {
                break;
            }
            let magic = MAGIC_V1.to_be_bytes();
            let window = &self.window[(probe - self.window_at) as usize..];
            let found = window[4..]
                .windows(3)
                .position(|bytes| bytes == &magic[..3]);
            let Some(found) = found else {
                probe += held - 6;
                continue;
            };
            probe += found as u64;
            if probe < limit && matches!(self.item(segment, probe)?, Ok(Item::Record(_))) {
                return Ok(probe);
            }
            probe += 1;
        }
        Ok(limit)
    }

    /// How many bytes of a torn append lie behind the cut. What an earlier life of a recycled file left
    /// is no append of ours.
    fn torn(&mut self, segment: &Segment, at: u64, error: RecordError) -> Result<u64, Error> {
        let failed = Error::io(segment.path());
        if error == RecordError::Position {
            return Ok(0);
        }
        let mut last = at;
        let mut probe = at;
        let mut measure = || -> io::Result<()> {
            let len = segment.base + segment.file.len()?;
            let limit = len.min(at + TORN_MAX);
            while probe < limit {
                self.fill(segment, probe, 1)?;
                let end = (self.window_at + self.window.len() as u64).min(limit);
                let bytes = self.held(probe..end);
                if bytes.is_empty() {
                    break;
                }
                if let Some(n) = bytes.iter().rposition(|&byte| byte != 0) {
                    last = probe + n as u64 + 1;
                }
                probe = end;
            }
            Ok(())
        };
        measure().map_err(failed)?;
        Ok(last - at)
    }

    /// Leaves nothing behind `end`: later segments are deleted, the rest of this one is zeros.
    fn cut(&self, end: u64) -> Result<(), Error> {
        self.segments
            .cut(end)
            .map_err(Error::io("cutting the log"))?;
        let Some(segment) = self.segments.at(end) else {
            return Ok(());
        };
        let zero = || -> io::Result<()> {
            let from = end - segment.base;
            let len = segment.file.len()?;
            if from < len {
                segment.file.zero(from..len)?;
            }
            segment.file.sync_data()
        };
        zero().map_err(Error::io(segment.path()))
    }
}
