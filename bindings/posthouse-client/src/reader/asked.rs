//! What tools ask of a consumer, through its broker: 220, 221, 307, 309.

use std::sync::Arc;

use bytes::Bytes;
use model::record::View;
use remoting::Command;
use remoting::body::{
    self, DirectOutcome, DirectResult, MessageQueue, QueueMap, QueueOffsets, ResetOffsets,
    RunningInfo,
};
use remoting::code::response;
use tokio::time::Instant;

use super::Reader;
use crate::push_consumer::{Settle, handled};
use crate::queue::Queue;
use crate::received::records;

impl Reader {
    /// Goes on where the broker says (220). What was in hand is done with; its end moves nothing.
    pub(crate) async fn reset(&self, command: &Command) {
        let reset: ResetOffsets = match body::from_slice(&command.body) {
            Ok(reset) => reset,
            Err(error) => {
                tracing::warn!(group = %self.group, %error, "a reset makes no sense");
                return;
            }
        };
        for (queue, offset) in reset.offset_table.0 {
            let Ok(offset) = u64::try_from(offset) else {
                continue;
            };
            let queue = Queue::from_wire(queue);
            if let Some(own) = self.find(&queue) {
                tracing::info!(%queue, offset, group = %self.group, "is sent to another offset");
                own.seek(offset);
                self.offsets.set(&queue, offset);
            }
        }
        self.persist().await;
    }

    /// What it has done of each queue of a topic (221).
    pub(crate) fn status(&self, command: &Command) -> Command {
        let topic = command.field("topic").unwrap_or_default();
        let own = self.own();
        let queues = own.iter().filter(|own| *own.queue.topic == *topic);
        let offsets: QueueMap<i64> = queues
            .map(|own| (own.queue.wire(), own.committable().cast_signed()))
            .collect();
        answer(&QueueOffsets {
            message_queue_table: offsets,
        })
    }

    /// Everything that tools show of it (307).
    pub(crate) fn running(&self) -> Command {
        let now = Instant::now();
        let own = self.own();
        let table: QueueMap<_> = own
            .iter()
            .map(|own| (own.queue.wire(), own.described(now)))
            .collect::<Vec<(MessageQueue, _)>>()
            .into_iter()
            .collect();
        let data = self.data();
        let values = [
            self.client.config.name_servers.join(";"),
            data.consume_type.name().to_owned(),
            format!("Rust {}", env!("CARGO_PKG_VERSION")),
            self.started_at.to_string(),
            self.options.orderly.to_string(),
        ];
        let names = RunningInfo::PROPERTIES.map(str::to_owned);
        answer(&RunningInfo {
            mq_table: table,
            properties: names.into_iter().zip(values).collect(),
            subscription_set: data.subscription_data_set,
            ..RunningInfo::default()
        })
    }

    /// Hands one message to the handler, past all queues, and says what came of it (309).
    pub(crate) async fn consume_one(self: Arc<Reader>, command: Command) -> Command {
        let Some(direct) = self.direct.clone() else {
            let remark = "a pull consumer has no handler";
            return Command::response(0, response::SYSTEM_ERROR).remark(remark);
        };
        let broker = command.field("brokerName").unwrap_or_default().to_owned();
        let body = Bytes::from(command.body);
        let queue_of = |view: &View<'_>| Queue::new(view.topic(), broker.as_str(), view.queue().0);
        let Some((message, _)) = records(&body, queue_of).into_iter().next() else {
            let remark = "the message is no record";
            return Command::response(0, response::SYSTEM_ERROR).remark(remark);
        };
        let begun = Instant::now();
        let settled = handled(&*direct, self.client.names.received(message)).await;
        let (outcome, remark) = match settled {
            Ok(Settle::Ack) => (DirectOutcome::Success, None),
            Ok(Settle::Retry(_) | Settle::RetryAfter(_)) => (DirectOutcome::Later, None),
            Ok(Settle::Reject) => (DirectOutcome::Later, Some("rejected".to_owned())),
            Err(panic) => (DirectOutcome::ThrowException, Some(panic)),
        };
        answer(&DirectResult {
            auto_commit: true,
            consume_result: outcome,
            order: self.options.orderly,
            remark,
            spent_time_mills: begun.elapsed().as_millis() as i64,
        })
    }
}

fn answer(body: &impl serde::Serialize) -> Command {
    Command::response(0, response::SUCCESS).body(body::to_vec(body))
}
