//! What becomes of popped messages: acked one by one or in batches, or kept invisible for longer.
//!
//! A receipt handle means one message on one lease. A handle whose lease is over, or was given up for
//! another, changes nothing. Apache's clients are answered as if it did: they can do nothing about it.
//! Whether it did is said beside that, for whoever wants to know.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::Mark;
use model::receipt::{PopTopic, Receipt};

use crate::pop::{Flight, Line, Renewed, Woken};
use crate::topic::topic_missing;
use crate::{Answer, AskedFor, Broker, Caller, Error, limits};

/// An ack (Apache `AckMessageRequestHeader`).
#[derive(Clone, Copy, Debug)]
pub struct Ack<'a> {
    /// The consumer group.
    pub group: &'a str,
    /// The topic the message lies in: it may be a retry topic.
    pub topic: &'a str,
    /// The queue.
    pub queue: i32,
    /// The message's offset in the queue.
    pub offset: i64,
    /// The receipt handle, unchecked.
    pub receipt: &'a str,
}

/// One pop's messages of one queue that are acked together (Apache `BatchAck`).
#[derive(Clone, Copy, Debug)]
pub struct BatchAck<'a> {
    /// The consumer group.
    pub group: &'a str,
    /// The topic that was popped.
    pub topic: &'a str,
    /// Which of its topics the messages lie in.
    pub which: PopTopic,
    /// The queue.
    pub queue: i32,
    /// The first offset of the pop.
    pub start: u64,
    /// The pop time.
    pub popped_at: i64,
    /// Bits, the least significant first: which offsets, counted from the start.
    pub bits: &'a [u8],
}

/// A wish to keep a message invisible (Apache `ChangeInvisibleTimeRequestHeader`).
#[derive(Clone, Copy, Debug)]
pub struct ChangeInvisible<'a> {
    /// Which message.
    pub ack: Ack<'a>,
    /// From now on for so long, ms.
    pub invisible: i64,
    /// Names the request: made again while the new lease lives, it gets that lease.
    pub once: Option<&'a str>,
}

/// What the new receipt handle has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The pop time.
    pub popped_at: i64,
    /// The invisible time.
    pub invisible: i64,
    /// The revive queue.
    pub revive_queue: i32,
    /// An earlier request of this name made the lease.
    pub replayed: bool,
    /// The message was out on the lease that was to be renewed. If not, nothing was done, and the new handle
    /// means nothing.
    pub held: bool,
}

/// A message on a lease.
pub(crate) struct Held {
    pub line: Arc<Line>,
    pub which: PopTopic,
    pub queue: u32,
    pub at: u64,
    pub start: u64,
    pub popped_at: i64,
}

/// What the new lease of a message has.
pub(crate) struct Renewal {
    pub popped_at: i64,
    pub invisible: i64,
    pub until: Duration,
    /// When it ends, the message comes back as if it had not been popped.
    pub uncounted: bool,
    /// The request with a name that wants it.
    pub renewed: Option<Renewed>,
}

/// What an ack found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// The message, out on this lease. It is done now.
    Held,
    /// Nothing: the message was done before, or went elsewhere.
    Settled,
    /// The message, on another lease or on none. It comes again.
    Elsewhere,
}

impl Broker {
    /// A message is done. `false`: it is not, and comes again: it is out on another lease, or on none.
    ///
    /// # Errors
    /// In the order of the checks of Apache's `AckMessageProcessor`.
    pub fn ack(&self, caller: &Caller, ack: &Ack<'_>) -> Result<Answer<bool>, Error> {
        let receipt = self.check_ack(caller, ack)?;
        let Some(held) = self.held(ack, &receipt) else {
            return Ok(Answer::Ready(true));
        };
        Ok(match self.settle(&held) {
            Found::Held => Answer::After(Mark::REACHED, true),
            Found::Settled => Answer::Ready(true),
            Found::Elsewhere => Answer::Ready(false),
        })
    }

    /// Many messages are done. Returns those that are not, and come again: which of the acks, and the offset.
    /// What cannot be meant is passed over.
    ///
    /// # Errors
    /// [`Error::NoAcks`].
    pub fn ack_batch(&self, acks: &[BatchAck<'_>]) -> Result<Answer<Vec<(usize, u64)>>, Error> {
        if acks.is_empty() {
            return Err(Error::NoAcks);
        }
        let mut elsewhere = Vec::new();
        for (place, ack) in acks.iter().enumerate() {
            let Some((line, is)) = self.pops.find(ack.group, ack.topic) else {
                continue;
            };
            let Ok(queue) = u32::try_from(ack.queue) else {
                continue;
            };
            let which = if is == PopTopic::Normal {
                ack.which
            } else {
                is
            };
            for (index, byte) in ack.bits.iter().enumerate() {
                for bit in (0..8).filter(|bit| byte & (1 << bit) != 0) {
                    let index = index as u64 * 8 + bit;
                    let held = Held {
                        line: Arc::clone(&line),
                        which,
                        queue,
                        at: ack.start.saturating_add(index),
                        start: ack.start,
                        popped_at: ack.popped_at,
                    };
                    if self.settle(&held) == Found::Elsewhere {
                        elsewhere.push((place, held.at));
                    }
                }
            }
        }
        Ok(Answer::After(Mark::REACHED, elsewhere))
    }

    /// A message stays invisible; its old handle is dead, the new one has what is returned.
    ///
    /// # Errors
    /// As [`Broker::ack`]; [`Error::IdempotencyDiffers`] if a request of this name asked for another time.
    pub fn change_invisible(
        &self,
        caller: &Caller,
        change: &ChangeInvisible<'_>,
    ) -> Result<Answer<Changed>, Error> {
        let receipt = self.check_ack(caller, &change.ack)?;
        if (change.once).is_some_and(|once| once.len() > limits::IDEMPOTENCY_KEY) {
            let text = format!("a name has up to {} bytes", limits::IDEMPOTENCY_KEY);
            return Err(Error::Invalid(text));
        }
        let mut changed = Changed {
            popped_at: self.clock.wall(),
            invisible: change.invisible,
            revive_queue: receipt.revive_queue,
            replayed: false,
            held: false,
        };
        let Some(held) = self.held(&change.ack, &receipt) else {
            return Ok(Answer::Ready(changed));
        };
        let mut state = held.line.lock();
        let id = (held.which, held.queue);
        let Some(flight) = state.flights.get_mut(&id) else {
            return Ok(Answer::Ready(changed));
        };
        let earlier = (change.once).and_then(|once| flight.renewed(held.at, held.popped_at, once));
        if let Some(((_, popped_at), lease)) = earlier {
            if lease.invisible != change.invisible {
                return Err(Error::IdempotencyDiffers);
            }
            changed.popped_at = popped_at;
            changed.revive_queue = lease.revive_queue;
            changed.replayed = true;
            changed.held = true;
            return Ok(Answer::After(Mark::REACHED, changed));
        }
        let Some(key) = flight.find(held.at, held.start, held.popped_at) else {
            return Ok(Answer::Ready(changed));
        };
        changed.held = true;
        // A name nobody has: the old handle must not mean the new lease.
        changed.popped_at = changed.popped_at.max(held.popped_at.saturating_add(1));
        while flight.is_taken(held.at, changed.popped_at) {
            changed.popped_at += 1;
        }
        let invisible = Duration::from_millis(u64::try_from(change.invisible).unwrap_or(0));
        let until = self.clock.steady().saturating_add(invisible);
        let renewal = Renewal {
            popped_at: changed.popped_at,
            invisible: change.invisible,
            until,
            uncounted: false,
            renewed: change.once.map(|once| Renewed {
                from: held.popped_at,
                once: once.into(),
            }),
        };
        flight.renew(key, held.at, renewal);
        self.pops.changed(&held.line, &state);
        Ok(Answer::After(Mark::REACHED, changed))
    }

    pub(crate) fn check_ack<'a>(
        &self,
        caller: &Caller,
        ack: &Ack<'a>,
    ) -> Result<Receipt<'a>, Error> {
        let topic = self.topics.find(ack.topic);
        let topic = topic.ok_or_else(|| topic_missing(ack.topic, AskedFor::Pull))?;
        let (name, read_queues) = (&topic.config.name, topic.config.read_queues);
        let id = u32::try_from(ack.queue).ok().filter(|&id| id < read_queues);
        let Some(queue) = id.and_then(|id| topic.queue(&self.store, id)) else {
            return Err(Error::NoSuchPopQueue {
                queue: ack.queue,
                topic: name.clone(),
                read_queues,
                consumer: caller.remote,
            });
        };
        let (min, max) = (queue.start().0, queue.end().0);
        let offset = u64::try_from(ack.offset).ok();
        let there = |offset: u64| (min..=max).contains(&offset);
        if !offset.is_some_and(|offset| there(offset) || self.is_kept(ack, offset)) {
            return Err(Error::NoSuchPopOffset {
                topic: name.clone(),
                queue: ack.queue,
                offset: ack.offset,
                min,
                max,
            });
        }
        Ok(Receipt::parse(ack.receipt)?)
    }

    /// Whether a message is known although the queue begins behind it.
    fn is_kept(&self, ack: &Ack<'_>, offset: u64) -> bool {
        let found = self.pops.find(ack.group, ack.topic);
        found.is_some_and(|(line, _)| {
            let state = line.lock();
            let of_queue = |id: &(PopTopic, u32)| i64::from(id.1) == i64::from(ack.queue);
            let mut flights = state.flights.iter().filter(|(id, _)| of_queue(id));
            flights.any(|(_, flight)| flight.moved(offset).is_some())
        })
    }

    pub(crate) fn held(&self, ack: &Ack<'_>, receipt: &Receipt<'_>) -> Option<Held> {
        let (line, is) = self.pops.find(ack.group, ack.topic)?;
        Some(Held {
            line,
            which: if is == PopTopic::Normal {
                receipt.topic
            } else {
                is
            },
            queue: u32::try_from(ack.queue).ok()?,
            at: u64::try_from(ack.offset).ok()?,
            start: receipt.start,
            popped_at: receipt.popped_at,
        })
    }

    /// A message is settled, if it is out on that lease.
    fn settle(&self, held: &Held) -> Found {
        let mut state = held.line.lock();
        let id = (held.which, held.queue);
        let Some(flight) = state.flights.get_mut(&id) else {
            return Found::Settled;
        };
        let key = flight.find(held.at, held.start, held.popped_at);
        let Some((_, group)) = key.and_then(|key| flight.settle(key, held.at)) else {
            return match flight.is_settled(held.at) {
                true => Found::Settled,
                false => Found::Elsewhere,
            };
        };
        self.commit_popped(&held.line, id, flight);
        // A message group that is free again is for whoever waits.
        let freed = group.is_some_and(|group| !flight.is_busy(group));
        let mut woken = Woken::new();
        if freed {
            self.pops
                .wake(&held.line, &mut state, Some(held.queue), &mut woken);
        }
        held.line.acked.fetch_add(1, Ordering::Relaxed);
        self.pops.changed(&held.line, &state);
        drop(state);
        self.run_again(&woken);
        Found::Held
    }

    /// Somebody committed an offset of a queue that may be popped too.
    pub(crate) fn popped_elsewhere(&self, group: &str, topic: &str, queue: u32) {
        let Some((line, which)) = self.pops.find(group, topic) else {
            return;
        };
        let mut state = line.lock();
        if let Some(flight) = state.flights.get_mut(&(which, queue)) {
            self.follow_committed(group, topic, queue, flight);
            self.pops.changed(&line, &state);
        }
    }
}

impl Flight {
    /// A message goes over to a lease of its own: pop time, invisible time, until when.
    pub(crate) fn renew(&mut self, key: (u64, i64), at: u64, renewal: Renewal) {
        let Some(mut lease) = self.get(key).cloned() else {
            return;
        };
        let Some((_, group)) = self.settle(key, at) else {
            return;
        };
        lease.bits = 1;
        lease.invisible = renewal.invisible;
        lease.until = renewal.until;
        lease.uncounted = renewal.uncounted;
        lease.renewed = renewal.renewed;
        lease.stored = false;
        if let Some(fifo) = &mut lease.fifo {
            fifo.groups = vec![(0, group.unwrap_or(0))];
        }
        self.put((at, renewal.popped_at), lease);
    }
}
