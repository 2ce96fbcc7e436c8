//! Groups are sent to other offsets: 222, which may become 220, and 314.

use broker::{MessageQueue, Reset};
use remoting::body::{self, QueueMap};
use remoting::code::request;
use remoting::header::{CloneOffsetHeader, ResetOffsetHeader};
use remoting::{Command, Language};

use crate::ask::{Ask, Served};
use crate::{Endpoint, to};

pub(crate) fn reset(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = ResetOffsetHeader::read(ask.frame)?;
    let reset = Reset {
        group: header.group,
        topic: header.topic,
        queue: header.queue_id.unwrap_or(-1),
        offset: header.offset.filter(|&offset| offset != -1),
        time: header.timestamp,
        force: header.force,
        as_list: ask.frame.language == Language::Cpp,
    };
    let answer = endpoint.broker.reset_offsets(&ask.caller(), &reset)?;
    ask.answer(answer, |ask, offsets| ask.write_body(&map(&offsets)))
}

pub(crate) fn clone(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = CloneOffsetHeader::read(ask.frame)?;
    let (from, to) = (header.source, header.target);
    let answer = (endpoint.broker).clone_offsets(from, to, header.topic, header.offline)?;
    ask.answer(answer, |ask, ()| ask.success())
}

fn map(offsets: &[(MessageQueue, i64)]) -> body::ResetOffsets {
    let offsets = offsets.iter();
    body::ResetOffsets {
        offset_table: offsets
            .map(|(queue, offset)| (to::queue(queue), *offset))
            .collect::<QueueMap<i64>>(),
    }
}

/// What the members of a group are told.
pub(crate) fn command(
    group: &str,
    topic: &str,
    time: i64,
    offsets: &[(MessageQueue, i64)],
    as_list: bool,
) -> Command {
    let command = Command::request(request::RESET_CONSUMER_CLIENT_OFFSET)
        .oneway()
        .with("topic", topic)
        .with("group", group)
        .with("timestamp", time)
        .with("isForce", true);
    if !as_list {
        return command.body(body::to_vec(&map(offsets)));
    }
    let offsets = offsets.iter().map(|(queue, offset)| body::QueueOffset {
        broker_name: queue.broker.clone(),
        offset: *offset,
        queue_id: queue.queue,
        topic: queue.topic.clone(),
    });
    command.body(body::to_vec(&body::ResetOffsetList {
        offset_table: offsets.collect(),
    }))
}
