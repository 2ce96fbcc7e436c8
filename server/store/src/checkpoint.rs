//! The checkpoint: what a start may rely on without reading the log.
//!
//! Two slots in one file, written in turn and flushed; the newest whole one counts. It never says more
//! than the disk holds, so that losing the last one only means reading a little more.

use std::io;
use std::sync::Arc;

use model::{LogOffset, QueueOffset};

use crate::disk::{Disk, File};
use crate::error::Error;

const PATH: &str = "checkpoint";
const MAGIC: u32 = 0x5048_4350;
const VERSION: u32 = 1;
const SLOT: u64 = 4096;
const LEN: usize = 44;

/// What stands in a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Everything before this was flushed.
    pub durable: LogOffset,
    /// The tables are a fold from this position of their queue on.
    pub tables_from: QueueOffset,
    /// No record before `durable` was stored later than this.
    pub stored_at: i64,
}

/// The file.
pub(crate) struct CheckpointFile {
    file: Arc<dyn File>,
    sequence: u64,
}

impl CheckpointFile {
    /// Opens the file and reads the newest slot; makes the file if there is none. `None`: there was no
    /// whole slot.
    pub fn open(disk: &dyn Disk) -> Result<(CheckpointFile, Option<Checkpoint>), Error> {
        let file = match disk.open(PATH) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let file = disk.create(PATH).map_err(Error::io(PATH))?;
                disk.sync_dir("").map_err(Error::io(PATH))?;
                file
            }
            other => other.map_err(Error::io(PATH))?,
        };
        let mut newest: Option<(u64, Checkpoint)> = None;
        for slot in 0..2 {
            let mut bytes = [0; LEN];
            let count = file.read_at(&mut bytes, slot * SLOT);
            let whole = count.map_err(Error::io(PATH))? == LEN;
            let found = if whole { decode(&bytes) } else { None };
            newest = newest.max_by_sequence(found);
        }
        let sequence = newest.map_or(0, |(sequence, _)| sequence);
        let found = newest.map(|(_, checkpoint)| checkpoint);
        Ok((CheckpointFile { file, sequence }, found))
    }

    /// Writes a slot and flushes it.
    pub fn save(&mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        self.sequence += 1;
        let bytes = encode(self.sequence, checkpoint);
        self.file.write_at(&bytes, self.sequence % 2 * SLOT)?;
        self.file.sync_data()
    }
}

trait Newer {
    fn max_by_sequence(self, other: Self) -> Self;
}

impl Newer for Option<(u64, Checkpoint)> {
    fn max_by_sequence(self, other: Self) -> Self {
        match (self, other) {
            (Some(a), Some(b)) if b.0 > a.0 => Some(b),
            (None, b) => b,
            (a, _) => a,
        }
    }
}

fn encode(sequence: u64, checkpoint: &Checkpoint) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LEN);
    bytes.extend_from_slice(&MAGIC.to_be_bytes());
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(&checkpoint.durable.0.to_be_bytes());
    bytes.extend_from_slice(&checkpoint.tables_from.0.to_be_bytes());
    bytes.extend_from_slice(&checkpoint.stored_at.to_be_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8; LEN]) -> Option<(u64, Checkpoint)> {
    let (content, sum) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(content) != u32::from_be_bytes(*sum) {
        return None;
    }
    let number = |at: usize| -> Option<u64> {
        Some(u64::from_be_bytes(
            content.get(at..at + 8)?.try_into().ok()?,
        ))
    };
    if number(0)? != u64::from(MAGIC) << 32 | u64::from(VERSION) {
        return None;
    }
    let checkpoint = Checkpoint {
        durable: LogOffset(number(16)?),
        tables_from: QueueOffset(number(24)?),
        stored_at: number(32)? as i64,
    };
    Some((number(8)?, checkpoint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::Memory;

    fn at(durable: u64) -> Checkpoint {
        Checkpoint {
            durable: LogOffset(durable),
            tables_from: QueueOffset(7),
            stored_at: -1,
        }
    }

    #[test]
    fn the_newest_whole_slot_counts() {
        let disk = Memory::default();
        let (mut file, found) = CheckpointFile::open(&disk).unwrap();
        assert_eq!(found, None);
        for durable in 1..=5 {
            file.save(&at(durable)).unwrap();
            assert_eq!(CheckpointFile::open(&disk).unwrap().1, Some(at(durable)));
        }
        // The slot written last is torn: the one before it counts.
        file.file.write_at(&[0xFF; 20], SLOT + 10).unwrap();
        assert_eq!(CheckpointFile::open(&disk).unwrap().1, Some(at(4)));
    }
}
