//! The name server: who holds which topic.
//!
//! Brokers register their topics, clients ask for a topic's route; several name servers share nothing.
//! [`NameServer`] is a [`remoting::server::Service`] behind any listener, and a library: a broker in the
//! same process registers by a plain call, and its topics are routable when that call returns. The
//! tables are plain data (`route`, `liveness`, `kv`); `handle` is the only part that knows request codes.

mod body;
pub mod config;
mod file;
mod handle;
pub mod kv;
pub mod liveness;
mod local;
pub mod route;
mod server;

pub use config::{Options, Settings};
pub use local::LocalBroker;
pub use server::{Clock, NameServer};
