//! The two things a process may run, each with its tables, its listener and its loops.

mod broker;
mod namesrv;

pub use broker::{Broker, Ground};
pub use namesrv::{Namesrv, Reach};
