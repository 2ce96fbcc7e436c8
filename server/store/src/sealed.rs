//! A file that is whole or not there: written under another name, flushed, then renamed.
//!
//! It begins with a magic and ends with a CRC-32 over all before it. Whatever is wrong with one makes
//! it as good as missing: everything kept this way can be derived from the log again.

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, File};

/// Bytes are written in pieces of this size.
const PIECE: usize = 1 << 20;

/// Writes one file.
pub(crate) struct Writer {
    path: String,
    temporary: String,
    file: Arc<dyn File>,
    buffer: Vec<u8>,
    at: u64,
    sum: crc32fast::Hasher,
}

impl Writer {
    /// Begins a file that will be called `path`.
    pub fn new(disk: &dyn Disk, path: &str, magic: u32) -> io::Result<Writer> {
        let temporary = format!("{path}.new");
        match disk.remove(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut writer = Writer {
            file: disk.create(&temporary)?,
            path: path.to_owned(),
            temporary,
            buffer: Vec::new(),
            at: 0,
            sum: crc32fast::Hasher::new(),
        };
        writer.buffer().extend_from_slice(&magic.to_be_bytes());
        Ok(writer)
    }

    /// Where to append; call [`Writer::spill`] now and then.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes what is in the buffer if it is much.
    pub fn spill(&mut self) -> io::Result<()> {
        if self.buffer.len() < PIECE {
            return Ok(());
        }
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        self.sum.update(&self.buffer);
        self.file.write_at(&self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Flushes it. It has its name only after [`Finished::publish`].
    pub fn finish(mut self) -> io::Result<Finished> {
        self.sum.update(&self.buffer);
        let sum = std::mem::take(&mut self.sum).finalize();
        self.buffer.extend_from_slice(&sum.to_be_bytes());
        self.file.write_at(&self.buffer, self.at)?;
        self.file.sync_data()?;
        Ok(Finished {
            len: self.at + self.buffer.len() as u64,
            path: self.path,
            temporary: self.temporary,
        })
    }
}

/// A file that is written and flushed, under its temporary name.
#[derive(Debug)]
pub(crate) struct Finished {
    path: String,
    temporary: String,
    /// Its length in bytes.
    pub len: u64,
}

impl Finished {
    /// Gives it its name, for good.
    pub fn publish(self, disk: &dyn Disk) -> io::Result<()> {
        disk.rename(&self.temporary, &self.path)?;
        disk.sync_dir(folder(&self.path))
    }
}

/// The folder a path lies in.
pub(crate) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// What is between magic and checksum, or `None` if the file is missing or not whole.
pub(crate) fn read(disk: &dyn Disk, path: &str, magic: u32) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut bytes = vec![0; file.len()? as usize];
    let count = file.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    let Some((rest, sum)) = bytes.split_last_chunk::<4>() else {
        return Ok(None);
    };
    let whole =
        rest.starts_with(&magic.to_be_bytes()) && crc32fast::hash(rest) == u32::from_be_bytes(*sum);
    if !whole {
        return Ok(None);
    }
    bytes.truncate(count - 4);
    bytes.drain(..4);
    Ok(Some(bytes))
}

/// Deletes a file, for good; that it is not there is fine.
pub(crate) fn remove(disk: &dyn Disk, path: &str) -> io::Result<()> {
    match disk.remove(path) {
        Ok(()) => disk.sync_dir(folder(path)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}
