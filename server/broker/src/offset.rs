//! Where each group stands in each queue: committed offsets, the ends of queues, positions by time.

mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::topic::DataVersion;
use model::{GroupName, Mark, QueueOffset};
use store::{Entry, Queue, ReadError, Reads, Store, Wait};

pub(crate) use table::{Moved, Offsets, Progress};

use crate::topic::topic_missing;
use crate::{Answer, AskedFor, Broker, Caller, Error, limits};

/// Which of several records of the same time a search by time means (Apache `BoundaryType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Boundary {
    /// The first one stored at or after the time.
    #[default]
    Lower,
    /// The last one stored at or before the time.
    Upper,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// It counts.
    Done,
    /// It does not: an operator sent the group elsewhere, and its consumer has not heard of it.
    Reset,
}

/// All committed offsets of one group in one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOffsets {
    /// The topic.
    pub topic: String,
    /// The group.
    pub group: String,
    /// Queue and offset, by queue.
    pub offsets: Vec<(u32, i64)>,
}

impl Broker {
    /// The committed offset of a group (Apache `QUERY_CONSUMER_OFFSET`). A group without one starts
    /// at 0 if the queue still holds its very first message in memory and `zero_if_missing` is set.
    ///
    /// # Errors
    /// [`Error::NoOffset`], [`Error::NoOffsetNoZero`].
    pub fn offset(
        &self,
        caller: &Caller,
        group: &str,
        topic: &str,
        queue: i32,
        zero_if_missing: bool,
    ) -> Result<Answer<i64>, Error> {
        let id = u32::try_from(queue).map_err(|_| Error::NoOffset)?;
        let committed = self
            .offsets
            .look(group, topic, |progress| progress.committed(id));
        match committed {
            Some(offset) => Ok(Answer::Ready(offset)),
            None if !zero_if_missing => Err(Error::NoOffsetNoZero),
            None => self.offset_of_new(caller, topic, queue),
        }
    }

    /// Where a new group starts in a queue.
    fn offset_of_new(
        &self,
        caller: &Caller,
        topic: &str,
        queue: i32,
    ) -> Result<Answer<i64>, Error> {
        let queue = self.find_queue(topic, queue).ok_or(Error::NoOffset)?;
        let zero = |begins: bool| begins.then_some(0).ok_or(Error::NoOffset);
        if let Some(read) = self.cold.take(caller) {
            return read.and_then(zero).map(Answer::Ready);
        }
        let in_memory = self.options.in_memory;
        match begins_in_memory(&self.store, &queue, in_memory, Wait::No)? {
            Some(begins) => zero(begins).map(Answer::Ready),
            None => {
                let store = Arc::clone(&self.store);
                let answer = self.cold.defer(caller, move || {
                    let begins = begins_in_memory(&store, &queue, in_memory, Wait::Yes)?;
                    Ok(begins.unwrap_or(false))
                })?;
                Ok(answer.map(|_| 0))
            }
        }
    }

    /// Whether the queue has all it ever had, and its first record is recent enough to be in memory.
    /// `None`: finding out would wait for the disk.
    pub(crate) fn begins_in_memory(&self, queue: &Queue) -> Result<Option<bool>, Error> {
        begins_in_memory(&self.store, queue, self.options.in_memory, Wait::No)
    }

    /// Commits a group's offset (Apache `UPDATE_CONSUMER_OFFSET`). A lower one is accepted too: it is
    /// an operator's, or a consumer's, explicit wish, so it is logged and counted.
    ///
    /// # Errors
    /// [`Error::GroupMissing`], [`Error::TopicMissing`], [`Error::OffsetIncomplete`],
    /// [`Error::Unavailable`].
    pub fn set_offset(
        &self,
        caller: &Caller,
        group: &str,
        topic: &str,
        queue: Option<i32>,
        offset: Option<i64>,
    ) -> Result<Answer<Commit>, Error> {
        let asked = AskedFor::Commit;
        let config = self.groups.find(group).ok_or_else(|| Error::GroupMissing {
            group: group.to_owned(),
            asked,
        })?;
        let found = self
            .topics
            .find(topic)
            .ok_or_else(|| topic_missing(topic, asked))?;
        let missing = |what| Error::OffsetIncomplete {
            what,
            topic: topic.to_owned(),
        };
        let queue = queue.ok_or_else(|| missing("QueueId"))?;
        let offset = offset.ok_or_else(|| missing("Offset"))?;
        // A consumer may still hold a queue that its topic has lost: Apache takes any number.
        let end = found.queue_count().max(limits::COMMITTED_QUEUES);
        let id = u32::try_from(queue).ok().filter(|&id| id < end);
        let id = id.ok_or_else(|| {
            Error::Invalid(format!("queueId[{queue}] is illegal, topic is {topic}"))
        })?;
        if let Some(why) = self.store.failure() {
            return Err(Error::Unavailable(why.to_string())); // it could not be kept
        }
        let moved = self
            .offsets
            .commit(&config.name, &found.config.name, id, offset, true)?;
        match moved {
            Moved::Forward => {}
            Moved::Back(from) => {
                self.stats.lowered.add(1);
                tracing::warn!(group, topic, queue, from, to = offset, client = %caller.remote,
                    "a committed offset was moved back");
            }
            Moved::Reset => return Ok(Answer::Ready(Commit::Reset)),
        }
        self.popped_elsewhere(group, topic, id);
        // The row is staged by `commit`, which every batch with an `After` ends with.
        Ok(Answer::After(Mark::REACHED, Commit::Done))
    }

    /// The position behind a queue's last message; 0 for a queue nobody wrote.
    pub fn max_offset(&self, topic: &str, queue: i32) -> i64 {
        let queue = self.find_queue(topic, queue);
        queue.map_or(0, |queue| queue.end().0 as i64)
    }

    /// A queue's first kept position; 0 for a queue nobody wrote.
    pub fn min_offset(&self, topic: &str, queue: i32) -> i64 {
        let queue = self.find_queue(topic, queue);
        queue.map_or(0, |queue| queue.start().0 as i64)
    }

    /// When the queue's first kept message was stored, ms since the Unix epoch; -1 if there is none.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn earliest_stored_at(
        &self,
        caller: &Caller,
        topic: &str,
        queue: i32,
    ) -> Result<Answer<i64>, Error> {
        let Some(queue) = self.find_queue(topic, queue) else {
            return Ok(Answer::Ready(-1));
        };
        let store = Arc::clone(&self.store);
        self.cold.answer(caller, move || {
            let mut first = Vec::with_capacity(1);
            store
                .entries(&queue, queue.start(), 1, Wait::Yes, &mut first)
                .map_err(read_failed)?;
            let Some(first) = first.first() else {
                return Ok(-1);
            };
            Ok(store.stored_at(first.log_offset).unwrap_or(-1))
        })
    }

    /// The position in a queue that belongs to a time in ms since the Unix epoch.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn offset_at(
        &self,
        caller: &Caller,
        topic: &str,
        queue: i32,
        time: i64,
        boundary: Boundary,
    ) -> Result<Answer<i64>, Error> {
        let Some(queue) = self.find_queue(topic, queue) else {
            return Ok(Answer::Ready(0));
        };
        let store = Arc::clone(&self.store);
        let boundary = match boundary {
            Boundary::Lower => store::Boundary::Lower,
            Boundary::Upper => store::Boundary::Upper,
        };
        self.cold.answer(caller, move || {
            let found = store
                .offset_at(&queue, time, boundary)
                .map_err(read_failed)?;
            Ok(found.0 as i64)
        })
    }

    /// How far all groups but the `left_out` are in each queue of a topic (Apache
    /// `QUERY_CORRECTION_OFFSET`): where a group that follows them may go. A queue in which `compared`
    /// is behind that says the largest number. Apache forgets the offsets of those left out.
    pub fn correction_offsets(
        &self,
        topic: &str,
        compared: &str,
        left_out: &[&str],
    ) -> BTreeMap<u32, i64> {
        let counts = |group: &GroupName| !left_out.contains(&group.as_str());
        let least = |queue: u32| self.min_offset(topic, queue as i32);
        let mut lowest = self.offsets.lowest(topic, counts, least);
        self.offsets.look(compared, topic, |progress| {
            for (queue, offset) in progress.all_committed() {
                if let Some(lowest) = lowest.get_mut(&queue).filter(|lowest| **lowest > offset) {
                    *lowest = i64::MAX;
                }
            }
            None::<()>
        });
        lowest
    }

    /// All committed offsets.
    pub fn offsets(&self) -> (Vec<GroupOffsets>, DataVersion) {
        let (all, version) = self.offsets.all();
        let all = all.into_iter().map(|(group, topic, offsets)| GroupOffsets {
            topic: topic.to_string(),
            group: group.to_string(),
            offsets,
        });
        (all.collect(), version)
    }

    /// A queue somebody wrote.
    pub(crate) fn find_queue(&self, topic: &str, queue: i32) -> Option<Arc<Queue>> {
        self.store.find_queue(topic, u32::try_from(queue).ok()?)
    }
}

/// Whether the queue has all it ever had, and its first record lies within the log's last `in_memory`
/// bytes. `None`: finding out would wait for the disk.
fn begins_in_memory(
    store: &Store,
    queue: &Queue,
    in_memory: u64,
    wait: Wait,
) -> Result<Option<bool>, Error> {
    if queue.start().0 > 0 || queue.end().0 == 0 {
        return Ok(Some(false));
    }
    let mut first = Vec::with_capacity(1);
    let read = store.entries(queue, QueueOffset(0), 1, wait, &mut first);
    if read.map_err(read_failed)? == Reads::WouldBlock {
        return Ok(None);
    }
    let end = store.marks().appended.0;
    let near = |entry: &Entry| end.saturating_sub(entry.log_offset.0) <= in_memory;
    Ok(Some(first.first().is_some_and(near)))
}

/// The store could not read.
pub(crate) fn read_failed(error: ReadError) -> Error {
    Error::Store(error.to_string())
}
