//! HTTP/JSON and SSE in front of a RocketMQ cluster, Posthouse or Apache: a front door that is itself a
//! RocketMQ client.
//!
//! Nothing here knows a broker or a store: every operation is a call on [`posthouse_client`], inside
//! the process or over TCP. Routing, retries and leases therefore exist once, and every node serves every
//! call. `openapi/openapi.yaml` is the contract; [`operations`] is the table that tests hold against it.

mod accept;
mod body;
mod browse;
mod call;
mod chance;
mod checkers;
mod checks;
mod clock;
mod cluster;
mod console;
mod cors;
mod dead_letters;
mod docs;
mod draft;
mod duration;
mod etag;
mod events;
mod gauge;
mod group_stream;
mod groups;
mod guard;
mod health;
mod idempotency;
mod in_flight;
mod json;
mod lease;
mod leases;
mod line;
mod many;
mod media;
mod metrics;
mod mq_headers;
mod names;
mod node;
mod operations;
mod options;
mod packed;
mod page;
mod parameters;
mod problem;
mod publish;
mod publisher;
mod pullers;
mod receive;
mod reply;
mod request_id;
mod requests;
mod router;
mod rules;
mod scheduled;
mod server;
mod shares;
mod shown;
mod sse;
mod subscriptions;
mod tail;
mod tickets;
mod time;
mod timed;
mod token;
mod told;
mod topics;
mod trace;
mod transactions;
mod turns;
mod webhook;
mod write;

pub use docs::{OPENAPI, openapi};
pub use operations::{COMMON, Operation, operations};
pub use options::{Limits, Options, Ready};
pub use problem::{Fault, KINDS, Kind, Place, Problem};
pub use server::{Ports, Server};
pub use token::{Secret, SecretError};
