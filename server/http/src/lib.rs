//! HTTP/JSON and SSE in front of a RocketMQ cluster, Posthouse or Apache: a front door that is itself a
//! RocketMQ client.
//!
//! Nothing here knows a broker or a store: every operation is a call on [`posthouse_client`], inside
//! the process or over TCP. Routing, retries and leases therefore exist once, and every node serves every
//! call. `openapi/openapi.yaml` is the contract; [`operations`] is the table that tests hold against it.

mod call;
mod health;
mod operations;
mod problem;
mod server;

pub use operations::{Operation, operations};
pub use problem::{Fault, KINDS, Kind, Place, Problem};
pub use server::{Error, Options, Server};
