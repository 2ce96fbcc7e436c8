//! Sends half messages, and has its function asked about those that nobody decided about.

use std::time::Duration;

use model::flag::sys;
use model::message::{append, key};

use super::{Producer, ProducerOptions, Sent, Shared};
use crate::client::Client;
use crate::error::{Error, MessageError, Result};
use crate::message::{Deliver, Message};
use crate::transaction::{Check, Decision, Transaction};

/// A half message that a broker keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Half {
    /// What the broker said.
    pub sent: Sent,
    /// What it is resolved with.
    pub transaction: Transaction,
    /// When the broker rolls it back by itself, milliseconds since the Unix epoch; `None`: as it is
    /// configured. Of a begin that was repeated by its key, what the first one asked for holds.
    pub expires_at: Option<i64>,
}

/// How long a half message may wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Begin {
    /// The broker does not ask before this; to the second. Unset: as the broker is configured.
    pub check_after: Option<Duration>,
    /// When it is rolled back if nobody decides.
    pub expiry: Expiry,
}

/// When a half message that nobody decides about is rolled back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// When the broker has asked in vain as often as it is configured to.
    #[default]
    AsConfigured,
    /// After this time, and not before: only Posthouse's brokers keep such times, and it is sent to no
    /// other.
    After(Duration),
    /// The same where brokers keep such times, else as they are configured.
    AfterIfKept(Duration),
}

/// What is said of a broker that keeps no time limits.
const NO_LIMITS: &str = "keeps no time limit of a transaction: nothing was begun";

impl Client {
    /// A producer whose function is asked about half messages that nobody decided about, also those of
    /// other producers of the group. Must be called inside a tokio runtime. If the group has several in
    /// this client, the last one's function is asked.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/example.rs")); }
    /// # example::run(async |name_server| {
    /// use posthouse_client::{Client, Config, Decision, Message, ProducerOptions};
    ///
    /// let client = Client::new(Config::new(name_server));
    /// let producer = client.transaction_producer("shop", ProducerOptions::default(), async |check| {
    ///     println!("was {} paid?", check.message.id());
    ///     Decision::Unknown
    /// })?;
    /// let message = Message::new("orders", "paid").key("order-17");
    /// let (sent, decision) = producer
    ///     .send_in_transaction(message, async |half| {
    ///         println!("{} is written to the database with the rest", half.transaction);
    ///         Decision::Commit
    ///     })
    ///     .await?;
    /// println!("{}: {decision:?}", sent.id);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// If no broker takes the group's name.
    pub fn transaction_producer<F, S>(
        &self,
        group: &str,
        options: ProducerOptions,
        check: F,
    ) -> Result<Producer>
    where
        F: Fn(Check) -> S + Send + Sync + 'static,
        S: Future<Output = Decision> + Send + 'static,
    {
        let producer = self.producer_with(group, options)?;
        let members = &self.inner.members;
        members.set_check(producer.shared.group.clone(), move |asked| {
            Box::pin(check(asked))
        });
        Ok(producer)
    }
}

impl Producer {
    /// Sends a half message: nobody gets it before somebody decides, see [`Client::resolve`].
    ///
    /// # Errors
    /// As [`Producer::send`]; [`MessageError::Transaction`] if it is to be delivered later.
    pub async fn begin(&self, message: Message, begin: &Begin) -> Result<Half> {
        let sending = self.shared.client.counters.sending(1);
        sending.ended_with(self.shared.begin(&message, begin).await)
    }

    /// Sends a half message, runs `local`, and does what that decides. If the decision does not get
    /// through, the broker asks: see [`Client::transaction_producer`].
    ///
    /// # Errors
    /// As [`Producer::begin`]; then `local` did not run. If the decision does not get through, it is no
    /// error: the broker will ask.
    pub async fn send_in_transaction(
        &self,
        message: Message,
        local: impl AsyncFnOnce(&Half) -> Decision,
    ) -> Result<(Sent, Decision)> {
        let half = self.begin(message, &Begin::default()).await?;
        let decision = local(&half).await;
        let client = &self.shared.client;
        let told = client.resolve(&half.transaction, decision, false).await;
        if let Err(error) = told {
            tracing::warn!(transaction = %half.transaction, %error, "the broker will ask");
        }
        Ok((half.sent, decision))
    }
}

impl Shared {
    async fn begin(&self, message: &Message, begin: &Begin) -> Result<Half> {
        if message.when != Deliver::Now {
            return Err(MessageError::Transaction.into());
        }
        let mut outgoing = self.outgoing(message)?;
        outgoing.sys_flag |= sys::TRANSACTION_PREPARED;
        append(&mut outgoing.properties, key::TRAN_MSG, "true");
        append(&mut outgoing.properties, key::PGROUP, &self.group);
        if let Some(after) = begin.check_after {
            let seconds = after.as_secs().to_string();
            append(&mut outgoing.properties, key::CHECK_IMMUNITY, &seconds);
        }
        let limit = match begin.expiry {
            Expiry::After(limit) => Some(limit),
            Expiry::AfterIfKept(limit) if self.all_keep(&outgoing.topic).await? => Some(limit),
            Expiry::AfterIfKept(_) | Expiry::AsConfigured => None,
        };
        let expires_at = limit.map(|limit| {
            let limit = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
            outgoing.born_at.saturating_add(limit)
        });
        if let Some(at) = expires_at {
            append(&mut outgoing.properties, key::EXPIRES_AT, &at.to_string());
            outgoing.needs = Some(NO_LIMITS);
        }
        // Who is to be asked must be known.
        self.announce(&outgoing.topic).await?;
        let sent = self.deliver(&outgoing, None, self.until()).await?;
        let address: std::sync::Arc<str> = sent.queue.broker.clone();
        let lies = model::id::parse_offset_id(&sent.offset_id);
        let (address, log_offset) =
            lies.ok_or_else(|| Error::malformed(&address, "it does not say where it lies"))?;
        let transaction = Transaction {
            group: self.group.clone(),
            topic: outgoing.topic.clone(),
            broker: sent.queue.broker.clone(),
            queue_offset: sent.queue_offset,
            address,
            log_offset: log_offset.0,
            id: sent.id.clone(),
        };
        Ok(Half {
            sent,
            transaction,
            expires_at,
        })
    }

    /// Whether every broker that may get a message of this topic keeps time limits.
    async fn all_keep(&self, topic: &str) -> Result<bool> {
        let route = self.route(topic).await?;
        let mut masters: Vec<_> = route.writable.iter().map(|queue| &queue.master).collect();
        masters.sort_unstable();
        masters.dedup();
        let (id, limit) = (&self.client.id, self.client.config.timeout);
        for master in masters {
            let channel = self.client.channels.to(master).await?;
            if !channel.is_posthouse(id, limit).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
