//! HTTP/JSON and SSE in front of a RocketMQ cluster, Posthouse or Apache: a front door that is itself a
//! RocketMQ client.
//!
//! Nothing here knows a broker or a store: every operation is a call on [`posthouse_client`], inside
//! the process or over TCP. Routing, retries and leases therefore exist once, and every node serves every
//! call. `openapi/openapi.yaml` is the contract; [`operations`] is the table that tests hold against it.

mod accept;
mod call;
mod cors;
mod gauge;
mod guard;
mod health;
mod metrics;
#[allow(dead_code)] // groups come next
mod names;
mod node;
mod operations;
mod options;
mod problem;
mod request_id;
mod router;
mod server;
mod timed;
mod topics;

pub use operations::{COMMON, Operation, operations};
pub use options::{Limits, Options};
pub use problem::{Fault, KINDS, Kind, Place, Problem};
pub use server::{Ports, Server};
