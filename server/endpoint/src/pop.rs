//! Popping: 200050 to 200055 and 200151.

mod assign;

use std::fmt::Write;

use broker::pop::Notification;
use broker::{Ack, BatchAck, ChangeInvisible, Peek, Peeked, Pop, PopVerdict, Popped, PoppedQueue};
use model::receipt::PopTopic;
use remoting::body::BatchAckRequest;
use remoting::code::response;
use remoting::header::{
    AckHeader, ChangeInvisibleHeader, NotificationHeader, PeekHeader, PollingHeader, PopHeader,
};
use remoting::server::{Again, Outcome};
use remoting::{Place, Reply};

pub(crate) use assign::{assignment, modes, set_mode};

use crate::Endpoint;
use crate::ask::{Ask, Served};

/// A pop may be held again after it was woken for a message that somebody else got.
fn caller(ask: &Ask<'_>) -> broker::Caller {
    broker::Caller {
        may_wait: ask.run.again != Some(Again::Deadline),
        ..ask.caller()
    }
}

pub(crate) fn pop(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = PopHeader::read(ask.frame)?;
    let pop = Pop {
        group: header.consumer_group,
        topic: header.topic,
        queue: header.queue_id,
        max: header.max_msgs,
        invisible: header.invisible_ms,
        poll: header.poll_ms,
        born_at: header.born_at,
        from_max: header.init_mode == 1,
        expression: header.expression,
        expression_kind: header.expression_type,
        order: header.order,
        attempt: header.once.or(header.attempt),
        once: header.once.is_some(),
        warm: ask.run.again == Some(Again::Warm),
    };
    let place = ask.leave(&endpoint.pops);
    let answer = endpoint.broker.pop(&caller(ask), &pop, ask.out)?;
    ask.answer(answer, |ask, popped| write(ask, place, &popped))
}

fn write(ask: &mut Ask<'_>, place: Place<'_>, popped: &Popped) {
    let (code, remark) = match popped.verdict {
        PopVerdict::Found => (response::SUCCESS, "FOUND"),
        PopVerdict::Timeout => (response::POLLING_TIMEOUT, "NO_MESSAGE_IN_QUEUE"),
        PopVerdict::Full => (response::POLLING_FULL, "NO_MESSAGE_IN_QUEUE"),
    };
    let (starts, offsets, counts) = infos(popped);
    let mut reply = ask
        .reply_placed(place, code)
        .remark(remark)
        .number("popTime", popped.popped_at)
        .number("invisibleTime", popped.invisible)
        .number("reviveQid", i64::from(popped.revive_queue))
        .number("restNum", popped.rest as i64)
        .field("startOffsetInfo", &starts)
        .field("msgOffsetInfo", &offsets);
    if popped.order && popped.verdict == PopVerdict::Found {
        reply = reply.field("orderCountInfo", &counts);
    }
    if popped.replayed {
        reply = reply.flag("replayed", true);
    }
    reply.finish();
}

/// `startOffsetInfo`, `msgOffsetInfo` and `orderCountInfo`: an item for each queue, from which clients
/// make receipt handles.
fn infos(popped: &Popped) -> (String, String, String) {
    let (mut starts, mut offsets, mut counts) = (String::new(), String::new(), String::new());
    for PoppedQueue {
        topic,
        queue,
        offsets: found,
    } in &popped.queues
    {
        let topic = *topic as u8;
        let between = if starts.is_empty() { "" } else { ";" };
        let start = found.first().map_or(0, |(offset, _)| *offset);
        // Writing to a string cannot fail.
        let _ = write!(starts, "{between}{topic} {queue} {start}");
        let _ = write!(offsets, "{between}{topic} {queue} ");
        for (at, (offset, count)) in found.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let _ = write!(offsets, "{comma}{offset}");
            if popped.order && *count > 0 {
                let between = if counts.is_empty() { "" } else { ";" };
                let _ = write!(counts, "{between}{topic} qo{queue}%{offset} {count}");
            }
        }
        if popped.order {
            let between = if counts.is_empty() { "" } else { ";" };
            let least = found.iter().map(|(_, count)| *count).min().unwrap_or(0);
            let _ = write!(counts, "{between}{topic} {queue} {least}");
        }
    }
    (starts, offsets, counts)
}

/// The fields of a refused pop or peek.
pub(crate) fn nothing(reply: Reply<'_>) -> Reply<'_> {
    reply
        .number("popTime", 0)
        .number("invisibleTime", 0)
        .number("reviveQid", 0)
        .number("restNum", 0)
}

pub(crate) fn ack(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = AckHeader::read(ask.frame)?;
    let ack = Ack {
        group: header.consumer_group,
        topic: header.topic,
        queue: header.queue_id,
        offset: header.offset,
        receipt: header.receipt,
    };
    let answer = endpoint.broker.ack(&ask.caller(), &ack)?;
    ask.answer(answer, |ask, done| match done {
        true => ask.success(),
        // Success all the same, as with Apache.
        false => ask.reply(response::SUCCESS).flag("held", false).finish(),
    })
}

pub(crate) fn ack_batch(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let request = ask.read::<BatchAckRequest>()?;
    let bits: Vec<Vec<u8>> = request.acks.iter().map(|ack| ack.bit_set()).collect();
    let acks: Vec<BatchAck<'_>> = (request.acks.iter().zip(&bits))
        .map(|(ack, bits)| BatchAck {
            group: &ack.group,
            topic: &ack.topic,
            which: match ack.retry.as_str() {
                "1" => PopTopic::RetryV1,
                "2" => PopTopic::RetryV2,
                _ => PopTopic::Normal,
            },
            queue: ack.queue,
            start: u64::try_from(ack.start).unwrap_or(u64::MAX),
            popped_at: ack.popped_at,
            bits,
        })
        .collect();
    let answer = endpoint.broker.ack_batch(&acks)?;
    ask.answer(answer, |ask, elsewhere| match elsewhere.as_slice() {
        [] => ask.success(),
        some => {
            let some = some
                .iter()
                .map(|(place, offset)| format!("{place} {offset}"));
            let some = some.collect::<Vec<_>>().join(";");
            ask.reply(response::SUCCESS)
                .field("notHeld", &some)
                .finish();
        }
    })
}

pub(crate) fn change_invisible(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = ChangeInvisibleHeader::read(ask.frame)?;
    let change = ChangeInvisible {
        ack: Ack {
            group: header.consumer_group,
            topic: header.topic,
            queue: header.queue_id,
            offset: header.offset,
            receipt: header.receipt,
        },
        invisible: header.invisible_ms,
        once: header.once,
    };
    let answer = (endpoint.broker).change_invisible(&ask.caller(), &change)?;
    ask.answer(answer, |ask, changed| {
        let reply = ask
            .reply(response::SUCCESS)
            .number("popTime", changed.popped_at)
            .number("invisibleTime", changed.invisible)
            .number("reviveQid", i64::from(changed.revive_queue));
        match (changed.held, changed.replayed) {
            (false, _) => reply.flag("held", false).finish(),
            (true, true) => reply.flag("replayed", true).finish(),
            (true, false) => reply.finish(),
        }
    })
}

pub(crate) fn notification(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = NotificationHeader::read(ask.frame)?;
    let notification = Notification {
        group: header.consumer_group,
        topic: header.topic,
        queue: header.queue_id,
        poll: header.poll_ms,
        born_at: header.born_at,
        order: header.order,
        attempt: header.attempt,
    };
    let answer = (endpoint.broker).notification(&caller(ask), &notification)?;
    ask.answer(answer, |ask, notified| {
        ask.reply(response::SUCCESS)
            .flag("hasMsg", notified.has_message)
            .flag("pollingFull", notified.full)
            .finish();
    })
}

pub(crate) fn polling(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = PollingHeader::read(ask.frame)?;
    let (group, topic) = (header.consumer_group, header.topic);
    let waiting = (endpoint.broker).polling(&ask.caller(), group, topic, header.queue_id)?;
    ask.reply(response::SUCCESS)
        .number("pollingNum", waiting as i64)
        .finish();
    Ok(Outcome::Done)
}

pub(crate) fn peek(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = PeekHeader::read(ask.frame)?;
    let peek = Peek {
        group: header.consumer_group,
        topic: header.topic,
        queue: header.queue_id,
        max: header.max_msgs,
    };
    let body_at = ask.out.len();
    let answer = endpoint.broker.peek(&ask.caller(), &peek, ask.out)?;
    ask.answer(answer, |ask, Peeked { count, rest }| {
        let (code, remark) = match count {
            0 => (response::PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE"),
            _ => (response::SUCCESS, "FOUND"),
        };
        ask.reply_before(body_at, code)
            .remark(remark)
            .number("popTime", 0)
            .number("invisibleTime", 0)
            .number("reviveQid", 0)
            .number("restNum", rest as i64)
            .finish();
    })
}
