//! Transcripts of the lock table.

use std::fmt::Write as _;
use std::time::Duration;

use expect_test::{Expect, expect};

use super::{Locks, MessageQueue};

/// Lines: `at SECOND`, `lock GROUP CLIENT QUEUE`, `unlock GROUP CLIENT QUEUE`, `expire`.
fn check(script: &str, expected: Expect) {
    let mut locks = Locks::default();
    let mut now = Duration::ZERO;
    let mut out = String::new();
    for line in script.lines().map(str::trim) {
        let words: Vec<&str> = line.split(' ').collect();
        let queue = |id: &str| MessageQueue {
            topic: "t".into(),
            broker: "b".into(),
            queue: id.parse().unwrap(),
        };
        match words[..] {
            ["at", second] => now = Duration::from_secs(second.parse().unwrap()),
            ["expire"] => {
                locks.expire(now);
                writeln!(out, "{line} -> {} left", locks.count).unwrap();
            }
            ["lock", group, client, id] => {
                let until = now + Duration::from_secs(60);
                let got = locks.lock(group, client, &queue(id), now, until).unwrap();
                writeln!(out, "{line} -> {}", if got { "held" } else { "refused" }).unwrap();
            }
            ["unlock", group, client, id] => locks.unlock(group, client, &queue(id)),
            _ => panic!("what is {line:?}?"),
        }
    }
    expected.assert_eq(&out);
}

#[test]
fn a_queue_has_one_owner_a_group_until_it_is_given_back() {
    check(
        "lock g a 0
         lock g b 0
         lock g b 1
         lock other b 0
         unlock g b 0
         lock g b 0
         unlock g a 0
         lock g b 0",
        expect![[r#"
            lock g a 0 -> held
            lock g b 0 -> refused
            lock g b 1 -> held
            lock other b 0 -> held
            lock g b 0 -> refused
            lock g b 0 -> held
        "#]],
    );
}

#[test]
fn a_lock_ends_after_sixty_seconds_unless_it_is_renewed() {
    check(
        "lock g a 0
         lock g a 1
         at 40
         lock g a 0
         at 61
         lock g b 0
         lock g b 1
         at 121
         expire
         at 122
         expire",
        expect![[r#"
            lock g a 0 -> held
            lock g a 1 -> held
            lock g a 0 -> held
            lock g b 0 -> refused
            lock g b 1 -> held
            expire -> 1 left
            expire -> 0 left
        "#]],
    );
}
