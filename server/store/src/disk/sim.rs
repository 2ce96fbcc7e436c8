//! A disk that remembers every write, and can show what a power cut would have left of it.
//!
//! Until a file is flushed, each of its writes may be kept, dropped, or torn at any sector of 512
//! bytes; until a folder is flushed, only a first part of its changes of names may be there. A flush
//! that fails keeps nothing, and the next one does not make up for it: that is how Linux behaves.

mod crash;

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

pub use crash::{Crash, Keep};

use super::{Disk, File, LockError, Reads, Space, Wait};
use crate::lock;

/// What the power cut left: files by path. Also what a [`Sim`] begins with.
pub type Image = BTreeMap<String, Arc<Vec<u8>>>;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The write fails and leaves nothing.
    WriteError,
    /// The write ends in the middle.
    WriteShort,
    /// The flush fails.
    SyncError,
    /// The flush fails, and says so only when another one of any file has succeeded, or none came for a while.
    SyncErrorLate,
}

/// How long a [`Fault::SyncErrorLate`] waits for another flush.
const LATE: Duration = Duration::from_millis(300);

/// One thing that was done to the disk.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create {
        path: String,
        inode: usize,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        path: String,
    },
    SyncDir {
        dir: String,
    },
    Write {
        inode: usize,
        at: u64,
        bytes: Arc<[u8]>,
    },
    SetLen {
        inode: usize,
        len: u64,
    },
    Sync {
        inode: usize,
    },
    SyncFailed {
        inode: usize,
    },
}

/// A simulated disk.
pub struct Sim {
    state: Arc<Mutex<State>>,
    /// Notified when a flush succeeded.
    synced: Arc<Condvar>,
}

struct State {
    start: Image,
    names: BTreeMap<String, usize>,
    inodes: Vec<Inode>,
    trace: Vec<Op>,
    fault: Option<(Fault, u32)>,
    total: u64,
    used: u64,
}

#[derive(Default)]
struct Inode {
    /// What programs see: the page cache.
    bytes: Vec<u8>,
    /// What the platter has.
    flushed: Vec<u8>,
    dirty: Vec<Range<u64>>,
    allocated: u64,
}

/// A trace up to now.
pub struct Trace {
    pub(crate) start: Image,
    pub(crate) ops: Vec<Op>,
}

struct SimFile {
    state: Arc<Mutex<State>>,
    synced: Arc<Condvar>,
    inode: usize,
}

impl Default for Sim {
    fn default() -> Sim {
        Sim::new(Image::new())
    }
}

impl Sim {
    /// A disk of 1 GiB with these files on it, all flushed.
    pub fn new(image: Image) -> Sim {
        let mut names = BTreeMap::new();
        let mut inodes = Vec::new();
        for (path, bytes) in &image {
            names.insert(path.clone(), inodes.len());
            inodes.push(Inode {
                bytes: bytes.to_vec(),
                flushed: bytes.to_vec(),
                dirty: Vec::new(),
                allocated: bytes.len() as u64,
            });
        }
        let used = inodes.iter().map(|inode| inode.allocated).sum();
        Sim {
            state: Arc::new(Mutex::new(State {
                start: image,
                names,
                inodes,
                trace: Vec::new(),
                fault: None,
                total: 1 << 30,
                used,
            })),
            synced: Arc::default(),
        }
    }

    /// How many things were done so far.
    pub fn position(&self) -> usize {
        lock(&self.state).trace.len()
    }

    /// Takes what was done so far; the disk goes on recording from nothing.
    pub fn take_trace(&self) -> Trace {
        let mut state = lock(&self.state);
        Trace {
            start: state.start.clone(),
            ops: std::mem::take(&mut state.trace),
        }
    }

    /// Lets the `nth` thing of its kind from now on go wrong, counted from 0.
    pub fn inject(&self, fault: Fault, nth: u32) {
        lock(&self.state).fault = Some((fault, nth));
    }

    /// Takes back a fault that has not happened yet.
    pub fn heal(&self) {
        lock(&self.state).fault = None;
    }

    /// Makes the partition this big.
    pub fn set_total(&self, bytes: u64) {
        lock(&self.state).total = bytes;
    }
}

fn missing(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.to_owned())
}

fn broken() -> io::Error {
    io::Error::other("the simulated disk failed")
}

impl State {
    /// Whether the fault is due now.
    fn fails(&mut self, kinds: &[Fault]) -> Option<Fault> {
        let (fault, nth) = self.fault.filter(|(fault, _)| kinds.contains(fault))?;
        if nth > 0 {
            self.fault = Some((fault, nth - 1));
            return None;
        }
        self.fault = None;
        Some(fault)
    }

    fn allocate(&mut self, inode: usize, end: u64) -> io::Result<()> {
        let more = end.saturating_sub(self.inodes[inode].allocated);
        if self.used + more > self.total {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.used += more;
        self.inodes[inode].allocated += more;
        Ok(())
    }

    fn write(&mut self, inode: usize, bytes: &[u8], at: u64) -> io::Result<()> {
        let end = at + bytes.len() as u64;
        self.allocate(inode, end)?;
        let file = &mut self.inodes[inode];
        if (file.bytes.len() as u64) < end {
            file.bytes.resize(end as usize, 0);
        }
        file.bytes[at as usize..end as usize].copy_from_slice(bytes);
        file.dirty.push(at..end);
        self.trace.push(Op::Write {
            inode,
            at,
            bytes: bytes.into(),
        });
        Ok(())
    }

    fn forget_name(&mut self, path: &str) -> Option<usize> {
        let inode = self.names.remove(path)?;
        self.used -= self.inodes[inode].allocated;
        self.inodes[inode].allocated = 0;
        Some(inode)
    }
}

impl Disk for Sim {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut state = lock(&self.state);
        if state.names.contains_key(path) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                path.to_owned(),
            ));
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.names.insert(path.to_owned(), inode);
        state.trace.push(Op::Create {
            path: path.to_owned(),
            inode,
        });
        Ok(Arc::new(SimFile {
            state: Arc::clone(&self.state),
            synced: Arc::clone(&self.synced),
            inode,
        }))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let inode = *lock(&self.state)
            .names
            .get(path)
            .ok_or_else(|| missing(path))?;
        Ok(Arc::new(SimFile {
            state: Arc::clone(&self.state),
            synced: Arc::clone(&self.synced),
            inode,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        let inode = state.names.remove(from).ok_or_else(|| missing(from))?;
        state.forget_name(to);
        state.names.insert(to.to_owned(), inode);
        state.trace.push(Op::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
        });
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.forget_name(path).ok_or_else(|| missing(path))?;
        state.trace.push(Op::Remove {
            path: path.to_owned(),
        });
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let state = lock(&self.state);
        let inside = state.names.keys().filter_map(|path| {
            let name = path.strip_prefix(dir)?.strip_prefix('/')?;
            (!name.contains('/')).then(|| name.to_owned())
        });
        Ok(inside.collect())
    }

    fn make_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        lock(&self.state).trace.push(Op::SyncDir {
            dir: dir.to_owned(),
        });
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let state = lock(&self.state);
        Ok(Space {
            total: state.total,
            free: state.total.saturating_sub(state.used),
        })
    }

    fn lock(&self, _: &str) -> Result<Box<dyn Any + Send + Sync>, LockError> {
        Ok(Box::new(()))
    }

    fn describe(&self) -> String {
        "simulation".to_owned()
    }
}

impl File for SimFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        match state.fails(&[Fault::WriteError, Fault::WriteShort]) {
            None => state.write(self.inode, bytes, at),
            Some(Fault::WriteShort) => {
                state.write(self.inode, &bytes[..bytes.len() / 2], at)?;
                Err(broken())
            }
            Some(_) => Err(broken()),
        }
    }

    fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<usize> {
        let state = lock(&self.state);
        let from = state.inodes[self.inode].bytes.get(at as usize..);
        let from = from.unwrap_or_default();
        let count = from.len().min(out.len());
        out[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn read_runs(&self, runs: &[Range<u64>], out: &mut Vec<u8>, _: Wait) -> io::Result<Reads> {
        let state = lock(&self.state);
        let before = out.len();
        for run in runs {
            let all = &state.inodes[self.inode].bytes;
            let Some(bytes) = all.get(run.start as usize..run.end as usize) else {
                out.truncate(before);
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            out.extend_from_slice(bytes);
        }
        Ok(Reads::Done)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        let inode = self.inode;
        let failed = state.fails(&[Fault::SyncError, Fault::SyncErrorLate]);
        let file = &mut state.inodes[inode];
        let dirty = std::mem::take(&mut file.dirty);
        if let Some(fault) = failed {
            state.trace.push(Op::SyncFailed { inode });
            if fault == Fault::SyncErrorLate {
                let waited = self.synced.wait_timeout(state, LATE);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
            return Err(broken());
        }
        file.flushed.resize(file.bytes.len(), 0);
        for range in dirty {
            let range = range.start as usize..(range.end as usize).min(file.bytes.len());
            if range.start < range.end {
                file.flushed[range.clone()].copy_from_slice(&file.bytes[range]);
            }
        }
        state.trace.push(Op::Sync { inode });
        self.synced.notify_all();
        Ok(())
    }

    fn reserve(&self, range: Range<u64>) -> io::Result<()> {
        lock(&self.state).allocate(self.inode, range.end)
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        let zeros = vec![0; (range.end - range.start) as usize];
        self.write_at(&zeros, range.start)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.inodes[self.inode].bytes.resize(len as usize, 0);
        let inode = self.inode;
        state.trace.push(Op::SetLen { inode, len });
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.state).inodes[self.inode].bytes.len() as u64)
    }

    fn write_back(&self, _: Range<u64>) -> io::Result<()> {
        Ok(())
    }

    fn forget(&self, range: Range<u64>) -> io::Result<()> {
        let mut state = lock(&self.state);
        let file = &mut state.inodes[self.inode];
        let dirty = |at: u64| file.dirty.iter().any(|range| range.contains(&at));
        for at in range {
            if !dirty(at)
                && let Some(byte) = file.bytes.get_mut(at as usize)
            {
                *byte = file.flushed.get(at as usize).copied().unwrap_or(0);
            }
        }
        Ok(())
    }
}
