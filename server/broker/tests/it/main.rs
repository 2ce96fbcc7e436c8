//! The broker as its doors see it, over a real store on a disk in memory.
#![allow(clippy::unwrap_used)]

mod checks;
mod clients;
mod cost;
mod dead_letters;
mod deadline;
mod deadlines;
mod delay;
mod filter;
mod give_back;
mod house;
mod offsets;
mod once;
mod pop;
mod pop_again;
mod pop_cold;
mod pop_held;
mod pop_kept;
mod pop_ordered;
mod popping;
mod produce;
mod pull;
mod pull_held;
mod query;
mod reset;
mod restart;
mod retry;
mod settings;
mod stats;
mod stubborn;
mod topics;
mod transactions;
mod trouble;
