//! What a pop finds on the disk only. A pop never waits for the disk: it says what it needs, a job reads
//! that where waiting is allowed, and the pop runs again and finds it in memory.

use std::sync::Arc;

use model::QueueOffset;
use store::{Entry, Properties, Queue, ReadError, Reads, Store, Wait};

use super::flight::Flight;
use super::{Checked, Pop, Popped};
use crate::filter::Filter;
use crate::offset::read_failed;
use crate::{Answer, Broker, Caller, Error};

/// How much of the messages is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Their entries in the queue.
    Entries,
    /// Their properties too.
    Properties,
    /// Their records too.
    Records,
}

/// Messages of a queue that are not in memory.
pub(super) struct Need {
    pub queue: Arc<Queue>,
    /// Runs of them: the first one, and how many follow each other.
    pub runs: Vec<(u64, usize)>,
    pub part: Part,
}

impl Need {
    /// Single messages.
    pub fn of(queue: &Arc<Queue>, at: impl IntoIterator<Item = u64>, part: Part) -> Need {
        let queue = Arc::clone(queue);
        let runs = at.into_iter().map(|at| (at, 1)).collect();
        Need { queue, runs, part }
    }

    /// Brings it into memory; for a job.
    fn read(&self, store: &Store) -> Result<(), ReadError> {
        let mut entries = Vec::new();
        for &(from, count) in &self.runs {
            store.entries(
                &self.queue,
                QueueOffset(from),
                count,
                Wait::Yes,
                &mut entries,
            )?;
        }
        match self.part {
            Part::Entries => Ok(()),
            Part::Properties => store
                .properties(&entries, None, Wait::Yes, &mut Properties::default())
                .map(|_| ()),
            Part::Records => store
                .read_runs(&entries, &mut Vec::new(), Wait::Yes)
                .map(|_| ()),
        }
    }
}

/// An entry of a queue.
pub(super) enum Found {
    Here(Entry),
    /// It is not there any more.
    Gone,
    Cold,
}

impl Broker {
    /// Has a job bring into memory what is needed. What the job finds broken, the pop is told.
    pub(super) fn fetch(&self, caller: &Caller, need: Need) -> Result<Answer<Popped>, Error> {
        let store = Arc::clone(&self.store);
        let answer = self.cold.defer(caller, move || match need.read(&store) {
            // What the log has lost is no message any more: the next look finds that too.
            Ok(()) | Err(ReadError::Missing(_) | ReadError::Damaged(_)) => Ok(()),
            Err(error) => Err(read_failed(error)),
        })?;
        match answer {
            Answer::Cold(job) => Ok(Answer::Cold(job)),
            _ => Err(Error::Busy("what was asked for is on the disk")),
        }
    }

    /// Why the job of an earlier run failed, if there was one and it did.
    pub(super) fn fetched(&self, caller: &Caller, pop: &Pop<'_>) -> Result<(), Error> {
        let ran = Caller {
            may_wait: !pop.warm,
            ..*caller
        };
        self.cold.take::<()>(&ran).unwrap_or(Ok(()))
    }

    /// The entry of one position of a flight, if it is not just being deleted.
    pub(super) fn entry(
        &self,
        queue: &Queue,
        flight: &Flight,
        at: u64,
        wait: Wait,
    ) -> Result<Found, Error> {
        match flight.moved(at) {
            Some(moved) => Ok(Found::Here(moved)),
            None => Ok(match entry_in_place(&self.store, queue, at, wait)? {
                Found::Here(entry) if entry.log_offset < self.pops.floor() => Found::Gone,
                found => found,
            }),
        }
    }

    /// The entries from `next` on, or from where the queue begins now: a segment may go at any time.
    pub(super) fn new_entries(
        &self,
        queue: &Queue,
        next: &mut u64,
        count: usize,
        out: &mut Vec<Entry>,
    ) -> Result<Reads, Error> {
        loop {
            out.clear();
            *next = queue.start().0.max(*next);
            let from = QueueOffset(*next);
            let read = (self.store).entries(queue, from, count, Wait::No, out);
            let read = read.map_err(read_failed)?;
            if queue.start().0 <= *next {
                return Ok(read);
            }
        }
    }

    /// The property texts of these entries' records; `None` if some are not in memory. Ends with the
    /// first one that the log has lost, which has none: the entries behind it are taken off.
    pub(super) fn properties(&self, entries: &mut Vec<Entry>) -> Result<Option<Properties>, Error> {
        let mut properties = Properties::default();
        match (self.store).properties(entries, None, Wait::No, &mut properties) {
            Ok(Reads::WouldBlock) => Ok(None),
            Ok(Reads::Done) => Ok(Some(properties)),
            Err(ReadError::Missing(_)) => {
                entries.truncate(properties.count() + 1);
                Ok(Some(properties))
            }
            Err(error) => Err(read_failed(error)),
        }
    }
}

impl Checked<'_> {
    /// Whether one of the filters reads properties.
    pub(super) fn reads_properties(&self, others: &[Filter]) -> bool {
        let mut filters = others.iter().chain([&self.filter]);
        filters.any(Filter::reads_properties)
    }
}

/// The entry of one position, where it was first.
pub(super) fn entry_in_place(
    store: &Store,
    queue: &Queue,
    at: u64,
    wait: Wait,
) -> Result<Found, Error> {
    if at < queue.start().0 {
        return Ok(Found::Gone);
    }
    let mut entry = Vec::with_capacity(1);
    match store.entries(queue, QueueOffset(at), 1, wait, &mut entry) {
        Ok(Reads::WouldBlock) => Ok(Found::Cold),
        // The queue begins further on now, and so does what was read.
        Ok(Reads::Done) if at < queue.start().0 => Ok(Found::Gone),
        Ok(Reads::Done) => {
            let entry = entry.first().copied().filter(|entry| entry.size > 0);
            Ok(entry.map_or(Found::Gone, Found::Here))
        }
        Err(ReadError::Missing(_) | ReadError::Damaged(_)) => Ok(Found::Gone),
        Err(error) => Err(read_failed(error)),
    }
}
