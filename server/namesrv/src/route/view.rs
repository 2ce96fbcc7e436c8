//! What is read from the tables: a topic's route, the cluster, lists of topics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Broker, MASTER, Mappings, QueueData, Routes, WRITE};
use crate::liveness::Address;

/// Topics whose routes show a slave as it is: brokers look there for each other.
const SYNC_MEMBER_PREFIX: &str = "rmq_sys_SYNC_BROKER_MEMBER_";
/// Unit bit of a topic's system flag.
const UNIT: i32 = 1;
/// Unit-subscription bit of a topic's system flag.
const UNIT_SUB: i32 = 2;

/// A broker as answers show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerView {
    /// Its name.
    pub name: Arc<str>,
    /// Its cluster.
    pub cluster: Arc<str>,
    /// Addresses by id.
    pub addresses: BTreeMap<i64, String>,
    /// Its zone.
    pub zone: Option<String>,
    /// Whether its slaves may act as master.
    pub acting_master: bool,
}

impl BrokerView {
    fn of(name: &Arc<str>, broker: &Broker) -> BrokerView {
        BrokerView {
            name: Arc::clone(name),
            cluster: Arc::clone(&broker.cluster),
            addresses: broker.addresses.clone(),
            zone: broker.zone.clone(),
            acting_master: broker.acting_master,
        }
    }
}

/// The route of one topic (Apache `TopicRouteData`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Route {
    /// A static order of queues: `broker-a:4;broker-b:4`.
    pub order: Option<String>,
    /// Queues by broker name.
    pub queues: Vec<(Arc<str>, QueueData)>,
    /// The brokers.
    pub brokers: Vec<BrokerView>,
    /// Filter servers by broker address.
    pub filter_servers: BTreeMap<String, Vec<String>>,
    /// Mappings of a static topic, by broker name.
    pub mappings: Option<Mappings>,
}

impl Route {
    /// Keeps what stands in `zone`, and what has no living master and so must be read where it can be
    /// (Apache `ZoneRouteRPCHook`).
    pub fn keep_zone(&mut self, zone: &str) {
        let stays = |broker: &BrokerView| {
            let same = (broker.zone.as_deref()).is_some_and(|z| z.eq_ignore_ascii_case(zone));
            same || !broker.addresses.contains_key(&MASTER)
        };
        let (stay, leave): (Vec<_>, Vec<_>) = self.brokers.drain(..).partition(stays);
        self.brokers = stay;
        for broker in leave {
            self.queues.retain(|(name, _)| *name != broker.name);
            (self.filter_servers).retain(|at, _| !broker.addresses.values().any(|a| a == at));
        }
    }

    /// Shows the lowest id of a broker without a master as the master, if it agreed to act as one and
    /// cannot be written, so that consumers keep pulling, locking and committing.
    fn show_acting_masters(&mut self) {
        for broker in &mut self.brokers {
            if !broker.acting_master || broker.addresses.contains_key(&MASTER) {
                continue;
            }
            let queues = self.queues.iter().find(|(name, _)| *name == broker.name);
            if queues.is_some_and(|(_, data)| data.perm & WRITE == 0)
                && let Some((_, address)) = broker.addresses.pop_first()
            {
                broker.addresses.insert(MASTER, address);
            }
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

impl Routes {
    /// Who holds `topic`; None if no living broker does. With `acting_masters`, slaves that act as
    /// master are shown as masters (`supportActingMaster`).
    pub fn route(&self, topic: &str, acting_masters: bool) -> Option<Route> {
        let holders = self.topics.get(topic)?;
        let brokers: Vec<_> = (holders.0.iter())
            .filter_map(|(name, _)| Some(BrokerView::of(name, self.brokers.get(name)?)))
            .collect();
        if brokers.is_empty() {
            return None;
        }
        let mut route = Route {
            order: None,
            queues: holders.0.clone(),
            filter_servers: self.filter_servers(&brokers),
            brokers,
            mappings: self.mappings.get(topic).cloned(),
        };
        if acting_masters && !topic.starts_with(SYNC_MEMBER_PREFIX) {
            route.show_acting_masters();
        }
        Some(route)
    }

    fn filter_servers(&self, brokers: &[BrokerView]) -> BTreeMap<String, Vec<String>> {
        let mut found = BTreeMap::new();
        for broker in brokers {
            for address in broker.addresses.values() {
                let live = self.live.find(&Address::new(&broker.cluster, address));
                if let Some(live) = live.filter(|live| !live.filter_servers.is_empty()) {
                    found.insert(address.clone(), live.filter_servers.clone());
                }
            }
        }
        found
    }

    /// All brokers, by name.
    pub fn brokers(&self) -> Vec<BrokerView> {
        let all = self.brokers.iter();
        all.map(|(name, broker)| BrokerView::of(name, broker))
            .collect()
    }

    /// The broker names of each cluster.
    pub fn clusters(&self) -> &BTreeMap<Arc<str>, BTreeSet<Arc<str>>> {
        &self.clusters
    }

    /// A broker name's addresses by id (901); empty if it is not known.
    pub fn members(&self, broker: &str) -> BTreeMap<i64, String> {
        let broker = self.brokers.get(broker);
        broker.map(|b| b.addresses.clone()).unwrap_or_default()
    }

    /// A list of topics, sorted. Unit bits are those of the first broker's queues.
    pub fn topics(&self, which: Topics) -> Vec<Arc<str>> {
        let shown = |data: Option<&(Arc<str>, QueueData)>| {
            which == Topics::All || data.is_some_and(|(_, data)| which.shows(data.sys_flag))
        };
        (self.topics.iter())
            .filter(|(_, holders)| shown(holders.0.first()))
            .map(|(topic, _)| Arc::clone(topic))
            .collect()
    }

    /// The topics that some broker of `cluster` holds (224).
    pub fn topics_of(&self, cluster: &str) -> Vec<Arc<str>> {
        let Some(names) = self.clusters.get(cluster) else {
            return Vec::new();
        };
        (self.topics.iter())
            .filter(|(_, holders)| holders.0.iter().any(|(name, _)| names.contains(name)))
            .map(|(topic, _)| Arc::clone(topic))
            .collect()
    }

    /// What is registered as a topic by every broker: the names of clusters and brokers (304), and the
    /// address of some broker.
    pub fn system_topics(&self) -> (Vec<Arc<str>>, Option<String>) {
        let mut names: BTreeSet<Arc<str>> = self.clusters.keys().cloned().collect();
        names.extend(self.clusters.values().flatten().cloned());
        let mut addresses = self.brokers.values().flat_map(|b| b.addresses.values());
        (names.into_iter().collect(), addresses.next().cloned())
    }
}
