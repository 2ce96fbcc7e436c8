//! Waiting without taking anything.

use std::time::Duration;

use super::SimpleConsumer;

impl SimpleConsumer {
    /// Waits until a broker has something for the group, at most so long. Nothing is lent meanwhile, so who
    /// waits may give up at any time. A broker that says `true` may still have nothing that the group's
    /// filter lets through.
    ///
    /// ```no_run
    /// # async fn example(consumer: posthouse_client::SimpleConsumer) -> posthouse_client::Result<()> {
    /// use std::time::Duration;
    ///
    /// while !consumer.wait_for_some("orders", false, Duration::from_secs(20)).await {
    ///     println!("nothing yet");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait_for_some(&self, topic: &str, ordered: bool, wait: Duration) -> bool {
        match self.brokers(topic).await {
            Ok(brokers) => self.any_has_some(topic, brokers, ordered, wait).await,
            Err(_) => false,
        }
    }
}
