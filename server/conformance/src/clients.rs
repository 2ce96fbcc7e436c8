//! One process of each kind of client, shared by all tests that need it, and the scenarios it plays.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::toolchain::{self, Release};
use crate::workshop;

/// How long a scenario may take: far more than it should, so that only a hang ends here.
const LIMIT: Duration = Duration::from_secs(300);

/// A process that plays scenarios.
pub struct Client {
    stdin: Mutex<ChildStdin>,
    runs: Arc<Runs>,
    log: PathBuf,
    name: &'static str,
    _child: Child,
}

#[derive(Default)]
struct Runs {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    last: u64,
    events: HashMap<u64, Vec<Value>>,
    gone: bool,
}

impl Client {
    /// A JVM with the client of a release; `options` are for the JVM, as `-Drocketmq.serialize.type=ROCKETMQ`.
    pub fn java(release: Release, name: &'static str, options: &[&str], namesrv: &str) -> Client {
        let home = workshop().join("home").join(name);
        let mut command = Command::new("java");
        command.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
        // Logs, and the offsets of broadcasting consumers, go below the user's home.
        command.arg(format!("-Duser.home={}", home.display()));
        command
            .args(options)
            .arg("-cp")
            .arg(toolchain::java(release))
            .arg("Runner");
        Client::start(command, name, namesrv)
    }

    /// The Go client.
    pub fn go(name: &'static str, namesrv: &str) -> Client {
        let mut command = Command::new(toolchain::go());
        command.env("HOME", workshop().join("home").join(name));
        Client::start(command, name, namesrv)
    }

    fn start(mut command: Command, name: &'static str, namesrv: &str) -> Client {
        let logs = workshop().join("logs");
        let home = workshop().join("home").join(name);
        let _ = std::fs::remove_dir_all(&home); // broadcasting offsets of an earlier store would confuse
        std::fs::create_dir_all(&home).unwrap();
        std::fs::create_dir_all(&logs).unwrap();
        let log = logs.join(format!("{name}.log"));
        command.env("NAMESRV_ADDR", namesrv).current_dir(&home); // tools write files where they are
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} did not start: {error}"));
        let stdin = Mutex::new(child.stdin.take().unwrap());
        let runs = Arc::new(Runs::default());
        let (stdout, reader) = (child.stdout.take().unwrap(), Arc::clone(&runs));
        std::thread::spawn(move || reader.collect(BufReader::new(stdout)));
        Client {
            stdin,
            runs,
            log,
            name,
            _child: child,
        }
    }

    /// Plays a scenario and returns its events; panics with what went wrong if it failed.
    pub fn play(&self, scenario: &str, settings: &[(&str, &str)]) -> Vec<Value> {
        let id = self.runs.open();
        let mut line = format!("{id} {scenario} client={}", self.name.replace('.', ""));
        for (key, value) in settings {
            line.push_str(&format!(" {key}={value}"));
        }
        writeln!(self.stdin.lock().unwrap(), "{line}").unwrap();
        let events = self.runs.wait(id).unwrap_or_else(|events| {
            panic!(
                "{scenario} did not end; its events: {events:#?}\nsee {}",
                self.log.display()
            )
        });
        let end = events.last().unwrap();
        if end["ok"] != true {
            let error = end["error"].as_str().unwrap_or_default();
            panic!(
                "{scenario} of {} failed: {error}\nsee {}",
                self.name,
                self.log.display()
            );
        }
        events
    }
}

impl Runs {
    fn collect(&self, from: impl BufRead) {
        for line in from.split(b'\n').map_while(Result::ok) {
            let Ok(event) = serde_json::from_slice::<Value>(&line) else {
                continue;
            };
            let id = event["run"].as_u64().unwrap_or_default();
            let mut state = self.state.lock().unwrap();
            let events = state.events.entry(id).or_default();
            if event["event"] == "again" {
                // A client's library crashed: said aloud, because nothing fails that works the next time.
                let why = event["why"].as_str().unwrap_or_default();
                eprintln!("played again: {}", why.lines().next().unwrap_or_default());
                events.clear();
            } else {
                events.push(event);
            }
            drop(state);
            self.more.notify_all();
        }
        self.state.lock().unwrap().gone = true;
        self.more.notify_all();
    }

    fn open(&self) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.last += 1;
        state.last
    }

    fn wait(&self, id: u64) -> Result<Vec<Value>, Vec<Value>> {
        let end = Instant::now() + LIMIT;
        let mut state = self.state.lock().unwrap();
        loop {
            let ended =
                |events: &Vec<Value>| events.last().is_some_and(|event| event["event"] == "end");
            if state.events.get(&id).is_some_and(ended) {
                return Ok(state.events.remove(&id).unwrap());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || state.gone {
                return Err(state.events.remove(&id).unwrap_or_default());
            }
            state = self.more.wait_timeout(state, left).unwrap().0;
        }
    }
}
