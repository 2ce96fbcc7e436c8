//! Leases that ran out: a popped message that nobody acked comes back.
//!
//! It is appended to the group's retry topic of its topic, counted once more, or to the group's dead
//! letters if it came back too often. The new record names the old one's place in the log, so it is
//! known what became of it. A message popped in order comes back in its own place instead: it must not
//! be overtaken.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use model::id::push_offset_id;
use model::message::{PROPERTIES_MAX, append, key};
use model::receipt::PopTopic;
use model::record::View;
use store::{Draft, Entry, Keys, Reads, Wait};

use super::flight::{LeaseKey, Open};
use super::kept::origin;
use super::line::{FlightId, Line};
use super::need::Found;
use super::{Moment, Woken};
use crate::retry::{kept, mark_dead};
use crate::stats::item::Rare;
use crate::topic::{Topic, topic_missing};
use crate::{AskedFor, Broker, Error, limits};

/// One message whose lease is over.
struct Lapsed {
    id: FlightId,
    key: LeaseKey,
    at: u64,
    ordered: bool,
    /// How often it was handed out in this place before.
    count: u32,
}

impl Broker {
    /// Gives back what was popped and not acked in time. Returns how long nothing more is due; `None`
    /// if nothing is out.
    ///
    /// # Errors
    /// As [`Broker::commit`].
    pub(crate) fn lease_step(&self) -> Result<Option<Duration>, Error> {
        let _alone = self.reviving.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.steady();
        let (lines, mut next) = self.pops.due(now);
        if lines.is_empty() {
            return Ok(next.map(|next| next.saturating_sub(now)));
        }
        for line in lines {
            if let Err(error) = self.revive(&line, now) {
                tracing::warn!(%error, group = %line.group, "what was not acked could not be given back yet");
            }
            let due = line
                .next_due()
                .map(|due| due.max(now + limits::REVIVE_PAUSE));
            next = [next, due].into_iter().flatten().min();
        }
        self.commit()?;
        Ok(next.map(|next| next.saturating_sub(now)))
    }

    fn revive(&self, line: &Arc<Line>, now: Duration) -> Result<(), Error> {
        for lapsed in self.lapsed(line, now) {
            if lapsed.ordered && !self.is_exhausted(line, lapsed.count) {
                self.open_again(line, &lapsed);
            } else {
                self.move_back(line, &lapsed)?;
            }
        }
        Ok(())
    }

    /// The messages whose leases are over.
    fn lapsed(&self, line: &Line, now: Duration) -> Vec<Lapsed> {
        let state = line.lock();
        let mut lapsed = Vec::new();
        for (&id, flight) in &state.flights {
            for key in flight.due(now) {
                let Some(lease) = flight.get(key) else {
                    continue;
                };
                lapsed.extend(lease.positions(key.0).map(|at| Lapsed {
                    id,
                    key,
                    at,
                    ordered: lease.fifo.is_some(),
                    count: lease.count,
                }));
                if lapsed.len() >= limits::REVIVE_BATCH {
                    return lapsed;
                }
            }
        }
        lapsed
    }

    /// Whether a message that came back so often is given up.
    fn is_exhausted(&self, line: &Line, times: u32) -> bool {
        let group = self.groups.find(line.group.as_str());
        let max = group.map_or(16, |group| group.retry_max_times);
        u32::try_from(max).is_ok_and(|max| times >= max)
    }

    /// A message popped in order is open again.
    fn open_again(&self, line: &Arc<Line>, lapsed: &Lapsed) {
        let mut state = line.lock();
        let Some(flight) = state.flights.get_mut(&lapsed.id) else {
            return;
        };
        if let Some((count, group)) = flight.settle(lapsed.key, lapsed.at) {
            let count = count.saturating_add(1);
            flight.leave(lapsed.at, Open { count, group });
        }
        let mut woken = Woken::new();
        self.pops
            .wake(line, &mut state, Some(lapsed.id.1), &mut woken);
        self.pops.changed(line, &state);
        drop(state);
        self.run_again(&woken);
    }

    /// A message is appended to the retry topic, or to the dead letters.
    fn move_back(&self, line: &Arc<Line>, lapsed: &Lapsed) -> Result<(), Error> {
        let record = self.read_lapsed(line, lapsed)?;
        let Some((entry, record)) = record else {
            // It was deleted meanwhile: nobody can have it.
            self.settled(line, lapsed, |_| Ok(()))?;
            return Ok(());
        };
        let Ok(view) = View::parse(&record) else {
            self.settled(line, lapsed, |_| Ok(()))?;
            return Ok(());
        };
        let times = match lapsed.ordered {
            true => lapsed.count,
            false => u32::try_from(view.reconsume_times()).unwrap_or(0),
        };
        let dead = self.is_exhausted(line, times);
        let topic = match dead {
            true => self.dead_letter_topic(&line.group)?,
            false => self.pop_retry_topic(line)?,
        };
        let Some(queue) = topic.queue(&self.store, 0) else {
            return Err(Error::TopicNotWritable(topic.config.name.clone()));
        };
        let mut properties = String::with_capacity(view.properties().len() + 256);
        if dead {
            dead_letter(line, &view, &mut properties);
        } else {
            properties.push_str(view.properties());
            if view.property(key::FIRST_POP_TIME).is_none() {
                append(
                    &mut properties,
                    key::FIRST_POP_TIME,
                    &lapsed.key.1.to_string(),
                );
            }
        }
        if properties.len() > PROPERTIES_MAX {
            properties = view.properties().to_owned();
        }
        let draft = Draft {
            queue,
            flag: view.flag(),
            sys_flag: view.sys_flag(),
            born_at: view.born_at(),
            born_host: view.born_host(),
            reconsume_times: i32::try_from(times).unwrap_or(i32::MAX).saturating_add(1),
            prepared_offset: view.log_offset().0,
            body: view.body(),
            properties: &properties,
            tags_code: entry.tags_code,
            keys: Keys::Unread,
        };
        self.settled(line, lapsed, |broker| {
            let staged = broker.store.stage(&draft)?;
            broker.stored(&topic, &staged);
            Ok(())
        })?;
        if dead {
            let original = line.topic(PopTopic::Normal);
            self.count_rare(Rare::Dead, original.as_str(), &line.group, 1);
            tracing::info!(group = %line.group, topic = %original, which = lapsed.id.0 as u8,
                queue = lapsed.id.1, offset = lapsed.at, times, "a popped message is a dead letter");
        }
        Ok(())
    }

    /// The topic for what a group did not ack, made if it is missing: one queue.
    fn pop_retry_topic(&self, line: &Line) -> Result<Arc<Topic>, Error> {
        let name = line.topic(line.retry);
        self.ensure_retry_topic(name.clone(), 1, false, false)?;
        let found = self.topics.find(name.as_str());
        let topic = found.ok_or_else(|| topic_missing(name.as_str(), AskedFor::Send))?;
        if let Some(queue) = topic.queue(&self.store, 0) {
            // From now on there is a row that says whose it is.
            self.flight_of(line, &mut line.lock(), (line.retry, 0), queue, false)?;
        }
        Ok(topic)
    }

    /// Settles a message if `stage` puts its successor into the log. Both under the line's lock: an ack
    /// comes before, or too late.
    fn settled(
        &self,
        line: &Arc<Line>,
        lapsed: &Lapsed,
        stage: impl FnOnce(&Broker) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut state = line.lock();
        let Some(flight) = state.flights.get_mut(&lapsed.id) else {
            return Ok(());
        };
        if flight.find(lapsed.at, lapsed.key.0, lapsed.key.1) != Some(lapsed.key) {
            return Ok(());
        }
        stage(self)?;
        let settled = flight.settle(lapsed.key, lapsed.at);
        self.commit_popped(line, lapsed.id, flight);
        let mut woken = Woken::new();
        if settled.is_some_and(|(_, group)| group.is_some()) {
            self.pops
                .wake(line, &mut state, Some(lapsed.id.1), &mut woken);
        }
        self.pops.changed(line, &state);
        drop(state);
        self.run_again(&woken);
        Ok(())
    }

    fn read_lapsed(&self, line: &Line, lapsed: &Lapsed) -> Result<Option<(Entry, Vec<u8>)>, Error> {
        let topic = line.topic(lapsed.id.0);
        let Some(queue) = self.store.find_queue(topic.as_str(), lapsed.id.1) else {
            return Ok(None);
        };
        let moved = {
            let state = line.lock();
            let flight = state.flights.get(&lapsed.id);
            flight.and_then(|flight| flight.moved(lapsed.at))
        };
        let entry = match moved {
            Some(entry) => entry,
            None => match self.entry_in_place(&queue, lapsed.at, Wait::Yes)? {
                Found::Here(entry) => entry,
                Found::Gone | Found::Cold => return Ok(None),
            },
        };
        let mut record = Vec::with_capacity(entry.size as usize);
        match self.store.read_runs(&[entry], &mut record, Wait::Yes) {
            Ok(Reads::Done) if !record.is_empty() => Ok(Some((entry, record))),
            Ok(_) => Ok(None),
            Err(error) => {
                tracing::warn!(%error, %topic, at = lapsed.at, "a popped message cannot be read");
                Ok(None)
            }
        }
    }
}

/// The properties of a dead letter: where it came from is the topic that was popped, not the retry
/// topic it went round by.
fn dead_letter(line: &Line, view: &View<'_>, out: &mut String) {
    kept(view.properties(), out);
    if view.property(key::ORIGIN_MESSAGE_ID).is_none() {
        let mut id = String::with_capacity(56);
        push_offset_id(&mut id, view.store_host(), origin(view));
        append(out, key::ORIGIN_MESSAGE_ID, &id);
    }
    if view.property(key::RETRY_TOPIC).is_none() {
        append(out, key::RETRY_TOPIC, line.topic(PopTopic::Normal).as_str());
    }
    mark_dead(out);
}

/// Both clocks now.
pub(crate) fn moment(clock: &dyn store::Clock) -> Moment {
    Moment {
        mono: clock.steady(),
        wall: clock.wall(),
    }
}
