//! Lists that only Posthouse makes: answers to 310000 and 310001.

use serde::{Deserialize, Serialize};

/// Answer to 310000.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DelayedList {
    /// In the order they are due.
    pub messages: Vec<DelayedMessage>,
    /// Where the next list goes on; none if this was the last.
    pub next: Option<String>,
}

/// A message that waits for its time. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DelayedMessage {
    /// When it comes.
    pub due_at: i64,
    /// Its delay level, if it waits for one.
    pub level: Option<i32>,
    /// Where it waits in the log.
    pub log_offset: u64,
    /// The queue it goes to.
    pub queue_id: u32,
    /// What calls it back; none of a level.
    pub recall_handle: Option<String>,
    /// When it was stored.
    pub stored_at: i64,
    /// The topic it goes to.
    pub topic: String,
    /// Its `UNIQ_KEY`.
    pub unique_key: String,
}

/// Answer to 310001.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TransactionList {
    /// In the order they are looked at next.
    pub transactions: Vec<OpenTransaction>,
    /// Where the next list goes on; none if this was the last.
    pub next: Option<String>,
}

/// A half message nobody decided about yet. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OpenTransaction {
    /// How often its producers were asked.
    pub checks: u32,
    /// When it is rolled back by itself, if it has a deadline.
    pub expires_at: Option<i64>,
    /// The group that sent it.
    pub group: String,
    /// Where it lies in the log.
    pub log_offset: u64,
    /// When its producers are asked next.
    pub next_check_at: i64,
    /// The queue it goes to.
    pub queue_id: u32,
    /// Where it lies in its queue.
    pub queue_offset: u64,
    /// When it was stored.
    pub stored_at: i64,
    /// The topic it goes to.
    pub topic: String,
    /// Its `UNIQ_KEY`.
    pub unique_key: String,
}
