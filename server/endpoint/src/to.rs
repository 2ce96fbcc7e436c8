//! What the broker says, as bodies.

use broker::{
    ConsumeFrom, ConsumeStats, ConsumeType, ConsumerConnections, MessageModel, TopicStats,
};
use remoting::{Language, body};

pub(crate) fn queue(queue: &broker::MessageQueue) -> body::MessageQueue {
    body::MessageQueue {
        broker_name: queue.broker.clone(),
        queue_id: queue.queue,
        topic: queue.topic.clone(),
    }
}

pub(crate) fn connection(connection: &broker::Connection) -> body::Connection {
    let language = Language::from_ordinal(i64::from(connection.language));
    body::Connection {
        client_addr: connection.remote.to_string(),
        client_id: connection.client.clone(),
        language: language.name().to_owned(),
        version: connection.version,
    }
}

pub(crate) fn consumer_connection(group: &ConsumerConnections) -> body::ConsumerConnection {
    let subscriptions = group.subscriptions.iter();
    body::ConsumerConnection {
        connection_set: group.connections.iter().map(connection).collect(),
        consume_from_where: match group.from {
            ConsumeFrom::LastOffset => body::ConsumeFromWhere::LastOffset,
            ConsumeFrom::LastOffsetAndFromMinWhenBootFirst => {
                body::ConsumeFromWhere::LastOffsetAndFromMinWhenBootFirst
            }
            ConsumeFrom::MinOffset => body::ConsumeFromWhere::MinOffset,
            ConsumeFrom::MaxOffset => body::ConsumeFromWhere::MaxOffset,
            ConsumeFrom::FirstOffset => body::ConsumeFromWhere::FirstOffset,
            ConsumeFrom::Timestamp => body::ConsumeFromWhere::Timestamp,
        },
        consume_type: match group.kind {
            ConsumeType::Actively => body::ConsumeType::ConsumeActively,
            ConsumeType::Passively => body::ConsumeType::ConsumePassively,
            ConsumeType::Pop => body::ConsumeType::ConsumePop,
        },
        message_model: match group.model {
            MessageModel::Broadcasting => body::MessageModel::Broadcasting,
            MessageModel::Clustering => body::MessageModel::Clustering,
        },
        subscription_divergence: group.divergence.clone(),
        subscription_table: subscriptions
            .map(|subscription| (subscription.topic.to_string(), subscription.into()))
            .collect(),
    }
}

pub(crate) fn topic_stats(stats: &TopicStats) -> body::TopicStats {
    let entry = |entry: &broker::QueueStats| {
        let stats = body::QueueStats {
            last_update_timestamp: entry.updated_at,
            max_offset: entry.max,
            min_offset: entry.min,
        };
        (queue(&entry.queue), stats)
    };
    body::TopicStats {
        offset_table: stats.queues.iter().map(entry).collect(),
        topic_put_tps: Some(stats.put_tps),
    }
}

pub(crate) fn consume_stats(stats: &ConsumeStats) -> body::ConsumeStats {
    let entry = |entry: &broker::QueueProgress| {
        let progress = body::QueueProgress {
            broker_offset: entry.broker_offset,
            consumer_offset: entry.consumer_offset,
            last_timestamp: entry.consumed_at,
            pull_offset: entry.pull_offset,
            ready_for: entry.ready_for,
        };
        (queue(&entry.queue), progress)
    };
    body::ConsumeStats {
        consume_tps: stats.tps,
        offset_table: stats.queues.iter().map(entry).collect(),
    }
}
