//! When a segment is deleted, and what must stand before that.
//!
//! The age of a segment is the time of the next one's first record: file times say nothing after a
//! copy. Nothing younger than the retention goes, however full the disk is, unless cleaning by force is
//! configured, or room for what comes, as of a server in memory; a full disk refuses producers instead, and
//! heals by itself. Before a segment goes, (a) a snapshot of all tables is flushed at a later position, and
//! (b) every body in it that is still needed was appended again, naming where it came from.

pub(crate) mod moved;

use std::time::Duration;

use model::record::View;
use model::{LogOffset, QueueOffset};

use crate::disk::{Space, Wait};
use crate::error::{ReadError, StageError, WriteError};
use crate::index::Keys;
use crate::lock;
use crate::log::stage::Draft;
use crate::open;
use crate::options::Options;
use crate::pending::Kind;
use crate::snapshot;
use crate::store::{Next, Store};

pub use moved::Moved;

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(10);
/// The same while there is no room, but nothing may go yet.
const SOON: Duration = Duration::from_millis(100);
/// How many segments go at once.
const AT_ONCE: usize = 10;
const HOUR_MS: i64 = 3_600_000;

/// Appends again what of the log below a position is still needed, besides what waits: leased messages.
/// If it cannot, nothing is deleted.
pub type Keep<'a> = dyn FnMut(LogOffset) -> Result<(), StageError> + 'a;

/// Why nothing was deleted.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("what waits at {0} is just being decided")]
    Undecided(LogOffset),
}

/// What decides when segments go, and when producers are refused; may be changed while the store is open. It begins
/// as [`Options`] say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// See [`Options::reserved_time`].
    pub reserved_time: Duration,
    /// See [`Options::disk_used_max`], in percent.
    pub disk_used_max: u8,
    /// See [`Options::disk_refuse`], in percent.
    pub disk_refuse: u8,
    /// See [`Options::disk_force`], in percent.
    pub disk_force: u8,
    /// See [`Options::clean_forcibly`].
    pub clean_forcibly: bool,
}

impl Retention {
    pub(crate) fn of(options: &Options) -> Retention {
        Retention {
            reserved_time: options.reserved_time,
            disk_used_max: options.disk_used_max,
            disk_refuse: options.disk_refuse,
            disk_force: options.disk_force,
            clean_forcibly: options.clean_forcibly,
        }
    }
}

impl Store {
    /// Whether producers' messages are taken: it is not read-only, and the disk is not full.
    pub fn takes_messages(&self) -> bool {
        self.log.takes_messages()
    }

    /// What decides now when segments go.
    pub fn retention(&self) -> Retention {
        *lock(&self.retention)
    }

    /// Has something else decide, from the next step on.
    pub fn set_retention(&self, retention: Retention) {
        *lock(&self.retention) = retention;
    }
}

/// One look.
pub(crate) fn step(store: &Store, now: i64, keep: &mut Keep<'_>) -> Next {
    if store.failure().is_some() {
        return Next::Never;
    }
    let space = store.disk.space().ok();
    if is_short(store, space) && store.log.flush_all().is_err() {
        return Next::Never;
    }
    let count = expired(store, now, space);
    let deleted = match count {
        0 => Ok(()),
        _ => delete(store, count, space, keep),
    };
    if let Err(error) = &deleted {
        tracing::warn!(%error, "old segments are kept for now");
    }
    refuse(store);
    match is_short(store, store.disk.space().ok()) {
        true if count == 0 => Next::After(SOON),
        true if deleted.is_ok() => Next::Now,
        _ => Next::After(EVERY),
    }
}

/// Whether the oldest must go for what comes.
fn is_short(store: &Store, space: Option<Space>) -> bool {
    space.is_some_and(|space| space.free < store.log.options.disk_room)
}

fn used(space: Option<Space>) -> u64 {
    space.map_or(0, |space| {
        (space.total - space.free.min(space.total)) * 100 / space.total.max(1)
    })
}

/// Takes or refuses what producers send.
fn refuse(store: &Store) {
    let (options, kept) = (&store.log.options, store.retention());
    let full = |space: Option<Space>| {
        used(space) > u64::from(kept.disk_refuse)
            || space.is_some_and(|space| space.free < options.disk_spare)
    };
    let mut space = store.disk.space().ok();
    if full(space) && store.log.segments.drop_recycled().unwrap_or(false) {
        space = store.disk.space().ok();
    }
    if store.log.set_refuse(full(space)) {
        tracing::warn!(
            used_percent = used(space),
            refused = full(space),
            "the disk's fullness decides whether producers are served"
        );
    }
}

/// How many of the oldest segments may go.
fn expired(store: &Store, now: i64, space: Option<Space>) -> usize {
    let (options, kept) = (&store.log.options, store.retention());
    let used = used(space);
    let hour = (now + options.utc_offset_ms)
        .div_euclid(HOUR_MS)
        .rem_euclid(24) as u8;
    let due = options.delete_hours.contains(&hour) || used > u64::from(kept.disk_used_max);
    let force = is_short(store, space) || kept.clean_forcibly && used > u64::from(kept.disk_force);
    if !due && !force {
        return 0;
    }
    let reserved = i64::try_from(kept.reserved_time.as_millis()).unwrap_or(i64::MAX);
    let segments = store.log.segments.all();
    let durable = store.marks().flushed.min(store.marks().dispatched);
    let mut count = 0;
    for pair in segments.windows(2).take(AT_ONCE) {
        let next = LogOffset(pair[1].base);
        // Never the one that is written to, nor one that is not flushed and seen.
        if next >= durable {
            break;
        }
        let old = match store.stored_at(next) {
            Ok(stored_at) => stored_at.saturating_add(reserved) <= now,
            Err(_) => false,
        };
        // By force one at a time, until the disk is emptier.
        let goes = (old && due) || (force && count == 0);
        if !goes {
            break;
        }
        count += 1;
    }
    count
}

fn delete(
    store: &Store,
    count: usize,
    space: Option<Space>,
    keep: &mut Keep<'_>,
) -> Result<(), Refused> {
    let segments = store.log.segments.all();
    let Some(start) = segments.get(count).map(|segment| LogOffset(segment.base)) else {
        return Ok(());
    };
    drop(segments);
    append_pending(store, start)?;
    keep(start)?;
    store.write_out()?;
    store.log.flush_all()?;
    let from = lock(&store.checkpoint).last.tables_from;
    let stands = snapshot::position(store, from).is_some_and(|at| at >= start);
    if !stands || from == QueueOffset(0) {
        open::snapshot(store)?;
    }
    store.queues.raise_start(start);
    open::try_checkpoint(store, true)?;
    let keep = used(space) <= u64::from(store.retention().disk_used_max) && !is_short(store, space);
    for _ in 0..count {
        store.log.segments.retire_oldest(keep)?;
    }
    if let Err(e) = store.keys.trim(start) {
        tracing::warn!("deleting old runs of the key index: {e}");
    }
    tracing::info!(
        segments = count,
        log_start = start.0,
        "deleted old segments"
    );
    Ok(())
}

/// Appends what still waits again. One that somebody has claimed may yet be given back: then it is
/// needed, so nothing is deleted before it is decided.
fn append_pending(store: &Store, before: LogOffset) -> Result<(), Refused> {
    let below = store.pending.below(before);
    let mut halves = Vec::new();
    let appended = below.iter().try_for_each(|&from| {
        if store.pending.claim(from).is_none() {
            return match store.pending.contains(from) {
                true => Err(Refused::Undecided(from)),
                false => Ok(()),
            };
        }
        let appended = append_again(store, from, &mut halves);
        if !matches!(appended, Ok(Some(_))) {
            store.pending.unclaim(from);
        }
        appended.map(|_| ())
    });
    let noted = moved::note(store, &halves, before);
    store.write_out()?;
    noted.and(appended)
}

/// Stages the record at `from` again, naming where it came from; `None` if it cannot be read. Of a half
/// message, where it lies now is added to `halves`.
fn append_again(
    store: &Store,
    from: LogOffset,
    halves: &mut Vec<Moved>,
) -> Result<Option<LogOffset>, Refused> {
    let mut bytes = Vec::new();
    match store.log.record(from, Wait::Yes, &mut bytes) {
        Ok(_) => {}
        Err(error @ (ReadError::Damaged(_) | ReadError::Missing(_))) => {
            tracing::error!(%error, "a message that waits is lost");
            return Ok(None);
        }
        Err(e) => return Err(e.into()),
    }
    let Ok(view) = View::parse(&bytes) else {
        return Ok(None);
    };
    let Some(queue) = store.find_queue(view.topic(), view.queue().0) else {
        return Ok(None);
    };
    let draft = Draft {
        queue: &queue,
        flag: view.flag(),
        sys_flag: view.sys_flag(),
        born_at: view.born_at(),
        born_host: view.born_host(),
        reconsume_times: view.reconsume_times(),
        prepared_offset: from.0,
        body: view.body(),
        properties: view.properties(),
        tags_code: open::tags_code(&view),
        keys: Keys::Unread,
    };
    let mut staged = store.log.stage_system(&draft, |_| ());
    if staged == Err(StageError::Busy) {
        store.write_out()?;
        staged = store.log.stage_system(&draft, |_| ());
    }
    let to = staged?.log_offset;
    if queue.kind == Some(Kind::Half) {
        let queue_offset = view.queue_offset();
        halves.push(Moved {
            from,
            queue_offset,
            to,
        });
    }
    Ok(Some(to))
}
