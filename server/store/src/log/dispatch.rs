//! Makes queue entries visible, in log order, behind `confirmed`.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Log;
use super::stage::Pending;
use crate::lock;
use crate::pending::{Pending as Waiting, Transition};
use crate::queue::{Queue, Queues};

/// Entries of written records, oldest first.
#[derive(Default)]
pub(crate) struct Dispatcher {
    fifo: VecDeque<Pending>,
    /// What written records mean for what waits, oldest first.
    transitions: VecDeque<Transition>,
    grown: Vec<Arc<Queue>>,
}

impl Dispatcher {
    pub fn extend(&mut self, pending: &mut Vec<Pending>, transitions: &mut Vec<Transition>) {
        self.fifo.extend(pending.drain(..));
        self.transitions.extend(transitions.drain(..));
    }
}

impl Log {
    /// Shows every entry up to `confirmed`, and names each queue that grew, once.
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
        while let Some(next) = dispatcher.fifo.front() {
            if next.entry.log_offset.0 + u64::from(next.entry.size) > confirmed.0 {
                break;
            }
            let Some(Pending { queue, at, entry }) = dispatcher.fifo.pop_front() else {
                break;
            };
            queues.append(&queue, at, entry);
            if !queue.touch(true) {
                dispatcher.grown.push(queue);
            }
        }
        self.marks.move_dispatched(confirmed.0);
        for queue in dispatcher.grown.drain(..) {
            queue.touch(false);
            grown(&queue);
        }
    }
}
