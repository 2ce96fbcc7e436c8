//! What a killed broker knows when it is started again.

use std::sync::Arc;

use broker::{Checker, Pull};
use model::{GroupName, TopicName};
use store::disk::real::Real;
use store::{Disk, Flush};

use crate::house::{House, START, caller, consumer, from_start, message, options};

#[test]
fn a_kill_loses_no_committed_offset_and_none_goes_back() {
    let mut house = House::with(|options| options.in_memory = 0);
    house.create("t", |_| ()).unwrap();
    house.pull(from_start("t")).unwrap();
    for round in 0..5 {
        for queue in 0..4 {
            let offset = Some(round * 10 + i64::from(queue));
            house
                .run(caller(2), |caller| {
                    house
                        .broker
                        .set_offset(caller, "g", "t", Some(queue), offset)
                })
                .unwrap();
        }
        house = house.killed();
        for queue in 0..4 {
            let offset = house.run(caller(2), |caller| {
                house.broker.offset(caller, "g", "t", queue, true)
            });
            assert_eq!(offset, Ok(round * 10 + i64::from(queue)));
        }
    }
}

#[test]
fn an_offset_that_rode_on_a_pull_is_stored_by_the_next_tick() {
    let house = House::with(|options| options.in_memory = 0);
    house.create("t", |_| ()).unwrap();
    let pull = Pull {
        commit: Some(3),
        suspend: Some(std::time::Duration::from_secs(15)),
        ..from_start("t")
    };
    house.pull(from_start("t")).unwrap();
    house
        .broker
        .pull(&caller(2), &pull, &mut Vec::new())
        .unwrap();
    house.advance(1);
    let house = house.killed();
    assert_eq!(
        house.run(caller(2), |caller| house
            .broker
            .offset(caller, "g", "t", 0, true)),
        Ok(3)
    );
}

#[test]
fn topics_groups_and_their_versions_outlive_a_kill() {
    let house = House::new();
    house
        .create("t", |topic| {
            topic.order = true;
            topic.attributes = broker::topic::attributes("+message.type=FIFO").unwrap();
        })
        .unwrap();
    house.create("gone", |_| ()).unwrap();
    house.put("auto", 2, "x", "");
    house
        .run(caller(9), |caller| {
            house.broker.delete_topic(caller, "gone")
        })
        .unwrap();
    house.beat(2, "c", vec![consumer("g", &[("t", "*", 1)])]);
    let mut group = house
        .run(caller(9), |caller| house.broker.group(caller, "g", false))
        .unwrap();
    group.retry_max_times = 5;
    house
        .run(caller(9), |c| {
            house.broker.update_groups(c, &[group.clone()])
        })
        .unwrap();
    let (topics, groups) = (house.broker.topics(), house.broker.groups());
    let house = house.killed();
    assert_eq!(house.broker.topics(), topics);
    assert_eq!(house.broker.groups(), groups);
    assert!(house.broker.topic("gone").is_err());
    assert!(
        house.broker.members("g").is_err(),
        "who was connected is not kept"
    );
    house.create("t", |topic| topic.order = true).unwrap();
    assert_eq!(house.registered(), Vec::<String>::new(), "known already");
}

#[test]
fn messages_go_on_behind_the_last_one_after_a_kill() {
    let mut house = House::new();
    for round in 0..3 {
        house.put("t", 0, &round.to_string(), "");
        house = house.killed();
        assert_eq!(house.broker.max_offset("t", 0), round + 1);
    }
    assert_eq!(house.pull(from_start("t")).unwrap().1, ["0", "1", "2"]);
}

#[test]
fn deleted_offsets_stay_deleted() {
    let house = House::with(|options| options.in_memory = 0);
    house.create("t", |_| ()).unwrap();
    house.pull(from_start("t")).unwrap();
    house
        .run(caller(2), |caller| {
            house.broker.set_offset(caller, "g", "t", Some(0), Some(9))
        })
        .unwrap();
    house
        .run(caller(9), |caller| house.broker.delete_topic(caller, "t"))
        .unwrap();
    house.create("t", |_| ()).unwrap();
    let house = house.killed();
    assert!(house.broker.offsets().0.is_empty());
}

#[test]
fn a_real_disk_keeps_all_of_it_too() {
    let folder = tempfile::tempdir().unwrap();
    let open = |now| {
        let disk: Arc<dyn Disk> = Arc::new(Real::new(folder.path()).unwrap());
        House::open(options(), Flush::Sync, disk, now)
    };
    let house = open(START);
    house.create("t", |_| ()).unwrap();
    house.pull(from_start("t")).unwrap();
    house.send(message("t")).unwrap();
    house
        .run(caller(2), |caller| {
            house.broker.set_offset(caller, "g", "t", Some(0), Some(1))
        })
        .unwrap();
    drop(house);
    let house = open(START + 1000);
    assert_eq!(
        house.run(caller(2), |caller| house
            .broker
            .offset(caller, "g", "t", 0, false)),
        Ok(1)
    );
    assert_eq!(house.pull(from_start("t")).unwrap().1, ["hello"]);
    assert_eq!(house.broker.topic("t").unwrap().write_queues, 4);
}

#[test]
fn a_checker_outlives_a_kill_and_a_deleted_one_does_not_come_back() {
    let mut house = House::new();
    let checker = |topic: &str| Checker {
        topic: TopicName::parse(topic).unwrap(),
        group: GroupName::parse("p").unwrap(),
        url: "https://shop.example/check".to_owned(),
        secret: "whsec_AAAA".to_owned(),
        created_at: START,
    };
    for topic in ["kept", "deleted", "topicless"] {
        house.create(topic, |_| ()).unwrap();
        house
            .run(caller(2), |_| house.broker.put_checker(checker(topic)))
            .unwrap();
    }
    house
        .run(caller(2), |_| house.broker.delete_checker("deleted"))
        .unwrap();
    house
        .run(caller(9), |caller| {
            house.broker.delete_topic(caller, "topicless")
        })
        .unwrap();
    for _ in 0..2 {
        house = house.killed();
        assert_eq!(house.broker.checkers(None), [checker("kept")]);
    }
}
