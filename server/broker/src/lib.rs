//! What a RocketMQ broker *means*: no protocol, no socket, no thread of its own.
//!
//! [`Broker`] is the whole door. Each method takes a [`Caller`] where it matters who asks, is a plain
//! function, and returns a [`Result`] of an [`Answer`]: ready, ready once a mark of the log is
//! reached, held, or waiting for cold bytes. Loops belong to whoever owns the broker: it calls
//! [`Broker::commit`] at the end of a batch, [`Broker::flushed`] after a flush, and
//! [`Broker::tick`] now and then.

mod ack;
pub mod admin;
mod assign;
mod call;
mod changes;
mod checkers;
pub mod client;
mod cold;
mod dead_letters;
mod deadline;
pub mod delay;
mod error;
mod filter;
mod give_back;
pub mod group;
mod hash;
mod hold;
pub mod inspect;
pub mod limits;
pub mod metrics;
mod notice;
pub mod offset;
pub mod options;
pub mod ordering;
mod own;
pub mod pop;
pub mod produce;
pub mod pull;
pub mod query;
mod relay;
pub mod request_reply;
pub mod reset;
pub mod retry;
mod row;
pub mod running;
pub mod settings;
mod stats;
pub mod topic;
mod transaction;
mod waiting;

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use model::{Level, LogOffset};
use store::{Flush, Queue, Store, WriteError};

pub use ack::{Ack, BatchAck, ChangeInvisible, Changed};
pub use admin::{ConsumeStats, GroupProgress, QueueProgress, QueueStats, TopicHeld, TopicStats};
pub use assign::{Assign, Assigned, Assignment, Mode, RequestMode};
pub use call::{Answer, Caller, ConnectionId, Job};
pub use checkers::Checker;
pub use client::{
    Beat, Connection, ConsumeFrom, ConsumeType, ConsumerConnections, ConsumerData, Heartbeat,
    MessageModel, ProducerData,
};
pub use dead_letters::{Operation, OperationState, Started, Work};
pub use delay::{Delayed, Recalled};
pub use error::{AskedFor, Error};
pub use filter::sql::Compat;
pub use give_back::{DeadLetter, Release};
pub use inspect::{Index, TimeSpan};
pub use metrics::Metrics;
pub use notice::{Notice, Outlet, Registrar};
pub use offset::{Boundary, Commit, GroupOffsets};
pub use options::{Options, Planted, Role};
pub use ordering::MessageQueue;
pub use pop::{Notification, Notified, Peek, Peeked, Pop, PopVerdict, Popped, PoppedQueue};
pub use produce::{Produce, Produced, SendStatus, UniqueKey};
pub use pull::{Pull, Pulled, Verdict};
pub use query::{Queried, Query};
pub use relay::Told;
pub use request_reply::Reply;
pub use reset::Reset;
pub use retry::SendBack;
pub use running::ConsumeDirectly;
pub use stats::item::{StatsItem, StatsWindow};
pub use store::Clock;
pub use topic::{Registration, TopicChange};
pub use transaction::{Decision, EndTransaction, HalfCheck, TransactionState};
pub use waiting::{Listed, Place, Waiting};

use assign::Modes;
use changes::Changes;
use checkers::Checkers;
use client::table::Clients;
use cold::Cold;
use dead_letters::DeadLetters;
use deadline::Ticks;
use delay::Delays;
use filter::Filters;
use group::Groups;
use hold::Hold;
use offset::Offsets;
use ordering::Locks;
use own::Own;
use pop::Pops;
use produce::Once;
use pull::MovedEvents;
use relay::Questions;
use settings::Settings;
use stats::Stats;
use topic::Topics;
use transaction::Transactions;

/// A broker. Shared by all doors behind an `Arc`.
pub struct Broker {
    options: Options,
    settings: Settings,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    outlet: Arc<dyn Outlet>,
    topics: Topics,
    groups: Groups,
    clients: RwLock<Clients>,
    offsets: Offsets,
    pops: Pops,
    modes: Modes,
    /// Held by whoever gives back what was not acked.
    reviving: Mutex<()>,
    /// Held while changed rows are staged, so that whoever comes second finds them staged.
    persisting: Mutex<()>,
    locks: Mutex<Locks>,
    hold: Hold,
    filters: Filters,
    cold: Arc<Cold>,
    questions: Questions,
    dead_letters: DeadLetters,
    checkers: Checkers,
    delays: Delays,
    once: Once,
    moved_events: Mutex<MovedEvents>,
    transactions: Transactions,
    stats: Stats,
    own: Own,
    ticks: Mutex<Ticks>,
    /// When the log's first record was stored, ms since the Unix epoch, and where it lies.
    earliest: Mutex<Option<(LogOffset, i64)>>,
    /// When it was opened: on the monotonic clock, and in ms since the Unix epoch.
    started: Duration,
    started_at: i64,
}

thread_local! {
    /// The queues a batch made grow.
    static GROWN: RefCell<Vec<Arc<Queue>>> = const { RefCell::new(Vec::new()) };
}

impl Broker {
    /// A broker over an open store. Its topics, groups and offsets are what the store knows, and what
    /// every broker has from the start.
    pub fn open(
        options: Options,
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        outlet: Arc<dyn Outlet>,
        registrar: Arc<dyn Registrar>,
    ) -> Broker {
        let now = clock.wall();
        let offsets = Offsets::open(&store, now);
        let moment = pop::moment(&*clock);
        Broker {
            topics: Topics::open(&options, &store, registrar, now),
            groups: Groups::open(&store, now),
            clients: RwLock::default(),
            pops: Pops::open(&store, &offsets, &options, moment),
            offsets,
            modes: Modes::open(&store),
            reviving: Mutex::default(),
            persisting: Mutex::default(),
            locks: Mutex::default(),
            hold: Hold::default(),
            filters: Filters::new(&options),
            cold: Arc::new(Cold::new(Arc::clone(&clock))),
            questions: Questions::default(),
            dead_letters: DeadLetters::open(&store),
            checkers: Checkers::open(&store),
            delays: Delays::default(),
            once: Once::new(store.reached(Level::Appended), limits::IDEMPOTENCY_KEYS),
            moved_events: Mutex::default(),
            transactions: Transactions::open(&store, now),
            stats: Stats::default(),
            own: Own::new(&options),
            ticks: Mutex::default(),
            earliest: Mutex::default(),
            started: clock.mono(),
            started_at: now,
            settings: Settings::open(&store, &options),
            options,
            store,
            clock,
            outlet,
        }
    }

    /// What it was opened with; some of it may be something else by now.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Whether producers' messages are taken: the disk works, and is not full.
    pub fn takes_messages(&self) -> bool {
        self.store.takes_messages()
    }

    /// Ends a batch: writes out what was staged, shows consumers what may be seen, and wakes those
    /// who waited for it.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: nothing of the batch may be answered as stored.
    pub fn commit(&self) -> Result<(), Error> {
        if let Err(error) = self.persist() {
            // They are in memory, and are tried again with the next batch.
            tracing::warn!(%error, "committed offsets and leases could not be staged");
        }
        let start = self.clock.mono();
        let written = self.store.write_out();
        written.map_err(|error| Error::Unavailable(error.to_string()))?;
        self.show();
        match self.store.flushes() {
            Flush::Sync => {
                self.stats.batch_waits(start, self.store.marks().appended);
            }
            Flush::Async => {
                let took = || self.clock.mono().saturating_sub(start);
                self.stats.batch_took(took);
            }
        }
        Ok(())
    }

    /// Stages one record with all rows that changed in memory.
    fn persist(&self) -> Result<(), store::StageError> {
        let _alone = self
            .persisting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut changes = Changes::default();
        let offsets = self.offsets.collect(&mut changes);
        let now = pop::moment(&*self.clock);
        let leases = (self.pops).collect(&mut changes, now, |line| self.count_popped(line));
        if changes.is_empty() {
            return Ok(());
        }
        let staged = self.store.put(&changes.list());
        if staged.is_err() {
            self.offsets.again(offsets);
            self.pops.again(leases);
        }
        staged.map(|_| ())
    }

    /// To be called after a step of the flush thread: shows consumers what has become safe.
    pub fn flushed(&self) {
        let flushed = self.store.marks().flushed;
        self.stats.flushed(flushed, || self.clock.mono());
        self.show();
    }

    /// Makes visible what is confirmed, and wakes who waited for it.
    fn show(&self) {
        let mut woken = Vec::new();
        GROWN.with_borrow_mut(|grown| {
            grown.clear();
            self.store
                .dispatch(&mut |queue| grown.push(Arc::clone(queue)));
            self.hold.arrived(&self.store, grown, &mut woken);
            self.pops.arrived(grown, &mut woken);
            grown.clear();
        });
        if !woken.is_empty() {
            self.outlet.runnable(&woken);
        }
    }

    /// How far a watermark of the log is.
    pub fn reached(&self, level: Level) -> LogOffset {
        self.store.reached(level)
    }

    /// Why no watermark will move any more, if the store failed.
    pub fn failure(&self) -> Option<Error> {
        let reason = self.store.failure()?;
        Some(Error::Unavailable(WriteError(reason).to_string()))
    }

    /// Does what is due by time: silent clients, queue locks, statistics, offsets that rode on pulls.
    /// Returns when to call again.
    ///
    /// # Errors
    /// As [`Broker::commit`].
    pub fn tick(&self) -> Result<Duration, Error> {
        let now = self.clock.mono();
        let due = {
            let mut ticks = self.ticks.lock().unwrap_or_else(PoisonError::into_inner);
            ticks.due(now)
        };
        if due.second {
            self.stats.sample(now, self.clock.wall());
            self.hold.expire(now);
            self.cold.tick();
            self.questions.expire(now);
            self.look_at_log_start();
        }
        if due.ten_seconds {
            self.expire_clients();
            self.locks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .expire(now);
            self.topics.sample(now);
            self.offsets.sample(now);
            self.stats.sample_items(now);
        }
        self.commit()?;
        Ok(deadline::SECOND)
    }

    /// Remembers when the log's first record was stored. A read of the disk, so it is done here.
    fn look_at_log_start(&self) {
        let start = self.store.log_start();
        let mut earliest = self.earliest.lock().unwrap_or_else(PoisonError::into_inner);
        if earliest.is_none_or(|(at, _)| at != start) {
            let stored_at = self.store.stored_at(start).ok();
            *earliest = stored_at.map(|stored_at| (start, stored_at));
        }
    }
}
