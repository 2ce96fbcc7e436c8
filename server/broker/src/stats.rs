//! What went through: totals, rates over the last ten seconds, minute and ten minutes, and the items
//! that are told over a minute, an hour and a day.

mod count;
pub(crate) mod history;
pub(crate) mod item;
mod latency;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use history::{Count, History, Windows};
use item::{Rare, Rares, WHOLES, Whole};
use latency::{Flushing, Latencies};
use model::LogOffset;

/// A total that is sampled from time to time, so that rates can be told.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    total: AtomicU64,
    samples: Mutex<VecDeque<(Duration, u64)>>,
}

impl Counter {
    /// Adds to the total.
    pub fn add(&self, n: u64) {
        self.total.fetch_add(n, Ordering::Relaxed);
    }

    /// The total.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Remembers the total of now, and forgets what is older than `keep`.
    pub fn sample(&self, now: Duration, keep: Duration) {
        let total = self.total();
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, before) = (samples.back(), samples.iter().rev().nth(1));
        let idle = |sample: Option<&(Duration, u64)>| sample.is_some_and(|s| s.1 == total);
        if idle(last) && idle(before) {
            // Idle for long: the last sample only moves, so an idle topic costs two samples.
            samples.pop_back();
        }
        samples.push_back((now, total));
        while samples.len() > 2 && samples[1].0 + keep < now {
            samples.pop_front();
        }
    }

    /// The rate per second over the last `window`, as far as samples reach back.
    pub fn rate(&self, now: Duration, window: Duration) -> f64 {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_sub(window);
        let inside = samples.partition_point(|&(at, _)| at < since);
        let before = inside.checked_sub(1).and_then(|at| samples.get(at));
        let (from, base) = match (before, samples.get(inside)) {
            (None, None) => return 0.0,
            (None, Some(&(at, total))) => (at, total as f64),
            (Some(&(_, total)), None) => (since, total as f64),
            (Some(&(a, low)), Some(&(b, high))) => {
                let share = (since - a).as_secs_f64() / (b - a).as_secs_f64();
                (since, low as f64 + share * (high - low) as f64)
            }
        };
        let passed = now.saturating_sub(from).as_secs_f64();
        if passed > 0.0 {
            (self.total() as f64 - base) / passed
        } else {
            0.0
        }
    }
}

/// What was stored in a topic. Counting is two additions; all else is derived when somebody asks.
#[derive(Debug, Default)]
pub(crate) struct Puts {
    messages: AtomicU64,
    bytes: AtomicU64,
    /// Messages beyond the first of their request.
    batched: AtomicU64,
    history: Mutex<History>,
}

impl Puts {
    /// Counts one message.
    pub fn one(&self, bytes: u64) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts the messages of one batch.
    pub fn batch(&self, messages: u64, bytes: u64) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.batched
            .fetch_add(messages.saturating_sub(1), Ordering::Relaxed);
    }

    fn count(&self) -> Count {
        let messages = self.messages.load(Ordering::Relaxed);
        Count {
            messages,
            bytes: self.bytes.load(Ordering::Relaxed),
            times: messages.saturating_sub(self.batched.load(Ordering::Relaxed)),
        }
    }

    /// Remembers the totals of now.
    pub fn sample(&self, now: Duration) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.note(now, self.count());
    }

    /// Messages a second over the last minute.
    pub fn rate(&self, now: Duration) -> f64 {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.rate(now, self.count())
    }

    /// What was counted in the last minute, hour and day, if there ever was anything.
    pub fn windows(&self, now: Duration) -> Option<Windows> {
        let count = self.count();
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        (count.messages > 0).then(|| history.windows(now, count))
    }
}

/// The broker's own counters.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// Messages stored.
    pub put: Counter,
    /// Of [`Stats::put`], those in the broker's own topics.
    pub put_system: Counter,
    /// Their bytes, as stored.
    pub put_bytes: Counter,
    /// How long they took to be written, and flushed where that is waited for.
    pub put_time: Latencies,
    /// Of [`Stats::put`], those whose time is counted.
    timed: AtomicU64,
    /// Batches whose flush is waited for.
    flushing: Flushing,
    /// The longest a pull or a pop looked for messages, ms.
    pub longest_get_ms: AtomicU64,
    /// Messages that began to wait for a time of their own, delay levels not counted,
    pub timers_in: Counter,
    /// and those whose time came.
    pub timers_out: Counter,
    /// Sends that were refused by the store.
    pub put_failed: Counter,
    /// Messages handed to consumers.
    pub transferred: Counter,
    /// Of [`Stats::transferred`], those of the broker's own topics.
    pub transferred_system: Counter,
    /// Pulls that found something.
    pub found: Counter,
    /// Pulls that found nothing.
    pub missed: Counter,
    /// Commits that lowered an offset.
    pub lowered: Counter,
    /// Requests refused because too much was waiting.
    pub busy: Counter,
    /// What happens by topic and group, and seldom.
    pub rare: Rares,
    /// In the order of [`WHOLES`].
    wholes: Mutex<[History; WHOLES.len()]>,
    /// Since when days are counted: day number, totals of this and the morning before.
    days: Mutex<Days>,
}

/// Totals at the last two midnights (UTC).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Days {
    day: i64,
    pub put_yesterday: u64,
    pub put_today: u64,
    pub got_yesterday: u64,
    pub got_today: u64,
}

impl Stats {
    /// To be called about once a second.
    pub fn sample(&self, now: Duration, wall: i64) {
        let keep = Duration::from_secs(600);
        for counter in [
            &self.put,
            &self.transferred,
            &self.found,
            &self.missed,
            &self.timers_in,
            &self.timers_out,
        ] {
            counter.sample(now, keep);
        }
        let day = wall.div_euclid(86_400_000);
        let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        if days.day != day {
            let first = days.day == 0;
            days.day = day;
            if !first {
                (days.put_yesterday, days.got_yesterday) = (days.put_today, days.got_today);
                days.put_today = self.put_by_users();
                days.got_today = self.got_by_users();
            }
        }
    }

    /// To be called about every ten seconds.
    pub fn sample_items(&self, now: Duration) {
        self.rare.sample(now);
        let mut wholes = self.wholes.lock().unwrap_or_else(PoisonError::into_inner);
        for (history, whole) in wholes.iter_mut().zip(WHOLES) {
            history.note(now, self.count(whole));
        }
    }

    /// What was counted of the whole broker in the last minute, hour and day.
    pub fn whole(&self, whole: Whole, now: Duration) -> Windows {
        let wholes = self.wholes.lock().unwrap_or_else(PoisonError::into_inner);
        wholes[whole as usize].windows(now, self.count(whole))
    }

    fn count(&self, whole: Whole) -> Count {
        let (put, got) = (self.put.total(), self.transferred.total());
        match whole {
            Whole::Put => Count::each(put),
            Whole::PutByUsers => Count::each(self.put_by_users()),
            Whole::Got => Count::each(got),
            Whole::GotByUsers => Count::each(self.got_by_users()),
            Whole::Acked => self.rare.total(Rare::Acked),
            Whole::CheckedOut => self.rare.total(Rare::CheckedOut),
        }
    }

    /// Messages stored in topics that are not the broker's own.
    pub fn put_by_users(&self) -> u64 {
        self.put.total().saturating_sub(self.put_system.total())
    }

    /// Messages handed to consumers from topics that are not the broker's own.
    pub fn got_by_users(&self) -> u64 {
        (self.transferred.total()).saturating_sub(self.transferred_system.total())
    }

    /// Counts the time of a batch for all messages put since the last one. Batches that end on several
    /// threads at once may count each other's.
    pub fn batch_took(&self, time: impl FnOnce() -> Duration) {
        let messages = self.untimed();
        if messages > 0 {
            self.put_time.add(messages, time());
        }
    }

    /// The same of a batch that counts as written when all below `end` is on the disk.
    pub fn batch_waits(&self, began: Duration, end: LogOffset) {
        let messages = self.untimed();
        if messages > 0 {
            self.flushing.add(messages, began, end);
        }
    }

    /// Messages put since this was asked last.
    fn untimed(&self) -> u64 {
        let put = self.put.total();
        put.saturating_sub(self.timed.fetch_max(put, Ordering::Relaxed))
    }

    /// All below `end` is on the disk.
    pub fn flushed(&self, end: LogOffset, now: impl FnOnce() -> Duration) {
        self.flushing.done(end, now, &self.put_time);
    }

    /// A pull or a pop looked for messages for so long.
    pub fn got_in(&self, time: Duration) {
        let ms = time.as_millis() as u64;
        if ms > self.longest_get_ms.load(Ordering::Relaxed) {
            self.longest_get_ms.fetch_max(ms, Ordering::Relaxed);
        }
    }

    /// Totals at the last two midnights.
    pub fn days(&self) -> Days {
        *self.days.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_rate_is_told_over_its_window() {
        let counter = Counter::default();
        for second in 0..120 {
            counter.sample(seconds(second), seconds(600));
            counter.add(if second < 60 { 10 } else { 100 });
        }
        assert_eq!(counter.rate(seconds(120), seconds(10)), 100.0);
        assert_eq!(counter.rate(seconds(120), seconds(60)), 100.0);
        assert_eq!(counter.rate(seconds(120), seconds(600)), 55.0);
    }

    #[test]
    fn an_idle_counter_keeps_two_samples_and_its_rate_falls_to_nothing() {
        let counter = Counter::default();
        counter.sample(seconds(0), seconds(60));
        counter.add(600);
        for second in 1..1000 {
            counter.sample(seconds(second), seconds(60));
        }
        assert!(counter.samples.lock().unwrap().len() <= 3);
        assert_eq!(counter.rate(seconds(1000), seconds(60)), 0.0);
    }
}
