//! What the recorded broker had heard before a case, from clients whose requests are none of the cases.

use std::time::Duration;

use broker::ConnectionId;
use remoting::Command;
use remoting::code::request::*;
use serde_json::json;

use crate::say;
use crate::world::{Held, World};

/// Who held the administrator's group and was its producer.
const HOLDER: u64 = 211;

/// Brings the world to what the recorded one was when this case was asked. Returns what is held.
pub fn before(world: &World, case: &str) -> Option<Held> {
    match case {
        // Who replied was recorded by nobody.
        "j53-subscription-race line 229" => {
            let properties = "UNIQ_KEY\u{1}7F000001500B4E0E2F2A7965BE93001F\u{2}\
                CORRELATION_ID\u{1}d3dd3713-e949-43d3-a042-57f4801a47d8\u{2}MSG_TYPE\u{1}reply\u{2}\
                TTL\u{1}8000\u{2}REPLY_TO_CLIENT\u{1}127.0.0.1@20491#1733955025992\u{2}";
            let reply = say::send_with("DefaultCluster_REPLY_TOPIC", 0, properties, b"the reply");
            let mut reply = say::but(reply, "a", "G_j53_reply_p");
            reply.code = SEND_REPLY_MESSAGE_V2;
            return Some(world.hold(&say::but(reply, "g", 1_795_527_911_060i64)));
        }
        // How its clients left was recorded by nobody either.
        "j53-pop line 7" => {
            for conn in [54, 56] {
                world.broker.closed(ConnectionId(conn));
            }
        }
        // The recording leaves out most of what the one before committed.
        "j53-request line 28" => {
            commit(world, "G_j53_req", "T_j53_req", &[1, 1, 0, 0]);
            commit(world, "G_j53_req", "%RETRY%G_j53_req", &[0]);
        }
        // Apache writes a half message anew when it asks about it: there is one more for each check.
        "go-tx line 7" | "j49-tx line 11" => {
            let half = say::send_with(
                "T_j49_tx",
                0,
                "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}P\u{2}",
                b"m",
            );
            assert_eq!(world.ask(say::but(half, "f", 4)).code, 0);
        }
        // The recorded broker made the group for a request that it then refused.
        "errors-broker frame 64" => {
            world.ask(say::create_group(r#"{"groupName":"G_none"}"#));
        }
        // What was counted before is older than a minute.
        "mqadmin-topicList-c line 11" => later(world, 7),
        // The recording leaves out what the holder does every few seconds.
        "mqadmin-updateTopic-b line 2" => {
            commit(world, "AdminGroup", "%RETRY%AdminGroup", &[0]);
        }
        // A message that nobody recorded.
        "mqadmin-clusterRT line 10" => {
            assert_eq!(world.ask(say::send("ErrTopic", b"m")).code, 0);
        }
        "mqadmin-queryMsgById-none line 2" => consume(world, 3, 2, 1),
        // A burst of sends that the recorded broker was too busy for.
        "j49-push line 11" => {
            for _ in 3..1651 {
                assert_eq!(world.ask(say::send("ErrTopic", b"m")).code, 0);
            }
        }
        _ => {}
    }
    None
}

/// The heartbeat of the client that holds the administrator's group.
fn holder_beats(world: &World) {
    let subscription = |topic: &str, tags: &[&str], version: i64| {
        let text = if tags.is_empty() {
            "*".to_owned()
        } else {
            tags.join(" || ")
        };
        let codes: Vec<_> = tags.iter().map(|tag| model::tag::java_hash(tag)).collect();
        json!({"topic": topic, "subString": text, "subVersion": version, "tagsSet": tags,
            "codeSet": codes, "expressionType": "TAG", "classFilterMode": false})
    };
    let beat = json!({
        "clientID": "127.0.0.1@holder",
        "consumerDataSet": [{
            "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET", "consumeType": "CONSUME_PASSIVELY",
            "groupName": "AdminGroup", "messageModel": "CLUSTERING", "unitMode": false,
            "subscriptionDataSet": [subscription("AdminTopic", &["TagA", "TagB"], 1_795_528_767_908),
                subscription("%RETRY%AdminGroup", &[], 1_795_528_787_924)],
        }],
        "producerDataSet": [{"groupName": "AdminProducerGroup"}, {"groupName": "CLIENT_INNER_PRODUCER"}],
    });
    let beat = Command::request(HEART_BEAT).body(beat.to_string().into_bytes());
    assert_eq!(world.ask_on(HOLDER, beat).code, 0);
}

/// Messages that the administrator's group consumes with one pull.
fn consume(world: &World, queue: i32, offset: i64, count: i64) {
    let pull = say::pull("AdminGroup", "AdminTopic", queue, offset);
    assert_eq!(world.ask_on(HOLDER, pull).code, 0);
    let commit = say::queue(UPDATE_CONSUMER_OFFSET, "AdminTopic", queue);
    let commit = commit.with("consumerGroup", "AdminGroup");
    assert_eq!(
        world.ask(commit.with("commitOffset", offset + count)).code,
        0
    );
}

/// A group's offsets of a topic's first queues.
fn commit(world: &World, group: &str, topic: &str, offsets: &[i64]) {
    for (queue, offset) in (0..).zip(offsets) {
        let commit = say::queue(UPDATE_CONSUMER_OFFSET, topic, queue);
        let commit = commit.with("consumerGroup", group);
        assert_eq!(world.ask(commit.with("commitOffset", offset)).code, 0);
    }
}

/// So many times ten seconds later, with all that is due by then.
fn later(world: &World, tens: usize) {
    for _ in 0..tens {
        world.clock.advance(Duration::from_secs(10));
        holder_beats(world);
        world.broker.deadlines_step().unwrap();
        world.broker.tick().unwrap();
    }
}

/// Whether a value is in a row of a table that is there for a client whose requests are none of the
/// cases (their topics and groups have the client's name in them), or for the broker's own consumers.
pub fn left_by_others(name: &str) -> bool {
    let of = |mark| {
        name.split_once('[')
            .is_some_and(|(_, row)| row.contains(mark))
    };
    ["_j53_", "_j49_", "_go_", "CID_RMQ_SYS_"]
        .into_iter()
        .any(of)
}
