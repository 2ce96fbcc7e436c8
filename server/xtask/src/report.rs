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
    passed: u64,
    failed: u64,
}

impl Report {
    /// Runs one part and shows its output as it comes. Tests are counted from the closing lines of
    /// test runners; a part without any counts as one test. A part that exits with an error
    /// although no test failed (it did not build, it crashed) counts as one failure.
    pub fn run(&mut self, name: &'static str, command: &mut Command) -> bool {
        println!("\n== {name}");
        let start = Instant::now();
        let (mut passed, mut failed) = (0, 0);
        let succeeded = match lines(command, |line| {
            println!("{line}");
            if let Some((p, f)) = closing_line(line) {
                passed += p;
                failed += f;
            }
        }) {
            Ok(succeeded) => succeeded,
            Err(error) => {
                println!("{name} could not be started: {error}");
                false
            }
        };
        match succeeded {
            true if passed + failed == 0 => passed = 1,
            false if failed == 0 => failed = 1,
            _ => {}
        }
        self.parts.push(Part {
            name,
            took: start.elapsed(),
            passed,
            failed,
        });
        succeeded
    }

    /// Tests that failed.
    pub fn failed(&self) -> u64 {
        self.parts.iter().map(|part| part.failed).sum()
    }

    /// The time of each part, then the closing line.
    pub fn print(&self) {
        println!();
        for part in &self.parts {
            let seconds = part.took.as_secs_f64();
            let Part {
                name,
                passed,
                failed,
                ..
            } = part;
            println!("{seconds:8.1} s  {name}: {passed} passed, {failed} failed");
        }
        let passed: u64 = self.parts.iter().map(|part| part.passed).sum();
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
        let mut report = Report::default();
        report.run("dies", Command::new("sh").args(["-c", "exit 3"]));
        report.run("lives", Command::new("sh").args(["-c", "true"]));
        assert_eq!(report.failed(), 1);
    }
}
