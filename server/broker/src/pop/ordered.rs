//! Pops in order: while a message of a message group is out, later ones of the group stay where they
//! are. A group is what the producer named with `__SHARDINGKEY`; messages without one are a group of
//! their own in each queue. So one slow group holds up nobody else, where Apache holds the whole queue.

use std::collections::HashSet;
use std::sync::Arc;

use model::QueueOffset;
use model::message::key;
use model::record::View;
use store::{Entry, Queue, Reads, Wait};

use super::Checked;
use super::flight::{Flight, Open, Take};
use super::look::{Plan, Room};
use crate::filter::Filter;
use crate::offset::read_failed;
use crate::{Broker, Error, limits};

/// The message group of a record as a number; 0 if it has none. FNV-1a: it stands in rows, so it must
/// stay the same for ever. Two groups that share a number wait for each other, no more.
pub(super) fn message_group(properties: &str) -> u64 {
    let Some(group) = model::message::property(properties, key::SHARDING_KEY) else {
        return 0;
    };
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    (group.as_bytes().iter())
        .fold(0xCBF2_9CE4_8422_2325, step)
        .max(1)
}

impl Broker {
    /// The messages of an ordered pop. Positions that must stay are left open.
    pub(super) fn choose_ordered(
        &self,
        checked: &Checked<'_>,
        queue: &Arc<Queue>,
        flight: &mut Flight,
        others: &[Filter],
        room: &Room,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        if let Some(attempt) = checked.pop.attempt {
            flight.take_back(attempt);
        }
        // Groups of which an earlier message stays: nothing behind it may overtake it.
        let mut stays = HashSet::new();
        let open: Vec<(u64, Open)> = flight.open().collect();
        for (at, open) in open {
            if plan.takes.len() == room.count {
                return Ok(());
            }
            let Some(entry) = self.entry(queue, at)? else {
                plan.closed.push(at);
                continue;
            };
            let group = match open.group {
                Some(group) => group,
                None => self.read_group(entry)?,
            };
            let properties = self.properties(checked, others, &[entry])?;
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
                count: open.count,
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
    ) -> Result<(), Error> {
        let mut scanned: Vec<Entry> = Vec::new();
        let from = QueueOffset(plan.next);
        let scan = limits::ORDERED_SCAN.max(room.count);
        let read = (self.store).entries(queue, from, scan, Wait::Yes, &mut scanned);
        read.map_err(read_failed)?;
        let properties = self.properties(checked, others, &scanned)?;
        for (n, entry) in scanned.into_iter().enumerate() {
            if plan.takes.len() == room.count {
                break;
            }
            let at = plan.next;
            let passes = |filter: &Filter| filter.passes(entry.tags_code, properties.get(n));
            let wanted = entry.size > 0 && passes(&checked.filter);
            let left = entry.size > 0 && !wanted && others.iter().any(passes);
            if wanted || left {
                let group = self.read_group(entry)?;
                let take = Take {
                    at,
                    count: 0,
                    group,
                };
                let free = wanted && !flight.is_busy(group) && !stays.contains(&group);
                if !free || !plan.take(take, entry, room.bytes) {
                    if flight.open_len() + plan.left.len() >= limits::LEFT_FOR_OTHERS {
                        break;
                    }
                    stays.insert(group);
                    let group = Some(group);
                    plan.left.push((at, Open { count: 0, group }));
                }
            }
            plan.next += 1;
        }
        Ok(())
    }

    /// The message group of a record. It may wait for the disk: ordered pops are few, and read what was
    /// written a moment ago.
    fn read_group(&self, entry: Entry) -> Result<u64, Error> {
        let mut record = Vec::with_capacity(entry.size as usize);
        let read = self.store.read_runs(&[entry], &mut record, Wait::Yes);
        match read {
            Ok(Reads::Done) => {}
            _ => return Ok(0),
        }
        let view = View::parse(&record);
        Ok(view.map_or(0, |view| message_group(view.properties())))
    }
}
