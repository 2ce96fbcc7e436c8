//! A group's dead letters, sent again or given up: served by Posthouse; Apache's brokers refuse it with
//! code 3.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use model::GroupName;
use remoting::Command;
use remoting::body::{GoneDeadLetters, OperationInfo};
use remoting::code::{own, response};
use remoting::header::{OperationHeader, PurgeHeader, RedriveHeader};

use super::Admin;
use crate::client::Inner;
use crate::error::{Error, Result};

/// Which dead letters are sent again, and where to. By default all, each to the topic it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redrive {
    /// A topic that takes all of them, in place of those they came from.
    pub to: Option<String>,
    /// Only those that came from this topic.
    pub from: Option<String>,
    /// At most so many at each broker; not 0.
    pub limit: Option<u64>,
    /// At most so many a second at each broker; not 0.
    pub per_second: Option<u32>,
    /// Names the request, up to 512 bytes: for a day, the same again gets the operations that the first one
    /// began, and another one with this name is refused with 310000.
    pub once: Option<String>,
}

impl Admin {
    /// Begins to send a group's dead letters again: one operation at each broker that has some, none if
    /// no broker has. They go on by themselves; [`Admin::operation`] follows them.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/example.rs")); }
    /// # example::run(async |name_server| {
    /// # let client = posthouse_client::Client::new(posthouse_client::Config::new(name_server));
    /// # let admin = client.admin();
    /// # let billing = posthouse_client::GroupName::parse("billing")?;
    /// # admin.put_group(&posthouse_client::GroupConfig::new(billing)).await?;
    /// use posthouse_client::Redrive;
    ///
    /// for begun in admin.redrive("billing", &Redrive::default()).await? {
    ///     println!("{}: {} of {}", begun.id, begun.done, begun.total);
    /// }
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The first broker that refuses (with 2 while another operation of the group runs) or gives no
    /// answer; what brokers before it began goes on.
    pub async fn redrive(&self, group: &str, redrive: &Redrive) -> Result<Vec<OperationInfo>> {
        GroupName::parse(group)?;
        let header = RedriveHeader {
            consumer_group: group,
            to: redrive.to.as_deref(),
            from: redrive.from.as_deref(),
            limit: (redrive.limit).map(|limit| i64::try_from(limit).unwrap_or(i64::MAX)),
            per_second: (redrive.per_second).map(|rate| i32::try_from(rate).unwrap_or(i32::MAX)),
            once: redrive.once.as_deref(),
        };
        self.begin(header.fill(Command::request(own::REDRIVE_DEAD_LETTERS)))
            .await
    }

    /// Begins to give up a group's dead letters for good, or only those that were stored before a time:
    /// one operation at each broker that has some. `once` is as [`Redrive::once`].
    ///
    /// # Errors
    /// As [`Admin::redrive`].
    pub async fn purge(
        &self,
        group: &str,
        before: Option<SystemTime>,
        once: Option<&str>,
    ) -> Result<Vec<OperationInfo>> {
        GroupName::parse(group)?;
        let ms = |at: SystemTime| {
            let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        };
        let header = PurgeHeader {
            consumer_group: group,
            before: before.map(ms),
            once,
        };
        self.begin(header.fill(Command::request(own::PURGE_DEAD_LETTERS)))
            .await
    }

    /// How an operation stands; `None` if no broker knows it (any more).
    ///
    /// # Errors
    /// The first broker that refuses or gives no answer.
    pub async fn operation(&self, id: &str) -> Result<Option<OperationInfo>> {
        self.of_operation(own::GET_OPERATION, id).await
    }

    /// Ends an operation, and says how it stands then: what it did stays done, and one that had ended
    /// stays as it was. `None` if no broker knows it.
    ///
    /// # Errors
    /// As [`Admin::operation`].
    pub async fn cancel_operation(&self, id: &str) -> Result<Option<OperationInfo>> {
        self.of_operation(own::CANCEL_OPERATION, id).await
    }

    /// Which offsets of `%DLQ%group` are gone, sent again or given up, by the name of the broker: each
    /// range is its first offset and the one behind it. The log keeps them, so readers leave them out.
    /// Brokers that cannot tell (Apache's) have none.
    ///
    /// # Errors
    /// The first broker that gives no answer, or refuses for another reason.
    pub async fn gone_dead_letters(
        &self,
        group: &str,
    ) -> Result<BTreeMap<String, Vec<(u64, u64)>>> {
        GroupName::parse(group)?;
        let header = remoting::header::ConsumerGroupHeader {
            consumer_group: group,
        };
        let command = header.fill(Command::request(own::GET_GONE_DEAD_LETTERS));
        let mut gone = BTreeMap::new();
        for (name, broker) in self.cluster().await?.broker_addr_table {
            let Some(master) = broker.broker_addrs.get(&0) else {
                continue;
            };
            let absent = [
                response::TOPIC_NOT_EXIST,
                response::REQUEST_CODE_NOT_SUPPORTED,
            ];
            if let Some(found) = self.ask_for(master, command.clone(), &absent).await? {
                let GoneDeadLetters { gone: ranges } = found;
                gone.insert(name, ranges);
            }
        }
        Ok(gone)
    }

    async fn begin(&self, command: Command) -> Result<Vec<OperationInfo>> {
        let masters = self.masters().await?;
        self.each(masters, command, Some(response::TOPIC_NOT_EXIST))
            .await
    }

    async fn of_operation(&self, code: i32, id: &str) -> Result<Option<OperationInfo>> {
        let command = OperationHeader { id }.fill(Command::request(code));
        for master in self.masters().await? {
            let absent = [response::QUERY_NOT_FOUND];
            let found = self.ask_for(&master, command.clone(), &absent).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The body of a broker's answer; `None` if it answers with one of the codes `absent`.
    async fn ask_for<T: serde::de::DeserializeOwned>(
        &self,
        address: &str,
        command: Command,
        absent: &[i32],
    ) -> Result<Option<T>> {
        let channel = self.client.channels.to(address).await?;
        match channel.call(command, self.client.config.timeout).await {
            Ok(answer) => Ok(Some(Inner::body(&channel, &answer)?)),
            Err(Error::Refused(refusal)) if absent.contains(&refusal.code) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
