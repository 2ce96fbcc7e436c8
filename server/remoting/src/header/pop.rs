//! Popping: 200050 to 200055.

use super::header;

header! {
    /// Header of 200050 (Apache `PopMessageRequestHeader`).
    PopHeader<'a> {
        /// Who pops.
        consumer_group: &'a str = b"consumerGroup",
        /// What.
        topic: &'a str = b"topic",
        /// From which queue; -1 is any.
        queue_id: i32 = b"queueId",
        /// At most so many messages.
        max_msgs: i32 = b"maxMsgNums",
        /// Milliseconds the messages are invisible.
        invisible_ms: i64 = b"invisibleTime",
        /// Milliseconds the request may be held.
        poll_ms: i64 = b"pollTime",
        /// The client's clock; 0 is none.
        born_at: i64 = b"bornTime",
        /// Where a new group starts: 0 at the beginning, 1 at the end.
        init_mode: i32 = b"initMode",
        /// `TAG` or `SQL92`.
        expression_type: Option<&'a str> = b"expType",
        /// The expression.
        expression: Option<&'a str> = b"exp",
        /// Pop in order.
        order: bool = b"order",
        /// The name of an attempt to pop in order.
        attempt: Option<&'a str> = b"attemptId",
        /// Ours: the request's name.
        once: Option<&'a str> = b"idempotencyKey",
    }
}

header! {
    /// Header of 200051 (Apache `AckMessageRequestHeader`).
    AckHeader<'a> {
        /// Who acks.
        consumer_group: &'a str = b"consumerGroup",
        /// The topic the message lies in.
        topic: &'a str = b"topic",
        /// Its queue.
        queue_id: i32 = b"queueId",
        /// Its receipt handle.
        receipt: &'a str = b"extraInfo",
        /// Its offset in the queue.
        offset: i64 = b"offset",
    }
}

header! {
    /// Header of 200053 (Apache `ChangeInvisibleTimeRequestHeader`).
    ChangeInvisibleHeader<'a> {
        /// Who asks.
        consumer_group: &'a str = b"consumerGroup",
        /// The topic the message lies in.
        topic: &'a str = b"topic",
        /// Its queue.
        queue_id: i32 = b"queueId",
        /// Its receipt handle.
        receipt: &'a str = b"extraInfo",
        /// Its offset in the queue.
        offset: i64 = b"offset",
        /// Milliseconds it stays invisible.
        invisible_ms: i64 = b"invisibleTime",
        /// Ours: the request's name.
        once: Option<&'a str> = b"idempotencyKey",
    }
}

header! {
    /// Header of 200054 (Apache `NotificationRequestHeader`).
    NotificationHeader<'a> {
        /// Who asks.
        consumer_group: &'a str = b"consumerGroup",
        /// What.
        topic: &'a str = b"topic",
        /// From which queue; -1 is any.
        queue_id: i32 = b"queueId",
        /// Milliseconds the request may be held.
        poll_ms: i64 = b"pollTime",
        /// The client's clock.
        born_at: i64 = b"bornTime",
        /// For a pop in order.
        order: bool = b"order",
        /// The name of the pop that is meant to come next; Apache knows one in order.
        attempt: Option<&'a str> = b"attemptId",
    }
}

header! {
    /// Header of 200055.
    PollingHeader<'a> {
        /// Whose pops.
        consumer_group: &'a str = b"consumerGroup",
        /// Of what.
        topic: &'a str = b"topic",
        /// Of which queue.
        queue_id: i32 = b"queueId",
    }
}

header! {
    /// Header of 200052.
    PeekHeader<'a> {
        /// Who peeks.
        consumer_group: &'a str = b"consumerGroup",
        /// What.
        topic: &'a str = b"topic",
        /// From which queue; -1 is any.
        queue_id: i32 = b"queueId",
        /// At most so many messages.
        max_msgs: i32 = b"maxMsgNums",
    }
}

header! {
    /// Answer to 200050, and its first four fields to every other pop.
    PopAnswer<'a> {
        /// The pop time.
        popped_at: i64 = b"popTime",
        /// Milliseconds the messages are invisible.
        invisible_ms: i64 = b"invisibleTime",
        /// The revive queue.
        revive_queue: i32 = b"reviveQid",
        /// Messages that are left.
        rest: i64 = b"restNum",
        /// For each queue its first offset.
        start_offsets: Option<&'a str> = b"startOffsetInfo",
        /// For each queue the offsets of its messages.
        offsets: Option<&'a str> = b"msgOffsetInfo",
        /// How often messages were popped in order before.
        order_counts: Option<&'a str> = b"orderCountInfo",
    }
}
