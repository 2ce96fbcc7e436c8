//! The tables' answers as JSON, in the two dialects that clients read.
//!
//! Clients since 4.9.4 ask for standard JSON; older ones get what Apache's fastjson writes: integer keys
//! without quotes, text as it is. Keys are in Apache's order (alphabetical), and nothing is spaced: the
//! Go client cuts `brokerAddrs` out of the raw text.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{BrokerView, QueueData, Route};

/// How JSON is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Quoted integer keys, everything beyond ASCII as `\uXXXX`.
    Standard,
    /// Unquoted integer keys, UTF-8.
    Fastjson,
}

impl Route {
    /// Writes the body of a 105 answer.
    pub fn write(&self, dialect: Dialect, out: &mut Vec<u8>) {
        let mut w = Writer { out, dialect };
        w.raw("{\"brokerDatas\":");
        w.list(&self.brokers, |w, broker| w.broker(broker));
        w.raw(",\"filterServerTable\":");
        w.map(self.filter_servers.iter(), |w, at, servers| {
            w.name(at);
            w.list(servers, |w, server| w.text(server));
        });
        if let Some(order) = &self.order {
            w.raw(",\"orderTopicConf\":");
            w.text(order);
        }
        w.raw(",\"queueDatas\":");
        w.list(&self.queues, |w, (name, data)| w.queue(name, data));
        if let Some(mappings) = &self.mappings {
            w.raw(",\"topicQueueMappingByBroker\":");
            w.map(mappings.iter(), |w, broker, mapping| {
                w.name(broker);
                w.raw(&mapping.to_string());
            });
        }
        w.raw("}");
    }
}

/// Writes the body of a 106 answer (Apache `ClusterInfo`).
pub fn cluster_info(
    brokers: &[BrokerView],
    clusters: &BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    dialect: Dialect,
    out: &mut Vec<u8>,
) {
    let mut w = Writer { out, dialect };
    w.raw("{\"brokerAddrTable\":");
    w.map(brokers.iter().map(|b| (&b.name, b)), |w, name, broker| {
        w.name(name);
        w.broker(broker);
    });
    w.raw(",\"clusterAddrTable\":");
    w.map(clusters.iter(), |w, cluster, names| {
        w.name(cluster);
        w.list(names, |w, name| w.text(name));
    });
    w.raw("}");
}

/// Writes the body of a 901 answer (Apache `GetBrokerMemberGroupResponseBody`).
pub fn member_group(
    cluster: &str,
    broker: &str,
    addresses: &BTreeMap<i64, String>,
    dialect: Dialect,
    out: &mut Vec<u8>,
) {
    let mut w = Writer { out, dialect };
    w.raw("{\"brokerMemberGroup\":{\"brokerAddrs\":");
    w.addresses(addresses);
    w.raw(",\"brokerName\":");
    w.text(broker);
    w.raw(",\"cluster\":");
    w.text(cluster);
    w.raw("}}");
}

/// Writes a list of topics (Apache `TopicList`).
pub fn topic_list(topics: &[Arc<str>], broker: Option<&str>, out: &mut Vec<u8>) {
    let dialect = Dialect::Fastjson;
    let mut w = Writer { out, dialect };
    w.raw("{");
    if let Some(address) = broker {
        w.raw("\"brokerAddr\":");
        w.text(address);
        w.raw(",");
    }
    w.raw("\"topicList\":");
    w.list(topics, |w, topic| w.text(topic));
    w.raw("}");
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    dialect: Dialect,
}

impl Writer<'_> {
    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn text(&mut self, text: &str) {
        self.raw("\"");
        let mut units = [0u16; 2];
        for c in text.chars() {
            match c {
                '"' => self.raw("\\\""),
                '\\' => self.raw("\\\\"),
                '\n' => self.raw("\\n"),
                '\r' => self.raw("\\r"),
                '\t' => self.raw("\\t"),
                c if c < ' ' || (self.dialect == Dialect::Standard && c > '~') => {
                    for unit in c.encode_utf16(&mut units) {
                        self.raw(&format!("\\u{unit:04X}"));
                    }
                }
                c => self.raw(c.encode_utf8(&mut [0; 4])),
            }
        }
        self.raw("\"");
    }

    /// A key and its colon.
    fn name(&mut self, name: &str) {
        self.text(name);
        self.raw(":");
    }

    fn list<T>(&mut self, items: impl IntoIterator<Item = T>, write: impl Fn(&mut Self, T)) {
        self.raw("[");
        self.parts(items, write);
        self.raw("]");
    }

    fn map<K, V>(
        &mut self,
        entries: impl IntoIterator<Item = (K, V)>,
        write: impl Fn(&mut Self, K, V),
    ) {
        self.raw("{");
        self.parts(entries, |w, (key, value)| write(w, key, value));
        self.raw("}");
    }

    fn parts<T>(&mut self, items: impl IntoIterator<Item = T>, write: impl Fn(&mut Self, T)) {
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.raw(",");
            }
            write(self, item);
        }
    }

    fn addresses(&mut self, addresses: &BTreeMap<i64, String>) {
        self.map(addresses, |w, id, address| {
            match w.dialect {
                Dialect::Standard => w.raw(&format!("\"{id}\":")),
                Dialect::Fastjson => w.raw(&format!("{id}:")),
            }
            w.text(address);
        });
    }

    fn broker(&mut self, broker: &BrokerView) {
        self.raw("{\"brokerAddrs\":");
        self.addresses(&broker.addresses);
        self.raw(",\"brokerName\":");
        self.text(&broker.name);
        self.raw(",\"cluster\":");
        self.text(&broker.cluster);
        self.raw(",\"enableActingMaster\":");
        self.raw(if broker.acting_master {
            "true"
        } else {
            "false"
        });
        if let Some(zone) = &broker.zone {
            self.raw(",\"zoneName\":");
            self.text(zone);
        }
        self.raw("}");
    }

    fn queue(&mut self, broker: &str, data: &QueueData) {
        self.raw("{\"brokerName\":");
        self.text(broker);
        self.raw(&format!(
            ",\"perm\":{},\"readQueueNums\":{},\"topicSysFlag\":{},\"writeQueueNums\":{}}}",
            data.perm, data.read_queues, data.sys_flag, data.write_queues
        ));
    }
}
