//! Transcripts of the waiters of one queue.

use std::fmt::Write as _;
use std::time::Duration;

use expect_test::{Expect, expect};
use model::tag::tags_code;

use super::{Waiter, Waiters};
use crate::filter::{Filter, Filters};
use crate::{ConnectionId, Options};

/// Lines: `wait TICKET NEXT EXPRESSION`, `arrived FIRST TAG…` (`-` is no tag, `a=1` a property and no
/// tag), `leave TICKET`. An expression with a `>` is SQL.
fn check(script: &str, expected: Expect) {
    let options = Options::new("c", "b", "127.0.0.1:10911".parse().unwrap());
    let filters = Filters::new(&options);
    let mut waiters = Waiters::default();
    let mut out = String::new();
    for line in script.lines().map(str::trim) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["wait", ticket, next, expression] => {
                let kind = expression.contains('>').then_some("SQL92");
                waiters.0.push(Waiter {
                    connection: ConnectionId(1),
                    ticket: ticket.parse().unwrap(),
                    next: next.parse().unwrap(),
                    filter: filters.compile(kind, expression).unwrap(),
                    until: Duration::ZERO,
                });
            }
            ["leave", ticket] => {
                let left = waiters.remove(ConnectionId(1), ticket.parse().unwrap());
                writeln!(out, "{line} -> {left}").unwrap();
            }
            ["arrived", first, ref tags @ ..] => {
                let passes = |filter: &Filter, n: usize| match tags[n].split_once('=') {
                    Some((name, value)) => {
                        filter.passes(0, format!("{name}\u{1}{value}\u{2}").as_bytes())
                    }
                    None => filter.passes(tags_code((tags[n] != "-").then_some(tags[n])), &[]),
                };
                let mut woken = Vec::new();
                let first = first.parse().unwrap();
                waiters.arrived(first, tags.len(), passes, &mut woken);
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
fn an_sql_filter_wakes_for_its_own_messages_only() {
    check(
        "wait 1 0 a>5
         wait 2 0 A
         arrived 0 - a=5 a=x
         arrived 3 A
         arrived 4 a=6",
        expect![[r#"
            arrived 0 - a=5 a=x -> woken []
            arrived 3 A -> woken [2]
            arrived 4 a=6 -> woken [1]
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
