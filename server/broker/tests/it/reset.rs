//! Groups are sent to other offsets.

use std::time::Duration;

use broker::{Answer, Commit, Error, Pull, Reset, Verdict};

use crate::house::{House, START, caller, consumer, from_start};
use crate::popping::{ack, all, held, pop, texts};

/// Five messages in queue 0 of `t`, a minute apart, and a member of `g` that has committed 4.
fn house() -> House {
    House::with(|options| options.server_side_reset = true).furnished()
}

impl House {
    fn furnished(self) -> House {
        self.create("t", |topic| topic.read_queues = 2).unwrap();
        for n in 0..5 {
            self.put("t", 0, &n.to_string(), "");
            self.clock.advance(Duration::from_secs(60));
        }
        self.beat(1, "c", vec![consumer("g", &[("t", "*", 1)])]);
        assert_eq!(self.commits(4), Commit::Done);
        self.noticed();
        self
    }

    fn commits(&self, offset: i64) -> Commit {
        let committed = self.run(caller(1), |caller| {
            (self.broker).set_offset(caller, "g", "t", Some(0), Some(offset))
        });
        committed.unwrap()
    }

    fn wall(&self) -> i64 {
        store::Clock::wall(&*self.clock)
    }

    fn committed(&self) -> i64 {
        let offset = self.run(caller(1), |caller| {
            self.broker.offset(caller, "g", "t", 0, false)
        });
        offset.unwrap()
    }

    fn resets(&self, reset: Reset<'_>) -> Result<Vec<i64>, Error> {
        let targets = self.run(caller(9), |caller| {
            self.broker.reset_offsets(caller, &reset)
        })?;
        Ok(targets.into_iter().map(|(_, offset)| offset).collect())
    }

    /// What the member is told by a pull, and where to go on.
    fn pulls(&self, offset: i64) -> (Verdict, u64) {
        let pulled = self.pull(Pull {
            offset,
            ..from_start("t")
        });
        let (pulled, _) = pulled.unwrap();
        (pulled.verdict, pulled.next.0)
    }
}

fn to(offset: i64) -> Reset<'static> {
    Reset {
        group: "g",
        topic: "t",
        queue: 0,
        offset: Some(offset),
        time: -1,
        force: false,
        as_list: false,
    }
}

fn at(time: i64) -> Reset<'static> {
    Reset {
        queue: -1,
        offset: None,
        time,
        ..to(0)
    }
}

#[test]
fn a_consumer_hears_of_a_reset_once_and_what_it_had_cannot_undo_it() {
    let house = house();
    assert_eq!(house.resets(to(1)), Ok(vec![1]));
    assert_eq!(house.committed(), 1);
    assert_eq!(house.commits(5), Commit::Reset, "it has not heard of it");
    assert_eq!(house.committed(), 1);
    assert_eq!(house.pulls(5), (Verdict::OffsetMoved, 1));
    assert_eq!(house.pulls(1), (Verdict::Found, 5), "once");
    assert_eq!(house.commits(5), Commit::Done);
}

#[test]
fn a_commit_on_the_way_of_the_pull_that_hears_of_it_does_not_count() {
    let house = house();
    house.resets(to(1)).unwrap();
    let pulled = house.pull(Pull {
        offset: 5,
        commit: Some(5),
        ..from_start("t")
    });
    assert_eq!(pulled.unwrap().0.verdict, Verdict::OffsetMoved);
    assert_eq!(house.committed(), 1);
}

#[test]
fn the_last_of_several_resets_wins_forward_or_back() {
    let house = house();
    for offset in [1, 5, 3] {
        house.resets(to(offset)).unwrap();
    }
    assert_eq!(house.pulls(4), (Verdict::OffsetMoved, 3));
    house.resets(to(5)).unwrap();
    assert_eq!(house.pulls(3), (Verdict::OffsetMoved, 5));
}

#[test]
fn a_time_means_the_first_message_since_and_below_zero_the_end() {
    let house = house();
    let second = START + 60_000;
    for (time, expected) in [
        (0, [0, 0]),
        (second, [1, 0]),
        (second + 1, [2, 0]),
        (second + 1_000_000, [5, 0]),
        (-1, [5, 0]),
    ] {
        assert_eq!(house.resets(at(time)), Ok(expected.to_vec()), "{time}");
    }
}

#[test]
fn a_held_pull_hears_of_a_reset_at_once() {
    let house = house();
    let pull = Pull {
        offset: 5,
        suspend: Some(Duration::from_secs(15)),
        ..from_start("t")
    };
    let mut out = Vec::new();
    let held = house.broker.pull(&caller(2), &pull, &mut out);
    assert!(matches!(held, Ok(Answer::Hold(_))));
    house.resets(to(2)).unwrap();
    assert_eq!(house.woken(), [(2, 1)]);
    assert_eq!(house.pulls(5), (Verdict::OffsetMoved, 2));
}

#[test]
fn a_reset_nobody_has_heard_of_survives_a_kill() {
    let house = house();
    house.resets(to(2)).unwrap();
    let house = house.killed();
    assert_eq!(house.commits(5), Commit::Reset);
    assert_eq!(house.pulls(5), (Verdict::OffsetMoved, 2));
    house.broker.commit().unwrap();
    let house = house.killed();
    assert_eq!(house.commits(5), Commit::Done, "it was heard of");
}

/// What is in flight is forgotten, acks of it change nothing, and the next pop starts at the target.
#[test]
fn who_pops_starts_at_the_last_target_too() {
    let house = house();
    house.resets(to(0)).unwrap();
    let first = pop(&house, all("t"));
    assert_eq!(texts(&first), ["0", "1", "2", "3", "4"]);
    ack(&house, &first[0]);
    for (target, expected) in [(3, &["3", "4"][..]), (0, &["0", "1", "2", "3", "4"])] {
        house.resets(to(5)).unwrap();
        house.resets(to(target)).unwrap();
        ack(&house, &first[1]);
        let got = pop(&house, all("t"));
        assert_eq!(texts(&got), expected);
    }
    let got = pop(&house, all("t"));
    assert!(got.is_empty(), "once");
    assert_eq!(house.committed(), 0, "nothing of it is acked");
    let wanted = broker::Pop {
        poll: 15_000,
        born_at: house.wall(),
        ..all("t")
    };
    held(&house, caller(3), &wanted);
    house.woken();
    house.resets(to(4)).unwrap();
    assert_eq!(house.woken().len(), 1, "a held pop starts there at once");
    assert_eq!(texts(&pop(&house, all("t"))), ["4"]);
}

#[test]
fn what_is_not_there_cannot_be_reset() {
    let house = house();
    let text = |reset| house.resets(reset).unwrap_err().to_string();
    let elsewhere = Reset {
        topic: "x",
        ..to(1)
    };
    assert_eq!(text(elsewhere), "Topic x does not exist");
    let nobody = Reset {
        group: "x",
        ..to(1)
    };
    assert_eq!(text(nobody), "Group x does not exist");
    let range = "Target offset 7 not in consume queue range [0-5]";
    assert_eq!(text(to(7)), range);
    assert_eq!(house.resets(to(6)), Ok(vec![5]), "Apache lets it pass");
    assert!(house.resets(Reset { queue: 99, ..to(0) }).is_err());
}

#[test]
fn a_topic_that_is_deleted_takes_its_resets_along() {
    let house = house();
    house.resets(to(1)).unwrap();
    house
        .run(caller(9), |caller| house.broker.delete_topic(caller, "t"))
        .unwrap();
    house.create("t", |_| ()).unwrap();
    assert_eq!(house.commits(3), Commit::Done);
}

/// `useServerSideResetOffset` off, as with Apache 4.
#[test]
fn consumers_that_are_online_can_be_told_instead() {
    let house = House::with(|options| options.server_side_reset = false).furnished();
    let told = house.resets(at(0)).unwrap_err().to_string();
    assert_eq!(
        told, "THe consumer group <g> not exist",
        "no offset in queue 1"
    );
    house
        .create("t", |topic| {
            (topic.read_queues, topic.write_queues) = (1, 1)
        })
        .unwrap();
    assert_eq!(house.resets(at(0)), Ok(vec![0]));
    let told = house.noticed();
    assert_eq!(told.len(), 1);
    assert!(told[0].1.starts_with("ResetOffsets"), "{told:?}");
    assert_eq!(house.commits(4), Commit::Done, "nothing is kept here");
    assert_eq!(house.resets(at(-1)), Ok(vec![4]), "not forward");
    let forward = Reset {
        force: true,
        ..at(-1)
    };
    assert_eq!(house.resets(forward), Ok(vec![5]));
    house.broker.closed(broker::ConnectionId(1));
    assert!(matches!(
        house.resets(at(0)),
        Err(Error::ResetOffline { .. })
    ));
}

#[test]
fn offsets_are_cloned() {
    let house = house();
    let clone = |topic, offline| {
        house.run(caller(9), |_| {
            house.broker.clone_offsets("g", "h", topic, offline)
        })
    };
    clone(Some("t"), false).unwrap();
    let offset = house.run(caller(9), |caller| {
        house.broker.offset(caller, "h", "t", 0, false)
    });
    assert_eq!(offset, Ok(4));
    assert!(clone(Some("x"), false).is_err());
    clone(None, true).unwrap();
}
