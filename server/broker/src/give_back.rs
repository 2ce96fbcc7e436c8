//! Leased messages that are given back by whoever holds them: released, counted or not, or made dead
//! letters with a reason. Apache has no requests for these.

use std::sync::Arc;
use std::time::Duration;

use model::receipt::{PopTopic, Receipt};
use model::record::View;
use model::{Level, Mark};
use store::Entry;

use crate::ack::{Ack, Renewal};
use crate::pop::{Flight, Lapsed, Open, Woken, read_lapsed};
use crate::{Answer, Broker, Caller, Error, limits};

/// A leased message is given back before its lease is over.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    /// Which message.
    pub ack: Ack<'a>,
    /// Milliseconds until it may be popped again.
    pub delay: i64,
    /// Whether this delivery counts as an attempt. If not, the message comes again in its own place, as
    /// if it had not been popped.
    pub count_attempt: bool,
}

/// A leased message is given up.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// Which message.
    pub ack: Ack<'a>,
    /// Why, for whoever reads the dead letter.
    pub reason: Option<&'a str>,
}

impl Broker {
    /// Gives a leased message back. `false`: it is not out on that lease, and nothing was done.
    ///
    /// # Errors
    /// As [`Broker::ack`]; [`Error::Invalid`] for a delay below 0.
    pub fn release(&self, caller: &Caller, release: &Release<'_>) -> Result<Answer<bool>, Error> {
        let delay = u64::try_from(release.delay)
            .map_err(|_| Error::Invalid(format!("a delay of {} ms", release.delay)))?;
        let delay = Duration::from_millis(delay);
        let receipt = self.check_ack(caller, &release.ack)?;
        let Some(held) = self.held(&release.ack, &receipt) else {
            return Ok(Answer::Ready(false));
        };
        let mut state = held.line.lock();
        let Some(flight) = state.flights.get_mut(&(held.which, held.queue)) else {
            return Ok(Answer::Ready(false));
        };
        let Some(key) = flight.find(held.at, held.start, held.popped_at) else {
            return Ok(Answer::Ready(false));
        };
        let mut woken = Woken::new();
        if !release.count_attempt && delay.is_zero() {
            if let Some((count, group)) = flight.settle(key, held.at) {
                flight.leave(held.at, Open { count, group });
                state.opened_again = state.opened_again.max(key.1);
            }
            let queue = (held.which == PopTopic::Normal).then_some(held.queue);
            self.pops.wake(&held.line, &mut state, queue, &mut woken);
        } else {
            // A name nobody has: the old handle is dead.
            let mut popped_at = self.clock.wall().max(held.popped_at.saturating_add(1));
            while flight.is_taken(held.at, popped_at) {
                popped_at += 1;
            }
            let renewal = Renewal {
                popped_at,
                invisible: release.delay,
                until: self.clock.steady().saturating_add(delay),
                uncounted: !release.count_attempt,
                renewed: None,
            };
            flight.renew(key, held.at, renewal);
        }
        self.pops.changed(&held.line, &state);
        drop(state);
        self.run_again(&woken);
        Ok(Answer::After(Mark::REACHED, true))
    }

    /// How many messages of a topic a group has out on leases, and whether these are: in the order of
    /// `asked`. What is no lease is not out.
    pub fn leases_out(&self, group: &str, topic: &str, asked: &[Ack<'_>]) -> (u64, Vec<bool>) {
        let out = asked.iter().map(|ack| self.is_out(ack)).collect();
        let Some((line, _)) = self.pops.find(group, topic) else {
            return (0, out);
        };
        let count = line.lock().flights.values().map(Flight::in_flight).sum();
        (count, out)
    }

    fn is_out(&self, ack: &Ack<'_>) -> bool {
        let Some(held) =
            (Receipt::parse(ack.receipt).ok()).and_then(|receipt| self.held(ack, &receipt))
        else {
            return false;
        };
        let state = held.line.lock();
        let flight = state.flights.get(&(held.which, held.queue));
        flight.is_some_and(|flight| (flight.find(held.at, held.start, held.popped_at)).is_some())
    }

    /// Makes a leased message a dead letter of its group. `false`: it is not out on that lease, and
    /// nothing was done.
    ///
    /// # Errors
    /// As [`Broker::ack`]; [`Error::NothingToSendBack`] if the log has lost it.
    pub fn dead_letter(
        &self,
        caller: &Caller,
        letter: &DeadLetter<'_>,
    ) -> Result<Answer<bool>, Error> {
        let receipt = self.check_ack(caller, &letter.ack)?;
        let Some(held) = self.held(&letter.ack, &receipt) else {
            return Ok(Answer::Ready(false));
        };
        let id = (held.which, held.queue);
        let (lapsed, moved) = {
            let state = held.line.lock();
            let flight = state.flights.get(&id);
            let found = flight.and_then(|flight| {
                let key = flight.find(held.at, held.start, held.popped_at)?;
                let lapsed = Lapsed::of(id, key, held.at, flight.get(key)?);
                Some((lapsed, flight.moved(held.at)))
            });
            match found {
                Some(found) => found,
                None => return Ok(Answer::Ready(false)),
            }
        };
        let Some(read) = self.cold.take::<Option<(Entry, Vec<u8>)>>(caller) else {
            let topic = held.line.topic(held.which).clone();
            let (store, at) = (Arc::clone(&self.store), held.at);
            let job = self.cold.defer(caller, move || {
                read_lapsed(&store, topic.as_str(), id.1, at, moved)
            })?;
            return Ok(job.map(|_| false));
        };
        let lost = || Error::NothingToSendBack(letter.ack.offset);
        let (entry, record) = read?.ok_or_else(lost)?;
        let view = View::parse(&record).map_err(|_| lost())?;
        let reason = letter.reason.map(plain);
        let times = lapsed.times(&view);
        let end = self.bury(&held.line, &lapsed, &entry, &view, times, reason.as_deref())?;
        Ok(match end {
            Some(at) => Answer::After(
                Mark {
                    level: Level::Confirmed,
                    at,
                },
                true,
            ),
            None => Answer::Ready(false),
        })
    }
}

/// A reason as a property's value: without what separates properties, and not too long.
fn plain(reason: &str) -> String {
    let chars = reason.chars().take(limits::DEAD_REASON);
    chars
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
