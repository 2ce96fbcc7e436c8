//! What happened so far, as Prometheus reads it. Labels are operation ids, never paths.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper ends of the buckets of request times, in seconds.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// What happened so far.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    requests: BTreeMap<(&'static str, u16), u64>,
    seconds: BTreeMap<&'static str, Times>,
    problems: BTreeMap<&'static str, u64>,
    webhooks: BTreeMap<&'static str, u64>,
}

/// What there is now: a name, its meaning, and a value for each label, or for none.
pub(crate) struct Now {
    pub name: &'static str,
    pub help: &'static str,
    pub values: Vec<(Option<(&'static str, String)>, u64)>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Times {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

impl Metrics {
    /// An operation was answered.
    pub(crate) fn answered(&self, operation: &'static str, status: u16, took: Duration) {
        let mut seen = self.lock();
        *seen.requests.entry((operation, status)).or_default() += 1;
        let times = seen.seconds.entry(operation).or_default();
        let seconds = took.as_secs_f64();
        times.count += 1;
        times.sum += seconds;
        for (bucket, end) in times.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(seconds <= end);
        }
    }

    /// A problem was told.
    pub(crate) fn problem(&self, slug: &'static str) {
        *self.lock().problems.entry(slug).or_default() += 1;
    }

    /// A webhook was called, or was not to be reached.
    pub(crate) fn webhook(&self, outcome: &'static str) {
        *self.lock().webhooks.entry(outcome).or_default() += 1;
    }

    /// The lines; `gauges` are what counts up and down.
    pub(crate) fn text(&self, gauges: &[Now]) -> String {
        let mut out = String::new();
        self.write(&mut out, gauges).unwrap_or_else(|_| out.clear());
        out
    }

    fn write(&self, out: &mut String, gauges: &[Now]) -> std::fmt::Result {
        let seen = self.lock();
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
        };
        let name = "rocketmq_http_requests_total";
        head(out, name, "counter", "Requests answered.")?;
        for ((operation, status), count) in &seen.requests {
            writeln!(
                out,
                "{name}{{operation=\"{operation}\",status=\"{status}\"}} {count}"
            )?;
        }
        let name = "rocketmq_http_request_seconds";
        head(
            out,
            name,
            "histogram",
            "Time from the head of a request to the head of its answer.",
        )?;
        for (operation, times) in &seen.seconds {
            for (count, end) in times.buckets.iter().zip(BUCKETS) {
                writeln!(
                    out,
                    "{name}_bucket{{operation=\"{operation}\",le=\"{end}\"}} {count}"
                )?;
            }
            let Times { count, sum, .. } = times;
            writeln!(
                out,
                "{name}_bucket{{operation=\"{operation}\",le=\"+Inf\"}} {count}"
            )?;
            writeln!(out, "{name}_sum{{operation=\"{operation}\"}} {sum}")?;
            writeln!(out, "{name}_count{{operation=\"{operation}\"}} {count}")?;
        }
        let name = "rocketmq_http_problems_total";
        head(out, name, "counter", "Problems told, by type.")?;
        for (slug, count) in &seen.problems {
            writeln!(out, "{name}{{type=\"{slug}\"}} {count}")?;
        }
        let name = "rocketmq_http_webhook_calls_total";
        head(out, name, "counter", "Questions to webhooks, by outcome.")?;
        for (outcome, count) in &seen.webhooks {
            writeln!(out, "{name}{{outcome=\"{outcome}\"}} {count}")?;
        }
        for Now { name, help, values } in gauges {
            head(out, name, "gauge", help)?;
            for (label, value) in values {
                match label {
                    Some((label, of)) => writeln!(out, "{name}{{{label}=\"{of}\"}} {value}")?,
                    None => writeln!(out, "{name} {value}")?,
                }
            }
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
