//! The door as its callers see it: real sockets, a real broker in this process. Every answer is held
//! against the contract.
#![allow(clippy::unwrap_used)]

mod browse;
mod checkers;
mod checks;
mod cloud_events;
mod contract;
mod dead_letters;
mod door;
mod events;
mod gateways;
mod group_stream;
mod groups;
mod guarded;
mod leases;
mod limits;
mod lost;
mod members;
mod messages;
mod receiver;
mod repeated;
mod requests;
mod slow;
mod subscriptions;
mod tail;
mod topics;
mod traced;
mod transactions;
mod two_doors;
