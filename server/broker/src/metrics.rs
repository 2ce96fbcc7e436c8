//! The broker's figures, as plain numbers at one moment.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

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
    /// Times a damaged record was left out of what somebody read.
    pub records_damaged: u64,
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
    /// Half messages that wait for a decision.
    pub halves: usize,
    /// Half messages stored.
    pub transactions_prepared: u64,
    /// Those committed.
    pub transactions_committed: u64,
    /// Those rolled back.
    pub transactions_rolled_back: u64,
    /// Questions about half messages that reached a producer.
    pub transaction_checks: u64,
    /// Half messages given up: each may be a message that somebody meant to send.
    pub transactions_dead: u64,
    /// Messages that wait for their time.
    pub delayed: usize,
    /// Messages that came when their time had come.
    pub delayed_delivered: u64,
    /// Messages that were called back before.
    pub delayed_recalled: u64,
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
            records_damaged: self.store.damaged(),
            pulls_held: self.hold.held(),
            offsets_lowered: stats.lowered.total(),
            busy: stats.busy.total(),
            divergent_groups,
            registrations,
            halves: self.halves(),
            transactions_prepared: self.transactions.prepared.total(),
            transactions_committed: self.transactions.committed.total(),
            transactions_rolled_back: self.transactions.rolled_back.total(),
            transaction_checks: self.transactions.asked.total(),
            transactions_dead: self.transactions.dead.total(),
            delayed: self.delayed_count(),
            delayed_delivered: self.delays.delivered.load(Ordering::Relaxed),
            delayed_recalled: self.delays.recalled.load(Ordering::Relaxed),
        }
    }
}
