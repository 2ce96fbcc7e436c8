//! Child processes that end when the test does, however it ends.
//!
//! Rust drops no statics and a killed test runs no code at all, so every child is tied to a pipe: when our end of its
//! standard input closes, it stops. Our own runners read that pipe themselves; anything else is held by a shell.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Starts the program, kills it when standard input closes, waits for it, and removes the folder if one is named.
const HOLD: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{ read -r _ <&3; kill "$child" 2>/dev/null; } &
wait "$child"
if [ -n "$SCRATCH" ]; then rm -rf "$SCRATCH"; fi
"#;

/// A running child and what it printed.
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    output: Arc<Output>,
}

#[derive(Default)]
struct Output {
    said: Mutex<Said>,
    more: Condvar,
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    open: usize,
}

impl Process {
    /// Starts a program that knows nothing of the pipe. `scratch` is removed when it has ended.
    pub fn hold(program: &Path, arguments: &[String], scratch: Option<&Path>) -> Process {
        let mut command = Command::new("sh");
        command
            .args(["-c", HOLD, "hold"])
            .arg(program)
            .args(arguments);
        command.env("SCRATCH", scratch.unwrap_or(Path::new("")));
        Process::start(command)
    }

    /// Starts a program that ends with its standard input.
    pub fn start(mut command: Command) -> Process {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} did not start: {error}"));
        let output = Arc::new(Output::default());
        output.said.lock().unwrap().open = 2;
        output.collect(child.stdout.take().unwrap());
        output.collect(child.stderr.take().unwrap());
        let stdin = child.stdin.take();
        Process {
            child,
            stdin,
            output,
        }
    }

    /// Writes to its standard input.
    pub fn say(&mut self, text: &str) {
        if let Some(stdin) = &mut self.stdin {
            stdin.write_all(text.as_bytes()).unwrap();
        }
    }

    /// Waits for a line that `find` makes something of; an error says what was printed instead.
    pub fn line<T>(
        &self,
        limit: Duration,
        mut find: impl FnMut(&str) -> Option<T>,
    ) -> Result<T, String> {
        let end = Instant::now() + limit;
        let mut said = self.output.said.lock().unwrap();
        let mut seen = 0;
        loop {
            while let Some(line) = said.lines.get(seen) {
                if let Some(found) = find(line) {
                    return Ok(found);
                }
                seen += 1;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || said.open == 0 {
                let why = if said.open == 0 {
                    "it ended"
                } else {
                    "its time was over"
                };
                return Err(format!("{why}; it said:\n{}", tail(&said.lines, 40)));
            }
            said = self.output.more.wait_timeout(said, left).unwrap().0;
        }
    }

    /// The last lines that the process printed.
    pub fn tail(&self) -> String {
        tail(&self.output.said.lock().unwrap().lines, 60)
    }

    /// Closes the pipe and waits for the end.
    pub fn stop(mut self) {
        self.stdin.take();
        let _ = self.child.wait();
    }
}

impl Output {
    fn collect(self: &Arc<Output>, from: impl Read + Send + 'static) {
        let output = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                output.said.lock().unwrap().lines.push(line);
                output.more.notify_all();
            }
            output.said.lock().unwrap().open -= 1;
            output.more.notify_all();
        });
    }
}

fn tail(lines: &[String], n: usize) -> String {
    lines[lines.len().saturating_sub(n)..].join("\n")
}
