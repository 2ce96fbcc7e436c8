//! Dead letters that an operator sends again or gives up for good: operations that are started, followed
//! and cancelled.
//!
//! ```text
//!  redrive, purge ──> running ── piece by piece, in the deadlines' loop ──> done | failed
//!                        └── cancel ──> cancelled
//! ```
//! A log deletes nothing in its middle, so which letters are gone is a set of ranges for each group, a
//! row beside the operation's: both change with the messages of a piece. After a kill an operation goes
//! on where its row says; what it sent again last may come twice, no more than one piece of it.

mod gone;
mod row;
mod work;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{GroupName, TopicName};
use store::{Store, Table};

pub(crate) use gone::Gone;
use work::Job;

use crate::topic::topic_missing;
use crate::{Answer, AskedFor, Broker, Error, limits};

/// What is to be done with a group's dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Send them again.
    Redrive {
        /// Where to; by default each to the topic it came from.
        to: Option<String>,
        /// Only those that came from this topic.
        from: Option<String>,
        /// At most so many.
        limit: Option<u64>,
        /// So many a second at most.
        per_second: Option<u32>,
    },
    /// Give them up.
    Purge {
        /// Only those stored before this, ms since the Unix epoch.
        before: Option<i64>,
    },
}

/// How an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationState {
    /// It goes on by itself.
    Running,
    /// It came to its end.
    Done,
    /// It was cancelled; what was done before stays done.
    Cancelled,
    /// It cannot go on: see [`Operation::why`].
    Failed,
}

impl OperationState {
    /// Its word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            OperationState::Running => "running",
            OperationState::Done => "done",
            OperationState::Cancelled => "cancelled",
            OperationState::Failed => "failed",
        }
    }
}

/// An operation on a group's dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its name.
    pub id: String,
    /// The group.
    pub group: GroupName,
    /// What it does.
    pub work: Work,
    /// How it stands.
    pub state: OperationState,
    /// Dead letters it dealt with.
    pub done: u64,
    /// Dead letters there were when it began; some may not be meant.
    pub total: u64,
    /// When it began, ms since the Unix epoch.
    pub started_at: i64,
    /// Why it failed.
    pub why: Option<String>,
    /// The name of the request that began it.
    pub once: Option<String>,
}

/// An operation that a request began, or had begun before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// How it stands.
    pub operation: Operation,
    /// Whether an earlier request of the same name began it.
    pub replayed: bool,
}

/// How long the name of a request counts, ms.
const KEPT: i64 = 86_400_000;

/// All operations, and which dead letters are gone.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    state: Mutex<State>,
    /// Held by whoever works.
    working: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// By id: in the order they began.
    jobs: BTreeMap<String, Job>,
    gone: HashMap<GroupName, Gone>,
    /// When the next piece is due, on the steady clock; `None` if nothing runs.
    due: Option<Duration>,
}

impl DeadLetters {
    /// What the store knows.
    pub fn open(store: &Store) -> DeadLetters {
        let mut state = State::default();
        for (key, value) in store.rows(Table::Operations) {
            match row::read(&key, &value) {
                Some(row::Row::Job(job)) => drop(state.jobs.insert(job.operation.id.clone(), job)),
                Some(row::Row::Gone(group, gone)) => drop(state.gone.insert(group, gone)),
                None => tracing::error!("a row of operations cannot be read"),
            }
        }
        let runs = |job: &Job| job.operation.state == OperationState::Running;
        state.due = state.jobs.values().any(runs).then_some(Duration::ZERO);
        DeadLetters {
            state: Mutex::new(state),
            working: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broker {
    /// Begins an operation on a group's dead letters. With a name, `once`, the same request again begins
    /// nothing: for a day it gets the operation that the first one began.
    ///
    /// # Errors
    /// [`Error::IdempotencyDiffers`] if another request had this name;
    /// [`Error::GroupMissing`], [`Error::TopicMissing`] if it has none or the target is missing;
    /// [`Error::SystemTopicNotSendable`], [`Error::Name`]: no dead letter goes there or comes from there;
    /// [`Error::Busy`] while another operation of the group runs.
    pub fn start_operation(
        &self,
        group: &str,
        work: Work,
        once: Option<&str>,
    ) -> Result<Answer<Started>, Error> {
        let (group, queue) = self.dead_letters_of(group)?;
        if once.is_some_and(|once| once.len() > limits::IDEMPOTENCY_KEY) {
            let text = format!("a name has up to {} bytes", limits::IDEMPOTENCY_KEY);
            return Err(Error::Invalid(text));
        }
        // It is kept among properties, which control characters would end.
        if once.is_some_and(|once| once.is_empty() || once.contains(char::is_control)) {
            let text = "a name has at least a character, and no control characters";
            return Err(Error::Invalid(text.to_owned()));
        }
        if let Work::Redrive { to: Some(to), .. } = &work {
            let found = self.topics.find(to);
            let found = found.ok_or_else(|| topic_missing(to, AskedFor::Send))?;
            if !found.sendable {
                return Err(Error::SystemTopicNotSendable(found.config.name.clone()));
            }
        }
        if let Work::Redrive {
            from: Some(from), ..
        } = &work
        {
            TopicName::parse(from)?;
        }
        if matches!(
            work,
            Work::Redrive {
                per_second: Some(0),
                ..
            }
        ) {
            let text = "a rate of 0 messages a second never ends";
            return Err(Error::Invalid(text.to_owned()));
        }
        let mut state = self.dead_letters.state();
        let since = self.clock.wall().saturating_sub(KEPT);
        let earlier = once.and_then(|once| {
            let mut all = state.jobs.values();
            all.find(|job| {
                let own = &job.operation;
                own.once.as_deref() == Some(once) && own.group == group && own.started_at > since
            })
        });
        match earlier {
            Some(earlier) if earlier.operation.work == work => {
                let operation = earlier.operation.clone();
                // Who asks again may not have been answered because the disk was slow: as safe as the first answer.
                let (key, row) = (row::key(&operation.id), row::job(earlier));
                let mark = (self.store).put(&[(Table::Operations, &key, Some(&row))])?;
                let replayed = true;
                let started = Started {
                    operation,
                    replayed,
                };
                return Ok(Answer::After(mark, started));
            }
            Some(_) => return Err(Error::IdempotencyDiffers),
            None => {}
        }
        let running = |job: &&Job| job.operation.state == OperationState::Running;
        if (state.jobs.values().filter(running)).any(|job| job.operation.group == group) {
            return Err(Error::Busy("another operation on these dead letters runs"));
        }
        let (start, end) = (queue.start().0, queue.end().0);
        let gone = state.gone.get(&group);
        let operation = Operation {
            id: self.operation_id(),
            work,
            state: OperationState::Running,
            done: 0,
            total: gone.map_or(end - start, |gone| gone.left(start, end)),
            started_at: self.clock.wall(),
            why: None,
            once: once.map(str::to_owned),
            group,
        };
        let job = Job {
            operation: operation.clone(),
            next: start,
            end,
        };
        let mark = self.store.put(&[(
            Table::Operations,
            &row::key(&operation.id),
            Some(&row::job(&job)),
        )])?;
        state.jobs.insert(operation.id.clone(), job);
        state.due = Some(Duration::ZERO);
        self.forget_old(&mut state)?;
        drop(state);
        self.store.pending().alarm().ring(i64::MIN);
        let replayed = false;
        Ok(Answer::After(
            mark,
            Started {
                operation,
                replayed,
            },
        ))
    }

    /// An operation.
    pub fn operation(&self, id: &str) -> Option<Operation> {
        let state = self.dead_letters.state();
        state.jobs.get(id).map(|job| job.operation.clone())
    }

    /// The operations of a group, newest first; of all groups without one.
    pub fn operations(&self, group: Option<&str>) -> Vec<Operation> {
        let state = self.dead_letters.state();
        let of_group =
            |operation: &&Operation| group.is_none_or(|group| operation.group.as_str() == group);
        let all = state.jobs.values().rev().map(|job| &job.operation);
        all.filter(of_group).cloned().collect()
    }

    /// Ends an operation; one that has ended stays as it is.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the store takes nothing.
    pub fn cancel_operation(&self, id: &str) -> Result<Option<Answer<Operation>>, Error> {
        let mut state = self.dead_letters.state();
        let Some(job) = state.jobs.get_mut(id) else {
            return Ok(None);
        };
        if job.operation.state != OperationState::Running {
            return Ok(Some(Answer::Ready(job.operation.clone())));
        }
        let mut ended = job.clone();
        ended.operation.state = OperationState::Cancelled;
        let row = row::job(&ended);
        let mark = (self.store).put(&[(Table::Operations, &row::key(id), Some(&row))])?;
        *job = ended;
        Ok(Some(Answer::After(mark, job.operation.clone())))
    }

    /// A topic is gone. If it was one of dead letters, which of them were gone is over too: a new one
    /// counts from 0 again.
    pub(crate) fn forget_dead_letters(&self, topic: &TopicName) {
        let Some(group) = topic.group().filter(|_| topic.is_dlq()) else {
            return;
        };
        let mut state = self.dead_letters.state();
        let state = &mut *state;
        let of_group = |job: &&mut Job| {
            job.operation.group == group && job.operation.state == OperationState::Running
        };
        let mut changes = vec![(row::group_key(&group), None)];
        for job in state.jobs.values_mut().filter(of_group) {
            job.operation.state = OperationState::Failed;
            job.operation.why = Some(format!("{topic} was deleted"));
            changes.push((row::key(&job.operation.id), Some(row::job(job))));
        }
        state.gone.remove(&group);
        let changes: Vec<store::Change<'_>> = (changes.iter())
            .map(|(key, value)| (Table::Operations, &key[..], value.as_deref()))
            .collect();
        if let Err(error) = self.store.put(&changes) {
            tracing::warn!(%error, %topic, "what was gone of these dead letters was not forgotten");
        }
    }

    /// Which positions of a group's dead-letter queue are gone: sent again or given up. Each range is
    /// its first position and the one behind it.
    ///
    /// # Errors
    /// [`Error::GroupMissing`], [`Error::TopicMissing`] if it has no dead letters.
    pub fn gone_dead_letters(&self, group: &str) -> Result<Vec<(u64, u64)>, Error> {
        let (group, _) = self.dead_letters_of(group)?;
        let state = self.dead_letters.state();
        let gone = state.gone.get(&group);
        Ok(gone.map_or_else(Vec::new, |gone| gone.ranges().collect()))
    }

    fn dead_letters_of(
        &self,
        group: &str,
    ) -> Result<(GroupName, std::sync::Arc<store::Queue>), Error> {
        let missing = || Error::GroupMissing {
            group: group.to_owned(),
            asked: AskedFor::Stats,
        };
        let group = self.groups.find(group).ok_or_else(missing)?.name.clone();
        let name = TopicName::dlq_of(&group);
        let queue = self.store.find_queue(name.as_str(), 0);
        let queue = queue.ok_or_else(|| topic_missing(name.as_str(), AskedFor::Pull))?;
        Ok((group, queue))
    }

    /// Names that sort as they were made.
    fn operation_id(&self) -> String {
        format!(
            "op_{:013x}{:04x}",
            self.clock.wall(),
            self.random() & 0xFFFF
        )
    }

    /// Ended operations are kept up to a number.
    fn forget_old(&self, state: &mut State) -> Result<(), Error> {
        while state.jobs.len() > limits::OPERATIONS {
            let ended = |(_, job): &(&String, &Job)| job.operation.state != OperationState::Running;
            let Some((id, _)) = state.jobs.iter().find(ended) else {
                return Ok(());
            };
            let id = id.clone();
            self.store
                .put(&[(Table::Operations, &row::key(&id), None)])?;
            state.jobs.remove(&id);
        }
        Ok(())
    }
}
