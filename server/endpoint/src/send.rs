//! Sends: 10 with long names, 310 with letters, 320 for batches.

use std::cell::RefCell;

use broker::{Produce, Produced, SendStatus};
use remoting::Reply;
use remoting::code::{request, response};
use remoting::header::SendHeader;

use crate::Endpoint;
use crate::ask::{Ask, Served};

thread_local! {
    /// The ids of an answer are put together here, so that no send allocates.
    static IDS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn send(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = SendHeader::read_letters(ask.frame)?;
    // C++ sends batches under 310; the flag decides.
    let batch = header.batch || ask.frame.code == request::SEND_BATCH_MESSAGE;
    let send = Produce {
        items: ask.frame.batch,
        ..produce(&header, batch, ask.frame.body)
    };
    let answer = endpoint.broker.produce(&ask.caller(), &send)?;
    let wanted = header.durability == Some(true);
    ask.answer(answer, |ask, produced| {
        write(endpoint, ask, &produced, wanted)
    })
}

/// What a header asks for.
pub(crate) fn produce<'a>(header: &SendHeader<'a>, batch: bool, body: &'a [u8]) -> Produce<'a> {
    Produce {
        group: header.producer_group,
        topic: header.topic,
        template: header.default_topic,
        template_queues: header.default_topic_queues,
        queue: header.queue_id,
        sys_flag: header.sys_flag,
        flag: header.flag,
        born_at: header.born_at,
        properties: header.properties.unwrap_or_default(),
        reconsume_times: header.reconsume_times.unwrap_or(0),
        max_reconsume_times: header.max_reconsume_times,
        unit_mode: header.unit_mode,
        batch,
        body,
        items: &[],
    }
}

fn write(endpoint: &Endpoint, ask: &mut Ask<'_>, produced: &Produced<'_>, durability: bool) {
    let code = match produced.status {
        SendStatus::Stored => response::SUCCESS,
        SendStatus::SlaveNotAvailable => response::SLAVE_NOT_AVAILABLE,
    };
    IDS.with_borrow_mut(|ids| {
        ids.clear();
        produced.push_ids(ids);
        let mut reply = ask
            .reply(code)
            .plain("msgId", ids)
            .number("queueId", i64::from(produced.queue.0))
            .number("queueOffset", produced.queue_offset.0 as i64);
        if let Some(key) = &produced.unique_key {
            reply = reply.field("transactionId", key.as_str());
        }
        if let Some(handle) = &produced.recall_handle {
            reply = reply.field("recallHandle", handle);
        }
        if durability {
            let fsynced = if produced.fsynced {
                "fsynced"
            } else {
                "page-cache"
            };
            reply = reply
                .field("durability", fsynced)
                .number("storedAt", produced.stored_at);
        }
        if produced.replayed {
            reply = reply.flag("replayed", true);
        }
        common_fields(endpoint, reply).finish();
    });
}

/// What every answer to a send carries, refusals too.
pub(crate) fn common_fields<'o>(endpoint: &Endpoint, reply: Reply<'o>) -> Reply<'o> {
    reply.fields(&endpoint.of_sends)
}
