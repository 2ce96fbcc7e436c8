//! The broker's figures, as plain numbers at one moment.

use std::sync::PoisonError;

use crate::Broker;

/// What an operator watches. Totals count since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Messages stored.
    pub messages_in: u64,
    /// Their bytes, as stored.
    pub bytes_in: u64,
    /// Sends that were refused by the store.
    pub sends_failed: u64,
    /// Messages handed to consumers.
    pub messages_out: u64,
    /// Pulls that found something.
    pub pulls_found: u64,
    /// Pulls that found nothing.
    pub pulls_missed: u64,
    /// Pulls held now.
    pub pulls_held: usize,
    /// Commits that moved an offset back.
    pub offsets_lowered: u64,
    /// Requests refused because too much was waiting.
    pub busy: u64,
    /// Groups whose members subscribe differently: each of them loses messages.
    pub divergent_groups: usize,
    /// Live (client, group) registrations.
    pub registrations: usize,
}

impl Broker {
    /// The figures of now.
    pub fn metrics(&self) -> Metrics {
        let stats = &self.stats;
        let (divergent_groups, registrations) = self
            .clients
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .counts();
        Metrics {
            messages_in: stats.put.total(),
            bytes_in: stats.put_bytes.total(),
            sends_failed: stats.put_failed.total(),
            messages_out: stats.transferred.total(),
            pulls_found: stats.found.total(),
            pulls_missed: stats.missed.total(),
            pulls_held: self.hold.held(),
            offsets_lowered: stats.lowered.total(),
            busy: stats.busy.total(),
            divergent_groups,
            registrations,
        }
    }
}
