//! How what is in flight reaches the log and comes back from it.

use std::sync::Arc;

use store::{Store, Table};

use super::doubt::settle_moved;
use super::flight::Changed;
use super::line::{FlightId, Line, Pops};
use super::row::{Moment, Row, push_key, push_value, read};
use crate::changes::Changes;
use crate::offset::Offsets;
use crate::stats::history::Count;
use crate::{Options, Planted};

/// Rows that were taken over into a batch's changes.
pub(crate) type Taken = Vec<(Arc<Line>, FlightId, Vec<Changed>)>;

impl Pops {
    /// What the store knows. Where the next pops start is told to the offsets, as each pop does.
    pub fn open(store: &Store, offsets: &Offsets, options: &Options, now: Moment) -> Pops {
        let pops = Pops::new(options.pop_retry_v2, store.pending().alarm());
        let rows = store.rows(Table::Leases);
        let rows: Vec<_> = (rows.iter())
            .filter_map(|(key, value)| {
                let row = read(key, value, now);
                if row.is_none() {
                    tracing::error!(key = %String::from_utf8_lossy(key), "a row of what is in flight cannot be read");
                }
                row
            })
            .collect();
        // Those that have a retry topic first: it stays theirs.
        let of_retry = |row: &&(_, _, FlightId, _)| row.2.0 == model::receipt::PopTopic::RetryV1;
        for (group, topic, _, _) in rows.iter().filter(of_retry) {
            pops.line(group, topic);
        }
        for (group, topic, id, row) in rows {
            let line = pops.line(&group, &topic);
            let mut state = line.lock();
            let flight = state.flights.entry(id).or_default();
            match row {
                Row::Next(next) => flight.restore_next(next),
                Row::Lease(key, mut lease) => {
                    if options.planted == Planted::LeasesWithoutEnd {
                        lease.until = std::time::Duration::MAX;
                    }
                    flight.restore_lease(key, lease);
                }
                Row::Moved(at, entry) => flight.restore_moved(at, entry),
                Row::Open(open) => {
                    for (at, open) in open {
                        flight.restore_open(at, open);
                    }
                }
            }
        }
        for line in pops.all() {
            let mut state = line.lock();
            for (id, flight) in &mut state.flights {
                flight.committed = Some(flight.lowest() as i64);
                flight.changed.clear();
                let (topic, next) = (line.topic(id.0), flight.next() as i64);
                offsets.pulled(&line.group, topic, id.1, next, Count::default());
            }
            settle_moved(store, &line, &mut state, now);
            pops.changed(&line, &state);
        }
        pops
    }

    /// Adds all rows that changed, and shows `seen` the lines they are of.
    pub fn collect(
        &self,
        changes: &mut Changes,
        now: Moment,
        mut seen: impl FnMut(&Line),
    ) -> Taken {
        let mut taken = Taken::new();
        for line in self.take_dirty() {
            seen(&line);
            let mut state = line.lock();
            for (&id, flight) in &mut state.flights {
                flight.prune_moved();
                let changed: Vec<Changed> =
                    std::mem::take(&mut flight.changed).into_iter().collect();
                for &row in &changed {
                    changes.add(
                        Table::Leases,
                        |key| push_key(key, &line, id, row),
                        |value| push_value(value, flight, row, now),
                    );
                }
                if !changed.is_empty() {
                    taken.push((Arc::clone(&line), id, changed));
                }
            }
        }
        taken
    }

    /// What was taken could not be staged: it is still to be written.
    pub fn again(&self, taken: Taken) {
        for (line, id, changed) in taken {
            let mut state = line.lock();
            if let Some(flight) = state.flights.get_mut(&id) {
                flight.changed.extend(changed);
            }
            self.changed(&line, &state);
        }
    }
}
