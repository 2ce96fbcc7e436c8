//! Statistics of the whole broker: 315, 317.

use remoting::body::{BrokerConsumeStats, BrokerStatsData, BrokerStatsItem};
use remoting::header::{BrokerConsumeStatsHeader, BrokerStatsHeader};

use crate::Endpoint;
use crate::ask::{Ask, Served};
use crate::to;

pub(crate) fn item(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = BrokerStatsHeader::read(ask.frame)?;
    let item = endpoint.broker.stats_item(header.name, header.key)?;
    let window = |window: broker::StatsWindow| BrokerStatsItem {
        avgpt: window.average,
        sum: window.sum as i64,
        tps: window.tps,
    };
    ask.body(&BrokerStatsData {
        stats_day: window(item.day),
        stats_hour: window(item.hour),
        stats_minute: window(item.minute),
    })
}

pub(crate) fn consumption(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = BrokerConsumeStatsHeader::read(ask.frame)?;
    let broker = &endpoint.broker;
    let answer = broker.all_consume_stats(&ask.caller(), header.is_order)?;
    let address = broker.options().address.to_string();
    ask.answer(answer, |ask, groups| {
        let topics = || groups.iter().flat_map(|group| &group.topics);
        let told = groups.iter().map(|group| {
            let topics = group.topics.iter().map(to::consume_stats).collect();
            [(group.group.to_string(), topics)].into()
        });
        ask.write_body(&BrokerConsumeStats {
            broker_addr: address,
            consume_stats_list: told.collect(),
            total_diff: topics().map(broker::ConsumeStats::lag).sum(),
            total_inflight_diff: topics().map(broker::ConsumeStats::in_flight).sum(),
        });
    })
}
