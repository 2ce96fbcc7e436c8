//! What running consumers are asked and told through their brokers.

use std::time::SystemTime;

use remoting::Command;
use remoting::body::{DirectResult, ResetOffsets, RunningInfo};
use remoting::code::{request, response};
use remoting::header::{ConsumeDirectlyHeader, ResetOffsetHeader, RunningInfoHeader};

use super::Admin;
use crate::client::Inner;
use crate::clock;
use crate::error::{Error, Result};
use crate::queue::Queue;
use crate::received::Received;

/// Where a group is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResetTo {
    /// To the first message stored at that time or later, in every queue.
    Time(SystemTime),
    /// Behind the last message, in every queue.
    End,
    /// To this offset, in one queue.
    Offset(Queue, u64),
}

impl Admin {
    /// Sends a group to other offsets of a topic; members that are there go on at those, and what was
    /// leased before is void. Returns where each queue goes on.
    ///
    /// # Errors
    /// [`Error::NoRoute`] if there is no such topic; else the first broker that refuses or gives no
    /// answer: those before it did it.
    pub async fn reset(&self, group: &str, topic: &str, to: &ResetTo) -> Result<Vec<(Queue, u64)>> {
        let mut header = ResetOffsetHeader {
            topic,
            group,
            queue_id: Some(-1),
            offset: Some(-1),
            timestamp: -1,
            force: true,
        };
        let brokers = match to {
            ResetTo::End => self.brokers_of(topic).await?,
            ResetTo::Time(time) => {
                header.timestamp = clock::ms(*time);
                self.brokers_of(topic).await?
            }
            ResetTo::Offset(queue, offset) => {
                header.queue_id = Some(queue.id as i32);
                header.offset = Some(offset.cast_signed());
                let master = self.client.master_of(topic, &queue.broker).await?;
                vec![master.address().to_string()]
            }
        };
        let command = header.fill(Command::request(request::INVOKE_BROKER_TO_RESET_OFFSET));
        let answers: Vec<ResetOffsets> = match self.each(brokers, command, None).await {
            Err(error) if leaves_it_to_us(&error, group) => {
                return self.move_offsets(group, topic, to).await;
            }
            answers => answers?,
        };
        let offsets = answers.into_iter().flat_map(|answer| answer.offset_table.0);
        let mut all: Vec<(Queue, u64)> = offsets
            .map(|(queue, offset)| (Queue::from_wire(queue), offset.unsigned_abs()))
            .collect();
        all.sort();
        Ok(all)
    }

    /// A broker that leaves resets to members, and there are none, or that knows no offset to move: they are set.
    async fn move_offsets(
        &self,
        group: &str,
        topic: &str,
        to: &ResetTo,
    ) -> Result<Vec<(Queue, u64)>> {
        let mut all = Vec::new();
        match to {
            ResetTo::Offset(queue, offset) => all.push((queue.clone(), *offset)),
            ResetTo::Time(time) => {
                for queue in self.queues(topic).await? {
                    let offset = self.offset_at(&queue, *time).await?;
                    all.push((queue, offset));
                }
            }
            ResetTo::End => {
                for queue in self.queues(topic).await? {
                    let offset = self.max_offset(&queue).await?;
                    all.push((queue, offset));
                }
            }
        }
        for (queue, offset) in &all {
            self.set_group_offset(group, queue, *offset).await?;
        }
        Ok(all)
    }

    /// What a member of a group has in hand, as it says itself.
    ///
    /// # Errors
    /// If no broker knows it, or it gives no answer.
    pub async fn running(&self, group: &str, client: &str) -> Result<RunningInfo> {
        let header = RunningInfoHeader {
            consumer_group: group,
            client_id: client,
            jstack: false,
        };
        let command = header.fill(Command::request(request::GET_CONSUMER_RUNNING_INFO));
        let mut last = Error::NoNameServer;
        for address in self.masters().await? {
            let channel = self.client.channels.to(&address).await?;
            match channel
                .call(command.clone(), self.client.config.timeout)
                .await
            {
                Ok(answer) => return Inner::body(&channel, &answer),
                // Perhaps it is known at another one.
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Hands one message to one member of a group, past all queues, and says what came of it.
    ///
    /// # Errors
    /// If the broker does not know the member, or it gives no answer.
    pub async fn consume_directly(
        &self,
        group: &str,
        client: &str,
        message: &Received,
    ) -> Result<DirectResult> {
        let id = message.offset_id();
        let queue = &message.queue;
        let header = ConsumeDirectlyHeader {
            consumer_group: group,
            client_id: Some(client),
            msg_id: Some(&id),
            broker_name: Some(&queue.broker),
            topic: Some(&queue.topic),
        };
        let command = header.fill(Command::request(request::CONSUME_MESSAGE_DIRECTLY));
        let channel = self.client.master_of(&queue.topic, &queue.broker).await?;
        // The broker itself waits 10 s for the member.
        let limit = self.client.config.timeout * 4;
        let answer = channel.call(command, limit).await?;
        Inner::body(&channel, &answer)
    }
}

/// Whether a broker did not reset a group for want of members, or because it knows no offset of it. Before 5.0 such a
/// group does not exist to Apache's; only the text tells that from everything else that code 1 stands for.
fn leaves_it_to_us(error: &Error, group: &str) -> bool {
    match error.code() {
        Some(response::CONSUMER_NOT_ONLINE) => true,
        Some(response::SYSTEM_ERROR) => error.remark().is_some_and(|remark| {
            let remark = remark.to_ascii_lowercase();
            let group = group.to_ascii_lowercase();
            remark.contains(&format!("consumer group <{group}> not exist"))
        }),
        _ => false,
    }
}
