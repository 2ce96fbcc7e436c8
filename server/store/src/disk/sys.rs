//! The only unsafe code of the project: read-only maps of segments, what Linux says of them, and memory that
//! its allocator keeps.
//!
//! A map is never handed out: callers get copies. Nothing writes through one, and a file is cut or
//! reused only when no map of it is left, so no SIGBUS can come from our own doing.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;

use memmap2::{Mmap, MmapOptions};

/// Maps the first `len` bytes of a file for reading. Bytes behind the file's end must not be touched.
pub(super) fn map(file: &File, len: usize) -> io::Result<Mmap> {
    // SAFETY: the file belongs to this process (store.lock), is never truncated while it is mapped
    // (see `real::RealFile::set_len`), and bytes that change under the map are only ever copied out
    // and checked afterwards.
    unsafe { MmapOptions::new().len(len).map(file) }
}

/// Whether all pages of `range` are in memory.
#[cfg(target_os = "linux")]
pub(super) fn resident(map: &Mmap, range: Range<usize>) -> bool {
    const PAGE: usize = 4096;
    let start = range.start & !(PAGE - 1);
    let end = range.end.min(map.len());
    if start >= end {
        return false;
    }
    let mut seen = [0u8; 256];
    let mut at = start;
    while at < end {
        let len = (end - at).min(seen.len() * PAGE);
        // SAFETY: at..at+len lies inside the map, and `seen` has one byte for each of its pages.
        let failed = unsafe {
            libc::mincore(
                map.as_ptr().add(at).cast_mut().cast(),
                len,
                seen.as_mut_ptr(),
            )
        } != 0;
        if failed || seen[..len.div_ceil(PAGE)].iter().any(|page| page & 1 == 0) {
            return false;
        }
        at += len;
    }
    true
}

/// Not known here: whoever may not wait is told that it would have to.
#[cfg(not(target_os = "linux"))]
pub(super) fn resident(_: &Mmap, _: Range<usize>) -> bool {
    false
}

/// Starts write-back of a range.
#[cfg(target_os = "linux")]
pub(super) fn write_back(file: &File, range: Range<u64>) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: a plain system call on an open file descriptor; no memory is passed.
    let result = unsafe {
        libc::sync_file_range(
            file.as_raw_fd(),
            range.start as i64,
            (range.end - range.start) as i64,
            libc::SYNC_FILE_RANGE_WRITE,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Left to the system here.
#[cfg(not(target_os = "linux"))]
pub(super) fn write_back(_: &File, _: Range<u64>) -> io::Result<()> {
    Ok(())
}

/// Gives memory that the allocator keeps free back to the system, which takes milliseconds for each 100 MiB.
/// glibc does so by itself only with what is free at the end of its heap. Elsewhere this does nothing.
pub fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes the allocator's own locks, and touches only pages that nobody has allocated.
    unsafe {
        libc::malloc_trim(0);
    }
}
