//! What is refused, and that it is refused in the same words however it comes.

use std::sync::Arc;

use model::TopicName;
use model::subscription::{ExpressionKind, Subscription};

use super::{Filter, Filters, check_size};
use crate::{Compat, Error, Options, limits};

fn filters(change: impl FnOnce(&mut Options)) -> Filters {
    let mut options = Options::new("c", "b", "127.0.0.1:10911".parse().unwrap());
    change(&mut options);
    Filters::new(&options)
}

fn subscription(kind: ExpressionKind, expression: &str) -> Subscription {
    Subscription {
        kind,
        expression: expression.to_owned(),
        ..Subscription::tags(TopicName::parse("t").unwrap(), "*", 0)
    }
}

#[test]
fn a_tag_passes_by_its_java_hash() {
    let filters = filters(|_| ());
    let filter = filters.compile(None, "TagA || TagB").unwrap();
    assert!(filter.passes(2_598_919, b""));
    assert!(filter.passes(2_598_920, b""));
    assert!(!filter.passes(0, b""));
    assert!(!filter.reads_properties());
    assert!(filters.compile(Some("TAG"), "*").unwrap().passes(0, b""));
    assert!(filters.compile(Some(""), "").unwrap().passes(0, b""));
}

#[test]
fn an_expression_passes_by_the_properties() {
    let filter = filters(|_| ()).compile(Some("SQL92"), "a > 1").unwrap();
    assert!(filter.reads_properties());
    assert!(filter.passes(0, b"a\x012\x02"));
    assert!(!filter.passes(0, b"a\x011\x02"));
    assert!(!filter.passes(0, b""));
}

#[test]
fn what_is_not_understood_is_refused_alike_by_every_way() {
    let filters = filters(|_| ());
    let long = "x".repeat(limits::EXPRESSION + 1);
    let cases = [
        (
            ExpressionKind::Tag,
            " || ",
            "there is no tag in the expression",
        ),
        (
            ExpressionKind::Tag,
            &long,
            "an expression has up to 65536 bytes, not 65537",
        ),
        (
            ExpressionKind::Sql92,
            "a LIKE 'x%'",
            "at character 3: found LIKE where AND, OR or the end should be \
             (LIKE is not supported, use STARTSWITH, ENDSWITH or CONTAINS)",
        ),
        (
            ExpressionKind::Sql92,
            "",
            "at character 1: found the end where a property, a text, a number or ( should be",
        ),
        (
            ExpressionKind::Sql92,
            "__CRC32# = '1'",
            "at character 8: unexpected '#' (a property's name has only letters, digits, _ and $)",
        ),
        (
            ExpressionKind::Other("sql92".to_owned()),
            "a > 1",
            "the expression type sql92 is unknown, there are TAG and SQL92",
        ),
    ];
    for (kind, expression, why) in cases {
        let expected = Error::SubscriptionUnparsable(why.to_owned());
        let inline = filters.compile(Some(kind.as_str()), expression);
        assert_eq!(inline.unwrap_err(), expected);
        let registered = filters.of(&subscription(kind, expression));
        assert_eq!(registered.unwrap_err(), expected);
    }
}

#[test]
fn sql_can_be_switched_off_and_made_lenient() {
    let off = filters(|options| options.property_filter = false);
    let refused = off.compile(Some("SQL92"), "a > 1").unwrap_err();
    assert_eq!(refused, Error::SqlNotSupported);
    let lenient = filters(|options| options.sql92 = Compat::Lenient);
    assert!(lenient.compile(Some("SQL92"), "a = 1 garbage").is_ok());
    assert!(lenient.compile(Some("SQL92"), "a >= AND (").is_err());
}

#[test]
fn one_text_is_compiled_once_and_the_oldest_go() {
    let filters = filters(|_| ());
    let compiled = |text: &str| match filters.compile(Some("SQL92"), text).unwrap() {
        Filter::Sql(expression) => expression,
        other => panic!("{other:?}"),
    };
    let first = compiled("a > 1");
    assert!(Arc::ptr_eq(&first, &compiled("a > 1")));
    for n in 0..limits::EXPRESSIONS {
        compiled(&format!("a = {n}"));
    }
    assert!(!Arc::ptr_eq(&first, &compiled("a > 1")));
    let large = format!("a = '{}'", "x".repeat(60_000));
    for n in 0..1000 {
        compiled(&format!("{large} OR a = '{n}'"));
    }
    let known = filters.known.lock().unwrap();
    assert!(known.bytes() <= limits::EXPRESSIONS_BYTES);
}

#[test]
fn a_subscription_may_not_be_larger_than_an_expression() {
    assert!(check_size(&subscription(ExpressionKind::Sql92, "a > 1")).is_ok());
    let long = "x".repeat(limits::EXPRESSION + 1);
    assert!(check_size(&subscription(ExpressionKind::Sql92, &long)).is_err());
    assert!(check_size(&subscription(ExpressionKind::Other(long.clone()), "")).is_err());
    let mut tags = subscription(ExpressionKind::Tag, "a");
    tags.tags = vec![long; 8];
    assert!(check_size(&tags).is_err());
}
