//! What is in flight of one queue for one group. Pure: positions and times go in, decisions come out.
//!
//! ```text
//!   0 ........ committed ................ next ............ the queue's end
//!   settled    leased | open | settled    nobody looked yet
//! ```
//! A lease is a run of at most 64 positions that one pop took, with a bit for each message that is not
//! acked yet. Open are positions before `next` that may be handed out: one member's filter left them
//! for another's, or an ordered message came back. Whatever is neither is settled. The committed offset
//! is the lowest position that is not, so lag and in-flight counts are exact.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use store::Entry;

use crate::limits;

/// Positions one lease can span.
pub(crate) const SPAN: u64 = 64;

/// Names a lease of a queue: its first position, and when it was popped (ms since the Unix epoch).
pub(crate) type LeaseKey = (u64, i64);

/// What an ordered lease knows besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fifo {
    /// The client's name for its attempt: asked again with it, it gets the same messages.
    pub attempt: Option<Box<str>>,
    /// The message group of each position at the lease's start, by bit; 0 for those without one.
    pub groups: Vec<(u8, u64)>,
}

/// Messages one pop took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// How long it lasts, ms. Part of the receipt handle.
    pub invisible: i64,
    /// When it runs out, on the monotonic clock: a clock that is set hastens nothing.
    pub until: Duration,
    /// Which positions, counted from the first, are not settled.
    pub bits: u64,
    /// How often the messages were handed out before, in this very place.
    pub count: u32,
    /// The receipt handle's revive queue.
    pub revive_queue: i32,
    /// Of an ordered pop.
    pub fifo: Option<Fifo>,
    /// When it ends, its messages come back as if they had not been popped.
    pub uncounted: bool,
    /// The request with a name that put it in the place of another lease.
    pub renewed: Option<Renewed>,
    /// There is a row of it in the log.
    pub stored: bool,
}

/// A request with a name that renewed a lease: made again, it gets the same lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Renewed {
    /// When the lease before was popped, ms since the Unix epoch.
    pub from: i64,
    /// The request's name.
    pub once: Box<str>,
}

impl Lease {
    fn group_of(&self, bit: u64) -> Option<u64> {
        let groups = &self.fifo.as_ref()?.groups;
        let found = groups.iter().find(|(at, _)| u64::from(*at) == bit);
        Some(found.map_or(0, |(_, group)| *group))
    }

    fn is_of(&self, attempt: &str) -> bool {
        let fifo = self.fifo.as_ref();
        fifo.is_some_and(|fifo| fifo.attempt.as_deref() == Some(attempt))
    }

    /// The positions that are not settled.
    pub fn positions(&self, first: u64) -> impl Iterator<Item = u64> + use<> {
        let bits = self.bits;
        (0..SPAN)
            .filter(move |bit| bits & (1 << bit) != 0)
            .map(move |bit| first + bit)
    }
}

/// A position before `next` that may be handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Open {
    /// How often it was handed out before.
    pub count: u32,
    /// Its message group, if it was read already; 0 for none.
    pub group: Option<u64>,
}

/// A row that must be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Changed {
    /// `next`.
    Next,
    /// A lease.
    Lease(LeaseKey),
    /// The open positions from this multiple of [`SPAN`] on.
    Open(u64),
    /// Where a message lies whose segment was deleted.
    Moved(u64),
}

/// What is to be leased.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub popped_at: i64,
    pub invisible: i64,
    pub until: Duration,
    pub revive_queue: i32,
    /// `Some`: an ordered pop, with its attempt.
    pub ordered: Option<Option<Box<str>>>,
}

/// One message to lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Take {
    pub at: u64,
    pub count: u32,
    pub group: u64,
}

/// What a group has in flight of one queue.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    next: u64,
    leases: BTreeMap<LeaseKey, Lease>,
    open: BTreeMap<u64, Open>,
    due: BTreeSet<(Duration, LeaseKey)>,
    /// Message groups with messages in flight, and how many.
    busy: HashMap<u64, u32>,
    /// Messages that were appended again before their segment was deleted, and where.
    moved: BTreeMap<u64, Entry>,
    /// The last whose leases ran out and that went elsewhere: an ack of one comes too late. Only here, so it is forgotten
    /// at the end of the process.
    gone: BTreeSet<u64>,
    in_flight: u64,
    /// The committed offset as it was left here; another one was set by somebody else.
    pub committed: Option<i64>,
    /// Rows that are older than what is here.
    pub changed: BTreeSet<Changed>,
    forgotten: bool,
}

impl Flight {
    /// A queue nobody popped yet.
    pub fn new(next: u64) -> Flight {
        Flight {
            next,
            ..Flight::default()
        }
    }

    /// The first position nobody looked at.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Messages leased and not settled.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// How many positions are open.
    pub fn open_len(&self) -> usize {
        self.open.len()
    }

    /// The open positions, in order.
    pub fn open(&self) -> impl Iterator<Item = (u64, Open)> + '_ {
        self.open.iter().map(|(&at, &open)| (at, open))
    }

    /// Whether a message of the group is in flight.
    pub fn is_busy(&self, group: u64) -> bool {
        self.busy.contains_key(&group)
    }

    /// When the first lease runs out.
    pub fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(until, _)| *until)
    }

    /// The lowest position that is not settled.
    pub fn lowest(&self) -> u64 {
        let mut lowest = self.next;
        if let Some((&open, _)) = self.open.first_key_value() {
            lowest = lowest.min(open);
        }
        for (&(first, _), lease) in &self.leases {
            if first >= lowest {
                break;
            }
            lowest = lowest.min(first + u64::from(lease.bits.trailing_zeros()));
        }
        lowest
    }

    /// The first position that may be handed out, if there is a message.
    pub fn ready(&self) -> u64 {
        let open = self.open.first_key_value().map(|(&at, _)| at);
        open.map_or(self.next, |at| at.min(self.next))
    }

    /// Nobody has to look at positions before `next` any more, except those that are open or leased.
    pub fn advance(&mut self, next: u64) {
        if next > self.next {
            self.next = next;
            self.changed.insert(Changed::Next);
        }
    }

    /// Leaves a position for later.
    pub fn leave(&mut self, at: u64, open: Open) {
        if self.open.insert(at, open) != Some(open) {
            self.changed.insert(Changed::Open(at - at % SPAN));
        }
    }

    /// Forgets an open position: it is leased, or nobody wants it.
    pub fn close(&mut self, at: u64) {
        if self.open.remove(&at).is_some() {
            self.changed.insert(Changed::Open(at - at % SPAN));
        }
    }

    /// Whether a lease of this name is there.
    pub fn is_taken(&self, first: u64, popped_at: i64) -> bool {
        self.leases.contains_key(&(first, popped_at))
    }

    /// Leases messages, in order of their positions. Those of one pop that are far apart, or were
    /// handed out differently often, become several leases.
    pub fn lease(&mut self, takes: &[Take], terms: &Terms) {
        let mut rest = takes;
        while let Some(first) = rest.first() {
            let together = |take: &&Take| take.at - first.at < SPAN && (take.count == first.count);
            let len = rest.iter().take_while(together).count();
            let (now, later) = rest.split_at(len);
            self.lease_run(now, terms);
            rest = later;
        }
    }

    fn lease_run(&mut self, takes: &[Take], terms: &Terms) {
        let Some(&Take {
            at: first, count, ..
        }) = takes.first()
        else {
            return;
        };
        let mut lease = Lease {
            invisible: terms.invisible,
            until: terms.until,
            bits: 0,
            count,
            revive_queue: terms.revive_queue,
            fifo: None,
            uncounted: false,
            renewed: None,
            stored: false,
        };
        if let Some(attempt) = &terms.ordered {
            let bit = |take: &Take| ((take.at - first) as u8, take.group);
            lease.fifo = Some(Fifo {
                attempt: attempt.clone(),
                groups: takes.iter().map(bit).collect(),
            });
        }
        for take in takes {
            self.close(take.at);
            lease.bits |= 1 << (take.at - first);
        }
        self.put((first, terms.popped_at), lease);
    }

    /// Puts a lease in place.
    pub fn put(&mut self, key: LeaseKey, lease: Lease) {
        if let Some(fifo) = &lease.fifo {
            let held = fifo.groups.iter();
            for (_, group) in held.filter(|(bit, _)| lease.bits & (1 << bit) != 0) {
                *self.busy.entry(*group).or_default() += 1;
            }
        }
        self.in_flight += u64::from(lease.bits.count_ones());
        self.due.insert((lease.until, key));
        self.changed.insert(Changed::Lease(key));
        let before = self.leases.insert(key, lease);
        debug_assert!(before.is_none(), "two leases with one name");
    }

    /// The lease a receipt handle means, if the message is still out on it.
    pub fn find(&self, at: u64, start: u64, popped_at: i64) -> Option<LeaseKey> {
        let holds = |key: LeaseKey| {
            let lease = self.leases.get(&key)?;
            let bit = at.checked_sub(key.0).filter(|&bit| bit < SPAN)?;
            (lease.bits & (1 << bit) != 0).then_some(key)
        };
        // A pop's messages may be several leases: then the start in the handle is that of the first.
        holds((start, popped_at)).or_else(|| {
            let from = at.saturating_sub(SPAN - 1);
            let near = self.leases.range((from, i64::MIN)..=(at, i64::MAX));
            near.rev()
                .filter(|((_, popped), _)| *popped == popped_at)
                .find_map(|(&key, _)| holds(key))
        })
    }

    /// The lease that a request of this name put in the place of one that was popped at `from`.
    pub fn renewed(&self, at: u64, from: i64, once: &str) -> Option<(LeaseKey, &Lease)> {
        let own = self.leases.range((at, i64::MIN)..=(at, i64::MAX));
        let is_its = |renewed: &Renewed| renewed.from == from && *renewed.once == *once;
        own.map(|(&key, lease)| (key, lease))
            .find(|(_, lease)| lease.renewed.as_ref().is_some_and(is_its))
    }

    /// The lease that holds a position, if it was given by then (ms since the Unix epoch).
    pub fn held(&self, at: u64, by: i64) -> Option<LeaseKey> {
        let from = at.saturating_sub(SPAN - 1);
        let near = self.leases.range((from, i64::MIN)..=(at, i64::MAX));
        near.filter(|((_, popped_at), _)| *popped_at <= by)
            .find_map(|(&key, lease)| lease.positions(key.0).any(|held| held == at).then_some(key))
    }

    /// Whether a message is done, as far as is known: it was looked at, and is neither out on a lease, nor open, nor
    /// elsewhere.
    pub fn is_settled(&self, at: u64) -> bool {
        let is_over = !self.open.contains_key(&at) && self.held(at, i64::MAX).is_none();
        at < self.next && is_over && !self.gone.contains(&at)
    }

    /// A message went elsewhere as its lease ran out, or its group did.
    pub fn went(&mut self, at: u64) {
        self.gone.insert(at);
        if self.gone.len() > limits::GONE {
            self.gone.pop_first();
        }
    }

    /// When the first lease that has run out at `now` was given, ms since the Unix epoch.
    pub fn lapsed_since(&self, now: Duration) -> Option<i64> {
        self.due(now).map(|(_, popped_at)| popped_at).min()
    }

    /// A lease.
    pub fn get(&self, key: LeaseKey) -> Option<&Lease> {
        self.leases.get(&key)
    }

    /// Marks the row of a lease as written.
    pub fn stored(&mut self, key: LeaseKey) -> Option<&Lease> {
        let lease = self.leases.get_mut(&key)?;
        lease.stored = true;
        Some(lease)
    }

    /// One message of a lease is settled: acked, revived, or taken over by another lease. Returns how
    /// often it was handed out before, and its message group if it is an ordered lease.
    pub fn settle(&mut self, key: LeaseKey, at: u64) -> Option<(u32, Option<u64>)> {
        let lease = self.leases.get_mut(&key)?;
        let bit = at.checked_sub(key.0).filter(|&bit| bit < SPAN)?;
        if lease.bits & (1 << bit) == 0 {
            return None;
        }
        lease.bits &= !(1 << bit);
        // It was handed out anew, as behind a reset; whoever revives it says so again.
        self.gone.remove(&at);
        let (count, group) = (lease.count, lease.group_of(bit));
        let (empty, until, stored) = (lease.bits == 0, lease.until, lease.stored);
        if empty {
            self.leases.remove(&key);
            self.due.remove(&(until, key));
        }
        if empty && !stored {
            self.changed.remove(&Changed::Lease(key));
        } else {
            self.changed.insert(Changed::Lease(key));
        }
        self.in_flight -= 1;
        if let Some(group) = group
            && let Some(count) = self.busy.get_mut(&group)
        {
            *count -= 1;
            if *count == 0 {
                self.busy.remove(&group);
            }
        }
        Some((count, group))
    }

    /// Leases whose time is over.
    pub fn due(&self, now: Duration) -> impl Iterator<Item = LeaseKey> + '_ {
        let over = self.due.iter().take_while(move |(until, _)| *until <= now);
        over.map(|(_, key)| *key)
    }

    /// What an earlier run of this attempt took is open again, not counted: its answer was lost.
    pub fn take_back(&mut self, attempt: &str) {
        let keys: Vec<LeaseKey> = (self.leases.iter())
            .filter(|(_, lease)| lease.is_of(attempt))
            .map(|(&key, _)| key)
            .collect();
        for key in keys {
            let positions: Vec<u64> = (self.leases.get(&key))
                .map(|lease| lease.positions(key.0).collect())
                .unwrap_or_default();
            for at in positions {
                if let Some((count, group)) = self.settle(key, at) {
                    self.leave(at, Open { count, group });
                }
            }
        }
    }

    /// Somebody else moved the committed offset. Everything before it is done, everything from it on is
    /// not: what is out on leases from there on stays out if the move was forward, and counts no more
    /// if it was back.
    pub fn move_to(&mut self, offset: u64) {
        let back = (self.committed).is_none_or(|was| (offset as i64) < was);
        let gone: Vec<LeaseKey> = self.leases.keys().copied().collect();
        for key in gone {
            let positions: Vec<u64> = (self.leases.get(&key))
                .map(|lease| lease.positions(key.0).collect())
                .unwrap_or_default();
            for at in positions.into_iter().filter(|&at| back || at < offset) {
                self.settle(key, at);
            }
        }
        let open: Vec<u64> = self.open.keys().copied().collect();
        for at in open.into_iter().filter(|&at| back || at < offset) {
            self.close(at);
        }
        if back || offset > self.next {
            self.next = offset;
        }
        self.committed = Some(offset as i64);
        self.changed.insert(Changed::Next);
    }

    /// Everything in flight is forgotten: acks of earlier handles change nothing, and the next pop
    /// starts at the committed offset, whatever it is then.
    pub fn cancel(&mut self) {
        // Whoever had one of them has nothing any more, wherever the group is sent.
        let out: Vec<u64> = self.out().chain(self.open.keys().copied()).collect();
        out.into_iter().for_each(|at| self.went(at));
        let leases = self.leases.keys().map(|&key| Changed::Lease(key));
        self.changed.extend(leases);
        let open = self.open.keys().map(|at| Changed::Open(at - at % SPAN));
        self.changed.extend(open);
        self.changed.insert(Changed::Next);
        let moved = self.moved.keys().map(|&at| Changed::Moved(at));
        self.changed.extend(moved);
        self.moved.clear();
        self.leases.clear();
        self.open.clear();
        self.due.clear();
        self.busy.clear();
        self.in_flight = 0;
        self.committed = None;
    }

    /// The positions that are out on leases.
    pub fn out(&self) -> impl Iterator<Item = u64> + '_ {
        (self.leases.iter()).flat_map(|(key, lease)| lease.positions(key.0))
    }

    /// Where a message lies that was appended again, if it was.
    pub fn moved(&self, at: u64) -> Option<Entry> {
        self.moved.get(&at).copied()
    }

    /// All of those.
    pub fn all_moved(&self) -> impl Iterator<Item = (u64, Entry)> + '_ {
        self.moved.iter().map(|(&at, &entry)| (at, entry))
    }

    /// A message was appended again.
    pub fn move_record(&mut self, at: u64, entry: Entry) {
        if self.held(at, i64::MAX).is_some() || self.open.contains_key(&at) {
            self.moved.insert(at, entry);
            self.changed.insert(Changed::Moved(at));
        }
    }

    /// Forgets where those lie that are settled.
    pub fn prune_moved(&mut self) {
        let (leases, open) = (&self.leases, &self.open);
        let is_out = |at: u64| {
            let near = leases.range((at.saturating_sub(SPAN - 1), i64::MIN)..=(at, i64::MAX));
            let bit = |&(first, _): &LeaseKey| 1 << (at - first);
            near.into_iter()
                .any(|(key, lease)| lease.bits & bit(key) != 0)
        };
        let changed = &mut self.changed;
        self.moved.retain(|&at, _| {
            let kept = open.contains_key(&at) || is_out(at);
            if !kept {
                changed.insert(Changed::Moved(at));
            }
            kept
        });
    }

    /// Puts the place of such a message in place from a row.
    pub fn restore_moved(&mut self, at: u64, entry: Entry) {
        self.moved.insert(at, entry);
    }

    /// Whether messages are out on this attempt.
    pub fn has_attempt(&self, attempt: &str) -> bool {
        self.leases.values().any(|lease| lease.is_of(attempt))
    }

    /// Everything is forgotten, and so are its rows.
    pub fn forget(&mut self) {
        self.cancel();
        self.forgotten = true;
    }

    /// Whether there are to be no rows of it any more.
    pub fn is_forgotten(&self) -> bool {
        self.forgotten
    }

    /// Sets `next` from a row.
    pub fn restore_next(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// Puts an open position in place from a row.
    pub fn restore_open(&mut self, at: u64, open: Open) {
        self.open.insert(at, open);
        self.next = self.next.max(at + 1);
    }

    /// Puts a lease in place from a row.
    pub fn restore_lease(&mut self, key: LeaseKey, lease: Lease) {
        if lease.bits == 0 {
            return;
        }
        let last = key.0 + u64::from(63 - lease.bits.leading_zeros());
        self.next = self.next.max(last + 1);
        self.put(key, lease);
        self.changed.remove(&Changed::Lease(key));
        self.stored(key);
    }

    /// The open positions of one row.
    pub fn open_from(&self, first: u64) -> impl Iterator<Item = (u64, Open)> + '_ {
        let range = self.open.range(first..first.saturating_add(SPAN));
        range.map(|(&at, &open)| (at, open))
    }
}

#[cfg(test)]
mod tests;
