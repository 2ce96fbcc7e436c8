//! The append-only files that blocks are packed into.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use model::LogOffset;

use super::list::Place;
use crate::disk::{Disk, File, Reads, Wait};
use crate::lock;

/// The folder of everything about queues.
pub(super) const DIR: &str = "queues";
/// A file that is longer takes no more blocks, bytes.
const FILE_MAX: u32 = 128 << 20;

/// One file, as the checkpoint names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub number: u32,
    /// Bytes in use.
    pub len: u32,
    /// The greatest log offset in it: when the log begins behind it, the file may go.
    pub last: LogOffset,
}

struct One {
    file: Arc<dyn File>,
    extent: Extent,
    flushed: bool,
}

/// All block files of a store.
pub(super) struct Files {
    disk: Arc<dyn Disk>,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    files: BTreeMap<u32, One>,
    /// The one that takes blocks.
    current: Option<u32>,
    /// No file has this number or a greater one.
    next: u32,
    /// Whether names were made that are not flushed.
    names: bool,
}

pub(super) fn path(number: u32) -> String {
    format!("{DIR}/{number:010}.blocks")
}

impl Files {
    pub fn new(disk: Arc<dyn Disk>) -> Files {
        let all = All {
            next: 1,
            ..All::default()
        };
        Files {
            disk,
            all: Mutex::new(all),
        }
    }

    pub fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// Takes over what a checkpoint names, and deletes all others. False if one is missing that the
    /// log from `log_start` on still needs, or is too short.
    pub fn adopt(&self, extents: &[Extent], log_start: LogOffset) -> io::Result<bool> {
        let mut all = lock(&self.all);
        *all = All::default();
        let mut whole = true;
        for &extent in extents {
            let file = match self.disk.open(&path(extent.number)) {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    whole &= extent.last < log_start;
                    continue;
                }
                Err(e) => return Err(e),
            };
            whole &= file.len()? >= u64::from(extent.len);
            let one = One {
                file,
                extent,
                flushed: true,
            };
            all.files.insert(extent.number, one);
        }
        if !whole {
            all.files.clear();
        }
        let mut highest = 0;
        let mut removed = false;
        for name in self.disk.list(DIR)? {
            let Some(number) = name.strip_suffix(".blocks").and_then(|n| n.parse().ok()) else {
                continue;
            };
            highest = highest.max(number);
            if !all.files.contains_key(&number) {
                self.disk.remove(&format!("{DIR}/{name}"))?;
                removed = true;
            }
        }
        if removed {
            self.disk.sync_dir(DIR)?;
        }
        all.next = highest.saturating_add(1);
        Ok(whole)
    }

    /// Appends encoded blocks; returns where they begin. After an error that file takes no more.
    pub fn append(&self, bytes: &[u8], last: LogOffset) -> io::Result<Place> {
        let mut all = lock(&self.all);
        if all.current.is_none() {
            let number = all.next;
            let one = One {
                file: self.disk.create(&path(number))?,
                extent: Extent {
                    number,
                    len: 0,
                    last: LogOffset(0),
                },
                flushed: true,
            };
            all.files.insert(number, one);
            all.next += 1;
            all.current = Some(number);
            all.names = true;
        }
        let number = all.current.unwrap_or_default();
        let Some(one) = all.files.get_mut(&number) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let at = one.extent.len;
        one.flushed = false;
        if let Err(e) = one.file.write_at(bytes, u64::from(at)) {
            all.current = None;
            return Err(e);
        }
        one.extent.len += bytes.len() as u32;
        one.extent.last = one.extent.last.max(last);
        if one.extent.len >= FILE_MAX {
            all.current = None;
        }
        Ok(Place { file: number, at })
    }

    /// Appends `len` bytes of a block to `out`.
    pub fn read(
        &self,
        place: Place,
        len: usize,
        wait: Wait,
        out: &mut Vec<u8>,
    ) -> io::Result<Reads> {
        let file = match lock(&self.all).files.get(&place.file) {
            Some(one) => Arc::clone(&one.file),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        let from = u64::from(place.at);
        let run = from..from + len as u64;
        file.read_runs(std::slice::from_ref(&run), out, wait)
    }

    /// Flushes every file that was written, and the names. What a checkpoint may then name.
    pub fn flush(&self) -> io::Result<Vec<Extent>> {
        let (dirty, names, extents) = {
            let mut all = lock(&self.all);
            let names = std::mem::take(&mut all.names);
            let written = all.files.values().filter(|one| !one.flushed);
            let dirty: Vec<_> = written
                .map(|one| (one.extent, Arc::clone(&one.file)))
                .collect();
            let extents: Vec<_> = all.files.values().map(|one| one.extent).collect();
            (dirty, names, extents)
        };
        for (extent, file) in &dirty {
            file.sync_data()?;
            // The newest entries are kept in memory by others; the system need not keep them again.
            let _ = file.forget(0..u64::from(extent.len) / 4096 * 4096);
        }
        if names {
            self.disk.sync_dir(DIR)?;
        }
        let mut all = lock(&self.all);
        for (extent, _) in dirty {
            if let Some(one) = all.files.get_mut(&extent.number) {
                one.flushed = one.extent == extent;
            }
        }
        Ok(extents)
    }

    /// Deletes files whose entries all lie before `log_start`.
    pub fn trim(&self, log_start: LogOffset) -> io::Result<()> {
        let mut all = lock(&self.all);
        let current = all.current;
        let old = |one: &One| one.extent.last < log_start && Some(one.extent.number) != current;
        let numbers: Vec<u32> = all
            .files
            .iter()
            .filter(|(_, one)| old(one))
            .map(|(n, _)| *n)
            .collect();
        for number in &numbers {
            self.disk.remove(&path(*number))?;
            all.files.remove(number);
        }
        if !numbers.is_empty() {
            self.disk.sync_dir(DIR)?;
        }
        Ok(())
    }
}
