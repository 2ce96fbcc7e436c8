//! Groups: 200, 201, 207, 208, 225, 352.

use model::group::GroupConfig;
use remoting::body::{SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupTable};
use remoting::header::{ConsumeStatsHeader, DeleteGroupHeader, GroupHeader};

use crate::Endpoint;
use crate::ask::{Ask, Refused, Served};
use crate::to;

pub(crate) fn update(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let config = ask.read::<SubscriptionGroupConfig>()?;
    update_all(endpoint, ask, &[config])
}

pub(crate) fn update_list(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let list = ask.read::<SubscriptionGroupList>()?;
    update_all(endpoint, ask, &list.group_config_list)
}

fn update_all(
    endpoint: &Endpoint,
    ask: &mut Ask<'_>,
    configs: &[SubscriptionGroupConfig],
) -> Served {
    let checked = |config| {
        GroupConfig::try_from(config).map_err(|error| Refused::Broker(broker::Error::Name(error)))
    };
    let configs = configs.iter().map(checked).collect::<Result<Vec<_>, _>>()?;
    let answer = endpoint.broker.update_groups(&ask.caller(), &configs)?;
    ask.answer(answer, |ask, ()| ask.success())
}

pub(crate) fn delete(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = DeleteGroupHeader::read(ask.frame)?;
    let (group, clean) = (header.group, header.clean_offset);
    let answer = endpoint.broker.delete_group(&ask.caller(), group, clean)?;
    ask.answer(answer, |ask, ()| ask.success())
}

pub(crate) fn one(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = GroupHeader::read(ask.frame)?;
    let existing = header.existing.unwrap_or_default();
    let answer = (endpoint.broker).group(&ask.caller(), header.group, existing)?;
    ask.answer(answer, |ask, config| {
        ask.write_body(&SubscriptionGroupConfig::from(&config));
    })
}

pub(crate) fn all(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    endpoint.cold_body(ask, false, |broker| {
        let (groups, version) = broker.groups();
        let groups = groups.iter();
        let forbidden = broker.forbidden_topics();
        let table = SubscriptionGroupTable {
            data_version: version.into(),
            subscription_group_table: groups
                .map(|group| (group.name.to_string(), group.into()))
                .collect(),
            // Apache's number of the permission to read is 2.
            forbidden_table: (forbidden.iter())
                .map(|(group, topics)| {
                    let topics = topics.iter().map(|topic| (topic.to_string(), 1 << 2));
                    (group.to_string(), topics.collect())
                })
                .collect(),
        };
        remoting::body::to_vec(&table)
    })
}

pub(crate) fn stats(endpoint: &Endpoint, ask: &mut Ask<'_>) -> Served {
    let header = ConsumeStatsHeader::read(ask.frame)?;
    let listed = header.topics.unwrap_or_default().split(';');
    let topics: Vec<&str> = header
        .topic
        .into_iter()
        .chain(listed)
        .filter(|topic| !topic.is_empty())
        .collect();
    let group = header.consumer_group;
    let ready = header.ready.unwrap_or_default();
    let answer = (endpoint.broker).consume_stats(&ask.caller(), group, &topics, ready)?;
    ask.answer(answer, |ask, stats| {
        ask.write_body(&to::consume_stats(&stats));
    })
}
