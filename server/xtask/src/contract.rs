//! The contract judged by a stranger: Schemathesis makes requests out of `openapi/openapi.yaml`, good and bad ones,
//! and holds the answers of a real standalone against it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::parts::{server, server_binary, target};
use crate::python::environment;
use crate::report::Report;

/// What takes away what the other operations look at: it has a server of its own.
const APART: &str = "purgeDeadLetters";

/// The part alone, with what it needs of the server.
pub fn alone(report: &mut Report) {
    if server(report) {
        test(report);
    }
}

/// Runs the part.
pub fn test(report: &mut Report) {
    let work = target().join("schemathesis");
    let tools = work.join("tools");
    let requirements = folder().join("requirements.txt");
    let words = ["-r".into(), requirements.display().to_string()];
    if !report.run(
        "Schemathesis: environment",
        &mut environment(&tools, &words),
    ) {
        return;
    }
    let alone = "examples,coverage,fuzzing";
    let linked = "examples,coverage,fuzzing,stateful";
    for (name, choice, phases) in [
        (
            "Schemathesis: the contract",
            "--exclude-operation-id",
            linked,
        ),
        (
            "Schemathesis: purging, apart",
            "--include-operation-id",
            alone,
        ),
    ] {
        let data = work.join(format!("data-{}", std::process::id()));
        match Standalone::start(&data) {
            Ok(server) => {
                let mut judge = Command::new(tools.join("bin/st"));
                judge.args(["--no-color", "--config-file", "schemathesis.toml", "run"]);
                judge.args(["openapi.yaml", "--url", &server.base, choice, APART]);
                judge.args(["--phases", phases]);
                // Nothing is left behind in the tree.
                judge.env("PYTHONDONTWRITEBYTECODE", "1");
                report.run(name, judge.current_dir(folder()));
            }
            Err(why) => {
                println!("no standalone to judge: {why}");
                report.run(name, &mut Command::new("false"));
            }
        }
        let _ = std::fs::remove_dir_all(&data);
    }
}

fn folder() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../openapi")).to_owned()
}

/// A server for one run, on ports that were free; gone with its last word.
struct Standalone {
    process: Child,
    base: String,
}

impl Standalone {
    fn start(data: &Path) -> Result<Standalone, String> {
        let mut command = Command::new(server_binary());
        command.arg("standalone").arg("--data").arg(data);
        for port in ["--namesrv-addr", "--broker-addr", "--http-addr"] {
            command.args([port, "127.0.0.1:0"]);
        }
        command.args(["--metrics-addr", "off"]).stdin(Stdio::null());
        // Thousands of requests: their lines would hide what the judge says.
        command.env("POSTHOUSE_LOG_LEVEL", "warn");
        let started = command.stdout(Stdio::piped()).spawn();
        let mut process = started.map_err(|error| error.to_string())?;
        let output = process.stdout.take().map(BufReader::new);
        let mut lines = output.into_iter().flat_map(BufRead::lines);
        let mut base = None;
        while let Some(Ok(line)) = lines.next() {
            let words = line.trim_start().strip_prefix("HTTP ");
            let first = words.and_then(|words| words.split_whitespace().next());
            base = base.or(first.map(str::to_owned));
            // The last line of the banner: everything is open.
            if line.contains("to try") {
                // What it says later is not read, but must not block it.
                std::thread::spawn(move || lines.for_each(drop));
                break;
            }
        }
        let base = base.unwrap_or_default();
        let server = Standalone { process, base };
        match server.base.is_empty() {
            true => Err("it ended before its banner named a port".to_owned()),
            false => Ok(server),
        }
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
