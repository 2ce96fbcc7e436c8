//! Counts tests over all parts and prints the closing line.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What has run so far.
#[derive(Default)]
pub struct Report {
    parts: Vec<Part>,
}

struct Part {
    name: &'static str,
    took: Duration,
    counts: Counts,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl Report {
    /// Runs one part that has no tests of its own and shows its output as it comes: it counts as one test.
    pub fn run(&mut self, name: &'static str, command: &mut Command) -> bool {
        self.part(name, command, |counts, succeeded| match succeeded {
            true => Counts {
                passed: 1,
                failed: 0,
            },
            false => Counts {
                failed: counts.failed.max(1),
                ..counts
            },
        })
    }

    /// Looks at something in this process: it counts as one test, and says what is wrong.
    pub fn check(&mut self, name: &'static str, look: impl FnOnce() -> Result<(), String>) -> bool {
        println!("\n== {name}");
        let start = Instant::now();
        let found = look();
        if let Err(wrong) = &found {
            println!("{wrong}");
        }
        let counts = Counts {
            passed: found.is_ok().into(),
            failed: found.is_err().into(),
        };
        let took = start.elapsed();
        self.parts.push(Part { name, took, counts });
        found.is_ok()
    }

    /// Runs a runner of tests, which are counted from its closing lines. One that ends with an error although no
    /// test failed (it did not build, it crashed) counts as one failure; so does one that ran no test at all.
    pub fn tests(&mut self, name: &'static str, command: &mut Command) -> bool {
        self.part(name, command, |counts, succeeded| {
            let ran = counts.passed + counts.failed > 0;
            if succeeded && !ran {
                println!("{name}: no test ran");
            }
            match succeeded && ran {
                true => counts,
                false => Counts {
                    failed: counts.failed.max(1),
                    ..counts
                },
            }
        })
    }

    fn part(
        &mut self,
        name: &'static str,
        command: &mut Command,
        judge: impl FnOnce(Counts, bool) -> Counts,
    ) -> bool {
        println!("\n== {name}");
        let start = Instant::now();
        let mut counts = Counts::default();
        let succeeded = match lines(command, |line| {
            println!("{line}");
            if let Some((passed, failed)) = closing_line(line) {
                counts.passed += passed;
                counts.failed += failed;
            }
        }) {
            Ok(succeeded) => succeeded,
            Err(error) => {
                println!("{name} could not be started: {error}");
                false
            }
        };
        let counts = judge(counts, succeeded);
        let took = start.elapsed();
        self.parts.push(Part { name, took, counts });
        counts.failed == 0
    }

    /// Tests that failed.
    pub fn failed(&self) -> u64 {
        self.parts.iter().map(|part| part.counts.failed).sum()
    }

    /// The time of each part, then the closing line.
    pub fn print(&self) {
        println!();
        for part in &self.parts {
            let seconds = part.took.as_secs_f64();
            let (name, Counts { passed, failed }) = (part.name, part.counts);
            println!("{seconds:8.1} s  {name}: {passed} passed, {failed} failed");
        }
        let passed: u64 = self.parts.iter().map(|part| part.counts.passed).sum();
        println!("\n{passed} passed, {} failed", self.failed());
    }
}

/// Runs a command and gives each line of its output to `each`. Standard error is shown unchanged.
fn lines(command: &mut Command, mut each: impl FnMut(&str)) -> std::io::Result<bool> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            each(&String::from_utf8_lossy(&line?));
        }
    }
    Ok(child.wait()?.success())
}

/// A test runner's last line: Rust's, pytest's, or one of Node's.
fn closing_line(line: &str) -> Option<(u64, u64)> {
    rusts_line(line)
        .or_else(|| pytests_line(line))
        .or_else(|| nodes_line(line))
}

/// `1 failed, 44 passed, 2 errors in 12.31s`, perhaps between `=`s.
fn pytests_line(line: &str) -> Option<(u64, u64)> {
    let (counts, _) = line.trim_matches(['=', ' ']).split_once(" in ")?;
    let (mut passed, mut failed) = (0, 0);
    for part in counts.split(", ") {
        let (count, what) = part.split_once(' ')?;
        let count: u64 = count.parse().ok()?;
        match what {
            "passed" => passed += count,
            "failed" | "error" | "errors" => failed += count,
            "warning" | "warnings" | "skipped" | "deselected" | "xfailed" => {}
            _ => return None,
        }
    }
    Some((passed, failed))
}

/// `# pass 17`, `# fail 2`
fn nodes_line(line: &str) -> Option<(u64, u64)> {
    let count = |name: &str| line.strip_prefix(name)?.parse().ok();
    count("# pass ")
        .map(|passed| (passed, 0))
        .or_else(|| count("# fail ").map(|failed| (0, failed)))
}

/// `test result: ok. 17 passed; 0 failed; …`
fn rusts_line(line: &str) -> Option<(u64, u64)> {
    let rest = line.strip_prefix("test result: ")?;
    let count = |what: &str| {
        let before = &rest[..rest.find(what)?];
        before.split_whitespace().last()?.parse().ok()
    };
    Some((count(" passed;")?, count(" failed;")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rusts_closing_line_is_understood() {
        let line =
            "test result: FAILED. 17 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out";
        assert_eq!(closing_line(line), Some((17, 2)));
        assert_eq!(closing_line("test a::b ... ok"), None);
    }

    #[test]
    fn nodes_closing_lines_are_understood() {
        assert_eq!(closing_line("# pass 17"), Some((17, 0)));
        assert_eq!(closing_line("# fail 2"), Some((0, 2)));
        assert_eq!(closing_line("# tests 19"), None);
    }

    #[test]
    fn pytests_closing_line_is_understood() {
        let line = "=== 1 failed, 44 passed, 2 errors in 12.31s ===";
        assert_eq!(closing_line(line), Some((44, 3)));
        assert_eq!(closing_line("45 passed in 3.10s"), Some((45, 0)));
        assert_eq!(closing_line("one thing in another"), None);
    }

    #[test]
    fn a_part_that_dies_without_a_test_is_a_failure() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let mut report = Report::default();
        assert!(!report.run("dies", &mut shell("exit 3")));
        assert!(report.run("lives", &mut shell("true")));
        assert_eq!(report.failed(), 1);
        assert!(!report.tests("dies", &mut shell("echo '# pass 3'; exit 3")));
        assert_eq!(report.failed(), 2);
    }

    #[test]
    fn a_runner_that_ran_no_test_is_a_failure() {
        let shell = |line: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("echo '{line}'")]);
            command
        };
        let mut report = Report::default();
        assert!(!report.tests("says nothing", &mut shell("")));
        assert!(!report.tests("ran none", &mut shell("# pass 0")));
        assert!(report.tests("ran some", &mut shell("# pass 2")));
        assert_eq!(report.failed(), 2);
    }
}
