//! What brokers say, and what is said about brokers: 103, 104, 106, 205, 322, 327, 901, 904.

use std::time::Duration;

use remoting::body::{BrokerMembers, DataVersion, Dialect, MemberGroup, from_slice, write};
use remoting::code::response;
use remoting::server::Outcome;

use super::{Ask, Refused, Served};
use crate::body::{self, Registered as Body};
use crate::kv::ORDER_TOPIC_CONFIG;
use crate::liveness::Link;
use crate::route::{Registered, Registration};
use crate::server::NameServer;

impl NameServer {
    /// 103
    pub(super) fn register(&self, ask: &mut Ask<'_>) -> Served {
        let bytes = ask.frame.body;
        // Java writes the sum as an int; a few brokers as an unsigned one.
        let sum = ask
            .field("bodyCrc32")
            .and_then(|sum| sum.parse::<i64>().ok());
        if sum.is_some_and(|sum| sum != 0 && sum & 0x7FFF_FFFF != i64::from(body::crc32(bytes))) {
            let reply = ask.reply(response::SYSTEM_ERROR);
            reply.remark("crc32 not match").empty_fields().finish();
            return Ok(Outcome::Done);
        }
        let body = body::read(bytes, ask.frame.version);
        let body = body.map_err(|error| Refused::error(format!("the register body: {error}")))?;
        let registration = registration(ask, body)?;
        // One that is ignored is answered like a success, so that its broker does not keep trying.
        let master = match self.take(&registration) {
            Registered::Accepted(master) => master,
            Registered::Ignored => None,
            Registered::Refused => {
                let reply = ask.reply(response::SYSTEM_ERROR);
                reply
                    .remark("register broker failed")
                    .empty_fields()
                    .finish();
                return Ok(Outcome::Done);
            }
        };
        let mut reply = ask.reply(response::SUCCESS).empty_fields();
        if let Some(master) = &master {
            reply = reply.field("haServerAddr", &master.ha_address);
            reply = reply.field("masterAddr", &master.address);
        }
        reply.body_bytes(&self.order_topics());
        Ok(Outcome::Done)
    }

    /// What a broker is told about ordered topics; mostly nothing.
    fn order_topics(&self) -> Vec<u8> {
        match self.settings().return_order_topics {
            true => self.kv.list(ORDER_TOPIC_CONFIG).unwrap_or_default(),
            false => Vec::new(),
        }
    }

    /// 104
    pub(super) fn unregister(&self, ask: &mut Ask<'_>) -> Served {
        let cluster = ask.need("clusterName")?;
        let address = ask.need("brokerAddr")?;
        let broker = ask.need("brokerName")?;
        tracing::info!(cluster, broker, address, "a broker unregisters");
        self.routes_mut().unregister(cluster, address, broker);
        ask.done()
    }

    /// 904
    pub(super) fn heartbeat(&self, ask: &mut Ask<'_>) -> Served {
        let cluster = ask.need("clusterName")?;
        let address = ask.need("brokerAddr")?;
        self.routes_mut().touch(cluster, address, self.now());
        ask.done()
    }

    /// 322
    pub(super) fn data_version(&self, ask: &mut Ask<'_>) -> Served {
        let cluster = ask.need("clusterName")?;
        let address = ask.need("brokerAddr")?;
        let asked = from_slice::<DataVersion>(ask.frame.body).ok();
        let mut routes = self.routes_mut();
        routes.touch(cluster, address, self.now());
        let known = routes.version(cluster, address);
        drop(routes);
        let changed = known.is_none() || known != asked.map(Into::into);
        let reply = ask.reply(response::SUCCESS).flag("changed", changed);
        match known {
            Some(version) => {
                reply.body(|out| write(&DataVersion::from(version), Dialect::Standard, out));
            }
            None => reply.finish(),
        }
        Ok(Outcome::Done)
    }

    /// 901
    pub(super) fn member_group(&self, ask: &mut Ask<'_>) -> Served {
        let cluster = ask.field("clusterName").unwrap_or_default();
        let broker = ask.need("brokerName")?;
        let group = MemberGroup {
            broker_member_group: BrokerMembers {
                broker_addrs: self.routes().members(broker),
                broker_name: broker.to_owned(),
                cluster: cluster.to_owned(),
            },
        };
        ask.body(|out| write(&group, Dialect::Fastjson, out))
    }

    /// 106
    pub(super) fn cluster_info(&self, ask: &mut Ask<'_>) -> Served {
        let info = self.routes().cluster_info();
        ask.body(|out| write(&info, Dialect::Fastjson, out))
    }

    /// 205
    pub(super) fn wipe_write(&self, ask: &mut Ask<'_>) -> Served {
        let count = self.routes_mut().wipe_write(ask.need("brokerName")?);
        answer_count(ask, "wipeTopicCount", count)
    }

    /// 327
    pub(super) fn add_write(&self, ask: &mut Ask<'_>) -> Served {
        let count = self.routes_mut().add_write(ask.need("brokerName")?);
        answer_count(ask, "addTopicCount", count)
    }

    /// Whoever registered over this connection is gone.
    pub(super) fn lost(&self, connection: u64) {
        if self.routes().speaks_over(connection) {
            self.routes_mut().closed(connection);
        }
    }
}

fn answer_count(ask: &mut Ask<'_>, name: &str, count: usize) -> Served {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    ask.reply(response::SUCCESS).number(name, count).finish();
    Ok(Outcome::Done)
}

fn registration(ask: &Ask<'_>, body: Body) -> Result<Registration, Refused> {
    let timeout = ask.field("heartbeatTimeoutMillis");
    let timeout = timeout.and_then(|ms| ms.parse().ok());
    Ok(Registration {
        cluster: ask.need("clusterName")?.to_owned(),
        broker: ask.need("brokerName")?.to_owned(),
        id: ask.need_number("brokerId")?,
        address: ask.need("brokerAddr")?.to_owned(),
        ha_address: ask.field("haServerAddr").unwrap_or_default().to_owned(),
        zone: ask.field("__ZONE_NAME").map(str::to_owned),
        timeout: timeout.map(Duration::from_millis),
        acting_master: ask.truth("enableActingMaster"),
        version: body.version,
        topics: body.topics,
        partial: false,
        mappings: body.mappings,
        filter_servers: body.filter_servers,
        link: Link::Connection(ask.peer.id.0),
    })
}
