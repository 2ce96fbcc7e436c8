//! Ids of clients and of messages.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicI64, AtomicU16, Ordering};

use model::id::UniqIds;

/// Makes `UNIQ_KEY`s.
pub(crate) struct Ids {
    uniq: UniqIds,
    count: AtomicU16,
    /// The start and the end of the month, milliseconds since the Unix epoch.
    month: [AtomicI64; 2],
}

impl Ids {
    pub(crate) fn new(ip: IpAddr) -> Ids {
        let uniq = UniqIds::new(ip, std::process::id() as u16, chance() as u32);
        Ids {
            uniq,
            count: AtomicU16::new(0),
            month: [AtomicI64::new(0), AtomicI64::new(0)],
        }
    }

    /// Appends a new id.
    pub(crate) fn push(&self, now: i64, out: &mut String) {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let [start, end] = &self.month;
        if now >= end.load(Ordering::Relaxed) {
            let (from, to) = month_of(now);
            start.store(from, Ordering::Relaxed);
            end.store(to, Ordering::Relaxed);
        }
        let since = now - start.load(Ordering::Relaxed);
        self.uniq.push(out, since as u32, count);
    }
}

/// `ip@instance`, as brokers show clients.
pub(crate) fn client_id(ip: IpAddr, instance: Option<&str>) -> String {
    match instance {
        Some(instance) => format!("{ip}@{instance}"),
        None => format!("{ip}@{}#{:016x}", std::process::id(), chance()),
    }
}

/// The address by which this machine reaches that host. Nothing is sent.
pub(crate) fn own_ip(towards: Option<&str>) -> IpAddr {
    let ask = |towards: &str| {
        let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
        socket.connect(towards).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let ip = towards.and_then(ask);
    ip.unwrap_or(Ipv4Addr::LOCALHOST.into())
}

/// A number that nobody else has.
pub(crate) fn chance() -> u64 {
    RandomState::new().build_hasher().finish()
}

const DAY_MS: i64 = 86_400_000;

/// Start and end of the month (UTC) that this time lies in.
fn month_of(now: i64) -> (i64, i64) {
    let days = now.div_euclid(DAY_MS);
    let (year, month) = civil(days);
    let (next_year, next_month) = if month == 12 {
        (year + 1, 1)
    } else {
        (year, month + 1)
    };
    let at = |year, month| days_before(year, month) * DAY_MS;
    (at(year, month), at(next_year, next_month))
}

/// Year and month of a day, counted from 1970-01-01. Years begin in March here, so that the day that
/// is there only sometimes is the last one.
fn civil(days: i64) -> (i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month)
}

/// Days from 1970-01-01 to the first of a month.
fn days_before(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_the_calendars() {
        let day = |ms: i64| ms / DAY_MS;
        for (now, start, end) in [
            (0, 0, 31),
            (1_709_210_000_000, 19_754, 19_783), // 2024-02-29: a leap year's February
            (1_764_000_000_000, 20_393, 20_423), // 2025-11-24
            (1_767_200_000_000, 20_423, 20_454), // 2025-12-31
        ] {
            let (from, to) = month_of(now);
            assert_eq!((day(from), day(to)), (start, end), "{now}");
        }
    }

    #[test]
    fn ids_differ_and_have_thirty_two_digits() {
        let ids = Ids::new(Ipv4Addr::LOCALHOST.into());
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            let mut id = String::new();
            ids.push(1_764_000_000_000, &mut id);
            assert_eq!(id.len(), 32);
            assert!(id.starts_with("7F000001"));
            assert!(seen.insert(id));
        }
    }
}
