//! What `check` and `test` consist of, in order.

use std::path::PathBuf;
use std::process::Command;

use crate::report::Report;

/// Crates whose tests need the release binary and foreign toolchains.
const SLOW: [&str; 2] = ["conformance", "bench"];

/// The inner loop: formats, lints, house rules, unit and integration tests of the Rust crates.
pub fn check() -> Report {
    let mut report = Report::default();
    rules(&mut report);
    report.tests(
        "Rust tests",
        cargo("test")
            .args(["--workspace", "--no-fail-fast"])
            .args(without(&SLOW))
            // Made with the tests, before any runs: none builds another for itself.
            .env("POSTHOUSE_BIN", target().join("debug/posthouse")),
    );
    report
}

/// Everything.
pub fn test() -> Report {
    let mut report = check();
    if !server(&mut report) {
        return report;
    }
    let ignored = ["--", "--ignored", "--nocapture"];
    report.tests(
        "crash states on a simulated disk",
        cargo("test")
            .args(["--release", "--package", "store", "--lib", "crash"])
            .args(["--", "--nocapture"])
            // In each flush mode; the debug run of `check` looks at fewer.
            .env("POSTHOUSE_CRASH_STATES", "30000"),
    );
    report.tests(
        "kill -9 under load",
        cargo("test")
            .args([
                "--release",
                "--package",
                "posthouse",
                "--test",
                "it",
                "kill",
            ])
            .args(ignored),
    );
    report.tests(
        "the load generator",
        cargo("test").args(["--release", "--package", "bench", "--no-fail-fast"]),
    );
    report.tests(
        "real Apache clients",
        cargo("test")
            .args(["--release", "--package", "conformance", "--no-fail-fast"])
            // Most of these tests wait for a client in another process.
            .args(["--", "--test-threads", "6"])
            .env("POSTHOUSE_BIN", server_binary()),
    );
    crate::contract::test(&mut report);
    if crate::natives::build(&mut report) {
        crate::node::test(&mut report);
        crate::python::test(&mut report);
        crate::languages::beside_java(&mut report);
    }
    report
}

/// Builds what the tests of other languages run; whether that worked.
pub fn server(report: &mut Report) -> bool {
    let words = ["--release", "--package", "posthouse"];
    report.run("the server, as released", cargo("build").args(words))
}

/// Where [`server`] puts it.
pub fn server_binary() -> PathBuf {
    target().join("release/posthouse")
}

fn rules(report: &mut Report) {
    report.run("format", cargo("fmt").args(["--all", "--", "--check"]));
    report.run(
        "lints",
        cargo("clippy").args(["--workspace", "--all-targets", "--", "--deny", "warnings"]),
    );
    // In the workspace the server always has its command and HTTP; inside a program it has neither.
    report.run(
        "lints of the server inside a program",
        cargo("clippy").args(["--package", "ffi", "--lib", "--", "--deny", "warnings"]),
    );
}

fn without(packages: &[&str]) -> Vec<String> {
    packages
        .iter()
        .flat_map(|package| ["--exclude".to_owned(), (*package).to_owned()])
        .collect()
}

/// This cargo, for one of its commands.
pub fn cargo(what: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(what);
    command
}

/// Where cargo puts what it builds: by the one name that the folder has, however this program was started. What is
/// built with the name in its environment is built again when that differs.
pub fn target() -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let named = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(root).join("target"), PathBuf::from);
    std::fs::canonicalize(&named).unwrap_or(named)
}
