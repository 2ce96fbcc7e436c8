//! Half messages, the first decision about each, and the questions to producers.

use broker::{
    Decision, EndTransaction, Error, HalfCheck, Heartbeat, Options, Produce, ProducerData, Pull,
};
use model::flag::sys;
use model::message::key;
use model::record::View;
use model::{LogOffset, QueueOffset};

use crate::house::{House, caller, consumer, from_start, message, records};

pub const DEAD: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
const HALVES: &str = "RMQ_SYS_TRANS_HALF_TOPIC";

/// Where a half message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Half {
    pub queue: QueueOffset,
    pub log: LogOffset,
}

pub fn half<'a>(body: &'a str, properties: &'a str) -> Produce<'a> {
    Produce {
        queue: 2,
        sys_flag: sys::TRANSACTION_PREPARED,
        properties,
        body: body.as_bytes(),
        ..message("t")
    }
}

pub const TRAN: &str = "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}p\u{2}UNIQ_KEY\u{1}U1\u{2}TAGS\u{1}a\u{2}";

pub fn prepare(house: &House, body: &str, properties: &str) -> Half {
    let produced = house.send(half(body, properties)).unwrap();
    assert_eq!(produced.queue.0, 2, "the asked queue is answered");
    Half {
        queue: produced.queue_offset,
        log: produced.log_offset,
    }
}

pub fn end(house: &House, half: Half, decision: Decision, from_check: bool) -> Result<(), Error> {
    end_as(house, "p", half, decision, from_check)
}

fn end_as(
    house: &House,
    group: &str,
    half: Half,
    decision: Decision,
    from_check: bool,
) -> Result<(), Error> {
    let end = EndTransaction {
        group,
        queue_offset: half.queue.0 as i64,
        log_offset: half.log.0 as i64,
        decision,
        from_check,
    };
    house.run(caller(1), |caller| {
        house.broker.end_transaction(caller, &end)
    })
}

pub fn commit(house: &House, half: Half) -> Result<(), Error> {
    end(house, half, Decision::Commit, false)
}

pub fn roll_back(house: &House, half: Half) -> Result<(), Error> {
    end(house, half, Decision::Rollback, false)
}

/// The records of a queue.
pub fn content(house: &House, topic: &str, queue: i32) -> Vec<Vec<u8>> {
    let pull = Pull {
        queue,
        ..from_start(topic)
    };
    let mut out = Vec::new();
    let pulled = house.run(caller(2), |caller| {
        out.clear();
        house.broker.pull(caller, &pull, &mut out)
    });
    pulled.unwrap();
    records(&out)
        .iter()
        .map(|view| view.bytes().to_vec())
        .collect()
}

pub fn seen(house: &House) -> Vec<String> {
    let body = |record: &Vec<u8>| {
        let view = View::parse(record).unwrap();
        String::from_utf8(view.body().to_vec()).unwrap()
    };
    content(house, "t", 2).iter().map(body).collect()
}

pub fn house() -> House {
    house_with(|_| ())
}

pub fn house_with(change: impl FnOnce(&mut Options)) -> House {
    let house = House::with(change);
    house.create("t", |_| ()).unwrap();
    house
}

/// A producer of the group `p` says that it lives.
pub fn beat(house: &House, connection: u64) {
    beat_as(house, connection, false);
}

/// The same, or somebody who answers for producers that are away.
pub fn beat_as(house: &House, connection: u64, stands_in: bool) {
    let beat = Heartbeat {
        client: format!("client-{connection}"),
        producers: vec![producing("p", stands_in)],
        ..Heartbeat::default()
    };
    house
        .run(caller(connection), |caller| {
            house.broker.heartbeat(caller, &beat)
        })
        .unwrap();
}

pub fn producing(group: &str, stands_in: bool) -> ProducerData {
    ProducerData {
        group: group.to_owned(),
        stands_in,
    }
}

pub fn asked(house: &House) -> Vec<(u64, HalfCheck)> {
    std::mem::take(&mut *house.heard.checks.lock().unwrap())
}

/// Who was asked.
pub fn whom(house: &House) -> Vec<u64> {
    asked(house)
        .into_iter()
        .map(|(connection, _)| connection)
        .collect()
}

/// Lets time pass with the producers alive.
pub fn pass(house: &House, seconds: u64, alive: &[u64]) {
    for _ in 0..seconds {
        alive.iter().for_each(|&connection| beat(house, connection));
        house.advance(1);
        house.broker.deadlines_step().unwrap();
    }
}

#[test]
fn a_half_message_is_not_seen_before_it_is_committed() {
    let house = house();
    let half = prepare(&house, "one", TRAN);
    assert_eq!(seen(&house), [] as [&str; 0]);
    assert_eq!(house.broker.metrics().halves, 1);
    commit(&house, half).unwrap();
    assert_eq!(seen(&house), ["one"]);
    assert_eq!(house.broker.metrics().halves, 0);
    assert_eq!(house.broker.metrics().transactions_committed, 1);
}

#[test]
fn a_half_message_waits_in_apaches_topic_with_where_it_is_to_go() {
    let house = house();
    let half = prepare(&house, "one", TRAN);
    let stored = content(&house, HALVES, 0);
    let view = View::parse(&stored[0]).unwrap();
    assert_eq!(
        (view.queue_offset(), view.log_offset()),
        (half.queue, half.log)
    );
    assert_eq!(view.sys_flag() & sys::TRANSACTION_MASK, 0);
    for (name, value) in [
        (key::REAL_TOPIC, "t"),
        (key::REAL_QID, "2"),
        (key::TRANSACTION_ID, "U1"),
        (key::PGROUP, "p"),
        (key::TRAN_MSG, "true"),
    ] {
        assert_eq!(view.property(name), Some(value), "{name}");
    }
}

#[test]
fn a_half_message_without_a_group_or_a_key_gets_the_senders_group_and_a_key() {
    let house = house();
    let half = prepare(&house, "one", "TRAN_MSG\u{1}true\u{2}");
    let stored = content(&house, HALVES, 0);
    let view = View::parse(&stored[0]).unwrap();
    assert_eq!(view.property(key::PGROUP), Some("p"));
    let key = view.property(key::UNIQ_KEY).unwrap();
    assert_eq!(view.property(key::TRANSACTION_ID), Some(key));
    commit(&house, half).unwrap();
}

#[test]
fn the_committed_record_names_its_half_and_keeps_its_properties() {
    let house = house();
    let half = prepare(&house, "one", TRAN);
    commit(&house, half).unwrap();
    let stored = content(&house, "t", 2);
    let view = View::parse(&stored[0]).unwrap();
    assert_eq!(view.prepared_offset(), half.log.0);
    assert_eq!(
        view.sys_flag() & sys::TRANSACTION_MASK,
        sys::TRANSACTION_COMMIT
    );
    let names: Vec<&str> = model::message::properties(view.properties())
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names,
        [
            "MSG_REGION",
            "TRACE_ON",
            "CLUSTER",
            "TRAN_MSG",
            "PGROUP",
            "UNIQ_KEY",
            "TAGS",
            "__transactionId__",
            "REAL_TOPIC",
            "REAL_QID"
        ]
    );
    let tagged = Pull {
        queue: 2,
        expression: Some("a"),
        ..from_start("t")
    };
    assert_eq!(house.pull(tagged).unwrap().1, ["one"], "its tag is known");
}

#[test]
fn the_same_decision_again_changes_nothing() {
    let house = house();
    for decision in [Decision::Commit, Decision::Rollback] {
        let half = prepare(&house, "m", TRAN);
        for from_check in [false, true, false] {
            end(&house, half, decision, from_check).unwrap();
        }
    }
    assert_eq!(seen(&house), ["m"]);
}

#[test]
fn the_first_decision_wins_and_a_contrary_one_is_told() {
    let house = house();
    let kept = prepare(&house, "kept", TRAN);
    commit(&house, kept).unwrap();
    let told = roll_back(&house, kept).unwrap_err();
    assert_eq!(
        told,
        Error::TransactionDecided {
            first: Decision::Commit
        }
    );
    assert_eq!(
        told.to_string(),
        "the transaction was committed before; nothing was changed"
    );
    let dropped = prepare(&house, "dropped", TRAN);
    end(&house, dropped, Decision::Rollback, true).unwrap();
    let told = commit(&house, dropped).unwrap_err();
    assert_eq!(
        told,
        Error::TransactionDecided {
            first: Decision::Rollback
        }
    );
    assert_eq!(seen(&house), ["kept"]);
}

#[test]
fn decisions_are_remembered_over_a_kill() {
    let house = house();
    let kept = prepare(&house, "kept", TRAN);
    commit(&house, kept).unwrap();
    let dropped = prepare(&house, "dropped", TRAN);
    roll_back(&house, dropped).unwrap();
    let open = prepare(&house, "open", TRAN);
    let house = house.killed();
    index(&house);
    assert_eq!(house.broker.metrics().halves, 1);
    commit(&house, kept).unwrap();
    roll_back(&house, dropped).unwrap();
    let told = roll_back(&house, kept).unwrap_err();
    assert_eq!(
        told,
        Error::TransactionDecided {
            first: Decision::Commit
        }
    );
    let told = commit(&house, dropped).unwrap_err();
    assert_eq!(
        told,
        Error::TransactionDecided {
            first: Decision::Rollback
        }
    );
    commit(&house, open).unwrap();
    assert_eq!(seen(&house), ["kept", "open"]);
}

/// Brings the key index up to date, as its loop does.
pub fn index(house: &House) {
    while house.store.derive_step() == store::Next::Now {}
}

#[test]
fn before_the_index_is_there_an_old_decision_is_not_guessed() {
    let house = house();
    let half = prepare(&house, "kept", TRAN);
    commit(&house, half).unwrap();
    let house = house.killed();
    assert!(matches!(commit(&house, half), Err(Error::Busy(_))));
    index(&house);
    commit(&house, half).unwrap();
    assert_eq!(seen(&house), ["kept"]);
}

#[test]
fn only_the_producers_own_half_message_is_ended() {
    let house = house();
    let half = prepare(&house, "one", TRAN);
    let text = |group, half| {
        let error = end_as(&house, group, half, Decision::Commit, false).unwrap_err();
        error.to_string()
    };
    assert_eq!(text("other", half), "The producer group wrong");
    let moved = Half {
        queue: QueueOffset(9),
        ..half
    };
    assert_eq!(text("p", moved), "The transaction state table offset wrong");
    let nowhere = Half {
        log: LogOffset(1 << 40),
        ..half
    };
    assert_eq!(
        text("p", nowhere),
        "Find prepared transaction message failed"
    );
    house.put("t", 0, "plain", "");
    let plain = Half {
        queue: QueueOffset(0),
        log: house.store.log_start(),
    };
    assert_eq!(text("p", plain), "Find prepared transaction message failed");
    assert_eq!(house.broker.metrics().halves, 1);
    commit(&house, half).unwrap();
}

#[test]
fn a_batch_or_a_delay_in_a_transaction_is_refused() {
    let house = house();
    let refused = |send: Produce<'_>| house.send(send).unwrap_err().to_string();
    let batch = Produce {
        batch: true,
        ..half("x", TRAN)
    };
    assert_eq!(
        refused(batch),
        "a batch cannot be a half message; nothing was stored"
    );
    for delay in [
        "DELAY\u{1}3",
        "TIMER_DELAY_SEC\u{1}9",
        "TIMER_DELAY_MS\u{1}9",
        "TIMER_DELIVER_MS\u{1}9",
    ] {
        let properties = format!("{TRAN}{delay}\u{2}");
        assert_eq!(
            refused(half("x", &properties)),
            "a message with a delay cannot be a half message; nothing was stored",
            "{delay}"
        );
    }
    assert_eq!(house.broker.metrics().halves, 0);
}

#[test]
fn a_late_end_is_left_to_the_check_when_there_is_an_immunity() {
    let house = house();
    let properties = format!("{TRAN}CHECK_IMMUNITY_TIME_IN_SECONDS\u{1}3\u{2}");
    let in_time = prepare(&house, "in time", &properties);
    let late = prepare(&house, "late", &properties);
    house.advance(3);
    commit(&house, in_time).unwrap();
    house.advance(1);
    assert_eq!(commit(&house, late), Err(Error::TransactionLate));
    commit(&house, in_time).unwrap();
    end(&house, late, Decision::Commit, true).unwrap();
    assert_eq!(seen(&house), ["in time", "late"]);
    let without = prepare(&house, "whenever", TRAN);
    house.advance(100);
    commit(&house, without).unwrap();
}

#[test]
fn a_kill_between_half_and_decision_loses_neither() {
    let mut house = house();
    let half = prepare(&house, "one", TRAN);
    for _ in 0..3 {
        house = house.killed();
        assert_eq!(house.broker.metrics().halves, 1);
    }
    commit(&house, half).unwrap();
    for _ in 0..3 {
        house = house.killed();
        assert_eq!(house.broker.metrics().halves, 0);
        assert_eq!(seen(&house), ["one"]);
    }
}

/// Clients before 4.6.1 leave TRAN_MSG on what they send back.
#[test]
fn a_retry_of_an_old_client_is_no_half_message() {
    let house = house();
    let retry = Produce {
        reconsume_times: 1,
        ..half("again", "TRAN_MSG\u{1}true\u{2}DELAY\u{1}4\u{2}")
    };
    house.send(retry).unwrap();
    assert_eq!(
        house.store.pending().len(store::Kind::Timer),
        1,
        "it is delayed"
    );
    assert_eq!(house.broker.metrics().halves, 0);
    let first = Produce {
        reconsume_times: 0,
        ..retry
    };
    assert!(matches!(house.send(first), Err(Error::TransactionShape(_))));
}

#[test]
fn a_topic_that_is_gone_leaves_its_half_messages_waiting() {
    let house = house();
    let half = prepare(&house, "one", TRAN);
    house
        .run(caller(9), |caller| house.broker.delete_topic(caller, "t"))
        .unwrap();
    assert!(matches!(
        commit(&house, half),
        Err(Error::TopicMissing { .. })
    ));
    assert_eq!(house.broker.metrics().halves, 1);
    house.create("t", |topic| topic.write_queues = 1).unwrap();
    commit(&house, half).unwrap();
    assert_eq!(house.broker.metrics().halves, 0);
}

#[test]
fn consumers_hear_of_a_commit_at_once() {
    let house = house();
    house.beat(5, "reader", vec![consumer("g", &[("t", "*", 1)])]);
    let half = prepare(&house, "one", TRAN);
    house.woken();
    let pull = Pull {
        queue: 2,
        expression: None,
        suspend: Some(std::time::Duration::from_secs(10)),
        version: 1,
        ..from_start("t")
    };
    let mut out = Vec::new();
    let held = house.broker.pull(&caller(5), &pull, &mut out).unwrap();
    assert!(matches!(held, broker::Answer::Hold(_)), "{held:?}");
    commit(&house, half).unwrap();
    assert_eq!(house.woken(), [(5, 1)]);
}
