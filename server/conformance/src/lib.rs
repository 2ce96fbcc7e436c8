//! Runs Apache's own clients against a server: Java 4.9.7 and 5.3.3, Go, and the two mqadmins.
//!
//! What the clients do is written in their own languages (`java/`, `go/`), as named scenarios that check what they see.
//! This crate builds them once ([`toolchain`]), keeps one process of each kind ([`clients`]), starts what they talk to
//! ([`servers`]: Posthouse, or Apache's own servers to validate the scenarios), and asks for one scenario a test.
#![allow(clippy::disallowed_methods)] // starting processes and waiting for them is what this crate is for
#![allow(clippy::unwrap_used)] // a harness stops at the first surprise

pub mod clients;
pub mod mqadmin;
pub mod process;
pub mod servers;
pub mod toolchain;

use std::path::PathBuf;

/// The folder of this crate, with the sample programs.
pub fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Cargo's target folder: the test binary lies in `<target>/<profile>/deps`.
pub fn target() -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    executable.ancestors().nth(3).unwrap().to_path_buf()
}

/// Where jars, classes, logs and stores of the tests go: `<target>/conformance`.
pub fn workshop() -> PathBuf {
    let folder = target().join("conformance");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
