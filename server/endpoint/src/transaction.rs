//! Transactions: 37 from a producer, 39 to it, 323 from an administrator.

use broker::{Decision, EndTransaction, HalfCheck};
use model::flag::sys;
use model::id::push_offset_id;
use remoting::Command;
use remoting::code::request;
use remoting::header::{CheckTransactionHeader, EndTransactionHeader, ResumeCheckHeader};
use remoting::server::Outcome;

use crate::Endpoint;
use crate::ask::{Ask, Served};

/// The topic of half messages, as clients are told it.
const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";

pub(crate) fn end(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = EndTransactionHeader::read(ask.frame)?;
    let decision = match header.decision {
        sys::TRANSACTION_COMMIT => Decision::Commit,
        sys::TRANSACTION_ROLLBACK => Decision::Rollback,
        // Not known yet: no answer at all, as from Apache's broker.
        _ => return Ok(Outcome::Done),
    };
    let end = EndTransaction {
        group: header.producer_group,
        queue_offset: header.queue_offset,
        log_offset: header.log_offset,
        decision,
        from_check: header.from_check,
    };
    let answer = endpoint.broker.end_transaction(&ask.caller(), &end)?;
    ask.answer(answer, |ask, ()| ask.success())
}

pub(crate) fn resume(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = ResumeCheckHeader::read(ask.frame)?;
    let answer = (endpoint.broker).resume_transaction(&ask.caller(), header.msg_id)?;
    ask.answer(answer, |ask, ()| ask.success())
}

/// The question to a producer.
pub(crate) fn check(check: &HalfCheck) -> Command {
    let mut id = String::new();
    push_offset_id(&mut id, check.store_host, check.log_offset);
    let header = CheckTransactionHeader {
        topic: Some(HALF_TOPIC),
        queue_offset: check.queue_offset.0 as i64,
        log_offset: check.log_offset.0 as i64,
        msg_id: Some(&check.unique_key),
        transaction_id: Some(&check.unique_key),
        offset_msg_id: Some(&id),
        broker_name: Some(&check.broker),
    };
    let command = Command::request(request::CHECK_TRANSACTION_STATE).oneway();
    header.fill(command).body(check.record.clone())
}

#[cfg(test)]
mod tests {
    use model::{LogOffset, QueueOffset};

    use super::*;

    /// Field by field the one that was recorded of Apache's broker, to every client alike.
    #[test]
    fn a_check_is_a_oneway_39_with_the_recorded_fields() {
        let command = check(&HalfCheck {
            queue_offset: QueueOffset(3),
            log_offset: LogOffset(14_695),
            store_host: "127.0.0.1:20911".parse().unwrap(),
            unique_key: "7F000001500B4E0E2F2A7964BAB8000C".to_owned(),
            broker: "broker-a".to_owned(),
            record: b"record".to_vec(),
        });
        assert_eq!((command.code, command.flag), (39, 2));
        assert_eq!(command.body, b"record");
        let key = "7F000001500B4E0E2F2A7964BAB8000C";
        for (name, value) in [
            ("bname", "broker-a"),
            ("commitLogOffset", "14695"),
            ("topic", "RMQ_SYS_TRANS_HALF_TOPIC"),
            ("msgId", key),
            ("tranStateTableOffset", "3"),
            ("offsetMsgId", "7F000001000051AF0000000000003967"),
            ("transactionId", key),
        ] {
            assert_eq!(command.field(name), Some(value), "{name}");
        }
        assert_eq!(command.ext.map(|fields| fields.len()), Some(7));
    }
}
