//! Pops with a name that are made again, since their answer was lost: they get the messages that the first
//! one got, on the same leases.
//!
//! What a name got is remembered here, in memory: behind a restart, a pop with that name is a new one. In order,
//! what the first one took is taken back and handed out anew (`Flight::take_back`), as Apache does it, unless the
//! name is that of one request (`Pop::once`) and still remembered.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use model::receipt::PopTopic;
use store::{Reads, Wait};

use super::flight::Take;
use super::line::{FlightId, State};
use super::look::Plan;
use super::need::{Found, Need, Part};
use super::{Checked, PopVerdict, Popped, PoppedQueue};
use crate::{Broker, Error, limits};

/// What attempts of a line got.
#[derive(Default)]
pub(crate) struct Attempts {
    known: HashMap<Box<str>, Got>,
    order: VecDeque<Box<str>>,
}

/// What one got.
#[derive(Clone)]
struct Got {
    max: i32,
    popped_at: i64,
    invisible: i64,
    revive_queue: i32,
    /// When its leases end, on the steady clock.
    until: Duration,
    queues: Vec<(FlightId, Vec<u64>)>,
}

/// What becomes of a pop that may have been made before.
pub(super) enum Again {
    /// It was not, or nothing of it is out any more.
    New,
    /// This is what it got.
    Same(Popped),
    /// It got something that is not in memory.
    Cold(Need),
}

impl Attempts {
    /// Remembers what an attempt got. One that got nothing may be made again.
    pub fn put(&mut self, attempt: &str, max: i32, popped: &Popped, now: Duration) {
        while let Some(oldest) = self.order.front() {
            let lives = (self.known.get(oldest)).is_some_and(|got| now < got.until);
            if lives && self.order.len() < limits::POP_ATTEMPTS {
                break;
            }
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
        if popped.verdict != PopVerdict::Found {
            return;
        }
        let queue = |own: &PoppedQueue| {
            let offsets = own.offsets.iter().map(|(at, _)| *at);
            ((own.topic, own.queue), offsets.collect())
        };
        let lasts = Duration::from_millis(u64::try_from(popped.invisible).unwrap_or(0));
        let got = Got {
            max,
            popped_at: popped.popped_at,
            invisible: popped.invisible,
            revive_queue: popped.revive_queue,
            until: now.saturating_add(lasts),
            queues: popped.queues.iter().map(queue).collect(),
        };
        if self.known.insert(attempt.into(), got).is_none() {
            self.order.push_back(attempt.into());
        }
    }
}

impl State {
    /// Whether something that an attempt got is still out on its leases.
    pub(super) fn is_out(&self, attempt: &str) -> bool {
        let Some(got) = self.attempts.known.get(attempt) else {
            return false;
        };
        got.queues.iter().any(|(id, offsets)| {
            let flight = self.flights.get(id);
            let is_out =
                |&at: &u64| flight.is_some_and(|f| f.find(at, at, got.popped_at).is_some());
            offsets.iter().any(is_out)
        })
    }
}

impl Broker {
    /// What of an attempt's messages is still out on its leases, appended to `out`.
    ///
    /// # Errors
    /// [`Error::IdempotencyDiffers`] if that was another request, where the name is that of one.
    pub(super) fn pop_again(
        &self,
        checked: &Checked<'_>,
        state: &mut State,
        out: &mut Vec<u8>,
    ) -> Result<Again, Error> {
        let pop = checked.pop;
        let got = super::name(pop).and_then(|attempt| state.attempts.known.get(attempt));
        let Some(got) = got.cloned() else {
            return Ok(Again::New);
        };
        let differs = pop.once && (pop.max != got.max || pop.invisible != got.invisible);
        let before = out.len();
        let mut popped = Popped {
            verdict: PopVerdict::Found,
            popped_at: got.popped_at,
            invisible: got.invisible,
            revive_queue: got.revive_queue,
            rest: 0,
            queues: Vec::new(),
            order: pop.order,
            replayed: pop.once,
        };
        for (id, offsets) in &got.queues {
            let topic = match id.0 {
                PopTopic::Normal => Some(checked.topic.clone()),
                which => self.topics.find(checked.line.topic(which).as_str()),
            };
            let queue = topic
                .as_ref()
                .and_then(|topic| topic.queue(&self.store, id.1));
            let (Some(queue), Some(flight)) = (queue, state.flights.get(id)) else {
                continue;
            };
            let mut plan = Plan::default();
            for &at in offsets {
                let lease = flight
                    .find(at, at, got.popped_at)
                    .and_then(|key| flight.get(key));
                let Some(lease) = lease else {
                    continue; // settled meanwhile
                };
                if differs {
                    out.truncate(before);
                    return Err(Error::IdempotencyDiffers);
                }
                match self.entry(queue, flight, at, Wait::No)? {
                    Found::Here(entry) => {
                        let take = Take {
                            at,
                            count: lease.count,
                            group: 0,
                        };
                        plan.take(take, entry, usize::MAX);
                    }
                    Found::Gone => {}
                    Found::Cold => {
                        out.truncate(before);
                        let all = offsets.iter().copied();
                        return Ok(Again::Cold(Need::of(queue, all, Part::Records)));
                    }
                }
            }
            if self.read_plan(checked, (*id, flight), &popped, &mut plan, out)? == Reads::WouldBlock
            {
                out.truncate(before);
                let all = offsets.iter().copied();
                return Ok(Again::Cold(Need::of(queue, all, Part::Records)));
            }
            if !plan.takes.is_empty() {
                let offsets = plan.takes.iter().map(|take| (take.at, take.count));
                popped.queues.push(PoppedQueue {
                    topic: id.0,
                    queue: id.1,
                    offsets: offsets.collect(),
                });
            }
        }
        match popped.queues.is_empty() {
            true => Ok(Again::New),
            false => Ok(Again::Same(popped)),
        }
    }
}
