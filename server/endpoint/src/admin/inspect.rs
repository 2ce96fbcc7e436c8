//! What tools look up about groups and queues one by one: 303, 308, 321, 328, 343, 345, 353.

use std::collections::BTreeMap;

use remoting::body::{self, SubscriptionData};
use remoting::header::{
    CorrectionOffsetHeader, GroupForbiddenHeader, GroupTopicHeader, QueryQueueHeader,
};
use remoting::{Language, body::inspect};

use crate::ask::{Ask, Served};
use crate::{Endpoint, to};

pub(crate) fn time_span(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = GroupTopicHeader::read(ask.frame)?;
    let topic = header.topic.unwrap_or_default();
    let answer = endpoint
        .broker
        .time_spans(&ask.caller(), header.group, topic)?;
    ask.answer(answer, |ask, spans| {
        let span = |span: broker::TimeSpan| inspect::TimeSpan {
            consume_time_stamp: span.consumed,
            consume_time_stamp_str: inspect::human(span.consumed),
            delay_time: span.delay,
            max_time_stamp: span.max,
            max_time_stamp_str: inspect::human(span.max),
            message_queue: to::queue(&span.queue),
            min_time_stamp: span.min,
            min_time_stamp_str: inspect::human(span.min),
        };
        ask.write_body(&inspect::TimeSpans {
            consume_time_span_set: spans.into_iter().map(span).collect(),
        });
    })
}

pub(crate) fn index(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = QueryQueueHeader::read(ask.frame)?;
    let (topic, group) = (header.topic, header.consumer_group);
    let found = (endpoint.broker).index_of(
        group.unwrap_or_default(),
        topic,
        header.queue_id,
        header.index,
        header.count,
    )?;
    let subscription = found.subscription.as_ref();
    let filter_data = match (group, subscription) {
        (Some(group), None) => Some(format!("{group}@{topic} is not online!")),
        _ => None,
    };
    // Judged by its tag's hash, as a pull judges.
    let passes = |code: i64| {
        subscription.is_some_and(|subscription| {
            subscription.codes.is_empty() || subscription.codes.contains(&(code as i32))
        })
    };
    let entries = found.entries.iter();
    let entry = entries.map(|entry| inspect::QueueEntry {
        eval: passes(entry.tags_code),
        physic_offset: entry.log_offset.0 as i64,
        physic_size: entry.size as i32,
        tags_code: entry.tags_code,
    });
    ask.body(&inspect::QueueIndex {
        filter_data,
        max_queue_index: found.max,
        min_queue_index: found.min,
        queue_data: entry.collect(),
        subscription_data: subscription.map(SubscriptionData::from),
    })
}

pub(crate) fn producers(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let mut data = BTreeMap::new();
    for (group, connections) in endpoint.broker.producers() {
        let info = |connection: &broker::Connection| inspect::ProducerInfo {
            client_id: connection.client.clone(),
            language: Language::from_ordinal(i64::from(connection.language))
                .name()
                .to_owned(),
            last_update_timestamp: connection.seen_at,
            remote_ip: format!("/{}", connection.remote),
            version: connection.version,
        };
        data.insert(group.to_string(), connections.iter().map(info).collect());
    }
    ask.body(&inspect::Producers { data })
}

pub(crate) fn topics(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = GroupTopicHeader::read(ask.frame)?;
    ask.body(&body::TopicList {
        broker_addr: Some(endpoint.broker.options().address.to_string()),
        topic_list: endpoint.broker.topics_consumed_by(header.group),
    })
}

pub(crate) fn subscription(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = GroupTopicHeader::read(ask.frame)?;
    let topic = header.topic.unwrap_or_default();
    let found = endpoint.broker.subscription_of(header.group, topic);
    ask.body(&inspect::GroupSubscription {
        group: header.group.to_owned(),
        subscription_data: found.as_ref().map(SubscriptionData::from),
        topic: topic.to_owned(),
    })
}

pub(crate) fn correction(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = CorrectionOffsetHeader::read(ask.frame)?;
    let left_out = header.filter_groups.unwrap_or_default().split(',');
    let left_out: Vec<&str> = left_out.collect();
    let offsets =
        (endpoint.broker).correction_offsets(header.topic, header.compare_group, &left_out);
    ask.body(&inspect::CorrectionOffsets {
        correction_offsets: offsets,
    })
}

pub(crate) fn readable(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = GroupForbiddenHeader::read(ask.frame)?;
    let (group, topic) = (header.group, header.topic);
    let answer = (endpoint.broker).group_readable(&ask.caller(), group, topic, header.readable)?;
    ask.answer(answer, |ask, readable| {
        ask.write_body(&inspect::GroupForbidden {
            group: group.to_owned(),
            readable,
            topic: topic.to_owned(),
        });
    })
}
