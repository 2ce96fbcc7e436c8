//! Looking messages up: 12 by key, 33 by log offset.

use broker::Query;
use remoting::code::response;
use remoting::header::{QueryHeader, ViewHeader};

use crate::Endpoint;
use crate::ask::{Ask, Served};

pub(crate) fn by_key(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = QueryHeader::read(ask.frame)?;
    let query = Query {
        topic: header.topic,
        key: header.key,
        unique: header.unique,
        max: header.max,
        begin: header.begin,
        end: header.end,
    };
    let body_at = ask.out.len();
    let answer = endpoint.broker.query(&ask.caller(), &query, ask.out)?;
    ask.answer(answer, |ask, found| {
        ask.reply_before(body_at, response::SUCCESS)
            .number("indexLastUpdateTimestamp", found.indexed_at)
            .number("indexLastUpdatePhyoffset", found.indexed_to.0 as i64)
            .finish();
    })
}

pub(crate) fn by_offset(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = ViewHeader::read(ask.frame)?;
    let body_at = ask.out.len();
    let caller = ask.caller();
    let answer = endpoint.broker.view(&caller, header.offset, ask.out)?;
    ask.answer(answer, |ask, ()| {
        ask.reply_before(body_at, response::SUCCESS).finish();
    })
}
