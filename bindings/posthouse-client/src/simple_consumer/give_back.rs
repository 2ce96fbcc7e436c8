//! What becomes of a lease otherwise, at a broker that serves it: Apache's refuse all of this with code 3.

use std::collections::BTreeMap;
use std::time::Duration;

use remoting::Command;
use remoting::body::{AskedLease, AskedLeases, LeasesOut};
use remoting::code::own;
use remoting::header::{DeadLetterHeader, LeasesHeader, ReleaseHeader};

use super::SimpleConsumer;
use crate::client::Inner;
use crate::error::{Error, Result};
use crate::lease::Lease;

/// Leases that are asked about in one request.
const AT_ONCE: usize = 1_000;

impl SimpleConsumer {
    /// Gives the message back: it may be popped again after `delay`. Not counted, it comes as if it had
    /// not been popped. `false`: the lease had ended, and nothing was done.
    ///
    /// # Errors
    /// If the broker that lent it refuses or gives no answer.
    pub async fn release(
        &self,
        lease: &Lease,
        delay: Duration,
        count_attempt: bool,
    ) -> Result<bool> {
        let topic = lease.real_topic(&self.group);
        let header = ReleaseHeader {
            consumer_group: &self.group,
            topic: &topic,
            queue_id: lease.queue_id() as i32,
            receipt: lease.receipt(),
            offset: lease.offset().cast_signed(),
            delay_ms: i64::try_from(delay.as_millis()).unwrap_or(i64::MAX),
            count_attempt,
        };
        let command = header.fill(Command::request(own::RELEASE_MESSAGE));
        self.held(lease, command).await
    }

    /// To the group's dead-letter topic with it, in one step, with a reason that stands in the property
    /// `DLQ_REASON`. `false`: the lease had ended, and nothing was done.
    ///
    /// # Errors
    /// If the broker that lent it refuses or gives no answer.
    pub async fn dead_letter_because(&self, lease: &Lease, reason: &str) -> Result<bool> {
        let topic = lease.real_topic(&self.group);
        let header = DeadLetterHeader {
            consumer_group: &self.group,
            topic: &topic,
            queue_id: lease.queue_id() as i32,
            receipt: lease.receipt(),
            offset: lease.offset().cast_signed(),
            reason: Some(reason),
        };
        let command = header.fill(Command::request(own::DEAD_LETTER_MESSAGE));
        self.held(lease, command).await
    }

    /// Whether messages are still out on these leases, which end also when somebody else settles them.
    ///
    /// # Errors
    /// If a broker that lent one refuses or gives no answer.
    pub async fn are_out(&self, leases: &[Lease]) -> Result<Vec<bool>> {
        let mut by_broker: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        for (place, lease) in leases.iter().enumerate() {
            let own = by_broker.entry((lease.topic(), lease.broker()));
            own.or_default().push(place);
        }
        let mut all = vec![false; leases.len()];
        for ((topic, broker), places) in by_broker {
            let channel = self.client.master_of(topic, broker).await?;
            for places in places.chunks(AT_ONCE) {
                let asked = places.iter().filter_map(|place| leases.get(*place));
                let body = AskedLeases {
                    leases: asked.map(|lease| self.asked(lease)).collect(),
                };
                let header = LeasesHeader {
                    consumer_group: &self.group,
                    topic,
                };
                let command = header.fill(Command::request(own::GET_LEASES));
                let command = command.body(remoting::body::to_vec(&body));
                let answer = channel.call(command, self.client.config.timeout).await?;
                let told: LeasesOut = Inner::body(&channel, &answer)?;
                for (place, out) in places.iter().zip(told.out) {
                    if let Some(own) = all.get_mut(*place) {
                        *own = out;
                    }
                }
            }
        }
        Ok(all)
    }

    fn asked(&self, lease: &Lease) -> AskedLease {
        AskedLease {
            offset: lease.offset().cast_signed(),
            queue_id: lease.queue_id() as i32,
            receipt: lease.receipt().to_owned(),
            topic: lease.real_topic(&self.group),
        }
    }

    async fn held(&self, lease: &Lease, command: Command) -> Result<bool> {
        let channel = self.lender(lease).await?;
        let answer = channel.call(command, self.client.config.timeout).await?;
        let held = answer.read(|frame| frame.ext.get("held").map(|held| held == "true"));
        let held = held.map_err(|error| Error::malformed(channel.address(), error))?;
        held.ok_or_else(|| Error::malformed(channel.address(), "it does not say whether"))
    }
}
