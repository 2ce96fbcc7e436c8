//! Transactions: 37 from the producer, 39 to it, 323 from an administrator.

use super::header;

header! {
    /// Header of 37. 4.9 and Go leave the topic out; a 5.x producer that was asked by a 39 sends the
    /// topic of that.
    EndTransactionHeader<'a> {
        /// The group that sent the half message.
        producer_group: &'a str = b"producerGroup",
        /// Where the half message lies in its queue.
        queue_offset: i64 = b"tranStateTableOffset",
        /// Where the half message lies in the log.
        log_offset: i64 = b"commitLogOffset",
        /// 8 commit, 12 rollback, 0 not known yet.
        decision: i32 = b"commitOrRollback",
        /// The answer to a 39.
        from_check: bool = b"fromTransactionCheck",
        /// The message's `UNIQ_KEY`.
        msg_id: Option<&'a str> = b"msgId",
        /// The same.
        transaction_id: Option<&'a str> = b"transactionId",
    }
}

header! {
    /// Header of 39; the half message is the body.
    CheckTransactionHeader<'a> {
        /// `RMQ_SYS_TRANS_HALF_TOPIC`, to every client.
        topic: Option<&'a str> = b"topic",
        /// Where the half message lies in its queue.
        queue_offset: i64 = b"tranStateTableOffset",
        /// Where the half message lies in the log.
        log_offset: i64 = b"commitLogOffset",
        /// The message's `UNIQ_KEY`.
        msg_id: Option<&'a str> = b"msgId",
        /// The same.
        transaction_id: Option<&'a str> = b"transactionId",
        /// The id that says where the half message lies.
        offset_msg_id: Option<&'a str> = b"offsetMsgId",
        /// The broker that asks.
        broker_name: Option<&'a str> = b"bname",
    }
}

header! {
    /// Header of 323.
    ResumeCheckHeader<'a> {
        /// The real topic.
        topic: Option<&'a str> = b"topic",
        /// The id that says where the message lies.
        msg_id: &'a str = b"msgId",
    }
}
