//! Reading records: from the tail in memory, else from the segments.
//!
//! Everything is copied out. What comes from a file is verified; a damaged record is left out and
//! reported, so that one flipped bit costs one message.

use std::ops::Range;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use model::LogOffset;
use model::flag::sys;
use model::record::{self, MAGIC_V1, MAGIC_V2};

use super::Log;
use super::stage::{FILLER, filler_end};
use crate::disk::{Reads, Wait};
use crate::error::ReadError;
use crate::queue::Entry;

/// The longest record that is believed.
pub(crate) const RECORD_MAX: usize = 64 << 20;

impl Log {
    /// Appends the records of `entries`, or nothing if something would block.
    pub fn read_runs(
        &self,
        entries: &[Entry],
        out: &mut Vec<u8>,
        wait: Wait,
    ) -> Result<Reads, ReadError> {
        let before = out.len();
        let read = self.try_read_runs(entries, out, wait);
        if !matches!(read, Ok(Reads::Done)) {
            out.truncate(before);
        }
        read
    }

    fn try_read_runs(
        &self,
        entries: &[Entry],
        out: &mut Vec<u8>,
        wait: Wait,
    ) -> Result<Reads, ReadError> {
        let mut rest = entries;
        while !rest.is_empty() {
            rest = self.copy_from_tail(rest, out);
            let count = self.outside_tail(rest);
            let (cold, next) = rest.split_at(count);
            if self.copy_from_files(cold, out, wait)? == Reads::WouldBlock {
                return Ok(Reads::WouldBlock);
            }
            rest = next;
        }
        Ok(Reads::Done)
    }

    /// Copies as many as the tail holds; returns the rest.
    fn copy_from_tail<'e>(&self, entries: &'e [Entry], out: &mut Vec<u8>) -> &'e [Entry] {
        let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
        let mut near = 0;
        for (n, entry) in entries.iter().enumerate() {
            match tail.run(entry.log_offset.0, entry.size as usize, &mut near) {
                _ if entry.size == 0 => {}
                Some(bytes) => out.extend_from_slice(bytes),
                None => return &entries[n..],
            }
        }
        &[]
    }

    /// How many at the head of `entries` must come from files: at least one, if there is one.
    pub(super) fn outside_tail(&self, entries: &[Entry]) -> usize {
        let start = {
            let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
            tail.start()
        };
        let outside = entries
            .iter()
            .take_while(|entry| entry.log_offset.0 < start)
            .count();
        outside.max(1).min(entries.len())
    }

    fn copy_from_files(
        &self,
        mut entries: &[Entry],
        out: &mut Vec<u8>,
        wait: Wait,
    ) -> Result<Reads, ReadError> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        while let Some(first) = entries.iter().find(|entry| entry.size > 0) {
            let at = first.log_offset;
            self.cached.note(at.0);
            let segment = self.segments.at(at.0).ok_or(ReadError::Missing(at))?;
            let inside = |entry: &&Entry| {
                entry.size == 0 || (segment.base..segment.end()).contains(&entry.log_offset.0)
            };
            let count = entries.iter().take_while(inside).count().max(1);
            let (here, next) = entries.split_at(count);
            runs.clear();
            for entry in here.iter().filter(|entry| entry.size > 0) {
                let start = entry.log_offset.0 - segment.base;
                runs.push(start..start + u64::from(entry.size));
            }
            let from = out.len();
            if segment.file.read_runs(&runs, out, wait)? == Reads::WouldBlock {
                return Ok(Reads::WouldBlock);
            }
            self.verify(here, out, from);
            entries = next;
        }
        Ok(Reads::Done)
    }

    /// Checks records copied to `out` from `from` on; takes out those that are damaged.
    fn verify(&self, entries: &[Entry], out: &mut Vec<u8>, from: usize) {
        let mut at = from;
        for entry in entries.iter().filter(|entry| entry.size > 0) {
            let end = at + entry.size as usize;
            match record::verify(&out[at..end], entry.log_offset) {
                Ok(length) if length == entry.size as usize => at = end,
                other => {
                    let why = other.err().map(|error| error.to_string());
                    self.report_damaged(entry.log_offset, &why.unwrap_or_default());
                    out.drain(at..end);
                }
            }
        }
    }

    /// A record that somebody wanted to read is damaged.
    pub(super) fn report_damaged(&self, at: LogOffset, why: &str) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        tracing::error!(log_offset = at.0, why, "a damaged record is left out");
    }

    /// Appends the one record at `at`, verified.
    pub fn record(&self, at: LogOffset, wait: Wait, out: &mut Vec<u8>) -> Result<Reads, ReadError> {
        if at < LogOffset(self.segments.start()) || at >= self.marks.appended() {
            return Err(ReadError::Missing(at));
        }
        let before = out.len();
        let read = self.try_record(at, wait, out);
        if !matches!(read, Ok(Reads::Done)) {
            out.truncate(before);
        }
        read
    }

    fn try_record(&self, at: LogOffset, wait: Wait, out: &mut Vec<u8>) -> Result<Reads, ReadError> {
        let from = out.len();
        if self.bytes(at, 8, out, wait)? == Reads::WouldBlock {
            return Ok(Reads::WouldBlock);
        }
        let (total, magic) = record::head(&out[from..]).ok_or(ReadError::Missing(at))?;
        out.truncate(from);
        if (magic != MAGIC_V1 && magic != MAGIC_V2) || total as usize > RECORD_MAX || total < 8 {
            return Err(ReadError::Missing(at));
        }
        match self.bytes(at, total as usize, out, wait) {
            Ok(Reads::Done) => {}
            Err(ReadError::Io(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(ReadError::Missing(at));
            }
            other => return other,
        }
        match record::verify(&out[from..], at) {
            Ok(_) => Ok(Reads::Done),
            Err(record::RecordError::Crc) => Err(ReadError::Damaged(at)),
            Err(_) => Err(ReadError::Missing(at)),
        }
    }

    /// When the record at `at` was stored, read from its head.
    pub fn stored_at(&self, at: LogOffset) -> Result<i64, ReadError> {
        let mut head = Vec::with_capacity(76);
        // The shortest record is longer than this.
        self.bytes(at, 76, &mut head, Wait::Yes)?;
        let number = |at: usize| -> Option<u64> {
            Some(u64::from_be_bytes(head.get(at..at + 8)?.try_into().ok()?))
        };
        let known = matches!(record::head(&head), Some((_, MAGIC_V1 | MAGIC_V2)));
        let v6 = head
            .get(39)
            .is_some_and(|&byte| byte & sys::BORN_HOST_V6 as u8 != 0);
        let stored_at = number(if v6 { 68 } else { 56 });
        match (known, number(28) == Some(at.0), stored_at) {
            (true, true, Some(stored_at)) => Ok(stored_at as i64),
            _ => Err(ReadError::Missing(at)),
        }
    }

    /// Appends `len` bytes from `at` on, unchecked.
    fn bytes(
        &self,
        at: LogOffset,
        len: usize,
        out: &mut Vec<u8>,
        wait: Wait,
    ) -> Result<Reads, ReadError> {
        {
            let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(bytes) = tail.run(at.0, len, &mut 0) {
                out.extend_from_slice(bytes);
                return Ok(Reads::Done);
            }
        }
        self.cached.note(at.0);
        let segment = self.segments.at(at.0).ok_or(ReadError::Missing(at))?;
        let start = at.0 - segment.base;
        if at.0 + len as u64 > segment.end() {
            return Err(ReadError::Missing(at));
        }
        let run = start..start + len as u64;
        Ok(segment.file.read_runs(&[run], out, wait)?)
    }

    /// Appends what is dispatched from `at` on, unchecked: up to `max` bytes, none beyond the segment.
    /// Behind a filler's head the file may end before its segment does.
    pub fn window(&self, at: LogOffset, max: usize, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let segment = self.segments.at(at.0).ok_or(ReadError::Missing(at))?;
        let written = segment.base + segment.file.len()?;
        let end = self.marks.dispatched().0.min(segment.end()).min(written);
        let len = (end.saturating_sub(at.0) as usize).min(max);
        self.bytes(at, len, out, Wait::Yes).map(|_| ())
    }

    /// The next record at or behind `at`, as (position, position behind it), skipping a filler. `None`
    /// at the end of what is dispatched. Appends its bytes, verified; a damaged record is an error.
    pub fn next_record(
        &self,
        at: LogOffset,
        out: &mut Vec<u8>,
    ) -> Result<Option<(LogOffset, LogOffset)>, ReadError> {
        let mut at = at;
        while at < self.marks.dispatched() {
            let from = out.len();
            match self.record(at, Wait::Yes, out) {
                Ok(_) => {
                    let len = (out.len() - from) as u64;
                    return Ok(Some((at, LogOffset(at.0 + len))));
                }
                Err(ReadError::Missing(_)) => {}
                Err(e) => return Err(e),
            }
            self.bytes(at, FILLER as usize, out, Wait::Yes)?;
            let end = filler_end(&out[from..], at.0);
            out.truncate(from);
            at = end.map(LogOffset).ok_or(ReadError::Missing(at))?;
        }
        Ok(None)
    }
}
