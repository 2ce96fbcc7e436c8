//! What the broker itself puts into messages: its properties, the keys of messages that came without
//! one, and chance.

use std::sync::atomic::{AtomicU64, Ordering};

use model::id::UniqIds;
use model::message::{append, key};

use crate::{Broker, Options};

/// Prepared once, so that a send only copies.
#[derive(Debug)]
pub(crate) struct Own {
    /// `MSG_REGION`, `TRACE_ON` and `CLUSTER`, ready to copy.
    pub properties: String,
    ids: UniqIds,
    count: AtomicU64,
    chance: AtomicU64,
}

impl Own {
    pub fn new(options: &Options) -> Own {
        let mut properties = String::new();
        append(&mut properties, key::MSG_REGION, &options.region);
        append(
            &mut properties,
            key::TRACE_ON,
            if options.trace_on { "true" } else { "false" },
        );
        append(&mut properties, key::CLUSTER, &options.cluster);
        let (pid, salt) = ((options.seed >> 32) as u16, options.seed as u32);
        Own {
            properties,
            ids: UniqIds::new(options.address.ip(), pid, salt),
            count: AtomicU64::new(0),
            chance: AtomicU64::new(options.seed),
        }
    }
}

impl Broker {
    /// A `UNIQ_KEY` for a message whose client sent none.
    pub(crate) fn new_unique_key(&self) -> Box<str> {
        let count = self.own.count.fetch_add(1, Ordering::Relaxed);
        let mut key = String::with_capacity(56);
        let since = since_month_start(self.clock.wall());
        self.own.ids.push(&mut key, since, count as u16);
        key.into_boxed_str()
    }

    /// A number by chance (splitmix64 over a counter, so that a seed repeats a run).
    pub(crate) fn random(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut x = self
            .own
            .chance
            .fetch_add(STEP, Ordering::Relaxed)
            .wrapping_add(STEP);
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }
}

/// Milliseconds since the month of `wall` began (UTC). Clients derive a message's birth from it.
fn since_month_start(wall: i64) -> u32 {
    let day = wall.div_euclid(86_400_000);
    // Days since 0000-03-01, split into 400-year eras: the day of the month falls out of the day of
    // the year that begins in March.
    let of_era = (day + 719_468).rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5;
    (of_month * 86_400_000 + wall.rem_euclid(86_400_000)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_month_of_a_moment_is_known() {
        const DAY: i64 = 86_400_000;
        // 2026-11-24T15:45:00Z, 2024-02-29T00:00:00Z, 2024-03-01T00:00:00.001Z.
        assert_eq!(
            i64::from(since_month_start(1_795_535_100_000)),
            23 * DAY + 56_700_000
        );
        assert_eq!(i64::from(since_month_start(1_709_164_800_000)), 28 * DAY);
        assert_eq!(since_month_start(1_709_251_200_001), 1);
    }
}
