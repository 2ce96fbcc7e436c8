//! The one place that asks for the wall clock.

use std::time::SystemTime;

/// Milliseconds since the Unix epoch.
#[allow(clippy::disallowed_methods)] // this is where the time comes in
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

/// What a point in time is as milliseconds since the Unix epoch; 0 for one before it.
pub(crate) fn ms(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}
