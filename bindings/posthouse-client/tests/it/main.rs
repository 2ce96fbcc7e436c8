//! The client against real servers: the built binary over TCP, a server inside the process by plain
//! calls, and scripted ones that say what real ones seldom say.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // tests ask for the time and stop at the first surprise

mod admin;
mod asked;
mod consume;
mod each;
mod java;
mod later;
mod metrics;
mod namespace;
mod places;
mod pull;
mod request;
mod retry;
mod scenarios;
mod secure;
mod send;
mod simple;
mod speed;
mod tail;
mod toy;
mod transaction;
