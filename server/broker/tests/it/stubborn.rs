//! A disk in memory that is told when to be cold, full, or broken.

use std::any::Any;
use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use store::disk::memory::Memory;
use store::disk::{LockError, Space};
use store::{Disk, File, Reads, Wait};

/// What the disk refuses.
#[derive(Default)]
pub struct Moods {
    /// Nothing is in memory: a read that must not wait would block.
    pub cold: AtomicBool,
    /// No space can be reserved.
    pub full: AtomicBool,
    /// Writes fail.
    pub broken: AtomicBool,
    /// Only what was read with time to wait is in memory, and who may not wait must not try.
    pub slow: AtomicBool,
    /// Whether waiting is allowed right now.
    pub patient: AtomicBool,
    /// Bytes whose memory was given back.
    pub forgotten: AtomicU64,
    /// What happens when something is read next.
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// Pages in memory of a slow disk, by file.
    warm: Mutex<HashSet<(u64, u64)>>,
    files: AtomicU64,
}

const PAGE: u64 = 4096;

impl Moods {
    /// From now on the disk is slow and nothing is in memory.
    pub fn chill(&self) {
        self.warm.lock().unwrap().clear();
        self.slow.store(true, Ordering::Relaxed);
    }

    /// Does something in the middle of the next read.
    pub fn meanwhile(&self, what: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::new(what));
    }

    fn read_slowly(&self, file: u64, runs: &[Range<u64>], wait: Wait) -> Reads {
        let mut warm = self.warm.lock().unwrap();
        let pages = |run: &Range<u64>| run.start / PAGE..run.end.div_ceil(PAGE);
        let mut pages = runs.iter().flat_map(pages).map(|page| (file, page));
        if wait == Wait::No {
            return match pages.all(|page| warm.contains(&page)) {
                true => Reads::Done,
                false => Reads::WouldBlock,
            };
        }
        for page in pages {
            let waits = warm.insert(page) && !self.patient.load(Ordering::Relaxed);
            assert!(!waits, "somebody waits for the disk who must not");
        }
        Reads::Done
    }
}

#[derive(Default)]
pub struct Stubborn {
    memory: Memory,
    pub moods: Arc<Moods>,
}

struct StubbornFile {
    number: u64,
    file: Arc<dyn File>,
    moods: Arc<Moods>,
}

impl Stubborn {
    fn wrap(&self, file: io::Result<Arc<dyn File>>) -> io::Result<Arc<dyn File>> {
        let moods = Arc::clone(&self.moods);
        let number = moods.files.fetch_add(1, Ordering::Relaxed);
        let file = file?;
        Ok(Arc::new(StubbornFile {
            number,
            file,
            moods,
        }))
    }
}

impl Disk for Stubborn {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.wrap(self.memory.create(path))
    }
    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.wrap(self.memory.open(path))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.memory.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.memory.remove(path)
    }
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.memory.list(dir)
    }
    fn make_dir(&self, dir: &str) -> io::Result<()> {
        self.memory.make_dir(dir)
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.memory.sync_dir(dir)
    }
    fn space(&self) -> io::Result<Space> {
        self.memory.space()
    }
    fn lock(&self, path: &str) -> Result<Box<dyn Any + Send + Sync>, LockError> {
        self.memory.lock(path)
    }
    fn describe(&self) -> String {
        self.memory.describe()
    }
}

impl File for StubbornFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        match self.moods.broken.load(Ordering::Relaxed) {
            true => Err(io::Error::other("broken")),
            false => self.file.write_at(bytes, at),
        }
    }
    fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(out, at)
    }
    fn read_runs(&self, runs: &[Range<u64>], out: &mut Vec<u8>, wait: Wait) -> io::Result<Reads> {
        let meanwhile = self.moods.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        let mut cold = wait == Wait::No && self.moods.cold.load(Ordering::Relaxed);
        if self.moods.slow.load(Ordering::Relaxed) {
            cold |= self.moods.read_slowly(self.number, runs, wait) == Reads::WouldBlock;
        }
        match cold {
            true => Ok(Reads::WouldBlock),
            false => self.file.read_runs(runs, out, wait),
        }
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn reserve(&self, range: Range<u64>) -> io::Result<()> {
        match self.moods.full.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => self.file.reserve(range),
        }
    }
    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        self.file.zero(range)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn write_back(&self, range: Range<u64>) -> io::Result<()> {
        self.file.write_back(range)
    }
    fn forget(&self, range: Range<u64>) -> io::Result<()> {
        let bytes = range.end - range.start;
        self.moods.forgotten.fetch_add(bytes, Ordering::Relaxed);
        self.file.forget(range)
    }
}
