use std::collections::BTreeMap;

use model::group::GroupConfig;
use model::{GroupName, TopicName};

use super::register::RegisterBroker;
use super::*;

fn topics() -> RegisterBroker {
    let mut register = RegisterBroker::default();
    let table = &mut register.topic_config_serialize_wrapper;
    table.data_version = DataVersion {
        counter: 3,
        state_version: 1,
        timestamp: 1_700_000_000_000,
    };
    for (n, name) in ["A", "%RETRY%g", "C"].into_iter().enumerate() {
        let config = TopicConfig {
            topic_name: name.to_owned(),
            read_queue_nums: n as u32 + 1,
            attributes: BTreeMap::from([("queue.type".to_owned(), "Simple CQ".to_owned())]),
            ..TopicConfig::default()
        };
        table.topic_config_table.insert(name.to_owned(), config);
    }
    register
}

#[test]
fn a_registration_survives_both_forms() {
    let register = topics();
    let json = RegisterBroker::read(&register.to_json(), 479).unwrap();
    assert_eq!(json, register);
    let compressed = register.to_compressed().unwrap();
    for version in [399, 413, 479] {
        assert_eq!(
            RegisterBroker::read(&compressed, version).unwrap(),
            register
        );
    }
    let wrapper = to_vec(&register.topic_config_serialize_wrapper);
    assert_eq!(RegisterBroker::read(&wrapper, 36).unwrap(), register);
}

#[test]
fn a_broken_compressed_registration_is_an_error() {
    let compressed = topics().to_compressed().unwrap();
    for cut in 1..compressed.len() {
        assert!(
            RegisterBroker::read(&compressed[..cut], 479).is_err(),
            "{cut}"
        );
    }
}

#[test]
fn configurations_survive_the_way_to_the_model_and_back() {
    let mut topic = model::topic::TopicConfig::new(TopicName::parse("t").unwrap(), 3);
    topic.order = true;
    topic.attributes.insert("k".into(), "v".into());
    assert_eq!(
        model::topic::TopicConfig::try_from(&TopicConfig::from(&topic)),
        Ok(topic)
    );
    let mut group = GroupConfig::new(GroupName::parse("g").unwrap());
    group.consume_broadcast_enable = false;
    group.retry_policy.customized = Some(vec![1000, 5000]);
    assert_eq!(
        GroupConfig::try_from(&SubscriptionGroupConfig::from(&group)),
        Ok(group)
    );
    let bad = TopicConfig {
        topic_name: "../x".to_owned(),
        ..TopicConfig::default()
    };
    assert!(model::topic::TopicConfig::try_from(&bad).is_err());
}

/// What a field left out means: Java's class defaults, not false and zero.
#[test]
fn a_group_with_only_a_name_has_javas_defaults() {
    let config: SubscriptionGroupConfig = from_slice(br#"{"groupName":"g"}"#).unwrap();
    let model = GroupConfig::new(GroupName::parse("g").unwrap());
    assert_eq!(GroupConfig::try_from(&config), Ok(model));
    let text = String::from_utf8(to_vec(&config)).unwrap();
    assert_eq!(
        text,
        r#"{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"g","groupRetryPolicy":{"type":"CUSTOMIZED"},"groupSysFlag":0,"notifyConsumerIdsChangedEnable":true,"retryMaxTimes":16,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}"#
    );
}

#[test]
fn a_batch_is_walked_and_written() {
    let items = [
        batch::Item {
            flag: 0,
            body: b"one",
            properties: "K\u{1}1\u{2}",
            checksum: 5,
            known: None,
        },
        batch::Item {
            flag: -7,
            body: b"",
            properties: "",
            checksum: 0,
            known: None,
        },
    ];
    let mut body = Vec::new();
    assert!(items.iter().all(|item| batch::push(&mut body, item)));
    let read: Result<Vec<_>, _> = batch::items(&body).collect();
    assert_eq!(read.unwrap(), items);
    assert_eq!(batch::items(b"").count(), 0);
    let mut garbage = batch::items(b"garbage");
    assert_eq!(garbage.next(), Some(Err(batch::BatchError(0))));
    assert_eq!(garbage.next(), None);
    for cut in 1..body.len() {
        let whole = batch::items(&body[..cut]).all(|item| item.is_ok());
        let first = 20 + 3 + 2 + 4;
        assert_eq!(whole, cut == first, "{cut}");
    }
}
