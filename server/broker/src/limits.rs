//! Every limit of what may wait or pile up in the broker, in one place. Overload answers
//! [`crate::Error::Busy`] with the reason; nothing grows without a bound.

use std::time::Duration;

/// Pulls held at the same time.
pub const HELD_PULLS: usize = 200_000;
/// Pulls held for one queue.
pub const HELD_PULLS_PER_QUEUE: usize = 10_000;
/// Pops and notifications held at the same time (`maxPopPollingSize`).
pub const HELD_POPS: usize = 100_000;
/// Pops and notifications held for one group, topic and queue (`popPollingSize`).
pub const HELD_POPS_PER_QUEUE: usize = 1_024;
/// Messages one pop may ask for.
pub const POP_MESSAGES: i32 = 32;
/// Milliseconds by which a pop may arrive behind its poll time.
pub const POP_LATE_MS: i64 = 500;
/// In so many pops of a hundred, what came back is looked at first (`popFromRetryProbability`).
pub const POP_BACK_FIRST: u64 = 20;
/// Times one pop goes on with [`SCAN_ENTRIES`] more when its filter took nothing.
pub const POP_ROUNDS: usize = 16;
/// Filters of members that are remembered for a group and topic.
pub const POP_FILTERS: usize = 32;
/// Messages of a queue that may be left for members with another filter, or behind a message group
/// that is out. Whoever would leave more gets nothing new until these are popped.
pub const LEFT_FOR_OTHERS: usize = 16_384;
/// New messages one ordered pop looks at.
pub const ORDERED_SCAN: usize = 256;
/// Leases that ran out which are dealt with in one go.
pub const REVIVE_BATCH: usize = 256;
/// Messages that went elsewhere as their leases ran out, or whose groups did, of which an ack is told so.
pub const GONE: usize = 1024;
/// What could not be given back is tried again after this time.
pub const REVIVE_PAUSE: Duration = Duration::from_millis(10);
/// How long a send waits for the oldest messages to go, where they go for it.
pub const ROOM: Duration = Duration::from_secs(2);
/// The longest hold, whatever the client asks: its own limit for an answer is 30 s.
pub const HOLD_MAX: Duration = Duration::from_secs(25);
/// Queue entries one pull looks at (Apache's 16,000 bytes of 20-byte entries).
pub const SCAN_ENTRIES: usize = 800;
/// Messages whose properties one filtered pull looks at, if its time allows: a rare match costs few pulls.
pub const SCAN_RECORDS: usize = 8_192;
/// Messages in one batch.
pub const BATCH_MESSAGES: usize = 4096;
/// Topics, the broker's own included.
pub const TOPICS: usize = 200_000;
/// Queues of one topic, to read or to write.
pub const QUEUES_PER_TOPIC: u32 = 16_384;
/// Queue numbers below this may be committed whatever the topic has now.
pub const COMMITTED_QUEUES: u32 = 1_024;
/// Consumer groups.
pub const GROUPS: usize = 200_000;
/// A group's `subscriptionDataSet`, in bytes.
pub const GROUP_SUBSCRIPTIONS: usize = 64 << 10;
/// Topics that are forbidden to groups, counted once for each group.
pub const FORBIDDEN: usize = 100_000;
/// Topics whose brokers are remembered for members that ask for their queues.
pub const ROUTES: usize = 100_000;
/// Live (client, group) registrations.
pub const REGISTRATIONS: usize = 200_000;
/// Topics one member of a group may subscribe to.
pub const SUBSCRIPTIONS: usize = 1_024;
/// Memory for the subscriptions of clients whose connection ended, in bytes.
pub const KEPT_SUBSCRIPTION_BYTES: usize = 8 << 20;
/// Positions of groups in queues, in memory.
pub const OFFSETS: usize = 2_000_000;
/// Decisions about half messages that are remembered in memory, about 64 bytes each; the log remembers
/// the others.
pub const DECIDED: usize = 128 << 10;
/// Half messages that are looked at in one step.
pub const CHECKS_AT_ONCE: usize = 256;
/// Records with a half message's key that are looked at to find what became of it.
pub const HALF_CANDIDATES: usize = 64;
/// The longest client id, in bytes.
pub const CLIENT_ID: usize = 1_024;
/// Client ids that are noted for one connection.
pub const CLIENTS_PER_CONNECTION: usize = 64;
/// Idempotency keys that are remembered in memory, about 100 bytes each; the log remembers the others.
pub const IDEMPOTENCY_KEYS: usize = 1_000_000;
/// The longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY: usize = 512;
/// Records that are looked at to find the first with an idempotency key.
pub const IDEMPOTENCY_CANDIDATES: usize = 64;
/// Operations on dead letters that are remembered when they have ended.
pub const OPERATIONS: usize = 1_000;
/// Topics with a checker.
pub const CHECKERS: usize = 256;
/// The longest URL or secret of a checker, in bytes.
pub const CHECKER_TEXT: usize = 2_048;
/// Ranges of a group's dead letters that are gone, above which the log warns: each costs 16 bytes.
pub const GONE_RANGES: usize = 65_536;
/// Waiting messages in one list.
pub const LISTED: usize = 1_000;
/// Waiting messages, of all topics, that are looked at for one list.
pub const LIST_SCAN: usize = 16_384;
/// The longest reason of a dead letter, in characters.
pub const DEAD_REASON: usize = 1_024;
/// Queue locks.
pub const LOCKS: usize = 500_000;
/// Answers read cold that wait for their request to run again.
pub const COLD_ANSWERS: usize = 1_024;
/// Messages a query by key returns.
pub const QUERY_MESSAGES: usize = 64;
/// Messages a query by unique key returns.
pub const UNIQUE_QUERY_MESSAGES: usize = 32;
/// The longest expression of a subscription, in bytes.
pub const EXPRESSION: usize = 64 * 1024;
/// The expressions of one member of a group together, in bytes.
pub const MEMBER_EXPRESSIONS: usize = 1 << 20;
/// Bytes of records behind which a query by key stops.
pub const QUERY_BYTES: usize = 8 << 20;
/// Questions to clients that are not answered yet.
pub const QUESTIONS: usize = 10_000;
/// Terms and operators of an SQL expression, the texts of its INs not counted.
pub const EXPRESSION_NODES: usize = 1_024;
/// How deep the terms of an SQL expression may be nested.
pub const EXPRESSION_DEPTH: usize = 64;
/// Properties an SQL expression reads.
pub const EXPRESSION_PROPERTIES: usize = 64;
/// Compiled SQL expressions that are remembered by their text,
pub const EXPRESSIONS: usize = 1_024;
/// and the bytes of these texts.
pub const EXPRESSIONS_BYTES: usize = 4 << 20;
/// How long one pull may look at messages that do not match, on a thread that serves others too.
pub const SCAN_TIME: Duration = Duration::from_micros(200);
/// The same where waiting for the disk is allowed.
pub const SCAN_TIME_COLD: Duration = Duration::from_millis(100);
/// Expressions evaluated when messages arrive, to find out whom to wake; the rest looks for itself.
pub const WAKE_EVALUATIONS: usize = 4_096;

/// Attempts of pops with a name that one group and topic remembers.
pub const POP_ATTEMPTS: usize = 4_096;
