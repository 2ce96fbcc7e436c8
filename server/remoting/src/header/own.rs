//! What only Posthouse serves: 310000 to 310013.

use super::header;

header! {
    /// Header of 310000 and 310001.
    ListHeader<'a> {
        /// The topic the messages go to.
        topic: &'a str = b"topic",
        /// The `next` of an earlier answer: go on behind it.
        after: Option<&'a str> = b"after",
        /// At most so many.
        max: Option<i32> = b"max",
    }
}

header! {
    /// Header of 310002: a half message by its first place, as the answer to its send said it.
    TransactionStateHeader<'a> {
        /// The group that sent the half message.
        producer_group: &'a str = b"producerGroup",
        /// Where it lies in its queue.
        queue_offset: i64 = b"tranStateTableOffset",
        /// Where it lies in the log.
        log_offset: i64 = b"commitLogOffset",
    }
}

header! {
    /// Answer to 310002.
    TransactionStateAnswer<'a> {
        /// `pending`, `committed`, `rolled-back` or `timed-out`.
        state: &'a str = b"state",
        /// How often its producers were asked; of a pending one only.
        checks: Option<i32> = b"checks",
        /// When it is rolled back by itself, milliseconds since the Unix epoch; of one with a deadline.
        expires_at: Option<i64> = b"expiresAt",
    }
}

header! {
    /// Header of 310003: a leased message is given back.
    ReleaseHeader<'a> {
        /// Who leased it.
        consumer_group: &'a str = b"consumerGroup",
        /// The topic it lies in: it may be a retry topic.
        topic: &'a str = b"topic",
        /// Its queue.
        queue_id: i32 = b"queueId",
        /// Its receipt handle.
        receipt: &'a str = b"extraInfo",
        /// Its offset in the queue.
        offset: i64 = b"offset",
        /// Milliseconds until it may be popped again.
        delay_ms: i64 = b"delay",
        /// Whether this delivery counts as an attempt.
        count_attempt: bool = b"countAttempt",
    }
}

header! {
    /// Header of 310004: a leased message is a dead letter now.
    DeadLetterHeader<'a> {
        /// Who leased it.
        consumer_group: &'a str = b"consumerGroup",
        /// The topic it lies in: it may be a retry topic.
        topic: &'a str = b"topic",
        /// Its queue.
        queue_id: i32 = b"queueId",
        /// Its receipt handle.
        receipt: &'a str = b"extraInfo",
        /// Its offset in the queue.
        offset: i64 = b"offset",
        /// Why, for whoever reads the dead letter.
        reason: Option<&'a str> = b"reason",
    }
}

header! {
    /// Answer to 310003 and 310004.
    LeaseAnswer {
        /// Whether the message was out on that lease. If not, nothing was done.
        held: bool = b"held",
    }
}

header! {
    /// Header of 310005: a group's dead letters are sent again.
    RedriveHeader<'a> {
        /// Whose.
        consumer_group: &'a str = b"consumerGroup",
        /// Where to; by default each to the topic it came from.
        to: Option<&'a str> = b"to",
        /// Only those that came from this topic.
        from: Option<&'a str> = b"from",
        /// At most so many.
        limit: Option<i64> = b"limit",
        /// So many a second at most.
        per_second: Option<i32> = b"perSecond",
        /// The request's name.
        once: Option<&'a str> = b"idempotencyKey",
    }
}

header! {
    /// Header of 310006: a group's dead letters are given up.
    PurgeHeader<'a> {
        /// Whose.
        consumer_group: &'a str = b"consumerGroup",
        /// Only those stored before this, milliseconds since the Unix epoch.
        before: Option<i64> = b"before",
        /// The request's name.
        once: Option<&'a str> = b"idempotencyKey",
    }
}

header! {
    /// Header of 310007 and 310008.
    OperationHeader<'a> {
        /// The operation.
        id: &'a str = b"operation",
    }
}

header! {
    /// Header of 310010: what of a topic a group has out on leases.
    LeasesHeader<'a> {
        /// The group.
        consumer_group: &'a str = b"consumerGroup",
        /// The topic.
        topic: &'a str = b"topic",
    }
}

header! {
    /// Header of 310012 and 310013: the checkers of a topic, or of all.
    CheckersHeader<'a> {
        /// The topic; none only in 310012.
        topic: Option<&'a str> = b"topic",
    }
}
