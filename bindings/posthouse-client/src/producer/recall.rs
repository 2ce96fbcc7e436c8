//! Calls delayed messages back.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use remoting::Command;
use remoting::code::request;
use remoting::header::RecallHeader;

use super::Producer;
use crate::error::{Error, Result};

/// What a broker said to a recall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recalled {
    /// The message's id.
    pub id: String,
    /// Whether the message will surely not be delivered: it was called back, now or before. Only Posthouse says so: Apache's
    /// brokers answer the same to every handle that they can read.
    pub recalled: Option<bool>,
}

impl Producer {
    /// Calls a delayed message back, by the handle that its send's answer had.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/example.rs")); }
    /// # example::run(async |name_server| {
    /// # let client = posthouse_client::Client::new(posthouse_client::Config::new(name_server));
    /// # let producer = client.producer("shop")?;
    /// use std::time::Duration;
    /// use posthouse_client::{Deliver, Message};
    ///
    /// let message = Message::new("orders", "remind").deliver(Deliver::After(Duration::from_secs(3600)));
    /// let sent = producer.send(message).await?;
    /// if let Some(handle) = sent.recall_handle {
    ///     let recalled = producer.recall(&handle).await?;
    ///     assert_ne!(recalled.recalled, Some(false));
    /// }
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`Error::Handle`] if it is none. The broker refuses with 604 a handle whose time has passed, and
    /// with 16 if it does not serve recalls.
    pub async fn recall(&self, handle: &str) -> Result<Recalled> {
        let shared = &self.shared;
        shared.open()?;
        let plain = plain(handle).ok_or_else(|| Error::Handle(handle.to_owned()))?;
        let mut parts = plain.split(' ').skip(1);
        let (Some(topic), Some(broker)) = (parts.next(), parts.next()) else {
            return Err(Error::Handle(handle.to_owned()));
        };
        let header = RecallHeader { topic, handle };
        let command = header.fill(Command::request(request::RECALL_MESSAGE));
        let command = command.with("producerGroup", &shared.group);
        let client = &shared.client;
        let channel = client.master_of(topic, broker).await?;
        let answer = channel.call(command, shared.options.timeout).await?;
        let read = answer.read(|frame| {
            let id = frame.ext.get("msgId")?.to_owned();
            let recalled = frame.ext.get("recalled").map(|told| told == "true");
            Some(Recalled { id, recalled })
        });
        let read = read.map_err(|error| Error::malformed(channel.address(), error))?;
        read.ok_or_else(|| Error::malformed(channel.address(), "it names no message"))
    }
}

/// `v1 topic broker time id`, of which only the first three matter here.
fn plain(handle: &str) -> Option<String> {
    let padding = DecodePaddingMode::Indifferent;
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(padding);
    let bytes = GeneralPurpose::new(&URL_SAFE, config).decode(handle).ok()?;
    let plain = String::from_utf8(bytes).ok()?;
    plain.starts_with("v1 ").then_some(plain)
}
