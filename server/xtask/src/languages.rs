//! What Python and Node have in common: how they get on with Java and with Apache's brokers, and what a message costs
//! from each, by its own program, with the server inside the process and over TCP.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::parts::{cargo, server, server_binary, target};
use crate::report::Report;
use crate::standalone::Standalone;
use crate::{beside, natives, node, python};

/// Runs the packages, as the parts before this one installed them, beside Java.
pub fn beside_java(report: &mut Report) {
    let mut tests = cargo("test");
    tests
        .args(["--release", "--package", "conformance", "--test", "it"])
        // Apache's servers, started side by side, take each other's ports now and then.
        .args(["languages", "--", "--test-threads", "1"])
        .env("POSTHOUSE_BIN", server_binary());
    let python = python::interpreter();
    if python.exists() {
        tests.env("POSTHOUSE_PYTHON", python);
    }
    if Path::new(node::FOLDER).join("dist").exists() {
        tests.env("POSTHOUSE_NODE", node::FOLDER);
    }
    report.tests(
        "Python and Node beside Java and Apache's brokers",
        &mut tests,
    );
}

/// What tests are too short to see: whether memory grows while a million messages go through each language, and whether
/// a fork, a signal or the end of a process at a bad moment loses something.
pub fn soak(report: &mut Report) {
    if !natives::build(report) {
        return;
    }
    if let Some(python) = python::installed(report) {
        let mut grows = Command::new(python);
        grows.arg(Path::new(python::FOLDER).join("bench/speed.py"));
        report.run("Python: its memory", grows.arg("--memory"));
        let mut ends = Command::new(python::interpreter());
        ends.arg(Path::new(python::FOLDER).join("bench/soak.py"));
        report.run("Python: forks, signals and ends", &mut ends);
    }
    if is_node_there(report) {
        let mut grows = Command::new("node");
        grows.args(["--expose-gc", "speed.mjs", "--memory", "--count", "100000"]);
        report.run("Node: its memory", grows.current_dir(node::FOLDER));
        let mut ends = Command::new("node");
        ends.arg("soak.mjs").current_dir(node::FOLDER);
        report.run("Node: threads and processes that end", &mut ends);
    }
}

fn is_node_there(report: &mut Report) -> bool {
    !node::is_left_out() && node::laid_out(report)
}

/// Runs their programs and prints the rows, then what else people use beside them.
pub fn bench(report: &mut Report) {
    if let Some(there) = There::made(report) {
        rows(report, &there);
        there.beside(report);
    }
}

/// Only what else people use, beside them.
pub fn bench_beside(report: &mut Report) {
    if let Some(there) = There::made(report) {
        there.beside(report);
    }
}

/// What is there to be measured.
struct There {
    python: Option<PathBuf>,
    is_node: bool,
}

impl There {
    fn made(report: &mut Report) -> Option<There> {
        (server(report) && natives::build(report)).then(|| There {
            python: python::installed(report),
            is_node: is_node_there(report),
        })
    }

    fn beside(&self, report: &mut Report) {
        if self.python.is_some() {
            beside::confluent(report);
        }
        if self.is_node {
            beside::apache(report);
        }
    }
}

fn rows(report: &mut Report, there: &There) {
    println!("\n| From | What | Rate | CPU a message: the process, the server's |");
    println!("|---|---|---|---|");
    for over_tcp in [false, true] {
        let broker = match over_tcp {
            true => Some(started().expect("the server starts")),
            false => None,
        };
        let elsewhere = broker.as_ref().map_or_else(Vec::new, |(server, address)| {
            let pid = server.pid().to_string();
            ["--url", address, "--pid", &pid].map(str::to_owned).into()
        });
        if let Some(python) = &there.python {
            let mut speed = Command::new(python);
            speed.arg(Path::new(python::FOLDER).join("bench/speed.py"));
            report.run("Python: its speed", speed.args(&elsewhere));
        }
        if there.is_node {
            let mut speed = Command::new("node");
            speed.arg("speed.mjs").current_dir(node::FOLDER);
            report.run("Node: its speed", speed.args(&elsewhere));
        }
    }
}

/// A server on a fresh folder, and where its name server is.
pub fn started() -> Result<(Standalone, String), String> {
    let data = target().join("languages");
    let _ = std::fs::remove_dir_all(&data);
    let config = data.join("broker.conf");
    std::fs::create_dir_all(&data)
        .and_then(|()| std::fs::write(&config, "flushDiskType=ASYNC_FLUSH\n"))
        .map_err(|error| format!("{}: {error}", config.display()))?;
    let config = config.display().to_string();
    let words = ["--http-addr", "off", "-c", &config];
    let server = Standalone::start(&data.join("store"), &words)?;
    let address = server.place("name server")?.to_owned();
    Ok((server, address))
}
