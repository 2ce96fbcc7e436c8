//! The Node package: installed from a checkout, then put together around the native part that [`natives`] built, and
//! tested.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::checkout::plainly;
use crate::natives;
use crate::parts::{server, server_binary, target};
use crate::report::Report;

/// The part alone, with what it needs of the server.
pub fn alone(report: &mut Report) {
    if server(report) && natives::build(report) {
        test(report);
    }
}

/// Other runtimes that must run the package, from npm.
const RUNTIMES: [&str; 3] = ["node@24.21.0", "bun@1.4.5", "deno@2.9.6"];

/// Where the package lies.
pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../node");

/// Whether the machine has neither Node nor npm; said, if so.
pub fn is_left_out() -> bool {
    let is_absent = |program: &str| {
        let mut command = Command::new(program);
        let started = command.arg("--version").stdout(Stdio::null()).status();
        started.is_err_and(|error| error.kind() == ErrorKind::NotFound)
    };
    let left_out = is_absent("node") && is_absent("npm");
    if left_out {
        println!("\n== Node: left out, this machine has no node and no npm");
    }
    left_out
}

/// Runs the part, unless the machine has neither Node nor npm: with one of them something is wrong, and that shows.
pub fn test(report: &mut Report) {
    if is_left_out() {
        return;
    }
    let node = Path::new(FOLDER);
    let empty = std::env::temp_dir().join(format!("posthouse-node-{}", std::process::id()));
    let _ = std::fs::create_dir_all(&empty);
    // As a user installs it: nothing of ours is there but the checkout.
    let _ = std::fs::remove_dir_all(node.join("node_modules"));
    let mut install = npm(&["install", "--no-audit", "--no-fund"], &empty);
    if report.run(
        "Node: npm install ./node in an empty folder",
        plainly(install.arg(node)),
    ) {
        let mut load = Command::new("node");
        load.args(["-e", "console.log(require('posthouse').version)"]);
        report.run("Node: it loads from there", load.current_dir(&empty));
    }
    let _ = std::fs::remove_dir_all(&empty);
    let mut ready = npm(&["ci", "--ignore-scripts", "--no-audit", "--no-fund"], node);
    if laid_out(report) && report.run("Node: npm ci", &mut ready) {
        let runtimes = target().join("runtimes");
        let _ = std::fs::create_dir_all(&runtimes);
        let mut others = npm(&["install", "--no-audit", "--no-fund", "--prefix"], node);
        others.arg(&runtimes).args(RUNTIMES);
        report.run("Node: a later one, Bun and Deno", &mut others);
        let mut tests = npm(&["test"], node);
        tests.env("POSTHOUSE_BIN", server_binary());
        tests.env("POSTHOUSE_RUNTIMES", runtimes);
        report.tests("Node: its tests", &mut tests);
    }
}

/// Puts the package together around the native part that was built for all runners.
pub fn laid_out(report: &mut Report) -> bool {
    let mut build = Command::new("node");
    build.arg("build.mjs").current_dir(FOLDER);
    build.env("POSTHOUSE_NATIVE", natives::node());
    report.run("Node: laid out", &mut build)
}

fn npm(words: &[&str], folder: &Path) -> Command {
    let mut command = Command::new("npm");
    command.args(words).current_dir(folder);
    command
}
