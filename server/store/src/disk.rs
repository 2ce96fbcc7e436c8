//! The disk, handed in: real, in memory, or simulated.
//!
//! Paths are relative to the disk's root. Nothing here retries: an error is the caller's to judge, and
//! a failed flush is final (what the page cache says after one is not what the disk holds).

pub mod memory;
pub mod real;
pub mod sim;
mod sys;

pub use sys::give_back_memory;

use std::any::Any;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Whether a read may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Only what is in memory.
    No,
    /// As long as it takes.
    Yes,
}

/// What became of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Everything was appended.
    Done,
    /// Something is not in memory; nothing was appended.
    WouldBlock,
}

/// How full the partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it, bytes.
    pub total: u64,
    /// What we may still use, bytes.
    pub free: u64,
}

/// Why a folder could not be locked.
#[derive(Debug)]
pub enum LockError {
    /// Somebody else has it: what its lock file says.
    Held(String),
    /// The system refused.
    Io(io::Error),
}

/// A folder with files.
pub trait Disk: Send + Sync {
    /// Makes a new file, empty. An error if there is one. It stands only after [`Disk::sync_dir`].
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>>;
    /// Opens a file that is there.
    fn open(&self, path: &str) -> io::Result<Arc<dyn File>>;
    /// Gives a file another name, replacing what had that name. Stands after [`Disk::sync_dir`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Deletes a file. Stands after [`Disk::sync_dir`].
    fn remove(&self, path: &str) -> io::Result<()>;
    /// The names in a folder, unsorted; none if there is no such folder.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// Makes a folder and those above it, if missing.
    fn make_dir(&self, dir: &str) -> io::Result<()>;
    /// Flushes a folder's names.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
    /// How full the partition is.
    fn space(&self) -> io::Result<Space>;
    /// Keeps others out until the guard is dropped. `path` then holds our process id.
    fn lock(&self, path: &str) -> Result<Box<dyn Any + Send + Sync>, LockError>;
    /// Where this is, for messages.
    fn describe(&self) -> String;
}

/// An open file. All positions in bytes.
pub trait File: Send + Sync {
    /// Writes all of `bytes`; fewer is an error.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Reads up to `out.len()` bytes; fewer only at the file's end.
    fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<usize>;
    /// Appends the bytes of all `runs` to `out`, or nothing. A run beyond the end is an error.
    fn read_runs(&self, runs: &[Range<u64>], out: &mut Vec<u8>, wait: Wait) -> io::Result<Reads>;
    /// Flushes what was written, and the length if it changed.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes sure that writes in `range` find space; the length stays. `StorageFull` if there is none.
    fn reserve(&self, range: Range<u64>) -> io::Result<()>;
    /// Fills `range` with zeros, quickly if the file system can; the length grows if need be.
    fn zero(&self, range: Range<u64>) -> io::Result<()>;
    /// Cuts or extends (with zeros).
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// The length.
    fn len(&self) -> io::Result<u64>;
    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Starts writing a range to the disk, without a promise.
    fn write_back(&self, range: Range<u64>) -> io::Result<()>;
    /// Drops what memory holds of a flushed range, so that the next read asks the disk.
    fn forget(&self, range: Range<u64>) -> io::Result<()>;
}
