//! Requests that Apache's broker was recorded to answer, asked of ours in the same order: the code, the
//! names of the fields and the names in the body are the same, except where `testdata/deviations.md`
//! says why not.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use remoting::Command;
use remoting::body::from_slice;
use remoting::server::{Again, Door};
use serde::Deserialize;
use serde_json::Value;

use crate::say;
use crate::world::{Said, World, peer};

#[derive(Deserialize)]
struct Recorded {
    case: String,
    door: String,
    conn: u64,
    request: String,
    code: i32,
    fields: Option<Vec<String>>,
    body: Option<String>,
    what: String,
}

fn recorded() -> Vec<Recorded> {
    let packed = include_bytes!("../../testdata/recorded.jsonl.gz");
    let mut text = String::new();
    let mut unpacked = GzDecoder::new(&packed[..]);
    unpacked.read_to_string(&mut text).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The recorded requests, as owned commands.
pub fn requests() -> Vec<Command> {
    let frames = recorded();
    let frames = frames.iter().map(|case| STANDARD.decode(&case.request));
    frames
        .map(|frame| Command::decode(&frame.unwrap()).unwrap())
        .collect()
}

/// The first column of the table of deviations.
fn deviations() -> BTreeSet<String> {
    let text = include_str!("../../testdata/deviations.md");
    let cases = text.lines().filter_map(|line| line.strip_prefix("| `"));
    cases
        .filter_map(|line| line.split_once('`'))
        .map(|(case, _)| case.to_owned())
        .collect()
}

/// The names in a body: those of an object, and below each name those of what it holds. Maps that are
/// keyed by data (topics, groups, queues, figures) count as lists.
fn names(value: &Value, path: &str, out: &mut BTreeSet<String>) {
    const BY_DATA: [&str; 8] = [
        ".offsetTable",
        ".consumeStatsList[]",
        ".subscriptionTable",
        ".topicConfigTable",
        ".subscriptionGroupTable",
        ".groupTopicMap",
        ".forbiddenTable",
        ".attributes",
    ];
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let number = name.bytes().all(|byte| byte.is_ascii_digit());
                let data = BY_DATA.iter().any(|by_data| path.ends_with(by_data)) || number;
                let below = match data {
                    true => format!("{path}[]"),
                    false => format!("{path}.{name}"),
                };
                out.insert(below.clone());
                names(member, &below, out);
            }
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| names(item, &format!("{path}[]"), out)),
        _ => {}
    }
}

fn body_names(body: &[u8]) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    match from_slice::<Value>(body) {
        Ok(value) => names(&value, "", &mut out),
        Err(_) if body.is_empty() => {}
        Err(_) => {
            out.insert("bytes".to_owned());
        }
    }
    out
}

/// How the answer to a case differs from the recorded one; empty if it does not.
fn difference(case: &Recorded, answer: &Command) -> String {
    let mut text = String::new();
    if answer.code != case.code {
        text += &format!("code {} not {}; ", answer.code, case.code);
    }
    let ours = answer.ext.as_ref().map(|fields| {
        let names = fields.iter().map(|(name, _)| name.clone());
        names.collect::<BTreeSet<_>>()
    });
    let theirs = case.fields.clone().map(BTreeSet::from_iter);
    if ours != theirs {
        text += &format!("fields {ours:?} not {theirs:?}; ");
    }
    let ours = body_names(&answer.body);
    let theirs = match &case.body {
        Some(body) => body_names(body.as_bytes()),
        None => BTreeSet::from(["bytes".to_owned()]),
    };
    let lost: Vec<_> = theirs.difference(&ours).collect();
    let new: Vec<_> = ours.difference(&theirs).collect();
    if !lost.is_empty() || !new.is_empty() {
        text += &format!("body lacks {lost:?}, has {new:?}; ");
    }
    text
}

/// What the recorded broker had before: a topic with an attribute, a group on it with an offset, and a
/// producer.
fn furnish(world: &World) {
    world.ask(say::create_topic("AdminTopic", 4, 6));
    world.ask(say::create_topic("AdmFifo", 4, 6).with("attributes", "+message.type=FIFO"));
    world.ask_on(900, say::beat("c", "AdminGroup", "AdminTopic", "*", 1));
    let producer = r#"{"clientID":"c","producerDataSet":[{"groupName":"AdminProducerGroup"}]}"#;
    world.ask_on(900, Command::request(34).body(producer.as_bytes().to_vec()));
    world.ask(say::send("AdminTopic", b"m"));
    assert_eq!(
        world.ask(say::pull("AdminGroup", "AdminTopic", 0, 0)).code,
        0
    );
    world.ask(say::create_topic("T_j53_pop", 4, 6));
    world.ask(say::create_group(r#"{"groupName":"G_j53_pop"}"#));
    let commit = say::queue(15, "AdminTopic", 0).with("consumerGroup", "AdminGroup");
    assert_eq!(world.ask(commit.with("commitOffset", 1)).code, 0);
}

#[test]
fn answers_have_the_recorded_form_except_where_a_reason_is_given() {
    let world = World::with(|options| {
        options.trace_topic = true;
        // The send that leaves the choice to the broker goes to queue 0, as it did then.
        options.seed = 6;
        options.shown = vec![("brokerName".to_owned(), "broker-a".to_owned())];
    });
    furnish(&world);
    let excused = deviations();
    let mut found = BTreeMap::new();
    for case in recorded() {
        let door = match case.door.ends_with("vip") {
            true => Door::Vip,
            false => Door::Main,
        };
        let request = STANDARD.decode(&case.request).unwrap();
        let answer = match world.send(&peer(case.conn, door), &request) {
            Said::Answer(answer) => answer,
            Said::Held(held) => world.again(&held, Again::Deadline),
        };
        let difference = difference(&case, &answer);
        if !difference.is_empty() {
            found.insert(
                case.case,
                format!("{}\n    {difference}{:?}", case.what, answer.remark),
            );
        }
    }
    let unexcused = found.iter().filter(|(case, _)| !excused.contains(*case));
    let unexcused: String = unexcused
        .map(|(case, text)| format!("{case}: {text}\n"))
        .collect();
    assert!(unexcused.is_empty(), "{unexcused}");
    let stale: Vec<_> = excused
        .iter()
        .filter(|case| !found.contains_key(*case))
        .collect();
    assert!(stale.is_empty(), "no deviation any more: {stale:?}");
}
