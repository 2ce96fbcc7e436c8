//! Pops: the broker hands messages out on leases instead of giving a queue to a consumer.
//!
//! A popped message is invisible to the group until it is acked, or its lease runs out: then it comes
//! back, in the group's retry topic or, popped in order, in its own place. What is in flight is state of
//! its own ([`flight`]), changed in memory at once and staged as rows with the batch's commit, so an
//! answer never promises what a kill could take back.

mod again;
mod doubt;
mod flight;
mod kept;
mod line;
mod look;
mod need;
mod ordered;
mod place;
mod poll;
mod revive;
mod row;
mod rows;
mod wait;

use std::sync::Arc;

use model::group::GroupConfig;
use model::receipt::{ORDERED, PopTopic};
use model::{Mark, TopicName};

use again::Again;
pub(crate) use flight::{Flight, Open, Renewed};
use line::State;
pub(crate) use line::{Line, Pops};
use look::Got;
pub use poll::{Notification, Notified, Peek, Peeked};
pub(crate) use revive::{Lapsed, moment, read_lapsed};
pub(crate) use row::Moment;
use wait::Waiter;
pub(crate) use wait::Woken;

use crate::filter::Filter;
use crate::topic::{Topic, topic_missing};
use crate::{Answer, AskedFor, Broker, Caller, Error, limits};

/// A pop (Apache `PopMessageRequestHeader`).
#[derive(Clone, Copy, Debug)]
pub struct Pop<'a> {
    /// The consumer group, unchecked.
    pub group: &'a str,
    /// The topic, unchecked.
    pub topic: &'a str,
    /// The queue; below 0 all of them.
    pub queue: i32,
    /// How many messages at most.
    pub max: i32,
    /// How long they are invisible, ms.
    pub invisible: i64,
    /// How long the pop may be held, ms from `born_at` on.
    pub poll: i64,
    /// When the client asked, ms since the Unix epoch; 0 for now.
    pub born_at: i64,
    /// Where a new group starts: at the queue's end instead of its beginning.
    pub from_max: bool,
    /// The expression to filter by; without one everything passes.
    pub expression: Option<&'a str>,
    /// The kind of the expression, as it came.
    pub expression_kind: Option<&'a str>,
    /// Pop in order: while messages of a message group are out, later ones of it stay.
    pub order: bool,
    /// Names this attempt: asked again while they are out, it gets the same messages, and not counted.
    pub attempt: Option<&'a str>,
    /// The attempt is one request: asked again it gets the very leases, in order too, and another request of this
    /// name is refused while they are out.
    pub once: bool,
    /// The request ran a job that read what it needed.
    pub warm: bool,
}

/// What a pop found. The records themselves were appended to the output buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Popped {
    /// What became of it.
    pub verdict: PopVerdict,
    /// The pop time in the receipt handles, ms since the Unix epoch.
    pub popped_at: i64,
    /// How long the messages are invisible, ms.
    pub invisible: i64,
    /// The revive queue in the receipt handles.
    pub revive_queue: i32,
    /// Messages that are left in the queues that were looked at.
    pub rest: u64,
    /// Where the messages come from, in the order of the records.
    pub queues: Vec<PoppedQueue>,
    /// Whether it was popped in order.
    pub order: bool,
    /// An attempt that is one request got this before.
    pub replayed: bool,
}

/// What became of a pop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopVerdict {
    /// There are messages.
    Found,
    /// There is nothing, and the time to wait is over.
    Timeout,
    /// There is nothing, and too many wait already.
    Full,
}

/// Messages of one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoppedQueue {
    /// Which topic.
    pub topic: PopTopic,
    /// The queue.
    pub queue: u32,
    /// The messages' offsets, ascending, and how often each was popped in this place before.
    pub offsets: Vec<(u64, u32)>,
}

/// A topic and a group that may pop it, and the mark of the group if it was made on the way.
type MayPop = (Arc<Topic>, Arc<GroupConfig>, Option<Mark>);

/// A pop that passed all checks.
struct Checked<'a> {
    pop: &'a Pop<'a>,
    group: Arc<GroupConfig>,
    topic: Arc<Topic>,
    line: Arc<Line>,
    filter: Filter,
    born_at: i64,
    /// A group that was made on the way.
    made: Option<Mark>,
}

impl Broker {
    /// Appends messages to `out` and leases them to the group.
    ///
    /// # Errors
    /// In the order of the checks of Apache's `PopMessageProcessor`; [`Error::IdempotencyDiffers`].
    pub fn pop(
        &self,
        caller: &Caller,
        pop: &Pop<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Answer<Popped>, Error> {
        self.pops.leave(caller.connection, caller.ticket);
        let checked = self.check_pop(caller, pop)?;
        self.fetched(caller, pop)?;
        let line = &checked.line;
        let mut state = line.lock();
        self.remember(&checked, &mut state);
        match self.pop_again(&checked, &mut state, out)? {
            Again::New => {}
            Again::Same(popped) => return Ok(Answer::After(Mark::REACHED, popped)),
            Again::Cold(need) => {
                drop(state);
                return self.fetch(caller, need);
            }
        }
        let mut popped = self.nothing_popped(pop, &state);
        if pop.once && pop.order {
            // What it got is not in memory: what is out in order is in the log.
            let out = |name| (state.flights.values()).any(|flight| flight.has_attempt(name));
            popped.replayed = pop.attempt.is_some_and(out);
        }
        let (mut waits, began) = (false, self.clock.mono());
        loop {
            let more = match self.look_for_pop(&checked, &mut state, &mut popped, out)? {
                Got::Done => false,
                Got::Later => true,
                Got::Cold(need) => {
                    self.pops.changed(line, &state);
                    drop(state);
                    if waits {
                        self.pops.leave(caller.connection, caller.ticket);
                    }
                    return self.fetch(caller, need);
                }
            };
            if !popped.queues.is_empty() {
                popped.verdict = PopVerdict::Found;
                break;
            }
            // What is left passes no filter of the caller, or its message group is out.
            let left = self.poll_left(caller, checked.born_at, pop.poll);
            let Some(left) = left else {
                break;
            };
            if waits || more {
                self.pops.changed(line, &state);
                drop(state);
                if more {
                    // It goes on by itself, when others had their turn.
                    self.run_again(&vec![(caller.connection, caller.ticket)]);
                }
                return Ok(Answer::Hold(left));
            }
            if !self.pops.wait(line, &mut state, waiter(caller, pop)) {
                popped.verdict = PopVerdict::Full;
                break;
            }
            // Something may have come before the waiter stood in the list: look once more.
            waits = true;
        }
        self.stats.got_in(self.clock.mono().saturating_sub(began));
        let mut woken = Woken::new();
        if let Some(attempt) = name(pop) {
            let now = self.clock.steady();
            state.attempts.put(attempt, pop.max, &popped, now);
            if popped.verdict == PopVerdict::Found {
                (self.pops).wake_same(line, &mut state, attempt, &mut woken);
            }
        }
        self.pops.changed(line, &state);
        if popped.verdict == PopVerdict::Found && popped.rest > 0 {
            self.pops.wake(line, &mut state, None, &mut woken);
        }
        drop(state);
        if waits {
            self.pops.leave(caller.connection, caller.ticket);
        }
        self.run_again(&woken);
        Ok(match (popped.verdict, checked.made) {
            (PopVerdict::Found, made) => Answer::After(made.unwrap_or(Mark::REACHED), popped),
            (_, Some(made)) => Answer::After(made, popped),
            (_, None) => Answer::Ready(popped),
        })
    }

    /// An answer to a pop that found nothing yet.
    fn nothing_popped(&self, pop: &Pop<'_>, state: &State) -> Popped {
        Popped {
            verdict: PopVerdict::Timeout,
            popped_at: self.clock.wall().max(state.opened_again + 1),
            invisible: pop.invisible,
            revive_queue: match pop.order {
                true => ORDERED,
                false => self.pops.revive_queue(),
            },
            rest: 0,
            queues: Vec::new(),
            order: pop.order,
            replayed: false,
        }
    }

    fn check_pop<'a>(&self, caller: &Caller, pop: &'a Pop<'a>) -> Result<Checked<'a>, Error> {
        let broker = self.options.address.ip();
        let now = self.clock.wall();
        let born_at = if pop.born_at == 0 { now } else { pop.born_at };
        // A request that was held may be as late as its time was long.
        let late = now.saturating_sub(born_at).saturating_sub(pop.poll.max(0));
        if late > limits::POP_LATE_MS && caller.may_wait {
            return Err(Error::PopTooOld { broker });
        }
        if !self.options.permission.readable() {
            return Err(Error::PopForbidden { broker });
        }
        if pop.max > limits::POP_MESSAGES {
            return Err(Error::PopTooMany { broker });
        }
        let (topic, group, made) = self.check_popped(caller, pop.group, pop.topic, pop.queue)?;
        if pop
            .attempt
            .is_some_and(|attempt| attempt.len() > limits::CLIENT_ID)
        {
            return Err(Error::Invalid("the attemptId is too long".to_owned()));
        }
        let filter = match pop.expression {
            Some(expression) if !expression.is_empty() => {
                self.filters.compile(pop.expression_kind, expression)?
            }
            _ => Filter::All,
        };
        let line = self.pops.line(&group.name, &topic.config.name);
        Ok(Checked {
            pop,
            group,
            topic,
            line,
            filter,
            born_at,
            made,
        })
    }

    /// What pops and notifications have in common: topic, queue and group are there and may be read.
    fn check_popped(
        &self,
        caller: &Caller,
        group: &str,
        topic: &str,
        queue: i32,
    ) -> Result<MayPop, Error> {
        let found = self.topics.find(topic);
        let topic = found.ok_or_else(|| topic_missing(topic, AskedFor::Pull))?;
        if !topic.config.perm.readable() {
            return Err(Error::TopicNotReadable(topic.config.name.clone()));
        }
        if u32::try_from(queue).is_ok_and(|queue| queue >= topic.config.read_queues) {
            return Err(Error::QueueNotReadable {
                queue,
                topic: topic.config.name.clone(),
                read_queues: topic.config.read_queues,
                consumer: caller.remote,
            });
        }
        let (group, made) = self.find_group(group, AskedFor::Pull)?;
        if !group.consume_enable {
            return Err(Error::GroupNotReadable(group.name.clone()));
        }
        self.check_allowed(&group.name, &topic.config.name)?;
        let alias = self
            .pops
            .find(group.name.as_str(), topic.config.name.as_str());
        if alias.is_some_and(|(_, which)| which != PopTopic::Normal) {
            let text = "what was popped and came back is popped with its topic";
            return Err(Error::Invalid(text.to_owned()));
        }
        Ok((topic, group, made))
    }

    /// The retry topics of a line that exist and are its own.
    fn retry_topics(&self, line: &Line) -> impl Iterator<Item = (PopTopic, Arc<Topic>)> {
        [PopTopic::RetryV1, PopTopic::RetryV2]
            .map(|which| {
                let topic = self.topics.find(line.topic(which).as_str())?;
                (self.pops.owns(line, which)).then_some((which, topic))
            })
            .into_iter()
            .flatten()
    }

    /// Forgets what is in flight of a queue for a group, of its retry topics too: acks of earlier
    /// handles change nothing, and the next pop starts at the committed offset. For whoever resets
    /// that offset; it is to be called first. A queue below 0 means all.
    pub fn cancel_in_flight(&self, group: &str, topic: &str, queue: i32) {
        let Some((line, which)) = self.pops.find(group, topic) else {
            return;
        };
        let mut state = line.lock();
        for (id, flight) in &mut state.flights {
            if id.0 == which && (queue < 0 || queue as u32 == id.1) {
                flight.cancel();
            }
        }
        let mut woken = Woken::new();
        self.pops.wake_all(&line, &mut state, &mut woken);
        self.pops.changed(&line, &state);
        drop(state);
        self.run_again(&woken);
    }

    /// Messages of a queue that are out on leases of a group.
    pub fn in_flight(&self, group: &str, topic: &str, queue: u32) -> u64 {
        let Some((line, which)) = self.pops.find(group, topic) else {
            return 0;
        };
        let state = line.lock();
        let flight = state.flights.get(&(which, queue));
        flight.map_or(0, Flight::in_flight)
    }

    /// A topic is gone, with what groups had in flight of it.
    pub(crate) fn forget_popped_topic(&self, topic: &TopicName) {
        self.forget_lines(|line| line.topic(PopTopic::Normal) == topic);
    }

    /// A group is gone, with what it had in flight.
    pub(crate) fn forget_popped_group(&self, group: &str) {
        self.forget_lines(|line| line.group.as_str() == group);
    }

    fn forget_lines(&self, gone: impl Fn(&Line) -> bool) {
        let mut woken = Woken::new();
        for line in self.pops.remove(gone) {
            let mut state = line.lock();
            for flight in state.flights.values_mut() {
                flight.forget();
            }
            self.pops.wake_all(&line, &mut state, &mut woken);
            self.pops.changed(&line, &state);
        }
        self.run_again(&woken);
    }
}

/// The name by which a pop that is made again gets what the first one got.
fn name<'p>(pop: &Pop<'p>) -> Option<&'p str> {
    pop.attempt.filter(|_| !pop.order || pop.once)
}

/// Who asks for a pop, while it is held.
fn waiter(caller: &Caller, pop: &Pop<'_>) -> Waiter {
    Waiter {
        connection: caller.connection,
        ticket: caller.ticket,
        queue: pop.queue,
        expression: pop.expression.unwrap_or_default().into(),
        notify: false,
        attempt: name(pop).map(Into::into),
    }
}
