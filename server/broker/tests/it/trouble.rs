//! Cold reads, a full disk, a broken disk, too much of everything.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use broker::{Answer, Caller, Error, Pull, Verdict, limits};
use store::{Disk, Flush};

use crate::house::{House, START, bodies, caller, from_start, message, options};
use crate::stubborn::{Moods, Stubborn};

fn house() -> (House, Arc<Moods>) {
    let disk = Stubborn::default();
    let moods = Arc::clone(&disk.moods);
    let house = House::open_with(options(), Flush::Async, Arc::new(disk), START, |store| {
        store.tail_max = 0;
    });
    (house, moods)
}

#[test]
fn a_cold_pull_is_read_elsewhere_and_answered_when_it_runs_again() {
    let (house, moods) = house();
    house.put("t", 0, "one", "");
    house.put("t", 0, "two", "");
    house.pull(from_start("t")).unwrap();
    moods.cold.store(true, Ordering::Relaxed);
    let mut out = Vec::new();
    let answer = house
        .broker
        .pull(&caller(2), &from_start("t"), &mut out)
        .unwrap();
    let Answer::Cold(job) = answer else {
        panic!("{answer:?}")
    };
    assert!(out.is_empty());
    job();
    let again = Caller {
        may_wait: false,
        ..caller(2)
    };
    // The disk is as cold as before: what the job read is used.
    let answer = house
        .broker
        .pull(&again, &from_start("t"), &mut out)
        .unwrap();
    assert!(matches!(answer, Answer::Ready(pulled) if pulled.verdict == Verdict::Found));
    assert_eq!(bodies(&out), ["one", "two"]);
    let (pulled, bodies) = house.pull(from_start("t")).unwrap();
    assert_eq!((pulled.next.0, bodies.len()), (2, 2));
}

#[test]
fn a_cold_message_is_viewed_all_the_same() {
    let (house, moods) = house();
    let at = house.send(message("t")).unwrap().log_offset.0 as i64;
    moods.cold.store(true, Ordering::Relaxed);
    let mut out = Vec::new();
    house
        .run(caller(2), |caller| house.broker.view(caller, at, &mut out))
        .unwrap();
    assert_eq!(bodies(&out), ["hello"]);
    let none = house.run(caller(2), |caller| {
        house.broker.view(caller, at + 1, &mut Vec::new())
    });
    assert_eq!(none.unwrap_err(), Error::NoRecord(at + 1));
}

#[test]
fn cold_answers_nobody_comes_back_for_are_bounded_and_forgotten() {
    let (house, moods) = house();
    house.put("t", 0, "one", "");
    house.pull(from_start("t")).unwrap();
    moods.cold.store(true, Ordering::Relaxed);
    let ask = |ticket| {
        let asks = Caller {
            ticket,
            ..caller(2)
        };
        house.broker.pull(&asks, &from_start("t"), &mut Vec::new())
    };
    for ticket in 0..limits::COLD_ANSWERS as u64 {
        match ask(ticket).unwrap() {
            Answer::Cold(job) => job(),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(ask(9_999_999), Err(Error::Busy(_))));
    house.advance(61);
    assert!(ask(9_999_999).is_ok());
}

/// Refused sends leave nothing behind; reads and commits go on; it heals by itself.
#[test]
fn a_full_disk_refuses_sends_only() {
    let (house, moods) = house();
    house.put("t", 0, "before", "");
    house.pull(from_start("t")).unwrap();
    moods.full.store(true, Ordering::Relaxed);
    let mut stored = 1;
    let error = loop {
        match house.send(message("t")) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(
        error.to_string().starts_with("service not available now."),
        "{error}"
    );
    assert_eq!(house.broker.max_offset("t", 0), stored);
    let commit = |offset| {
        house.run(caller(2), |c| {
            house.broker.set_offset(c, "g", "t", Some(0), Some(offset))
        })
    };
    commit(1).unwrap();
    assert_eq!(
        house.run(caller(2), |caller| house
            .broker
            .offset(caller, "g", "t", 0, false)),
        Ok(1)
    );
    assert_eq!(house.pull(from_start("t")).unwrap().1[0], "before");
    moods.full.store(false, Ordering::Relaxed);
    assert_eq!(
        house.send(message("t")).unwrap().queue_offset.0 as i64,
        stored
    );
    let house = house.killed();
    assert_eq!(
        house.run(caller(2), |caller| house
            .broker
            .offset(caller, "g", "t", 0, false)),
        Ok(1)
    );
}

#[test]
fn after_a_failed_write_nothing_is_taken_and_nothing_of_it_is_seen() {
    let (house, moods) = house();
    house.put("t", 0, "before", "");
    house.pull(from_start("t")).unwrap();
    house.broker.produce(&caller(1), &message("t")).unwrap();
    moods.broken.store(true, Ordering::Relaxed);
    assert!(matches!(house.broker.commit(), Err(Error::Unavailable(_))));
    moods.broken.store(false, Ordering::Relaxed);
    assert!(house.broker.commit().is_err(), "it is never tried again");
    let refused = house.broker.produce(&caller(1), &message("t"));
    assert!(matches!(refused, Err(Error::Unavailable(_))));
    let refused = house
        .broker
        .set_offset(&caller(2), "g", "t", Some(0), Some(1));
    assert!(
        matches!(refused, Err(Error::Unavailable(_))),
        "it could not be kept"
    );
    assert_eq!(house.pull(from_start("t")).unwrap().1, ["before"]);
    let house = house.killed();
    assert_eq!(house.broker.max_offset("t", 0), 1);
}

#[test]
fn staging_has_a_limit_and_says_so_in_apaches_words() {
    let (house, _) = house();
    house.create("t", |_| ()).unwrap();
    let body = vec![0; 1 << 20];
    let send = broker::Produce {
        body: &body,
        ..message("t")
    };
    let error = (0..100)
        .find_map(|_| house.broker.produce(&caller(1), &send).err())
        .expect("a batch that never ends is refused");
    let text = error.to_string();
    assert!(
        text.starts_with("[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control"),
        "{text}"
    );
    assert_eq!(house.broker.metrics().busy, 1);
    house.broker.commit().unwrap();
    assert!(house.send(message("t")).is_ok());
}

#[test]
fn held_pulls_of_a_queue_have_a_limit() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    let pull = Pull {
        suspend: Some(Duration::from_secs(15)),
        ..from_start("t")
    };
    let ask = |ticket| {
        let asks = Caller {
            ticket,
            ..caller(2)
        };
        house.broker.pull(&asks, &pull, &mut Vec::new())
    };
    for ticket in 0..limits::HELD_PULLS_PER_QUEUE as u64 {
        assert!(matches!(ask(ticket).unwrap(), Answer::Hold(_)));
    }
    assert!(matches!(ask(9_999_999), Err(Error::Busy(_))));
    house.put("t", 0, "x", "");
    assert_eq!(
        house.woken().len(),
        limits::HELD_PULLS_PER_QUEUE,
        "all of them, in one call"
    );
}

/// A flipped bit must not make a message fail a filter that it passed, and nobody hears of it.
#[test]
fn a_filtered_pull_leaves_a_damaged_record_out_as_a_plain_one_does_and_says_so() {
    let stubborn = Arc::new(Stubborn::default());
    let moods = Arc::clone(&stubborn.moods);
    let disk: Arc<dyn Disk> = Arc::clone(&stubborn) as _;
    let house = House::open_with(options(), Flush::Async, disk, START, |store| {
        store.tail_max = 0;
    });
    for n in 0..3 {
        house.put(
            "t",
            0,
            &n.to_string(),
            &format!("colour\u{1}red\u{2}n\u{1}{n}\u{2}"),
        );
    }
    house.store.settle().unwrap();
    let name = stubborn.list("commitlog").unwrap().remove(0);
    let file = stubborn.open(&format!("commitlog/{name}")).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    let red = b"colour\x01red";
    let places = bytes.windows(red.len()).enumerate();
    let places: Vec<usize> = (places.filter(|(_, here)| here == red))
        .map(|(at, _)| at)
        .collect();
    assert_eq!(places.len(), 3);
    file.write_at(b"rex", (places[1] + 7) as u64).unwrap();
    let filtered = |expression| Pull {
        expression: Some(expression),
        expression_kind: Some("SQL92"),
        ..from_start("t")
    };
    for cold in [true, false] {
        moods.cold.store(cold, Ordering::Relaxed);
        let damaged = || house.broker.metrics().records_damaged;
        let before = damaged();
        let (pulled, plain) = house.pull(from_start("t")).unwrap();
        assert_eq!(
            (plain, pulled.next.0),
            (vec!["0".into(), "2".to_owned()], 3)
        );
        let after = damaged();
        assert!(after > before);
        // Neither what it said before, nor what it says now, nor that it says nothing.
        for expression in [
            "colour = 'red'",
            "colour = 'rex' OR n <> '1'",
            "n <> '1' OR n IS NULL",
        ] {
            let before = damaged();
            let (pulled, found) = house.pull(filtered(expression)).unwrap();
            assert_eq!(
                (found, pulled.next.0),
                (vec!["0".into(), "2".to_owned()], 3)
            );
            assert!(damaged() > before, "cold: {cold}, {expression}");
        }
    }
}

fn filtered(expression: &str, offset: i64, max: i32) -> Pull<'_> {
    Pull {
        expression: Some(expression),
        expression_kind: Some("SQL92"),
        offset,
        max,
        ..from_start("t")
    }
}

#[test]
fn properties_that_one_filter_read_serve_another_one_though_the_disk_went_cold() {
    let (house, moods) = house();
    for n in 0..200 {
        house.put("t", 0, &n.to_string(), &format!("a\u{1}{n}\u{2}"));
    }
    let (pulled, _) = house.pull(filtered("a < 0", 0, 32)).unwrap();
    assert_eq!(pulled.next.0, 200);
    moods.cold.store(true, Ordering::Relaxed);
    let mut out = Vec::new();
    let pull = filtered("a > 1000", 70, 32);
    let answer = house.broker.pull(&caller(2), &pull, &mut out).unwrap();
    // Without one read. What is kept are whole groups of messages, and the last one has only begun.
    let Answer::Ready(pulled) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (pulled.verdict, pulled.next.0),
        (Verdict::RetryImmediately, 192)
    );
}

#[test]
fn filters_that_take_turns_in_small_pieces_each_get_what_is_theirs() {
    let (house, _) = house();
    for n in 0..300 {
        house.put("t", 0, &n.to_string(), &format!("a\u{1}{n}\u{2}"));
    }
    let expressions = ["a BETWEEN 60 AND 200", "a < 130 OR a > 290", "a <> 64"];
    let passes: [fn(i32) -> bool; 3] = [
        |n| (60..=200).contains(&n),
        |n| !(130..=290).contains(&n),
        |n| n != 64,
    ];
    let (mut offsets, mut got) = ([0; 3], [(); 3].map(|()| Vec::new()));
    while offsets.iter().any(|&offset| offset < 300) {
        for (n, expression) in expressions.iter().enumerate() {
            if offsets[n] < 300 {
                let (pulled, found) = house.pull(filtered(expression, offsets[n], 7)).unwrap();
                offsets[n] = pulled.next.0 as i64;
                got[n].extend(found);
            }
        }
    }
    for (got, passes) in got.iter().zip(passes) {
        let expected: Vec<_> = (0..300).filter(|&n| passes(n)).collect();
        let expected: Vec<_> = expected.iter().map(i32::to_string).collect();
        assert_eq!(*got, expected);
    }
}

#[test]
fn what_lies_before_a_filtered_reader_stays_in_the_page_cache_though_it_took_nothing() {
    let disk = Stubborn::default();
    let moods = Arc::clone(&disk.moods);
    let house = House::open_with(options(), Flush::Async, Arc::new(disk), START, |store| {
        store.tail_max = 0;
        store.cached = 64 << 10;
    });
    let body = "x".repeat(1024);
    for n in 0..300 {
        house.put("t", 0, &body, &format!("a\u{1}{n}\u{2}"));
    }
    house.store.settle().unwrap();
    let given_back = || {
        house.store.ahead_step();
        moods.forgotten.load(Ordering::Relaxed)
    };
    // The second time nothing is read: the properties were kept.
    for _ in 0..2 {
        let (pulled, _) = house.pull(filtered("a < 0", 0, 32)).unwrap();
        assert_eq!(pulled.next.0, 300);
        house.clock.advance(Duration::from_millis(600));
        assert!(given_back() < 64 << 10, "what it reads next is there");
    }
    // It does not come again.
    house.clock.advance(Duration::from_secs(1));
    given_back();
    house.clock.advance(Duration::from_secs(1));
    assert!(given_back() > 128 << 10);
}
