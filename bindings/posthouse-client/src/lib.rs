//! The Rust client of Posthouse, for any broker that speaks RocketMQ's remoting protocol: Posthouse,
//! Apache RocketMQ 4.9 and 5.
//!
//! A [`Client`] is one member of a cluster: one id, one connection to each server, one cache of routes.
//! From it come [`Producer`]s, [`PushConsumer`]s, [`PullConsumer`]s, [`SimpleConsumer`]s and the
//! [`Admin`]. Everything is async on tokio, also on a
//! `current_thread` runtime, and what many tasks send at once leaves in one write.
//!
//! ```no_run
//! use posthouse_client::{Client, Config, Message};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> posthouse_client::Result<()> {
//!     let client = Client::new(Config::new("127.0.0.1:9876"));
//!     let producer = client.producer("shop")?;
//!     let message = Message::new("orders", "one parcel").key("order-17").tag("eu");
//!     let sent = producer.send(message).await?;
//!     println!("{} is at {} of {}", sent.id, sent.queue_offset, sent.queue);
//!     client.shutdown().await;
//!     Ok(())
//! }
//! ```
//!
//! The way to a server is TCP, or a plain call if the server lives in the same process
//! ([`Transport::Local`]). No language's binding has a word in here.

mod admin;
mod asked;
mod authorities;
mod channel;
mod client;
mod clock;
mod compress;
mod config;
mod error;
mod filter;
mod ids;
mod lease;
mod members;
mod message;
mod metrics;
mod name_servers;
mod namespace;
mod observer;
mod process_queue;
mod producer;
mod pull;
mod pull_consumer;
mod push_consumer;
mod queue;
mod reader;
mod received;
mod route;
mod simple_consumer;
mod strategy;
mod transaction;
mod upkeep;

pub use admin::{
    Admin, BrokerState, ClientInfo, Progress, QueueStats, Redrive, ResetTo, TopicFigures,
    TransactionState,
};
pub use authorities::system_authorities;
pub use client::Client;
pub use compress::{Compression, decompress};
pub use config::{Config, Entrance, Transport};
pub use error::{Error, MessageError, Refusal, Result};
pub use filter::Filter;
pub use lease::{Lease, LeaseError};
pub use message::{Deliver, Idempotency, Message, is_reserved};
pub use metrics::Metrics;
pub use model::flag::Perm;
pub use model::group::{ExponentialRetry, GroupConfig, RetryKind, RetryPolicy};
pub use model::topic::TopicConfig;
pub use model::{GroupName, NameError, TopicName};
pub use namespace::{Names, Namespace};
pub use observer::Observer;
pub use process_queue::FlowLimits;
pub use producer::{
    BatchError, Begin, Each, Ends, Expiry, Half, Producer, ProducerOptions, Recalled, ReplyTo,
    SendStatus, Sent, SentTogether,
};
pub use pull::{Pull, Pulled};
pub use pull_consumer::{PullConsumer, PullOptions};
pub use push_consumer::{Handed, Open, PushConsumer, PushOptions, Settle, Takes, settle_all};
pub use queue::Queue;
pub use reader::{ConsumeFrom, Model};
pub use received::{Content, Received};
pub use remoting::body::{BrokerData, Connection};
pub use remoting::body::{
    CheckerInfo, DelayedList, DelayedMessage, OpenTransaction, OperationInfo, TransactionList,
};
pub use remoting::body::{DirectOutcome, DirectResult, HeldQueue, PoppedQueue, RunningInfo};
pub use remoting::{Credentials, Identity, Serialize, Tls, TlsError, code};
pub use simple_consumer::{Leased, Receive, SimpleConsumer};
pub use strategy::Strategy;
pub use transaction::{Check, Decision, Transaction, TransactionError};
