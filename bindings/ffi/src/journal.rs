//! What Rust says of itself, for the logger of the language: the lines of clients and of servers in the process.
//!
//! Levels are looked at where a line would be made, so one that nobody wants costs a load. The others wait in a
//! [`Journal`] until the language takes them: a bounded number, beyond which they are only counted. Making one waits
//! for no lock that a fork could leave taken.

use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, TryLockError, Weak};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

use crate::inbox::Wake;

/// How many lines wait at most.
const KEPT: usize = 1024;

/// How many bytes of a line are kept.
const LINE: usize = 8 << 10;

/// What lines are about; loggers are called so.
pub const AREAS: [&str; 5] = ["client", "producer", "consumer", "transaction", "server"];

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// What a user should look at.
    Warn,
    /// What happened.
    Info,
    /// Everything.
    Debug,
}

impl Level {
    fn of(metadata: &Metadata<'_>) -> Option<Level> {
        match *metadata.level() {
            tracing::Level::ERROR => Some(Level::Error),
            tracing::Level::WARN => Some(Level::Warn),
            tracing::Level::INFO => Some(Level::Info),
            tracing::Level::DEBUG => Some(Level::Debug),
            _ => None,
        }
    }
}

/// A line.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it was said.
    pub at: SystemTime,
    /// How grave it is.
    pub level: Level,
    /// What it is about, one of [`AREAS`].
    pub area: &'static str,
    /// The file of the source that says it, and the line there.
    pub place: (&'static str, u32),
    /// What it says.
    pub text: String,
}

/// The lines for one language's logger.
pub struct Journal {
    wanted: [AtomicU8; AREAS.len()],
    /// Of each generation of forks its own, see [`Journal::after_fork_in_child`].
    ways: [Way; GENERATIONS],
    /// How many forks lie between the process that made it and this one.
    generation: AtomicUsize,
    lost: AtomicUsize,
    /// Somebody was woken who has not taken since.
    rang: AtomicBool,
    wake: Arc<dyn Wake>,
}

/// How lines come to who takes them.
struct Way {
    put: SyncSender<Arc<Line>>,
    lines: Mutex<Receiver<Arc<Line>>>,
}

/// A child of a child of a child goes the first one's way again, whose like nobody left in the middle of a line by then.
const GENERATIONS: usize = 3;

static JOURNALS: RwLock<Vec<Weak<Journal>>> = RwLock::new(Vec::new());

/// The most that any journal wants of an area.
static WANTED: [AtomicU8; AREAS.len()] = [const { AtomicU8::new(0) }; AREAS.len()];

impl Journal {
    /// An empty one that wants nothing yet. Who is woken is told once that there are lines, until they are taken.
    pub fn new(wake: Arc<dyn Wake>) -> Arc<Journal> {
        static LISTENS: OnceLock<bool> = OnceLock::new();
        // A process has one listener. If a program of Rust's has set its own, lines go there.
        LISTENS.get_or_init(|| tracing::subscriber::set_global_default(Listener).is_ok());
        let way = |_| {
            let (put, lines) = sync_channel(KEPT);
            let lines = Mutex::new(lines);
            Way { put, lines }
        };
        let journal = Arc::new(Journal {
            wanted: [const { AtomicU8::new(0) }; AREAS.len()],
            ways: [0; GENERATIONS].map(way),
            generation: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
            rang: AtomicBool::new(false),
            wake,
        });
        let mut journals = JOURNALS.write().unwrap_or_else(PoisonError::into_inner);
        journals.retain(|known| known.strong_count() > 0);
        journals.push(Arc::downgrade(&journal));
        journal
    }

    /// How much it wants of each of the [`AREAS`] from now on.
    pub fn want(&self, levels: [Level; AREAS.len()]) {
        for (wanted, level) in self.wanted.iter().zip(levels) {
            wanted.store(level as u8, Ordering::Relaxed);
        }
        agree();
    }

    /// Whether there may be something to take.
    pub fn is_waiting(&self) -> bool {
        self.rang.load(Ordering::Relaxed)
    }

    /// What there is, and how many lines were lost since it was last asked.
    pub fn take(&self) -> (Vec<Arc<Line>>, usize) {
        let lines = match self.way().lines.try_lock() {
            Ok(lines) => lines,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Another thread is at it.
            Err(TryLockError::WouldBlock) => return (Vec::new(), 0),
        };
        // First: a line that comes now rings again.
        self.rang.store(false, Ordering::SeqCst);
        let taken = lines.try_iter().take(KEPT).collect();
        (taken, self.lost.swap(0, Ordering::Relaxed))
    }

    /// For a child right after a fork: what its parent said is told by that. A thread that was not forked may have been
    /// in the middle of a line, and a reader would wait for its end: here lines take another way.
    pub fn after_fork_in_child(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
        drop(self.take());
    }

    fn way(&self) -> &Way {
        &self.ways[self.generation.load(Ordering::Relaxed) % GENERATIONS]
    }

    fn put(&self, line: Arc<Line>) {
        if self.way().put.try_send(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        if !self.rang.swap(true, Ordering::SeqCst) {
            self.wake.wake();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        agree();
    }
}

/// Those that there are. They are dropped when the list is free again: the last of one looks at it.
fn journals() -> Vec<Arc<Journal>> {
    let known = JOURNALS.read().unwrap_or_else(PoisonError::into_inner);
    known.iter().filter_map(Weak::upgrade).collect()
}

/// Looks again how much is wanted, and has everybody who says something know it.
fn agree() {
    let journals = journals();
    let mut changed = false;
    for (area, most) in WANTED.iter().enumerate() {
        let wanted = journals
            .iter()
            .map(|journal| journal.wanted[area].load(Ordering::Relaxed));
        let wanted = wanted.max().unwrap_or_default();
        changed |= most.swap(wanted, Ordering::Relaxed) != wanted;
    }
    if changed {
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Which of the [`AREAS`] a part of the code speaks about; `None`: it is not ours.
fn area(target: &str) -> Option<usize> {
    let (krate, path) = target.split_once("::").unwrap_or((target, ""));
    let part = path.split("::").next().unwrap_or_default();
    let area = match (krate, part) {
        ("posthouse_client", "asked" | "transaction") => "transaction",
        ("posthouse_client", "producer") if path.contains("transaction") => "transaction",
        ("posthouse_client", "producer") => "producer",
        (
            "posthouse_client",
            "push_consumer" | "pull_consumer" | "simple_consumer" | "reader" | "pull" | "lease",
        ) => "consumer",
        ("posthouse_client" | "ffi", _) => "client",
        ("remoting", part) if part != "server" => "client",
        (
            "remoting" | "posthouse" | "broker" | "endpoint" | "store" | "namesrv" | "replication"
            | "model",
            _,
        ) => "server",
        _ => return None,
    };
    AREAS.iter().position(|known| *known == area)
}

/// Puts what is said into the journals that want it.
struct Listener;

impl Listener {
    fn wants(metadata: &Metadata<'_>) -> bool {
        let level = Level::of(metadata).filter(|_| metadata.is_event());
        let area = area(metadata.target());
        area.zip(level)
            .is_some_and(|(area, level)| level as u8 <= WANTED[area].load(Ordering::Relaxed))
    }
}

impl Subscriber for Listener {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match Listener::wants(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Listener::wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let most = WANTED.iter().map(|level| level.load(Ordering::Relaxed));
        Some(match most.max() {
            Some(1) => LevelFilter::ERROR,
            Some(2) => LevelFilter::WARN,
            Some(3) => LevelFilter::INFO,
            Some(4) => LevelFilter::DEBUG,
            _ => LevelFilter::OFF,
        })
    }

    #[allow(clippy::disallowed_methods)] // When it is said on the wall, whatever clock a test moves.
    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let (Some(level), Some(number)) = (Level::of(metadata), area(metadata.target())) else {
            return;
        };
        let mut text = Text::default();
        event.record(&mut text);
        let line = Arc::new(Line {
            at: SystemTime::now(),
            level,
            area: AREAS[number],
            place: (
                metadata.file().unwrap_or_default(),
                metadata.line().unwrap_or_default(),
            ),
            text: text.whole(),
        });
        for journal in journals() {
            if level as u8 <= journal.wanted[number].load(Ordering::Relaxed) {
                journal.put(line.clone());
            }
        }
    }

    // There are no spans in our code.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// A line's words: what it says, then what it says that of.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn whole(mut self) -> String {
        self.message.push_str(&self.fields);
        let mut end = LINE.min(self.message.len());
        while !self.message.is_char_boundary(end) {
            end -= 1;
        }
        self.message.truncate(end);
        self.message
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::tests::Count;

    /// One test: all journals of a process hear the same lines.
    #[test]
    fn each_journal_has_what_it_wants_and_counts_what_it_cannot_keep() {
        let [rings, others] = [Arc::new(Count::default()), Arc::new(Count::default())];
        let [ours, other] = [Journal::new(rings.clone()), Journal::new(others.clone())];
        let say = |n: usize| {
            tracing::debug!(target: "posthouse_client::reader", n, queue = %"q", "reads");
            tracing::warn!(target: "broker::pop", "stands");
            tracing::error!(target: "strangers", "not ours");
        };
        say(0);
        assert_eq!(rings.0.load(Ordering::SeqCst), 0, "nothing was wanted");

        ours.want([Level::Debug; 5]);
        other.want([Level::Error; 5]);
        say(1);
        assert!(ours.is_waiting() && !other.is_waiting());
        let (lines, lost) = ours.take();
        let shown = lines
            .iter()
            .map(|line| (line.level, line.area, &*line.text));
        assert_eq!(
            shown.collect::<Vec<_>>(),
            [
                (Level::Debug, "consumer", "reads n=1 queue=q"),
                (Level::Warn, "server", "stands"),
            ]
        );
        assert_eq!((lost, ours.is_waiting()), (0, false));
        assert!(lines[0].place.0.ends_with("journal.rs"));

        (0..KEPT).for_each(say);
        let (lines, lost) = ours.take();
        assert_eq!((lines.len(), lost), (KEPT, KEPT));
        assert_eq!(rings.0.load(Ordering::SeqCst), 2, "once until it was taken");

        let mut levels = [Level::Off; 5];
        levels[4] = Level::Warn;
        ours.want(levels);
        say(2);
        assert_eq!(ours.take().0.len(), 1);
        tracing::error!(target: "posthouse_client", text = "ä".repeat(LINE), "long");
        assert_eq!(other.take().0[0].text.len(), LINE - 1);

        drop((ours, other));
        assert_eq!(
            WANTED.each_ref().map(|most| most.load(Ordering::Relaxed)),
            [0; 5]
        );
    }
}
