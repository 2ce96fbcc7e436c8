//! The `posthouse` command.

use std::process::ExitCode;

use clap::Parser;
use posthouse::cli::Cli;

fn main() -> ExitCode {
    posthouse::run::run(Cli::parse().command())
}
