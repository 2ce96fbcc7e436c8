//! Leases whose end a kill cut in two.
//!
//! A lease that runs out ends with a record, the message in its retry or dead-letter topic; that the
//! lease is over stands in a row behind it. A kill between the two leaves the message with its
//! successor and its lease: it would come back twice. The successor names it, so a start finds it: the
//! end of both topics is read as far back as a lease that has run out was given.

use store::{Queue, Store, Wait};

use model::receipt::PopTopic;
use model::record::View;
use model::{LogOffset, QueueOffset, TopicName};

use super::line::{Line, State};
use super::row::Moment;

/// Settles what was moved back already.
pub(super) fn settle_moved(store: &Store, line: &Line, state: &mut State, now: Moment) {
    let lapsed = (state.flights.values()).filter_map(|flight| flight.lapsed_since(now.mono));
    let Some(since) = lapsed.min() else {
        return;
    };
    let dead = TopicName::dlq_of(&line.group);
    let topics = [
        line.topic(PopTopic::RetryV1),
        line.topic(PopTopic::RetryV2),
        &dead,
    ];
    for topic in topics {
        let Some(queue) = store.find_queue(topic.as_str(), 0) else {
            continue;
        };
        for (stored_at, from) in moved(store, &queue, since) {
            settle(store, line, state, stored_at, from);
        }
    }
}

/// When the queue's newest records were stored, down to `since`, and what each came from.
fn moved(store: &Store, queue: &Queue, since: i64) -> Vec<(i64, LogOffset)> {
    let mut moved = Vec::new();
    let (mut entries, mut record) = (Vec::new(), Vec::new());
    for at in (queue.start().0..queue.end().0).rev() {
        entries.clear();
        record.clear();
        let read = store.entries(queue, QueueOffset(at), 1, Wait::Yes, &mut entries);
        let entry = read.ok().and_then(|_| entries.first().copied());
        let Some(entry) = entry else {
            continue;
        };
        if (store.record(entry.log_offset, Wait::Yes, &mut record)).is_err() {
            continue; // damaged: it names nothing
        }
        let Ok(view) = View::parse(&record) else {
            continue;
        };
        if view.stored_at() < since {
            break;
        }
        if view.prepared_offset() != 0 {
            moved.push((view.stored_at(), LogOffset(view.prepared_offset())));
        }
    }
    moved
}

/// Settles the message at `from` if a lease holds it that was given before its successor was stored.
fn settle(store: &Store, line: &Line, state: &mut State, stored_at: i64, from: LogOffset) {
    // One that had been appended again is named by its second place.
    for flight in state.flights.values_mut() {
        let again = flight
            .all_moved()
            .find(|(_, entry)| entry.log_offset == from);
        if let Some((at, _)) = again
            && let Some(key) = flight.held(at, stored_at)
        {
            flight.settle(key, at);
            return;
        }
    }
    let mut record = Vec::new();
    if store.record(from, Wait::Yes, &mut record).is_err() {
        return; // deleted: its lease finds nothing either
    }
    let Ok(view) = View::parse(&record) else {
        return;
    };
    let of_line = |which: &PopTopic| line.topic(*which).as_str() == view.topic();
    let Some(which) = PopTopic::ALL.into_iter().find(of_line) else {
        return;
    };
    let Some(flight) = state.flights.get_mut(&(which, view.queue().0)) else {
        return;
    };
    let at = view.queue_offset().0;
    if let Some(key) = flight.held(at, stored_at)
        && flight.settle(key, at).is_some()
    {
        tracing::info!(group = %line.group, topic = view.topic(), at, "a kill came between a message's move and the end of its lease");
    }
}
