//! Hands messages of a queue to somebody who takes many at once, as many as there are places, and who says later
//! what became of them, many at once too.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::concurrent::is_again;
use super::{Settle, Work};
use crate::process_queue::ProcessQueue;
use crate::reader::{Model, Reader};
use crate::received::Received;

/// Takes messages, many at once.
pub trait Takes: Send + Sync + 'static {
    /// These are to be settled, each once: [`settle_all`]. One whose [`Open`] is dropped instead stays taken, and comes
    /// to the next member of the group as if for the first time; the end of the consumer does not wait for it. Called
    /// on the runtime's threads: it must not block.
    fn take(&self, messages: Vec<Handed>);
}

/// A message that was handed over.
pub struct Handed {
    /// The message.
    pub message: Received,
    /// With which it is settled.
    pub open: Open,
}

/// A message that is not settled yet.
pub struct Open(Kind);

enum Kind {
    /// Somebody waits for just this one.
    Alone(oneshot::Sender<Settle>),
    /// One of a queue's many.
    One(One),
}

struct One {
    hands: Arc<Hands>,
    message: Received,
    begun: Instant,
    /// Nobody said what became of it.
    unsettled: bool,
}

impl Drop for One {
    fn drop(&mut self) {
        if self.unsettled {
            self.hands.close(1);
        }
    }
}

/// Says what became of messages.
pub fn settle_all(settled: impl IntoIterator<Item = (Open, Settle)>) {
    let mut done: Vec<(Arc<Hands>, Vec<u64>)> = Vec::new();
    for (Open(kind), settle) in settled {
        let mut one = match kind {
            Kind::Alone(waiting) => {
                let _ = waiting.send(settle);
                continue;
            }
            Kind::One(one) => one,
        };
        one.unsettled = false;
        one.hands.tell(&one, settle);
        if settle != Settle::Ack && one.hands.work.model == Model::Clustering {
            one.hands.work.counters.settled(settle);
            let runtime = one.hands.runtime.clone();
            drop(runtime.spawn(again(one, settle)));
            continue;
        }
        let (hands, offset) = (&one.hands, one.message.queue_offset);
        match done.iter_mut().find(|(known, _)| Arc::ptr_eq(known, hands)) {
            Some((_, offsets)) => offsets.push(offset),
            None => done.push((hands.clone(), vec![offset])),
        }
    }
    for (hands, offsets) in done {
        hands.work.counters.acknowledged(offsets.len());
        hands.done(offsets);
    }
}

/// Hands one message over, and waits for what becomes of it.
pub(super) async fn alone(takes: Arc<dyn Takes>, message: Received) -> Settle {
    let (settle, settled) = oneshot::channel();
    let open = Open(Kind::Alone(settle));
    takes.take(vec![Handed { message, open }]);
    match settled.await {
        Ok(settle) => settle,
        // Nobody will settle it. It is not done and not given back either.
        Err(_) => std::future::pending().await,
    }
}

/// What the messages of one queue share.
struct Hands {
    reader: Weak<Reader>,
    work: Arc<Work>,
    takes: Arc<dyn Takes>,
    queue: Arc<ProcessQueue>,
    /// Handed over and not settled.
    open: AtomicUsize,
    /// One was settled, and none is left.
    none: Notify,
    runtime: Handle,
}

/// Messages that are handed over at once, at most: other queues want places too.
const BURST: usize = 256;

/// Runs until the queue is dropped, and what was handed over is settled.
pub(super) async fn run(
    reader: Weak<Reader>,
    work: Arc<Work>,
    takes: Arc<dyn Takes>,
    queue: Arc<ProcessQueue>,
) {
    let hands = Arc::new(Hands {
        reader,
        work,
        takes,
        queue,
        open: AtomicUsize::new(0),
        none: Notify::new(),
        runtime: Handle::current(),
    });
    let (queue, places) = (&hands.queue, &hands.work.places);
    while !queue.is_dropped() {
        let arrived = queue.arrived.notified();
        // Places first: a message that waits for one can still go to somebody else. At the end there may never be one:
        // of what is not settled by then they do not come back.
        let first = tokio::select! {
            first = places.acquire() => first,
            () = queue.until_dropped() => break,
        };
        let Ok(first) = first else {
            break;
        };
        first.forget();
        let more = places.available_permits().min(BURST - 1);
        let more = match places.try_acquire_many(more as u32) {
            Ok(taken) => {
                taken.forget();
                more
            }
            Err(_) => 0,
        };
        let messages = queue.take(1 + more);
        places.add_permits(1 + more - messages.len());
        if messages.is_empty() {
            arrived.await;
            continue;
        }
        hands.open.fetch_add(messages.len(), Ordering::AcqRel);
        hands.hand(messages);
    }
    loop {
        let none = hands.none.notified();
        if hands.open.load(Ordering::Acquire) == 0 {
            return;
        }
        none.await;
    }
}

impl Hands {
    fn hand(self: &Arc<Self>, messages: Vec<Received>) {
        let begun = Instant::now();
        let reader = self.reader.upgrade();
        let names = reader.as_ref().map(|reader| reader.client.names.clone());
        let names = names.unwrap_or_default();
        let observer = reader.and_then(|reader| {
            let observer = reader.client.config.observer.clone();
            observer.map(|observer| (observer, reader.group.clone()))
        });
        let handed = messages.into_iter().map(|message| {
            let one = One {
                hands: self.clone(),
                message: message.clone(),
                begun,
                unsettled: true,
            };
            let message = names.received(message);
            if let Some((observer, group)) = &observer {
                observer.consuming(names.short_group(group), &message);
            }
            let open = Open(Kind::One(one));
            Handed { message, open }
        });
        self.takes.take(handed.collect());
    }

    /// Tells who is to be told.
    fn tell(&self, one: &One, settle: Settle) {
        if let Some(reader) = self.reader.upgrade()
            && let Some(observer) = &reader.client.config.observer
        {
            let names = &reader.client.names;
            let (group, message) = (
                names.short_group(&reader.group),
                names.received(one.message.clone()),
            );
            observer.consumed(group, &message, settle, one.begun.elapsed());
        }
    }

    /// These are done.
    fn done(&self, offsets: Vec<u64>) {
        let count = offsets.len();
        if let Some(reader) = self.reader.upgrade() {
            reader.done(&self.queue, offsets);
        }
        self.end(count);
    }

    fn end(&self, count: usize) {
        self.work.places.add_permits(count);
        self.close(count);
    }

    /// So many are open no more.
    fn close(&self, count: usize) {
        if self.open.fetch_sub(count, Ordering::AcqRel) == count {
            self.none.notify_waiters();
        }
    }
}

/// Does what was decided about a message that is not done.
async fn again(one: One, settle: Settle) {
    let hands = &one.hands;
    let (reader, work, queue) = (&hands.reader, &hands.work, &hands.queue);
    match is_again(reader, work, queue, &one.message, settle).await {
        // It keeps its place.
        true => hands.hand(vec![one.message.clone()]),
        false => hands.end(1),
    }
}
