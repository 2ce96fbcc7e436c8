//! How often a send is tried, and where.

use std::sync::Arc;

use tokio::time::Instant;

use super::ProducerOptions;
use super::outgoing::{Outgoing, SendStatus, Sent};
use crate::error::{Error, Result};
use crate::queue::Queue;

/// What is left to one send.
pub(super) struct Tries {
    pub(super) until: Instant,
    /// It goes there and nowhere else.
    pub(super) to: Option<Queue>,
    /// Not to this broker, if there is another: it failed just now.
    pub(super) avoid: Option<Arc<str>>,
    left: u32,
}

impl Tries {
    pub(super) fn of(
        options: &ProducerOptions,
        outgoing: &Outgoing<'_>,
        to: Option<&Queue>,
        until: Instant,
    ) -> Tries {
        // A message of a sequence, and one whose queue was named, goes nowhere else. A send with a name may be
        // repeated, but only where the name is kept.
        let fixed = to.is_some() || outgoing.sharding_key.is_some();
        Tries {
            until,
            to: to.cloned(),
            avoid: None,
            left: match fixed && outgoing.once.is_none() {
                true => 0,
                false => options.retries,
            },
        }
    }

    /// The last word of a send of which a try ended like this; `None` if it is to be tried again.
    pub(super) fn end(
        &mut self,
        options: &ProducerOptions,
        outgoing: &Outgoing<'_>,
        queue: &Queue,
        result: Result<Sent>,
    ) -> Option<Result<Sent>> {
        if outgoing.once.is_some() {
            self.to = Some(queue.clone());
        }
        let again = match &result {
            Ok(sent) => sent.status != SendStatus::Stored && options.retry_unsafe,
            Err(error) => error.is_retryable(),
        };
        if !again || self.left == 0 {
            return Some(result);
        }
        self.left -= 1;
        if self.until <= Instant::now() {
            return Some(result.map_err(|last| Error::Timeout(Box::new(last))));
        }
        self.avoid = Some(queue.broker.clone());
        None
    }
}
