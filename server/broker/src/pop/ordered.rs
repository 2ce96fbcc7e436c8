//! Pops in order: while a message of a message group is out, later ones of the group stay where they
//! are. A group is what the producer named with `__SHARDINGKEY`; messages without one are a group of
//! their own in each queue. So one slow group holds up nobody else, where Apache holds the whole queue.

use std::collections::HashSet;
use std::sync::Arc;

use model::message::key;
use store::{Entry, Properties, Queue, Reads, Wait};

use super::Checked;
use super::flight::{Flight, Open, Take};
use super::look::{Plan, Room};
use super::need::{Found, Need, Part};
use crate::filter::Filter;
use crate::{Broker, Error, limits};

/// The message group of a record as a number; 0 if it has none. FNV-1a: it stands in rows, so it must
/// stay the same for ever. Two groups that share a number wait for each other, no more.
fn message_group(properties: &str) -> u64 {
    let Some(group) = model::message::property(properties, key::SHARDING_KEY) else {
        return 0;
    };
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    (group.as_bytes().iter())
        .fold(0xCBF2_9CE4_8422_2325, step)
        .max(1)
}

impl Broker {
    /// The messages of an ordered pop. Positions that must stay are left open. `Some`: it ended at what
    /// is not in memory.
    pub(super) fn choose_ordered(
        &self,
        checked: &Checked<'_>,
        queue: &Arc<Queue>,
        flight: &mut Flight,
        others: &[Filter],
        room: &Room,
        plan: &mut Plan,
    ) -> Result<Option<Need>, Error> {
        if let Some(attempt) = checked.pop.attempt {
            flight.take_back(attempt);
        }
        // Groups of which an earlier message stays: nothing behind it may overtake it.
        let mut stays = HashSet::new();
        let open: Vec<(u64, Open)> = flight.open().collect();
        for (n, &(at, open_at)) in open.iter().enumerate() {
            if plan.takes.len() == room.count {
                return Ok(None);
            }
            let need = || {
                let behind = open.iter().skip(n).take(limits::ORDERED_SCAN);
                Need::of(queue, behind.map(|(at, _)| *at), Part::Properties)
            };
            let entry = match self.entry(queue, flight, at, Wait::No)? {
                Found::Here(entry) => entry,
                Found::Gone => {
                    plan.closed.push(at);
                    continue;
                }
                Found::Cold => return Ok(Some(need())),
            };
            let known = !checked.reads_properties(others);
            let properties = match open_at.group {
                Some(_) if known => Some(Properties::default()),
                _ => self.properties(&mut vec![entry])?,
            };
            let Some(properties) = properties else {
                return Ok(Some(need()));
            };
            let group = open_at.group;
            let group = group.unwrap_or_else(|| group_in(properties.get(0)));
            let passes = |filter: &Filter| filter.passes(entry.tags_code, properties.get(0));
            if !passes(&checked.filter) {
                match others.iter().any(passes) {
                    true => drop(stays.insert(group)),
                    false => plan.closed.push(at),
                }
                continue;
            }
            let take = Take {
                at,
                count: open_at.count,
                group,
            };
            let free = !flight.is_busy(group) && !stays.contains(&group);
            if !free || !plan.take(take, entry, room.bytes) {
                stays.insert(group);
            }
        }
        self.choose_ordered_new(checked, queue, flight, others, room, plan, &mut stays)
    }

    #[allow(clippy::too_many_arguments)] // the second half of the one above
    fn choose_ordered_new(
        &self,
        checked: &Checked<'_>,
        queue: &Arc<Queue>,
        flight: &Flight,
        others: &[Filter],
        room: &Room,
        plan: &mut Plan,
        stays: &mut HashSet<u64>,
    ) -> Result<Option<Need>, Error> {
        let mut scanned: Vec<Entry> = Vec::new();
        let end = plan.next + limits::ORDERED_SCAN.max(room.count) as u64;
        // By and by, so that no more properties are read than the room asks for.
        while plan.next < end && plan.takes.len() < room.count {
            let count = room.count.max(AT_ONCE);
            let read = self.new_entries(queue, &mut plan.next, count, &mut scanned)?;
            let properties = match read {
                Reads::Done if scanned.is_empty() => return Ok(None),
                Reads::Done => self.properties(&mut scanned)?,
                Reads::WouldBlock => None,
            };
            let Some(properties) = properties else {
                return Ok(Some(Need {
                    queue: Arc::clone(queue),
                    runs: vec![(plan.next, (end - plan.next) as usize)],
                    part: Part::Properties,
                }));
            };
            for (n, entry) in scanned.iter().enumerate() {
                if plan.takes.len() == room.count {
                    break;
                }
                let text = properties.get(n);
                if !choose_new(checked, flight, others, room, plan, stays, *entry, text) {
                    return Ok(None);
                }
                plan.next += 1;
            }
        }
        Ok(None)
    }
}

/// New messages whose properties are read at once.
const AT_ONCE: usize = 32;

/// What becomes of the next new message. `false`: the pop ends before it.
#[allow(clippy::too_many_arguments)] // the parts of one pop, each changed on its own
fn choose_new(
    checked: &Checked<'_>,
    flight: &Flight,
    others: &[Filter],
    room: &Room,
    plan: &mut Plan,
    stays: &mut HashSet<u64>,
    entry: Entry,
    properties: &[u8],
) -> bool {
    let at = plan.next;
    let passes = |filter: &Filter| filter.passes(entry.tags_code, properties);
    // A size of 0 is a position whose record was lost.
    let there = entry.size > 0 && entry.log_offset >= plan.floor;
    let wanted = there && passes(&checked.filter);
    let left = there && !wanted && others.iter().any(passes);
    if !wanted && !left {
        return true;
    }
    let group = group_in(properties);
    let take = Take {
        at,
        count: 0,
        group,
    };
    let free = wanted && !flight.is_busy(group) && !stays.contains(&group);
    if !free || !plan.take(take, entry, room.bytes) {
        if flight.open_len() + plan.left.len() >= limits::LEFT_FOR_OTHERS {
            return false;
        }
        stays.insert(group);
        let group = Some(group);
        plan.left.push((at, Open { count: 0, group }));
    }
    true
}

/// The message group that stored properties name; 0 if they name none.
fn group_in(properties: &[u8]) -> u64 {
    std::str::from_utf8(properties).map_or(0, message_group)
}
