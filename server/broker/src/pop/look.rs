//! One look of a pop: which messages of which queues it gets.

use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use model::message::{PROPERTIES_MAX, append, key};
use model::receipt::{PopTopic, Receipt};
use model::record::{self, Record, View};
use model::{LogOffset, QueueId, QueueOffset};
use store::{Entry, Properties, Queue, Reads, Wait};

use super::flight::{Flight, Open, Take, Terms};
use super::line::{FlightId, Member, State};
use super::need::{Found, Need, Part};
use super::{Checked, Pop, Popped, PoppedQueue};
use crate::filter::Filter;
use crate::settings::Setting;
use crate::topic::Topic;
use crate::{Broker, Error, limits};

/// What a pop is to get of one queue, before anything is changed.
#[derive(Default)]
pub(super) struct Plan {
    pub takes: Vec<Take>,
    pub entries: Vec<Entry>,
    /// The position nobody looked at then.
    pub next: u64,
    /// Positions that are left for others.
    pub left: Vec<(u64, Open)>,
    /// Open positions that nobody wants any more.
    pub closed: Vec<u64>,
    pub bytes: usize,
    /// What lies below this is not taken.
    pub floor: LogOffset,
    scanned: Vec<Entry>,
    pub records: Vec<u8>,
}

impl Plan {
    fn clear(&mut self, next: u64, floor: LogOffset) {
        self.floor = floor;
        self.takes.clear();
        self.entries.clear();
        self.left.clear();
        self.closed.clear();
        self.bytes = 0;
        self.next = next;
    }

    /// Takes a message unless the answer would become too large.
    pub fn take(&mut self, take: Take, entry: Entry, limit: usize) -> bool {
        let bytes = self.bytes + entry.size as usize;
        if bytes > limit && !self.takes.is_empty() {
            return false;
        }
        self.bytes = bytes;
        self.takes.push(take);
        self.entries.push(entry);
        true
    }
}

thread_local! {
    static PLAN: RefCell<Plan> = RefCell::default();
}

/// How a look ended.
pub(super) enum Got {
    /// All there is to get was got.
    Done,
    /// Nothing that was looked at is wanted, and there is more: ask again.
    Later,
    /// Nothing was got, and this is not in memory.
    Cold(Need),
}

/// What a pop still may take.
pub(super) struct Room {
    pub count: usize,
    pub bytes: usize,
}

impl Broker {
    /// Takes what there is, queue by queue.
    pub(super) fn look_for_pop(
        &self,
        checked: &Checked<'_>,
        state: &mut State,
        popped: &mut Popped,
        out: &mut Vec<u8>,
    ) -> Result<Got, Error> {
        popped.rest = 0;
        let mut nothing = Got::Done;
        let others = self.others(checked, state);
        let mut room = Room {
            count: checked.pop.max.max(1) as usize,
            bytes: self.settings.size(Setting::PullBytesMax),
        };
        // Of what came back now and then first, so that neither starves the other.
        let back_first = !checked.pop.order && self.random() % 100 < limits::POP_BACK_FIRST;
        for back in [back_first, !back_first] {
            if back && checked.pop.order {
                continue;
            }
            let topics: Vec<(PopTopic, Arc<Topic>)> = match back {
                true => self.retry_topics(&checked.line).collect(),
                false => vec![(PopTopic::Normal, Arc::clone(&checked.topic))],
            };
            for (which, topic) in topics {
                let all = which != PopTopic::Normal || checked.pop.queue < 0;
                let count = topic.config.read_queues;
                let start = self.random() as u32;
                let queue = |turn: u32| match all {
                    true => start.wrapping_add(turn) % count,
                    false => checked.pop.queue as u32,
                };
                // What is out on this attempt goes first: it is what the lost answer told.
                let again = match all {
                    true => queues_of_attempt(checked.pop, state, which, count),
                    false => Vec::new(),
                };
                let rest = (0..if all { count } else { 1 }).map(queue);
                let rest = rest.filter(|queue| !again.contains(queue));
                for queue in again.iter().copied().chain(rest) {
                    let id = (which, queue);
                    let got = self
                        .pop_queue(checked, &topic, id, state, &others, &mut room, popped, out)?;
                    match (got, &nothing) {
                        _ if !popped.queues.is_empty() => nothing = Got::Done,
                        // Once a job ran, what it read may be in another queue.
                        (Got::Cold(need), _) if !checked.pop.warm => return Ok(Got::Cold(need)),
                        (Got::Cold(need), Got::Done) => nothing = Got::Cold(need),
                        (Got::Later, _) => nothing = Got::Later,
                        _ => {}
                    }
                }
            }
        }
        Ok(nothing)
    }

    #[allow(clippy::too_many_arguments)] // the parts of one pop, each changed on its own
    fn pop_queue(
        &self,
        checked: &Checked<'_>,
        topic: &Topic,
        id: FlightId,
        state: &mut State,
        others: &[Filter],
        room: &mut Room,
        popped: &mut Popped,
        out: &mut Vec<u8>,
    ) -> Result<Got, Error> {
        let Some(queue) = topic.queue(&self.store, id.1) else {
            return Ok(Got::Done);
        };
        let Some(flight) = self.flight(checked, state, id, queue)? else {
            return Ok(Got::Cold(Need::of(queue, [0], Part::Entries)));
        };
        self.follow(checked, id, flight);
        let (start, end) = (queue.start().0, queue.end().0);
        flight.advance(start);
        let mut got = Ok(Got::Done);
        if room.count > 0 && room.bytes > 0 {
            got = PLAN.with_borrow_mut(|plan| {
                plan.clear(flight.next(), self.pops.floor());
                let need = match checked.pop.order {
                    true => self.choose_ordered(checked, queue, flight, others, room, plan)?,
                    false => self.choose_any(checked, queue, flight, others, room, plan)?,
                };
                if self.read_plan(checked, (id, flight), popped, plan, out)? == Reads::WouldBlock {
                    let at = plan.takes.iter().map(|take| take.at);
                    return Ok(Got::Cold(Need::of(queue, at, Part::Records)));
                }
                let advanced = plan.next > flight.next() || !plan.closed.is_empty();
                self.apply((checked, topic), id, flight, plan, popped, room);
                Ok(match need {
                    // What was found before is an answer; the next pop asks the disk.
                    _ if !plan.takes.is_empty() => Got::Done,
                    // A filter that takes nothing of much: the client is not to wait until all is read.
                    Some(_) if advanced && checked.pop.warm => Got::Later,
                    Some(need) => Got::Cold(need),
                    None if advanced && plan.next < end => Got::Later,
                    None => Got::Done,
                })
            });
        }
        popped.rest += end.saturating_sub(flight.next()) + flight.open_len() as u64;
        got
    }

    fn apply(
        &self,
        (checked, topic): (&Checked<'_>, &Topic),
        id: FlightId,
        flight: &mut Flight,
        plan: &Plan,
        popped: &mut Popped,
        room: &mut Room,
    ) {
        for &at in &plan.closed {
            flight.close(at);
        }
        for &(at, open) in &plan.left {
            flight.leave(at, open);
        }
        flight.advance(plan.next);
        room.count -= plan.takes.len().min(room.count);
        room.bytes = room.bytes.saturating_sub(plan.bytes);
        let count = plan.takes.len() as u64;
        if count > 0 {
            let invisible = u64::try_from(checked.pop.invisible).unwrap_or(0);
            let attempt = checked.pop.attempt.map(Box::from);
            let terms = Terms {
                popped_at: popped.popped_at,
                invisible: checked.pop.invisible,
                until: self
                    .clock
                    .steady()
                    .saturating_add(Duration::from_millis(invisible)),
                revive_queue: popped.revive_queue,
                ordered: checked.pop.order.then_some(attempt),
            };
            flight.lease(&plan.takes, &terms);
            checked.line.handed_out.fetch_add(count, Ordering::Relaxed);
            popped.queues.push(PoppedQueue {
                topic: id.0,
                queue: id.1,
                offsets: plan
                    .takes
                    .iter()
                    .map(|take| (take.at, take.count))
                    .collect(),
            });
        }
        self.commit_popped(&checked.line, id, flight);
        let (name, next) = (checked.line.topic(id.0), flight.next() as i64);
        if count > 0 {
            let got = self.count_got(topic, count, plan.bytes);
            self.offsets
                .pulled(&checked.group.name, name, id.1, next, got);
        }
    }

    /// The messages of an unordered pop: open ones first, then new ones. `Some`: it ended at what is not
    /// in memory.
    fn choose_any(
        &self,
        checked: &Checked<'_>,
        queue: &Arc<Queue>,
        flight: &Flight,
        others: &[Filter],
        room: &Room,
        plan: &mut Plan,
    ) -> Result<Option<Need>, Error> {
        let part = match checked.reads_properties(others) {
            true => Part::Properties,
            false => Part::Entries,
        };
        for (at, open) in flight.open() {
            let need = || {
                let behind = flight
                    .open()
                    .map(|(at, _)| at)
                    .skip_while(|&here| here < at);
                Need::of(queue, behind.take(limits::SCAN_ENTRIES), part)
            };
            let entry = match self.entry(queue, flight, at, Wait::No)? {
                Found::Here(entry) => entry,
                Found::Gone => {
                    plan.closed.push(at);
                    continue;
                }
                Found::Cold => return Ok(Some(need())),
            };
            let Some(properties) = self.properties_if(part, &mut vec![entry])? else {
                return Ok(Some(need()));
            };
            let passes = |filter: &Filter| filter.passes(entry.tags_code, properties.get(0));
            if passes(&checked.filter) {
                let take = Take {
                    at,
                    count: open.count,
                    group: 0,
                };
                if plan.takes.len() == room.count || !plan.take(take, entry, room.bytes) {
                    return Ok(None);
                }
            } else if !others.iter().any(passes) {
                plan.closed.push(at);
            }
        }
        self.choose_any_new(checked, queue, flight, others, room, plan, part)
    }

    #[allow(clippy::too_many_arguments)] // the second half of the one above
    fn choose_any_new(
        &self,
        checked: &Checked<'_>,
        queue: &Arc<Queue>,
        flight: &Flight,
        others: &[Filter],
        room: &Room,
        plan: &mut Plan,
        part: Part,
    ) -> Result<Option<Need>, Error> {
        let scan = match checked.filter {
            Filter::All => room.count - plan.takes.len(),
            Filter::Tags(_) => limits::SCAN_ENTRIES,
            Filter::Sql(_) => SCAN_RECORDS,
        };
        let mut rounds = 0;
        while plan.takes.len() < room.count
            && plan.next < queue.end().0
            && rounds < limits::POP_ROUNDS
        {
            rounds += 1;
            let mut scanned = std::mem::take(&mut plan.scanned);
            let read = self.new_entries(queue, &mut plan.next, scan, &mut scanned)?;
            let properties = match read {
                Reads::Done => self.properties_if(part, &mut scanned)?,
                Reads::WouldBlock => None,
            };
            let Some(properties) = properties else {
                plan.scanned = scanned;
                // As much as one look looks at, so that one job is enough for it.
                let runs = vec![(plan.next, scan.saturating_mul(limits::POP_ROUNDS))];
                let queue = Arc::clone(queue);
                return Ok(Some(Need { queue, runs, part }));
            };
            let full = scanned.is_empty()
                || !scanned.iter().enumerate().all(|(n, entry)| {
                    let passes =
                        |filter: &Filter| filter.passes(entry.tags_code, properties.get(n));
                    let more = choose_new(checked, flight, others, room, plan, *entry, passes);
                    plan.next += u64::from(more);
                    more
                });
            plan.scanned = scanned;
            if full {
                break;
            }
        }
        Ok(None)
    }

    /// The property texts, if they are needed; `None` if some are not in memory.
    fn properties_if(
        &self,
        part: Part,
        entries: &mut Vec<Entry>,
    ) -> Result<Option<Properties>, Error> {
        match part {
            Part::Entries => Ok(Some(Properties::default())),
            Part::Properties | Part::Records => self.properties(entries),
        }
    }

    /// Appends the records of a plan; those that cannot be read any more are taken off it. Nothing was
    /// done if that would block.
    pub(super) fn read_plan(
        &self,
        checked: &Checked<'_>,
        (id, flight): (FlightId, &Flight),
        popped: &Popped,
        plan: &mut Plan,
        out: &mut Vec<u8>,
    ) -> Result<Reads, Error> {
        if plan.entries.is_empty() {
            return Ok(Reads::Done);
        }
        let moved = |take: &Take| flight.moved(take.at).is_some();
        let as_is = id.0 == PopTopic::Normal && !plan.takes.iter().any(moved);
        let mut records = std::mem::take(&mut plan.records);
        records.clear();
        let target = if as_is { &mut *out } else { &mut records };
        let before = target.len();
        let read = match self.store.read_runs(&plan.entries, target, Wait::No) {
            Ok(Reads::WouldBlock) => Reads::WouldBlock,
            Ok(Reads::Done) if target.len() - before == plan.bytes => Reads::Done,
            Ok(Reads::Done) | Err(_) => {
                target.truncate(before);
                self.read_one_by_one(plan, target)
            }
        };
        if !as_is && read == Reads::Done {
            self.rewrite(checked, id, popped, plan, &records, out);
        }
        plan.records = records;
        Ok(read)
    }

    /// Keeps of a plan what can be read.
    fn read_one_by_one(&self, plan: &mut Plan, out: &mut Vec<u8>) -> Reads {
        let from = out.len();
        let mut lost = Vec::new();
        for (take, &entry) in plan.takes.iter().zip(&plan.entries) {
            let before = out.len();
            match self.store.read_runs(&[entry], out, Wait::No) {
                Ok(Reads::WouldBlock) => {
                    out.truncate(from);
                    return Reads::WouldBlock;
                }
                Ok(Reads::Done) if out.len() > before => {}
                _ => lost.push(take.at),
            }
        }
        for &at in &lost {
            tracing::warn!(at, "a popped message cannot be read and is passed over");
        }
        let kept: Vec<bool> = (plan.takes.iter())
            .map(|take| !lost.contains(&take.at))
            .collect();
        let mut keep = kept.iter();
        plan.takes.retain(|_| keep.next() == Some(&true));
        let mut keep = kept.iter();
        plan.entries.retain(|_| keep.next() == Some(&true));
        plan.closed.append(&mut lost);
        Reads::Done
    }

    /// What came back is shown with its original topic, and with its receipt handle: a client cannot
    /// make that one up. What was appended again is shown in its original place.
    fn rewrite(
        &self,
        checked: &Checked<'_>,
        id: FlightId,
        popped: &Popped,
        plan: &Plan,
        records: &[u8],
        out: &mut Vec<u8>,
    ) {
        let start = plan.takes.first().map_or(0, |take| take.at);
        let mut rest = records;
        for take in &plan.takes {
            let Ok(view) = View::parse(rest) else { break };
            rest = rest.get(view.len()..).unwrap_or_default();
            let place = (QueueId(id.1), QueueOffset(take.at));
            let name = checked.line.topics[0].as_str();
            if id.0 == PopTopic::Normal {
                record::encode(&shown(&view, name, place, view.properties()), out);
                continue;
            }
            let receipt = Receipt {
                start,
                popped_at: popped.popped_at,
                invisible: popped.invisible,
                revive_queue: popped.revive_queue,
                topic: id.0,
                broker: &self.options.name,
                queue: id.1 as i32,
                offset: take.at,
            };
            let mut properties = view.properties().to_owned();
            append(&mut properties, key::POP_CK, &receipt.to_string());
            if properties.len() > PROPERTIES_MAX {
                // Its client makes the handle up by itself, if only for the wrong topic: it comes again.
                properties = view.properties().to_owned();
            }
            record::encode(&shown(&view, name, place, &properties), out);
        }
    }

    /// The filters of the group's other members: of those that are registered, and of those that
    /// popped lately. Empty if the caller's lets everything pass.
    fn others(&self, checked: &Checked<'_>, state: &State) -> Vec<Filter> {
        if matches!(checked.filter, Filter::All) {
            return Vec::new();
        }
        let mut others: Vec<Filter> = {
            let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
            let group = checked.group.name.as_str();
            let all = clients.subscriptions(group, checked.topic.config.name.as_str());
            (all.iter())
                .filter_map(|wish| wish.filter.clone().ok())
                .collect()
        };
        let own = checked.pop.expression.unwrap_or_default();
        let popped = state
            .members
            .iter()
            .filter(|member| *member.expression != *own);
        others.extend(popped.map(|member| member.filter.clone()));
        others
    }

    /// Remembers by what a member filters.
    pub(super) fn remember(&self, checked: &Checked<'_>, state: &mut State) {
        let now = self.clock.mono();
        let (expression, kind) = (
            checked.pop.expression.unwrap_or("*"),
            checked.pop.expression_kind,
        );
        let life = self.options.client_life;
        state.members.retain(|member| now < member.seen + life);
        let known = state
            .members
            .iter_mut()
            .find(|member| *member.expression == *expression && member.kind.as_deref() == kind);
        match known {
            Some(member) => member.seen = now,
            None => {
                if state.members.len() >= limits::POP_FILTERS {
                    state.members.remove(0);
                }
                state.members.push(Member {
                    expression: expression.into(),
                    kind: kind.map(Box::from),
                    filter: checked.filter.clone(),
                    seen: now,
                });
            }
        }
    }
}

/// A stored record as it is shown: under another topic, in this place, with other properties.
fn shown<'a>(
    view: &View<'a>,
    topic: &'a str,
    (queue, queue_offset): (QueueId, QueueOffset),
    properties: &'a str,
) -> Record<'a> {
    Record {
        topic,
        queue,
        queue_offset,
        log_offset: view.log_offset(),
        flag: view.flag(),
        sys_flag: view.sys_flag(),
        born_at: view.born_at(),
        born_host: view.born_host(),
        stored_at: view.stored_at(),
        store_host: view.store_host(),
        reconsume_times: view.reconsume_times(),
        prepared_offset: view.prepared_offset(),
        body: view.body(),
        properties,
    }
}

/// Records whose properties a pop with an expression looks at in one round.
const SCAN_RECORDS: usize = 64;

/// What becomes of the next new message. `false`: the pop ends before it.
fn choose_new(
    checked: &Checked<'_>,
    flight: &Flight,
    others: &[Filter],
    room: &Room,
    plan: &mut Plan,
    entry: Entry,
    passes: impl Fn(&Filter) -> bool,
) -> bool {
    let at = plan.next;
    // A size of 0 is a position whose record was lost.
    if entry.size == 0 || entry.log_offset < plan.floor {
        return true;
    }
    if passes(&checked.filter) {
        let take = Take {
            at,
            count: 0,
            group: 0,
        };
        return plan.takes.len() < room.count && plan.take(take, entry, room.bytes);
    }
    if others.iter().any(passes) {
        // Too much is left for others already: they must come first.
        if flight.open_len() + plan.left.len() >= limits::LEFT_FOR_OTHERS {
            return false;
        }
        plan.left.push((at, Open::default()));
    }
    true
}

/// The queues in which messages are out on the attempt of an ordered pop.
fn queues_of_attempt(pop: &Pop<'_>, state: &State, which: PopTopic, count: u32) -> Vec<u32> {
    let Some(attempt) = pop.attempt.filter(|_| pop.order) else {
        return Vec::new();
    };
    let known = state.flights.iter();
    let is_of = |(topic, queue): FlightId| topic == which && queue < count;
    let out = known.filter(|(id, flight)| is_of(**id) && flight.has_attempt(attempt));
    let mut queues: Vec<u32> = out.map(|(id, _)| id.1).collect();
    queues.sort_unstable();
    queues
}
