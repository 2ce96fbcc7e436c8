//! What is read from the tables: a topic's route, the cluster, lists of topics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use remoting::body::{BrokerData, ClusterInfo, QueueData as QueueBody, TopicRoute};

use super::{Broker, MASTER, QueueData, Routes, WRITE};
use crate::liveness::Address;

/// Topics whose routes show a slave as it is: brokers look there for each other.
const SYNC_MEMBER_PREFIX: &str = "rmq_sys_SYNC_BROKER_MEMBER_";
/// Unit bit of a topic's system flag.
const UNIT: i32 = 1;
/// Unit-subscription bit of a topic's system flag.
const UNIT_SUB: i32 = 2;

/// Keeps what stands in `zone`, and what has no living master and so must be read where it can be
/// (Apache `ZoneRouteRPCHook`).
pub fn keep_zone(route: &mut TopicRoute, zone: &str) {
    let stays = |broker: &BrokerData| {
        let same = (broker.zone_name.as_deref()).is_some_and(|z| z.eq_ignore_ascii_case(zone));
        same || !broker.broker_addrs.contains_key(&MASTER)
    };
    let (stay, leave): (Vec<_>, Vec<_>) = route.broker_datas.drain(..).partition(stays);
    route.broker_datas = stay;
    for broker in leave {
        (route.queue_datas).retain(|queues| queues.broker_name != broker.broker_name);
        let left = |at: &String| broker.broker_addrs.values().any(|address| address == at);
        (route.filter_server_table).retain(|at, _| !left(at));
    }
}

/// Shows the lowest id of a broker without a master as the master, if it agreed to act as one and
/// cannot be written, so that consumers keep pulling, locking and committing.
fn show_acting_masters(route: &mut TopicRoute) {
    for broker in &mut route.broker_datas {
        if !broker.enable_acting_master || broker.broker_addrs.contains_key(&MASTER) {
            continue;
        }
        let mut queues = route.queue_datas.iter();
        let queues = queues.find(|queues| queues.broker_name == broker.broker_name);
        if queues.is_some_and(|queues| queues.perm & WRITE == 0)
            && let Some((_, address)) = broker.broker_addrs.pop_first()
        {
            broker.broker_addrs.insert(MASTER, address);
        }
    }
}

/// Which topics a list shows (206, 311–313).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topics {
    /// All.
    All,
    /// Those with the unit bit.
    Unit,
    /// Those with the unit-subscription bit.
    UnitSub,
    /// Those with the unit-subscription bit and without the unit bit.
    UnitSubOnly,
}

impl Topics {
    fn shows(self, sys_flag: i32) -> bool {
        let (unit, sub) = (sys_flag & UNIT != 0, sys_flag & UNIT_SUB != 0);
        match self {
            Topics::All => true,
            Topics::Unit => unit,
            Topics::UnitSub => sub,
            Topics::UnitSubOnly => sub && !unit,
        }
    }
}

impl Broker {
    fn body(&self, name: &str) -> BrokerData {
        BrokerData {
            broker_addrs: self.addresses.clone(),
            broker_name: name.to_owned(),
            cluster: self.cluster.to_string(),
            enable_acting_master: self.acting_master,
            zone_name: self.zone.clone(),
        }
    }
}

impl QueueData {
    fn body(&self, broker: &str) -> QueueBody {
        QueueBody {
            broker_name: broker.to_owned(),
            perm: self.perm,
            read_queue_nums: self.read_queues,
            topic_sys_flag: self.sys_flag,
            write_queue_nums: self.write_queues,
        }
    }
}

impl Routes {
    /// Who holds `topic`; None if no living broker does. With `acting_masters`, slaves that act as
    /// master are shown as masters (`supportActingMaster`).
    pub fn route(&self, topic: &str, acting_masters: bool) -> Option<TopicRoute> {
        let holders = &self.topics.get(topic)?.0;
        let brokers: Vec<BrokerData> = (holders.iter())
            .filter_map(|(name, _)| Some(self.brokers.get(name)?.body(name)))
            .collect();
        if brokers.is_empty() {
            return None;
        }
        let mappings = self.mappings.get(topic);
        let mut route = TopicRoute {
            filter_server_table: self.filter_servers(&brokers),
            broker_datas: brokers,
            order_topic_conf: None,
            queue_datas: holders.iter().map(|(name, data)| data.body(name)).collect(),
            topic_queue_mapping_by_broker: mappings.and_then(|m| serde_json::to_value(m).ok()),
        };
        if acting_masters && !topic.starts_with(SYNC_MEMBER_PREFIX) {
            show_acting_masters(&mut route);
        }
        Some(route)
    }

    fn filter_servers(&self, brokers: &[BrokerData]) -> BTreeMap<String, Vec<String>> {
        let mut found = BTreeMap::new();
        for broker in brokers {
            for address in broker.broker_addrs.values() {
                let live = self.live.find(&Address::new(&broker.cluster, address));
                if let Some(live) = live.filter(|live| !live.filter_servers.is_empty()) {
                    found.insert(address.clone(), live.filter_servers.clone());
                }
            }
        }
        found
    }

    /// All brokers and clusters (106).
    pub fn cluster_info(&self) -> ClusterInfo {
        let brokers = self.brokers.iter();
        let clusters = self.clusters.iter();
        let text = |names: &BTreeSet<Arc<str>>| names.iter().map(|n| n.to_string()).collect();
        ClusterInfo {
            broker_addr_table: brokers.map(|(n, b)| (n.to_string(), b.body(n))).collect(),
            cluster_addr_table: clusters
                .map(|(c, names)| (c.to_string(), text(names)))
                .collect(),
        }
    }

    /// A broker name's addresses by id (901); empty if it is not known.
    pub fn members(&self, broker: &str) -> BTreeMap<i64, String> {
        let broker = self.brokers.get(broker);
        broker.map(|b| b.addresses.clone()).unwrap_or_default()
    }

    /// A list of topics, sorted. Unit bits are those of the first broker's queues.
    pub fn topics(&self, which: Topics) -> Vec<String> {
        let shown = |data: Option<&(Arc<str>, QueueData)>| {
            which == Topics::All || data.is_some_and(|(_, data)| which.shows(data.sys_flag))
        };
        (self.topics.iter())
            .filter(|(_, holders)| shown(holders.0.first()))
            .map(|(topic, _)| topic.to_string())
            .collect()
    }

    /// The topics that some broker of `cluster` holds (224).
    pub fn topics_of(&self, cluster: &str) -> Vec<String> {
        let Some(names) = self.clusters.get(cluster) else {
            return Vec::new();
        };
        (self.topics.iter())
            .filter(|(_, holders)| holders.0.iter().any(|(name, _)| names.contains(name)))
            .map(|(topic, _)| topic.to_string())
            .collect()
    }

    /// What is registered as a topic by every broker: the names of clusters and brokers (304), and the
    /// address of some broker.
    pub fn system_topics(&self) -> (Vec<String>, Option<String>) {
        let clusters = self.clusters.keys();
        let names: BTreeSet<&Arc<str>> = clusters.chain(self.clusters.values().flatten()).collect();
        let mut addresses = self.brokers.values().flat_map(|b| b.addresses.values());
        let names = names.into_iter().map(|name| name.to_string());
        (names.collect(), addresses.next().cloned())
    }
}
