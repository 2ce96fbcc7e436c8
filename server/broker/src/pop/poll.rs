//! What clients ask about pops without popping: whether there is something, what it is, and how many
//! wait for it.

use std::sync::Arc;

use model::QueueOffset;
use model::receipt::PopTopic;
use store::{Queue, Reads, Store, Wait};

use super::Line;
use super::wait::Waiter;
use crate::offset::read_failed;
use crate::settings::Setting;
use crate::{Answer, Broker, Caller, Error, limits};

/// Whether there is something to pop (Apache `NotificationRequestHeader`).
#[derive(Clone, Copy, Debug)]
pub struct Notification<'a> {
    /// The consumer group, unchecked.
    pub group: &'a str,
    /// The topic, unchecked.
    pub topic: &'a str,
    /// The queue; below 0 all of them.
    pub queue: i32,
    /// How long to wait for a message, ms from `born_at` on.
    pub poll: i64,
    /// When the client asked, ms since the Unix epoch; 0 for now.
    pub born_at: i64,
    /// For an ordered pop.
    pub order: bool,
    /// The name of the pop that comes next: what is out under it is there for it.
    pub attempt: Option<&'a str>,
}

/// What a notification says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notified {
    /// There is something.
    pub has_message: bool,
    /// Too many wait.
    pub full: bool,
}

/// A look at what there is (Apache `PeekMessageRequestHeader`).
#[derive(Clone, Copy, Debug)]
pub struct Peek<'a> {
    /// The consumer group, unchecked.
    pub group: &'a str,
    /// The topic, unchecked.
    pub topic: &'a str,
    /// The queue; below 0 all of them.
    pub queue: i32,
    /// How many messages at most.
    pub max: i32,
}

/// What a peek found. The records were appended to the output buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peeked {
    /// How many messages.
    pub count: usize,
    /// Messages that are left.
    pub rest: u64,
}

impl Broker {
    /// Whether there is something to pop; waits for it if asked to.
    ///
    /// # Errors
    /// As [`Broker::pop`].
    pub fn notification(
        &self,
        caller: &Caller,
        ask: &Notification<'_>,
    ) -> Result<Answer<Notified>, Error> {
        self.pops.leave(caller.connection, caller.ticket);
        let broker = self.options.address.ip();
        let now = self.clock.wall();
        let born_at = if ask.born_at == 0 { now } else { ask.born_at };
        if !self.options.permission.readable() {
            return Err(Error::PopForbidden { broker });
        }
        let (topic, group, made) = self.check_popped(caller, ask.group, ask.topic, ask.queue)?;
        let line = self.pops.line(&group.name, &topic.config.name);
        let mut answer = Notified {
            has_message: false,
            full: false,
        };
        let mut waits = false;
        loop {
            if self.has_message(&line, ask) {
                answer.has_message = true;
                break;
            }
            let left = self.poll_left(caller, born_at, ask.poll);
            let Some(left) = left else {
                break;
            };
            if waits {
                return Ok(Answer::Hold(left));
            }
            let waiter = Waiter {
                connection: caller.connection,
                ticket: caller.ticket,
                queue: ask.queue,
                expression: "".into(),
                notify: true,
                // Whatever that name gets, all notifications of the line are woken for it.
                attempt: None,
            };
            waits = true;
            if !self.pops.wait(&line, &mut line.lock(), waiter) {
                answer.full = true;
                break;
            }
        }
        self.pops.leave(caller.connection, caller.ticket);
        Ok(match made {
            Some(mark) => Answer::After(mark, answer),
            None => Answer::Ready(answer),
        })
    }

    /// Whether a pop would be likely to find something. A message that only other members take, or
    /// whose message group is out, counts too.
    fn has_message(&self, line: &Arc<Line>, ask: &Notification<'_>) -> bool {
        let mut state = line.lock();
        if ask.attempt.is_some_and(|attempt| state.is_out(attempt)) {
            return true;
        }
        let mut topics = vec![PopTopic::Normal];
        if !ask.order {
            topics.extend(self.retry_topics(line).map(|(which, _)| which));
        }
        for which in topics {
            let name = line.topic(which).as_str();
            let Some(topic) = self.topics.find(name) else {
                continue;
            };
            let one = u32::try_from(ask.queue)
                .ok()
                .filter(|_| which == PopTopic::Normal);
            for id in 0..topic.config.read_queues {
                if one.is_some_and(|one| one != id) {
                    continue;
                }
                let Some(queue) = self.store.find_queue(name, id) else {
                    continue;
                };
                let (start, end) = (queue.start().0, queue.end().0);
                let Some(flight) = state.flights.get_mut(&(which, id)) else {
                    let committed =
                        (self.offsets).look(line.group.as_str(), name, |p| p.committed(id));
                    let from = committed.map_or(start, |offset| offset as u64);
                    if from < end {
                        return true;
                    }
                    continue;
                };
                self.follow_committed(line.group.as_str(), name, id, flight);
                let free = |group: Option<u64>| {
                    !ask.order || group.is_none_or(|group| !flight.is_busy(group))
                };
                let again = ask
                    .attempt
                    .is_some_and(|attempt| flight.has_attempt(attempt));
                let open = flight.open().any(|(_, open)| free(open.group));
                if flight.next().max(start) < end || open || (ask.order && again) {
                    return true;
                }
            }
        }
        false
    }

    /// How many pops and notifications wait for a queue.
    ///
    /// # Errors
    /// As [`Broker::pop`].
    pub fn polling(
        &self,
        caller: &Caller,
        group: &str,
        topic: &str,
        queue: i32,
    ) -> Result<usize, Error> {
        self.check_popped(caller, group, topic, queue)?;
        let Some((line, _)) = self.pops.find(group, topic) else {
            return Ok(0);
        };
        let state = line.lock();
        let same = state.waiters.iter().filter(|waiter| waiter.queue == queue);
        Ok(same.count())
    }

    /// Appends what the next pop would get to `out`, and changes nothing.
    ///
    /// # Errors
    /// As [`Broker::pop`].
    pub fn peek(
        &self,
        caller: &Caller,
        peek: &Peek<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Answer<Peeked>, Error> {
        let broker = self.options.address.ip();
        if !self.options.permission.readable() {
            return Err(Error::PopForbidden { broker });
        }
        if peek.max > limits::POP_MESSAGES {
            return Err(Error::PopTooMany { broker });
        }
        let (topic, group, _) = self.check_popped(caller, peek.group, peek.topic, peek.queue)?;
        if let Some(read) = self.cold.take::<(Peeked, Vec<u8>)>(caller) {
            let (peeked, records) = read?;
            out.extend_from_slice(&records);
            return Ok(Answer::Ready(peeked));
        }
        let line = self.pops.find(group.name.as_str(), peek.topic);
        let mut looks = Look {
            places: Vec::new(),
            count: peek.max.max(1) as usize,
            bytes: self.settings.size(Setting::PullBytesMax),
        };
        for id in 0..topic.config.read_queues {
            let wanted = u32::try_from(peek.queue).ok();
            if wanted.is_some_and(|wanted| wanted != id) {
                continue;
            }
            let Some(queue) = self.store.find_queue(peek.topic, id) else {
                continue;
            };
            let next = line.as_ref().and_then(|(line, which)| {
                let state = line.lock();
                state.flights.get(&(*which, id)).map(super::Flight::next)
            });
            let committed = || (self.offsets).look(peek.group, peek.topic, |p| p.committed(id));
            let from = next.or_else(|| committed().map(|offset| offset as u64));
            let from = from.unwrap_or(0).max(queue.start().0);
            looks.places.push((queue, from));
        }
        if let Some(peeked) = looks.look(&self.store, Wait::No, out)? {
            return Ok(Answer::Ready(peeked));
        }
        let store = Arc::clone(&self.store);
        let answer = self.cold.defer(caller, move || {
            let mut records = Vec::new();
            let peeked = looks.look(&store, Wait::Yes, &mut records)?;
            let unread = || Error::Store("a read that may wait did not".to_owned());
            Ok((peeked.ok_or_else(unread)?, records))
        })?;
        Ok(answer.map(|(peeked, _)| peeked))
    }
}

/// Where a peek looks, and how much it shows.
struct Look {
    /// The queues, and where the next pop of each starts.
    places: Vec<(Arc<Queue>, u64)>,
    count: usize,
    bytes: usize,
}

impl Look {
    /// Appends the messages; `None` if that would wait for the disk.
    fn look(&self, store: &Store, wait: Wait, out: &mut Vec<u8>) -> Result<Option<Peeked>, Error> {
        let mut entries = Vec::new();
        let (mut bytes, mut rest) = (0, 0);
        for (queue, from) in &self.places {
            let room = self.count.saturating_sub(entries.len());
            let before = entries.len();
            if room > 0 && bytes < self.bytes {
                let from = QueueOffset(*from);
                let read = store.entries(queue, from, room, wait, &mut entries);
                if read.map_err(read_failed)? == Reads::WouldBlock {
                    return Ok(None);
                }
            }
            let new = entries.iter().skip(before);
            bytes += new.map(|entry| entry.size as usize).sum::<usize>();
            let looked = (entries.len() - before) as u64;
            rest += queue.end().0.saturating_sub(from + looked);
        }
        entries.retain(|entry| entry.size > 0);
        let before = out.len();
        let read = store.read_runs(&entries, out, wait);
        if read.map_err(read_failed)? == Reads::WouldBlock {
            return Ok(None);
        }
        let count = if out.len() > before { entries.len() } else { 0 };
        Ok(Some(Peeked { count, rest }))
    }
}
