//! What Apache 5.3.3's name server was recorded to answer, asked of ours in the order in which it was
//! asked of theirs.
//!
//! A line of `testdata/recorded.jsonl` is a request's whole frame and the answer. A body must be the same
//! byte for byte, except lists and counts of topics, which are the recorded broker's.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use serde_json::Value;

use super::*;

/// Where our answer is another, and why.
const DEVIATIONS: [(&str, i32, &str); 2] = [
    // Apache leaves an initial value in a successful answer.
    ("errors-name-server", 901, "remark"),
    // Apache fails on a compressed body whose header says that it is not; ours takes it.
    ("broker-registration", 103, "compressed"),
];

struct Line {
    scenario: String,
    code: i32,
    frame: Vec<u8>,
    answer: Value,
}

/// None for the line that stands for "here the administrator's topic was created".
fn line(text: &str) -> Option<Line> {
    let line: Value = serde_json::from_str(text).unwrap();
    let frame = line.get("request")?.as_str()?;
    Some(Line {
        scenario: line["file"].as_str()?.to_owned(),
        code: i32::try_from(line["code"].as_i64()?).ok()?,
        frame: base64::engine::general_purpose::STANDARD
            .decode(frame)
            .unwrap(),
        answer: line["answer"].clone(),
    })
}

fn deviates(line: &Line, what: &str) -> bool {
    let from =
        |d: &&(&str, i32, &str)| (d.0, d.1, d.2) == (line.scenario.as_str(), line.code, what);
    DEVIATIONS.iter().find(from).is_some()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.clone())
        .collect()
}

/// A properties text.
fn properties(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .collect()
}

/// The names in a list of topics.
fn topics(list: &Value) -> BTreeSet<&str> {
    let names = list["topicList"].as_array().unwrap().iter();
    names.map(|name| name.as_str().unwrap()).collect()
}

fn compare(line: &Line, ours: &Command) {
    let at = format!("{} {}", line.scenario, line.code);
    let theirs = &line.answer;
    if deviates(line, "compressed") && theirs["code"] == 1 {
        assert_eq!(ours.code, response::SUCCESS, "{at}");
        return;
    }
    assert_eq!(
        i64::from(ours.code),
        theirs["code"].as_i64().unwrap(),
        "{at}"
    );
    if !deviates(line, "remark") {
        assert_eq!(ours.remark.as_deref(), theirs["remark"].as_str(), "{at}");
    }
    let fields = ours
        .ext
        .as_ref()
        .map(|ext| ext.iter().map(|(k, v)| (k.clone(), v.clone())));
    let fields = fields.map(|fields| Value::Object(fields.map(|(k, v)| (k, v.into())).collect()));
    let counted = matches!(
        line.code,
        request::WIPE_WRITE_PERM_OF_BROKER | request::ADD_WRITE_PERM_OF_BROKER
    );
    match (&fields, counted) {
        (Some(fields), true) => {
            let theirs = &theirs["extFields"];
            assert_eq!(keys(fields), keys(theirs), "{at}");
            for key in keys(fields) {
                assert_eq!(fields[&key] == "0", theirs[&key] == "0", "{at} {key}");
            }
        }
        (fields, _) => assert_eq!(
            fields.as_ref().unwrap_or(&Value::Null),
            &theirs["extFields"],
            "{at}"
        ),
    }
    let (ours, theirs) = (text(ours), theirs["body"].as_str().unwrap());
    match line.code {
        request::GET_NAMESRV_CONFIG => {
            let (ours, theirs) = (properties(ours), properties(theirs));
            assert!(ours.keys().eq(theirs.keys()), "{at} {ours:?}");
            // The test's has no files, and lets nobody move its home.
            let differs = theirs.iter().filter(|(key, value)| ours[*key] != **value);
            let differs: Vec<_> = differs.map(|(key, _)| *key).collect();
            let expected = ["configBlackList", "configStorePath", "kvConfigPath"];
            assert_eq!(differs, expected, "{at}");
        }
        206 | 224 | 304 => {
            let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            let (ours, theirs) = (parse(ours), parse(theirs));
            assert_eq!(keys(&ours), keys(&theirs), "{at}");
            // The recorded broker had more topics than ours; it had all of ours.
            let (ours_listed, theirs_listed) = (topics(&ours), topics(&theirs));
            assert!(
                ours_listed.is_subset(&theirs_listed),
                "{at} {ours_listed:?}"
            );
            assert_eq!(ours_listed.is_empty(), theirs_listed.is_empty(), "{at}");
            assert_eq!(ours["brokerAddr"], theirs["brokerAddr"], "{at}");
        }
        _ => assert_eq!(ours, theirs, "{at}"),
    }
}

#[test]
fn answers_are_those_that_apache_was_recorded_to_give() {
    let mut bench = Bench::new(Options {
        home: "/store".to_owned(),
        bind_address: "127.0.0.2".to_owned(),
        listen_port: 19_876,
        ..Options::default()
    });
    let recorded = include_str!("../../../testdata/recorded.jsonl");
    let mut compared = 0;
    for text in recorded.lines() {
        match line(text) {
            Some(line) => {
                compare(&line, &bench.frame(&line.frame));
                compared += 1;
            }
            None => {
                // What the administrator created between the two recordings.
                let topics = ["AdminTopic", "ErrTopic"];
                assert_eq!(bench.register(0, "127.0.0.1:20911", &topics).code, 0);
            }
        }
    }
    assert_eq!(compared, 56);
}
