//! Offsets of queues and of groups.

use std::time::SystemTime;

use remoting::Command;
use remoting::code::{request, response};
use remoting::header::offset::{
    OffsetAnswer, QueryOffsetHeader, QueueHeader, SearchOffsetHeader, UpdateOffsetHeader,
};

use super::Admin;
use crate::client::Inner;
use crate::clock;
use crate::error::{Error, Result};
use crate::queue::Queue;

impl Admin {
    /// The offset of the first message that is there.
    ///
    /// # Errors
    /// If the queue has no broker, or that gives no answer.
    pub async fn min_offset(&self, queue: &Queue) -> Result<u64> {
        self.client.min_offset(queue).await
    }

    /// The offset that the next message will get.
    ///
    /// # Errors
    /// If the queue has no broker, or that gives no answer.
    pub async fn max_offset(&self, queue: &Queue) -> Result<u64> {
        self.client.max_offset(queue).await
    }

    /// The offset of the first message stored at that time or later; the queue's end if there is none.
    ///
    /// # Errors
    /// If the queue has no broker, or that gives no answer.
    pub async fn offset_at(&self, queue: &Queue, time: SystemTime) -> Result<u64> {
        self.client.offset_at(queue, clock::ms(time)).await
    }

    /// Where a group goes on in a queue; `None` if it never said.
    ///
    /// # Errors
    /// If the queue has no broker, or that gives no answer.
    pub async fn group_offset(&self, group: &str, queue: &Queue) -> Result<Option<u64>> {
        self.client.group_offset(group, queue, Some(false)).await
    }

    /// Says where a group goes on in a queue. Members that consume it now will overwrite that.
    ///
    /// # Errors
    /// If the queue has no broker, or that refuses.
    pub async fn set_group_offset(&self, group: &str, queue: &Queue, offset: u64) -> Result<()> {
        let command = self.client.offset_command(group, queue, offset);
        let channel = self.client.master_of(&queue.topic, &queue.broker).await?;
        channel.call(command, self.client.config.timeout).await?;
        Ok(())
    }
}

impl Inner {
    pub(crate) async fn min_offset(&self, queue: &Queue) -> Result<u64> {
        self.queue_offset(request::GET_MIN_OFFSET, queue).await
    }

    pub(crate) async fn max_offset(&self, queue: &Queue) -> Result<u64> {
        self.queue_offset(request::GET_MAX_OFFSET, queue).await
    }

    async fn queue_offset(&self, code: i32, queue: &Queue) -> Result<u64> {
        let header = QueueHeader {
            topic: &queue.topic,
            queue_id: queue.id as i32,
        };
        self.offset(queue, header.fill(Command::request(code)))
            .await
    }

    pub(crate) async fn offset_at(&self, queue: &Queue, ms: i64) -> Result<u64> {
        let header = SearchOffsetHeader {
            topic: &queue.topic,
            queue_id: queue.id as i32,
            timestamp: ms,
            boundary: None,
        };
        let command = Command::request(request::SEARCH_OFFSET_BY_TIMESTAMP);
        self.offset(queue, header.fill(command)).await
    }

    /// `zero`: `Some(false)` asks only for what the group said, otherwise brokers say 0 of a queue that they
    /// have from its first message on.
    pub(crate) async fn group_offset(
        &self,
        group: &str,
        queue: &Queue,
        zero: Option<bool>,
    ) -> Result<Option<u64>> {
        let header = QueryOffsetHeader {
            consumer_group: group,
            topic: &queue.topic,
            queue_id: queue.id as i32,
            zero_if_not_found: zero,
        };
        let command = header.fill(Command::request(request::QUERY_CONSUMER_OFFSET));
        match self.offset(queue, command).await {
            Ok(offset) => Ok(Some(offset)),
            Err(error) if error.code() == Some(response::QUERY_NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn offset_command(&self, group: &str, queue: &Queue, offset: u64) -> Command {
        let header = UpdateOffsetHeader {
            consumer_group: group,
            topic: &queue.topic,
            queue_id: Some(queue.id as i32),
            commit_offset: Some(offset.cast_signed()),
        };
        header.fill(Command::request(request::UPDATE_CONSUMER_OFFSET))
    }

    async fn offset(&self, queue: &Queue, command: Command) -> Result<u64> {
        let channel = self.master_of(&queue.topic, &queue.broker).await?;
        let answer = channel.call(command, self.config.timeout).await?;
        let offset = answer.read(OffsetAnswer::read);
        let malformed = |what: String| Error::malformed(channel.address(), what);
        let offset = offset.map_err(|error| malformed(error.to_string()))?;
        let offset = offset.map_err(|error| malformed(error.to_string()))?.offset;
        u64::try_from(offset).map_err(|_| malformed(format!("offset {offset}")))
    }
}
