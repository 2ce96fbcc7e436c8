//! Chores: `cargo xtask check`, `cargo xtask test`, `cargo xtask bench`.
//!
//! They are Rust, not shell, so that a newcomer needs nothing but the toolchains, and so that a chore
//! is read and changed like everything else.
#![allow(clippy::disallowed_methods)] // starting processes is what this program is for

mod beside;
mod checkout;
mod contract;
mod languages;
mod natives;
mod node;
mod parts;
mod python;
mod report;
mod standalone;

use std::process::{Command, ExitCode};

use report::Report;

const HELP: &str = "\
cargo xtask check   formats, lints, arrows and unit tests: the inner loop
cargo xtask test    everything, real Apache clients included; closes with `N passed, N failed`
cargo xtask python  the Python package alone: built, installed into an empty environment, tested
cargo xtask node    the Node package alone: built, installed into an empty folder, tested
cargo xtask contract  the HTTP contract alone: made into requests, and held against a standalone
cargo xtask soak    whether Python's and Node's memory grows while a million messages go through each, and whether
                    forks, signals and ends of threads and processes at any moment lose or break something
cargo xtask bench   the load generator, beside Apache 5.3.3 unless told otherwise (see --help), then Python and Node;
                    `bench languages`: those alone; `bench beside`: those beside confluent-kafka and rocketmq-client-nodejs,
                    which come from PyPI, npm and Maven Central for it";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("check") => finish(parts::check()),
        Some("test") => finish(parts::test()),
        Some("python") => finish(alone(python::alone)),
        Some("node") => finish(alone(node::alone)),
        Some("contract") => finish(alone(contract::alone)),
        Some("soak") => finish(alone(languages::soak)),
        Some("bench") => match arguments.collect::<Vec<_>>() {
            words if words == ["languages"] => finish(alone(languages::bench)),
            words if words == ["beside"] => finish(alone(languages::bench_beside)),
            words => bench(words),
        },
        _ => {
            eprintln!("{HELP}");
            ExitCode::from(2)
        }
    }
}

/// One part alone.
fn alone(part: impl FnOnce(&mut Report)) -> Report {
    let mut report = Report::default();
    part(&mut report);
    report
}

fn finish(report: Report) -> ExitCode {
    report.print();
    if report.failed() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Builds server and generator in release, then hands over to the generator's own table; a whole one has the
/// languages' rows behind it.
fn bench(arguments: Vec<String>) -> ExitCode {
    let built = Command::new("cargo")
        .args([
            "build",
            "--release",
            "--package",
            "posthouse",
            "--package",
            "bench",
        ])
        .status();
    if !built.is_ok_and(|status| status.success()) {
        return ExitCode::FAILURE;
    }
    let whole = arguments.is_empty();
    let status = Command::new(parts::target().join("release/bench"))
        .arg("run")
        .arg("--posthouse")
        .arg(parts::target().join("release/posthouse"))
        .args(arguments)
        .status();
    match status.is_ok_and(|status| status.success()) {
        false => ExitCode::FAILURE,
        true if whole => finish(alone(languages::bench)),
        true => ExitCode::SUCCESS,
    }
}
