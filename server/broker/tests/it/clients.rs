//! Heartbeats, members and who is told; queue locks.

use broker::{Error, Heartbeat, MessageQueue};

use crate::house::{House, caller, consumer};
use crate::transactions::producing;

#[test]
fn a_member_is_listed_straight_after_its_heartbeat_and_each_id_once() {
    let house = House::new();
    let text = "no consumer for this group, g";
    assert_eq!(house.broker.members("g").unwrap_err().to_string(), text);
    let beat = house.beat(2, "one", vec![consumer("g", &[("t", "*", 1)])]);
    assert_eq!(house.broker.members("g").unwrap(), ["one"]);
    assert_eq!(house.noticed(), []);
    assert_eq!(
        beat.changed[0].as_str(),
        "g",
        "who joins is told with the answer"
    );
    house.beat(3, "two", vec![consumer("g", &[("t", "*", 1)])]);
    assert_eq!(house.noticed(), [(2, "g".to_owned())]);
    house.beat(4, "two", vec![consumer("g", &[("t", "*", 1)])]);
    assert_eq!(house.broker.members("g").unwrap(), ["one", "two"]);
    house.noticed();
    house.broker.closed(caller(4).connection);
    assert_eq!(house.noticed(), [(2, "g".to_owned())]);
    house.broker.leave(&caller(2), "one", None, Some("g"));
    assert!(house.broker.members("g").is_err());
}

#[test]
fn a_group_or_a_broker_may_keep_its_members_in_peace() {
    let house = House::with(|options| options.notify_ids_changed = false);
    house.beat(2, "one", vec![consumer("g", &[("t", "*", 1)])]);
    assert!(house.noticed().is_empty());
    let house = House::new();
    let mut config = house
        .run(caller(9), |caller| house.broker.group(caller, "g", false))
        .unwrap();
    config.notify_ids_changed_enable = false;
    house
        .run(caller(9), |c| {
            house.broker.update_groups(c, &[config.clone()])
        })
        .unwrap();
    house.beat(2, "one", vec![consumer("g", &[("t", "*", 1)])]);
    assert!(house.noticed().is_empty());
}

#[test]
fn who_is_silent_for_two_minutes_is_gone() {
    let house = House::new();
    house.beat(2, "one", vec![consumer("g", &[("t", "*", 1)])]);
    house.beat(3, "two", vec![consumer("g", &[("t", "*", 1)])]);
    house.advance(100);
    house.beat(3, "two", vec![consumer("g", &[("t", "*", 1)])]);
    house.noticed();
    house.advance(30);
    assert_eq!(house.broker.members("g").unwrap(), ["two"]);
    assert_eq!(house.noticed(), [(3, "g".to_owned())]);
}

#[test]
fn producers_are_known_by_their_group() {
    let house = House::new();
    let text = "the producer group[p] not exist";
    assert_eq!(
        house
            .broker
            .producer_connections("p")
            .unwrap_err()
            .to_string(),
        text
    );
    let beat = Heartbeat {
        client: "one".into(),
        producers: ["p", "CLIENT_INNER_PRODUCER", "bad group"]
            .map(|group| producing(group, false))
            .into(),
        ..Heartbeat::default()
    };
    let answer = house
        .run(caller(2), |caller| house.broker.heartbeat(caller, &beat))
        .unwrap();
    assert!(
        answer.subscriptions_changed,
        "as to every heartbeat of the first version"
    );
    let connections = house.broker.producer_connections("p").unwrap();
    assert_eq!(
        (connections[0].client.as_str(), connections[0].version),
        ("one", 479)
    );
    assert_eq!(house.broker.producers().len(), 2);
    house.broker.leave(&caller(2), "one", Some("p"), None);
    assert!(house.broker.producer_connections("p").is_err());
    house.broker.closed(caller(2).connection);
    assert!(house.broker.producers().is_empty());
    assert_eq!(house.broker.metrics().registrations, 0);
}

#[test]
fn who_asks_for_members_of_an_empty_group_is_told_so() {
    let house = House::new();
    let error = house.broker.consumer_connections("g").unwrap_err();
    assert_eq!(error.to_string(), "the consumer group[g] not online");
    house.beat(
        2,
        "one",
        vec![consumer("g", &[("t", "A", 7), ("u", "*", 8)])],
    );
    let shown = house.broker.consumer_connections("g").unwrap();
    assert_eq!(shown.connections.len(), 1);
    let topics: Vec<&str> = shown
        .subscriptions
        .iter()
        .map(|s| s.topic.as_str())
        .collect();
    assert_eq!(topics, ["t", "u"]);
    assert!(shown.divergence.is_none());
}

#[test]
fn a_member_subscribes_to_no_more_topics_than_allowed() {
    let house = House::new();
    let mut data = consumer("g", &[("t", "*", 1)]);
    let one = data.subscriptions[0].clone();
    data.subscriptions = vec![one; broker::limits::SUBSCRIPTIONS + 1];
    let beat = Heartbeat {
        client: "c".into(),
        consumers: vec![data],
        ..Heartbeat::default()
    };
    let error = house.broker.heartbeat(&caller(2), &beat).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)));
}

#[test]
fn a_locked_queue_is_its_members_for_a_minute() {
    let house = House::new();
    let queue = |id| MessageQueue {
        topic: "t".into(),
        broker: "broker-a".into(),
        queue: id,
    };
    let both = [queue(0), queue(1)];
    assert_eq!(house.broker.lock("g", "one", &both).unwrap(), both);
    assert_eq!(house.broker.lock("g", "two", &both).unwrap(), []);
    house.broker.unlock("g", "two", &both);
    assert_eq!(
        house.broker.lock("g", "two", &both).unwrap(),
        [],
        "not his to give back"
    );
    house.broker.unlock("g", "one", &[queue(1)]);
    assert_eq!(house.broker.lock("g", "two", &both).unwrap(), [queue(1)]);
    house.advance(61);
    assert_eq!(house.broker.lock("g", "two", &both).unwrap(), both);
}

/// A broker may register anything with a name server.
#[test]
fn queues_that_no_topic_can_have_are_assigned_to_nobody() {
    let house = House::new();
    house.beat(1, "c", vec![consumer("g", &[("t", "*", 1)])]);
    let route = vec![("broker-b".to_owned(), 20_000_000)];
    house
        .heard
        .routes
        .lock()
        .unwrap()
        .insert("t".to_owned(), route);
    let assign = broker::Assign {
        group: "g",
        topic: "t",
        client: "c",
        strategy: "AVG",
        model: broker::MessageModel::Clustering,
    };
    let assigned = house.run(caller(1), |caller| house.broker.assign(caller, &assign));
    let queues = assigned.unwrap().queues.unwrap();
    assert_eq!(queues.len(), broker::limits::QUEUES_PER_TOPIC as usize);
}
