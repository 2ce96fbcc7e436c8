//! Bodies that may be megabytes: tables of all topics, groups and offsets. They are made in the
//! blocking pool and wait here for their request to run again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use broker::Broker;
use remoting::code::response;
use remoting::server::Outcome;

use crate::Endpoint;
use crate::ask::{Ask, Served};

/// Bodies that may wait. One is lost when its connection closes first, so there is a limit; who finds
/// his body gone makes it on the spot.
const WAITING_MAX: usize = 16;

/// Bodies by the ticket of their request.
#[derive(Default)]
pub(crate) struct Bodies {
    waiting: Mutex<VecDeque<(u64, Vec<u8>)>>,
}

impl Bodies {
    fn put(&self, ticket: u64, body: Vec<u8>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() == WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back((ticket, body));
    }

    fn take(&self, ticket: u64) -> Option<Vec<u8>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let at = waiting.iter().position(|(key, _)| *key == ticket)?;
        waiting.remove(at).map(|(_, body)| body)
    }
}

impl Endpoint {
    /// Answers with a body that takes too long for an I/O thread. `fields`: whether there is an
    /// (empty) `extFields`.
    pub(crate) fn cold_body(
        &self,
        ask: &mut Ask<'_>,
        fields: bool,
        make: impl FnOnce(&Broker) -> Vec<u8> + Send + 'static,
    ) -> Served {
        let ticket = ask.run.ticket;
        if ask.run.again.is_none() {
            let (broker, bodies) = (Arc::clone(&self.broker), Arc::clone(&self.bodies));
            let job = move || bodies.put(ticket, make(&broker));
            return Ok(Outcome::Cold(Box::new(job)));
        }
        let body = self.bodies.take(ticket);
        let body = body.unwrap_or_else(|| make(&self.broker));
        let mut reply = ask.reply(response::SUCCESS);
        if fields {
            reply = reply.empty_fields();
        }
        reply.body_bytes(&body);
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_nobody_takes_are_forgotten() {
        let bodies = Bodies::default();
        for ticket in 0..100 {
            bodies.put(ticket, vec![1]);
        }
        assert_eq!(bodies.take(0), None);
        assert_eq!(bodies.take(99), Some(vec![1]));
        assert_eq!(bodies.take(99), None);
        assert_eq!(bodies.waiting.lock().unwrap().len(), WAITING_MAX - 1);
    }
}
