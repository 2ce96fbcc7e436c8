//! Settings that are changed while the broker runs.

use std::time::Duration;

use broker::{Error, Produce, Pull};

use crate::house::{House, caller, from_start, message};

fn change(house: &House, changes: &[(&str, &str)]) -> Result<(), Error> {
    house.run(caller(9), |_| {
        house.broker.change_settings(changes.iter().copied())
    })
}

fn shown(house: &House, name: &str) -> Option<String> {
    let (all, _) = house.broker.shown_config();
    let found = all.into_iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value)
}

fn lite(house: &House) -> Result<(), Error> {
    let pull = Pull {
        lite: true,
        ..from_start("t")
    };
    house.pull(pull).map(|_| ())
}

fn put(house: &House, properties: &str) -> Result<(), Error> {
    let send = Produce {
        properties,
        ..message("t")
    };
    house.send(send).map(|_| ())
}

#[test]
fn a_change_counts_at_once_and_outlives_a_kill() {
    let house = House::with(|options| {
        options.shown = vec![("litePullMessageEnable".to_owned(), "true".to_owned())];
    });
    house.create("t", |_| ()).unwrap();
    lite(&house).unwrap();
    let before = house.broker.shown_config().1;
    change(
        &house,
        &[
            ("litePullMessageEnable", "false"),
            ("fileReservedTime", "5"),
            ("maxTransferCountOnMessageInMemory", "1"),
        ],
    )
    .unwrap();
    assert_ne!(house.broker.shown_config().1, before);
    for body in ["a", "b"] {
        house.put("t", 0, body, "");
    }
    let check = |house: &House| {
        assert!(matches!(lite(house), Err(Error::LitePullForbidden { .. })));
        assert_eq!(house.pull(from_start("t")).unwrap().1, ["a"]);
        let kept = house.store.retention().reserved_time;
        assert_eq!(kept, Duration::from_secs(5 * 3_600));
        assert_eq!(shown(house, "litePullMessageEnable").unwrap(), "false");
        assert_eq!(shown(house, "fileReservedTime").unwrap(), "5");
    };
    check(&house);
    let house = house.killed();
    check(&house);
    // What is as it is configured is no change any more.
    change(&house, &[("litePullMessageEnable", "true")]).unwrap();
    let mut house = house.killed();
    lite(&house).unwrap();
    // Who configures it anew means that.
    house.options.pull_count_max = 2;
    let house = house.killed();
    assert_eq!(house.pull(from_start("t")).unwrap().1, ["a", "b"]);
    house.advance(1);
    let mut house = house.killed();
    house.options.pull_count_max = 1_024;
    let house = house.killed();
    assert_eq!(house.pull(from_start("t")).unwrap().1, ["a", "b"]);
    assert_eq!(shown(&house, "fileReservedTime").unwrap(), "5");
}

#[test]
fn all_is_changed_or_nothing_and_what_is_wrong_is_told_of_each() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    let refused = change(
        &house,
        &[
            ("litePullMessageEnable", "false"),
            ("brokerName", "other"),
            ("transactionCheckMax", "0"),
            ("longPollingEnable", "yes"),
        ],
    );
    let text = refused.unwrap_err().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "brokerName: only read when the broker starts, if it is a setting at all",
            "transactionCheckMax: a whole number from 1 to 10000 expected",
            "longPollingEnable: true or false expected",
        ]
    );
    lite(&house).unwrap();
    assert_eq!(shown(&house, "litePullMessageEnable"), None);
    lite(&house.killed()).unwrap();
}

#[test]
fn what_is_asked_about_and_waited_for_follows_the_settings() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    let delayed =
        |house: &House, seconds: &str| put(house, &format!("TIMER_DELAY_SEC\u{1}{seconds}\u{2}"));
    change(&house, &[("timerMaxDelaySec", "60")]).unwrap();
    delayed(&house, "60").unwrap();
    assert_eq!(
        delayed(&house, "61"),
        Err(Error::TimerTooFar { max: 60_000 })
    );
    change(&house, &[("timerWheelEnable", "false")]).unwrap();
    assert_eq!(delayed(&house, "1"), Err(Error::TimersOff));
    let until = house.options.accept_sends_from + 9_000_000_000_000;
    let from = until.to_string();
    change(&house, &[("startAcceptSendRequestTimeStamp", &from)]).unwrap();
    assert_eq!(put(&house, ""), Err(Error::NotYetServing { until }));
}
