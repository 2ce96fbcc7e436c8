//! Committed offsets, the ends of queues, positions by time.

use broker::{AskedFor, Boundary, Error};

use crate::house::{House, START, caller, from_start};

fn commit(house: &House, group: &str, topic: &str, queue: i32, offset: i64) -> Result<(), Error> {
    house
        .run(caller(2), |caller| {
            house
                .broker
                .set_offset(caller, group, topic, Some(queue), Some(offset))
        })
        .map(drop)
}

fn committed(house: &House, group: &str, topic: &str, queue: i32) -> Result<i64, Error> {
    house.run(caller(2), |_| {
        house.broker.offset(&caller(2), group, topic, queue, true)
    })
}

/// A house with topic `t` that has had messages before, so that the rule of young topics is out of
/// the way: nothing of it counts as in memory.
fn old_house() -> House {
    let house = House::with(|options| options.in_memory = 0);
    house.create("t", |_| ()).unwrap();
    house.pull(from_start("t")).unwrap(); // makes the group
    house
}

#[test]
fn what_is_committed_is_known_at_once() {
    let house = old_house();
    assert_eq!(committed(&house, "g", "t", 0).unwrap_err(), Error::NoOffset);
    commit(&house, "g", "t", 0, 5).unwrap();
    assert_eq!(committed(&house, "g", "t", 0), Ok(5));
    assert_eq!(committed(&house, "g", "t", 1).unwrap_err(), Error::NoOffset);
    assert_eq!(
        committed(&house, "other", "t", 0).unwrap_err(),
        Error::NoOffset
    );
}

#[test]
fn a_lower_commit_is_accepted_and_counted() {
    let house = old_house();
    commit(&house, "g", "t", 0, 5).unwrap();
    commit(&house, "g", "t", 0, 3).unwrap();
    assert_eq!(committed(&house, "g", "t", 0), Ok(3));
    commit(&house, "g", "t", 0, 3).unwrap();
    assert_eq!(house.broker.metrics().offsets_lowered, 1);
}

#[test]
fn a_commit_needs_its_group_its_topic_its_queue_and_its_offset() {
    let house = old_house();
    let text = |result: Result<(), Error>| result.unwrap_err().to_string();
    assert_eq!(
        text(commit(&house, "G_never", "t", 0, 1)),
        "Group G_never not exist!"
    );
    assert_eq!(
        text(commit(&house, "g", "NoTopic", 0, 1)),
        "Topic NoTopic not exist!"
    );
    let ask = |queue, offset| {
        house
            .run(caller(2), |caller| {
                house.broker.set_offset(caller, "g", "t", queue, offset)
            })
            .map(drop)
    };
    assert_eq!(text(ask(None, Some(1))), "QueueId is null, topic is t");
    assert_eq!(text(ask(Some(0), None)), "Offset is null, topic is t");
    for queue in [-1, 1024, i32::MAX] {
        assert!(
            matches!(commit(&house, "g", "t", queue, 1), Err(Error::Invalid(_))),
            "{queue}"
        );
    }
    let missing = commit(&house, "G_never", "t", 0, 1).unwrap_err();
    assert!(matches!(
        missing,
        Error::GroupMissing {
            asked: AskedFor::Commit,
            ..
        }
    ));
    assert!(
        house
            .broker
            .groups()
            .0
            .iter()
            .all(|group| group.name.as_str() != "G_never")
    );
}

/// A consumer that still holds a queue its topic has lost commits it when it lets it go.
#[test]
fn a_queue_that_the_topic_has_no_more_can_be_committed() {
    let house = old_house();
    commit(&house, "g", "t", 1023, 7).unwrap();
    assert_eq!(committed(&house, "g", "t", 1023), Ok(7));
    let stored = house.broker.offsets().0;
    assert!(
        stored
            .iter()
            .any(|group| group.offsets.contains(&(1023, 7)))
    );
}

/// A new group on a young topic starts at 0 even if it wanted the end: RocketMQ's users know that.
#[test]
fn a_new_group_on_a_young_topic_starts_at_zero() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    assert_eq!(
        committed(&house, "g", "t", 0).unwrap_err(),
        Error::NoOffset,
        "empty"
    );
    house.put("t", 0, "x", "");
    assert_eq!(committed(&house, "g", "t", 0), Ok(0));
    assert_eq!(committed(&house, "g", "t", 1).unwrap_err(), Error::NoOffset);
    assert_eq!(
        committed(&house, "g", "nowhere", 0).unwrap_err(),
        Error::NoOffset
    );
    let asked_not_to = house.run(caller(2), |caller| {
        house.broker.offset(caller, "g", "t", 0, false)
    });
    let text = "Not found, do not set to zero, maybe this group boot first";
    assert_eq!(asked_not_to.unwrap_err().to_string(), text);
    let house = old_house();
    house.put("t", 0, "x", "");
    let text = "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first";
    let error = committed(&house, "g", "t", 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        text,
        "its first record is not in memory any more"
    );
}

#[test]
fn the_ends_of_a_queue_are_zero_where_there_is_none() {
    let house = House::new();
    for (topic, queue) in [("nowhere", 0), ("t", -1), ("t", 99), ("t", 1)] {
        assert_eq!(house.broker.max_offset(topic, queue), 0);
        assert_eq!(house.broker.min_offset(topic, queue), 0);
        let earliest = house.run(caller(2), |caller| {
            house.broker.earliest_stored_at(caller, topic, queue)
        });
        assert_eq!(earliest, Ok(-1));
        let at = house.run(caller(2), |caller| {
            house
                .broker
                .offset_at(caller, topic, queue, START, Boundary::Upper)
        });
        assert_eq!(at, Ok(0));
    }
    house.put("t", 0, "x", "");
    assert_eq!(
        (
            house.broker.max_offset("t", 0),
            house.broker.min_offset("t", 0)
        ),
        (1, 0)
    );
    let earliest = house.run(caller(2), |caller| {
        house.broker.earliest_stored_at(caller, "t", 0)
    });
    assert_eq!(earliest, Ok(START));
}

#[test]
fn a_time_has_its_position() {
    let house = House::new();
    for _ in 0..5 {
        house.put("t", 0, "x", "");
        house.advance(10);
    }
    let at = |seconds: i64, boundary| {
        let time = START + seconds * 1000;
        house.run(caller(2), |caller| {
            house.broker.offset_at(caller, "t", 0, time, boundary)
        })
    };
    assert_eq!(at(-5, Boundary::Lower), Ok(0));
    assert_eq!(at(20, Boundary::Lower), Ok(2));
    assert_eq!(at(21, Boundary::Lower), Ok(3));
    assert_eq!(at(21, Boundary::Upper), Ok(2));
    assert_eq!(at(1000, Boundary::Lower), Ok(5));
    assert_eq!(at(1000, Boundary::Upper), Ok(4));
}

#[test]
fn all_offsets_are_listed_and_go_with_their_topic_or_their_group() {
    let house = old_house();
    house.create("u", |_| ()).unwrap();
    commit(&house, "g", "t", 1, 5).unwrap();
    commit(&house, "g", "u", 0, 6).unwrap();
    let list = || {
        let (all, _) = house.broker.offsets();
        all.iter()
            .map(|o| format!("{}@{} {:?}", o.topic, o.group, o.offsets))
            .collect::<Vec<_>>()
    };
    assert_eq!(list(), ["t@g [(1, 5)]", "u@g [(0, 6)]"]);
    house
        .run(caller(9), |caller| house.broker.delete_topic(caller, "t"))
        .unwrap();
    assert_eq!(list(), ["u@g [(0, 6)]"]);
    house
        .run(caller(9), |caller| {
            house.broker.delete_group(caller, "g", true)
        })
        .unwrap();
    assert!(list().is_empty());
}

/// One record a batch with all that changed, none if nothing did.
#[test]
fn a_batch_of_commits_is_one_record() {
    let house = old_house();
    let size = |offsets: std::ops::Range<i32>| {
        let before = house.store.marks().staged.0;
        for offset in offsets {
            for queue in 0..4 {
                let offset = Some(i64::from(offset));
                house
                    .broker
                    .set_offset(&caller(2), "g", "t", Some(queue), offset)
                    .unwrap();
            }
        }
        house.broker.commit().unwrap();
        house.store.marks().staged.0 - before
    };
    let one = size(1..2);
    assert_eq!(size(2..100), one, "only the last of each queue counts");
    assert_eq!(size(99..100), 0, "nothing changed");
    house.broker.commit().unwrap();
}
