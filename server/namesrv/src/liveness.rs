//! Which brokers are alive: when each was last heard, for how long that counts, and over what it speaks.
//!
//! A broker is gone when its time is over, or at once when the connection closes over which it last
//! registered (Apache `BrokerLiveInfo`). A broker in our own process speaks over no connection: it is
//! gone when it says so. Time is handed in, as a reading of a monotonic clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::topic::DataVersion;

/// How long a broker counts that did not say (Apache `DEFAULT_BROKER_CHANNEL_EXPIRED_TIME`).
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// What a broker speaks over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// A connection, by its number.
    Connection(u64),
    /// A plain call in the same process: never expires.
    Local,
}

/// An address in a cluster: what liveness is kept by (Apache `BrokerAddrInfo`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// `host:port` as registered.
    pub address: Arc<str>,
}

impl Address {
    /// The key of `address` in `cluster`.
    pub fn new(cluster: &str, address: &str) -> Address {
        Address {
            cluster: cluster.into(),
            address: address.into(),
        }
    }
}

/// One live broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// When it was last heard.
    pub heard: Duration,
    /// For how long that counts.
    pub timeout: Duration,
    /// The version of the topics it registered last.
    pub version: DataVersion,
    /// What it speaks over.
    pub link: Link,
    /// Where its slaves fetch the log.
    pub ha_address: String,
    /// Its filter servers (a leftover of 3.x; mostly none).
    pub filter_servers: Vec<String>,
}

/// All live brokers.
#[derive(Debug, Default)]
pub struct Liveness {
    table: BTreeMap<Address, Live>,
}

impl Liveness {
    /// What is known of an address.
    pub fn find(&self, at: &Address) -> Option<&Live> {
        self.table.get(at)
    }

    /// Notes a registration. Filter servers that were not named stay as they were.
    pub fn note(&mut self, at: Address, live: Live) {
        self.table.insert(at, live);
    }

    /// Counts an address as heard at `now`. False if it is not known.
    pub fn touch(&mut self, at: &Address, now: Duration) -> bool {
        let live = self.table.get_mut(at);
        live.map(|live| live.heard = now).is_some()
    }

    /// Forgets an address.
    pub fn forget(&mut self, at: &Address) -> Option<Live> {
        self.table.remove(at)
    }

    /// The addresses whose time is over at `now`, and their connections.
    pub fn expired(&self, now: Duration) -> Vec<(Address, u64)> {
        (self.table.iter())
            .filter_map(|(at, live)| match live.link {
                Link::Connection(id) if live.heard.saturating_add(live.timeout) < now => {
                    Some((at.clone(), id))
                }
                _ => None,
            })
            .collect()
    }

    /// The addresses that spoke last over `connection`.
    pub fn over(&self, connection: u64) -> Vec<Address> {
        (self.table.iter())
            .filter(|(_, live)| live.link == Link::Connection(connection))
            .map(|(at, _)| at.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(heard: u64, link: Link) -> Live {
        Live {
            heard: Duration::from_secs(heard),
            timeout: DEFAULT_TIMEOUT,
            version: DataVersion::default(),
            link,
            ha_address: String::new(),
            filter_servers: Vec::new(),
        }
    }

    fn expired_at(table: &Liveness, seconds: u64) -> Vec<u64> {
        (table.expired(Duration::from_secs(seconds)).iter())
            .map(|(_, id)| *id)
            .collect()
    }

    #[test]
    fn a_broker_expires_when_its_time_is_over_and_not_before() {
        let mut table = Liveness::default();
        table.note(Address::new("c", "h:1"), live(10, Link::Connection(7)));
        assert_eq!(expired_at(&table, 130), [] as [u64; 0]);
        assert_eq!(expired_at(&table, 131), [7]);
        assert!(table.touch(&Address::new("c", "h:1"), Duration::from_secs(100)));
        assert_eq!(expired_at(&table, 131), [] as [u64; 0]);
        assert!(!table.touch(&Address::new("c", "h:2"), Duration::ZERO));
    }

    #[test]
    fn a_broker_in_our_own_process_never_expires() {
        let mut table = Liveness::default();
        table.note(Address::new("c", "h:1"), live(0, Link::Local));
        assert_eq!(expired_at(&table, 1_000_000), [] as [u64; 0]);
    }

    #[test]
    fn only_the_connection_of_the_last_registration_counts() {
        let mut table = Liveness::default();
        table.note(Address::new("c", "h:1"), live(0, Link::Connection(1)));
        table.note(Address::new("c", "h:1"), live(1, Link::Connection(2)));
        assert!(table.over(1).is_empty());
        assert_eq!(table.over(2), [Address::new("c", "h:1")]);
    }
}
