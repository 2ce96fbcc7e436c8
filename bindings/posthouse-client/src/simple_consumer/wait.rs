//! Waiting without taking anything.

use remoting::Command;
use remoting::code::request;
use remoting::header::pop::NotificationHeader;

use super::{Receive, SimpleConsumer};
use crate::error::Result;

impl SimpleConsumer {
    /// Waits until a broker has something for this receive, at most as long as that says. Nothing is lent meanwhile,
    /// so who waits may give up at any time. A broker that says `true` may still have nothing that the group's
    /// filter lets through.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/example.rs")); }
    /// # example::run(async |name_server| {
    /// # let client = posthouse_client::Client::new(posthouse_client::Config::new(name_server));
    /// # client.producer("shop")?.send(posthouse_client::Message::new("orders", "x")).await?;
    /// # let consumer = client.simple_consumer("billing")?;
    /// use posthouse_client::Receive;
    ///
    /// while !consumer.wait_for_some("orders", &Receive::default()).await {
    ///     println!("nothing yet");
    /// }
    /// # Ok(())
    /// # });
    /// ```
    pub async fn wait_for_some(&self, topic: &str, receive: &Receive) -> bool {
        let topic = &*self.client.names.full(topic);
        match self.brokers(topic).await {
            Ok(brokers) => (self.any_has_some(topic, brokers, receive, receive.wait)).await,
            Err(_) => false,
        }
    }

    /// Whether the brokers of a topic lend messages at all: Apache's do from 5.0 on.
    ///
    /// # Errors
    /// A broker that does not refuses with 3; if the topic has no route, or a broker gives no answer.
    pub async fn check_lends(&self, topic: &str) -> Result<()> {
        let topic = &*self.client.names.full(topic);
        let header = NotificationHeader {
            consumer_group: &self.group,
            topic,
            queue_id: -1,
            poll_ms: 0,
            born_at: 0,
            order: false,
            attempt: None,
        };
        for (_, channel) in self.brokers(topic).await? {
            let command = header.fill(Command::request(request::NOTIFICATION));
            channel.call(command, self.client.config.timeout).await?;
        }
        Ok(())
    }
}
