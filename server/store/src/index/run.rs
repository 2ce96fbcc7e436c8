//! A run of the key index: a file of sorted entries that never changes.
//!
//! ```text
//! pages x 4096: CRC 4 (of the rest of the page) | count 4 | 204 x (hash 8 | log offset 6 | stored at 6) | zeros
//! pages x first hash 8
//! magic 4 | pages 4 | entries 8 | from 8 | to 8 | CRC 4 (of everything behind the pages)
//! ```
//! All integers are big-endian. `from` and `to`: the range of the log whose keys are here, which is
//! also the file's name. The first hashes are kept in memory, so a look-up reads one page.

use std::io;
use std::sync::Arc;

use super::{DIR, Item};
use crate::bytes::Reader;
use crate::disk::{Disk, File};

const MAGIC: u32 = 0x5048_4B52; // "PHKR"
const PAGE: usize = 4096;
const PER_PAGE: usize = 204;
const FOOTER: usize = 36;
/// Pages are written in pieces of this many bytes.
const PIECE: usize = 1 << 20;

/// An open run.
pub(super) struct Run {
    pub name: String,
    pub from: u64,
    pub to: u64,
    pub count: u64,
    file: Arc<dyn File>,
    /// The first hash of each page.
    fences: Vec<u64>,
}

fn damaged(name: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("run {name} of the key index is damaged"),
    )
}

impl Run {
    /// Opens a file; `None` if it is not a whole run.
    pub fn open(disk: &dyn Disk, name: &str) -> io::Result<Option<Run>> {
        let file = disk.open(&format!("{DIR}/{name}"))?;
        let len = file.len()?;
        let mut footer = [0; FOOTER];
        let Some(footer_at) = len.checked_sub(FOOTER as u64) else {
            return Ok(None);
        };
        file.read_at(&mut footer, footer_at)?;
        let Some((pages, count, from, to)) = read_footer(&footer) else {
            return Ok(None);
        };
        if len != u64::from(pages) * (PAGE as u64 + 8) + FOOTER as u64 {
            return Ok(None);
        }
        let mut tail = vec![0; pages as usize * 8 + FOOTER];
        let read = file.read_at(&mut tail, u64::from(pages) * PAGE as u64)?;
        let sum_at = tail.len() - 4;
        let (rest, sum) = tail.split_at(sum_at);
        let whole = read == tail.len() && crc32fast::hash(rest).to_be_bytes() == sum;
        if !whole || name != file_name(from, to) || from >= to {
            return Ok(None);
        }
        let fences = rest.as_chunks::<8>().0.iter().take(pages as usize);
        Ok(Some(Run {
            name: name.to_owned(),
            from,
            to,
            count,
            file,
            fences: fences.map(|fence| u64::from_be_bytes(*fence)).collect(),
        }))
    }

    /// The system may use the memory of its bytes: it is only read for queries from now on.
    pub fn give_back(&self) {
        let len = (self.pages() * (PAGE + 8) + FOOTER) as u64;
        // Only a hint.
        let _ = self.file.forget(0..len);
    }

    pub fn pages(&self) -> usize {
        self.fences.len()
    }

    /// Appends the entries of a page. `InvalidData` if it is damaged.
    pub fn page(&self, number: usize, out: &mut Vec<Item>) -> io::Result<()> {
        let mut page = [0; PAGE];
        self.file.read_at(&mut page, (number * PAGE) as u64)?;
        read_page(&page, out).ok_or_else(|| damaged(&self.name))
    }

    /// Appends all entries with this hash.
    pub fn find(&self, hash: u64, out: &mut Vec<Item>) -> io::Result<()> {
        let first = self.fences.partition_point(|&fence| fence < hash);
        let mut number = first.saturating_sub(1);
        let mut items = Vec::with_capacity(PER_PAGE);
        while self.fences.get(number).is_some_and(|&fence| fence <= hash) {
            items.clear();
            self.page(number, &mut items)?;
            out.extend(items.iter().filter(|item| item.hash == hash));
            number += 1;
        }
        Ok(())
    }
}

fn read_footer(footer: &[u8]) -> Option<(u32, u64, u64, u64)> {
    let mut reader = Reader(footer);
    let magic = reader.u32()?;
    let fields = (reader.u32()?, reader.u64()?, reader.u64()?, reader.u64()?);
    (magic == MAGIC).then_some(fields)
}

fn read_page(page: &[u8], out: &mut Vec<Item>) -> Option<()> {
    let mut reader = Reader(page);
    let sum = reader.u32()?;
    if sum != crc32fast::hash(reader.0) {
        return None;
    }
    let count = reader.u32()? as usize;
    if count > PER_PAGE {
        return None;
    }
    for _ in 0..count {
        let (hash, at, time) = (reader.u64()?, reader.take(6)?, reader.take(6)?);
        let six = |bytes: &[u8]| bytes.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        out.push(Item {
            hash,
            at: six(at),
            stored_at: six(time) as i64,
        });
    }
    Some(())
}

fn file_name(from: u64, to: u64) -> String {
    format!("{from:020}-{to:020}")
}

/// Writes a run; entries come in order.
pub(super) struct Writer {
    file: Arc<dyn File>,
    temporary: String,
    from: u64,
    to: u64,
    count: u64,
    fences: Vec<u64>,
    /// The page that is being filled, without its checksum.
    page: Vec<u8>,
    in_page: u32,
    bytes: Vec<u8>,
    at: u64,
}

impl Writer {
    /// Begins a run about the log from `from` to `to`.
    pub fn new(disk: &dyn Disk, from: u64, to: u64) -> io::Result<Writer> {
        let temporary = format!("{DIR}/new");
        match disk.remove(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        Ok(Writer {
            file: disk.create(&temporary)?,
            temporary,
            from,
            to,
            count: 0,
            fences: Vec::new(),
            page: Vec::with_capacity(PAGE),
            in_page: 0,
            bytes: Vec::new(),
            at: 0,
        })
    }

    pub fn push(&mut self, item: &Item) -> io::Result<()> {
        if self.in_page == 0 {
            self.fences.push(item.hash);
            self.page.extend_from_slice(&[0; 4]);
        }
        let mut entry = [0; 20];
        // The lower six bytes of both; the upper ones of the first are written over.
        entry[12..20].copy_from_slice(&item.stored_at.to_be_bytes());
        entry[6..14].copy_from_slice(&item.at.to_be_bytes());
        entry[0..8].copy_from_slice(&item.hash.to_be_bytes());
        self.page.extend_from_slice(&entry);
        self.in_page += 1;
        self.count += 1;
        if self.in_page as usize == PER_PAGE {
            self.end_page();
        }
        if self.bytes.len() >= PIECE {
            self.spill()?;
        }
        Ok(())
    }

    fn end_page(&mut self) {
        if self.in_page == 0 {
            return;
        }
        self.page.resize(PAGE - 4, 0);
        self.page[..4].copy_from_slice(&self.in_page.to_be_bytes());
        let sum = crc32fast::hash(&self.page);
        self.bytes.extend_from_slice(&sum.to_be_bytes());
        self.bytes.append(&mut self.page);
        self.in_page = 0;
    }

    fn spill(&mut self) -> io::Result<()> {
        self.file.write_at(&self.bytes, self.at)?;
        self.at += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }

    /// Flushes the run and gives it its name, for good.
    pub fn finish(mut self, disk: &dyn Disk) -> io::Result<Run> {
        self.end_page();
        let from = self.bytes.len();
        for fence in &self.fences {
            self.bytes.extend_from_slice(&fence.to_be_bytes());
        }
        self.bytes.extend_from_slice(&MAGIC.to_be_bytes());
        (self.bytes).extend_from_slice(&(self.fences.len() as u32).to_be_bytes());
        for number in [self.count, self.from, self.to] {
            self.bytes.extend_from_slice(&number.to_be_bytes());
        }
        let sum = crc32fast::hash(&self.bytes[from..]);
        self.bytes.extend_from_slice(&sum.to_be_bytes());
        self.spill()?;
        self.file.sync_data()?;
        let name = file_name(self.from, self.to);
        disk.rename(&self.temporary, &format!("{DIR}/{name}"))?;
        disk.sync_dir(DIR)?;
        Ok(Run {
            name,
            from: self.from,
            to: self.to,
            count: self.count,
            file: self.file,
            fences: self.fences,
        })
    }
}
