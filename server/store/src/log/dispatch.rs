//! Makes queue entries visible, in log order, behind `confirmed`.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Log;
use super::stage::Run;
use crate::lock;
use crate::pending::{Pending as Waiting, Transition};
use crate::queue::{Entry, Queue, Queues};

/// Entries of written records, oldest first.
#[derive(Default)]
pub(crate) struct Dispatcher {
    /// Whose the entries are, in their order.
    runs: VecDeque<Run>,
    entries: VecDeque<Entry>,
    /// What written records mean for what waits, oldest first.
    transitions: VecDeque<Transition>,
    round: Round,
}

/// What becomes visible at once, put together by queue: a queue is locked once, however many of its
/// entries lie between those of others.
#[derive(Default)]
struct Round {
    growths: Vec<Growth>,
    spare: Vec<Vec<Entry>>,
}

/// What comes to a queue.
struct Growth {
    queue: Arc<Queue>,
    /// The position of the first entry.
    at: u64,
    entries: Vec<Entry>,
}

impl Dispatcher {
    pub fn extend(
        &mut self,
        runs: &mut Vec<Run>,
        entries: &mut Vec<Entry>,
        transitions: &mut Vec<Transition>,
    ) {
        self.runs.extend(runs.drain(..));
        self.entries.extend(entries.drain(..));
        self.transitions.extend(transitions.drain(..));
    }

    /// Takes the entries up to `confirmed`.
    fn gather(&mut self, confirmed: u64) {
        let safe = |entry: &Entry| entry.log_offset.0 + u64::from(entry.size) <= confirmed;
        while let Some(run) = self.runs.front_mut() {
            let last = self.entries.get(run.count - 1);
            let count = match last.is_some_and(safe) {
                true => run.count,
                false => self.entries.iter().take_while(|entry| safe(entry)).count(),
            };
            if count < run.count {
                if count > 0 {
                    let (queue, at) = (Arc::clone(&run.queue), run.at);
                    run.at += count as u64;
                    run.count -= count;
                    self.round.add(queue, at, self.entries.drain(..count));
                }
                return;
            }
            if let Some(Run { queue, at, count }) = self.runs.pop_front() {
                self.round.add(queue, at, self.entries.drain(..count));
            }
        }
    }
}

impl Round {
    fn add(&mut self, queue: Arc<Queue>, at: u64, entries: impl Iterator<Item = Entry>) {
        let growth = self.growths.get_mut(queue.place());
        match growth.filter(|growth| {
            Arc::ptr_eq(&growth.queue, &queue) && growth.at + growth.entries.len() as u64 == at
        }) {
            Some(growth) => growth.entries.extend(entries),
            None => {
                queue.set_place(self.growths.len());
                let mut own = self.spare.pop().unwrap_or_default();
                own.extend(entries);
                self.growths.push(Growth {
                    queue,
                    at,
                    entries: own,
                });
            }
        }
    }
}

/// Buffers that grew longer are not kept,
const SPARE_MAX: usize = 1024;
/// nor more of them.
const SPARES: usize = 64;

impl Log {
    /// Shows every entry up to `confirmed`, and names each queue that grew.
    pub fn dispatch(&self, queues: &Queues, waiting: &Waiting, grown: &mut dyn FnMut(&Arc<Queue>)) {
        if self.marks.dispatched() >= self.marks.confirmed() {
            return;
        }
        let mut dispatcher = lock(&self.dispatcher);
        let dispatcher = &mut *dispatcher;
        let confirmed = self.marks.confirmed();
        let safe = |transition: &Transition| transition.end <= confirmed;
        if dispatcher.transitions.front().is_some_and(safe) {
            let count = dispatcher.transitions.partition_point(safe);
            waiting.apply(dispatcher.transitions.iter().take(count));
            dispatcher.transitions.drain(..count);
        }
        dispatcher.gather(confirmed.0);
        let Round { growths, spare } = &mut dispatcher.round;
        for Growth { queue, at, entries } in growths.iter() {
            queues.append_all(queue, *at, entries);
        }
        self.marks.move_dispatched(confirmed.0);
        for Growth {
            queue, mut entries, ..
        } in growths.drain(..)
        {
            grown(&queue);
            if entries.capacity() <= SPARE_MAX && spare.len() < SPARES {
                entries.clear();
                spare.push(entries);
            }
        }
    }
}
