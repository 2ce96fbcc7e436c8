//! What waits at a broker, and how a transaction stands: served by Posthouse; Apache's brokers refuse it
//! with code 3.

use remoting::Command;
use remoting::body::{DelayedList, TransactionList};
use remoting::code::own;
use remoting::header::{ListHeader, TransactionStateHeader};

use super::Admin;
use crate::client::Inner;
use crate::error::{Error, Result};
use crate::transaction::Transaction;

/// How a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionState {
    /// Nobody decided yet.
    Pending {
        /// How often its producers were asked.
        checks: u32,
        /// When it is rolled back by itself, milliseconds since the Unix epoch.
        expires_at: Option<i64>,
    },
    /// Consumers get its message.
    Committed,
    /// Nobody gets it.
    RolledBack,
    /// Nobody decided in time.
    TimedOut,
}

impl Admin {
    /// Delayed messages of a topic at one of its brokers, in the order they are due; behind `after`, the
    /// `next` of an earlier list.
    ///
    /// # Errors
    /// If the topic has no route, or the broker refuses or gives no answer.
    pub async fn delayed(
        &self,
        topic: &str,
        broker: &str,
        after: Option<&str>,
        max: u32,
    ) -> Result<DelayedList> {
        self.list(own::LIST_DELAYED, topic, broker, after, max)
            .await
    }

    /// Half messages for a topic, at one of its brokers, that nobody decided about; behind `after`, the
    /// `next` of an earlier list.
    ///
    /// # Errors
    /// If the topic has no route, or the broker refuses or gives no answer.
    pub async fn open_transactions(
        &self,
        topic: &str,
        broker: &str,
        after: Option<&str>,
        max: u32,
    ) -> Result<TransactionList> {
        self.list(own::LIST_TRANSACTIONS, topic, broker, after, max)
            .await
    }

    async fn list<T: serde::de::DeserializeOwned>(
        &self,
        code: i32,
        topic: &str,
        broker: &str,
        after: Option<&str>,
        max: u32,
    ) -> Result<T> {
        let header = ListHeader {
            topic,
            after,
            max: Some(i32::try_from(max).unwrap_or(i32::MAX)),
        };
        let channel = self.client.master_of(topic, broker).await?;
        let command = header.fill(Command::request(code));
        let answer = channel.call(command, self.client.config.timeout).await?;
        Inner::body(&channel, &answer)
    }

    /// How a transaction stands.
    ///
    /// # Errors
    /// If its topic has no route, or the broker refuses (with 1 one that it does not know, or knows no
    /// more) or gives no answer.
    pub async fn transaction_state(&self, transaction: &Transaction) -> Result<TransactionState> {
        let header = TransactionStateHeader {
            producer_group: &transaction.group,
            queue_offset: transaction.queue_offset.cast_signed(),
            log_offset: transaction.log_offset.cast_signed(),
        };
        let client = &self.client;
        let channel = client
            .master_of(&transaction.topic, &transaction.broker)
            .await?;
        let command = header.fill(Command::request(own::TRANSACTION_STATE));
        let answer = channel.call(command, client.config.timeout).await?;
        let state = answer.read(|frame| match frame.ext.get("state")? {
            "pending" => Some(TransactionState::Pending {
                checks: frame.ext.get("checks")?.parse().ok()?,
                expires_at: frame.ext.get("expiresAt").and_then(|at| at.parse().ok()),
            }),
            "committed" => Some(TransactionState::Committed),
            "rolled-back" => Some(TransactionState::RolledBack),
            "timed-out" => Some(TransactionState::TimedOut),
            _ => None,
        });
        let state = state.map_err(|error| Error::malformed(channel.address(), error))?;
        state.ok_or_else(|| Error::malformed(channel.address(), "it names no state"))
    }
}
