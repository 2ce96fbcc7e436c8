//! Apache's own clients against the built server: one test a scenario and client.
#![allow(clippy::disallowed_methods)] // the harness waits for processes

mod cross;
mod doors;
mod gateway;
mod go;
mod java;
mod languages;
mod mqadmin;
mod polyglot;
mod readme;
mod settings;
mod web;

use std::sync::OnceLock;

use conformance::servers::{self, Server};

/// The server that most tests share: each run marks its own topics, groups and messages.
fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(servers::standalone)
}

fn target() -> &'static str {
    if servers::apache_stands_in() {
        "apache"
    } else {
        "posthouse"
    }
}

/// Says why a test does nothing; `true` if so.
fn skipped(programs: &[&str]) -> bool {
    let missing = conformance::toolchain::missing(programs);
    if let Some(reason) = &missing {
        eprintln!("skipped: {reason}");
    }
    missing.is_some()
}
