//! What Python and Node have in common: how they get on with Java and with Apache's brokers, and what a message costs
//! from each, by its own program, with the server inside the process and over TCP.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::parts::{cargo, server, server_binary, target};
use crate::report::Report;
use crate::{node, python};

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

/// Whether memory grows while messages go through, a million from each language: what tests are too short to see.
pub fn soak(report: &mut Report) {
    if let Some(python) = python::installed(report) {
        let mut grows = Command::new(python);
        grows.arg(Path::new(python::FOLDER).join("bench/speed.py"));
        report.run("Python: its memory", grows.arg("--memory"));
    }
    if is_node_built(report) {
        let mut grows = Command::new("node");
        grows.args(["--expose-gc", "speed.mjs", "--memory", "--count", "100000"]);
        report.run("Node: its memory", grows.current_dir(node::FOLDER));
    }
}

fn is_node_built(report: &mut Report) -> bool {
    !node::is_left_out() && {
        let mut build = Command::new("node");
        build.arg("build.mjs").current_dir(node::FOLDER);
        report.run("Node: built", &mut build)
    }
}

/// Runs their programs and prints the rows.
pub fn bench(report: &mut Report) {
    if !server(report) {
        return;
    }
    let python = python::installed(report);
    let is_node = is_node_built(report);
    println!("\n| From | What | Rate | CPU a message: the process, the server's |");
    println!("|---|---|---|---|");
    for over_tcp in [false, true] {
        let broker = match over_tcp {
            true => Some(Standalone::start().expect("the server starts")),
            false => None,
        };
        let elsewhere = broker.as_ref().map_or_else(Vec::new, |broker| {
            let pid = broker.child.id().to_string();
            vec![
                "--url".to_owned(),
                broker.address.clone(),
                "--pid".to_owned(),
                pid,
            ]
        });
        if let Some(python) = &python {
            let mut speed = Command::new(python);
            speed.arg(Path::new(python::FOLDER).join("bench/speed.py"));
            report.run("Python: its speed", speed.args(&elsewhere));
        }
        if is_node {
            let mut speed = Command::new("node");
            speed.arg("speed.mjs").current_dir(node::FOLDER);
            report.run("Node: its speed", speed.args(&elsewhere));
        }
    }
}

/// The server in a process of its own, on a fresh folder; killed in the end.
struct Standalone {
    child: Child,
    address: String,
    /// Open as long as it runs: it may say more.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Standalone {
    fn start() -> std::io::Result<Standalone> {
        let data = target().join("languages");
        let _ = std::fs::remove_dir_all(&data);
        std::fs::create_dir_all(&data)?;
        let config = data.join("broker.conf");
        std::fs::write(&config, "flushDiskType=ASYNC_FLUSH\n")?;
        let mut child = Command::new(server_binary())
            .args(["standalone", "--namesrv-addr", "127.0.0.1:0"])
            .args(["--broker-addr", "127.0.0.1:0"])
            .args(["--http-addr", "off", "--metrics-addr", "off", "--data"])
            .arg(data.join("store"))
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().expect("it is piped");
        let mut output = BufReader::new(output).lines();
        while let Some(line) = output.next() {
            let line = line?;
            if let Some((_, behind)) = line.to_lowercase().split_once("name server")
                && let Some(at) = behind.find("127.0.0.1:")
            {
                let address = behind.get(at..).unwrap_or_default();
                let end = address.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
                let address = address.get(..end.unwrap_or(address.len()));
                let address = address.unwrap_or_default().to_owned();
                return Ok(Standalone {
                    child,
                    address,
                    _output: output,
                });
            }
        }
        child.kill()?;
        Err(std::io::Error::other(
            "it did not say where its name server listens",
        ))
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
