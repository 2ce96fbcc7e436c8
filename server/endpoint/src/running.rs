//! Tools that ask running consumers: 223, 307, 309.

use broker::{Answer, ConsumeDirectly, Told};
use remoting::body;
use remoting::header::{ConsumeDirectlyHeader, ConsumerStatusHeader, RunningInfoHeader};

use crate::Endpoint;
use crate::ask::{Ask, Served};

pub(crate) fn info(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = RunningInfoHeader::read(ask.frame)?;
    let (group, client) = (header.consumer_group, header.client_id);
    let caller = ask.caller();
    let answer = (endpoint.broker).running_info(&caller, group, client, header.jstack)?;
    pass_on(ask, answer)
}

pub(crate) fn consume(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = ConsumeDirectlyHeader::read(ask.frame)?;
    let wanted = ConsumeDirectly {
        group: header.consumer_group,
        client: header.client_id.unwrap_or_default(),
        message: header.msg_id.unwrap_or_default(),
        topic: header.topic.unwrap_or_default(),
    };
    let answer = endpoint.broker.consume_directly(&ask.caller(), &wanted)?;
    pass_on(ask, answer)
}

/// A client's answer as it is: its body is no JSON that we would have to read.
fn pass_on(ask: &mut Ask<'_>, answer: Answer<Told>) -> Served {
    ask.answer(answer, |ask, told| {
        let mut reply = ask.reply(told.code);
        if let Some(remark) = &told.remark {
            reply = reply.remark(remark);
        }
        reply.body_bytes(&told.body);
    })
}

pub(crate) fn status(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = ConsumerStatusHeader::read(ask.frame)?;
    let client = header.client.filter(|client| !client.is_empty());
    let caller = ask.caller();
    let answer = (endpoint.broker).consumer_status(&caller, header.group, header.topic, client)?;
    ask.answer(answer, |ask, told| {
        // Java leaves an empty table out of its answer.
        let table = told.into_iter().map(|(client, told)| {
            let offsets: body::QueueOffsets = body::from_slice(&told.body).unwrap_or_default();
            (client, offsets.message_queue_table)
        });
        let status = body::ConsumerStatus {
            consumer_table: table.collect(),
        };
        ask.write_body(&status);
    })
}
