//! Offsets: 14, 15, 29 to 32.

use super::header;

header! {
    /// Header of 14.
    QueryOffsetHeader<'a> {
        /// Whose offset.
        consumer_group: &'a str = b"consumerGroup",
        /// In which topic.
        topic: &'a str = b"topic",
        /// In which queue.
        queue_id: i32 = b"queueId",
        /// Whether a new group may be told 0; absent is yes.
        zero_if_not_found: Option<bool> = b"setZeroIfNotFound",
    }
}

header! {
    /// Header of 15. Queue and offset have answers of their own when they are absent.
    UpdateOffsetHeader<'a> {
        /// Whose offset.
        consumer_group: &'a str = b"consumerGroup",
        /// In which topic.
        topic: &'a str = b"topic",
        /// In which queue.
        queue_id: Option<i32> = b"queueId",
        /// The offset of the next message to consume.
        commit_offset: Option<i64> = b"commitOffset",
    }
}

header! {
    /// Header of 29.
    SearchOffsetHeader<'a> {
        /// In which topic.
        topic: &'a str = b"topic",
        /// In which queue.
        queue_id: i32 = b"queueId",
        /// Milliseconds since the Unix epoch.
        timestamp: i64 = b"timestamp",
        /// `LOWER` or `UPPER`, in any case; absent is `LOWER`.
        boundary: Option<&'a str> = b"boundaryType",
    }
}

header! {
    /// Header of 30, 31 and 32.
    QueueHeader<'a> {
        /// The topic.
        topic: &'a str = b"topic",
        /// The queue.
        queue_id: i32 = b"queueId",
    }
}

header! {
    /// Answer to 14, 29, 30 and 31.
    OffsetAnswer {
        /// The offset.
        offset: i64 = b"offset",
    }
}

header! {
    /// Answer to 32.
    TimestampAnswer {
        /// Milliseconds since the Unix epoch; -1 for none.
        timestamp: i64 = b"timestamp",
    }
}
