//! A broker's configuration, and who is connected to the cluster.

use std::collections::{BTreeMap, BTreeSet};

use remoting::Command;
use remoting::body::Connection;
use remoting::body::inspect::Producers;
use remoting::body::properties;
use remoting::code::{request, response};

use super::Admin;
use crate::error::{Error, Result};

/// A client of the cluster, and the groups it is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// Its id, language and address, as one broker knows them.
    pub connection: Connection,
    /// The groups it consumes in.
    pub consumes: BTreeSet<String>,
    /// The groups it sends in.
    pub produces: BTreeSet<String>,
}

impl Admin {
    /// The settings of a broker's master, by RocketMQ's names.
    ///
    /// # Errors
    /// [`Error::UnknownBroker`]; if the broker refuses or gives no answer.
    pub async fn broker_config(&self, broker: &str) -> Result<BTreeMap<String, String>> {
        let address = self.master(broker).await?;
        let channel = self.client.channels.to(&address).await?;
        let command = Command::request(request::GET_BROKER_CONFIG);
        let answer = channel.call(command, self.client.config.timeout).await?;
        let malformed = |what: String| Error::malformed(channel.address(), what);
        let body = answer
            .body()
            .map_err(|error| malformed(error.to_string()))?;
        let entries = properties::parse(&body).map_err(|error| malformed(error.to_string()))?;
        let entries = entries.into_iter().map(|entry| (entry.key, entry.value));
        Ok(entries.collect())
    }

    /// Changes settings of a broker's master while it runs: all of these, or none. Which can be changed is the broker's
    /// business: Posthouse's brokers refuse all others with 29, and say which; Apache's take most, and some of those have no
    /// effect before a restart.
    ///
    /// # Errors
    /// [`Error::UnknownBroker`]; if the broker refuses or gives no answer.
    pub async fn set_broker_config<'s>(
        &self,
        broker: &str,
        settings: impl IntoIterator<Item = (&'s str, &'s str)>,
    ) -> Result<()> {
        let address = self.master(broker).await?;
        let settings = settings.into_iter();
        let lines: Vec<String> = settings
            .map(|(key, value)| properties::write(key, value))
            .collect();
        let command =
            Command::request(request::UPDATE_BROKER_CONFIG).body(lines.join("\n").into_bytes());
        self.client.call(&address, command).await?;
        Ok(())
    }

    /// Every client that is connected to a master: in the order of their ids, each once. Every group is asked
    /// about by itself.
    ///
    /// # Errors
    /// The first broker that refuses or gives no answer.
    pub async fn clients(&self) -> Result<Vec<ClientInfo>> {
        let mut all: BTreeMap<String, ClientInfo> = BTreeMap::new();
        for group in self.groups().await? {
            let name = group.name.as_str();
            for connection in self.consumers(name).await?.connection_set {
                let own = all.entry(connection.client_id.clone()).or_default();
                own.connection = connection;
                own.consumes.insert(name.to_owned());
            }
        }
        let command = Command::request(request::GET_ALL_PRODUCER_INFO);
        // What a broker does not tell is not known.
        let silent = Some(response::REQUEST_CODE_NOT_SUPPORTED);
        let tables: Vec<Producers> = self.each(self.masters().await?, command, silent).await?;
        for (group, producers) in tables.into_iter().flat_map(|table| table.data) {
            for producer in producers {
                let own = all.entry(producer.client_id.clone()).or_default();
                own.produces.insert(group.clone());
                if own.connection.client_id.is_empty() {
                    own.connection = Connection {
                        client_addr: producer.remote_ip.trim_start_matches('/').to_owned(),
                        client_id: producer.client_id,
                        language: producer.language,
                        version: producer.version,
                    };
                }
            }
        }
        Ok(all.into_values().collect())
    }

    async fn master(&self, broker: &str) -> Result<String> {
        let cluster = self.cluster().await?;
        let found = cluster.broker_addr_table.get(broker);
        let master = found.and_then(|found| found.broker_addrs.get(&0).cloned());
        master.ok_or_else(|| Error::UnknownBroker(broker.to_owned()))
    }
}
