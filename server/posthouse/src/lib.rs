//! Posthouse: a name server and a broker that RocketMQ's own clients use, in one process or several.
//!
//! This crate wires the others together. The binary reads the command line (`cli`) and the
//! configuration ([`raw_config`], then [`config`]) and runs it (`run`); [`server::Server`] is the
//! same without command line, signals and log output, for whoever embeds it: [`embedded`]. That is all there
//! is without the default feature `binary`.

#[cfg(feature = "binary")]
pub mod banner;
#[cfg(feature = "binary")]
pub mod cli;
pub mod clock;
pub mod config;
pub mod embedded;
pub mod interfaces;
pub mod keys;
pub mod lock;
pub mod loops;
pub mod machine;
#[cfg(feature = "binary")]
mod memory;
pub mod node;
pub mod ports;
pub mod raw_config;
pub mod register;
#[cfg(feature = "binary")]
pub mod run;
mod seeded;
pub mod server;
#[cfg(feature = "binary")]
pub mod stop;
#[cfg(feature = "binary")]
pub mod telemetry;

pub use embedded::Embedded;
pub use server::Server;
