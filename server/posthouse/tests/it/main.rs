//! The real binary, started in temporary folders on free ports.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // starting processes is what these tests are for

mod client;
mod config;
mod delay_speed;
mod embedded;
mod failed_disk;
mod http;
mod http_survives;
mod http_without;
mod kill;
mod kill_delay;
mod kill_pop;
mod kill_tx;
mod ledger;
mod nonsense;
mod process;
mod run;
mod stop;
