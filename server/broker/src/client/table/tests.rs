//! Transcripts of the client table.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use expect_test::{Expect, expect};
use model::group::GroupConfig;
use model::subscription::Subscription;
use model::{GroupName, TopicName};

use super::super::{ConsumeFrom, ConsumeType, ConsumerData, Heartbeat, MessageModel};
use super::{Clients, News, Subscribed, Who};
use crate::filter::Filters;
use crate::{Caller, ConnectionId, Options};

fn caller(connection: u64) -> Caller {
    Caller {
        connection: ConnectionId(connection),
        ticket: 0,
        remote: format!("127.0.0.1:{}", 1000 + connection).parse().unwrap(),
        language: 0,
        version: 479,
        may_wait: true,
        oneway: false,
    }
}

/// Lines: `at SECOND`, `beat CONNECTION CLIENT GROUP [broadcast] [topic:expression:version…]`,
/// `v2 CONNECTION CLIENT GROUP FINGERPRINT [topic:expression:version…]` (none: left out),
/// `close CONNECTION`, `leave CONNECTION GROUP`, `expire SECONDS`, `members GROUP`,
/// `pull CONNECTION GROUP TOPIC`.
fn check(script: &str, expected: Expect) {
    let options = Options::new("c", "b", "127.0.0.1:10911".parse().unwrap());
    let filters = Filters::new(&options);
    let mut clients = Clients::default();
    let mut now = Duration::ZERO;
    let mut out = String::new();
    for line in script.lines().map(str::trim) {
        let words: Vec<&str> = line.split(' ').collect();
        let mut news = News::default();
        let mut said = String::new();
        match words[..] {
            ["at", second] => now = Duration::from_secs(second.parse().unwrap()),
            ["beat" | "v2", connection, client, group, ref rest @ ..] => {
                let caller = caller(connection.parse().unwrap());
                let (beat, config) = heartbeat(client, group, words[0] == "v2", rest);
                let who = Who {
                    caller: &caller,
                    client,
                    now,
                    wall: 0,
                    filters: &filters,
                };
                let joins = [(Arc::new(config), &beat.consumers[0])];
                let (answer, refused) = clients.beat(&who, &beat, &joins, &mut news).unwrap();
                assert_eq!(refused, None);
                if words[0] == "v2" {
                    write!(said, " again={}", answer.subscriptions_changed).unwrap();
                }
                if let Some(text) = answer.divergence {
                    write!(said, " remark: {text}").unwrap();
                }
            }
            ["close", connection] => {
                clients.closed(ConnectionId(connection.parse().unwrap()), &mut news);
            }
            ["leave", connection, group] => {
                let who = Who {
                    caller: &caller(connection.parse().unwrap()),
                    client: "",
                    now,
                    wall: 0,
                    filters: &filters,
                };
                clients.leave(&who, None, Some(group), &mut news);
            }
            ["expire", silent] => {
                let limit = now - Duration::from_secs(silent.parse().unwrap());
                clients.expire(limit, &mut news);
            }
            ["members", group] => write!(said, " {:?}", clients.members(group)).unwrap(),
            ["pull", connection, group, topic] => {
                let connection = ConnectionId(connection.parse().unwrap());
                match clients.subscribed(group, connection, topic) {
                    Subscribed::To(s, _) => {
                        write!(said, " {} v{}", s.expression, s.version).unwrap();
                    }
                    Subscribed::NoTopic(_) => said.push_str(" no topic"),
                    Subscribed::NoGroup => said.push_str(" no group"),
                }
            }
            _ => panic!("what is {line:?}?"),
        }
        for (group, members) in news.changed {
            let members: Vec<u64> = members.iter().map(|member| member.0).collect();
            write!(said, " told {group} {members:?}").unwrap();
        }
        for (group, divergence) in news.divergence {
            write!(said, " {group} divergent={}", divergence.is_some()).unwrap();
        }
        if !said.is_empty() {
            writeln!(out, "{line} ->{said}").unwrap();
        }
    }
    writeln!(out, "{} registered", clients.counts().1).unwrap();
    expected.assert_eq(&out);
}

fn heartbeat(client: &str, group: &str, v2: bool, rest: &[&str]) -> (Heartbeat, GroupConfig) {
    let (fingerprint, rest) = match rest.split_first() {
        Some((number, rest)) if v2 => (number.parse().unwrap(), rest),
        _ => (0, rest),
    };
    let broadcast = rest.first() == Some(&"broadcast");
    let subscriptions: Vec<Subscription> = rest[usize::from(broadcast)..]
        .iter()
        .map(|word| {
            let parts: Vec<&str> = word.split(':').collect();
            let topic = TopicName::parse(parts[0]).unwrap();
            Subscription::tags(topic, parts[1], parts[2].parse().unwrap())
        })
        .collect();
    let without_subscriptions = v2 && subscriptions.is_empty();
    let data = ConsumerData {
        group: group.to_owned(),
        kind: ConsumeType::Passively,
        model: match broadcast {
            true => MessageModel::Broadcasting,
            false => MessageModel::Clustering,
        },
        from: ConsumeFrom::LastOffset,
        subscriptions,
        unit_mode: false,
    };
    let beat = Heartbeat {
        client: client.to_owned(),
        producers: Vec::new(),
        consumers: vec![data],
        fingerprint,
        without_subscriptions,
    };
    (beat, GroupConfig::new(GroupName::parse(group).unwrap()))
}

#[test]
fn members_are_told_who_comes_and_who_goes() {
    check(
        "beat 1 a g t:*:1
         beat 1 a g t:*:1
         beat 2 b g t:*:1
         members g
         close 1
         members g
         leave 2 g
         members g",
        expect![[r#"
            beat 1 a g t:*:1 -> told g [1]
            beat 2 b g t:*:1 -> told g [1, 2]
            members g -> ["a", "b"]
            close 1 -> told g [2]
            members g -> ["b"]
            members g -> []
            0 registered
        "#]],
    );
}

#[test]
fn a_client_id_that_comes_back_on_a_new_connection_replaces_its_old_one() {
    check(
        "beat 1 a g t:A:1
         beat 2 a g t:B:2
         members g
         pull 2 g t
         pull 1 g t
         close 1
         members g",
        expect![[r#"
            beat 1 a g t:A:1 -> told g [1]
            beat 2 a g t:B:2 -> told g [2]
            members g -> ["a"]
            pull 2 g t -> B v2
            pull 1 g t -> B v2
            members g -> ["a"]
            1 registered
        "#]],
    );
}

#[test]
fn one_connection_serves_several_groups_of_a_process() {
    check(
        "beat 1 a g t:A:1
         beat 1 a h t:B:1
         pull 1 g t
         pull 1 h t
         leave 1 g
         pull 1 g t
         pull 1 h t",
        expect![[r#"
            beat 1 a g t:A:1 -> told g [1]
            beat 1 a h t:B:1 -> told h [1]
            pull 1 g t -> A v1
            pull 1 h t -> B v1
            pull 1 g t -> no group
            pull 1 h t -> B v1
            1 registered
        "#]],
    );
}

#[test]
fn a_pull_is_filtered_by_who_asks_and_strangers_get_the_newest() {
    check(
        "beat 1 a g t:A:5
         beat 2 b g t:B:3
         pull 1 g t
         pull 2 g t
         pull 9 g t
         beat 1 a g t:C:6
         pull 9 g t
         pull 9 g u
         pull 1 g u
         pull 9 nobody t",
        expect![[r#"
            beat 1 a g t:A:5 -> told g [1]
            beat 2 b g t:B:3 -> remark: g: a wants t(A), b wants t(B) (2 different) told g [1, 2] g divergent=true
            pull 1 g t -> A v5
            pull 2 g t -> B v3
            pull 9 g t -> B v3
            beat 1 a g t:C:6 -> remark: g: b wants t(B), a wants t(C) (2 different) g divergent=true
            pull 9 g t -> C v6
            pull 9 g u -> no topic
            pull 1 g u -> no topic
            pull 9 nobody t -> no group
            2 registered
        "#]],
    );
}

#[test]
fn divergence_ends_when_the_members_agree() {
    check(
        "beat 1 a g t:A:1
         beat 2 b g t:B:1
         beat 2 b g t:A:2
         beat 3 c g t:A:1 u:*:1
         close 3",
        expect![[r#"
            beat 1 a g t:A:1 -> told g [1]
            beat 2 b g t:B:1 -> remark: g: a wants t(A), b wants t(B) (2 different) told g [1, 2] g divergent=true
            beat 2 b g t:A:2 -> g divergent=false
            beat 3 c g t:A:1 u:*:1 -> remark: g: a wants t(A), c wants t(A) u(*) (2 different) told g [1, 2, 3] g divergent=true
            close 3 -> told g [1, 2] g divergent=false
            2 registered
        "#]],
    );
}

#[test]
fn members_of_a_broadcasting_group_are_told_nothing_and_may_differ() {
    check(
        "beat 1 a g broadcast t:A:1
         beat 2 b g broadcast t:B:1
         members g",
        expect![[r#"
            members g -> ["a", "b"]
            2 registered
        "#]],
    );
}

#[test]
fn who_is_silent_for_two_minutes_is_dropped() {
    check(
        "beat 1 a g t:*:1
         beat 2 b g t:*:1
         at 100
         beat 1 a g t:*:1
         at 121
         expire 120
         members g
         at 221
         expire 120
         members g",
        expect![[r#"
            beat 1 a g t:*:1 -> told g [1]
            beat 2 b g t:*:1 -> told g [1, 2]
            expire 120 -> told g [1]
            members g -> ["a"]
            members g -> []
            0 registered
        "#]],
    );
}

#[test]
fn a_fingerprint_stands_for_what_was_sent_before() {
    check(
        "v2 1 a g 77 t:A:1
         v2 1 a g 77
         pull 1 g t
         v2 1 a g 78
         v2 2 a g 77",
        expect![[r#"
            v2 1 a g 77 t:A:1 -> again=false told g [1]
            v2 1 a g 77 -> again=false
            pull 1 g t -> A v1
            v2 1 a g 78 -> again=true
            v2 2 a g 77 -> again=false told g [2]
            1 registered
        "#]],
    );
}

#[test]
fn a_client_that_connects_again_is_a_member_at_once() {
    check(
        "v2 1 a g 77 t:A:1
         v2 2 b g 77 t:A:1
         close 1
         v2 3 a g 77
         pull 3 g t
         close 2
         v2 4 b g 78
         members g
         pull 4 g t
         v2 4 b g 78 t:B:2
         pull 4 g t",
        expect![[r#"
            v2 1 a g 77 t:A:1 -> again=false told g [1]
            v2 2 b g 77 t:A:1 -> again=false told g [1, 2]
            close 1 -> told g [2]
            v2 3 a g 77 -> again=false told g [2, 3]
            pull 3 g t -> A v1
            close 2 -> told g [3]
            v2 4 b g 78 -> again=true told g [3, 4]
            members g -> ["a", "b"]
            pull 4 g t -> A v1
            v2 4 b g 78 t:B:2 -> again=false remark: g: a wants t(A), b wants t(B) (2 different) told g [3, 4] g divergent=true
            pull 4 g t -> B v2
            2 registered
        "#]],
    );
}

#[test]
fn what_a_client_subscribed_to_is_forgotten_with_it() {
    check(
        "v2 1 a g 77 t:A:1
         close 1
         at 200
         expire 120
         v2 2 a g 77
         pull 2 g t
         members g",
        expect![[r#"
            v2 1 a g 77 t:A:1 -> again=false told g [1]
            v2 2 a g 77 -> again=true told g [2]
            pull 2 g t -> no topic
            members g -> ["a"]
            1 registered
        "#]],
    );
}
