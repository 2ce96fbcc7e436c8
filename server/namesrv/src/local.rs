//! A broker in the same process: registers by a plain call, and is alive as long as it says so.

use std::collections::BTreeMap;

use model::topic::{DataVersion, TopicConfig};

use crate::kv::ORDER_TOPIC_CONFIG;
use crate::liveness::Link;
use crate::route::{Registered, Registration};
use crate::server::NameServer;

/// Who a broker in the same process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalBroker {
    /// The cluster's name.
    pub cluster: String,
    /// The broker's name.
    pub broker: String,
    /// 0 is the master.
    pub id: i64,
    /// `host:port` for clients.
    pub address: String,
    /// `host:port` for slaves.
    pub ha_address: String,
}

impl LocalBroker {
    fn registration(
        &self,
        version: DataVersion,
        topics: &[TopicConfig],
        partial: bool,
    ) -> Registration {
        let topics = topics.iter();
        Registration {
            cluster: self.cluster.clone(),
            broker: self.broker.clone(),
            id: self.id,
            address: self.address.clone(),
            ha_address: self.ha_address.clone(),
            zone: None,
            timeout: None,
            acting_master: Some(false),
            version,
            topics: topics.map(|t| (t.name.to_string(), t.into())).collect(),
            partial,
            mappings: Vec::new(),
            filter_servers: None,
            link: Link::Local,
        }
    }
}

impl NameServer {
    /// Registers a broker of this process with all its topics; they are routable when this returns.
    /// What is kept under `ORDER_TOPIC_CONFIG` comes back (`returnOrderTopicConfigToBroker`).
    pub fn register_local(
        &self,
        broker: &LocalBroker,
        version: DataVersion,
        topics: &[TopicConfig],
    ) -> (Registered, BTreeMap<String, String>) {
        let taken = self.take(&broker.registration(version, topics, false));
        let order = match self.settings().return_order_topics {
            true => self.kv.namespace(ORDER_TOPIC_CONFIG),
            false => BTreeMap::new(),
        };
        (taken, order)
    }

    /// Enters topics that a registered broker of this process has created or changed.
    pub fn update_local(
        &self,
        broker: &LocalBroker,
        version: DataVersion,
        changed: &[TopicConfig],
    ) -> Registered {
        self.take(&broker.registration(version, changed, true))
    }

    /// Removes a topic that a broker of this process no longer has, under its new version.
    pub fn forget_local(&self, broker: &LocalBroker, version: DataVersion, topic: &str) {
        self.take(&broker.registration(version, &[], true));
        self.routes_mut().release(topic, &broker.broker);
    }

    /// Takes a broker of this process out.
    pub fn unregister_local(&self, broker: &LocalBroker) {
        let mut routes = self.routes_mut();
        routes.unregister(&broker.cluster, &broker.address, &broker.broker);
    }

    pub(crate) fn take(&self, r: &Registration) -> Registered {
        let drop_missing = self.settings().drop_missing_topics;
        let now = self.now();
        let mut routes = self.routes_mut();
        let known = routes.version(&r.cluster, &r.address).is_some();
        let taken = routes.register(r, drop_missing, now);
        drop(routes);
        let (broker, id, address) = (&r.broker, r.id, &r.address);
        match taken {
            Registered::Accepted(_) if known => {}
            Registered::Accepted(_) => {
                let topics = r.topics.len();
                tracing::info!(broker, id, address, topics, "a broker registered");
            }
            _ => tracing::warn!(broker, id, address, ?taken, "a registration was not taken"),
        }
        taken
    }
}
