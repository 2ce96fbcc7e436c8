//! Pulling: 11 and 361.

use super::header;

header! {
    /// Header of 11 and 361 (Apache `PullMessageRequestHeader`).
    PullHeader<'a> {
        /// Who pulls.
        consumer_group: &'a str = b"consumerGroup",
        /// What.
        topic: &'a str = b"topic",
        /// From which queue.
        queue_id: i32 = b"queueId",
        /// The first offset wanted.
        queue_offset: i64 = b"queueOffset",
        /// At most so many messages.
        max_msgs: i32 = b"maxMsgNums",
        /// See [`model::flag::pull`].
        sys_flag: i32 = b"sysFlag",
        /// The group's offset, if the system flag says so.
        commit_offset: i64 = b"commitOffset",
        /// Milliseconds the request may be held.
        suspend_ms: i64 = b"suspendTimeoutMillis",
        /// The expression, if the system flag says so.
        subscription: Option<&'a str> = b"subscription",
        /// The version of the subscription.
        sub_version: i64 = b"subVersion",
        /// `TAG` or `SQL92`.
        expression_type: Option<&'a str> = b"expressionType",
        /// At most so many bytes (5.x).
        max_bytes: Option<i32> = b"maxMsgBytes",
    }
}

header! {
    /// Answer to a pull, for the codes 0, 19, 20 and 21.
    PullAnswer {
        /// The broker id to pull from next; 0 is the master.
        suggested_broker: i64 = b"suggestWhichBrokerId",
        /// The offset to pull next.
        next_offset: i64 = b"nextBeginOffset",
        /// The queue's start.
        min_offset: i64 = b"minOffset",
        /// The queue's end.
        max_offset: i64 = b"maxOffset",
    }
}
