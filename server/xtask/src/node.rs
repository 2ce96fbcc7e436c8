//! The Node package: built and installed from a checkout, then its own tests.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::parts::{server, server_binary};
use crate::report::Report;

/// The part alone, with what it needs of the server.
pub fn alone(report: &mut Report) {
    if server(report) {
        test(report);
    }
}

/// Runs the part, unless the machine has neither Node nor npm: with one of them something is wrong, and that shows.
pub fn test(report: &mut Report) {
    let is_absent = |program: &str| {
        let mut command = Command::new(program);
        let started = command.arg("--version").stdout(Stdio::null()).status();
        started.is_err_and(|error| error.kind() == ErrorKind::NotFound)
    };
    if is_absent("node") && is_absent("npm") {
        println!("\n== Node: left out, this machine has no node and no npm");
        return;
    }
    let node = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../node");
    let empty = std::env::temp_dir().join(format!("posthouse-node-{}", std::process::id()));
    let _ = std::fs::create_dir_all(&empty);
    // As a user installs it: nothing of ours is there but the checkout.
    let _ = std::fs::remove_dir_all(node.join("node_modules"));
    let mut install = npm(&["install", "--no-audit", "--no-fund"], &empty);
    install.arg(&node);
    if report.run("Node: npm install ./node in an empty folder", &mut install) {
        let mut load = Command::new("node");
        load.args(["-e", "console.log(require('posthouse').version)"]);
        report.run("Node: it loads from there", load.current_dir(&empty));
    }
    let _ = std::fs::remove_dir_all(&empty);
    // Built by now; again would be a second time.
    let mut ready = npm(
        &["ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        &node,
    );
    if report.run("Node: npm ci", &mut ready) {
        let mut tests = npm(&["test"], &node);
        tests.env("POSTHOUSE_BIN", server_binary());
        report.tests("Node: its tests", &mut tests);
    }
}

fn npm(words: &[&str], folder: &Path) -> Command {
    let mut command = Command::new("npm");
    command.args(words).current_dir(folder);
    command
}
