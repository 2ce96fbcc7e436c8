//! One look of a pop: which messages of which queues it gets.

use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use model::QueueOffset;
use model::message::{PROPERTIES_MAX, append, key};
use model::receipt::{PopTopic, Receipt};
use model::record::{self, Record, View};
use store::{Entry, Properties, Queue, ReadError, Reads, Wait};

use super::flight::{Flight, Open, Take, Terms};
use super::line::{FlightId, Member, State};
use super::{Checked, Popped, PoppedQueue};
use crate::filter::Filter;
use crate::offset::read_failed;
use crate::topic::Topic;
use crate::{Answer, Broker, Error, limits};

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
    scanned: Vec<Entry>,
    pub records: Vec<u8>,
}

impl Plan {
    fn clear(&mut self, next: u64) {
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

/// What one queue brought.
pub(super) enum Got {
    /// All there is to get.
    Done,
    /// These records are not in memory.
    Cold(Vec<Entry>),
}

/// What a pop still may take.
pub(super) struct Room {
    pub count: usize,
    pub bytes: usize,
}

impl Broker {
    /// Takes what there is, queue by queue. `Some`: something must be read from the disk first.
    pub(super) fn look_for_pop(
        &self,
        checked: &Checked<'_>,
        state: &mut State,
        popped: &mut Popped,
        out: &mut Vec<u8>,
    ) -> Result<Option<Answer<Popped>>, Error> {
        popped.rest = 0;
        let others = self.others(checked, state);
        let mut room = Room {
            count: checked.pop.max.max(1) as usize,
            bytes: self.options.pull_bytes_max,
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
                for turn in 0..if all { count } else { 1 } {
                    let id = (which, queue(turn));
                    let got = self
                        .pop_queue(checked, &topic, id, state, &others, &mut room, popped, out)?;
                    if let Got::Cold(entries) = got
                        && popped.queues.is_empty()
                    {
                        return Ok(Some(self.read_popped_cold(entries)));
                    }
                }
            }
        }
        Ok(None)
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
        let flight = self.flight(checked, state, id, queue)?;
        self.follow(checked, id, flight);
        let (start, end) = (queue.start().0, queue.end().0);
        flight.advance(start);
        let mut got = Ok(Got::Done);
        if room.count > 0 && room.bytes > 0 {
            got = PLAN.with_borrow_mut(|plan| {
                plan.clear(flight.next());
                match checked.pop.order {
                    true => self.choose_ordered(checked, queue, flight, others, room, plan)?,
                    false => self.choose_any(checked, queue, flight, others, room, plan)?,
                }
                if let Some(cold) = self.read_plan(checked, id, popped, plan, out)? {
                    return Ok(Got::Cold(cold));
                }
                self.apply((checked, topic), id, flight, plan, popped, room);
                Ok(Got::Done)
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

    /// The messages of an unordered pop: open ones first, then new ones.
    fn choose_any(
        &self,
        checked: &Checked<'_>,
        queue: &Arc<Queue>,
        flight: &Flight,
        others: &[Filter],
        room: &Room,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        for (at, open) in flight.open() {
            let entry = self.entry(queue, at)?;
            let Some(entry) = entry else {
                plan.closed.push(at);
                continue;
            };
            let properties = self.properties(checked, others, &[entry])?;
            let passes = |filter: &Filter| filter.passes(entry.tags_code, properties.get(0));
            if passes(&checked.filter) {
                let take = Take {
                    at,
                    count: open.count,
                    group: 0,
                };
                if plan.takes.len() == room.count || !plan.take(take, entry, room.bytes) {
                    return Ok(());
                }
            } else if !others.iter().any(passes) {
                plan.closed.push(at);
            }
        }
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
            scanned.clear();
            let from = QueueOffset(plan.next);
            let read = (self.store).entries(queue, from, scan, Wait::Yes, &mut scanned);
            read.map_err(read_failed)?;
            let properties = self.properties(checked, others, &scanned)?;
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
        Ok(())
    }

    /// The property texts of these entries' records, if one of the filters needs them. May block.
    pub(super) fn properties(
        &self,
        checked: &Checked<'_>,
        others: &[Filter],
        entries: &[Entry],
    ) -> Result<Properties, Error> {
        let mut properties = Properties::default();
        let mut filters = others.iter().chain([&checked.filter]);
        if filters.any(Filter::reads_properties) {
            let read = (self.store).properties(entries, Wait::Yes, &mut properties);
            match read {
                // What the log has lost passes no filter, and the entry is gone with the next look.
                Ok(_) | Err(ReadError::Missing(_)) => {}
                Err(error) => return Err(read_failed(error)),
            }
        }
        Ok(properties)
    }

    /// The entry of one position; `None` if it is not there any more.
    pub(super) fn entry(&self, queue: &Arc<Queue>, at: u64) -> Result<Option<Entry>, Error> {
        if at < queue.start().0 {
            return Ok(None);
        }
        let mut entry = Vec::with_capacity(1);
        let read = (self.store).entries(queue, QueueOffset(at), 1, Wait::Yes, &mut entry);
        match read {
            Ok(_) => Ok(entry.first().copied().filter(|entry| entry.size > 0)),
            Err(ReadError::Missing(_) | ReadError::Damaged(_)) => Ok(None),
            Err(error) => Err(read_failed(error)),
        }
    }

    /// Appends the records of a plan; those that cannot be read any more are taken off it. `Some`:
    /// nothing was done, because these are not in memory.
    fn read_plan(
        &self,
        checked: &Checked<'_>,
        id: FlightId,
        popped: &Popped,
        plan: &mut Plan,
        out: &mut Vec<u8>,
    ) -> Result<Option<Vec<Entry>>, Error> {
        if plan.entries.is_empty() {
            return Ok(None);
        }
        let wait = match checked.pop.warm {
            true => Wait::Yes,
            false => Wait::No,
        };
        let as_is = id.0 == PopTopic::Normal;
        let mut records = std::mem::take(&mut plan.records);
        records.clear();
        let target = if as_is { &mut *out } else { &mut records };
        let before = target.len();
        let read = self.store.read_runs(&plan.entries, target, wait);
        let blocked = matches!(read, Ok(Reads::WouldBlock));
        if !blocked && (read.is_err() || target.len() - before != plan.bytes) {
            target.truncate(before);
            self.read_one_by_one(plan, target);
        }
        if !as_is && !blocked {
            self.rewrite(checked, id, popped, plan, &records, out);
        }
        plan.records = records;
        Ok(blocked.then(|| plan.entries.clone()))
    }

    /// Keeps of a plan what can be read.
    fn read_one_by_one(&self, plan: &mut Plan, out: &mut Vec<u8>) {
        let takes = std::mem::take(&mut plan.takes);
        let entries = std::mem::take(&mut plan.entries);
        for (take, entry) in takes.into_iter().zip(entries) {
            let before = out.len();
            let read = self.store.read_runs(&[entry], out, Wait::Yes);
            if read.is_ok() && out.len() > before {
                plan.takes.push(take);
                plan.entries.push(entry);
            } else {
                tracing::warn!(
                    at = entry.log_offset.0,
                    "a popped message cannot be read and is passed over"
                );
                plan.closed.push(take.at);
            }
        }
    }

    /// What came back is shown with its original topic, and with its receipt handle: a client cannot
    /// make that one up.
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
        while let Ok(view) = View::parse(rest) {
            rest = rest.get(view.len()..).unwrap_or_default();
            let receipt = Receipt {
                start,
                popped_at: popped.popped_at,
                invisible: popped.invisible,
                revive_queue: popped.revive_queue,
                topic: id.0,
                broker: &self.options.name,
                queue: id.1 as i32,
                offset: view.queue_offset().0,
            };
            let mut properties = view.properties().to_owned();
            append(&mut properties, key::POP_CK, &receipt.to_string());
            if properties.len() > PROPERTIES_MAX {
                // Its client makes the handle up by itself, if only for the wrong topic: it comes again.
                properties = view.properties().to_owned();
            }
            record::encode(
                &shown(&view, checked.line.topics[0].as_str(), &properties),
                out,
            );
        }
    }

    fn read_popped_cold(&self, entries: Vec<Entry>) -> Answer<Popped> {
        let store = Arc::clone(&self.store);
        // What it reads is in memory then; the request itself reads it again and takes it.
        Answer::Cold(Box::new(move || {
            let mut records = Vec::new();
            let _ = store.read_runs(&entries, &mut records, Wait::Yes);
        }))
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

/// A stored record as it is shown: under another topic, with other properties.
fn shown<'a>(view: &View<'a>, topic: &'a str, properties: &'a str) -> Record<'a> {
    Record {
        topic,
        queue: view.queue(),
        queue_offset: view.queue_offset(),
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
    if entry.size == 0 {
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
