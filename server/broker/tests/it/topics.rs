//! Topics and groups: what exists at start, what may be changed, what is registered.

use std::collections::BTreeMap;

use broker::{AskedFor, Error, topic::attributes};
use model::flag::Perm;
use model::group::GroupConfig;
use model::{GroupName, NameError};

use crate::house::{House, caller, consumer, message};

/// What a recorded broker of Apache 5.3.3 told its name server first.
#[test]
fn the_first_registration_is_apaches() {
    let house = House::with(|options| options.trace_topic = true);
    let recorded: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(include_str!("../../testdata/first-registration.json")).unwrap();
    let registration = house.broker.registration();
    let ours: BTreeMap<String, serde_json::Value> = (registration.topics.iter())
        .map(|topic| {
            let json = serde_json::json!({
                "attributes": topic.attributes,
                "order": topic.order,
                "perm": topic.perm.0,
                "readQueueNums": topic.read_queues,
                "topicFilterType": topic.filter.as_str(),
                "topicName": topic.name.as_str(),
                "topicSysFlag": topic.sys_flag,
                "writeQueueNums": topic.write_queues,
            });
            (topic.name.to_string(), json)
        })
        .collect();
    assert_eq!(ours, recorded);
    assert_eq!(registration.version.counter, 0);
}

#[test]
fn what_exists_at_start_follows_the_options() {
    let house = House::with(|options| {
        options.auto_create_topics = false;
        options.cluster_topic = false;
        options.default_topic_queues = 3;
    });
    assert!(house.broker.topic("TBW102").is_err());
    assert!(house.broker.topic("RMQ_SYS_TRACE_TOPIC").is_err());
    assert_eq!(house.broker.topic("DefaultCluster").unwrap().perm, Perm(1));
    let house = House::with(|options| options.default_topic_queues = 3);
    assert_eq!(house.broker.topic("TBW102").unwrap().write_queues, 3);
    let groups: Vec<String> = house
        .broker
        .groups()
        .0
        .iter()
        .map(|group| group.name.to_string())
        .collect();
    assert_eq!(
        groups,
        [
            "CID_ONS-HTTP-PROXY",
            "CID_ONSAPI_OWNER",
            "CID_ONSAPI_PERMISSION",
            "CID_ONSAPI_PULL",
            "CID_RMQ_SYS_TRANS",
            "FILTERSRV_CONSUMER",
            "SELF_TEST_C_GROUP",
            "TOOLS_CONSUMER",
        ]
    );
}

#[test]
fn the_brokers_own_topics_are_neither_changed_nor_deleted() {
    let house = House::new();
    for topic in house.broker.system_topics() {
        let text = format!("The topic[{topic}] is conflict with system topic.");
        assert_eq!(
            house
                .create(topic.as_str(), |_| ())
                .unwrap_err()
                .to_string(),
            text
        );
        let deleted = house.run(caller(9), |c| house.broker.delete_topic(c, topic.as_str()));
        assert_eq!(deleted.unwrap_err().to_string(), text);
    }
    assert!(house.create("rmq_sys_mine", |_| ()).is_err());
    let open = House::with(|options| options.protect_system_topics = false);
    open.create("TBW102", |topic| topic.perm = Perm(7)).unwrap();
    assert!(
        open.create("rmq_sys_POSTHOUSE_TABLES", |_| ()).is_err(),
        "whatever the options say"
    );
    let listed = house.broker.system_topics();
    let listed: Vec<&str> = listed.iter().map(|topic| topic.as_str()).collect();
    for topic in [
        "TBW102",
        "CHECKPOINT_TOPIC",
        "broker-a",
        "DefaultCluster_REPLY_TOPIC",
    ] {
        assert!(listed.contains(&topic), "{topic}");
    }
}

#[test]
fn every_change_is_registered_at_once_under_a_new_version() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    house.create("t", |_| ()).unwrap();
    house.create("t", |topic| topic.write_queues = 2).unwrap();
    house.put("auto", 0, "x", "");
    house.beat(2, "c", vec![consumer("g", &[("t", "*", 1)])]);
    house
        .run(caller(9), |caller| house.broker.delete_topic(caller, "t"))
        .unwrap();
    house
        .run(caller(9), |caller| house.broker.delete_topic(caller, "t"))
        .unwrap();
    assert_eq!(
        house.registered(),
        [
            "+t 4/4 perm 6 v1",
            "+t 4/2 perm 6 v2",
            "+auto 4/4 perm 6 v3",
            "+%RETRY%g 1/1 perm 6 v4",
            "-t v5",
        ],
        "nothing is registered twice"
    );
    assert_eq!(house.broker.topics().1.counter, 5);
}

#[test]
fn a_closed_broker_registers_what_is_left_of_each_topic() {
    let house = House::with(|options| options.permission = Perm(Perm::READ));
    house
        .create("t", |topic| {
            topic.order = true;
            topic.sys_flag = 1;
        })
        .unwrap();
    assert_eq!(house.registered(), ["+t 4/4 perm 4 v1"]);
    let registration = house.broker.registration();
    let topic = registration
        .topics
        .iter()
        .find(|topic| topic.name.as_str() == "t")
        .unwrap();
    assert_eq!(
        (topic.perm, topic.order, topic.sys_flag),
        (Perm(4), false, 0)
    );
    assert!(
        house.broker.topic("t").unwrap().order,
        "it only looks so to the name server"
    );
}

#[test]
fn a_change_that_cannot_be_is_refused_whole() {
    let house = House::new();
    let error = |name: &str| house.create(name, |_| ()).unwrap_err();
    assert_eq!(error("bad.name!"), Error::Name(NameError::Illegal("topic")));
    assert_eq!(error(""), Error::Name(NameError::Blank("topic")));
    for queues in [-1, 1_000_000] {
        let wide = house.create("t", |topic| topic.read_queues = queues);
        assert!(matches!(wide, Err(Error::Invalid(_))), "{queues}");
    }
    let unknown = house.create("t", |topic| {
        topic.attributes = attributes("+nope=1").unwrap()
    });
    assert_eq!(unknown.unwrap_err().to_string(), "unsupported key: nope");
    for text in ["+queue.type=BatchCQ", "+cleanup.policy=COMPACTION"] {
        let refused = house.create("t", |topic| topic.attributes = attributes(text).unwrap());
        assert!(matches!(refused, Err(Error::Attributes(_))), "{text}");
    }
    let mixed = house.create("t", |topic| {
        topic.attributes = attributes("+message.type=MIXED").unwrap()
    });
    assert!(matches!(mixed, Err(Error::Invalid(_))));
    let missing = house.broker.topic("t").unwrap_err();
    assert_eq!(missing.to_string(), "No topic in this broker. topic: t");
    assert!(matches!(
        missing,
        Error::TopicMissing {
            asked: AskedFor::Config,
            ..
        }
    ));
    assert_eq!(house.registered(), Vec::<String>::new());
}

#[test]
fn attributes_flags_and_odd_counts_are_kept() {
    let house = House::new();
    house
        .create("t", |topic| {
            topic.attributes = attributes("+message.type=FIFO,+reserve.time=5").unwrap();
            topic.sys_flag = 3;
            topic.perm = Perm(9);
            topic.read_queues = 0;
        })
        .unwrap();
    house
        .create("t", |topic| {
            topic.attributes = attributes("-reserve.time").unwrap()
        })
        .unwrap();
    let config = house.broker.topic("t").unwrap();
    assert_eq!(
        config.attributes.into_iter().collect::<Vec<_>>(),
        [("message.type".into(), "FIFO".into())]
    );
    house
        .create("%RETRY%odd", |topic| topic.order = true)
        .unwrap();
    assert!(house.broker.topic("%RETRY%odd").unwrap().order);
}

#[test]
fn a_deleted_topic_begins_anew() {
    let house = House::new();
    house.put("t", 0, "old", "");
    house
        .run(caller(9), |caller| house.broker.delete_topic(caller, "t"))
        .unwrap();
    assert!(house.broker.topic("t").is_err());
    assert_eq!(house.broker.max_offset("t", 0), 0);
    let produced = house.send(message("t")).unwrap();
    assert_eq!(produced.queue_offset.0, 0);
    assert_eq!(
        house.pull(crate::house::from_start("t")).unwrap().1,
        ["hello"]
    );
}

#[test]
fn a_name_servers_order_list_sets_flags_and_takes_none() {
    let house = House::new();
    house.create("a", |_| ()).unwrap();
    house.create("b", |topic| topic.order = true).unwrap();
    house.registered();
    house
        .broker
        .set_order_topics(&["a".to_owned(), "nowhere".to_owned()]);
    assert_eq!(house.registered(), ["+a 4/4 perm 6 v3"]);
    assert!(house.broker.topic("a").unwrap().order);
    assert!(house.broker.topic("b").unwrap().order);
    house.broker.set_order_topics(&["a".to_owned()]);
    assert_eq!(house.registered(), Vec::<String>::new());
}

#[test]
fn a_retry_topic_is_made_as_its_group_says() {
    let house = House::new();
    house.create("ordered", |topic| topic.order = true).unwrap();
    let mut config = GroupConfig::new(GroupName::parse("g").unwrap());
    config.retry_queues = 3;
    house
        .run(caller(9), |caller| {
            house.broker.update_groups(caller, &[config.clone()])
        })
        .unwrap();
    let mut data = consumer("g", &[("ordered", "*", 1)]);
    data.unit_mode = true;
    house.beat(2, "c", vec![data]);
    let retry = house.broker.topic("%RETRY%g").unwrap();
    assert_eq!(
        (
            retry.read_queues,
            retry.write_queues,
            retry.order,
            retry.sys_flag
        ),
        (3, 3, true, 1)
    );
}

#[test]
fn groups_are_made_changed_asked_for_and_deleted() {
    let house = House::new();
    let existing = |house: &House| house.run(caller(9), |c| house.broker.group(c, "new", true));
    assert!(matches!(existing(&house), Err(Error::GroupMissing { .. })));
    assert!(
        house
            .broker
            .groups()
            .0
            .iter()
            .all(|group| group.name.as_str() != "new")
    );
    let ask = |house: &House, name: &str| {
        house.run(caller(9), |caller| house.broker.group(caller, name, false))
    };
    assert_eq!(
        ask(&house, "new").unwrap().retry_max_times,
        16,
        "asking makes it"
    );
    let mut config = ask(&house, "new").unwrap();
    config.retry_max_times = 3;
    let before = house.broker.groups().1.counter;
    for _ in 0..2 {
        house
            .run(caller(9), |c| {
                house.broker.update_groups(c, &[config.clone()])
            })
            .unwrap();
    }
    assert_eq!(ask(&house, "new").unwrap().retry_max_times, 3);
    assert_eq!(
        house.broker.groups().1.counter,
        before + 1,
        "the second time nothing changed"
    );
    config.attributes.insert("+nope".into(), "1".into());
    let refused = house.run(caller(9), |c| {
        house.broker.update_groups(c, &[config.clone()])
    });
    assert_eq!(refused.unwrap_err().to_string(), "unsupported key: nope");
    for _ in 0..2 {
        house
            .run(caller(9), |c| house.broker.delete_group(c, "new", false))
            .unwrap();
    }
    assert!(
        house
            .broker
            .groups()
            .0
            .iter()
            .all(|group| group.name.as_str() != "new")
    );
    let house = House::with(|options| options.auto_create_groups = false);
    assert!(matches!(
        ask(&house, "new"),
        Err(Error::GroupMissing { .. })
    ));
    house.beat(2, "c", vec![consumer("new", &[("TBW102", "*", 1)])]);
    assert!(
        house.broker.members("new").is_err(),
        "passed over in silence"
    );
}
