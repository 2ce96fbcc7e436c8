//! The set itself: by position, by due time, by key. About 150 bytes each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

use model::LogOffset;

use super::transition::{Class, Transition};
use super::{Kind, Open};

/// What waits. Times are by the wall clock, those of spans less what the clock was set since the start.
#[derive(Debug, Default)]
pub(super) struct Set {
    slots: BTreeMap<u64, Slot>,
    /// Due time and position of those not claimed, by class.
    due: [BTreeSet<(i64, u64)>; 3],
    /// Key and position of those not claimed.
    keys: BTreeSet<(u64, u64)>,
    counts: [usize; 3],
    /// How many go to a topic, by the hash of its name, by class.
    topics: [HashMap<u64, usize>; 3],
    /// Behind the last record that changed something.
    pub applied: LogOffset,
}

/// What is claimed at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub kind: Kind,
    pub now: i64,
    pub max: usize,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub due: i64,
    pub key: u64,
    /// Hash of the real topic; 0 if it names none.
    pub topic: u64,
    pub size: u32,
    pub class: Class,
    pub claimed: bool,
}

impl Slot {
    fn open(&self, at: u64, skew: i64) -> Open {
        Open {
            at: LogOffset(at),
            size: self.size,
            due: self.due.saturating_add(of(self.class, skew)),
            key: self.key,
        }
    }
}

/// How far a class follows a clock that was set.
fn of(class: Class, skew: i64) -> i64 {
    match class {
        Class::Span => skew,
        Class::Moment | Class::Half => 0,
    }
}

fn classes(kind: Kind) -> &'static [Class] {
    match kind {
        Kind::Timer => &[Class::Span, Class::Moment],
        Kind::Half => &[Class::Half],
    }
}

impl Set {
    /// Returns when what it opened is due.
    pub fn apply(&mut self, transition: &Transition, skew: i64) -> Option<i64> {
        if let Some(at) = transition.closes
            && self.remove(at.0)
        {
            self.applied = transition.end;
        }
        let opening = transition.opens?;
        self.applied = transition.end;
        let slot = Slot {
            due: opening.due.saturating_sub(of(opening.class, opening.skew)),
            key: opening.key,
            topic: opening.topic,
            size: opening.size,
            class: opening.class,
            claimed: false,
        };
        self.insert(opening.at.0, slot);
        Some(slot.open(opening.at.0, skew).due)
    }

    pub fn insert(&mut self, at: u64, slot: Slot) {
        self.remove(at);
        self.slots.insert(at, slot);
        self.counts[slot.class as usize] += 1;
        *self.topics[slot.class as usize]
            .entry(slot.topic)
            .or_default() += 1;
        self.enter(at, slot);
    }

    fn remove(&mut self, at: u64) -> bool {
        let Some(slot) = self.slots.remove(&at) else {
            return false;
        };
        self.counts[slot.class as usize] -= 1;
        let of_class = &mut self.topics[slot.class as usize];
        if let Some(count) = of_class.get_mut(&slot.topic) {
            *count -= 1;
            if *count == 0 {
                of_class.remove(&slot.topic);
            }
        }
        if !slot.claimed {
            self.leave(at, slot);
        }
        true
    }

    fn enter(&mut self, at: u64, slot: Slot) {
        self.due[slot.class as usize].insert((slot.due, at));
        if slot.key != 0 {
            self.keys.insert((slot.key, at));
        }
    }

    fn leave(&mut self, at: u64, slot: Slot) {
        self.due[slot.class as usize].remove(&(slot.due, at));
        if slot.key != 0 {
            self.keys.remove(&(slot.key, at));
        }
    }

    /// Whether it was there and not claimed.
    pub fn claim(&mut self, at: LogOffset) -> bool {
        let Some(slot) = self.slots.get_mut(&at.0).filter(|slot| !slot.claimed) else {
            return false;
        };
        slot.claimed = true;
        let slot = *slot;
        self.leave(at.0, slot);
        true
    }

    /// Claims what is due at `now`, earliest first: up to `max`, and up to `bytes` but at least one.
    pub fn claim_due(&mut self, limits: Due, skew: i64, out: &mut Vec<Open>) {
        let mut left = limits.bytes;
        for taken in 0..limits.max {
            let first = |&class: &Class| {
                let &(due, at) = self.due[class as usize].first()?;
                Some((due.saturating_add(of(class, skew)), at, class))
            };
            let firsts = classes(limits.kind).iter().filter_map(first);
            let next = firsts.min_by_key(|&(due, at, _)| (due, at));
            let Some((_, at, class)) = next.filter(|&(due, ..)| due <= limits.now) else {
                return;
            };
            let slot = (self.slots.get_mut(&at)).expect("what has a due time has a slot");
            if taken > 0 && u64::from(slot.size) > left {
                return;
            }
            left = left.saturating_sub(u64::from(slot.size));
            slot.claimed = true;
            self.due[class as usize].pop_first();
            if slot.key != 0 {
                self.keys.remove(&(slot.key, at));
            }
            out.push(slot.open(at, skew));
        }
    }

    pub fn unclaim(&mut self, at: LogOffset) {
        if let Some(slot) = self.slots.get_mut(&at.0).filter(|slot| slot.claimed) {
            slot.claimed = false;
            let slot = *slot;
            self.enter(at.0, slot);
        }
    }

    pub fn postpone(&mut self, at: LogOffset, due: i64, skew: i64) {
        let Some(slot) = self.slots.get_mut(&at.0) else {
            return;
        };
        let before = *slot;
        slot.due = due.saturating_sub(of(slot.class, skew));
        let slot = *slot;
        if !slot.claimed {
            self.leave(at.0, before);
            self.enter(at.0, slot);
        }
    }

    pub fn contains(&self, at: LogOffset) -> bool {
        self.slots.contains_key(&at.0)
    }

    pub fn open(&self, at: LogOffset, skew: i64) -> Option<Open> {
        Some(self.slots.get(&at.0)?.open(at.0, skew))
    }

    pub fn find(&self, key: u64, skew: i64, out: &mut Vec<Open>) {
        let with_key = self.keys.range((key, 0)..=(key, u64::MAX));
        out.extend(with_key.filter_map(|&(_, at)| self.open(LogOffset(at), skew)));
    }

    pub fn next_due(&self, kind: Kind, skew: i64) -> Option<i64> {
        let first = |&class: &Class| {
            let (due, _) = self.due[class as usize].first()?;
            Some(due.saturating_add(of(class, skew)))
        };
        classes(kind).iter().filter_map(first).min()
    }

    /// Those not claimed, by due time, behind `after`.
    pub fn ordered(
        &self,
        kind: Kind,
        skew: i64,
        after: Option<Open>,
    ) -> impl Iterator<Item = Open> + '_ {
        let walk = move |class: Class| {
            let from = match after {
                Some(open) => Excluded((open.due.saturating_sub(of(class, skew)), open.at.0)),
                None => Unbounded,
            };
            let behind = self.due[class as usize].range((from, Unbounded));
            behind.map(move |&(due, at)| (due.saturating_add(of(class, skew)), at))
        };
        let of_kind = classes(kind);
        let mut first = of_kind.first().map(|&class| walk(class).peekable());
        let mut second = of_kind.get(1).map(|&class| walk(class).peekable());
        std::iter::from_fn(move || {
            let a = first.as_mut().and_then(|walk| walk.peek().copied());
            let b = second.as_mut().and_then(|walk| walk.peek().copied());
            let next = match (a, b) {
                (Some(a), Some(b)) if b < a => second.as_mut()?.next()?,
                (Some(_), _) => first.as_mut()?.next()?,
                (None, _) => second.as_mut()?.next()?,
            };
            self.open(LogOffset(next.1), skew)
        })
    }

    pub fn len(&self, kind: Kind) -> usize {
        let count = |&class: &Class| self.counts[class as usize];
        classes(kind).iter().map(count).sum()
    }

    /// How many go to the topic with this hash.
    pub fn len_of(&self, kind: Kind, topic: u64) -> usize {
        let count = |&class: &Class| self.topics[class as usize].get(&topic);
        classes(kind).iter().filter_map(count).sum()
    }

    pub fn below(&self, before: LogOffset) -> Vec<LogOffset> {
        let below = self.slots.range(..before.0);
        below.map(|(&at, _)| LogOffset(at)).collect()
    }

    /// Up to `max` slots from `from` on, before `to`, appended to `out` with times by the wall clock.
    pub fn copy(&self, from: u64, to: u64, max: usize, skew: i64, out: &mut Vec<(u64, Slot)>) {
        let here = self.slots.range(from..to.max(from)).take(max);
        out.extend(here.map(|(&at, slot)| {
            let due = slot.due.saturating_add(of(slot.class, skew));
            (at, Slot { due, ..*slot })
        }));
    }

    pub fn clear(&mut self) {
        *self = Set::default();
    }
}
