//! How long messages took to be written, as `mqadmin brokerStatus` shows it.
//!
//! Messages are written in batches: each is counted with the time that its batch took from the end of
//! its staging until it could be seen, with SYNC_FLUSH until the disk had flushed it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::LogOffset;

/// Where the classes of Apache's `StoreStatsService` end, ms, and what it calls them.
const CLASSES: [(u64, &str); 13] = [
    (1, "[<=0ms]"),
    (10, "[0~10ms]"),
    (50, "[10~50ms]"),
    (100, "[50~100ms]"),
    (200, "[100~200ms]"),
    (500, "[200~500ms]"),
    (1_000, "[500ms~1s]"),
    (2_000, "[1~2s]"),
    (3_000, "[2~3s]"),
    (4_000, "[3~4s]"),
    (5_000, "[4~5s]"),
    (10_000, "[5~10s]"),
    (u64::MAX, "[10s~]"),
];

/// Steps of the finer count: powers of two of a microsecond.
const STEPS: usize = 32;

/// Counts of messages by the time they took.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    classes: [AtomicU64; CLASSES.len()],
    steps: [AtomicU64; STEPS],
    longest_ms: AtomicU64,
}

impl Latencies {
    /// Counts `messages` that took `time`.
    pub fn add(&self, messages: u64, time: Duration) {
        let ms = time.as_millis() as u64;
        let class = CLASSES.partition_point(|&(end, _)| end <= ms);
        if let Some(count) = self.classes.get(class) {
            count.fetch_add(messages, Ordering::Relaxed);
        }
        let step = (u64::BITS - (time.as_micros() as u64).leading_zeros()) as usize;
        if let Some(count) = self.steps.get(step.min(STEPS - 1)) {
            count.fetch_add(messages, Ordering::Relaxed);
        }
        if ms > self.longest_ms.load(Ordering::Relaxed) {
            self.longest_ms.fetch_max(ms, Ordering::Relaxed);
        }
    }

    /// The longest time, ms.
    pub fn longest(&self) -> u64 {
        self.longest_ms.load(Ordering::Relaxed)
    }

    /// The counts of Apache's classes in its words.
    pub fn distribution(&self) -> String {
        let mut text = String::new();
        for ((_, name), count) in CLASSES.iter().zip(&self.classes) {
            let _ = write!(text, "{name}:{} ", count.load(Ordering::Relaxed));
        }
        text
    }

    /// What this share of the messages did not exceed, ms, rounded up to a power of two of a
    /// microsecond.
    pub fn quantile(&self, share: f64) -> f64 {
        let counts = self.steps.each_ref().map(|n| n.load(Ordering::Relaxed));
        let wanted = counts.iter().sum::<u64>() as f64 * share;
        let mut seen = 0;
        for (step, count) in counts.iter().enumerate() {
            seen += count;
            if seen > 0 && seen as f64 >= wanted {
                return (1_u64 << step) as f64 / 1e3;
            }
        }
        0.0
    }
}

/// Batches that are written and not flushed yet.
#[derive(Debug, Default)]
pub(crate) struct Flushing(Mutex<VecDeque<Batch>>);

#[derive(Debug)]
struct Batch {
    messages: u64,
    began: Duration,
    end: LogOffset,
}

/// Batches that wait for one flush; more are counted as one.
const BATCHES: usize = 4_096;

impl Flushing {
    /// A batch of messages up to `end` began to be written at `began`.
    pub fn add(&self, messages: u64, began: Duration, end: LogOffset) {
        let mut batches = self.batches();
        let full = batches.len() >= BATCHES;
        match batches.back_mut().filter(|_| full) {
            Some(last) => {
                last.messages += messages;
                last.end = last.end.max(end);
            }
            None => batches.push_back(Batch {
                messages,
                began,
                end,
            }),
        }
    }

    /// Counts the batches below `end`.
    pub fn done(&self, end: LogOffset, now: impl FnOnce() -> Duration, times: &Latencies) {
        let mut batches = self.batches();
        let done = batches.iter().take_while(|batch| batch.end <= end).count();
        if done > 0 {
            let now = now();
            for batch in batches.drain(..done) {
                times.add(batch.messages, now.saturating_sub(batch.began));
            }
        }
    }

    fn batches(&self) -> MutexGuard<'_, VecDeque<Batch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_apaches_classes() {
        let latencies = Latencies::default();
        for (messages, us) in [(3, 999), (1, 1_000), (1, 10_000), (2, 60_000_000)] {
            latencies.add(messages, Duration::from_micros(us));
        }
        assert_eq!(latencies.longest(), 60_000);
        assert_eq!(
            latencies.distribution(),
            "[<=0ms]:3 [0~10ms]:1 [10~50ms]:1 [50~100ms]:0 [100~200ms]:0 [200~500ms]:0 \
             [500ms~1s]:0 [1~2s]:0 [2~3s]:0 [3~4s]:0 [4~5s]:0 [5~10s]:0 [10s~]:2 "
        );
    }

    #[test]
    fn a_batch_is_counted_when_its_flush_has_ended() {
        let (flushing, times) = (Flushing::default(), Latencies::default());
        let ms = Duration::from_millis;
        flushing.add(2, ms(0), LogOffset(10));
        flushing.add(1, ms(20), LogOffset(30));
        flushing.done(LogOffset(29), || ms(40), &times);
        assert!(times.distribution().contains("[10~50ms]:2 [50~100ms]:0"));
        flushing.done(LogOffset(30), || ms(120), &times);
        flushing.done(LogOffset(30), || ms(9_000), &times);
        assert!(
            times
                .distribution()
                .contains("[10~50ms]:2 [50~100ms]:0 [100~200ms]:1")
        );
        assert_eq!(times.longest(), 100);
    }

    #[test]
    fn a_quantile_is_at_most_twice_what_was() {
        let latencies = Latencies::default();
        assert_eq!(latencies.quantile(0.99), 0.0);
        latencies.add(990, Duration::from_micros(100));
        latencies.add(10, Duration::from_millis(9));
        assert_eq!(latencies.quantile(0.99), 0.128);
        assert_eq!(latencies.quantile(0.999), 16.384);
    }
}
