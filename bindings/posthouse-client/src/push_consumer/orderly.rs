//! Handles messages of a queue one after the other, while the broker says that the queue is ours.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Settle, Work};
use crate::process_queue::ProcessQueue;
use crate::reader::{Model, Reader};
use crate::received::Received;

/// While the queue is not locked for us, we look again so soon.
const UNLOCKED: Duration = Duration::from_millis(100);

/// Runs until the queue is dropped.
pub(super) async fn run(reader: Weak<Reader>, work: Arc<Work>, queue: Arc<ProcessQueue>) {
    let shares = work.model == Model::Clustering;
    while !queue.is_dropped() {
        if shares && !queue.is_locked(Instant::now()) {
            sleep(UNLOCKED).await;
            continue;
        }
        let arrived = queue.arrived.notified();
        let Some(message) = queue.take(1).pop() else {
            arrived.await;
            continue;
        };
        let Ok(place) = work.places.clone().acquire_owned().await else {
            return;
        };
        let settled = work.settle(&reader, &message).await;
        drop(place);
        let Some(reader) = reader.upgrade() else {
            return;
        };
        if is_done(&reader, &work, &message, settled).await {
            let committable = queue.done([message.queue_offset]);
            reader.offsets.set(&queue.queue, committable);
        } else {
            let mut again = message;
            again.reconsume_times += 1;
            queue.put_back(vec![again]);
            drop(reader);
            let pause = match settled {
                Settle::RetryAfter(after) => after,
                _ => work.suspend,
            };
            // Whoever gives the queue up waits for the end of this function, and holds its lock.
            let _ = timeout(pause, queue.until_dropped()).await;
        }
    }
}

/// Whether the next message's turn has come.
async fn is_done(reader: &Reader, work: &Work, message: &Received, settled: Settle) -> bool {
    let attempts = message.reconsume_times.unsigned_abs() + 1;
    let last = work.max_attempts.is_some_and(|max| attempts >= max);
    match settled {
        Settle::Ack => true,
        Settle::Retry(_) | Settle::RetryAfter(_) if !last => false,
        _ if work.model == Model::Broadcasting => true,
        // The broker sees from the count that it is to be dead-lettered.
        Settle::Retry(_) | Settle::RetryAfter(_) | Settle::Reject => {
            let sent = reader.send_to_retry(message, work.max_attempts, settled == Settle::Reject);
            match sent.await {
                Ok(()) => true,
                Err(error) => {
                    tracing::warn!(id = message.id(), %error, "a message cannot be given up yet");
                    false
                }
            }
        }
    }
}
