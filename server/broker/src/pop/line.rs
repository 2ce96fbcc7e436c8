//! The popped lines of the broker: for each group and topic, what is in flight of the topic's queues
//! and of the group's retry topics of it, and who waits for messages.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use model::receipt::PopTopic;
use model::{GroupName, LogOffset, TopicName};
use store::Alarm;

use super::again::Attempts;
use super::flight::Flight;
use super::wait::Waiter;
use crate::ConnectionId;
use crate::filter::Filter;

/// One group's consumption of one topic by popping.
pub(crate) struct Line {
    pub group: GroupName,
    /// The topic, and the retry topics of both forms: by [`PopTopic`].
    pub topics: [TopicName; 3],
    /// Which retry topic is written.
    pub retry: PopTopic,
    state: Mutex<State>,
    /// When the first lease of it runs out, in ns of the monotonic clock.
    next_due: AtomicU64,
    /// How many wait.
    pub waiting: AtomicUsize,
    /// Messages acked and handed out since the statistics were told; with the next rows they are.
    pub acked: AtomicU64,
    pub handed_out: AtomicU64,
    dirty: AtomicBool,
}

/// A queue of a line.
pub(crate) type FlightId = (PopTopic, u32);

/// A filter that somebody of the group popped with lately.
pub(crate) struct Member {
    pub expression: Box<str>,
    pub kind: Option<Box<str>>,
    pub filter: Filter,
    pub seen: Duration,
}

/// What of a line changes.
#[derive(Default)]
pub(crate) struct State {
    pub flights: BTreeMap<FlightId, Flight>,
    pub waiters: VecDeque<Waiter>,
    pub members: Vec<Member>,
    /// What attempts with a name got.
    pub attempts: Attempts,
    /// Pop time of the newest lease whose message is open again in its place: the next pop's is
    /// another, so that the old handle does not mean the new lease.
    pub opened_again: i64,
}

const NEVER: u64 = u64::MAX;

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NEVER)
}

impl Line {
    fn new(group: GroupName, topic: &TopicName, retry: PopTopic) -> Line {
        let of = |which| TopicName::pop_retry_of(&group, topic, which);
        Line {
            topics: PopTopic::ALL.map(of),
            group,
            retry,
            state: Mutex::default(),
            next_due: AtomicU64::new(NEVER),
            waiting: AtomicUsize::new(0),
            acked: AtomicU64::new(0),
            handed_out: AtomicU64::new(0),
            dirty: AtomicBool::new(false),
        }
    }

    /// The name of one of its topics.
    pub fn topic(&self, which: PopTopic) -> &TopicName {
        &self.topics[which as usize]
    }

    /// Its state. Whoever changed it calls [`Pops::changed`] before letting go.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the first lease runs out.
    pub fn next_due(&self) -> Option<Duration> {
        match self.next_due.load(Ordering::SeqCst) {
            NEVER => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// Notes when the first lease runs out, and returns it in ns.
    fn set_due(&self, state: &State) -> u64 {
        let due = state.flights.values().filter_map(Flight::next_due).min();
        let nanos = due.map_or(NEVER, nanos);
        self.next_due.store(nanos, Ordering::SeqCst);
        nanos
    }
}

#[derive(Default)]
struct Registry {
    /// By group and by each topic's name, retry topics included.
    groups: HashMap<GroupName, HashMap<TopicName, (Arc<Line>, PopTopic)>>,
    /// Whom messages of a topic concern.
    topics: HashMap<TopicName, Vec<Arc<Line>>>,
    all: Vec<Arc<Line>>,
}

/// All lines.
pub(crate) struct Pops {
    registry: RwLock<Registry>,
    /// Lines with rows to write.
    pub(super) dirty: Mutex<Vec<Arc<Line>>>,
    /// All who wait, by connection and ticket, until their request ran again.
    pub(super) waiting: Mutex<HashMap<ConnectionId, HashMap<u64, Arc<Line>>>>,
    pub(super) held: AtomicUsize,
    turn: AtomicU32,
    /// Whoever sleeps until the next lease runs out is awake then, ns; earlier ones ring,
    watched: AtomicU64,
    /// here.
    alarm: Arc<Alarm>,
    /// Nothing is popped any more that lies below this in the log: it is being deleted.
    floor: AtomicU64,
    /// New retry topics are of the second form (`enableRetryTopicV2`).
    retry_v2: bool,
}

impl Pops {
    pub fn new(retry_v2: bool, alarm: &Arc<Alarm>) -> Pops {
        Pops {
            registry: RwLock::default(),
            dirty: Mutex::default(),
            waiting: Mutex::default(),
            held: AtomicUsize::new(0),
            turn: AtomicU32::new(0),
            watched: AtomicU64::new(NEVER),
            alarm: Arc::clone(alarm),
            floor: AtomicU64::new(0),
            retry_v2,
        }
    }

    /// The line that a topic of a group belongs to, and which of its topics it is.
    pub fn find(&self, group: &str, topic: &str) -> Option<(Arc<Line>, PopTopic)> {
        let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
        let (line, which) = registry.groups.get(group)?.get(topic)?;
        Some((Arc::clone(line), *which))
    }

    /// The line of a group and a topic, made if it is new.
    pub fn line(&self, group: &GroupName, topic: &TopicName) -> Arc<Line> {
        if let Some((line, PopTopic::Normal)) = self.find(group.as_str(), topic.as_str()) {
            return line;
        }
        let mut registry = self
            .registry
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let there = registry
            .groups
            .get(group)
            .and_then(|topics| topics.get(topic));
        if let Some((line, PopTopic::Normal)) = there {
            return Arc::clone(line);
        }
        // Another pair of names may make the same retry topic: then this one takes the clear form.
        let first = TopicName::pop_retry_of(group, topic, PopTopic::RetryV1);
        let taken = registry.topics.contains_key(&first);
        let retry = match self.retry_v2 || taken {
            true => PopTopic::RetryV2,
            false => PopTopic::RetryV1,
        };
        let line = Arc::new(Line::new(group.clone(), topic, retry));
        for which in PopTopic::ALL {
            if which == PopTopic::RetryV1 && taken {
                continue;
            }
            let name = line.topic(which).clone();
            let entry = (Arc::clone(&line), which);
            registry
                .groups
                .entry(group.clone())
                .or_default()
                .insert(name.clone(), entry);
            registry
                .topics
                .entry(name)
                .or_default()
                .push(Arc::clone(&line));
        }
        registry.all.push(Arc::clone(&line));
        line
    }

    /// Whether a line reads this one of its retry topics: another pair's first form is not its own.
    pub fn owns(&self, line: &Line, which: PopTopic) -> bool {
        let found = self.find(line.group.as_str(), line.topic(which).as_str());
        found.is_some_and(|(found, is)| is == which && std::ptr::eq(&*found, line))
    }

    /// Whom a topic's messages concern.
    pub fn of_topic(&self, topic: &str) -> Vec<Arc<Line>> {
        let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
        registry.topics.get(topic).cloned().unwrap_or_default()
    }

    /// All lines.
    pub fn all(&self) -> Vec<Arc<Line>> {
        let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
        registry.all.clone()
    }

    /// Lines with a lease that runs out by `now`, and when the next one after that does.
    pub fn due(&self, now: Duration) -> (Vec<Arc<Line>>, Option<Duration>) {
        let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
        let (mut due, mut next) = (Vec::new(), None);
        for line in &registry.all {
            match line.next_due() {
                Some(at) if at <= now => due.push(Arc::clone(line)),
                Some(at) => next = Some(next.map_or(at, |next: Duration| next.min(at))),
                None => {}
            }
        }
        (due, next)
    }

    /// Takes lines away, those for which `gone` holds.
    pub fn remove(&self, gone: impl Fn(&Line) -> bool) -> Vec<Arc<Line>> {
        let mut registry = self
            .registry
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let (out, kept) = std::mem::take(&mut registry.all)
            .into_iter()
            .partition::<Vec<_>, _>(|line| gone(line));
        registry.all = kept;
        for topics in registry.groups.values_mut() {
            topics.retain(|_, (line, _)| !gone(line));
        }
        registry.groups.retain(|_, topics| !topics.is_empty());
        for lines in registry.topics.values_mut() {
            lines.retain(|line| !gone(line));
        }
        registry.topics.retain(|_, lines| !lines.is_empty());
        out
    }

    /// Notes that a line has rows to write, and when its first lease runs out.
    pub fn changed(&self, line: &Arc<Line>, state: &State) {
        if line.set_due(state) < self.watched.load(Ordering::SeqCst) {
            self.alarm.ring(i64::MIN);
        }
        if !line.dirty.swap(true, Ordering::Relaxed) {
            let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
            dirty.push(Arc::clone(line));
        }
    }

    /// Whoever gives back what is not acked is awake at this moment; before it looks it says
    /// [`Duration::MAX`], so that nothing which is popped while it looks is missed.
    pub fn watch(&self, until: Duration) {
        self.watched.store(nanos(until), Ordering::SeqCst);
    }

    /// The lines with rows to write; they count as written.
    pub fn take_dirty(&self) -> Vec<Arc<Line>> {
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = std::mem::take(&mut *dirty);
        for line in &taken {
            line.dirty.store(false, Ordering::Relaxed);
        }
        taken
    }

    /// What lies below this in the log is popped no more.
    pub fn floor(&self) -> LogOffset {
        LogOffset(self.floor.load(Ordering::SeqCst))
    }

    /// Sets [`Pops::floor`]; returns what it was. Whoever locks a line afterwards finds all that is out
    /// on leases below it.
    pub fn set_floor(&self, floor: LogOffset) -> LogOffset {
        LogOffset(self.floor.swap(floor.0, Ordering::SeqCst))
    }

    /// The revive queue of the next pop: Apache has eight, and clients show the number only.
    pub fn revive_queue(&self) -> i32 {
        (self.turn.fetch_add(1, Ordering::Relaxed) % 8) as i32
    }
}
