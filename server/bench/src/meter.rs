//! What processes used: CPU of all their threads, memory, and what everybody else took meanwhile.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

/// CPU time of a process so far: to the nanosecond of each thread that runs, and in the kernel's ticks of
/// all there ever were.
#[derive(Default)]
struct Cpu {
    threads: HashMap<String, Duration>,
    all: Duration,
}

impl Cpu {
    fn of(pid: u32) -> Cpu {
        Cpu {
            threads: threads(pid).unwrap_or_default(),
            all: whole(pid).unwrap_or_default(),
        }
    }

    /// What was used since then. A thread that has ended meanwhile takes its figures with it.
    fn since(&self, before: &Cpu) -> Duration {
        let ended = |name: &String| !self.threads.contains_key(name);
        if before.threads.keys().any(ended) {
            return self.all.saturating_sub(before.all);
        }
        let used = |(name, now): (&String, &Duration)| {
            let before = before.threads.get(name).copied().unwrap_or_default();
            now.saturating_sub(before)
        };
        self.threads.iter().map(used).sum()
    }
}

fn threads(pid: u32) -> Option<HashMap<String, Duration>> {
    let mut all = HashMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let task = task.ok()?;
        // A thread may end between the two looks.
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let Some(on_cpu) = text.split(' ').next().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let name = task.file_name().to_string_lossy().into_owned();
        all.insert(name, Duration::from_nanos(on_cpu));
    }
    Some(all)
}

fn whole(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may hold anything, user time is the 12th word and system time the 13th.
    let (_, behind) = text.rsplit_once(')')?;
    let words = behind.split_whitespace().skip(11).take(2);
    let ticks: u64 = words.flat_map(str::parse::<u64>).sum();
    Some(Duration::from_millis(10 * ticks))
}

/// Anonymous memory of a process, in bytes.
pub fn anonymous(pid: u32) -> Option<u64> {
    memory(pid, "Anonymous:")
}

/// All memory of a process that is in RAM, in bytes.
pub fn resident(pid: u32) -> Option<u64> {
    memory(pid, "Rss:")
}

fn memory(pid: u32, kind: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find(|line| line.starts_with(kind))?;
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
    broker: Cpu,
    own: Cpu,
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
            broker: pid.map(Cpu::of).unwrap_or_default(),
            own: Cpu::of(std::process::id()),
            busy,
            stolen,
        }
    }

    /// What was used since.
    pub fn end(&self) -> Used {
        let broker = self.pid.map(Cpu::of).unwrap_or_default();
        let own = Cpu::of(std::process::id());
        let (busy, stolen) = machine();
        let time = self.begun.elapsed();
        let (broker, own) = (broker.since(&self.broker), own.since(&self.own));
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
