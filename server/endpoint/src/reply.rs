//! Replies to request messages: 324 with long names, 325 with letters; both are handed on with 326.

use broker::{Produce, Produced, Reply};
use remoting::Command;
use remoting::code::{request, response};
use remoting::header::SendHeader;

use crate::Endpoint;
use crate::ask::{Ask, Served};
use crate::send::{common_fields, produce};

pub(crate) fn reply(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = SendHeader::read_letters(ask.frame)?;
    let send = Produce {
        max_reconsume_times: None,
        ..produce(&header, false, ask.frame.body)
    };
    let queue = header.queue_id;
    let answer = (endpoint.broker).reply(&ask.caller(), header.producer_group, &send)?;
    ask.answer(answer, |ask, produced| {
        write(endpoint, ask, queue, produced.as_ref());
    })
}

fn write(endpoint: &Endpoint, ask: &mut Ask<'_>, queue: i32, produced: Option<&Produced<'_>>) {
    let mut id = Vec::new();
    let (queue, offset) = match produced {
        Some(produced) => {
            produced.push_ids(&mut id);
            (produced.queue.0 as i32, produced.queue_offset.0 as i64)
        }
        None => {
            id.push(b'0');
            (queue, 0)
        }
    };
    let reply = ask
        .reply(response::SUCCESS)
        .plain("msgId", &id)
        .number("queueId", i64::from(queue))
        .number("queueOffset", offset);
    common_fields(endpoint, reply).finish();
}

/// The reply as the client that waits for it gets it.
pub(crate) fn command(reply: &Reply) -> Command {
    Command::request(request::PUSH_REPLY_MESSAGE_TO_CLIENT)
        .with("producerGroup", &reply.group)
        .with("topic", &reply.topic)
        .with("defaultTopic", &reply.template)
        .with("defaultTopicQueueNums", reply.template_queues)
        .with("queueId", reply.queue)
        .with("sysFlag", reply.sys_flag)
        .with("bornTimestamp", reply.born_at)
        .with("flag", reply.flag)
        .with("properties", &reply.properties)
        .with("reconsumeTimes", reply.reconsume_times)
        .with("unitMode", reply.unit_mode)
        .with("bornHost", reply.born_host)
        .with("storeHost", reply.store_host)
        .with("storeTimestamp", reply.stored_at)
        .body(reply.body.clone())
}
