//! What clients and tools ask about topics: 105, 206, 216, 217, 224, 304, 311, 312, 313.

use remoting::body::{self, Dialect, TopicList, TopicRoute};
use remoting::code::{request, response};

use super::{Ask, Refused, Served};
use crate::body::write_route;
use crate::kv::ORDER_TOPIC_CONFIG;
use crate::route::{Topics, keep_zone};
use crate::server::NameServer;

/// The version (4.9.4) from which clients read standard JSON.
const READS_STANDARD_JSON: i32 = 401;
/// Where a user is sent whose topic has no route.
const FAQ: &str = "See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";

impl NameServer {
    /// 105
    pub(super) fn route(&self, ask: &mut Ask<'_>) -> Served {
        let settings = self.settings();
        let up = self.now().saturating_sub(self.started);
        if settings.wait_for_service && up < settings.wait {
            return Err(Refused::error("name server not ready"));
        }
        let topic = ask.field("topic").unwrap_or("null");
        let Some(mut route) = self.routes().route(topic, settings.acting_masters) else {
            return Err(Refused {
                code: response::TOPIC_NOT_EXIST,
                remark: format!("No topic route info in name server for the topic: {topic}\n{FAQ}"),
            });
        };
        if settings.order_messages {
            route.order_topic_conf = self.kv.find(ORDER_TOPIC_CONFIG, topic);
        }
        let zone = ask
            .field("__ZONE_NAME")
            .filter(|zone| !zone.trim().is_empty());
        if let Some(zone) = zone.filter(|_| ask.truth("__ZONE_MODE") == Some(true)) {
            keep_zone(&mut route, zone);
        }
        let dialect = dialect(ask);
        ask.body(|out| write_route(&route, dialect, out))
    }

    /// 206, 311, 312, 313
    pub(super) fn topic_list(&self, ask: &mut Ask<'_>) -> Served {
        let which = match ask.frame.code {
            request::GET_UNIT_TOPIC_LIST => Topics::Unit,
            request::GET_HAS_UNIT_SUB_TOPIC_LIST => Topics::UnitSub,
            request::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => Topics::UnitSubOnly,
            _ => Topics::All,
        };
        let settings = self.settings();
        let enabled = match which {
            Topics::All => settings.all_topic_list,
            _ => settings.topic_list,
        };
        if !enabled {
            return Err(Refused::error("disable"));
        }
        let topics = self.routes().topics(which);
        ask.list(topics, None)
    }

    /// 224
    pub(super) fn topics_of_cluster(&self, ask: &mut Ask<'_>) -> Served {
        if !self.settings().topic_list {
            return Err(Refused::error("disable"));
        }
        let topics = self.routes().topics_of(ask.need("cluster")?);
        ask.list(topics, None)
    }

    /// 304
    pub(super) fn system_topics(&self, ask: &mut Ask<'_>) -> Served {
        let (topics, broker) = self.routes().system_topics();
        ask.list(topics, broker)
    }

    /// 217
    pub(super) fn register_topic(&self, ask: &mut Ask<'_>) -> Served {
        let topic = ask.need("topic")?;
        if let Ok(route) = body::from_slice::<TopicRoute>(ask.frame.body) {
            let queues = route.queue_datas.iter();
            let queues: Vec<_> = queues.map(|q| (q.broker_name.clone(), q.into())).collect();
            self.routes_mut().add_topic(topic, &queues);
        }
        ask.done()
    }

    /// 216
    pub(super) fn delete_topic(&self, ask: &mut Ask<'_>) -> Served {
        let topic = ask.need("topic")?;
        let cluster = ask.field("clusterName").filter(|name| !name.is_empty());
        tracing::info!(topic, cluster, "a topic is deleted");
        self.routes_mut().delete_topic(topic, cluster);
        ask.done()
    }
}

impl Ask<'_> {
    fn list(&mut self, topic_list: Vec<String>, broker_addr: Option<String>) -> Served {
        let list = TopicList {
            broker_addr,
            topic_list,
        };
        self.body(|out| body::write(&list, Dialect::Fastjson, out))
    }
}

fn dialect(ask: &Ask<'_>) -> Dialect {
    let asked = ask.truth("acceptStandardJsonOnly") == Some(true);
    match asked || ask.frame.version >= READS_STANDARD_JSON {
        true => Dialect::Standard,
        false => Dialect::Fastjson,
    }
}
