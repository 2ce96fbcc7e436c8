//! What a process may run, each with its listener and its loops.

mod broker;
#[cfg(feature = "binary")]
mod http;
#[cfg(not(feature = "binary"))]
#[path = "node/no_http.rs"]
mod http;
mod namesrv;

pub use broker::{Broker, Ground};
pub use http::Http;
pub use namesrv::{Namesrv, Reach};
