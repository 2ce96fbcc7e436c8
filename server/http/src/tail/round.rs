//! What a round of the fan writes: to each rider the events that it wants, put together once for all that want the same.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::reader::{Event, SLICE};
use super::wanted::Wanted;

/// What is written to a rider at once, unless one event is longer.
const LONGEST: usize = 32 << 10;
/// How many selections of events are kept put together.
const KEPT: usize = 16;
/// A bit for each event.
const _: () = assert!(SLICE <= u64::BITS as usize);

/// The events of a round.
pub(super) struct Round {
    events: Vec<Arc<Event>>,
    /// Which of the events, a bit for each, and these put together.
    chosen: Vec<(u64, Bytes)>,
}

impl Round {
    /// Of the first of these events, as many as may be written at once.
    pub(super) fn new(mut events: Vec<Arc<Event>>) -> Round {
        let mut length = 0;
        let fits = |event: &&Arc<Event>| {
            length += event.chunk.len();
            length <= LONGEST
        };
        let count = events.iter().take_while(fits).count();
        events.truncate(count.max(1));
        let chosen = Vec::new();
        Round { events, chosen }
    }

    pub(super) fn events(&self) -> &[Arc<Event>] {
        &self.events
    }

    /// The chunks of what a stream wants, `None` of everything, one behind the other.
    pub(super) fn of(&mut self, wanted: Option<&Wanted>) -> &Bytes {
        let mut which = 0;
        for (at, event) in self.events.iter().enumerate() {
            let wanted = wanted.is_none_or(|wanted| wanted.accepts_event(event));
            which |= u64::from(wanted) << at;
        }
        let known = self.chosen.iter().position(|(own, _)| *own == which);
        let at = known.unwrap_or_else(|| {
            if self.chosen.len() == KEPT {
                self.chosen.clear();
            }
            self.chosen.push((which, joined(&self.events, which)));
            self.chosen.len() - 1
        });
        &self.chosen[at].1
    }
}

fn joined(events: &[Arc<Event>], which: u64) -> Bytes {
    let chosen = |(at, _): &(usize, &Arc<Event>)| which >> at & 1 == 1;
    let mut chosen = events.iter().enumerate().filter(chosen);
    if which.is_power_of_two()
        && let Some((_, event)) = chosen.next()
    {
        return event.chunk.clone();
    }
    let mut all = BytesMut::new();
    chosen.for_each(|(_, event)| all.extend_from_slice(&event.chunk));
    all.freeze()
}
