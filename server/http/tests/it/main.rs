//! The door as its callers see it: real sockets, a real broker in this process. Every answer is held
//! against the contract.
#![allow(clippy::unwrap_used)]

mod contract;
mod door;
mod events;
mod guarded;
mod messages;
mod slow;
mod tail;
mod topics;
