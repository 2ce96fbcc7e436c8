//! The offsets in memory. A commit changes memory at once; the rows that changed since the last batch
//! go into the log as one record, by whoever ends the next batch.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::topic::DataVersion;
use model::{GroupName, TopicName};
use store::{Store, Table};

use crate::changes::Changes;
use crate::hash::Seeded;
use crate::stats::history::{Count, History, Windows};
use crate::{Error, limits, row};

/// Where a group stands in one queue; below 0 is nowhere.
#[derive(Clone, Copy, Debug)]
struct Position {
    committed: i64,
    pulled: i64,
    /// The row in the log is older.
    dirty: bool,
}

const NOWHERE: Position = Position {
    committed: -1,
    pulled: -1,
    dirty: false,
};

/// Where a group stands in one topic.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    positions: Vec<Position>,
    /// Messages handed to the group.
    got: Count,
    history: History,
}

impl Progress {
    /// The committed offset of a queue.
    pub fn committed(&self, queue: u32) -> Option<i64> {
        let position = self.positions.get(queue as usize)?;
        (position.committed >= 0).then_some(position.committed)
    }

    /// Where the next pull of a queue would start.
    pub fn pulled(&self, queue: u32) -> Option<i64> {
        let position = self.positions.get(queue as usize)?;
        (position.pulled >= 0).then_some(position.pulled)
    }

    /// Messages handed to the group, a second over the last minute.
    pub fn rate(&self, now: Duration) -> f64 {
        self.history.rate(now, self.got)
    }

    /// Messages handed to the group in the last minute, hour and day, if there ever were any.
    pub fn got_windows(&self, now: Duration) -> Option<Windows> {
        (self.got.messages > 0).then(|| self.history.windows(now, self.got))
    }

    /// Committed offsets, by queue.
    pub fn all_committed(&self) -> Vec<(u32, i64)> {
        (self.positions.iter().enumerate())
            .filter(|(_, position)| position.committed >= 0)
            .map(|(queue, position)| (queue as u32, position.committed))
            .collect()
    }

    /// How many positions [`Progress::at`] would add.
    fn growth(&self, queue: u32) -> usize {
        (queue as usize + 1).saturating_sub(self.positions.len())
    }

    fn at(&mut self, queue: u32) -> &mut Position {
        let at = queue as usize;
        if self.positions.len() <= at {
            self.positions.resize(at + 1, NOWHERE);
        }
        &mut self.positions[at]
    }
}

type Topics = HashMap<TopicName, Progress, Seeded>;
type Groups = HashMap<GroupName, Topics, Seeded>;

/// A group, a topic, and for each queue the committed offset.
type Committed = (GroupName, TopicName, Vec<(u32, i64)>);

#[derive(Debug, Default)]
struct Inner {
    groups: Groups,
    dirty: Vec<(GroupName, TopicName, u32)>,
    /// Resets that the group's consumer has not heard of. Then the committed offset is the target.
    resets: HashSet<(GroupName, TopicName, u32)>,
    /// Rows to take out of the log.
    gone: Vec<(GroupName, TopicName, u32)>,
    /// Positions in memory.
    count: usize,
    version: DataVersion,
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// Forward, or it stayed.
    Forward,
    /// Back from this offset.
    Back(i64),
    /// It does not count: the group is being sent elsewhere.
    Reset,
}

/// All offsets of all groups.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    inner: Mutex<Inner>,
    /// How many resets nobody has heard of: a pull looks no further when there is none.
    resets: AtomicUsize,
}

/// Rows that were taken over into a batch's changes.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    dirty: Vec<(GroupName, TopicName, u32)>,
    gone: Vec<(GroupName, TopicName, u32)>,
}

impl Offsets {
    /// What the store knows.
    pub fn open(store: &Store, now: i64) -> Offsets {
        let mut inner = Inner::default();
        inner.version.timestamp = now;
        for (key, value) in store.rows(Table::Offsets) {
            match row::read_offset(&key, &value) {
                Some((group, topic, queue, offset, reset)) if queue < limits::QUEUES_PER_TOPIC => {
                    if reset {
                        let queue = (group.clone(), topic.clone(), queue);
                        inner.resets.insert(queue);
                    }
                    let progress = inner.progress(&group, &topic);
                    let growth = progress.growth(queue);
                    progress.at(queue).committed = offset;
                    inner.count += growth;
                }
                _ => {
                    tracing::error!(key = %String::from_utf8_lossy(&key), "an offset's row cannot be read")
                }
            }
        }
        Offsets {
            resets: AtomicUsize::new(inner.resets.len()),
            inner: Mutex::new(inner),
        }
    }

    /// Commits an offset. `lower` says whether it may go back.
    pub fn commit(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: u32,
        offset: i64,
        lower: bool,
    ) -> Result<Moved, Error> {
        let mut inner = self.lock();
        if inner.is_reset(group, topic, queue) {
            return Ok(Moved::Reset);
        }
        let position = inner.position(group, topic, queue)?;
        let before = position.committed;
        if before == offset || (!lower && offset < before) {
            return Ok(Moved::Forward);
        }
        position.committed = offset;
        if !std::mem::replace(&mut position.dirty, true) {
            inner.dirty.push((group.clone(), topic.clone(), queue));
        }
        inner.version.counter += 1;
        Ok(if offset < before {
            Moved::Back(before)
        } else {
            Moved::Forward
        })
    }

    /// Sends a group elsewhere: until [`Offsets::take_reset`] nothing else can be committed.
    pub fn reset(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: u32,
        offset: i64,
    ) -> Result<(), Error> {
        let mut inner = self.lock();
        inner.position(group, topic, queue)?.committed = offset;
        let key = (group.clone(), topic.clone(), queue);
        inner.resets.insert(key);
        inner.touch(group, topic, queue);
        self.resets.store(inner.resets.len(), Ordering::SeqCst);
        Ok(())
    }

    /// Where a group is to go on in a queue, once.
    pub fn take_reset(&self, group: &GroupName, topic: &TopicName, queue: u32) -> Option<i64> {
        if self.resets.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let mut inner = self.lock();
        if !inner.is_reset(group, topic, queue) {
            return None;
        }
        let key = (group.clone(), topic.clone(), queue);
        inner.resets.remove(&key);
        inner.touch(group, topic, queue);
        self.resets.store(inner.resets.len(), Ordering::SeqCst);
        inner.progress(group, topic).committed(queue)
    }

    /// Remembers where the group's next pull of a queue starts, and what it got; if there are too many
    /// positions already, it does not.
    pub fn pulled(&self, group: &GroupName, topic: &TopicName, queue: u32, next: i64, got: Count) {
        let mut inner = self.lock();
        if let Ok(progress) = inner.with_room(group, topic, queue) {
            progress.at(queue).pulled = next;
            progress.got.add(got);
        }
    }

    /// Looks at a group's progress in a topic.
    pub fn look<T>(
        &self,
        group: &str,
        topic: &str,
        look: impl FnOnce(&Progress) -> Option<T>,
    ) -> Option<T> {
        let inner = self.lock();
        look(inner.groups.get(group)?.get(topic)?)
    }

    /// The topics a group has committed offsets in.
    pub fn topics_of(&self, group: &str) -> Vec<TopicName> {
        let inner = self.lock();
        let topics = inner.groups.get(group).into_iter().flatten();
        let mut names: Vec<TopicName> = topics
            .filter(|(_, progress)| !progress.all_committed().is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        names.sort();
        names
    }

    /// The lowest committed offset of each queue of a topic over the groups that count; what is below
    /// the queue's `least` counts for nothing.
    pub fn lowest(
        &self,
        topic: &str,
        counts: impl Fn(&GroupName) -> bool,
        least: impl Fn(u32) -> i64,
    ) -> BTreeMap<u32, i64> {
        let inner = self.lock();
        let mut lowest = BTreeMap::new();
        for (_, topics) in inner.groups.iter().filter(|(group, _)| counts(group)) {
            let progress = topics.get(topic).map(Progress::all_committed);
            for (queue, offset) in progress.unwrap_or_default() {
                if offset >= least(queue) {
                    let there = lowest.entry(queue).or_insert(offset);
                    *there = offset.min(*there);
                }
            }
        }
        lowest
    }

    /// The groups with committed offsets in a topic.
    pub fn groups_of(&self, topic: &str) -> Vec<GroupName> {
        let inner = self.lock();
        let committed = |topics: &Topics| {
            let progress = topics.get(topic);
            progress.is_some_and(|progress| !progress.all_committed().is_empty())
        };
        let groups = inner.groups.iter().filter(|(_, topics)| committed(topics));
        groups.map(|(name, _)| name.clone()).collect()
    }

    /// Everything there is, by group and topic.
    pub fn all(&self) -> (Vec<Committed>, DataVersion) {
        let inner = self.lock();
        let mut all: Vec<_> = (inner.groups.iter())
            .flat_map(|(group, topics)| topics.iter().map(move |(topic, p)| (group, topic, p)))
            .map(|(group, topic, p)| (group.clone(), topic.clone(), p.all_committed()))
            .filter(|(_, _, offsets)| !offsets.is_empty())
            .collect();
        all.sort();
        (all, inner.version)
    }

    /// Forgets a topic.
    pub fn remove_topic(&self, topic: &TopicName) {
        let mut inner = self.lock();
        let groups: Vec<GroupName> = inner.groups.keys().cloned().collect();
        for group in groups {
            inner.remove(&group, topic);
        }
        inner.resets.retain(|(_, of, _)| of != topic);
        self.resets.store(inner.resets.len(), Ordering::SeqCst);
    }

    /// Forgets a group.
    pub fn remove_group(&self, group: &str) {
        let mut inner = self.lock();
        let Some((name, topics)) = inner.groups.get_key_value(group) else {
            return;
        };
        let (name, topics) = (name.clone(), topics.keys().cloned().collect::<Vec<_>>());
        for topic in topics {
            inner.remove(&name, &topic);
        }
        inner.groups.remove(group);
        inner.resets.retain(|(of, _, _)| of.as_str() != group);
        self.resets.store(inner.resets.len(), Ordering::SeqCst);
    }

    /// Samples the groups' counters.
    pub fn sample(&self, now: Duration) {
        let mut inner = self.lock();
        for progress in inner.groups.values_mut().flat_map(HashMap::values_mut) {
            progress.history.note(now, progress.got);
        }
    }

    /// Adds all rows that changed. They count as written; what cannot be staged is given back with
    /// [`Offsets::again`] and is tried again; it is in memory meanwhile.
    pub fn collect(&self, changes: &mut Changes) -> Taken {
        let mut inner = self.lock();
        if inner.dirty.is_empty() && inner.gone.is_empty() {
            return Taken::default();
        }
        let gone = std::mem::take(&mut inner.gone);
        let dirty = std::mem::take(&mut inner.dirty);
        let mut add = |group: &GroupName, topic: &TopicName, queue, value: Option<row::Offset>| {
            changes.add(
                Table::Offsets,
                |key| row::offset_key(key, group.as_str(), topic.as_str(), queue),
                |out| {
                    out.extend_from_slice(value.as_ref().map_or(&[], row::Offset::bytes));
                    value.is_some()
                },
            );
        };
        for (group, topic, queue) in &gone {
            add(group, topic, *queue, None);
        }
        for (group, topic, queue) in &dirty {
            let reset = inner.is_reset(group, topic, *queue);
            let progress = inner.groups.get_mut(group).and_then(|g| g.get_mut(topic));
            if let Some(progress) = progress {
                let position = progress.at(*queue);
                position.dirty = false;
                add(
                    group,
                    topic,
                    *queue,
                    Some(row::offset(position.committed, reset)),
                );
            }
        }
        Taken { dirty, gone }
    }

    /// What was taken could not be staged.
    pub fn again(&self, taken: Taken) {
        self.lock().again(taken.dirty, taken.gone);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn progress<'g>(groups: &'g mut Groups, group: &GroupName, topic: &TopicName) -> &'g mut Progress {
    // Looked up first: the usual case must not clone the names.
    if !groups.contains_key(group) {
        groups.insert(group.clone(), Topics::default());
    }
    let topics = groups.get_mut(group).expect("was just put there");
    if !topics.contains_key(topic) {
        topics.insert(topic.clone(), Progress::default());
    }
    topics.get_mut(topic).expect("was just put there")
}

impl Inner {
    fn is_reset(&self, group: &GroupName, topic: &TopicName, queue: u32) -> bool {
        // Nearly always there is none, and then no name is copied.
        !self.resets.is_empty() && (self.resets).contains(&(group.clone(), topic.clone(), queue))
    }

    /// A position's row in the log is older than the position.
    fn touch(&mut self, group: &GroupName, topic: &TopicName, queue: u32) {
        self.version.counter += 1;
        let position = self.progress(group, topic).at(queue);
        if !std::mem::replace(&mut position.dirty, true) {
            self.dirty.push((group.clone(), topic.clone(), queue));
        }
    }

    fn progress(&mut self, group: &GroupName, topic: &TopicName) -> &mut Progress {
        progress(&mut self.groups, group, topic)
    }

    fn position(
        &mut self,
        group: &GroupName,
        topic: &TopicName,
        queue: u32,
    ) -> Result<&mut Position, Error> {
        let progress = self.with_room(group, topic, queue)?;
        Ok(progress.at(queue))
    }

    /// A progress that may have a position for this queue.
    fn with_room(
        &mut self,
        group: &GroupName,
        topic: &TopicName,
        queue: u32,
    ) -> Result<&mut Progress, Error> {
        let progress = progress(&mut self.groups, group, topic);
        let growth = progress.growth(queue);
        if growth > 0 {
            if self.count + growth > limits::OFFSETS {
                return Err(Error::Busy("there are too many consumer offsets"));
            }
            self.count += growth;
            progress.at(queue);
        }
        Ok(progress)
    }

    fn remove(&mut self, group: &GroupName, topic: &TopicName) {
        let topics = self.groups.get_mut(group);
        let Some(removed) = topics.and_then(|topics| topics.remove(topic)) else {
            return;
        };
        self.count -= removed.positions.len();
        for (queue, _) in removed.all_committed() {
            self.gone.push((group.clone(), topic.clone(), queue));
        }
    }

    /// Puts back what could not be staged.
    fn again(
        &mut self,
        dirty: Vec<(GroupName, TopicName, u32)>,
        gone: Vec<(GroupName, TopicName, u32)>,
    ) {
        for (group, topic, queue) in dirty {
            let Some(progress) = self.groups.get_mut(&group).and_then(|g| g.get_mut(&topic)) else {
                continue;
            };
            if !std::mem::replace(&mut progress.at(queue).dirty, true) {
                self.dirty.push((group, topic, queue));
            }
        }
        self.gone.extend(gone);
    }
}
