//! Pulls: 11 and 361.

use std::time::Duration;

use broker::{Pull, Pulled, Verdict};
use model::flag::pull::{COMMIT_OFFSET, SUBSCRIPTION, SUSPEND};
use remoting::Place;
use remoting::code::{request, response};
use remoting::header::PullHeader;

use crate::Endpoint;
use crate::ask::{Ask, Served};

pub(crate) fn pull(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = PullHeader::read(ask.frame)?;
    let has = |bit| header.sys_flag & bit != 0;
    let suspend = u64::try_from(header.suspend_ms).unwrap_or(0);
    let pull = Pull {
        group: header.consumer_group,
        topic: header.topic,
        queue: header.queue_id,
        offset: header.queue_offset,
        max: header.max_msgs,
        commit: Some(header.commit_offset).filter(|&offset| has(COMMIT_OFFSET) && offset >= 0),
        suspend: has(SUSPEND).then(|| Duration::from_millis(suspend)),
        expression: has(SUBSCRIPTION).then(|| header.subscription.unwrap_or_default()),
        expression_kind: header.expression_type,
        version: header.sub_version,
        lite: ask.frame.code == request::LITE_PULL_MESSAGE,
    };
    let place = ask.leave(&endpoint.pulls);
    let answer = endpoint.broker.pull(&ask.caller(), &pull, ask.out)?;
    ask.answer(answer, |ask, pulled| write(ask, place, &pulled))
}

/// The records are there before the header, because only reading them tells where to go on.
fn write(ask: &mut Ask<'_>, place: Place<'_>, pulled: &Pulled) {
    let code = match pulled.verdict {
        Verdict::Found => response::SUCCESS,
        Verdict::NotFound => response::PULL_NOT_FOUND,
        Verdict::RetryImmediately => response::PULL_RETRY_IMMEDIATELY,
        Verdict::OffsetMoved => response::PULL_OFFSET_MOVED,
    };
    ask.reply_placed(place, code)
        .remark(pulled.status)
        .number("suggestWhichBrokerId", pulled.suggested_broker as i64)
        .number("nextBeginOffset", pulled.next.0 as i64)
        .number("minOffset", pulled.min.0 as i64)
        .number("maxOffset", pulled.max.0 as i64)
        .number("topicSysFlag", i64::from(pulled.topic_sys_flag))
        .number("groupSysFlag", i64::from(pulled.group_sys_flag))
        .finish();
}
