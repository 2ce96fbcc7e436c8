//! Posthouse: a name server and a broker that RocketMQ's own clients use, in one process or several.
//!
//! This crate wires the others together. The binary reads the command line ([`cli`]) and the
//! configuration ([`raw_config`], [`config`]).

pub mod cli;
pub mod config;
pub mod interfaces;
pub mod keys;
pub mod lock;
pub mod ports;
pub mod properties;
pub mod raw_config;
pub mod stop;
pub mod telemetry;
