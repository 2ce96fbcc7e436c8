//! Pulls one queue for as long as it is ours.

use std::sync::{Arc, Weak};
use std::time::Duration;

use model::flag::pull;
use remoting::code::response;
use remoting::header::pull::PullHeader;
use tokio::time::sleep;

use super::Reader;
use crate::error::Result;
use crate::process_queue::ProcessQueue;
use crate::pull::Told;

/// How long Java waits after an error, and after being told that there is too much traffic.
const PAUSE: Duration = Duration::from_secs(1);
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Runs until the queue is dropped.
pub(super) async fn run(reader: Weak<Reader>, queue: Arc<ProcessQueue>) {
    let mut member = 0;
    while !queue.is_dropped() {
        let Some(strong) = reader.upgrade() else {
            return;
        };
        let moved = queue.moved.notified();
        let Some((offset, era)) = queue.to_pull(&strong.options.limits) else {
            drop(strong);
            moved.await;
            continue;
        };
        if strong.options.orderly && !queue.is_locked(tokio::time::Instant::now()) {
            drop(strong);
            sleep(PAUSE).await;
            continue;
        }
        let pulled = tokio::select! {
            pulled = strong.pull(&queue, offset, member) => pulled,
            // A seek does not wait for the old place's long poll.
            () = strong.sought(&queue, era) => continue,
        };
        let taken = match pulled {
            Ok(told) if !told.moved => {
                member = told.header.suggested_broker;
                strong.take(&queue, &told, era)
            }
            Ok(told) => {
                let next = told.header.next_offset.unsigned_abs();
                tracing::info!(queue = %queue.queue, offset, next, "the offset is not there");
                queue.seek(next);
                strong.note_offset(&queue);
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = taken {
            tracing::debug!(queue = %queue.queue, %error, "a pull failed");
            member = 0;
            let pause = match error.code() {
                Some(response::FLOW_CONTROL) => BUSY_PAUSE,
                _ => PAUSE,
            };
            drop(strong);
            sleep(pause).await;
        }
    }
}

impl Reader {
    async fn sought(&self, queue: &ProcessQueue, era: u64) {
        while queue.era() == era && !queue.is_dropped() {
            queue.sought.notified().await;
        }
    }

    async fn pull(&self, queue: &ProcessQueue, offset: u64, member: i64) -> Result<Told> {
        let name = &queue.queue;
        let wanted = self.wanted(&name.topic);
        let expression = wanted.as_ref().map(|wanted| &wanted.subscription);
        // As in Java, a pull consumer's pulls carry no offset: a broker may take one later than a commit
        // that was sent after it.
        let rides = self.options.auto_commit && !self.options.lite && member == 0;
        let commit = match rides {
            true => self.offsets.get(name).filter(|offset| *offset > 0),
            false => None,
        };
        let mut sys_flag = pull::SUSPEND | pull::SUBSCRIPTION;
        if commit.is_some() {
            sys_flag |= pull::COMMIT_OFFSET;
        }
        if self.options.lite {
            sys_flag |= pull::LITE_PULL;
        }
        let header = PullHeader {
            consumer_group: &self.group,
            topic: &name.topic,
            queue_id: name.id as i32,
            queue_offset: offset.cast_signed(),
            max_msgs: self.options.batch,
            sys_flag,
            commit_offset: commit.unwrap_or_default().cast_signed(),
            suspend_ms: self.options.hold.as_millis() as i64,
            subscription: Some(expression.map_or("*", |wanted| &wanted.expression)),
            sub_version: expression.map_or(0, |wanted| wanted.version),
            expression_type: Some(expression.map_or("TAG", |wanted| wanted.kind.as_str())),
            max_bytes: None,
        };
        self.client
            .pull(name, member, &header, self.options.hold)
            .await
    }

    fn take(&self, queue: &ProcessQueue, told: &Told, era: u64) -> Result<()> {
        let mut messages = told.messages(&queue.queue)?;
        if let Some(wanted) = self.wanted(&queue.queue.topic) {
            messages.retain(|(message, _)| wanted.accepts(message));
        }
        let some = !messages.is_empty();
        (self.client.counters).received(messages.iter().map(|(message, _)| message));
        queue.put(messages, told.header.next_offset.unsigned_abs(), era);
        if some {
            self.arrived.notify_waiters();
        } else {
            // What was filtered out is done.
            self.note_offset(queue);
        }
        Ok(())
    }
}
