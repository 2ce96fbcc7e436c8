use expect_test::expect;

use super::*;

fn group(change: impl FnOnce(&mut GroupConfig)) -> GroupConfig {
    let mut config = GroupConfig::new(GroupName::parse("g").unwrap());
    change(&mut config);
    config
}

#[test]
fn the_ladder_ends_in_the_dead_letters() {
    let plain = group(|_| ());
    let ladder: Vec<Fate> = (0..18).map(|times| fate(&plain, times, 16, 0)).collect();
    for (times, step) in ladder[..16].iter().enumerate() {
        assert_eq!(*step, Fate::Again(Pause::Level(3 + times as i32)));
    }
    assert_eq!(ladder[16..], [Fate::Dead, Fate::Dead]);
}

#[test]
fn the_consumer_the_limit_and_the_group_decide_in_this_order() {
    let plain = group(|_| ());
    assert_eq!(fate(&plain, 1, 3, 5), Fate::Again(Pause::Level(5)));
    assert_eq!(fate(&plain, 0, 3, -1), Fate::Dead);
    assert_eq!(fate(&plain, 3, 3, 5), Fate::Dead);
    assert_eq!(fate(&plain, 0, 0, 5), Fate::Dead);
    let patient = group(|group| group.retry_policy.customized = Some(vec![1, 2, 700]));
    assert_eq!(fate(&patient, 1, 3, 0), Fate::Again(Pause::Millis(700)));
    assert_eq!(fate(&patient, 1, 3, 2), Fate::Again(Pause::Level(2)));
}

#[test]
fn a_group_without_retry_queues_loses_nothing() {
    let closed = group(|group| group.retry_queues = 0);
    assert_eq!(fate(&closed, 0, 16, 0), Fate::Dead);
}

#[test]
fn no_delay_is_left_over_and_the_origin_is_said() {
    let came = "KEYS\u{1}k\u{2}DELAY\u{1}18\u{2}REAL_TOPIC\u{1}%RETRY%g\u{2}TIMER_OUT_MS\u{1}9\u{2}\
                WAIT\u{1}true\u{2}POP_CK\u{1}x\u{2}RETRY_TOPIC\u{1}t\u{2}ORIGIN_MESSAGE_ID\u{1}7F";
    let mut out = String::new();
    kept(came, &mut out);
    mark_dead(&mut out);
    let readable = out.replace('\u{1}', "=").replace('\u{2}', ";");
    expect![
        "KEYS=k;RETRY_TOPIC=t;ORIGIN_MESSAGE_ID=7F;DLQ_ORIGIN_TOPIC=t;DLQ_ORIGIN_MESSAGE_ID=7F;"
    ]
    .assert_eq(&readable);
}
