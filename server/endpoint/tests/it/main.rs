//! The door with real frames and a real broker: what is checked, in which order, and what is said.
#![allow(clippy::unwrap_used)]

mod admin;
mod codes;
mod consumers;
mod delay;
mod inspect;
mod live;
mod nonsense;
mod own;
mod pop;
mod pull;
mod recorded;
mod reset;
mod retry;
mod say;
mod send;
mod speed;
mod stats;
mod strict;
mod transactions;
mod traps;
mod world;
