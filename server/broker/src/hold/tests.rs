//! Transcripts of the waiters of one queue.

use std::fmt::Write as _;
use std::time::Duration;

use expect_test::{Expect, expect};
use model::TopicName;
use model::tag::tags_code;

use super::{Waiter, Waiters};
use crate::ConnectionId;
use crate::filter::Filter;

/// Lines: `wait TICKET NEXT EXPRESSION`, `arrived FIRST TAG…` (`-` is no tag), `leave TICKET`.
fn check(script: &str, expected: Expect) {
    let topic = TopicName::parse("t").unwrap();
    let mut waiters = Waiters::default();
    let mut out = String::new();
    for line in script.lines().map(str::trim) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["wait", ticket, next, expression] => waiters.0.push(Waiter {
                connection: ConnectionId(1),
                ticket: ticket.parse().unwrap(),
                next: next.parse().unwrap(),
                filter: Filter::parse(&topic, expression, None, 0).unwrap(),
                until: Duration::ZERO,
            }),
            ["leave", ticket] => {
                let left = waiters.remove(ConnectionId(1), ticket.parse().unwrap());
                writeln!(out, "{line} -> {left}").unwrap();
            }
            ["arrived", first, ref tags @ ..] => {
                let codes: Vec<i64> = (tags.iter())
                    .map(|&tag| tags_code((tag != "-").then_some(tag)))
                    .collect();
                let mut woken = Vec::new();
                waiters.arrived(first.parse().unwrap(), &codes, &mut woken);
                let tickets: Vec<u64> = woken.iter().map(|&(_, ticket)| ticket).collect();
                writeln!(out, "{line} -> woken {tickets:?}").unwrap();
            }
            _ => panic!("what is {line:?}?"),
        }
    }
    expected.assert_eq(&out);
}

#[test]
fn only_who_wants_the_message_wakes_and_only_once() {
    check(
        "wait 1 5 *
         wait 2 5 A
         wait 3 5 B||C
         arrived 5 A -
         arrived 7 -
         arrived 8 B
         arrived 9 A",
        expect![[r#"
            arrived 5 A - -> woken [1, 2]
            arrived 7 - -> woken []
            arrived 8 B -> woken [3]
            arrived 9 A -> woken []
        "#]],
    );
}

#[test]
fn a_waiter_does_not_look_twice_at_one_entry() {
    check(
        "wait 1 7 A
         arrived 5 A A -
         arrived 5 A A - - A",
        expect![[r#"
            arrived 5 A A - -> woken []
            arrived 5 A A - - A -> woken [1]
        "#]],
    );
}

#[test]
fn a_waiter_that_missed_entries_wakes_to_see_for_itself() {
    check(
        "wait 1 3 A
         arrived 5 B",
        expect![[r#"
            arrived 5 B -> woken [1]
        "#]],
    );
}

#[test]
fn who_left_is_not_woken() {
    check(
        "wait 1 0 *
         leave 1
         leave 1
         arrived 0 -",
        expect![[r#"
            leave 1 -> true
            leave 1 -> false
            arrived 0 - -> woken []
        "#]],
    );
}
