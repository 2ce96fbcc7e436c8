//! Clients coming and going: 34, 35, 38, 40, 203, 204.

use super::header;

header! {
    /// Answer to 34.
    HeartbeatAnswer {
        /// The broker keeps subscriptions of heartbeats that leave them out.
        supports_v2: bool = b"IS_SUPPORT_HEART_BEAT_V2",
        /// The client must send its subscriptions again.
        sub_changed: bool = b"IS_SUB_CHANGE",
    }
}

header! {
    /// Header of 35.
    UnregisterHeader<'a> {
        /// The client's id.
        client_id: &'a str = b"clientID",
        /// The producer group it leaves.
        producer_group: Option<&'a str> = b"producerGroup",
        /// The consumer group it leaves.
        consumer_group: Option<&'a str> = b"consumerGroup",
    }
}

header! {
    /// Header of 38, 40 and 203.
    ConsumerGroupHeader<'a> {
        /// The group.
        consumer_group: &'a str = b"consumerGroup",
    }
}

header! {
    /// Header of 204.
    ProducerGroupHeader<'a> {
        /// The group.
        producer_group: &'a str = b"producerGroup",
    }
}
