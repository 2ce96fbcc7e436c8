//! The store's settings as it needs them. `posthouse` translates RocketMQ's names into these.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::log::read::RECORD_MAX;

/// When a record counts as confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// When `fdatasync` returned (`SYNC_FLUSH`).
    Sync,
    /// When the write returned (`ASYNC_FLUSH`).
    Async,
}

/// A store's settings. Sizes in bytes.
#[derive(Clone, Debug)]
pub struct Options {
    /// When a record counts as confirmed (`flushDiskType`).
    pub flush: Flush,
    /// Capacity of a log segment (`mappedFileSizeCommitLog`).
    pub segment_size: u64,
    /// The longest record; a longer one is refused as too large.
    pub record_max: usize,
    /// What may be staged and not yet written.
    pub staged_max: usize,
    /// How much of the log's end is kept in memory for readers.
    pub tail_max: usize,
    /// How many bytes of properties that filters read further back are kept for other filters.
    pub texts_max: usize,
    /// How much of the log's end the system's page cache keeps when nobody reads further back.
    pub cached: u64,
    /// Space is reserved in steps of this.
    pub reserve_step: u64,
    /// `SYNC_FLUSH`: how far ahead of the cursor zeros are written, so that `fdatasync` finds written
    /// blocks.
    pub zero_ahead: u64,
    /// `ASYNC_FLUSH`: the longest time a written byte stays unflushed before a flush begins.
    pub flush_interval: Duration,
    /// Written bytes are handed to the disk in steps of this, ahead of the flush.
    pub write_back_step: u64,
    /// The advertised address in each record's store host.
    pub store_host: SocketAddr,
    /// Records younger than this are never deleted unless `clean_forcibly` (`fileReservedTime`).
    pub reserved_time: Duration,
    /// Hours of the day, 0 to 23, in which expired segments are deleted (`deleteWhen`). Local time is
    /// UTC plus `utc_offset`.
    pub delete_hours: Vec<u8>,
    /// The local time's distance from UTC.
    pub utc_offset_ms: i64,
    /// Above this share of the partition (percent) expired segments go at any hour
    /// (`diskMaxUsedSpaceRatio`).
    pub disk_used_max: u8,
    /// Above this share producers are refused (`diskSpaceWarningLevelRatio`).
    pub disk_refuse: u8,
    /// Above this share segments go whatever their age, if `clean_forcibly`
    /// (`diskSpaceCleanForciblyRatio`).
    pub disk_force: u8,
    /// Whether the oldest segments may go before their time (`cleanFileForciblyEnable`).
    pub clean_forcibly: bool,
    /// Free bytes below which producers are refused, whatever the shares say.
    pub disk_spare: u64,
    /// Free bytes below which the oldest segments go, whatever their age.
    pub disk_room: u64,
}

impl Options {
    /// What is wrong with them, if anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        let segment = self.segment_size;
        if !(4 << 10..=2 << 30).contains(&segment) {
            return Err(format!("a segment has 4 KiB to 2 GiB, not {segment} bytes"));
        }
        let record = self.record_max;
        if record > RECORD_MAX {
            return Err(format!("a record of {record} bytes is more than 64 MiB"));
        }
        Ok(())
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            flush: Flush::Sync,
            segment_size: 1 << 30,
            record_max: (4 << 20) + (128 << 10),
            staged_max: 32 << 20,
            tail_max: 32 << 20,
            texts_max: 32 << 20,
            cached: 256 << 20,
            reserve_step: 32 << 20,
            zero_ahead: 32 << 20,
            flush_interval: Duration::from_millis(100),
            write_back_step: 8 << 20,
            store_host: SocketAddr::from((Ipv4Addr::LOCALHOST, 10911)),
            reserved_time: Duration::from_secs(72 * 3600),
            delete_hours: vec![4],
            utc_offset_ms: 0,
            disk_used_max: 75,
            disk_refuse: 90,
            disk_force: 85,
            clean_forcibly: false,
            disk_spare: 64 << 20,
            disk_room: 0,
        }
    }
}
