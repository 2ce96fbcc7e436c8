//! What tools ask about consumers, and of running ones through a broker: 220 to 223, 303, 307 to 309,
//! 321, 343, 345, 353.

use super::header;

header! {
    /// Header of 307 (Apache `GetConsumerRunningInfoRequestHeader`).
    RunningInfoHeader<'a> {
        /// The group.
        consumer_group: &'a str = b"consumerGroup",
        /// The consumer.
        client_id: &'a str = b"clientId",
        /// Whether its threads are wanted too.
        jstack: bool = b"jstackEnable",
    }
}

header! {
    /// Header of 309 (Apache `ConsumeMessageDirectlyResultRequestHeader`).
    ConsumeDirectlyHeader<'a> {
        /// The group.
        consumer_group: &'a str = b"consumerGroup",
        /// The consumer.
        client_id: Option<&'a str> = b"clientId",
        /// The message's offset id.
        msg_id: Option<&'a str> = b"msgId",
        /// The broker that holds it.
        broker_name: Option<&'a str> = b"brokerName",
        /// The topic.
        topic: Option<&'a str> = b"topic",
    }
}

header! {
    /// Header of 221 and 223.
    ConsumerStatusHeader<'a> {
        /// The topic.
        topic: &'a str = b"topic",
        /// The group.
        group: &'a str = b"group",
        /// One consumer by its id; all without it.
        client: Option<&'a str> = b"clientAddr",
    }
}

header! {
    /// Header of 222 (Apache `ResetOffsetRequestHeader`).
    ResetOffsetHeader<'a> {
        /// The topic.
        topic: &'a str = b"topic",
        /// The group.
        group: &'a str = b"group",
        /// One queue; below 0 or without it all of them.
        queue_id: Option<i32> = b"queueId",
        /// To this offset; -1 or without it to the time.
        offset: Option<i64> = b"offset",
        /// To the first message at or after this time; below 0 behind the last one.
        timestamp: i64 = b"timestamp",
        /// Whether the reset may go forward.
        force: bool = b"isForce",
    }
}

header! {
    /// Header of 314 (Apache `CloneGroupOffsetRequestHeader`).
    CloneOffsetHeader<'a> {
        /// The group that has offsets.
        source: &'a str = b"srcGroup",
        /// The group that gets them.
        target: &'a str = b"destGroup",
        /// One topic; all without it.
        topic: Option<&'a str> = b"topic",
        /// Also topics that the online members of the source do not subscribe to.
        offline: bool = b"offline",
    }
}

header! {
    /// Header of 303, 343 and 345.
    GroupTopicHeader<'a> {
        /// The group.
        group: &'a str = b"group",
        /// The topic.
        topic: Option<&'a str> = b"topic",
    }
}

header! {
    /// Header of 321 (Apache `QueryConsumeQueueRequestHeader`).
    QueryQueueHeader<'a> {
        /// The topic.
        topic: &'a str = b"topic",
        /// The queue.
        queue_id: i32 = b"queueId",
        /// The first position.
        index: i64 = b"index",
        /// How many entries.
        count: i32 = b"count",
        /// The group whose subscription judges them.
        consumer_group: Option<&'a str> = b"consumerGroup",
    }
}

header! {
    /// Header of 308 (Apache `QueryCorrectionOffsetHeader`).
    CorrectionOffsetHeader<'a> {
        /// The topic.
        topic: &'a str = b"topic",
        /// The group whose own offsets are compared.
        compare_group: &'a str = b"compareGroup",
        /// Groups that do not count, `,` between.
        filter_groups: Option<&'a str> = b"filterGroups",
    }
}

header! {
    /// Header of 353 (Apache `UpdateGroupForbiddenRequestHeader`).
    GroupForbiddenHeader<'a> {
        /// The group.
        group: &'a str = b"group",
        /// The topic.
        topic: &'a str = b"topic",
        /// What it is to be from now on; absent only asks.
        readable: Option<bool> = b"readable",
    }
}
