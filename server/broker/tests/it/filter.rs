//! Expressions over properties, from wherever they come.

use std::time::Duration;

use broker::{Compat, Error, MessageModel, Pull, Verdict, limits};
use model::subscription::ExpressionKind;

use crate::house::{House, caller, consumer, from_start};
use crate::popping;

const SQL: Option<&str> = Some("SQL92");

/// A heartbeat's subscription of group `g`.
fn wants(topic: &str, kind: ExpressionKind, expression: &str) -> broker::ConsumerData {
    let mut data = consumer("g", &[(topic, expression, 1)]);
    data.subscriptions[0].kind = kind;
    data.subscriptions[0].expression = expression.to_owned();
    data
}

fn heartbeat(house: &House, connection: u64, data: broker::ConsumerData) -> Result<(), Error> {
    let beat = broker::Heartbeat {
        client: format!("client-{connection}"),
        consumers: vec![data],
        ..broker::Heartbeat::default()
    };
    let answered = house.run(caller(connection), |caller| {
        house.broker.heartbeat(caller, &beat)
    });
    answered.map(|_| ())
}

fn registered(topic: &str) -> Pull<'_> {
    Pull {
        expression: None,
        version: 1,
        ..from_start(topic)
    }
}

fn inline(expression: &str) -> Pull<'_> {
    Pull {
        expression: Some(expression),
        expression_kind: SQL,
        ..from_start("t")
    }
}

fn with_numbers(count: usize) -> House {
    let house = House::new();
    for n in 0..count {
        house.put(
            "t",
            0,
            &n.to_string(),
            &format!("a\u{1}{n}\u{2}TAGS\u{1}T\u{2}"),
        );
    }
    house
}

#[test]
fn a_heartbeats_expression_filters_its_pulls() {
    let house = with_numbers(10);
    let sql = ExpressionKind::Sql92;
    heartbeat(
        &house,
        2,
        wants("t", sql, "a BETWEEN 0 AND 3 AND TAGS = 'T'"),
    )
    .unwrap();
    let (pulled, bodies) = house.pull(registered("t")).unwrap();
    assert_eq!(bodies, ["0", "1", "2", "3"]);
    assert_eq!(pulled.next.0, 10);
    let (pulled, _) = house
        .pull(Pull {
            offset: 4,
            ..registered("t")
        })
        .unwrap();
    assert_eq!(pulled.verdict, Verdict::RetryImmediately);
    assert_eq!(pulled.status, "NO_MATCHED_MESSAGE");
}

#[test]
fn a_bad_expression_is_refused_however_it_comes() {
    let house = with_numbers(1);
    let text = "parse the consumer's subscription failed: at character 6: found AND where a property, a text, a number or ( should be";
    let bad = "a >= AND (";
    let said = [
        house.pull(inline(bad)).unwrap_err(),
        house.broker.check_expression(SQL, bad).unwrap_err(),
        heartbeat(&house, 2, wants("t", ExpressionKind::Sql92, bad)).unwrap_err(),
        house.pull(registered("t")).unwrap_err(),
    ];
    for error in said {
        assert_eq!(error.to_string(), text);
    }
    let other = ExpressionKind::Other("GROOVY".to_owned());
    let text = "parse the consumer's subscription failed: the expression type GROOVY is unknown, there are TAG and SQL92";
    let said = [
        house
            .broker
            .check_expression(Some("GROOVY"), "*")
            .unwrap_err(),
        heartbeat(&house, 2, wants("t", other, "*")).unwrap_err(),
        house.pull(registered("t")).unwrap_err(),
    ];
    for error in said {
        assert_eq!(error.to_string(), text);
    }
}

/// One broken expression must not silence what else the process consumes.
#[test]
fn a_heartbeat_with_a_bad_expression_still_counts() {
    let house = with_numbers(1);
    let mut data = wants("t", ExpressionKind::Sql92, "a LIKE 'x'");
    data.subscriptions
        .extend(consumer("g", &[("u", "*", 1)]).subscriptions);
    house.put("u", 0, "u", "");
    heartbeat(&house, 2, data).unwrap_err();
    assert_eq!(house.broker.members("g").unwrap(), ["client-2"]);
    assert_eq!(house.pull(registered("u")).unwrap().1, ["u"]);
    heartbeat(&house, 2, wants("t", ExpressionKind::Sql92, "a = 0")).unwrap();
    assert_eq!(house.pull(registered("t")).unwrap().1, ["0"]);
}

#[test]
fn a_heartbeat_may_not_be_a_heap() {
    let house = House::new();
    let long = "x".repeat(limits::EXPRESSION + 1);
    let error = heartbeat(&house, 2, wants("t", ExpressionKind::Tag, &long)).unwrap_err();
    let text =
        "parse the consumer's subscription failed: an expression has up to 65536 bytes, not 65540";
    assert_eq!(error.to_string(), text);
    assert!(house.broker.members("g").is_err(), "nothing of it is kept");
    let half = "x".repeat(limits::EXPRESSION / 2);
    let topics: Vec<String> = (0..40).map(|n| format!("t{n}")).collect();
    let all: Vec<(&str, &str, i64)> = topics
        .iter()
        .map(|t| (t.as_str(), half.as_str(), 1))
        .collect();
    let error = heartbeat(&house, 2, consumer("g", &all)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("a member's expressions have up to"),
        "{error}"
    );
}

#[test]
fn sql_may_be_switched_off() {
    let house = House::with(|options| options.property_filter = false);
    house.put("t", 0, "a", "");
    let text = "The broker does not support consumer to filter message by SQL92";
    let said = [
        house.pull(inline("a > 1")).unwrap_err(),
        house.broker.check_expression(SQL, "a > 1").unwrap_err(),
        heartbeat(&house, 2, wants("t", ExpressionKind::Sql92, "a > 1")).unwrap_err(),
        house.pull(registered("t")).unwrap_err(),
    ];
    for error in said {
        assert_eq!(error.to_string(), text);
    }
    assert_eq!(house.pull(from_start("t")).unwrap().1, ["a"]);
}

#[test]
fn apaches_leniency_can_be_had() {
    let house = House::with(|options| options.sql92 = Compat::Lenient);
    house.put("t", 0, "a", "a\u{1}1\u{2}");
    assert_eq!(house.pull(inline("a = 1 garbage")).unwrap().1, ["a"]);
}

#[test]
fn a_scan_is_bounded_and_goes_on() {
    let house = with_numbers(9_000);
    let (pulled, bodies) = house.pull(inline("a = 8999")).unwrap();
    assert_eq!(
        (pulled.verdict, pulled.next.0),
        (Verdict::RetryImmediately, limits::SCAN_RECORDS as u64)
    );
    assert!(bodies.is_empty());
    let (mut at, mut pulls) = (0, 0);
    let found = loop {
        let (pulled, bodies) = house
            .pull(Pull {
                offset: at,
                ..inline("a = 8999")
            })
            .unwrap();
        pulls += 1;
        if pulled.verdict == Verdict::Found {
            break bodies;
        }
        at = pulled.next.0 as i64;
    };
    assert_eq!((found, pulls), (vec!["8999".to_owned()], 2));
    let (pulled, bodies) = house.pull(inline("a >= 100")).unwrap();
    assert_eq!((bodies.len(), pulled.next.0), (32, 132));
}

/// A pull that is held wakes for what its expression lets pass, and for nothing else.
#[test]
fn a_held_pull_wakes_for_its_own_messages_only() {
    let house = with_numbers(3);
    heartbeat(&house, 2, wants("t", ExpressionKind::Sql92, "a > 5")).unwrap();
    let pull = Pull {
        offset: 3,
        suspend: Some(Duration::from_secs(15)),
        ..registered("t")
    };
    let held = house
        .broker
        .pull(&caller(2), &pull, &mut Vec::new())
        .unwrap();
    assert!(matches!(held, broker::Answer::Hold(_)), "{held:?}");
    house.put("t", 0, "none", "");
    house.put("t", 0, "five", "a\u{1}5\u{2}");
    house.put("t", 0, "text", "a\u{1}x\u{2}");
    assert!(house.woken().is_empty());
    house.put("t", 0, "six", "a\u{1}6\u{2}");
    assert_eq!(house.woken(), [(2, caller(2).ticket)]);
    let again = broker::Caller {
        may_wait: false,
        ..caller(2)
    };
    let (pulled, bodies) = house.pull_as(again, pull).unwrap();
    assert_eq!((bodies, pulled.next.0), (vec!["six".to_owned()], 7));
}

#[test]
fn long_properties_and_long_bodies_are_read_too() {
    let house = House::new();
    let long = "x".repeat(20_000);
    house.put("t", 0, &long, "a\u{1}1\u{2}");
    house.put("t", 0, &long, &format!("b\u{1}{long}\u{2}a\u{1}1\u{2}"));
    house.put("t", 0, "short", "a\u{1}2\u{2}");
    let (_, bodies) = house
        .pull(inline("a = 1 AND (b IS NULL OR b CONTAINS 'xxx')"))
        .unwrap();
    assert_eq!(bodies.len(), 2);
    assert_eq!(house.pull(inline("a = 2")).unwrap().1, ["short"]);
}

#[test]
fn a_broadcasting_member_filters_too() {
    let house = with_numbers(4);
    let mut data = wants("t", ExpressionKind::Sql92, "a = 2");
    data.model = MessageModel::Broadcasting;
    heartbeat(&house, 2, data).unwrap();
    assert_eq!(house.pull(registered("t")).unwrap().1, ["2"]);
}

fn popping(expression: &str) -> broker::Pop<'_> {
    broker::Pop {
        expression: Some(expression),
        expression_kind: SQL,
        ..popping::all("t")
    }
}

#[test]
fn a_pop_takes_what_its_expression_lets_pass_and_leaves_the_rest_to_others() {
    let house = with_numbers(200);
    let bodies =
        |got: Vec<popping::Got>| -> Vec<String> { got.into_iter().map(|got| got.body).collect() };
    heartbeat(&house, 4, wants("t", ExpressionKind::Sql92, "a > 195")).unwrap();
    let low = popping("a IN ('0', '1', '150')");
    let high = popping("a > 195");
    assert_eq!(bodies(popping::pop(&house, low)), ["0", "1", "150"]);
    assert_eq!(
        bodies(popping::pop(&house, high)),
        ["196", "197", "198", "199"]
    );
    let refused = popping::try_pop(&house, caller(3), popping("a LIKE 'x'")).unwrap_err();
    let text = "parse the consumer's subscription failed: at character 3: found LIKE";
    assert!(refused.to_string().starts_with(text), "{refused}");
}
