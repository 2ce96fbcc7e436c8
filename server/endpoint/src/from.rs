//! What clients say, in the broker's words.

use broker::{
    ConsumeFrom, ConsumeType, ConsumerData, Heartbeat, MessageModel, ProducerData, TopicChange,
};
use model::TopicName;
use model::flag::Perm;
use model::subscription::{ExpressionKind, Subscription};
use model::topic::FilterType;
use remoting::body;
use remoting::header::CreateTopicHeader;

use crate::ask::Refused;

pub(crate) fn heartbeat(data: body::HeartbeatData) -> Heartbeat {
    let producers = data.producer_data_set.into_iter();
    Heartbeat {
        client: data.client_id,
        producers: producers.map(producer).collect(),
        consumers: data.consumer_data_set.into_iter().map(consumer).collect(),
        fingerprint: data.heartbeat_fingerprint,
        without_subscriptions: data.without_sub,
    }
}

fn producer(data: body::ProducerData) -> ProducerData {
    ProducerData {
        group: data.group_name,
        stands_in: data.stands_in,
    }
}

fn consumer(data: body::ConsumerData) -> ConsumerData {
    let subscriptions = data.subscription_data_set.iter();
    ConsumerData {
        group: data.group_name,
        kind: match data.consume_type {
            body::ConsumeType::ConsumeActively => ConsumeType::Actively,
            body::ConsumeType::ConsumePassively => ConsumeType::Passively,
            body::ConsumeType::ConsumePop => ConsumeType::Pop,
        },
        model: match data.message_model {
            body::MessageModel::Broadcasting => MessageModel::Broadcasting,
            body::MessageModel::Clustering => MessageModel::Clustering,
        },
        from: consume_from(data.consume_from_where),
        subscriptions: subscriptions.filter_map(subscription).collect(),
        unit_mode: data.unit_mode,
    }
}

fn consume_from(from: body::ConsumeFromWhere) -> ConsumeFrom {
    use body::ConsumeFromWhere as Wire;
    match from {
        Wire::LastOffset => ConsumeFrom::LastOffset,
        Wire::LastOffsetAndFromMinWhenBootFirst => ConsumeFrom::LastOffsetAndFromMinWhenBootFirst,
        Wire::MinOffset => ConsumeFrom::MinOffset,
        Wire::MaxOffset => ConsumeFrom::MaxOffset,
        Wire::FirstOffset => ConsumeFrom::FirstOffset,
        Wire::Timestamp => ConsumeFrom::Timestamp,
    }
}

/// `None` for a topic that cannot exist: nothing can be pulled from it either.
fn subscription(data: &body::SubscriptionData) -> Option<Subscription> {
    let mut subscription = Subscription::try_from(data).ok()?;
    let hashed = !subscription.codes.is_empty() || subscription.class_filter;
    if subscription.kind == ExpressionKind::Tag && !hashed {
        // A client that leaves the hashes out means its expression.
        let (topic, version) = (subscription.topic.clone(), subscription.version);
        subscription = Subscription::tags(topic, &subscription.expression, version);
    }
    Some(subscription)
}

pub(crate) fn queue(queue: &body::MessageQueue) -> broker::MessageQueue {
    broker::MessageQueue {
        topic: queue.topic.clone(),
        broker: queue.broker_name.clone(),
        queue: queue.queue_id,
    }
}

/// A topic in a request 17.
pub(crate) fn topic_header(header: &CreateTopicHeader<'_>) -> Result<TopicChange, Refused> {
    let attributes = header.attributes.unwrap_or_default();
    Ok(TopicChange {
        name: header.topic.to_owned(),
        read_queues: header.read_queues,
        write_queues: header.write_queues,
        perm: Perm(u32::try_from(header.perm).unwrap_or(0)),
        filter: filter(header.filter_type)?,
        sys_flag: header.sys_flag.unwrap_or(0),
        order: header.order,
        attributes: broker::topic::attributes(attributes)?,
    })
}

/// A topic in a request 18. Its attributes carry the `+` and `-` in their keys.
pub(crate) fn topic_config(config: body::TopicConfig) -> Result<TopicChange, Refused> {
    let queues = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    Ok(TopicChange {
        read_queues: queues(config.read_queue_nums),
        write_queues: queues(config.write_queue_nums),
        perm: Perm(config.perm),
        filter: filter(&config.topic_filter_type)?,
        sys_flag: config.topic_sys_flag,
        order: config.order,
        attributes: config.attributes.into_iter().collect(),
        name: config.topic_name,
    })
}

fn filter(name: &str) -> Result<FilterType, Refused> {
    let wrong = || Refused::Invalid(format!("topicFilterType = [{name}] value invalid"));
    FilterType::parse(name).ok_or_else(wrong)
}

/// The name of a topic that an administrator may have left out: then it is blank, which is refused.
pub(crate) fn topic_name(name: Option<&str>) -> Result<&str, Refused> {
    let name = name.unwrap_or_default();
    match TopicName::parse(name) {
        Ok(_) => Ok(name),
        Err(error) => Err(broker::Error::Name(error).into()),
    }
}
