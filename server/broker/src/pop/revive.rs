//! Leases that ran out: a popped message that nobody acked comes back.
//!
//! It is appended to the group's retry topic of its topic, counted once more, or to the group's dead
//! letters if it came back too often. The new record names the old one's place in the log, so it is
//! known what became of it. A message popped in order comes back in its own place instead: it must not
//! be overtaken.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use model::LogOffset;
use model::id::push_offset_id;
use model::message::{PROPERTIES_MAX, append, key};
use model::receipt::PopTopic;
use model::record::View;
use store::{Draft, Entry, Keys, Reads, Store, Wait};

use super::flight::{Lease, LeaseKey, Open};
use super::kept::origin;
use super::line::{FlightId, Line};
use super::need::{Found, entry_in_place};
use super::{Moment, Woken};
use crate::retry::{kept, mark_dead};
use crate::stats::item::Rare;
use crate::topic::{Topic, topic_missing};
use crate::{AskedFor, Broker, Error, limits};

/// One message whose lease is over.
pub(crate) struct Lapsed {
    id: FlightId,
    key: LeaseKey,
    at: u64,
    ordered: bool,
    /// It was released without counting the attempt.
    uncounted: bool,
    /// How often it was handed out in this place before.
    count: u32,
}

impl Lapsed {
    pub fn of(id: FlightId, key: LeaseKey, at: u64, lease: &Lease) -> Lapsed {
        Lapsed {
            id,
            key,
            at,
            ordered: lease.fifo.is_some(),
            uncounted: lease.uncounted,
            count: lease.count,
        }
    }

    /// How often it came back before.
    pub fn times(&self, view: &View<'_>) -> u32 {
        match self.ordered {
            true => self.count,
            false => u32::try_from(view.reconsume_times()).unwrap_or(0),
        }
    }
}

/// Why a message is a dead letter that came as often as its group takes it.
const EXHAUSTED: &str = "attempts";

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
            let given_back = self.revive(&line, now).unwrap_or_else(|error| {
                tracing::warn!(%error, group = %line.group, "what was not acked could not be given back yet");
                false
            });
            // A crowd goes on at once, behind the commit of this batch.
            let earliest = match given_back {
                true => now,
                false => now + limits::REVIVE_PAUSE,
            };
            let due = line.next_due().map(|due| due.max(earliest));
            next = [next, due].into_iter().flatten().min();
        }
        self.commit()?;
        Ok(next.map(|next| next.saturating_sub(now)))
    }

    /// Gives a batch back; whether any of it was.
    fn revive(&self, line: &Arc<Line>, now: Duration) -> Result<bool, Error> {
        let mut given_back = false;
        for lapsed in self.lapsed(line, now) {
            let stays = lapsed.ordered && !self.is_exhausted(line, lapsed.count);
            given_back |= match lapsed.uncounted || stays {
                true => self.open_again(line, &lapsed),
                false => self.move_back(line, &lapsed)?,
            };
        }
        Ok(given_back)
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
                let positions = lease.positions(key.0);
                lapsed.extend(positions.map(|at| Lapsed::of(id, key, at, lease)));
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

    /// A message is open again in its own place: popped in order, or released uncounted. `false`: it is out
    /// on the lease no more.
    fn open_again(&self, line: &Arc<Line>, lapsed: &Lapsed) -> bool {
        let mut state = line.lock();
        let Some(flight) = state.flights.get_mut(&lapsed.id) else {
            return false;
        };
        let settled = flight.settle(lapsed.key, lapsed.at);
        let out = settled.is_some();
        if let Some((count, group)) = settled {
            let count = count.saturating_add(u32::from(!lapsed.uncounted));
            flight.leave(lapsed.at, Open { count, group });
            state.opened_again = state.opened_again.max(lapsed.key.1);
        }
        let mut woken = Woken::new();
        let queue = (lapsed.id.0 == PopTopic::Normal).then_some(lapsed.id.1);
        self.pops.wake(line, &mut state, queue, &mut woken);
        self.pops.changed(line, &state);
        drop(state);
        self.run_again(&woken);
        out
    }

    /// A message is appended to the retry topic, or to the dead letters. `false`: it is out on the lease
    /// no more.
    fn move_back(&self, line: &Arc<Line>, lapsed: &Lapsed) -> Result<bool, Error> {
        let moved = {
            let state = line.lock();
            let flight = state.flights.get(&lapsed.id);
            flight.and_then(|flight| flight.moved(lapsed.at))
        };
        let name = line.topic(lapsed.id.0).as_str();
        let record = read_lapsed(&self.store, name, lapsed.id.1, lapsed.at, moved)?;
        let view = record.as_ref().map(|(_, record)| View::parse(record));
        let (Some((entry, _)), Some(Ok(view))) = (&record, view) else {
            // It was deleted meanwhile: nobody can have it.
            return self.settled(line, lapsed, |_| Ok(()));
        };
        let times = lapsed.times(&view);
        if self.is_exhausted(line, times) {
            let buried = self.bury(line, lapsed, entry, &view, times, Some(EXHAUSTED))?;
            return Ok(buried.is_some());
        }
        let topic = self.pop_retry_topic(line)?;
        let mut properties = String::with_capacity(view.properties().len() + 256);
        properties.push_str(view.properties());
        if view.property(key::FIRST_POP_TIME).is_none() {
            let popped_at = lapsed.key.1.to_string();
            append(&mut properties, key::FIRST_POP_TIME, &popped_at);
        }
        let back = Back {
            topic,
            times,
            properties,
        };
        let staged = self.stage_back(line, lapsed, entry, &view, back)?;
        Ok(staged.is_some())
    }

    /// A message is appended to the dead letters of its group. Returns the position behind it; `None` if
    /// it is out on the lease no more.
    pub(crate) fn bury(
        &self,
        line: &Arc<Line>,
        lapsed: &Lapsed,
        entry: &Entry,
        view: &View<'_>,
        times: u32,
        reason: Option<&str>,
    ) -> Result<Option<LogOffset>, Error> {
        let mut properties = String::with_capacity(view.properties().len() + 256);
        dead_letter(line, view, &mut properties);
        if let Some(reason) = reason {
            append(&mut properties, key::DLQ_REASON, reason);
        }
        let back = Back {
            topic: self.dead_letter_topic(&line.group)?,
            times,
            properties,
        };
        let end = self.stage_back(line, lapsed, entry, view, back)?;
        if end.is_some() {
            let original = line.topic(PopTopic::Normal);
            self.count_rare(Rare::Dead, original.as_str(), &line.group, 1);
            tracing::info!(group = %line.group, topic = %original, which = lapsed.id.0 as u8,
                queue = lapsed.id.1, offset = lapsed.at, times, reason, "a popped message is a dead letter");
        }
        Ok(end)
    }

    fn stage_back(
        &self,
        line: &Arc<Line>,
        lapsed: &Lapsed,
        entry: &Entry,
        view: &View<'_>,
        back: Back,
    ) -> Result<Option<LogOffset>, Error> {
        let topic = &back.topic;
        let Some(queue) = topic.queue(&self.store, 0) else {
            return Err(Error::TopicNotWritable(topic.config.name.clone()));
        };
        let fits = back.properties.len() <= PROPERTIES_MAX;
        let draft = Draft {
            queue,
            flag: view.flag(),
            sys_flag: view.sys_flag(),
            born_at: view.born_at(),
            born_host: view.born_host(),
            reconsume_times: i32::try_from(back.times)
                .unwrap_or(i32::MAX)
                .saturating_add(1),
            prepared_offset: view.log_offset().0,
            body: view.body(),
            properties: if fits {
                &back.properties
            } else {
                view.properties()
            },
            tags_code: entry.tags_code,
            keys: Keys::Unread,
        };
        let mut end = None;
        self.settled(line, lapsed, |broker| {
            let staged = broker.store.stage(&draft)?;
            broker.stored(topic, &staged);
            end = Some(staged.end);
            Ok(())
        })?;
        Ok(end)
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
    /// comes before, or too late. `false`: it is out on the lease no more.
    fn settled(
        &self,
        line: &Arc<Line>,
        lapsed: &Lapsed,
        stage: impl FnOnce(&Broker) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let mut state = line.lock();
        let Some(flight) = state.flights.get_mut(&lapsed.id) else {
            return Ok(false);
        };
        if flight.find(lapsed.at, lapsed.key.0, lapsed.key.1) != Some(lapsed.key) {
            return Ok(false);
        }
        stage(self)?;
        let settled = flight.settle(lapsed.key, lapsed.at);
        flight.went(lapsed.at);
        self.commit_popped(line, lapsed.id, flight);
        let mut woken = Woken::new();
        if settled.is_some_and(|(_, group)| group.is_some()) {
            self.pops
                .wake(line, &mut state, Some(lapsed.id.1), &mut woken);
        }
        self.pops.changed(line, &state);
        drop(state);
        self.run_again(&woken);
        Ok(true)
    }
}

/// Where a message goes back to, and what it says then.
struct Back {
    topic: Arc<Topic>,
    times: u32,
    properties: String,
}

/// The record of a leased message; `None` if the log has it no more. `moved`: where it was appended
/// again. May block.
pub(crate) fn read_lapsed(
    store: &Store,
    topic: &str,
    queue: u32,
    at: u64,
    moved: Option<Entry>,
) -> Result<Option<(Entry, Vec<u8>)>, Error> {
    let entry = match moved {
        Some(entry) => entry,
        None => {
            let Some(queue) = store.find_queue(topic, queue) else {
                return Ok(None);
            };
            match entry_in_place(store, &queue, at, Wait::Yes)? {
                Found::Here(entry) => entry,
                Found::Gone | Found::Cold => return Ok(None),
            }
        }
    };
    let mut record = Vec::with_capacity(entry.size as usize);
    match store.read_runs(&[entry], &mut record, Wait::Yes) {
        Ok(Reads::Done) if !record.is_empty() => Ok(Some((entry, record))),
        Ok(_) => Ok(None),
        Err(error) => {
            tracing::warn!(%error, topic, at, "a popped message cannot be read");
            Ok(None)
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
