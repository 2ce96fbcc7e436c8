//! The broker's remoting door: a request code becomes one call on [`broker::Broker`], and what the
//! broker answers becomes an answer.
//!
//! [`Endpoint`] is the whole door. It may not retry, sleep, choose a queue, count attempts or touch the
//! store. Requests are split by subject (`send`, `pull`, `offset`, `client`, `admin`); `from` and `to`
//! translate the larger bodies, `status` the errors, and [`Clients`] is the way back to the clients.

mod admin;
mod ask;
mod bodies;
mod client;
mod from;
mod offset;
mod outlet;
mod own;
mod pop;
mod pull;
mod query;
mod recall;
mod reply;
mod reset;
mod retry;
mod running;
mod send;
mod service;
mod status;
mod to;
mod transaction;

pub use outlet::Clients;
pub use service::Endpoint;
