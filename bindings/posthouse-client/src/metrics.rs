//! What a client has done, in numbers: relaxed additions, once for all messages that go or come together.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::client::Client;
use crate::push_consumer::Settle;
use crate::received::Received;

/// What a client has done since it was made, and what it holds just now; see [`Client::metrics`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Messages that brokers have, one-way ones that left, and half messages.
    pub sent: u64,
    /// Messages that were not sent: refused by a broker, late, or none that could be sent. After a time-out a broker may
    /// have one all the same.
    pub send_failures: u64,
    /// Requests that were made again, elsewhere or later.
    pub send_retries: u64,
    /// Messages on their way just now.
    pub sends_in_flight: u64,
    /// Messages that came from brokers, of push, pull and simple consumers.
    pub received: u64,
    /// Those of them that had been delivered before.
    pub redelivered: u64,
    /// Messages that push consumers' handlers were done with, and that simple consumers acked.
    pub acknowledged: u64,
    /// Messages that push consumers' handlers want again.
    pub retried: u64,
    /// Messages that were given up: to the dead letters.
    pub rejected: u64,
    /// Messages that push and pull consumers have here just now, not done.
    pub buffered: u64,
    /// Bytes of their records.
    pub buffered_bytes: u64,
    /// Connections that stand just now, to brokers and name servers. There is none to a server in the process.
    pub connections: u64,
}

impl Metrics {
    /// Each number with its name, for who shows all of them.
    ///
    /// ```
    /// # use posthouse_client::Metrics;
    /// for (name, value) in Metrics::default().named() {
    ///     println!("posthouse_client_{name} {value}");
    /// }
    /// ```
    pub fn named(&self) -> [(&'static str, u64); 12] {
        [
            ("sent", self.sent),
            ("send_failures", self.send_failures),
            ("send_retries", self.send_retries),
            ("sends_in_flight", self.sends_in_flight),
            ("received", self.received),
            ("redelivered", self.redelivered),
            ("acknowledged", self.acknowledged),
            ("retried", self.retried),
            ("rejected", self.rejected),
            ("buffered", self.buffered),
            ("buffered_bytes", self.buffered_bytes),
            ("connections", self.connections),
        ]
    }
}

impl Client {
    /// What this client and its clones have done since it was made, and what they hold just now.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/example.rs")); }
    /// # example::run(async |name_server| {
    /// # let client = posthouse_client::Client::new(posthouse_client::Config::new(name_server));
    /// let metrics = client.metrics();
    /// println!("{} sent, {} wait here", metrics.sent, metrics.buffered);
    /// # Ok(())
    /// # });
    /// ```
    pub fn metrics(&self) -> Metrics {
        let inner = &self.inner;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &inner.counters;
        let (buffered, buffered_bytes) = inner.members.buffered();
        Metrics {
            sent: read(&counters.sent),
            send_failures: read(&counters.send_failures),
            send_retries: read(&counters.send_retries),
            sends_in_flight: read(&counters.sends_in_flight),
            received: read(&counters.received),
            redelivered: read(&counters.redelivered),
            acknowledged: read(&counters.acknowledged),
            retried: read(&counters.retried),
            rejected: read(&counters.rejected),
            buffered,
            buffered_bytes,
            connections: inner.channels.connected(),
        }
    }
}

/// What is counted as it happens.
#[derive(Default)]
pub(crate) struct Counters {
    sent: AtomicU64,
    send_failures: AtomicU64,
    send_retries: AtomicU64,
    sends_in_flight: AtomicU64,
    received: AtomicU64,
    redelivered: AtomicU64,
    acknowledged: AtomicU64,
    retried: AtomicU64,
    rejected: AtomicU64,
}

impl Counters {
    /// So many messages are about to be sent.
    pub(crate) fn sending(&self, messages: usize) -> Sending<'_> {
        self.begun(messages);
        Sending {
            counters: self,
            messages: messages as u64,
        }
    }

    /// The same, for sends whose ends come in parts.
    pub(crate) fn begun(&self, messages: usize) {
        add(&self.sends_in_flight, messages);
    }

    /// So many sends ended, and so many of them well.
    pub(crate) fn ended(&self, messages: usize, well: usize) {
        add(&self.sent, well);
        add(&self.send_failures, messages - well);
        self.sends_in_flight
            .fetch_sub(messages as u64, Ordering::Relaxed);
    }

    /// A request is made again.
    pub(crate) fn send_again(&self) {
        add(&self.send_retries, 1);
    }

    /// These came from a broker.
    pub(crate) fn received<'m>(
        &self,
        messages: impl IntoIterator<Item = &'m Received, IntoIter: ExactSizeIterator>,
    ) {
        let messages = messages.into_iter();
        add(&self.received, messages.len());
        let again = messages.filter(|message| message.reconsume_times > 0);
        add(&self.redelivered, again.count());
    }

    /// So many messages are done.
    pub(crate) fn acknowledged(&self, messages: usize) {
        add(&self.acknowledged, messages);
    }

    /// A message was settled like this.
    pub(crate) fn settled(&self, settle: Settle) {
        let counter = match settle {
            Settle::Ack => &self.acknowledged,
            Settle::Retry(_) | Settle::RetryAfter(_) => &self.retried,
            Settle::Reject => &self.rejected,
        };
        add(counter, 1);
    }
}

/// Nothing is written that need not be: another thread's processor has these numbers too.
fn add(counter: &AtomicU64, number: usize) {
    if number > 0 {
        counter.fetch_add(number as u64, Ordering::Relaxed);
    }
}

/// Messages on their way. Dropped before they ended, nobody waits for them any more.
pub(crate) struct Sending<'c> {
    counters: &'c Counters,
    messages: u64,
}

impl Sending<'_> {
    /// The only one of them ended like this.
    ///
    /// Not a function that waits for a send: it would have the send's future inside twice.
    pub(crate) fn ended_with<T, E>(self, sent: Result<T, E>) -> Result<T, E> {
        self.ended(u64::from(sent.is_ok()));
        sent
    }

    /// So many of them ended well, the rest did not.
    pub(crate) fn ended(mut self, well: u64) {
        let messages = std::mem::take(&mut self.messages);
        self.counters.ended(messages as usize, well as usize);
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        let counter = &self.counters.sends_in_flight;
        counter.fetch_sub(self.messages, Ordering::Relaxed);
    }
}
