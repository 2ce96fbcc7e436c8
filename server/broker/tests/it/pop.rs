//! Popping: what is handed out, what comes back, what is settled.

use std::time::Duration;

use broker::{BatchAck, Error, Pop};
use model::GroupName;
use model::group::GroupConfig;
use model::receipt::{PopTopic, Receipt};

use crate::house::{House, bodies, caller, consumer, records};
use crate::popping::{
    ack, ack_of, all, committed, extend, filled, pass, pop, sorted, texts, try_pop,
};

#[test]
fn what_is_popped_is_invisible_and_what_is_acked_is_gone() {
    let house = filled(3);
    let got = pop(&house, all("t"));
    assert_eq!(texts(&got), ["0", "1", "2"]);
    assert_eq!(pop(&house, all("t")).len(), 0);
    assert_eq!(house.broker.in_flight("g", "t", 0), 3);
    for got in &got {
        ack(&house, got);
    }
    assert_eq!(house.broker.in_flight("g", "t", 0), 0);
    pass(&house, 60_000);
    assert_eq!(pop(&house, all("t")).len(), 0);
    // Another group has its own view.
    let other = Pop {
        group: "h",
        ..all("t")
    };
    assert_eq!(pop(&house, other).len(), 3);
}

#[test]
fn what_is_not_acked_comes_back_at_its_time_counted_and_under_its_topic() {
    let house = filled(3);
    let got = pop(&house, all("t"));
    ack(&house, &got[1]);
    pass(&house, 9_999);
    assert_eq!(pop(&house, all("t")).len(), 0);
    pass(&house, 1);
    let again = pop(&house, all("t"));
    assert_eq!(sorted(&again), ["0", "2"]);
    for got in &again {
        assert_eq!((&*got.topic, got.times), ("t", 1));
        assert_eq!(got.real, "%RETRY%g_t");
        ack(&house, got);
    }
    pass(&house, 60_000);
    assert_eq!(pop(&house, all("t")).len(), 0);
    assert_eq!(committed(&house, "t", 0), 3);
    assert_eq!(committed(&house, "%RETRY%g_t", 0), 2);
}

/// The message's record is written, the row that its lease is over is not: the kill came between.
#[test]
fn a_message_that_was_moved_back_when_the_kill_came_comes_back_once() {
    let house = filled(1);
    assert_eq!(texts(&pop(&house, all("t"))), ["0"]);
    pass(&house, 10_000);
    ack(&house, &pop(&house, all("t"))[0]);
    house.put("t", 0, "moved", "");
    assert_eq!(texts(&pop(&house, all("t"))), ["moved"]);
    house.clock.advance(Duration::from_millis(10_000));
    let queue = |topic| house.store.find_queue(topic, 0).unwrap();
    let mut entries = Vec::new();
    let at = model::QueueOffset(1);
    let found = house
        .store
        .entries(&queue("t"), at, 1, store::Wait::Yes, &mut entries);
    found.unwrap();
    let draft = store::Draft {
        queue: &queue("%RETRY%g_t"),
        flag: 0,
        sys_flag: 0,
        born_at: 0,
        born_host: caller(1).remote,
        reconsume_times: 1,
        prepared_offset: entries[0].log_offset.0,
        body: b"moved",
        properties: "",
        tags_code: 0,
        keys: store::Keys::Unread,
    };
    house.store.stage(&draft).unwrap();
    house.store.write_out().unwrap();
    let house = house.killed();
    pass(&house, 1_000);
    assert_eq!(texts(&pop(&house, all("t"))), ["moved"]);
    assert_eq!(committed(&house, "t", 0), 2);
}

#[test]
fn what_came_back_says_when_it_was_popped_first_and_what_it_was() {
    let house = filled(1);
    let first = pop(&house, all("t"));
    let popped_at = Receipt::parse(&first[0].receipt).unwrap().popped_at;
    pass(&house, 10_000);
    let mut out = Vec::new();
    house.clock.advance(Duration::from_millis(5));
    let wanted = all("t");
    house
        .run(caller(3), |caller| {
            house.broker.pop(caller, &wanted, &mut out)
        })
        .unwrap();
    let views = records(&out);
    let view = views[0];
    assert_eq!(view.property("1ST_POP_TIME"), Some(&*popped_at.to_string()));
    assert_eq!(view.reconsume_times(), 1);
    assert!(view.prepared_offset() > 0 || view.log_offset().0 > 0);
    pass(&house, 10_000);
    let again = pop(&house, all("t"));
    assert_eq!(again[0].times, 2);
}

#[test]
fn the_committed_offset_is_the_lowest_message_that_is_not_done() {
    let house = filled(4);
    let got = pop(&house, all("t"));
    assert_eq!(committed(&house, "t", 0), 0);
    ack(&house, &got[2]);
    assert_eq!(committed(&house, "t", 0), 0);
    ack(&house, &got[0]);
    assert_eq!(committed(&house, "t", 0), 1);
    ack(&house, &got[1]);
    assert_eq!(committed(&house, "t", 0), 3);
    let stats = house.run(caller(9), |caller| {
        house.broker.consume_stats(caller, "g", &["t"], false)
    });
    let stats = stats.unwrap();
    let queue = &stats.queues[0];
    assert_eq!(
        (
            queue.broker_offset,
            queue.consumer_offset,
            queue.pull_offset
        ),
        (4, 3, 4)
    );
}

#[test]
fn an_ack_of_a_dead_handle_answers_success_and_changes_nothing() {
    let house = filled(1);
    let got = pop(&house, all("t"));
    pass(&house, 10_000);
    // It says that the message is not done, before it is out again and while it is.
    assert!(!ack(&house, &got[0]));
    let again = pop(&house, all("t"));
    assert_eq!(texts(&again), ["0"]);
    assert!(!ack(&house, &got[0]));
    // What is done is done, whoever says so once more.
    assert!(ack(&house, &again[0]));
    assert!(ack(&house, &again[0]));
    pass(&house, 60_000);
    assert_eq!(pop(&house, all("t")).len(), 0);
}

#[test]
fn a_message_is_kept_invisible_for_longer_and_its_old_handle_is_dead() {
    let house = filled(2);
    let got = pop(&house, all("t"));
    pass(&house, 5_000);
    let longer = extend(&house, &got[0], 30_000);
    ack(&house, &got[0]);
    pass(&house, 5_000);
    // Only the other one came back.
    let again = pop(&house, all("t"));
    assert_eq!(texts(&again), ["1"]);
    ack(&house, &again[0]);
    pass(&house, 24_999);
    assert_eq!(pop(&house, all("t")).len(), 0);
    ack(&house, &longer);
    pass(&house, 60_000);
    assert_eq!(pop(&house, all("t")).len(), 0);
    // Within the same millisecond, the new handle is another one too.
    house.put("t", 0, "2", "");
    let got = pop(&house, all("t"));
    let one = extend(&house, &got[0], 10_000);
    let two = extend(&house, &one, 10_000);
    assert_ne!(one.receipt, got[0].receipt);
    assert_ne!(one.receipt, two.receipt);
    ack(&house, &one);
    assert_eq!(house.broker.in_flight("g", "t", 0), 1);
    ack(&house, &two);
    assert_eq!(house.broker.in_flight("g", "t", 0), 0);
}

#[test]
fn a_message_is_given_back_at_once_by_an_invisible_time_of_0() {
    let house = filled(1);
    let got = pop(&house, all("t"));
    extend(&house, &got[0], 0);
    pass(&house, 0);
    assert_eq!(texts(&pop(&house, all("t"))), ["0"]);
}

#[test]
fn a_batch_of_acks_settles_the_bits_it_has() {
    let house = filled(10);
    let got = pop(&house, all("t"));
    let popped_at = Receipt::parse(&got[0].receipt).unwrap().popped_at;
    let batch = BatchAck {
        group: "g",
        topic: "t",
        which: PopTopic::Normal,
        queue: 0,
        start: 0,
        popped_at,
        bits: &[0x09, 0x02],
    };
    house
        .run(caller(3), |_| house.broker.ack_batch(&[batch]))
        .unwrap();
    assert_eq!(house.broker.in_flight("g", "t", 0), 7);
    pass(&house, 10_000);
    let again = pop(&house, all("t"));
    assert_eq!(sorted(&again), ["1", "2", "4", "5", "6", "7", "8"]);
    assert_eq!(house.broker.ack_batch(&[]).unwrap_err(), Error::NoAcks);
}

#[test]
fn a_message_that_comes_back_too_often_is_a_dead_letter() {
    let house = filled(1);
    let mut config = GroupConfig::new(GroupName::parse("g").unwrap());
    config.retry_max_times = 2;
    house
        .run(caller(9), |caller| {
            house.broker.update_groups(caller, &[config.clone()])
        })
        .unwrap();
    for times in 0..3 {
        let got = pop(&house, all("t"));
        assert_eq!((texts(&got), got[0].times), (vec!["0"], times));
        pass(&house, 10_000);
    }
    assert_eq!(pop(&house, all("t")).len(), 0);
    let mut out = Vec::new();
    let pull = broker::Pull {
        group: "d",
        ..crate::house::from_start("%DLQ%g")
    };
    house
        .run(caller(4), |caller| {
            house.broker.pull(caller, &pull, &mut out)
        })
        .unwrap();
    let views = records(&out);
    assert_eq!(views.len(), 1);
    assert_eq!(views[0].property("DLQ_ORIGIN_TOPIC"), Some("t"));
    assert!(views[0].property("DLQ_ORIGIN_MESSAGE_ID").is_some());
    assert_eq!(views[0].property("POP_CK"), None);
    assert_eq!(bodies(&out), ["0"]);
}

#[test]
fn a_message_is_for_the_member_whose_filter_takes_it() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    for (body, tag) in [("0", "a"), ("1", "b"), ("2", "c"), ("3", "a"), ("4", "b")] {
        house.put("t", 0, body, &format!("TAGS\u{1}{tag}\u{2}"));
    }
    let of = |expression| Pop {
        expression: Some(expression),
        ..all("t")
    };
    house.beat(5, "c5", vec![consumer("g", &[("t", "a", 1)])]);
    house.beat(6, "c6", vec![consumer("g", &[("t", "b", 1)])]);
    let first = pop(&house, of("a"));
    assert_eq!(texts(&first), ["0", "3"]);
    for got in &first {
        ack(&house, got);
    }
    // What the other takes is still there, and holds the offset; what nobody takes is passed over.
    assert_eq!(committed(&house, "t", 0), 1);
    let second = pop(&house, of("b"));
    assert_eq!(texts(&second), ["1", "4"]);
    for got in &second {
        ack(&house, got);
    }
    assert_eq!(committed(&house, "t", 0), 5);
    assert_eq!(pop(&house, of("a")).len(), 0);
}

#[test]
fn a_filter_that_was_popped_with_counts_without_a_heartbeat_and_what_was_left_is_stored() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    let of = |expression| Pop {
        expression: Some(expression),
        ..all("t")
    };
    assert_eq!(pop(&house, of("b")).len(), 0);
    house.put("t", 0, "0", "TAGS\u{1}b\u{2}");
    house.put("t", 0, "1", "TAGS\u{1}a\u{2}");
    let got = pop(&house, of("a"));
    assert_eq!(texts(&got), ["1"]);
    ack(&house, &got[0]);
    let house = house.killed();
    assert_eq!(texts(&pop(&house, of("b"))), ["0"]);
}

#[test]
fn a_kill_forgets_no_lease_and_no_ack() {
    let house = filled(6);
    let got = pop(&house, all("t"));
    ack(&house, &got[0]);
    ack(&house, &got[3]);
    let longer = extend(&house, &got[4], 30_000);
    house.clock.advance(Duration::from_millis(4_000));
    let house = house.killed();
    assert_eq!(house.broker.in_flight("g", "t", 0), 4);
    assert_eq!(pop(&house, all("t")).len(), 0);
    // A handle from before the kill still means its message.
    ack(&house, &got[1]);
    pass(&house, 5_999);
    assert_eq!(pop(&house, all("t")).len(), 0);
    pass(&house, 1);
    let again = pop(&house, all("t"));
    assert_eq!(sorted(&again), ["2", "5"]);
    let house = house.killed();
    ack(&house, &longer);
    for got in &again {
        ack(&house, got);
    }
    let house = house.killed();
    pass(&house, 60_000);
    assert_eq!(pop(&house, all("t")).len(), 0);
    assert_eq!(committed(&house, "t", 0), 6);
}

#[test]
fn acked_messages_behind_an_open_lease_stay_acked_after_a_kill() {
    let house = filled(70);
    let first = pop(&house, all("t"));
    let second = pop(&house, all("t"));
    for got in first.iter().skip(1).chain(&second) {
        ack(&house, got);
    }
    assert_eq!(committed(&house, "t", 0), 0);
    let house = house.killed();
    let rest = pop(&house, all("t"));
    assert_eq!(rest.len(), 70 - 64);
    for got in &rest {
        ack(&house, got);
    }
    pass(&house, 10_000);
    assert_eq!(texts(&pop(&house, all("t"))), ["0"]);
}

#[test]
fn a_clock_that_is_set_neither_hastens_nor_loses_a_lease() {
    let house = filled(1);
    assert_eq!(pop(&house, all("t")).len(), 1);
    let now = store::Clock::wall(&*house.clock);
    house.clock.set_wall(now + 3_600_000);
    pass(&house, 9_999);
    assert_eq!(pop(&house, all("t")).len(), 0);
    house.clock.set_wall(now - 3_600_000);
    pass(&house, 1);
    assert_eq!(pop(&house, all("t")).len(), 1);
}

fn set_offset(house: &House, offset: i64) {
    let (broker, to) = (&house.broker, Some(offset));
    house
        .run(caller(9), |caller| {
            broker.set_offset(caller, "g", "t", Some(0), to)
        })
        .unwrap();
}

#[test]
fn a_committed_offset_that_somebody_else_moves_is_where_the_next_pop_starts() {
    let house = filled(6);
    let got = pop(&house, all("t"));
    ack(&house, &got[5]);
    let set = |offset| set_offset(&house, offset);
    // Forward: what is behind is done, what is ahead stays out.
    set(3);
    ack(&house, &got[0]);
    assert_eq!(house.broker.in_flight("g", "t", 0), 2);
    assert_eq!(pop(&house, all("t")).len(), 0);
    // Back: all from there on is handed out anew, and old handles are dead.
    set(1);
    ack(&house, &got[4]);
    let again = pop(&house, all("t"));
    assert_eq!(texts(&again), ["1", "2", "3", "4", "5"]);
}

#[test]
fn what_is_in_flight_is_forgotten_by_a_reset_even_to_where_it_was() {
    let house = filled(3);
    let got = pop(&house, all("t"));
    house.broker.cancel_in_flight("g", "t", 0);
    assert!(!ack(&house, &got[0]), "its lease was from before");
    pass(&house, 1);
    let again = pop(&house, all("t"));
    assert_eq!(texts(&again), ["0", "1", "2"]);
    assert!(!ack(&house, &got[0]), "and still is");
    assert!(ack(&house, &again[0]));
    house.broker.cancel_in_flight("g", "t", -1);
    house.broker.commit().unwrap();
    let house = house.killed();
    assert_eq!(texts(&pop(&house, all("t"))), ["1", "2"]);
}

#[test]
fn what_is_done_behind_a_reset_is_done_though_its_lease_once_ran_out() {
    let house = filled(1);
    let got = pop(&house, all("t"));
    pass(&house, 10_000);
    assert!(!ack(&house, &got[0]));
    set_offset(&house, 0);
    // Besides, it comes by the way of what is delivered again.
    let again = pop(&house, all("t"));
    let again = again.iter().find(|got| got.times == 0).unwrap();
    assert!(ack(&house, again));
    assert!(ack(&house, again), "said once more");
}

#[test]
fn a_new_group_starts_at_the_beginning_or_at_the_end_as_it_asks() {
    let house = House::with(|options| options.in_memory = 0);
    house.create("t", |_| ()).unwrap();
    for n in 0..3 {
        house.put("t", 0, &n.to_string(), "");
    }
    let end = Pop {
        group: "late",
        from_max: true,
        ..all("t")
    };
    assert_eq!(texts(&pop(&house, end)), ["2"]);
    assert_eq!(texts(&pop(&house, all("t"))), ["0", "1", "2"]);
    // A young topic is read from its start all the same.
    let house = filled(3);
    assert_eq!(texts(&pop(&house, end)), ["0", "1", "2"]);
}

#[test]
fn two_pairs_of_names_that_make_one_retry_topic_are_kept_apart() {
    let house = House::new();
    house.create("c", |_| ()).unwrap();
    house.create("b_c", |_| ()).unwrap();
    house.put("c", 0, "of c", "");
    house.put("b_c", 0, "of b_c", "");
    let first = Pop {
        group: "a_b",
        ..all("c")
    };
    let second = Pop {
        group: "a",
        ..all("b_c")
    };
    assert_eq!(pop(&house, first).len(), 1);
    assert_eq!(pop(&house, second).len(), 1);
    pass(&house, 10_000);
    let house = house.killed();
    let got = pop(&house, second);
    assert_eq!(
        (texts(&got), &*got[0].real),
        (vec!["of b_c"], "%RETRY%a+b_c")
    );
    let got = pop(&house, first);
    assert_eq!((texts(&got), &*got[0].real), (vec!["of c"], "%RETRY%a_b_c"));
}

#[test]
fn a_retry_topic_of_the_longest_names_works_and_shows_the_original_topic() {
    let house = House::new();
    let (group, topic) = ("g".repeat(120), "t".repeat(127));
    house.create(&topic, |_| ()).unwrap();
    house.put(&topic, 0, "x", "");
    let wanted = Pop {
        group: &group,
        ..all(&topic)
    };
    assert_eq!(pop(&house, wanted).len(), 1);
    pass(&house, 10_000);
    let got = pop(&house, wanted);
    assert_eq!((texts(&got), &got[0].topic), (vec!["x"], &topic));
    assert_eq!(got[0].real.len(), 255);
    let ack = ack_of(&group, &got[0]);
    house
        .run(caller(3), |caller| house.broker.ack(caller, &ack))
        .unwrap();
    pass(&house, 10_000);
    assert_eq!(pop(&house, wanted).len(), 0);
}

#[test]
fn a_topic_that_is_deleted_takes_what_is_in_flight_with_it() {
    let house = filled(3);
    let got = pop(&house, all("t"));
    house
        .run(caller(9), |caller| house.broker.delete_topic(caller, "t"))
        .unwrap();
    pass(&house, 10_000);
    house.create("t", |_| ()).unwrap();
    house.put("t", 0, "new", "");
    ack(&house, &got[0]);
    assert_eq!(texts(&pop(&house, all("t"))), ["new"]);
    let house = house.killed();
    pass(&house, 10_000);
    assert_eq!(texts(&pop(&house, all("t"))), ["new"]);
}

#[test]
fn an_answer_is_as_long_as_asked_and_says_what_is_left() {
    let house = filled(5);
    let (popped, got) = try_pop(&house, caller(3), Pop { max: 2, ..all("t") }).unwrap();
    assert_eq!((got.len(), popped.rest), (2, 3));
    let error = try_pop(
        &house,
        caller(3),
        Pop {
            max: 33,
            ..all("t")
        },
    );
    assert!(matches!(error, Err(Error::PopTooMany { .. })));
    let late = Pop {
        born_at: 1,
        ..all("t")
    };
    let error = try_pop(&house, caller(3), late);
    assert!(matches!(error, Err(Error::PopTooOld { .. })));
}
