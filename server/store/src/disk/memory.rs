//! A disk in memory: for tests, and for a server that keeps nothing.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, File, LockError, Reads, Space, Wait};

/// A disk whose files are vectors.
#[derive(Debug)]
pub struct Memory {
    files: Mutex<BTreeMap<String, Arc<MemoryFile>>>,
    room: Arc<Room>,
}

/// How much there may be, and is, in all files together.
#[derive(Debug)]
struct Room {
    capacity: u64,
    used: AtomicU64,
}

impl Room {
    fn free(&self) -> u64 {
        let used = self.used.load(Ordering::Relaxed);
        self.capacity.saturating_sub(used)
    }
}

impl Memory {
    /// A disk for so many bytes of files. Beyond them nothing can be reserved; small files that nobody
    /// reserves space for still grow.
    pub fn with_capacity(bytes: u64) -> Memory {
        Memory {
            files: Mutex::default(),
            room: Arc::new(Room {
                capacity: bytes,
                used: AtomicU64::new(0),
            }),
        }
    }
}

/// As large as nothing in memory can be.
impl Default for Memory {
    fn default() -> Memory {
        Memory::with_capacity(1 << 40)
    }
}

#[derive(Debug)]
struct MemoryFile {
    bytes: Mutex<Vec<u8>>,
    room: Arc<Room>,
}

impl MemoryFile {
    fn resize(&self, bytes: &mut Vec<u8>, len: usize) {
        let used = &self.room.used;
        match len.checked_sub(bytes.len()) {
            Some(more) => used.fetch_add(more as u64, Ordering::Relaxed),
            None => used.fetch_sub((bytes.len() - len) as u64, Ordering::Relaxed),
        };
        bytes.resize(len, 0);
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        let len = lock(&self.bytes).len() as u64;
        self.room.used.fetch_sub(len, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn missing(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.to_owned())
}

impl Disk for Memory {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut files = lock(&self.files);
        if files.contains_key(path) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                path.to_owned(),
            ));
        }
        let file = Arc::new(MemoryFile {
            bytes: Mutex::default(),
            room: Arc::clone(&self.room),
        });
        files.insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        match lock(&self.files).get(path) {
            Some(file) => Ok(Arc::clone(file) as Arc<dyn File>),
            None => Err(missing(path)),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = lock(&self.files);
        let file = files.remove(from).ok_or_else(|| missing(from))?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let removed = lock(&self.files).remove(path);
        removed.map(|_| ()).ok_or_else(|| missing(path))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let names = lock(&self.files);
        let inside = names.keys().filter_map(|path| {
            let name = path.strip_prefix(dir)?.strip_prefix('/')?;
            (!name.contains('/')).then(|| name.to_owned())
        });
        Ok(inside.collect())
    }

    fn make_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        Ok(Space {
            total: self.room.capacity,
            free: self.room.free(),
        })
    }

    fn lock(&self, _: &str) -> Result<Box<dyn Any + Send + Sync>, LockError> {
        Ok(Box::new(()))
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

impl File for MemoryFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut all = lock(&self.bytes);
        let at = at as usize;
        if all.len() < at + bytes.len() {
            self.resize(&mut all, at + bytes.len());
        }
        all[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<usize> {
        let all = lock(&self.bytes);
        let from = all.get(at as usize..).unwrap_or_default();
        let count = from.len().min(out.len());
        out[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn read_runs(&self, runs: &[Range<u64>], out: &mut Vec<u8>, _: Wait) -> io::Result<Reads> {
        let all = lock(&self.bytes);
        let before = out.len();
        for run in runs {
            let Some(bytes) = all.get(run.start as usize..run.end as usize) else {
                out.truncate(before);
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            out.extend_from_slice(bytes);
        }
        Ok(Reads::Done)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn reserve(&self, range: Range<u64>) -> io::Result<()> {
        let more = range.end.saturating_sub(lock(&self.bytes).len() as u64);
        match more <= self.room.free() {
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        let mut all = lock(&self.bytes);
        if (all.len() as u64) < range.end {
            self.resize(&mut all, range.end as usize);
        }
        all[range.start as usize..range.end as usize].fill(0);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.resize(&mut lock(&self.bytes), len as usize);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.bytes).len() as u64)
    }

    fn write_back(&self, _: Range<u64>) -> io::Result<()> {
        Ok(())
    }

    fn forget(&self, _: Range<u64>) -> io::Result<()> {
        Ok(())
    }
}
