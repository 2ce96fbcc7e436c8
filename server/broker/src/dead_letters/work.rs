//! One piece of an operation: some dead letters are read, and sent again or given up.

use std::sync::PoisonError;
use std::time::Duration;

use model::id::push_offset_id;
use model::message::{PROPERTIES_MAX, append, key};
use model::record::View;
use model::tag::tags_code;
use model::{QueueOffset, TopicName};
use store::{Draft, Keys, StageError, Table, Wait};

use super::{OperationState, Work, row};
use crate::delay::copy_without;
use crate::offset::read_failed;
use crate::retry::kept;
use crate::{Broker, Error, limits};

use super::Operation;

/// Dead letters that are dealt with in one piece.
const PIECE: usize = 64;
/// What the store does not take now is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// An operation and where it is.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub operation: Operation,
    /// The next position.
    pub next: u64,
    /// Where it ends.
    pub end: u64,
}

/// What became of one dead letter.
enum Dealt {
    Gone,
    /// It is not meant.
    Kept,
}

impl Broker {
    /// Does a piece of each operation that runs. Returns when to call again; `None` if nothing runs.
    ///
    /// # Errors
    /// As [`Broker::commit`].
    pub(crate) fn operations_step(&self) -> Result<Option<Duration>, Error> {
        let now = self.clock.steady();
        let Some(due) = self.dead_letters.state().due else {
            return Ok(None);
        };
        if now < due {
            return Ok(Some(due - now));
        }
        let working = self.dead_letters.working.lock();
        let _working = working.unwrap_or_else(PoisonError::into_inner);
        let jobs: Vec<Job> = {
            let state = self.dead_letters.state();
            let running = |job: &&Job| job.operation.state == OperationState::Running;
            state.jobs.values().filter(running).cloned().collect()
        };
        let mut next: Option<Duration> = None;
        let seen: Vec<String> = jobs.iter().map(|job| job.operation.id.clone()).collect();
        for mut job in jobs {
            let pause = match self.deal(&mut job) {
                Ok(pause) => pause,
                Err(error @ (Error::Busy(_) | Error::Unavailable(_))) => {
                    tracing::warn!(%error, operation = job.operation.id, "an operation waits");
                    Some(AGAIN)
                }
                Err(error) => {
                    job.operation.state = OperationState::Failed;
                    job.operation.why = Some(error.to_string());
                    self.note(&job)?;
                    None
                }
            };
            next = [next, pause].into_iter().flatten().min();
        }
        let mut state = self.dead_letters.state();
        let new = |job: &Job| {
            job.operation.state == OperationState::Running && !seen.contains(&job.operation.id)
        };
        if state.jobs.values().any(new) {
            next = Some(Duration::ZERO);
        }
        state.due = next.map(|next| now + next);
        drop(state);
        self.commit()?;
        Ok(next)
    }

    /// Deals with some. Returns when to go on; `None` at the end.
    fn deal(&self, job: &mut Job) -> Result<Option<Duration>, Error> {
        let name = TopicName::dlq_of(&job.operation.group);
        let Some(queue) = self.store.find_queue(name.as_str(), 0) else {
            job.operation.state = OperationState::Done;
            self.note(job)?;
            return Ok(None);
        };
        let (room, rate) = match &job.operation.work {
            Work::Redrive {
                limit, per_second, ..
            } => {
                let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(job.operation.done));
                // A tenth of a second's at once.
                let slice = per_second.map_or(u64::MAX, |rate| u64::from(rate.div_ceil(10)));
                (left.min(slice), *per_second)
            }
            Work::Purge { .. } => (u64::MAX, None),
        };
        job.next = job.next.max(queue.start().0);
        let mut entries = Vec::new();
        let from = QueueOffset(job.next);
        let count = PIECE.min(usize::try_from(job.end.saturating_sub(job.next)).unwrap_or(PIECE));
        let read = (self.store).entries(&queue, from, count, Wait::Yes, &mut entries);
        read.map_err(read_failed)?;
        let (mut gone, mut record, mut dealt, mut failed) = (Vec::new(), Vec::new(), 0, None);
        for entry in &entries {
            if dealt == room {
                break;
            }
            let at = job.next;
            let before = {
                let state = self.dead_letters.state();
                let group = state.gone.get(&job.operation.group);
                group.is_some_and(|gone| gone.contains(at))
            };
            record.clear();
            let read = entry.size > 0
                && !before
                && (self.store.record(entry.log_offset, Wait::Yes, &mut record)).is_ok();
            let view = View::parse(&record).ok().filter(|_| read);
            match view.map(|view| self.deal_with(&view, &job.operation.work)) {
                Some(Ok(Dealt::Gone)) => {
                    gone.push(at);
                    dealt += 1;
                }
                Some(Ok(Dealt::Kept)) | None => {}
                Some(Err(error)) => {
                    failed = Some(error);
                    break;
                }
            }
            job.next += 1;
        }
        job.operation.done += dealt;
        let full = match &job.operation.work {
            Work::Redrive { limit, .. } => limit.is_some_and(|limit| job.operation.done >= limit),
            Work::Purge { .. } => false,
        };
        if full || entries.is_empty() || job.next >= job.end {
            job.operation.state = OperationState::Done;
        }
        self.note_gone(job, &gone)?;
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(match (job.operation.state, rate) {
            (OperationState::Running, None) => Some(Duration::ZERO),
            (OperationState::Running, Some(rate)) => {
                Some(Duration::from_secs_f64(dealt as f64 / f64::from(rate)))
            }
            _ => None,
        })
    }

    fn deal_with(&self, view: &View<'_>, work: &Work) -> Result<Dealt, Error> {
        let (to, from) = match work {
            Work::Purge { before } => {
                let meant = before.is_none_or(|before| view.stored_at() < before);
                return Ok(if meant { Dealt::Gone } else { Dealt::Kept });
            }
            Work::Redrive { to, from, .. } => (to, from),
        };
        let origin = view.property(key::DLQ_ORIGIN_TOPIC);
        let origin = origin
            .or_else(|| view.property(key::RETRY_TOPIC))
            .unwrap_or_default();
        if from.as_ref().is_some_and(|from| from != origin) {
            return Ok(Dealt::Kept);
        }
        let name = to.as_deref().unwrap_or(origin);
        let Some(topic) = self.topics.find(name).filter(|topic| topic.sendable) else {
            // It stays a dead letter.
            tracing::warn!(
                topic = name,
                "a dead letter's topic is not there or takes nothing; it stays"
            );
            return Ok(Dealt::Kept);
        };
        let queues = topic.config.write_queues.max(1);
        let id = match view.property(key::SHARDING_KEY) {
            Some(group) => model::tag::java_hash(group).unsigned_abs() % queues,
            None => (self.random() % u64::from(queues)) as u32,
        };
        let Some(queue) = topic.queue(&self.store, id) else {
            return Ok(Dealt::Kept);
        };
        let mut text = String::with_capacity(view.properties().len());
        let mut properties = String::with_capacity(view.properties().len() + 64);
        kept(view.properties(), &mut text);
        let of_death = |name: &str| matches!(name, key::RETRY_TOPIC | key::DLQ_REASON);
        copy_without(&text, of_death, &mut properties);
        if view.property(key::ORIGIN_MESSAGE_ID).is_none() {
            let mut id = String::with_capacity(56);
            push_offset_id(&mut id, view.store_host(), view.log_offset());
            append(&mut properties, key::ORIGIN_MESSAGE_ID, &id);
        }
        if properties.len() > PROPERTIES_MAX {
            return Ok(Dealt::Kept);
        }
        let draft = Draft {
            queue,
            flag: view.flag(),
            sys_flag: view.sys_flag(),
            born_at: view.born_at(),
            born_host: view.born_host(),
            reconsume_times: 0,
            prepared_offset: view.log_offset().0,
            body: view.body(),
            properties: &properties,
            tags_code: tags_code(view.property(key::TAGS)),
            keys: Keys::Unread,
        };
        let mut staged = self.store.stage(&draft);
        if staged == Err(StageError::Busy) {
            self.commit()?;
            staged = self.store.stage(&draft);
        }
        let staged = staged.map_err(|error| self.not_staged(error, name))?;
        self.stored(&topic, &staged);
        Ok(Dealt::Gone)
    }

    /// Writes down where an operation is.
    fn note(&self, job: &Job) -> Result<(), Error> {
        self.note_gone(job, &[])
    }

    /// Writes down where an operation is, and what of its group's dead letters is gone: one record.
    fn note_gone(&self, job: &Job, positions: &[u64]) -> Result<(), Error> {
        let mut state = self.dead_letters.state();
        let state = &mut *state;
        let group = &job.operation.group;
        let Some(known) = state.jobs.get_mut(&job.operation.id) else {
            return Ok(());
        };
        if known.operation.state == OperationState::Failed {
            // Its dead letters were deleted meanwhile: positions of the old queue mean nothing now.
            return Ok(());
        }
        let cancelled = known.operation.state == OperationState::Cancelled;
        *known = job.clone();
        if cancelled {
            known.operation.state = OperationState::Cancelled;
        }
        let (job_key, job_row) = (row::key(&job.operation.id), row::job(known));
        let mut changes = vec![(Table::Operations, &job_key[..], Some(&job_row[..]))];
        let group_key = row::group_key(group);
        let gone_row;
        if !positions.is_empty() {
            let gone = state.gone.entry(group.clone()).or_default();
            positions.iter().for_each(|&at| gone.add(at, at + 1));
            let name = TopicName::dlq_of(group);
            if let Some(queue) = self.store.find_queue(name.as_str(), 0) {
                gone.forget_below(queue.start().0);
            }
            if gone.len() > limits::GONE_RANGES {
                tracing::warn!(%group, ranges = gone.len(), "many ranges of dead letters are gone");
            }
            gone_row = row::gone(gone);
            changes.push((Table::Operations, &group_key[..], Some(&gone_row[..])));
        }
        self.store.put(&changes)?;
        Ok(())
    }
}
