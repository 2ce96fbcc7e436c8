//! What was counted over the last minute, hour and day.
//!
//! A history is a row of samples of running totals, one each ten seconds. It thins as it ages: ten
//! minutes apart behind the last minute, an hour apart behind the last hour, nothing behind the last
//! day. What is idle keeps two samples. So a window's sum is the difference of two totals, exact for
//! the time between the two samples.

use std::collections::VecDeque;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How far apart samples are, and what a sum without an earlier sample is taken to have needed.
const STEP: Duration = Duration::from_secs(10);

/// Running totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub messages: u64,
    pub bytes: u64,
    /// Requests that brought or took them.
    pub times: u64,
}

impl Count {
    /// What one request brought or took.
    pub fn once(messages: u64, bytes: u64) -> Count {
        Count {
            messages,
            bytes,
            times: 1,
        }
    }

    /// Messages that came one a request, of sizes nobody asks for.
    pub fn each(messages: u64) -> Count {
        Count {
            messages,
            bytes: 0,
            times: messages,
        }
    }

    pub fn add(&mut self, more: Count) {
        self.messages += more.messages;
        self.bytes += more.bytes;
        self.times += more.times;
    }

    pub fn minus(self, less: Count) -> Count {
        Count {
            messages: self.messages.saturating_sub(less.messages),
            bytes: self.bytes.saturating_sub(less.bytes),
            times: self.times.saturating_sub(less.times),
        }
    }
}

/// What was counted in a window, and how long the window really was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    pub count: Count,
    pub seconds: f64,
}

/// The windows that statistics are told over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Windows {
    pub minute: Window,
    pub hour: Window,
    pub day: Window,
}

/// Samples of running totals, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History {
    samples: VecDeque<(Duration, Count)>,
}

impl History {
    /// Remembers the totals of now.
    pub fn note(&mut self, now: Duration, total: Count) {
        let mut newest = self.samples.iter().rev();
        let idle = |sample: Option<&(Duration, Count)>| sample.is_some_and(|s| s.1 == total);
        if idle(newest.next()) && idle(newest.next()) {
            self.samples.pop_back();
        }
        self.samples.push_back((now, total));
        let slot = |&(at, _): &(Duration, Count)| {
            let width = match now.saturating_sub(at) {
                age if age <= MINUTE + STEP => STEP,
                age if age <= HOUR + HOUR / 6 => HOUR / 6,
                _ => HOUR,
            };
            (width, at.as_secs() / width.as_secs())
        };
        let mut at = 0;
        while let (Some(this), Some(next)) = (self.samples.get(at), self.samples.get(at + 1)) {
            if slot(this) == slot(next) {
                self.samples.remove(at);
            } else {
                at += 1;
            }
        }
        while (self.samples.get(1)).is_some_and(|&(at, _)| at + DAY <= now) {
            self.samples.pop_front();
        }
    }

    /// What was counted in the last minute, hour and day, given the totals of now.
    pub fn windows(&self, now: Duration, total: Count) -> Windows {
        let window = |length| self.window(now, total, length);
        Windows {
            minute: window(MINUTE),
            hour: window(HOUR),
            day: window(DAY),
        }
    }

    /// Messages a second over the last minute.
    pub fn rate(&self, now: Duration, total: Count) -> f64 {
        let minute = self.window(now, total, MINUTE);
        minute.count.messages as f64 / minute.seconds
    }

    fn window(&self, now: Duration, total: Count, length: Duration) -> Window {
        let since = now.saturating_sub(length);
        let behind = self.samples.partition_point(|&(at, _)| at <= since);
        let next = self.samples.get(behind);
        let base = behind.checked_sub(1).and_then(|at| self.samples.get(at));
        let (from, before) = match (base, next) {
            // Nothing happened between the two samples, so the window may begin where it should.
            (Some(base), Some(next)) if base.1 == next.1 => (since, base.1),
            (Some(base), None) if base.1 == total => (since, base.1),
            (Some(base), _) => *base,
            // All there is was counted within the window.
            (None, first) => {
                let first = first.map_or(now, |&(at, _)| at);
                (first.saturating_sub(STEP), Count::default())
            }
        };
        Window {
            count: total.minus(before),
            seconds: now.saturating_sub(from).max(STEP).as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn messages(n: u64) -> Count {
        Count {
            messages: n,
            bytes: 100 * n,
            times: n,
        }
    }

    #[test]
    fn sums_are_exact_over_windows_of_a_minute_an_hour_and_a_day() {
        // One message a second, for 30 hours.
        let mut history = History::default();
        let end = 30 * 3600;
        for now in (0..=end).step_by(10) {
            history.note(seconds(now), messages(now));
        }
        assert!(history.samples.len() <= 42, "{}", history.samples.len());
        let told = history.windows(seconds(end), messages(end));
        for (window, length, longest) in [
            (told.minute, 60.0, 70.0),
            (told.hour, 3600.0, 4200.0),
            (told.day, 86_400.0, 90_000.0),
        ] {
            assert!((length..=longest).contains(&window.seconds), "{window:?}");
            assert_eq!(window.count.messages as f64, window.seconds);
            assert_eq!(window.count.bytes, 100 * window.count.messages);
        }
    }

    #[test]
    fn what_is_idle_keeps_two_samples_and_its_windows_empty_one_after_the_other() {
        let mut history = History::default();
        history.note(seconds(0), messages(0));
        let sums = |history: &History, now| {
            let told = history.windows(seconds(now), messages(7));
            [told.minute, told.hour, told.day].map(|window| window.count.messages)
        };
        assert_eq!(sums(&history, 5), [7, 7, 7], "before the first sample");
        for now in (10..=100_000).step_by(10) {
            history.note(seconds(now), messages(7));
            match now {
                50 => assert_eq!(sums(&history, now), [7, 7, 7]),
                80 => assert_eq!(sums(&history, now), [0, 7, 7]),
                5_000 => assert_eq!(sums(&history, now), [0, 0, 7]),
                _ => {}
            }
        }
        assert_eq!(sums(&history, 100_000), [0, 0, 0]);
        assert!(history.samples.len() <= 3, "{:?}", history.samples);
        assert_eq!(history.rate(seconds(100_000), messages(7)), 0.0);
        assert_eq!(history.rate(seconds(100_005), messages(607)), 10.0);
    }

    #[test]
    fn what_was_never_sampled_counts_over_ten_seconds() {
        let told = History::default().windows(seconds(100), messages(20));
        assert_eq!(
            (told.minute.count, told.minute.seconds),
            (messages(20), 10.0)
        );
    }
}
