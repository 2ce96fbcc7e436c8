//! The bytes of what is in flight, as rows of [`store::Table::Leases`].
//!
//! ```text
//! key    group 0 topic 0 | which topic 1 | queue 4 | kind 1 | first 8 | popped at 8
//!        kind 0 (next) has neither first nor time, kinds 2 (open positions) and 3 (moved) have no time
//! value  next:  format 1 | next 8
//!        lease: format 1 | invisible 8 | until 8 (ms since the Unix epoch) | bits 8 | count 4
//!               revive queue 4 | 1 ordered, 2 not counted, 4 renewed 1, and if ordered: attempt length + 1
//!               (0: none) 2, attempt, groups 1, each bit 1 and group 8; if renewed:
//!               pop time of the lease before 8, length 2, name
//!        open:  format 1, for each position: bit 1 | count 4 | group known 1 | group 8
//!        moved: format 1 | log offset 8 | size 4 | tag code 8
//! ```
//! All integers are big-endian. Names have no byte 0.

use std::time::Duration;

use model::receipt::PopTopic;
use model::{GroupName, LogOffset, TopicName};
use store::Entry;

use super::flight::{Changed, Fifo, Flight, Lease, LeaseKey, Open, Renewed, SPAN};
use super::line::{FlightId, Line};

const FORMAT: u8 = 1;
const ORDERED: u8 = 1;
const UNCOUNTED: u8 = 2;
const RENEWED: u8 = 4;

/// Both clocks at one moment: rows know the time of day, leases the time that never jumps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub mono: Duration,
    pub wall: i64,
}

impl Moment {
    fn to_wall(self, until: Duration) -> i64 {
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        (self.wall).saturating_add(ms(until).saturating_sub(ms(self.mono)))
    }

    fn to_mono(self, until: i64) -> Duration {
        let left = u64::try_from(until.saturating_sub(self.wall)).unwrap_or(0);
        self.mono.saturating_add(Duration::from_millis(left))
    }
}

/// Appends the key of a row.
pub(crate) fn push_key(out: &mut Vec<u8>, line: &Line, flight: FlightId, row: Changed) {
    out.extend_from_slice(line.group.as_str().as_bytes());
    out.push(0);
    out.extend_from_slice(line.topic(PopTopic::Normal).as_str().as_bytes());
    out.push(0);
    out.push(flight.0 as u8);
    out.extend_from_slice(&flight.1.to_be_bytes());
    match row {
        Changed::Next => out.push(0),
        Changed::Lease((first, popped_at)) => {
            out.push(1);
            out.extend_from_slice(&first.to_be_bytes());
            out.extend_from_slice(&popped_at.to_be_bytes());
        }
        Changed::Open(first) => {
            out.push(2);
            out.extend_from_slice(&first.to_be_bytes());
        }
        Changed::Moved(at) => {
            out.push(3);
            out.extend_from_slice(&at.to_be_bytes());
        }
    }
}

/// Appends the value of a row as it is now; `false` if there is none any more.
pub(crate) fn push_value(
    out: &mut Vec<u8>,
    flight: &mut Flight,
    row: Changed,
    now: Moment,
) -> bool {
    match row {
        Changed::Next => {
            if flight.is_forgotten() {
                return false;
            }
            out.push(FORMAT);
            out.extend_from_slice(&flight.next().to_be_bytes());
            true
        }
        Changed::Lease(key) => {
            let Some(lease) = flight.stored(key) else {
                return false;
            };
            push_lease(out, lease, now);
            true
        }
        Changed::Open(first) => {
            let start = out.len();
            out.push(FORMAT);
            for (at, open) in flight.open_from(first) {
                out.push((at - first) as u8);
                out.extend_from_slice(&open.count.to_be_bytes());
                out.push(u8::from(open.group.is_some()));
                out.extend_from_slice(&open.group.unwrap_or(0).to_be_bytes());
            }
            out.len() > start + 1
        }
        Changed::Moved(at) => {
            let Some(entry) = flight.moved(at) else {
                return false;
            };
            out.push(FORMAT);
            out.extend_from_slice(&entry.log_offset.0.to_be_bytes());
            out.extend_from_slice(&entry.size.to_be_bytes());
            out.extend_from_slice(&entry.tags_code.to_be_bytes());
            true
        }
    }
}

fn push_lease(out: &mut Vec<u8>, lease: &Lease, now: Moment) {
    out.push(FORMAT);
    out.extend_from_slice(&lease.invisible.to_be_bytes());
    out.extend_from_slice(&now.to_wall(lease.until).to_be_bytes());
    out.extend_from_slice(&lease.bits.to_be_bytes());
    out.extend_from_slice(&lease.count.to_be_bytes());
    out.extend_from_slice(&lease.revive_queue.to_be_bytes());
    let ordered = if lease.fifo.is_some() { ORDERED } else { 0 };
    let uncounted = if lease.uncounted { UNCOUNTED } else { 0 };
    let renewed = if lease.renewed.is_some() { RENEWED } else { 0 };
    out.push(ordered | uncounted | renewed);
    if let Some(fifo) = &lease.fifo {
        let len = fifo
            .attempt
            .as_ref()
            .map_or(0, |text| text.len() as u16 + 1);
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(fifo.attempt.as_deref().unwrap_or_default().as_bytes());
        out.push(fifo.groups.len() as u8);
        for (bit, group) in &fifo.groups {
            out.push(*bit);
            out.extend_from_slice(&group.to_be_bytes());
        }
    }
    if let Some(renewed) = &lease.renewed {
        out.extend_from_slice(&renewed.from.to_be_bytes());
        out.extend_from_slice(&(renewed.once.len() as u16).to_be_bytes());
        out.extend_from_slice(renewed.once.as_bytes());
    }
}

/// What a row says.
pub(crate) enum Row {
    Next(u64),
    Lease(LeaseKey, Lease),
    Open(Vec<(u64, Open)>),
    Moved(u64, Entry),
}

/// Reads a row.
pub(crate) fn read(
    key: &[u8],
    value: &[u8],
    now: Moment,
) -> Option<(GroupName, TopicName, FlightId, Row)> {
    let mut names = key.splitn(3, |&byte| byte == 0);
    let group = std::str::from_utf8(names.next()?).ok()?;
    let topic = std::str::from_utf8(names.next()?).ok()?;
    let mut key = Reader(names.next()?);
    let flight = (PopTopic::of(key.u8()?)?, key.u32()?);
    let kind = key.u8()?;
    let row = match kind {
        0 => None,
        1 => Some((key.u64()?, Some(key.u64()? as i64))),
        2 | 3 => Some((key.u64()?, None)),
        _ => return None,
    };
    if row.is_some_and(|(first, _)| first > i64::MAX as u64) {
        return None;
    }
    let mut value = Reader(value);
    (value.u8()? == FORMAT).then_some(())?;
    let row = match row {
        None => Row::Next(value.u64()?),
        Some((first, Some(popped_at))) => Row::Lease((first, popped_at), read_lease(value, now)?),
        Some((at, None)) if kind == 3 => {
            let log_offset = LogOffset(value.u64()?);
            let (size, tags_code) = (value.u32()?, value.u64()? as i64);
            let entry = Entry {
                log_offset,
                size,
                tags_code,
            };
            Row::Moved(at, entry)
        }
        Some((first, None)) => {
            let mut open = Vec::new();
            while !value.0.is_empty() {
                let bit = u64::from(value.u8()?);
                let (count, known, group) = (value.u32()?, value.u8()?, value.u64()?);
                let group = (known != 0).then_some(group);
                let at = first.checked_add(bit).filter(|_| bit < SPAN)?;
                open.push((at, Open { count, group }));
            }
            Row::Open(open)
        }
    };
    let (group, topic) = (GroupName::parse(group).ok()?, TopicName::parse(topic).ok()?);
    Some((group, topic, flight, row))
}

fn read_lease(mut value: Reader<'_>, now: Moment) -> Option<Lease> {
    let invisible = value.u64()? as i64;
    let until = now.to_mono(value.u64()? as i64);
    let (bits, count, revive_queue) = (value.u64()?, value.u32()?, value.u32()? as i32);
    let kind = value.u8()?;
    let fifo = match kind & ORDERED {
        0 => None,
        _ => {
            let attempt = match value.u16()?.checked_sub(1) {
                None => None,
                Some(len) => Some(std::str::from_utf8(value.take(len.into())?).ok()?.into()),
            };
            let count = value.u8()?;
            let group = |_| Some((value.u8()?, value.u64()?));
            Some(Fifo {
                attempt,
                groups: (0..count).map(group).collect::<Option<_>>()?,
            })
        }
    };
    let renewed = match kind & RENEWED {
        0 => None,
        _ => {
            let (from, len) = (value.u64()? as i64, value.u16()?);
            let once = std::str::from_utf8(value.take(len.into())?).ok()?.into();
            Some(Renewed { from, once })
        }
    };
    Some(Lease {
        invisible,
        until,
        bits,
        count,
        revive_queue,
        fifo,
        uncounted: kind & UNCOUNTED != 0,
        renewed,
        stored: true,
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }
}
