//! What follows dispatch with a cursor of its own: the key index.
//!
//! Records staged by this run of the server bring their keys along ([`crate::index::feed`]); others are
//! read from the log.

use std::time::Duration;

use model::LogOffset;
use model::record::{self, View};

use crate::disk::Wait;
use crate::error::ReadError;
use crate::lock;
use crate::store::{Next, Store};
use crate::table;

/// So many bytes of the log a step.
const PIECE: u64 = 4 << 20;
/// So many bytes at once.
const WINDOW: usize = 256 << 10;
/// How long to wait when there is nothing.
const PAUSE: Duration = Duration::from_millis(100);

/// Brings the key index forward by a piece.
pub(crate) fn step(store: &Store) -> Next {
    match piece(store) {
        Ok(true) => Next::Now,
        Ok(false) => Next::After(PAUSE),
        Err(e) => {
            // Keys are a convenience: the store goes on without new ones.
            tracing::warn!("the key index stands still: {e}");
            Next::After(PAUSE * 10)
        }
    }
}

/// So many pieces are waited for by who asks for a key.
const PIECES: usize = 4;

/// Brings the key index forward to what is visible now, unless that is far.
pub(crate) fn catch_up(store: &Store) {
    let visible = store.marks().dispatched;
    for _ in 0..PIECES {
        // What goes wrong is told by the loop, which comes to it as well.
        if store.keys.next() >= visible || piece(store).is_err() {
            return;
        }
    }
}

fn piece(store: &Store) -> Result<bool, ReadError> {
    let _alone = lock(&store.deriving);
    let begin = store.keys.next().max(store.log_start());
    let dispatched = store.marks().dispatched;
    if begin >= dispatched {
        return Ok(false);
    }
    let mut items = Vec::new();
    let (taken, fed_from) = {
        let mut feed = lock(&store.log.feed);
        let taken = feed.take(begin.0, dispatched.0, &mut items);
        (taken, feed.from())
    };
    if let Some(to) = taken {
        store.keys.extend(&mut items, LogOffset(to));
        store.keys.step()?;
        return Ok(false);
    }
    from_log(store, begin, LogOffset(fed_from).min(dispatched))?;
    Ok(true)
}

/// Reads what was staged before this run of the server, or so fast that the feed could not wait.
fn from_log(store: &Store, begin: LogOffset, end: LogOffset) -> Result<(), ReadError> {
    let mut at = begin;
    let mut window = Vec::new();
    while at < end && at.0 - begin.0 < PIECE {
        window.clear();
        store.log.window(at, WINDOW, &mut window)?;
        let whole = records(store, at, &window);
        at = match whole > at {
            true => whole,
            false => one(store, at)?,
        };
        store.keys.step()?;
    }
    Ok(())
}

/// Adds the whole records at the head of `window`; returns the position behind them. Their checksums
/// are not looked at: whoever is given a record's position reads the record itself.
fn records(store: &Store, from: LogOffset, window: &[u8]) -> LogOffset {
    let mut at = from;
    let mut rest = window;
    while let Ok(view) = View::parse(rest) {
        if view.log_offset() != at {
            break;
        }
        let end = LogOffset(at.0 + view.len() as u64);
        match view.topic() == table::TOPIC {
            true => store.keys.skip(end),
            false => store.keys.add(&view, end),
        }
        rest = rest.get(view.len()..).unwrap_or_default();
        at = end;
    }
    at
}

/// What is no whole record of a window: one that is longer, a filler, or damage.
fn one(store: &Store, at: LogOffset) -> Result<LogOffset, ReadError> {
    let mut bytes = Vec::new();
    let next = match store.log.next_record(at, &mut bytes) {
        Ok(None) => store.marks().dispatched,
        Ok(Some((begin, end))) => {
            if records(store, begin, &bytes) != end {
                store.keys.skip(end);
            }
            end
        }
        Err(ReadError::Damaged(lost) | ReadError::Missing(lost)) => behind(store, lost)?,
        Err(e) => return Err(e),
    };
    store.keys.skip(next);
    Ok(next)
}

/// Where reading goes on behind a damaged record: behind it if its length can be believed, else at the
/// next segment.
pub(crate) fn behind(store: &Store, lost: LogOffset) -> Result<LogOffset, ReadError> {
    let Some(segment) = store.log.segments.at(lost.0) else {
        return Err(ReadError::Missing(lost));
    };
    let mut head = [0; 8];
    let read = segment.file.read_at(&mut head, lost.0 - segment.base)?;
    let len = record::head(head.get(..read).unwrap_or_default()).map_or(0, |(len, _)| len);
    let end = LogOffset(lost.0 + u64::from(len));
    let mut bytes = Vec::new();
    let believed = len > 0 && end.0 < segment.end();
    if believed && store.log.record(end, Wait::Yes, &mut bytes).is_ok() {
        return Ok(end);
    }
    match LogOffset(segment.end()) {
        end if end < store.log.marks.dispatched() => Ok(end),
        // The last segment: wait until the next one begins.
        _ => Err(ReadError::Missing(lost)),
    }
}

/// Writes down what is in the index, so that the next start derives little.
pub(crate) fn seal(store: &Store) {
    if let Err(e) = store.keys.seal() {
        tracing::warn!("writing the key index: {e}");
    }
}
