//! Files of the operating system: positioned writes, `fdatasync`, `fallocate`, read-only maps.

use std::any::Any;
use std::fs;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use memmap2::Mmap;
use rustix::fs::{FlockOperation, flock};

use super::{Disk, File, LockError, Reads, Space, Wait, sys};

/// The least that is mapped at once; addresses cost nothing.
const MAP_MIN: u64 = 16 << 20;
/// The longest write. For a longer one Linux would take pages of up to two megabytes, which a hypervisor has often taken
/// back since they were free, and gives again page by page: several times as long as the copying.
const PIECE: usize = 256 << 10;

/// A folder of the file system.
#[derive(Debug)]
pub struct Real {
    root: PathBuf,
    held: bool,
}

impl Real {
    /// The folder `root`, made if it is missing.
    pub fn new(root: impl Into<PathBuf>) -> io::Result<Real> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        Ok(Real { root, held: false })
    }

    /// The same, for who holds the folder's lock already: it is not taken again.
    pub fn held(root: impl Into<PathBuf>) -> io::Result<Real> {
        let real = Real::new(root)?;
        Ok(Real { held: true, ..real })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

impl Disk for Real {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let path = self.path(path);
        RealFile::shared(
            fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .open(path)?,
        )
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let path = self.path(path);
        RealFile::shared(fs::OpenOptions::new().read(true).write(true).open(path)?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(dir)) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn make_dir(&self, dir: &str) -> io::Result<()> {
        fs::create_dir_all(self.path(dir))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        fs::File::open(self.path(dir))?.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(Space {
            total: stat.f_blocks * stat.f_frsize,
            free: stat.f_bavail * stat.f_frsize,
        })
    }

    fn lock(&self, path: &str) -> Result<Box<dyn Any + Send + Sync>, LockError> {
        match self.held {
            true => Ok(Box::new(())),
            false => lock_file(&self.path(path)),
        }
    }

    fn describe(&self) -> String {
        self.root.display().to_string()
    }
}

fn lock_file(path: &Path) -> Result<Box<dyn Any + Send + Sync>, LockError> {
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(LockError::Io)?;
    if let Err(e) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if e != rustix::io::Errno::WOULDBLOCK {
            return Err(LockError::Io(e.into()));
        }
        let mut holder = String::new();
        let _ = file.take(64).read_to_string(&mut holder);
        return Err(LockError::Held(holder.trim().to_owned()));
    }
    let written = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(LockError::Io)?;
    Ok(Box::new(file))
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    map: RwLock<Option<Mmap>>,
    /// The length when it was last asked for; the file may have grown since, never shrunk.
    known: AtomicU64,
    /// Held while the file is mapped anew or cut.
    mapping: Mutex<()>,
}

impl RealFile {
    fn shared(file: fs::File) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile {
            file,
            map: RwLock::new(None),
            known: AtomicU64::new(0),
            mapping: Mutex::new(()),
        }))
    }

    fn read_blocking(&self, runs: &[Range<u64>], out: &mut Vec<u8>) -> io::Result<Reads> {
        let before = out.len();
        for run in runs {
            let at = out.len();
            out.resize(at + (run.end - run.start) as usize, 0);
            if let Err(e) = self.file.read_exact_at(&mut out[at..], run.start) {
                out.truncate(before);
                return Err(e);
            }
        }
        Ok(Reads::Done)
    }

    /// Copies from the map if every page is in memory. The map grows when a run lies beyond it.
    fn read_resident(&self, runs: &[Range<u64>], out: &mut Vec<u8>) -> io::Result<Reads> {
        let end = runs.iter().map(|run| run.end).max().unwrap_or(0);
        let start = runs.iter().map(|run| run.start).min().unwrap_or(0);
        if self.known.load(Ordering::Acquire) < end || self.mapped() < end {
            self.map_again(end)?;
        }
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        let Some(map) = map.as_ref().filter(|map| map.len() as u64 >= end) else {
            return Ok(Reads::WouldBlock);
        };
        let warm =
            |range: &Range<u64>| sys::resident(map, range.start as usize..range.end as usize);
        // One question for all of it, if that is not far more than was asked for.
        let warm = if end - start <= 2 << 20 {
            warm(&(start..end))
        } else {
            runs.iter().all(warm)
        };
        if !warm {
            return Ok(Reads::WouldBlock);
        }
        for run in runs {
            out.extend_from_slice(&map[run.start as usize..run.end as usize]);
        }
        Ok(Reads::Done)
    }

    fn mapped(&self) -> u64 {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.as_ref().map_or(0, |map| map.len() as u64)
    }

    fn map_again(&self, end: u64) -> io::Result<()> {
        let _alone = self.mapping.lock().unwrap_or_else(PoisonError::into_inner);
        let len = self.file.metadata()?.len();
        if end > len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.mapped() < end {
            // More than there is, so that a growing file is not mapped again and again. Only what is
            // below the known length is ever touched.
            let ample = len.next_power_of_two().max(MAP_MIN);
            let map = sys::map(&self.file, ample as usize)?;
            *self.map.write().unwrap_or_else(PoisonError::into_inner) = Some(map);
        }
        self.known.store(len, Ordering::Release);
        Ok(())
    }
}

impl File for RealFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut done = 0;
        for piece in bytes.chunks(PIECE) {
            // One call: a short write is reported, never continued.
            let count = self.file.write_at(piece, at + done as u64)?;
            done += count;
            if count != piece.len() {
                return Err(io::Error::new(
                    io::ErrorKind::WriteZero,
                    format!("{done} of {} bytes were written", bytes.len()),
                ));
            }
        }
        Ok(())
    }

    fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<usize> {
        let mut count = 0;
        while count < out.len() {
            match self.file.read_at(&mut out[count..], at + count as u64) {
                Ok(0) => break,
                Ok(n) => count += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(count)
    }

    fn read_runs(&self, runs: &[Range<u64>], out: &mut Vec<u8>, wait: Wait) -> io::Result<Reads> {
        match wait {
            Wait::No => self.read_resident(runs, out),
            Wait::Yes => self.read_blocking(runs, out),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    #[cfg(target_os = "linux")]
    fn reserve(&self, range: Range<u64>) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        let len = range.end - range.start;
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, range.start, len) {
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            other => Ok(other?),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn reserve(&self, _: Range<u64>) -> io::Result<()> {
        Ok(())
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{FallocateFlags, fallocate};
            let len = range.end - range.start;
            let quick = fallocate(&self.file, FallocateFlags::ZERO_RANGE, range.start, len);
            if quick.is_ok() {
                return Ok(());
            }
        }
        let zeros = vec![0u8; 1 << 20];
        let mut at = range.start;
        while at < range.end {
            let count = (range.end - at).min(zeros.len() as u64);
            self.file.write_all_at(&zeros[..count as usize], at)?;
            at += count;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let _alone = self.mapping.lock().unwrap_or_else(PoisonError::into_inner);
        // A map of bytes that are cut off would be a trap.
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.known.store(0, Ordering::Release);
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn write_back(&self, range: Range<u64>) -> io::Result<()> {
        sys::write_back(&self.file, range)
    }

    #[cfg(target_os = "linux")]
    fn forget(&self, range: Range<u64>) -> io::Result<()> {
        use rustix::fs::{Advice, fadvise};
        let len = std::num::NonZero::new(range.end - range.start);
        Ok(fadvise(&self.file, range.start, len, Advice::DontNeed)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn forget(&self, _: Range<u64>) -> io::Result<()> {
        Ok(())
    }
}
