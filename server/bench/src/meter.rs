//! What processes used: CPU of all their threads, memory, and what everybody else took meanwhile.

use std::fs;
use std::time::{Duration, Instant};

/// CPU time of a process's threads so far, in nanoseconds.
pub fn cpu_ns(pid: u32) -> Option<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread may end between the two looks.
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).unwrap_or_default();
        let on_cpu = text.split(' ').next().and_then(|n| n.parse::<u64>().ok());
        sum += on_cpu.unwrap_or_default();
    }
    Some(sum)
}

/// Anonymous memory of a process, in bytes.
pub fn anonymous(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find(|line| line.starts_with("Anonymous:"))?;
    let kib = line.split_whitespace().nth(1)?.parse::<u64>().ok()?;
    Some(kib * 1024)
}

/// CPU time of the whole machine so far: busy, and stolen by the host.
fn machine() -> (Duration, Duration) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .flat_map(str::parse)
        .collect();
    let tick = |at: usize| Duration::from_millis(10 * ticks.get(at).copied().unwrap_or_default());
    let busy = tick(0) + tick(1) + tick(2) + tick(5) + tick(6);
    (busy, tick(7))
}

/// A measurement under way.
pub struct Meter {
    pid: Option<u32>,
    begun: Instant,
    broker: u64,
    own: u64,
    busy: Duration,
    stolen: Duration,
}

/// What was used between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// How long it took.
    pub time: Duration,
    /// CPU time of the broker.
    pub broker: Duration,
    /// CPU time of the generator.
    pub own: Duration,
    /// Cores that neither of them used.
    pub others: f64,
    /// Share of the time that the host took away, in percent of one core.
    pub stolen: f64,
}

impl Meter {
    /// Begins; without a process only the generator is measured.
    pub fn begin(pid: Option<u32>) -> Meter {
        let (busy, stolen) = machine();
        Meter {
            pid,
            begun: Instant::now(),
            broker: pid.and_then(cpu_ns).unwrap_or_default(),
            own: cpu_ns(std::process::id()).unwrap_or_default(),
            busy,
            stolen,
        }
    }

    /// What was used since.
    pub fn end(&self) -> Used {
        let broker = self.pid.and_then(cpu_ns).unwrap_or_default();
        let own = cpu_ns(std::process::id()).unwrap_or_default();
        let (busy, stolen) = machine();
        let time = self.begun.elapsed();
        let broker = Duration::from_nanos(broker.saturating_sub(self.broker));
        let own = Duration::from_nanos(own.saturating_sub(self.own));
        let rest = (busy - self.busy).saturating_sub(broker + own);
        Used {
            time,
            broker,
            own,
            others: rest.as_secs_f64() / time.as_secs_f64(),
            stolen: 100.0 * (stolen - self.stolen).as_secs_f64() / time.as_secs_f64(),
        }
    }
}
