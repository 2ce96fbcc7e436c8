//! Memory that the allocator keeps when thousands of connections or a storm of large messages are over: glibc
//! gives back only what lies at the end of its heap. A server at rest gives the remainder back.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::sleep;

use crate::machine::anonymous;

/// How often is looked.
const LOOK: Duration = Duration::from_secs(5);
/// At rest is who used less than this of one core since the last look. Giving back holds up who allocates, for
/// milliseconds.
const REST: f64 = 0.1;
/// What is worth it, in bytes.
const WORTH: u64 = 16 << 20;

/// Looks now and then, and never ends.
pub async fn give_back_at_rest() {
    let mut used = cpu();
    let mut kept = 0;
    loop {
        sleep(LOOK).await;
        let before = std::mem::replace(&mut used, cpu());
        let now = anonymous();
        let is_at_rest = used.saturating_sub(before) < LOOK.mul_f64(REST);
        if !is_at_rest || now < kept + WORTH {
            kept = kept.min(now);
            continue;
        }
        store::disk::give_back_memory();
        kept = anonymous();
        tracing::debug!(before = now, behind = kept, "memory was given back");
    }
}

/// What this process has used of all cores.
fn cpu() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(used.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(used.tv_nsec).unwrap_or(0))
}
