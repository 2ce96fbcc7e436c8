//! A posthouse process: started with port 0, read until its banner, killed when the test ends.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// No wait of these tests is longer.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The binary with an environment that holds nothing of the machine's.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_posthouse"));
    for (name, _) in std::env::vars() {
        if name.starts_with("POSTHOUSE_")
            || ["NAMESRV_ADDR", "ROCKETMQ_HOME", "RUST_LOG"].contains(&name.as_str())
        {
            command.env_remove(name);
        }
    }
    // Tests run beside each other.
    command.env("POSTHOUSE_HTTP_ADDR", "127.0.0.1:0");
    command.env("POSTHOUSE_METRICS_ADDR", "127.0.0.1:0");
    command
}

/// Runs the binary to its end.
pub fn output(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A running process.
pub struct Posthouse {
    child: Child,
    pub banner: String,
    /// Lines of the error stream; closed at its end.
    log: Receiver<String>,
    logged: String,
}

impl Posthouse {
    /// Starts a role on a data folder; every port is picked.
    pub fn start(role: &str, data: &Path, more: &[&str]) -> Posthouse {
        let mut command = command();
        command.arg(role).arg("--data").arg(data);
        command
            .args([
                "--namesrv-addr",
                "127.0.0.1:0",
                "--broker-addr",
                "127.0.0.1:0",
            ])
            .args(more);
        Posthouse::spawn(command)
    }

    /// Starts a standalone with a planted bug.
    #[cfg(debug_assertions)]
    pub fn seeded(data: &Path, bug: &str) -> Posthouse {
        let mut command = command();
        command
            .args([
                "--namesrv-addr",
                "127.0.0.1:0",
                "--broker-addr",
                "127.0.0.1:0",
            ])
            .arg("--data")
            .arg(data)
            .env("POSTHOUSE_SEEDED_BUG", bug);
        Posthouse::spawn(command)
    }

    /// Starts a standalone that is going to be killed, on `data/store` with `data/broker.conf`.
    pub fn victim(data: &Path, bug: Option<&str>) -> Posthouse {
        let any = "127.0.0.1:0";
        let mut command = command();
        command
            .args(["--namesrv-addr", any, "--broker-addr", any, "-c"])
            .arg(data.join("broker.conf"))
            .arg("--data")
            .arg(data.join("store"));
        if let Some(bug) = bug {
            command.env("POSTHOUSE_SEEDED_BUG", bug);
        }
        Posthouse::spawn(command)
    }

    /// Starts a standalone.
    pub fn standalone(data: &Path) -> Posthouse {
        Posthouse::start("standalone", data, &[])
    }

    /// Starts a command and waits for its banner.
    pub fn spawn(mut command: Command) -> Posthouse {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, banner) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| lines.send(line))
        });
        let (lines, log) = mpsc::channel();
        let errors = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            errors
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| lines.send(line))
        });
        let mut text = String::new();
        // The line to try is the banner's last.
        while !text.contains("  to try") {
            match banner.recv_timeout(LIMIT) {
                Ok(line) => text = text + &line + "\n",
                Err(_) => {
                    let _ = child.kill();
                    panic!(
                        "no banner; so far: {text}\n{}",
                        log.iter().collect::<Vec<_>>().join("\n")
                    );
                }
            }
        }
        Posthouse {
            child,
            banner: text,
            log,
            logged: String::new(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The address in the banner's line that begins with `what`.
    pub fn address(&self, what: &str) -> SocketAddr {
        let mut lines = self.banner.lines().map(str::trim_start);
        let line = lines
            .find_map(|line| line.strip_prefix(what))
            .unwrap_or_else(|| panic!("no {what} in {}", self.banner));
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    pub fn broker(&self) -> SocketAddr {
        self.address("broker ")
    }

    pub fn namesrv(&self) -> SocketAddr {
        self.address("name server ")
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for a line of the log that contains `text`.
    #[cfg(debug_assertions)]
    pub fn wait_for_log(&mut self, text: &str) {
        while !self.logged.contains(text) {
            let line = self
                .log
                .recv_timeout(LIMIT)
                .expect("the line does not come");
            self.logged += &(line + "\n");
        }
    }

    /// Waits for the end, and gives what was logged. No wait is longer than [`LIMIT`].
    pub fn ended(&mut self) -> (ExitStatus, String) {
        loop {
            match self.log.recv_timeout(LIMIT) {
                Ok(line) => self.logged += &(line + "\n"),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the process goes on: {}", self.logged),
            }
        }
        (self.child.wait().unwrap(), self.logged.clone())
    }

    /// SIGKILL, and gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Posthouse {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long something took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed())
}
