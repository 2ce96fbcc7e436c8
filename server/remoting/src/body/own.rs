//! What only Posthouse answers: 310000, 310001, and from 310005 on.

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

/// Answer to 310005 to 310008: an operation on a group's dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OperationInfo {
    /// Dead letters it dealt with.
    pub done: u64,
    /// The group.
    pub group: String,
    /// Its name.
    pub id: String,
    /// `redrive` or `purge`.
    pub kind: String,
    /// Of a request with a name: whether an earlier one of this name began it.
    pub replayed: bool,
    /// When it began, milliseconds since the Unix epoch.
    pub started_at: i64,
    /// `running`, `done`, `cancelled` or `failed`.
    pub state: String,
    /// Dead letters there were when it began; some may not be meant.
    pub total: u64,
    /// Why it failed.
    pub why: Option<String>,
}

/// Answer to 310009.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GoneDeadLetters {
    /// Positions in the dead-letter queue that were sent again or given up: the first of each range, and
    /// the one behind it.
    pub gone: Vec<(u64, u64)>,
}

/// Body of 310010.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AskedLeases {
    /// Those that are asked about.
    pub leases: Vec<AskedLease>,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AskedLease {
    /// Its offset in the queue.
    pub offset: i64,
    /// Its queue.
    pub queue_id: i32,
    /// Its receipt handle.
    pub receipt: String,
    /// The topic it lies in: it may be a retry topic.
    pub topic: String,
}

/// Answer to 310010.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeasesOut {
    /// How many messages of the topic the group has out on leases.
    pub in_flight: u64,
    /// Whether those that were asked about are, in their order.
    pub out: Vec<bool>,
}

/// Body of 310011: a URL that is asked what became of the transactions of a topic.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckerInfo {
    /// When it was put, milliseconds since the Unix epoch.
    pub created_at: i64,
    /// For whose half messages it answers.
    pub producer_group: String,
    /// What questions are signed with.
    pub secret: String,
    /// The topic they go to.
    pub topic: String,
    /// Where it is asked.
    pub url: String,
}

/// Without the secret, which no log may have.
impl std::fmt::Debug for CheckerInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckerInfo")
            .field("topic", &self.topic)
            .field("producer_group", &self.producer_group)
            .field("url", &self.url)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// Answer to 310012.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckerList {
    /// By topic.
    pub checkers: Vec<CheckerInfo>,
}
