//! Offsets: committed ones (14, 15, 43), and those of queues (29 to 32).

use std::collections::BTreeMap;

use broker::{Boundary, Commit};
use remoting::body::ConsumerOffsets;
use remoting::code::response;
use remoting::header::{QueryOffsetHeader, QueueHeader, SearchOffsetHeader, UpdateOffsetHeader};
use remoting::server::Outcome;

use crate::Endpoint;
use crate::ask::{Ask, Served};

pub(crate) fn query(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = QueryOffsetHeader::read(ask.frame)?;
    let answer = endpoint.broker.offset(
        &ask.caller(),
        header.consumer_group,
        header.topic,
        header.queue_id,
        header.zero_if_not_found.unwrap_or(true),
    )?;
    ask.answer(answer, |ask, offset| number(ask, "offset", offset))
}

pub(crate) fn update(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = UpdateOffsetHeader::read(ask.frame)?;
    let answer = endpoint.broker.set_offset(
        &ask.caller(),
        header.consumer_group,
        header.topic,
        header.queue_id,
        header.commit_offset,
    )?;
    ask.answer(answer, |ask, commit| {
        let reply = ask.reply(response::SUCCESS);
        match commit {
            Commit::Done => reply.empty_fields().finish(),
            Commit::Reset => reply
                .remark("Offset has been previously reset")
                .empty_fields()
                .finish(),
        }
    })
}

pub(crate) fn search(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = SearchOffsetHeader::read(ask.frame)?;
    let upper = |text: &str| text.eq_ignore_ascii_case("upper");
    let boundary = match header.boundary {
        Some(text) if upper(text) => Boundary::Upper,
        _ => Boundary::Lower,
    };
    let (topic, queue, time) = (header.topic, header.queue_id, header.timestamp);
    let caller = ask.caller();
    let answer = (endpoint.broker).offset_at(&caller, topic, queue, time, boundary)?;
    ask.answer(answer, |ask, offset| number(ask, "offset", offset))
}

pub(crate) fn max(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = QueueHeader::read(ask.frame)?;
    let offset = endpoint.broker.max_offset(header.topic, header.queue_id);
    number(ask, "offset", offset);
    Ok(Outcome::Done)
}

pub(crate) fn min(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = QueueHeader::read(ask.frame)?;
    let offset = endpoint.broker.min_offset(header.topic, header.queue_id);
    number(ask, "offset", offset);
    Ok(Outcome::Done)
}

pub(crate) fn earliest(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = QueueHeader::read(ask.frame)?;
    let (topic, queue) = (header.topic, header.queue_id);
    let caller = ask.caller();
    let answer = endpoint.broker.earliest_stored_at(&caller, topic, queue)?;
    ask.answer(answer, |ask, time| number(ask, "timestamp", time))
}

fn number(ask: &mut Ask<'_>, name: &str, value: i64) {
    ask.reply(response::SUCCESS).number(name, value).finish();
}

/// What a slave of Apache copies from its master.
pub(crate) fn all(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    endpoint.cold_body(ask, false, |broker| {
        let (offsets, version) = broker.offsets();
        let mut table = ConsumerOffsets {
            data_version: version.into(),
            ..ConsumerOffsets::default()
        };
        for entry in offsets {
            let queues: BTreeMap<i32, i64> = (entry.offsets.iter())
                .map(|&(queue, offset)| (queue as i32, offset))
                .collect();
            let key = format!("{}@{}", entry.topic, entry.group);
            table.offset_table.insert(key, queues);
            let topics = table.group_topic_map.entry(entry.group).or_default();
            topics.push(entry.topic);
        }
        remoting::body::to_vec(&table)
    })
}
