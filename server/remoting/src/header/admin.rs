//! Topics, groups and their numbers: what administrators send to brokers and name servers.

use super::header;

header! {
    /// Header of 17.
    CreateTopicHeader<'a> {
        /// The topic.
        topic: &'a str = b"topic",
        /// Legacy; clients write `TBW102`.
        default_topic: Option<&'a str> = b"defaultTopic",
        /// Queues that consumers read.
        read_queues: i32 = b"readQueueNums",
        /// Queues that producers write.
        write_queues: i32 = b"writeQueueNums",
        /// Bits: 1 inherit, 2 write, 4 read.
        perm: i32 = b"perm",
        /// `SINGLE_TAG` or `MULTI_TAG`.
        filter_type: &'a str = b"topicFilterType",
        /// Unit bits.
        sys_flag: Option<i32> = b"topicSysFlag",
        /// Whether the topic is ordered.
        order: bool = b"order",
        /// `+key=value,-key`
        attributes: Option<&'a str> = b"attributes",
    }
}

header! {
    /// Header of 202.
    TopicStatsHeader<'a> {
        /// The topic.
        topic: &'a str = b"topic",
        /// Ours: the answer says besides how much the topic holds, and what waits for it.
        held: Option<bool> = b"held",
    }
}

header! {
    /// Header of 215, 300, 351 and 217.
    TopicHeader<'a> {
        /// The topic.
        topic: &'a str = b"topic",
    }
}

header! {
    /// Header of 216.
    DeleteTopicHeader<'a> {
        /// The topic.
        topic: &'a str = b"topic",
        /// Only from this cluster's brokers.
        cluster_name: Option<&'a str> = b"clusterName",
    }
}

header! {
    /// Header of 352.
    GroupHeader<'a> {
        /// The group.
        group: &'a str = b"group",
        /// Ours: only one that exists is meant; asking makes none.
        existing: Option<bool> = b"existing",
    }
}

header! {
    /// Header of 207.
    DeleteGroupHeader<'a> {
        /// The group.
        group: &'a str = b"groupName",
        /// Its offsets go too.
        clean_offset: bool = b"cleanOffset",
    }
}

header! {
    /// Header of 208.
    ConsumeStatsHeader<'a> {
        /// The group.
        consumer_group: &'a str = b"consumerGroup",
        /// Only this topic.
        topic: Option<&'a str> = b"topic",
        /// Only these topics, `;` between (5.x).
        topics: Option<&'a str> = b"topicList",
        /// Ours: the answer says of each queue how long messages wait for the group.
        ready: Option<bool> = b"ready",
    }
}

header! {
    /// Header of 205 and 327.
    BrokerNameHeader<'a> {
        /// The broker set's name.
        broker_name: &'a str = b"brokerName",
    }
}

header! {
    /// Header of 224.
    ClusterHeader<'a> {
        /// The cluster.
        cluster: &'a str = b"cluster",
    }
}

header! {
    /// Header of 315.
    BrokerStatsHeader<'a> {
        /// What is counted, by Apache's name.
        name: &'a str = b"statsName",
        /// Of what: a topic, `topic@group`, the cluster.
        key: &'a str = b"statsKey",
    }
}

header! {
    /// Header of 317.
    BrokerConsumeStatsHeader {
        /// Only ordered topics.
        is_order: bool = b"isOrder",
    }
}
