//! Where a group stands in a queue it pops: its start, what others made of its committed offset, and what
//! it commits itself.

use std::sync::Arc;

use model::receipt::PopTopic;
use store::Queue;

use super::flight::{Changed, Flight};
use super::line::{FlightId, State};
use super::{Checked, Line};
use crate::{Broker, Error};

impl Broker {
    /// What is in flight of a queue; of one nobody popped yet, the start. `None`: finding the start
    /// would wait for the disk.
    pub(super) fn flight<'s>(
        &self,
        checked: &Checked<'_>,
        state: &'s mut State,
        id: FlightId,
        queue: &Arc<Queue>,
    ) -> Result<Option<&'s mut Flight>, Error> {
        let from_max = checked.pop.from_max;
        self.flight_of(&checked.line, state, id, queue, from_max)
    }

    pub(super) fn flight_of<'s>(
        &self,
        line: &Line,
        state: &'s mut State,
        id: FlightId,
        queue: &Arc<Queue>,
        from_max: bool,
    ) -> Result<Option<&'s mut Flight>, Error> {
        use std::collections::btree_map::Entry as Slot;
        match state.flights.entry(id) {
            Slot::Occupied(slot) => Ok(Some(slot.into_mut())),
            Slot::Vacant(slot) => {
                let (group, topic) = (&line.group, line.topic(id.0));
                let committed = self
                    .offsets
                    .look(group.as_str(), topic.as_str(), |p| p.committed(id.1));
                let start = match committed {
                    Some(offset) => Some(offset as u64),
                    None => self.first_offset(id.0, queue, from_max)?,
                };
                let Some(start) = start else {
                    return Ok(None);
                };
                self.offsets
                    .commit(group, topic, id.1, start as i64, false)?;
                let flight = slot.insert(Flight::new(start));
                flight.committed = Some(start as i64);
                flight.changed.insert(Changed::Next);
                Ok(Some(flight))
            }
        }
    }

    /// Where a group that never committed begins. `None`: finding out would wait for the disk.
    fn first_offset(
        &self,
        which: PopTopic,
        queue: &Arc<Queue>,
        from_max: bool,
    ) -> Result<Option<u64>, Error> {
        let (start, end) = (queue.start().0, queue.end().0);
        if which != PopTopic::Normal || !from_max {
            return Ok(Some(start));
        }
        let begins = self.begins_in_memory(queue)?;
        Ok(begins.map(|begins| match begins {
            true => 0,
            false => end.saturating_sub(1).max(start),
        }))
    }

    /// Goes where somebody else has moved the committed offset.
    pub(super) fn follow(&self, checked: &Checked<'_>, id: FlightId, flight: &mut Flight) {
        let (group, topic) = (&checked.group.name, checked.line.topic(id.0));
        // Whoever pops hears of a reset by what it gets.
        self.offsets.take_reset(group, topic, id.1);
        self.follow_committed(group.as_str(), topic.as_str(), id.1, flight);
    }

    pub(crate) fn follow_committed(
        &self,
        group: &str,
        topic: &str,
        queue: u32,
        flight: &mut Flight,
    ) {
        let current = self.offsets.look(group, topic, |p| p.committed(queue));
        if let Some(current) = current.filter(|_| current != flight.committed) {
            flight.move_to(u64::try_from(current).unwrap_or(0));
        }
    }

    /// Commits the lowest position that is not settled.
    pub(crate) fn commit_popped(&self, line: &Line, id: FlightId, flight: &mut Flight) {
        let topic = line.topic(id.0);
        let lowest = flight.lowest() as i64;
        if flight
            .committed
            .is_some_and(|committed| committed != lowest)
        {
            match self.offsets.commit(&line.group, topic, id.1, lowest, false) {
                Ok(_) => flight.committed = Some(lowest),
                Err(error) => {
                    tracing::warn!(%error, group = %line.group, %topic, "a popped queue's offset is not kept")
                }
            }
        }
    }
}
