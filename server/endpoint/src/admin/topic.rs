//! Topics: 17, 18, 21, 202, 215, 300, 305, 351.

use remoting::body::{self, GroupList, TopicConfig, TopicConfigList, TopicConfigTable, TopicList};
use remoting::code::response;
use remoting::header::{CreateTopicHeader, TopicHeader, TopicStatsHeader};

use crate::Endpoint;
use crate::ask::{Ask, Served};
use crate::{from, to};

pub(crate) fn update(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = CreateTopicHeader::read(ask.frame)?;
    let change = from::topic_header(&header)?;
    let answer = endpoint.broker.update_topics(&ask.caller(), &[change])?;
    ask.answer(answer, |ask, ()| ask.success())
}

pub(crate) fn update_list(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let list = ask.read::<TopicConfigList>()?.topic_config_list;
    let changes = list.into_iter().map(from::topic_config);
    let changes = changes.collect::<Result<Vec<_>, _>>()?;
    let answer = endpoint.broker.update_topics(&ask.caller(), &changes)?;
    ask.answer(answer, |ask, ()| ask.success())
}

pub(crate) fn delete(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let topic = from::topic_name(ask.frame.ext.get("topic"))?;
    let answer = endpoint.broker.delete_topic(&ask.caller(), topic)?;
    ask.answer(answer, |ask, ()| ask.success())
}

pub(crate) fn one(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = TopicHeader::read(ask.frame)?;
    let config = endpoint.broker.topic(header.topic)?;
    ask.body(&TopicConfig::from(&config))
}

pub(crate) fn all(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    endpoint.cold_body(ask, true, |broker| {
        let (topics, version) = broker.topics();
        let table = TopicConfigTable::new(version, &topics);
        body::to_vec(&table)
    })
}

pub(crate) fn system(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let topics = endpoint.broker.system_topics();
    ask.body(&TopicList {
        broker_addr: None,
        topic_list: topics.iter().map(ToString::to_string).collect(),
    })
}

pub(crate) fn stats(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = TopicStatsHeader::read(ask.frame)?;
    let held = header.held.unwrap_or_default();
    let answer = (endpoint.broker).topic_stats(&ask.caller(), header.topic, held)?;
    ask.answer(answer, |ask, stats| {
        let mut reply = ask.reply(response::SUCCESS);
        if let Some(held) = stats.held {
            reply = reply
                .number("bytes", held.bytes.cast_signed())
                .number("scheduled", held.scheduled.cast_signed())
                .number("half", held.half.cast_signed());
        }
        reply.body(|out| body::write(&to::topic_stats(&stats), body::Dialect::Standard, out));
    })
}

pub(crate) fn consumed_by(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = TopicHeader::read(ask.frame)?;
    let groups = endpoint.broker.consumed_by(header.topic);
    ask.body(&GroupList {
        group_list: groups.iter().map(ToString::to_string).collect(),
    })
}
