//! The property texts of records, for filters: copied in one go, so that nothing is evaluated while the
//! tail is locked, and without the bodies where those are long.

use std::ops::Range;
use std::sync::{Arc, PoisonError};

use model::record;

use super::Log;
use super::texts::{Group, TOGETHER};
use crate::disk::{Reads, Wait};
use crate::error::ReadError;
use crate::queue::Entry;

/// A record up to this size is read whole: a second run would cost more than the bytes.
const WHOLE: u64 = 1_536;
/// So much is read of a longer record's end.
const END: u64 = 1_024;
const HEAD: u64 = record::HEAD as u64;

/// The property texts of some records. Kept by who asks, so that its room is used again.
#[derive(Debug, Default)]
pub struct Properties {
    bytes: Vec<u8>,
    /// Where each one ends.
    ends: Vec<usize>,
    /// Which records turned out damaged, ascending: there are hardly ever any.
    damaged: Vec<usize>,
    raw: Vec<u8>,
    runs: Vec<Range<u64>>,
    /// All of them, if they were kept.
    group: Option<Arc<Group>>,
}

impl Properties {
    /// Whoever asks for so many at once, from a queue position that is a multiple of it, is answered
    /// from what was kept, if somebody asked before.
    pub const TOGETHER: usize = TOGETHER;

    /// The text of the `n`th record that was asked for, as it is stored; empty if it cannot be read.
    pub fn get(&self, n: usize) -> &[u8] {
        if let Some(group) = &self.group {
            return group.get(n);
        }
        let start = n.checked_sub(1).and_then(|n| self.ends.get(n)).copied();
        let end = self.ends.get(n).copied().unwrap_or(0);
        (self.bytes.get(start.unwrap_or(0)..end)).unwrap_or_default()
    }

    /// Of how many records there is one: of fewer than were asked for if one was missing.
    pub fn count(&self) -> usize {
        let kept = self.group.as_ref().map(|group| group.len());
        kept.unwrap_or(self.ends.len())
    }

    /// Whether the `n`th record turned out damaged: nobody knows what its properties were.
    pub fn is_damaged(&self, n: usize) -> bool {
        self.damaged.binary_search(&n).is_ok()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.damaged.clear();
        self.group = None;
    }

    fn push_damaged(&mut self) {
        self.damaged.push(self.ends.len());
        self.push(&[]);
    }

    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }
}

impl Log {
    /// Fills `out` with the property texts of `entries`, or tells that this would block. Those before
    /// `from` need not be there.
    pub fn properties(
        &self,
        entries: &[Entry],
        from: Option<usize>,
        wait: Wait,
        out: &mut Properties,
    ) -> Result<Reads, ReadError> {
        out.clear();
        let (grouped, from) = (from.is_some(), from.unwrap_or(0));
        // What fits will be asked for, and is near what was looked at, though none of it was read.
        let first = entries.iter().skip(from).find(|entry| entry.size > 0);
        if let Some(first) = first {
            self.cached.note(first.log_offset.0);
        }
        if let Some(group) = grouped.then(|| self.kept(entries)).flatten() {
            out.group = Some(group);
            return Ok(Reads::Done);
        }
        let whole = grouped && entries.len() == TOGETHER;
        if whole || from == 0 {
            let read = self.fill(entries, wait, out);
            let done = matches!(read, Ok(Reads::Done));
            if done && whole && out.damaged.is_empty() {
                let group = Group::new(entries, &out.bytes, &out.ends);
                group.into_iter().for_each(|group| self.texts.keep(group));
            }
            // What cannot be read of those that need not be there is no reason to have none.
            if done || from == 0 {
                return read;
            }
        }
        out.clear();
        let (before, wanted) = entries.split_at(from.min(entries.len()));
        before.iter().for_each(|_| out.push(&[]));
        self.fill(wanted, wait, out)
    }

    fn kept(&self, entries: &[Entry]) -> Option<Arc<Group>> {
        let first = entries.first()?;
        let there = first.log_offset.0 >= self.segments.start();
        there.then(|| self.texts.find(entries)).flatten()
    }

    fn fill(
        &self,
        entries: &[Entry],
        wait: Wait,
        out: &mut Properties,
    ) -> Result<Reads, ReadError> {
        let mut rest = entries;
        while !rest.is_empty() {
            rest = self.properties_of_tail(rest, out);
            let (cold, next) = rest.split_at(self.outside_tail(rest));
            if self.properties_of_files(cold, wait, out)? == Reads::WouldBlock {
                return Ok(Reads::WouldBlock);
            }
            rest = next;
        }
        Ok(Reads::Done)
    }

    /// Copies as many as the tail holds; returns the rest.
    fn properties_of_tail<'e>(&self, entries: &'e [Entry], out: &mut Properties) -> &'e [Entry] {
        let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
        let mut near = 0;
        for (n, entry) in entries.iter().enumerate() {
            match tail.run(entry.log_offset.0, entry.size as usize, &mut near) {
                _ if entry.size == 0 => out.push(&[]),
                Some(bytes) => out.push(inside(entry, bytes, bytes).unwrap_or_default()),
                None => return &entries[n..],
            }
        }
        &[]
    }

    fn properties_of_files(
        &self,
        mut entries: &[Entry],
        wait: Wait,
        out: &mut Properties,
    ) -> Result<Reads, ReadError> {
        while let Some(first) = entries.first() {
            if first.size == 0 {
                out.push(&[]);
                entries = &entries[1..];
                continue;
            }
            let at = first.log_offset;
            let segment = self.segments.at(at.0).ok_or(ReadError::Missing(at))?;
            let range = segment.base..segment.end();
            let here = |entry: &&Entry| entry.size == 0 || range.contains(&entry.log_offset.0);
            let count = entries.iter().take_while(here).count().max(1);
            let (here, next) = entries.split_at(count);
            let mut raw = std::mem::take(&mut out.raw);
            let mut runs = std::mem::take(&mut out.runs);
            runs.clear();
            raw.clear();
            for entry in here.iter().filter(|entry| entry.size > 0) {
                let (start, size) = (entry.log_offset.0 - segment.base, u64::from(entry.size));
                if size > WHOLE {
                    runs.extend([start..start + HEAD, start + size - END..start + size]);
                } else {
                    runs.push(start..start + size);
                }
            }
            let mut read = segment.file.read_runs(&runs, &mut raw, wait);
            if matches!(read, Ok(Reads::Done)) {
                read = self.pick(here, &raw, wait, out);
            }
            (out.raw, out.runs) = (raw, runs);
            if read? == Reads::WouldBlock {
                return Ok(Reads::WouldBlock);
            }
            entries = next;
        }
        Ok(Reads::Done)
    }

    /// Takes the texts out of what was read of the records.
    fn pick(
        &self,
        entries: &[Entry],
        raw: &[u8],
        wait: Wait,
        out: &mut Properties,
    ) -> std::io::Result<Reads> {
        let mut rest = raw;
        for entry in entries {
            let size = u64::from(entry.size);
            let (start, end) = if size > WHOLE {
                (HEAD as usize, END as usize)
            } else {
                (0, size as usize)
            };
            let (head, behind) = rest.split_at(start);
            let (tail, behind) = behind.split_at(end);
            rest = behind;
            if start == 0 {
                // All of it is here, so that a flipped bit cannot make it fit or not fit a filter.
                match record::verify(tail, entry.log_offset) {
                    Ok(length) if length == tail.len() => {
                        out.push(inside(entry, tail, tail).unwrap_or_default());
                    }
                    other => {
                        let why = other.err().map(|error| error.to_string());
                        self.report_damaged(entry.log_offset, &why.unwrap_or_default());
                        out.push_damaged();
                    }
                }
                continue;
            }
            if let Some(text) = inside(entry, head, tail).filter(|text| !text.is_empty()) {
                out.push(text);
                continue;
            }
            // Properties of a kilobyte and more, or none that can be read.
            let mut whole = Vec::new();
            match self.record(entry.log_offset, wait, &mut whole) {
                Ok(Reads::WouldBlock) => return Ok(Reads::WouldBlock),
                Ok(Reads::Done) => out.push(inside(entry, &whole, &whole).unwrap_or_default()),
                Err(error) => {
                    self.report_damaged(entry.log_offset, &error.to_string());
                    out.push_damaged();
                }
            }
        }
        Ok(Reads::Done)
    }
}

/// The property text, if these bytes are of the entry's record.
fn inside<'a>(entry: &Entry, head: &[u8], tail: &'a [u8]) -> Option<&'a [u8]> {
    let position = head.get(28..36).and_then(|bytes| bytes.try_into().ok());
    let ours = position.map(u64::from_be_bytes) == Some(entry.log_offset.0)
        && record::head(head).map(|(size, _)| size) == Some(entry.size);
    record::properties_of(head, tail).filter(|_| ours)
}
