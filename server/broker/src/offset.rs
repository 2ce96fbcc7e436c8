//! Where each group stands in each queue: committed offsets, the ends of queues, positions by time.

use crate::{Answer, Broker, Caller, Error};

/// Which of several records of the same time a search by time means (Apache `BoundaryType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Boundary {
    /// The first one stored at or after the time.
    #[default]
    Lower,
    /// The last one stored at or before the time.
    Upper,
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

#[allow(clippy::todo)]
impl Broker {
    /// The committed offset of a group (Apache `QUERY_CONSUMER_OFFSET`). A group without one starts
    /// at 0 if the queue still holds its very first message in memory and `zero_if_missing` is set.
    ///
    /// # Errors
    /// [`Error::NoOffset`], [`Error::NoOffsetNoZero`].
    pub fn offset(
        &self,
        group: &str,
        topic: &str,
        queue: i32,
        zero_if_missing: bool,
    ) -> Result<Answer<i64>, Error> {
        let _ = (group, topic, queue, zero_if_missing);
        todo!()
    }

    /// Commits a group's offset (Apache `UPDATE_CONSUMER_OFFSET`); a lower one is accepted too.
    ///
    /// # Errors
    /// [`Error::GroupMissing`], [`Error::TopicMissing`], [`Error::OffsetIncomplete`].
    pub fn set_offset(
        &self,
        caller: &Caller,
        group: &str,
        topic: &str,
        queue: Option<i32>,
        offset: Option<i64>,
    ) -> Result<Answer<()>, Error> {
        let _ = (caller, group, topic, queue, offset);
        todo!()
    }

    /// The position behind a queue's last message; 0 for a queue nobody wrote.
    pub fn max_offset(&self, topic: &str, queue: i32) -> i64 {
        let _ = (topic, queue);
        todo!()
    }

    /// A queue's first kept position; 0 for a queue nobody wrote.
    pub fn min_offset(&self, topic: &str, queue: i32) -> i64 {
        let _ = (topic, queue);
        todo!()
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
        let _ = (caller, topic, queue);
        todo!()
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
        let _ = (caller, topic, queue, time, boundary);
        todo!()
    }

    /// All committed offsets.
    pub fn offsets(&self) -> (Vec<GroupOffsets>, model::topic::DataVersion) {
        todo!()
    }
}
