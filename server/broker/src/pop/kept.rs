//! Leased messages whose segment is about to be deleted: their bodies are appended again, to a topic of
//! the store's own, so that what is not acked can come back. Where each lies then is part of what is in
//! flight.

use model::message::key;
use model::record::View;
use model::tag::tags_code;
use model::{LogOffset, QueueId, TopicName};
use store::{Draft, Entry, Keys, Next, StageError, Wait};

use super::flight::Flight;
use super::line::{FlightId, Line};
use super::need::{Found, entry_in_place};
use crate::Broker;
use crate::topic::system::KEPT_LEASED;

/// One that is out on a lease.
struct Out {
    id: FlightId,
    at: u64,
    /// Where it lies, if it was appended again before.
    moved: Option<Entry>,
}

impl Broker {
    /// Deletes what is older than messages are kept, except what is still needed, which is appended
    /// again first. Returns when to call again.
    pub fn retain_step(&self) -> Next {
        let now = self.clock.wall();
        self.store.retain_step(now, &mut |before| {
            let floor = self.pops.set_floor(before);
            let kept = self.keep_leased(before);
            if kept.is_err() {
                self.pops.set_floor(floor);
            }
            kept
        })
    }

    /// Appends again what lies below `before` and is out on leases.
    fn keep_leased(&self, before: LogOffset) -> Result<(), StageError> {
        for line in self.pops.all() {
            for out in all_out(&line) {
                let Some(from) = self.place(&line, &out, before) else {
                    continue;
                };
                let Some(entry) = self.append_leased(from)? else {
                    continue;
                };
                let mut state = line.lock();
                if let Some(flight) = state.flights.get_mut(&out.id) {
                    flight.move_record(out.at, entry);
                }
                self.pops.changed(&line, &state);
            }
        }
        self.persist()
    }

    /// Where the message lies, if that is below `before`.
    fn place(&self, line: &Line, out: &Out, before: LogOffset) -> Option<LogOffset> {
        let entry = out.moved.or_else(|| {
            let name = line.topic(out.id.0).as_str();
            let queue = self.store.find_queue(name, out.id.1)?;
            match entry_in_place(&self.store, &queue, out.at, Wait::Yes) {
                Ok(Found::Here(entry)) => Some(entry),
                _ => None,
            }
        })?;
        Some(entry.log_offset).filter(|&at| at < before)
    }

    /// Stages the record again, naming its first place.
    fn append_leased(&self, from: LogOffset) -> Result<Option<Entry>, StageError> {
        let mut record = Vec::new();
        if let Err(error) = self.store.record(from, Wait::Yes, &mut record) {
            tracing::error!(at = from.0, %error, "a popped message is lost");
            return Ok(None);
        }
        let Ok(view) = View::parse(&record) else {
            return Ok(None);
        };
        let topic = TopicName::parse(KEPT_LEASED).expect("a legal name");
        let queue = self.store.queue(&topic, QueueId(0));
        let draft = Draft {
            queue: &queue,
            flag: view.flag(),
            sys_flag: view.sys_flag(),
            born_at: view.born_at(),
            born_host: view.born_host(),
            reconsume_times: view.reconsume_times(),
            prepared_offset: origin(&view).0,
            body: view.body(),
            properties: view.properties(),
            tags_code: tags_code(view.property(key::TAGS)),
            keys: Keys::Unread,
        };
        let mut staged = self.store.stage_own(&draft);
        if staged == Err(StageError::Busy) {
            let written = self.store.write_out();
            written.map_err(|error| StageError::ReadOnly(error.0))?;
            staged = self.store.stage_own(&draft);
        }
        let staged = staged?;
        Ok(Some(Entry {
            log_offset: staged.log_offset,
            size: (staged.end.0 - staged.log_offset.0) as u32,
            tags_code: draft.tags_code,
        }))
    }
}

/// Where a message lay first.
pub(super) fn origin(view: &View<'_>) -> LogOffset {
    match view.topic() {
        KEPT_LEASED => LogOffset(view.prepared_offset()),
        _ => view.log_offset(),
    }
}

fn all_out(line: &Line) -> Vec<Out> {
    let state = line.lock();
    let flights = state.flights.iter();
    let moved = |flight: &Flight| -> Vec<u64> { flight.all_moved().map(|(at, _)| at).collect() };
    let out = flights.flat_map(|(&id, flight)| {
        // What was appended again and came back is as much on its way as what is out.
        let mut all: Vec<u64> = flight.out().chain(moved(flight)).collect();
        all.sort_unstable();
        all.dedup();
        let out = |at| Out {
            id,
            at,
            moved: flight.moved(at),
        };
        all.into_iter().map(out).collect::<Vec<_>>()
    });
    out.collect()
}
