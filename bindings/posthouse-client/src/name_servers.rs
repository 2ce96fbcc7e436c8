//! Asks name servers: one until it fails, then the next.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use remoting::body::{self, TopicRoute};
use remoting::code::{request, response};
use remoting::{Answer, Command};

use crate::channel::Channels;
use crate::error::{Error, Result};

/// The name servers of a client.
pub(crate) struct NameServers {
    addresses: Vec<String>,
    current: AtomicUsize,
}

impl NameServers {
    pub(crate) fn new(addresses: Vec<String>) -> NameServers {
        let current = AtomicUsize::new(0);
        NameServers { addresses, current }
    }

    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Asks the one that answered last; if it gives no answer, each of the others in turn.
    pub(crate) async fn call(
        &self,
        channels: &Channels,
        command: Command,
        limit: Duration,
    ) -> Result<Answer> {
        let mut last = Error::NoNameServer;
        let first = self.current.load(Ordering::Relaxed);
        for turn in 0..self.addresses.len() {
            let at = (first + turn) % self.addresses.len();
            let Some(address) = self.addresses.get(at) else {
                continue;
            };
            let answer = match channels.to(address).await {
                Ok(channel) => channel.call(command.clone(), limit).await,
                Err(error) => Err(error),
            };
            match answer {
                Err(error @ (Error::Call { .. } | Error::Address(..))) => last = error,
                answered => {
                    self.current.store(at, Ordering::Relaxed);
                    return answered;
                }
            }
        }
        Err(last)
    }

    /// Where a topic's queues are.
    pub(crate) async fn route(
        &self,
        channels: &Channels,
        topic: &str,
        limit: Duration,
    ) -> Result<TopicRoute> {
        let command = Command::request(request::GET_ROUTEINFO_BY_TOPIC)
            .with("topic", topic)
            // Either dialect is read; the standard one is cheaper.
            .with("acceptStandardJsonOnly", true);
        let answer = match self.call(channels, command, limit).await {
            Err(Error::Refused(refusal)) if refusal.code == response::TOPIC_NOT_EXIST => {
                return Err(Error::NoRoute(topic.to_owned()));
            }
            answer => answer?,
        };
        read_body(&answer, "a name server")
    }
}

/// The body of an answer, in either dialect of JSON.
pub(crate) fn read_body<T: serde::de::DeserializeOwned>(answer: &Answer, from: &str) -> Result<T> {
    let malformed = |what: String| Error::Malformed {
        address: from.into(),
        what,
    };
    let body = answer.read(|frame| body::from_slice(frame.body));
    let body = body.map_err(|error| malformed(error.to_string()))?;
    body.map_err(|error| malformed(error.to_string()))
}
