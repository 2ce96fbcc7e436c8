//! How answers name a queue.

use posthouse_client::Queue;

/// A queue, `broker-a:3`.
pub(crate) fn queue(queue: &Queue) -> String {
    format!("{}:{}", queue.broker, queue.id)
}
