//! Posthouse: a name server and a broker that RocketMQ's own clients use, in one process or several.
//!
//! This crate wires the others together. The binary reads the command line ([`cli`]) and the
//! configuration ([`raw_config`], then [`config`]) and runs it ([`run`]); [`server::Server`] is the
//! same without command line, signals and log output, for whoever embeds it.

pub mod banner;
pub mod cli;
pub mod clock;
pub mod config;
pub mod interfaces;
pub mod keys;
pub mod lock;
pub mod loops;
pub mod machine;
pub mod node;
pub mod ports;
pub mod raw_config;
pub mod register;
pub mod run;
mod seeded;
pub mod server;
pub mod stop;
pub mod telemetry;

pub use server::Server;
