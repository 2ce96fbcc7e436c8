//! The files of the log: found, made, recycled, removed.
//!
//! A file's name is the log offset of its first byte in 20 digits, as RocketMQ names them. A segment
//! is grown lazily: space is reserved in steps. An expired one is kept under another name and takes the
//! place of the next new one; what is left in it cannot be taken for new, because every record's
//! checksum covers its position.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::disk::{Disk, File};
use crate::error::Error;
use crate::lock;

/// The folder of the segments.
pub(crate) const DIR: &str = "commitlog";
/// What an expired segment is called until it is used again.
const RECYCLED: &str = "recycled-";
/// The most that is reserved before anything is written.
const FIRST_STEP: u64 = 512 << 10;
/// How many expired segments are kept for reuse.
const RECYCLED_MAX: usize = 2;

/// One file of the log.
pub(crate) struct Segment {
    /// Log offset of its first byte.
    pub base: u64,
    /// How many bytes it may take.
    pub capacity: u64,
    /// Its bytes.
    pub file: Arc<dyn File>,
    /// Up to here, from the file's start, blocks are written: overwriting them changes no metadata.
    prewritten: AtomicU64,
}

impl Segment {
    /// Log offset behind its last possible byte.
    pub fn end(&self) -> u64 {
        self.base + self.capacity
    }

    /// The file's name.
    pub fn path(&self) -> String {
        path(self.base)
    }

    /// Log offset up to which blocks are written already.
    pub fn prewritten(&self) -> u64 {
        self.base + self.prewritten.load(Ordering::Relaxed)
    }

    /// Notes that blocks are written up to a log offset.
    pub fn set_prewritten(&self, to: u64) {
        self.prewritten.fetch_max(to - self.base, Ordering::Relaxed);
    }
}

/// All files of the log, oldest first.
pub(crate) struct Segments {
    disk: Arc<dyn Disk>,
    size: u64,
    reserve_step: u64,
    list: RwLock<Vec<Arc<Segment>>>,
    /// Names of expired files; the lock is held while a segment is made.
    recycled: Mutex<Vec<String>>,
}

fn path(base: u64) -> String {
    format!("{DIR}/{base:020}")
}

impl Segments {
    /// Finds the segments that are there. `size` is what new ones get.
    pub fn open(disk: Arc<dyn Disk>, size: u64, reserve_step: u64) -> Result<Segments, Error> {
        disk.make_dir(DIR).map_err(Error::io(DIR))?;
        let mut recycled = Vec::new();
        let mut bases = Vec::new();
        for name in disk.list(DIR).map_err(Error::io(DIR))? {
            if name.starts_with(RECYCLED) {
                recycled.push(format!("{DIR}/{name}"));
            } else if let (20, Ok(base)) = (name.len(), name.parse::<u64>()) {
                bases.push(base);
            }
        }
        bases.sort_unstable();
        let mut list: Vec<Arc<Segment>> = Vec::new();
        for (n, &base) in bases.iter().enumerate() {
            let file = disk.open(&path(base)).map_err(Error::io(path(base)))?;
            let len = file.len().map_err(Error::io(path(base)))?;
            // The distance to the next one decides; a configured size only holds for new segments.
            let capacity = bases.get(n + 1).map_or(size.max(len), |next| next - base);
            list.push(Arc::new(Segment {
                base,
                capacity,
                file,
                prewritten: AtomicU64::new(0),
            }));
        }
        Ok(Segments {
            disk,
            size,
            reserve_step,
            list: RwLock::new(list),
            recycled: Mutex::new(recycled),
        })
    }

    /// How much space a new segment has from the start: little, because most stores stay small.
    pub fn first_step(&self) -> u64 {
        self.reserve_step.min(FIRST_STEP).min(self.size)
    }

    /// All of them, oldest first.
    pub fn all(&self) -> Vec<Arc<Segment>> {
        self.read().clone()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Segment>>> {
        self.list.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Vec<Arc<Segment>>> {
        self.list.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The segment that holds a log offset.
    pub fn at(&self, offset: u64) -> Option<Arc<Segment>> {
        let list = self.read();
        let n = list.partition_point(|segment| segment.base <= offset);
        let segment = list.get(n.checked_sub(1)?)?;
        (offset < segment.end()).then(|| Arc::clone(segment))
    }

    /// Where the kept log begins.
    pub fn start(&self) -> u64 {
        self.read().first().map_or(0, |segment| segment.base)
    }

    /// The segment that begins at `base`, made if it is missing. Its name and its first step of space
    /// stand on the disk when this returns.
    pub fn make(&self, base: u64) -> io::Result<Arc<Segment>> {
        let mut recycled = lock(&self.recycled);
        if let Some(segment) = self.at(base) {
            return Ok(segment);
        }
        let (file, prewritten) = match self.reuse(&mut recycled, base) {
            Some(file) => file,
            None => (self.create(base)?, 0),
        };
        if let Err(e) = file.reserve(0..self.first_step()) {
            drop(file);
            let _ = self.disk.remove(&path(base));
            return Err(e);
        }
        self.disk.sync_dir(DIR)?;
        let segment = Arc::new(Segment {
            base,
            capacity: self.size,
            file,
            prewritten: AtomicU64::new(prewritten),
        });
        self.write().push(Arc::clone(&segment));
        Ok(segment)
    }

    fn create(&self, base: u64) -> io::Result<Arc<dyn File>> {
        match self.disk.create(&path(base)) {
            // Left by an attempt that found no space: it never held a record.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let file = self.disk.open(&path(base))?;
                file.set_len(0)?;
                Ok(file)
            }
            other => other,
        }
    }

    fn reuse(&self, recycled: &mut Vec<String>, base: u64) -> Option<(Arc<dyn File>, u64)> {
        let old = recycled.pop()?;
        let open = || -> io::Result<(Arc<dyn File>, u64)> {
            let file = self.disk.open(&old)?;
            let len = file.len()?;
            if len > self.size {
                file.set_len(self.size)?;
            }
            self.disk.rename(&old, &path(base))?;
            Ok((file, len.min(self.size)))
        };
        open().ok()
    }

    /// Takes out the oldest segment. Its file is kept for reuse if nobody reads it and there is use for
    /// it, else deleted. The name is gone from the disk when this returns.
    pub fn retire_oldest(&self, keep: bool) -> io::Result<()> {
        let segment = self.write().remove(0);
        let mut recycled = lock(&self.recycled);
        let alone = Arc::strong_count(&segment) == 1;
        if keep && alone && recycled.len() < RECYCLED_MAX && segment.capacity == self.size {
            let name = format!("{DIR}/{RECYCLED}{:020}", segment.base);
            self.disk.rename(&segment.path(), &name)?;
            recycled.push(name);
        } else {
            self.disk.remove(&segment.path())?;
        }
        self.disk.sync_dir(DIR)
    }

    /// Recovery: deletes every segment that begins behind `cut`.
    pub fn cut(&self, cut: u64) -> io::Result<()> {
        let mut list = self.write();
        let keep = list.partition_point(|segment| segment.base <= cut);
        let gone: Vec<_> = list.drain(keep..).collect();
        for segment in &gone {
            self.disk.remove(&segment.path())?;
        }
        if gone.is_empty() {
            return Ok(());
        }
        self.disk.sync_dir(DIR)
    }

    /// Recovery found that a segment ends elsewhere than its file's length suggests.
    pub fn set_capacity(&self, base: u64, capacity: u64) {
        let mut list = self.write();
        if let Some(segment) = list.iter_mut().find(|segment| segment.base == base) {
            *segment = Arc::new(Segment {
                base,
                capacity,
                file: Arc::clone(&segment.file),
                prewritten: AtomicU64::new(0),
            });
        }
    }

    /// Deletes the files kept for reuse; returns whether there were any.
    pub fn drop_recycled(&self) -> io::Result<bool> {
        let mut recycled = lock(&self.recycled);
        let any = !recycled.is_empty();
        while let Some(name) = recycled.pop() {
            self.disk.remove(&name)?;
        }
        if any {
            self.disk.sync_dir(DIR)?;
        }
        Ok(any)
    }
}
