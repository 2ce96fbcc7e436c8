//! Transactions: a half message waits at its broker until somebody decides about it.
//!
//! ```text
//! begin ── half message ──> broker      nobody sees it
//!                             │ resolve(commit | rollback), from any process that has the handle
//!                             │ nobody decided for a while: check ──> a producer of the group
//!                             v
//!                        seen, or gone
//! ```

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use model::flag::sys;
use model::id::{parse_offset_id, push_offset_id};
use model::message::key;
use model::{GroupName, LogOffset, TopicName};
use remoting::Command;
use remoting::code::request;
use remoting::header::{CheckTransactionHeader, EndTransactionHeader};

use crate::client::{Client, Inner};
use crate::error::{Error, Result};
use crate::queue::Queue;
use crate::received::{Received, records};

/// What becomes of a half message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Consumers get it.
    Commit,
    /// Nobody gets it.
    Rollback,
    /// It waits on: the broker asks again.
    Unknown,
}

/// A half message that waits for a decision. Its text says everything, so whoever has it may decide,
/// from any process, whatever its namespace: names are brokers' own. See [`Client::resolve`].
///
/// ```
/// use posthouse_client::Transaction;
///
/// let text = "shop orders broker-a 3 7F000001000051AF0000000000003967 7F000001500B4E0E2F2A7964BAB8000C";
/// let transaction: Transaction = text.parse().unwrap();
/// assert_eq!((transaction.group(), transaction.topic()), ("shop", "orders"));
/// assert_eq!(transaction.to_string(), text);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    pub(crate) group: Arc<str>,
    pub(crate) topic: Arc<str>,
    pub(crate) broker: Arc<str>,
    /// Where the half message lies in its queue.
    pub(crate) queue_offset: u64,
    /// Who keeps it, and where it lies in the log there.
    pub(crate) address: SocketAddr,
    pub(crate) log_offset: u64,
    pub(crate) id: String,
}

/// A half message, and what the broker asks about it.
#[derive(Clone, Debug)]
pub struct Check {
    /// The message, as consumers would get it.
    pub message: Received,
    /// What it is resolved with.
    pub transaction: Transaction,
}

impl Check {
    /// How often the broker asked before.
    pub fn times(&self) -> u32 {
        let times = self.message.property(key::TRANSACTION_CHECK_TIMES);
        times.and_then(|times| times.parse().ok()).unwrap_or(0)
    }
}

/// The text is no transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no transaction")]
pub struct TransactionError;

impl Transaction {
    /// The group whose producers are asked.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The topic that the message goes to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The broker that keeps it.
    pub fn broker(&self) -> &str {
        &self.broker
    }

    /// The message's id.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Transaction {
            group,
            topic,
            broker,
            queue_offset,
            address,
            log_offset,
            id,
        } = self;
        let mut lies = String::with_capacity(32);
        push_offset_id(&mut lies, *address, LogOffset(*log_offset));
        write!(f, "{group} {topic} {broker} {queue_offset} {lies} {id}")
    }
}

impl FromStr for Transaction {
    type Err = TransactionError;

    fn from_str(text: &str) -> std::result::Result<Transaction, TransactionError> {
        let parts: Vec<&str> = text.split(' ').collect();
        let &[group, topic, broker, queue_offset, lies, id] = parts.as_slice() else {
            return Err(TransactionError);
        };
        let (address, log_offset) = parse_offset_id(lies).ok_or(TransactionError)?;
        if broker.is_empty() || id.is_empty() {
            return Err(TransactionError);
        }
        let group = GroupName::parse(group).map_err(|_| TransactionError)?;
        let topic = TopicName::parse(topic).map_err(|_| TransactionError)?;
        Ok(Transaction {
            group: group.as_str().into(),
            topic: topic.as_str().into(),
            broker: broker.into(),
            queue_offset: queue_offset.parse().map_err(|_| TransactionError)?,
            address,
            log_offset: log_offset.0,
            id: id.to_owned(),
        })
    }
}

impl Client {
    /// Decides about a half message. Needs no producer. [`Decision::Unknown`] changes nothing, and no
    /// broker answers it.
    ///
    /// # Errors
    /// The broker refuses if somebody else decided before. It refuses with 604 after the time that
    /// [`crate::Begin::check_after`] gave: then it is the check that decides, or
    /// [`Client::resolve_late`].
    pub async fn resolve(&self, transaction: &Transaction, decision: Decision) -> Result<()> {
        self.inner.resolve(transaction, decision, false).await
    }

    /// Decides about a half message as if the broker had asked: however late it is.
    ///
    /// # Errors
    /// The broker refuses if somebody else decided before.
    pub async fn resolve_late(&self, transaction: &Transaction, decision: Decision) -> Result<()> {
        self.inner.resolve(transaction, decision, true).await
    }
}

impl Inner {
    pub(crate) async fn resolve(
        &self,
        transaction: &Transaction,
        decision: Decision,
        from_check: bool,
    ) -> Result<()> {
        self.open()?;
        let header = EndTransactionHeader {
            producer_group: &transaction.group,
            queue_offset: transaction.queue_offset.cast_signed(),
            log_offset: transaction.log_offset.cast_signed(),
            decision: match decision {
                Decision::Commit => sys::TRANSACTION_COMMIT,
                Decision::Rollback => sys::TRANSACTION_ROLLBACK,
                Decision::Unknown => 0,
            },
            from_check,
            msg_id: Some(&transaction.id),
            transaction_id: Some(&transaction.id),
        };
        let command = header.fill(Command::request(request::END_TRANSACTION));
        let command = command.with("topic", &transaction.topic);
        // The master may have moved since; if no route knows it, it is where it was.
        let master = self.master_of(&transaction.topic, &transaction.broker);
        let channel = match master.await {
            Err(Error::UnknownBroker(_) | Error::NoRoute(_)) => {
                let address = transaction.address.to_string();
                self.channels.to(&address).await?
            }
            channel => channel?,
        };
        if decision == Decision::Unknown {
            let encode = |opaque, out: &mut Vec<u8>| {
                Command { opaque, ..command }.oneway().encode(out);
            };
            return channel.oneway(encode).await;
        }
        channel.call(command, self.config.timeout).await?;
        Ok(())
    }

    /// What a broker asks with a 39: the group's name is in the message. `None` if it makes no sense.
    pub(crate) fn check(&self, from: &str, command: &Command) -> Option<(Arc<str>, Check)> {
        let bytes = command.to_bytes();
        let mut decoder = remoting::Decoder::new();
        let frame = decoder.decode(&bytes).ok()?;
        let header = CheckTransactionHeader::read(&frame).ok()?;
        let broker: Arc<str> = match header.broker_name {
            Some(name) => name.into(),
            // 4.9 does not say who asks.
            None => self.name_of(from)?,
        };
        let body = Bytes::copy_from_slice(frame.body);
        let queue_of = |view: &model::record::View<'_>| {
            Queue::new(view.topic(), broker.clone(), view.queue().0)
        };
        let (message, _) = records(&body, queue_of).into_iter().next()?;
        let group: Arc<str> = message.property(key::PGROUP)?.into();
        let transaction = Transaction {
            group: group.clone(),
            topic: message.topic.clone(),
            broker: broker.clone(),
            queue_offset: u64::try_from(header.queue_offset).ok()?,
            address: message.store_host,
            log_offset: u64::try_from(header.log_offset).ok()?,
            id: message.id(),
        };
        let check = Check {
            message,
            transaction,
        };
        Some((group, check))
    }

    /// The name of the broker at this address.
    fn name_of(&self, address: &str) -> Option<Arc<str>> {
        let brokers = self.brokers();
        let found = brokers.into_iter().find(|broker| {
            let mut members = broker.members.iter();
            members.any(|(_, member)| &**member == address)
        });
        found.map(|broker| broker.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_transaction_is_refused() {
        let lies = "7F000001000051AF0000000000003967";
        for text in [
            String::new(),
            format!("shop orders broker-a 3 {lies}"),
            format!("shop orders broker-a x {lies} id"),
            "shop orders broker-a 3 7F id".to_owned(),
            format!("sh/op orders broker-a 3 {lies} id"),
            format!("shop orders broker-a 3 {lies} id more"),
        ] {
            assert_eq!(text.parse::<Transaction>(), Err(TransactionError), "{text}");
        }
    }
}
