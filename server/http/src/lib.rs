//! HTTP/JSON and SSE in front of a RocketMQ cluster, Posthouse or Apache: a front door that is itself a
//! RocketMQ client.
//!
//! Nothing here knows a broker or a store: every operation is a call on [`posthouse_client`], inside
//! the process or over TCP. Routing, retries and leases therefore exist once, and every node serves every
//! call. `openapi/openapi.yaml` is the contract; [`operations`] is the table that tests hold against it.

mod accept;
mod call;
mod clock;
mod cors;
mod docs;
#[allow(dead_code)] // streams and reviews of settings write them
mod duration;
mod gauge;
mod guard;
mod health;
#[allow(dead_code)] // batches read the rest
mod json;
mod metrics;
#[allow(dead_code)] // groups come next
mod names;
mod node;
mod operations;
mod options;
mod page;
#[allow(dead_code)] // the operations that take some come next
mod parameters;
mod problem;
mod request_id;
mod router;
mod server;
mod shown;
mod sse;
mod tail;
#[allow(dead_code)] // messages come next
mod time;
mod timed;
#[allow(dead_code)] // leases come next
mod token;
mod topics;

pub use docs::{OPENAPI, openapi};
pub use operations::{COMMON, Operation, operations};
pub use options::{Limits, Options};
pub use problem::{Fault, KINDS, Kind, Place, Problem};
pub use server::{Ports, Server};
pub use token::{Secret, SecretError};
