//! What a process may run, each with its listener and its loops.

mod broker;
mod http;
mod namesrv;

pub use broker::{Broker, Ground};
pub use http::Http;
pub use namesrv::{Namesrv, Reach};
