//! Handles messages of a queue at the same time, as many as there are places.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinSet;

use super::send_back::Back;
use super::{Settle, Work};
use crate::process_queue::ProcessQueue;
use crate::reader::{Model, Reader};
use crate::received::Received;

/// A message that could not be sent back is handled again here, after this.
const AGAIN: Duration = Duration::from_secs(5);

/// Runs until the queue is dropped, and what it began is done.
pub(super) async fn run(reader: Weak<Reader>, work: Arc<Work>, queue: Arc<ProcessQueue>) {
    let mut running = JoinSet::new();
    while !queue.is_dropped() {
        let arrived = queue.arrived.notified();
        // A place first: a message that waits for one can still go to somebody else.
        let Ok(place) = work.places.clone().acquire_owned().await else {
            break;
        };
        let Some(message) = queue.take(1).pop() else {
            drop(place);
            arrived.await;
            continue;
        };
        let (reader, work, queue) = (reader.clone(), work.clone(), queue.clone());
        running.spawn(async move {
            handle(&reader, &work, &queue, message).await;
            drop(place);
        });
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
}

async fn handle(reader: &Weak<Reader>, work: &Work, queue: &ProcessQueue, message: Received) {
    loop {
        let settled = work.settle(reader, &message).await;
        if !is_again(reader, work, queue, &message, settled).await {
            return;
        }
    }
}

/// Does what was decided about a message; whether it must be handled again here. `false` too if nobody wants to
/// know any more.
pub(super) async fn is_again(
    reader: &Weak<Reader>,
    work: &Work,
    queue: &ProcessQueue,
    message: &Received,
    settled: Settle,
) -> bool {
    let Some(strong) = reader.upgrade() else {
        return false;
    };
    let back = match settled {
        Settle::Ack => None,
        // Nobody keeps a message for one member of a broadcasting group.
        _ if work.model == Model::Broadcasting => None,
        Settle::Retry(None) => Some(Back::Again),
        Settle::Retry(Some(level)) => Some(Back::Level(level)),
        Settle::RetryAfter(after) => Some(Back::After(after)),
        Settle::Reject => Some(Back::Dead),
    };
    let sent_back = match back {
        Some(back) => strong.send_back(message, back, work.max_attempts).await,
        None => Ok(()),
    };
    if let Err(error) = sent_back {
        tracing::warn!(id = message.id(), %error, "a message cannot be sent back yet");
        drop(strong);
        if queue.is_dropped() {
            return false;
        }
        tokio::time::sleep(AGAIN).await;
        return true;
    }
    strong.done(queue, [message.queue_offset]);
    false
}
