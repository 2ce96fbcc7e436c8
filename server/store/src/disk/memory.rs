//! A disk in memory: for tests, and for a server that keeps nothing.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, File, LockError, Reads, Space, Wait};

/// A disk whose files are vectors.
#[derive(Debug)]
pub struct Memory {
    files: Mutex<BTreeMap<String, Arc<MemoryFile>>>,
    capacity: u64,
}

impl Memory {
    /// A disk that says it is full with so many bytes of files. Whoever writes on is not stopped: as on
    /// a real one, the store stops in time.
    pub fn with_capacity(bytes: u64) -> Memory {
        Memory {
            files: Mutex::default(),
            capacity: bytes,
        }
    }
}

/// As large as nothing in memory can be.
impl Default for Memory {
    fn default() -> Memory {
        Memory::with_capacity(1 << 40)
    }
}

#[derive(Debug, Default)]
struct MemoryFile {
    bytes: Mutex<Vec<u8>>,
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
        let file = Arc::new(MemoryFile::default());
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
        let files = lock(&self.files);
        let used = files.values().map(|file| lock(&file.bytes).len() as u64);
        Ok(Space {
            total: self.capacity,
            free: self.capacity.saturating_sub(used.sum()),
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
            all.resize(at + bytes.len(), 0);
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

    fn reserve(&self, _: Range<u64>) -> io::Result<()> {
        Ok(())
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        let mut all = lock(&self.bytes);
        if (all.len() as u64) < range.end {
            all.resize(range.end as usize, 0);
        }
        all[range.start as usize..range.end as usize].fill(0);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        lock(&self.bytes).resize(len as usize, 0);
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
