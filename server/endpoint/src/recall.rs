//! Delayed messages called back: 370.

use remoting::Reply;
use remoting::code::response;
use remoting::header::RecallHeader;

use crate::Endpoint;
use crate::ask::{Ask, Served};

pub(crate) fn recall(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = RecallHeader::read(ask.frame)?;
    let caller = ask.caller();
    let answer = (endpoint.broker).recall(&caller, header.topic, header.handle)?;
    ask.answer(answer, |ask, recalled| {
        let reply = ask.reply(response::SUCCESS);
        let reply = region(endpoint, reply).field("msgId", &recalled.unique_key);
        // Apache answers the same whether there was such a message or not.
        reply.flag("recalled", recalled.recalled).finish();
    })
}

/// What every answer to a recall carries, refusals too.
pub(crate) fn region<'o>(endpoint: &Endpoint, reply: Reply<'o>) -> Reply<'o> {
    reply.field("MSG_REGION", &endpoint.broker.options().region)
}
