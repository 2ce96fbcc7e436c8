//! What this machine has: memory, and its distance from UTC.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Assumed where the system does not tell.
const MEMORY: u64 = 8 << 30;

/// The machine's memory in bytes.
pub fn memory() -> u64 {
    bytes("/proc/meminfo", "MemTotal:").unwrap_or(MEMORY)
}

/// Bytes of this process in memory that are no file's; 0 where the system does not tell.
pub fn anonymous() -> u64 {
    bytes("/proc/self/status", "RssAnon:").unwrap_or(0)
}

/// An entry of one of the system's tables of sizes.
fn bytes(table: &str, name: &str) -> Option<u64> {
    let table = fs::read_to_string(table).ok()?;
    let line = table.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Takes as many descriptors as the system permits: every connection and every segment is one.
pub fn raise_descriptors() {
    let before = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    let number = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |n| n.to_string());
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => {
            tracing::info!(
                from = number(before.current),
                to = number(before.maximum),
                "descriptors that may be open"
            );
        }
        Err(error) => tracing::warn!(
            %error,
            limit = number(before.current),
            "the limit of descriptors cannot be raised"
        ),
    }
}

/// The local time's distance from UTC in milliseconds, of the zone's last rule that has begun. The
/// hours of `deleteWhen` are local; a summer time that begins later counts from the next start on.
pub fn utc_offset_ms() -> i64 {
    let zone = match std::env::var("TZ") {
        Ok(name) if !name.is_empty() => {
            format!("/usr/share/zoneinfo/{}", name.trim_start_matches(':'))
        }
        _ => "/etc/localtime".to_owned(),
    };
    let file = fs::read(zone).unwrap_or_default();
    let now = store::Clock::wall(&crate::clock::RealClock::new()) / 1_000;
    offset_in(&file, now).unwrap_or(0) * 1_000
}

/// The offset in seconds that a TZif file (RFC 8536) has for a time. Of its two blocks the first is
/// read, whose times end in 2038; behind its last change that one holds.
fn offset_in(file: &[u8], now: i64) -> Option<i64> {
    let number = |at: usize| -> Option<i64> {
        let bytes = file.get(at..at + 4)?.try_into().ok()?;
        Some(i32::from_be_bytes(bytes).into())
    };
    if !file.starts_with(b"TZif") {
        return None;
    }
    let count = |at: usize| number(at).and_then(|count| usize::try_from(count).ok());
    let (times, types) = (count(32)?, count(36)?);
    let begun = (0..times)
        .filter(|n| number(44 + n * 4).is_some_and(|time| time <= now))
        .count();
    let indices = 44 + times * 4;
    let kind = match begun {
        0 => 0,
        begun => *file.get(indices + begun - 1)? as usize,
    };
    if kind >= types {
        return None;
    }
    number(indices + times + kind * 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_read_from_the_system() {
        assert!(memory() > 64 << 20);
    }

    #[test]
    fn the_offset_is_that_of_the_last_change_before_now() {
        let mut file = b"TZif2".to_vec();
        file.resize(20, 0);
        for count in [0_u32, 0, 0, 2, 2, 8] {
            file.extend_from_slice(&count.to_be_bytes());
        }
        for time in [1_000_i32, 2_000] {
            file.extend_from_slice(&time.to_be_bytes());
        }
        file.extend_from_slice(&[1, 0]);
        for (offset, summer) in [(3_600_i32, 0_u8), (7_200, 1)] {
            file.extend_from_slice(&offset.to_be_bytes());
            file.extend_from_slice(&[summer, 0]);
        }
        assert_eq!(offset_in(&file, 500), Some(3_600));
        assert_eq!(offset_in(&file, 1_500), Some(7_200));
        assert_eq!(offset_in(&file, 9_999), Some(3_600));
        for cut in 0..file.len() {
            offset_in(&file[..cut], 1_500);
        }
        assert_eq!(offset_in(b"no zone", 0), None);
    }
}
