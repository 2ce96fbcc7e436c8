//! Who holds which topic: what brokers registered, merged.
//!
//! The rules are those of Apache 5.3.3's `RouteInfoManager`, which brokers and clients of both kinds
//! rely on: topics of a broker are merged and never missed, queue data is only rewritten under another
//! data version, an address has one id, an older state version does not replace a living one, and a
//! stranger that brings exactly one topic is refused. Pure tables: the caller holds the lock and the clock.

mod view;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::topic::{DataVersion, TopicConfig};

pub use view::{Topics, keep_zone};

use crate::liveness::{Address, DEFAULT_TIMEOUT, Link, Live, Liveness};

/// The id of a master.
pub const MASTER: i64 = 0;
/// The write bit of a permission.
const WRITE: u32 = 2;
/// The permission that 327 sets.
const READ_WRITE: u32 = 6;

/// A broker's queues of one topic (Apache `QueueData`). Numbers are kept as they were registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueData {
    /// Queues that consumers read.
    pub read_queues: u32,
    /// Queues that producers write.
    pub write_queues: u32,
    /// Permission bits.
    pub perm: u32,
    /// Unit bits.
    pub sys_flag: i32,
}

impl From<&TopicConfig> for QueueData {
    fn from(topic: &TopicConfig) -> QueueData {
        QueueData {
            read_queues: topic.read_queues,
            write_queues: topic.write_queues,
            perm: topic.perm.0,
            sys_flag: topic.sys_flag,
        }
    }
}

impl From<&remoting::body::TopicConfig> for QueueData {
    fn from(topic: &remoting::body::TopicConfig) -> QueueData {
        QueueData {
            read_queues: topic.read_queue_nums,
            write_queues: topic.write_queue_nums,
            perm: topic.perm,
            sys_flag: topic.topic_sys_flag,
        }
    }
}

impl From<&remoting::body::QueueData> for QueueData {
    fn from(queues: &remoting::body::QueueData) -> QueueData {
        QueueData {
            read_queues: queues.read_queue_nums,
            write_queues: queues.write_queue_nums,
            perm: queues.perm,
            sys_flag: queues.topic_sys_flag,
        }
    }
}

/// What a broker brings when it registers (103, or a plain call).
#[derive(Clone, Debug)]
pub struct Registration {
    /// The cluster's name.
    pub cluster: String,
    /// The broker's name, shared by a master and its slaves.
    pub broker: String,
    /// 0 is the master.
    pub id: i64,
    /// `host:port` for clients.
    pub address: String,
    /// `host:port` for slaves.
    pub ha_address: String,
    /// The zone it stands in, if it says.
    pub zone: Option<String>,
    /// How long it counts as alive after this, if it says.
    pub timeout: Option<Duration>,
    /// Whether a slave may act as master. None: a broker from before 5.0.
    pub acting_master: Option<bool>,
    /// The version of its topic table.
    pub version: DataVersion,
    /// Its topics.
    pub topics: Vec<(String, QueueData)>,
    /// True if `topics` are only those that changed, so that no other may be dropped.
    pub partial: bool,
    /// Its static topics' mappings: topic, broker name in the mapping, the mapping as JSON.
    pub mappings: Vec<(String, String, serde_json::Value)>,
    /// Its filter servers; None leaves those it had.
    pub filter_servers: Option<Vec<String>>,
    /// What it speaks over.
    pub link: Link,
}

/// What became of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// Taken. A slave learns its living master's address and HA address.
    Accepted(Option<Master>),
    /// Not taken: its id is held by a living broker of a newer state version. Answered like a success.
    Ignored,
    /// Not taken: it has not registered before and brings one topic only.
    Refused,
}

/// A slave's living master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// `host:port` for clients.
    pub address: String,
    /// `host:port` for slaves.
    pub ha_address: String,
}

/// One broker name: a master and its slaves (Apache `BrokerData`).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Broker {
    cluster: Arc<str>,
    addresses: BTreeMap<i64, String>,
    zone: Option<String>,
    acting_master: bool,
}

impl Broker {
    fn has_master(&self) -> bool {
        self.addresses.contains_key(&MASTER)
    }
}

/// The brokers that hold one topic, by name. Mostly one or a few: a sorted list.
#[derive(Clone, Debug, Default)]
struct Holders(Vec<(Arc<str>, QueueData)>);

impl Holders {
    fn find(&self, broker: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(name, _)| (**name).cmp(broker))
    }

    fn holds(&self, broker: &str) -> bool {
        self.find(broker).is_ok()
    }

    fn put(&mut self, broker: &Arc<str>, data: QueueData) {
        match self.find(broker) {
            Ok(at) => self.0[at].1 = data,
            Err(at) => self.0.insert(at, (Arc::clone(broker), data)),
        }
    }

    fn remove(&mut self, broker: &str) {
        if let Ok(at) = self.find(broker) {
            self.0.remove(at);
        }
    }

    fn data_mut(&mut self, broker: &str) -> Option<&mut QueueData> {
        let at = self.find(broker).ok()?;
        self.0.get_mut(at).map(|(_, data)| data)
    }
}

type Mappings = BTreeMap<String, serde_json::Value>;

/// The tables.
#[derive(Debug, Default)]
pub struct Routes {
    topics: BTreeMap<Arc<str>, Holders>,
    mappings: BTreeMap<Arc<str>, Mappings>,
    brokers: BTreeMap<Arc<str>, Broker>,
    clusters: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    live: Liveness,
}

impl Routes {
    /// Takes a registration at `now`. With `drop_missing`, topics that a full one does not bring are
    /// dropped (`deleteTopicWithBrokerRegistration`).
    pub fn register(&mut self, r: &Registration, drop_missing: bool, now: Duration) -> Registered {
        let known = self.brokers.get(r.broker.as_str());
        let known = known.is_some_and(|broker| broker.addresses.contains_key(&r.id));
        if !known && r.topics.len() == 1 {
            return Registered::Refused;
        }
        let name = self.admit(r);
        let at = Address::new(&r.cluster, &r.address);
        let Some(broker) = self.brokers.get_mut(&name) else {
            return Registered::Refused;
        };
        // One ip:port has one id: a slave that became the master leaves its old one.
        (broker.addresses).retain(|id, address| *address != r.address || *id == r.id);
        if let Some(holder) = broker.addresses.get(&r.id).filter(|a| **a != r.address) {
            let holder = self.live.find(&Address::new(&r.cluster, holder));
            if holder.is_some_and(|h| h.version.state_version > r.version.state_version) {
                self.live.forget(&at);
                return Registered::Ignored;
            }
        }
        broker.addresses.insert(r.id, r.address.clone());
        let lowest = broker.addresses.keys().next() == Some(&r.id);
        let acts = r.acting_master.is_some() && r.id != MASTER && lowest;
        if r.id == MASTER || acts {
            let wipe = acts && r.acting_master == Some(true);
            self.take_topics(r, &name, !known, drop_missing, wipe);
        }
        self.note_live(r, at, now);
        Registered::Accepted(self.master_of(r))
    }

    /// Enters the cluster and the broker's name.
    fn admit(&mut self, r: &Registration) -> Arc<str> {
        let name = key_of(&self.brokers, &r.broker);
        let cluster = key_of(&self.clusters, &r.cluster);
        let names = self.clusters.entry(Arc::clone(&cluster)).or_default();
        names.insert(Arc::clone(&name));
        let broker = self.brokers.entry(Arc::clone(&name));
        let broker = broker.or_insert_with(|| Broker {
            cluster,
            addresses: BTreeMap::new(),
            zone: None,
            acting_master: false,
        });
        broker.zone.clone_from(&r.zone);
        broker.acting_master = r.acting_master.unwrap_or(false);
        name
    }

    fn take_topics(
        &mut self,
        r: &Registration,
        name: &Arc<str>,
        first: bool,
        drop_missing: bool,
        wipe: bool,
    ) {
        let at = Address::new(&r.cluster, &r.address);
        let changed = first || self.live.find(&at).map(|l| l.version) != Some(r.version);
        if drop_missing && !r.partial && r.mappings.is_empty() {
            let kept: BTreeSet<&str> = r.topics.iter().map(|(topic, _)| topic.as_str()).collect();
            self.drop_topics(name, |topic| !kept.contains(topic));
        }
        for (topic, data) in &r.topics {
            let held = self.topics.get(topic.as_str());
            if changed || !held.is_some_and(|holders| holders.holds(name)) {
                let topic = key_of(&self.topics, topic);
                let data = if wipe { without_write(*data) } else { *data };
                self.topics.entry(topic).or_default().put(name, data);
            }
        }
        if changed {
            for (topic, broker, mapping) in &r.mappings {
                let topic = key_of(&self.mappings, topic);
                let table = self.mappings.entry(topic).or_default();
                table.insert(broker.clone(), mapping.clone());
            }
        }
    }

    fn note_live(&mut self, r: &Registration, at: Address, now: Duration) {
        let before = self.live.find(&at).map(|live| live.filter_servers.clone());
        let live = Live {
            heard: now,
            timeout: r.timeout.unwrap_or(DEFAULT_TIMEOUT),
            version: r.version,
            link: r.link,
            ha_address: r.ha_address.clone(),
            filter_servers: (r.filter_servers.clone()).or(before).unwrap_or_default(),
        };
        self.live.note(at, live);
    }

    fn master_of(&self, r: &Registration) -> Option<Master> {
        let address = self
            .brokers
            .get(r.broker.as_str())?
            .addresses
            .get(&MASTER)?;
        if r.id == MASTER {
            return None;
        }
        let live = self.live.find(&Address::new(&r.cluster, address))?;
        Some(Master {
            address: address.clone(),
            ha_address: live.ha_address.clone(),
        })
    }

    /// Takes a broker's address out (104), and with its last address its name and its topics.
    pub fn unregister(&mut self, cluster: &str, address: &str, broker: &str) {
        self.live.forget(&Address::new(cluster, address));
        let Some(entry) = self.brokers.get_mut(broker) else {
            return;
        };
        entry.addresses.retain(|_, held| held != address);
        if entry.addresses.is_empty() {
            self.remove_broker(broker);
        } else if entry.acting_master && !entry.has_master() {
            self.change_perm(broker, |perm| perm & !WRITE);
        }
    }

    fn remove_broker(&mut self, broker: &str) {
        self.brokers.remove(broker);
        self.clusters.retain(|_, names| {
            names.remove(broker);
            !names.is_empty()
        });
        self.drop_topics(broker, |_| true);
        self.mappings.retain(|_, table| {
            table.remove(broker);
            !table.is_empty()
        });
    }

    fn drop_topics(&mut self, broker: &str, which: impl Fn(&str) -> bool) {
        self.topics.retain(|topic, holders| {
            if which(topic) {
                holders.remove(broker);
            }
            !holders.0.is_empty()
        });
    }

    /// Takes a topic from one broker.
    pub fn release(&mut self, topic: &str, broker: &str) {
        if let Some(holders) = self.topics.get_mut(topic) {
            holders.remove(broker);
            if holders.0.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    /// Whether a broker spoke last over a connection.
    pub fn speaks_over(&self, connection: u64) -> bool {
        !self.live.over(connection).is_empty()
    }

    /// Removes whoever spoke over a connection that closed.
    pub fn closed(&mut self, connection: u64) {
        for at in self.live.over(connection) {
            self.lost(&at);
        }
    }

    /// Removes whoever was not heard in time; the connections to close.
    pub fn expire(&mut self, now: Duration) -> Vec<u64> {
        let expired = self.live.expired(now);
        for (at, _) in &expired {
            tracing::warn!(cluster = %at.cluster, address = %at.address, "a broker expired");
            self.lost(at);
        }
        expired.into_iter().map(|(_, id)| id).collect()
    }

    fn lost(&mut self, at: &Address) {
        self.live.forget(at);
        let names: Vec<Arc<str>> = (self.brokers.iter())
            .filter(|(_, broker)| broker.holds(at))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        for name in names {
            self.unregister(&at.cluster, &at.address, &name);
        }
    }

    /// Counts a broker as heard (904, 322). False if it is not known.
    pub fn touch(&mut self, cluster: &str, address: &str, now: Duration) -> bool {
        self.live.touch(&Address::new(cluster, address), now)
    }

    /// The data version that an address registered last (322).
    pub fn version(&self, cluster: &str, address: &str) -> Option<DataVersion> {
        let live = self.live.find(&Address::new(cluster, address));
        live.map(|live| live.version)
    }

    /// Adds queues of a topic for brokers that are known (217). With a stranger among them, those
    /// after it are left out, and nothing is entered if the topic is new.
    pub fn add_topic(&mut self, topic: &str, queues: &[(String, QueueData)]) {
        let known = (queues.iter()).take_while(|(broker, _)| self.brokers.contains_key(&**broker));
        let known: Vec<_> = known
            .map(|(broker, data)| (key_of(&self.brokers, broker), *data))
            .collect();
        let strangers = known.len() < queues.len();
        if known.is_empty() || (strangers && !self.topics.contains_key(topic)) {
            return;
        }
        let topic = key_of(&self.topics, topic);
        let holders = self.topics.entry(topic).or_default();
        for (broker, data) in &known {
            holders.put(broker, *data);
        }
    }

    /// Removes a topic (216), of one cluster's brokers only if a cluster is named.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let Some(cluster) = cluster else {
            self.topics.remove(topic);
            return;
        };
        let (Some(names), Some(holders)) = (self.clusters.get(cluster), self.topics.get_mut(topic))
        else {
            return;
        };
        for name in names {
            holders.remove(name);
        }
        if holders.0.is_empty() {
            self.topics.remove(topic);
        }
    }

    /// Takes the write permission of all topics of a broker (205); how many there were. The broker's
    /// next changed registration restores it.
    pub fn wipe_write(&mut self, broker: &str) -> usize {
        self.change_perm(broker, |perm| perm & !WRITE)
    }

    /// Makes all topics of a broker readable and writable (327); how many there were.
    pub fn add_write(&mut self, broker: &str) -> usize {
        self.change_perm(broker, |_| READ_WRITE)
    }

    fn change_perm(&mut self, broker: &str, change: impl Fn(u32) -> u32) -> usize {
        let held = (self.topics.values_mut()).filter_map(|holders| holders.data_mut(broker));
        held.map(|data| data.perm = change(data.perm)).count()
    }
}

impl Broker {
    fn holds(&self, at: &Address) -> bool {
        self.cluster == at.cluster && self.addresses.values().any(|a| **a == *at.address)
    }
}

fn without_write(data: QueueData) -> QueueData {
    QueueData {
        perm: data.perm & !WRITE,
        ..data
    }
}

/// The key that stands for `name` in a table, so that each name is kept once.
fn key_of<T>(table: &BTreeMap<Arc<str>, T>, name: &str) -> Arc<str> {
    match table.get_key_value(name) {
        Some((key, _)) => Arc::clone(key),
        None => name.into(),
    }
}
