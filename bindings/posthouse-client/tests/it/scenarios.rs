//! Plays `bindings/scenarios.json`, what clients of every language do alike: inside the process, over
//! TCP, and against Apache's brokers. How the file is read is in `bindings/scenarios.md`.

mod play;
mod steps;

use std::sync::Arc;

use conformance::servers::{self, Apache, Server};
use conformance::toolchain::{self, Release};
use posthouse_client::{Client, Config};
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::places::{inside, inside_in, over_tcp};
use play::Play;

/// What a scenario may take; Apache's brokers look at half messages every few seconds.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

fn scenarios() -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("../../../scenarios.json")).unwrap();
    assert_eq!(file["version"], 1);
    file["scenarios"].as_array().unwrap().clone()
}

/// Plays all of them at the same time. `apache`: whose deviations are expected.
fn all(client: impl Fn() -> Client + Send + Sync + 'static, apache: Option<&str>) {
    let client = Arc::new(client);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let failed: Vec<String> = runtime.block_on(async {
        let mut plays = tokio::task::JoinSet::new();
        for scenario in scenarios() {
            let (client, expected) = (client.clone(), expected(&scenario, apache));
            plays.spawn(async move {
                let name = scenario["name"].as_str().unwrap().to_owned();
                let mut play = Play::new(client);
                let played = timeout(LIMIT, play.steps(&scenario)).await;
                let mut wrong = differences(&expected, &play.seen);
                if played.is_err() {
                    wrong.push("it did not end in time".to_owned());
                }
                play.end().await;
                wrong.iter().map(|what| format!("{name}: {what}")).collect()
            });
        }
        let plays: Vec<Vec<String>> = plays.join_all().await;
        plays.concat()
    });
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

/// What must be seen, the deviations of that release put over it.
fn expected(scenario: &Value, apache: Option<&str>) -> Map<String, Value> {
    let mut expected = scenario["expect"].as_object().unwrap().clone();
    if let Some(deviation) = apache.and_then(|release| scenario["expectApache"].get(release)) {
        assert!(deviation["why"].is_string(), "a deviation has a reason");
        expected.extend(deviation["expect"].as_object().unwrap().clone());
    }
    expected
}

fn differences(expected: &Map<String, Value>, seen: &Map<String, Value>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (step, expected) in expected {
        let seen = seen.get(step);
        let Some(fields) = expected.as_object() else {
            if let Some(seen) = seen {
                wrong.push(format!("{step} was not to be reached, but saw {seen}"));
            }
            continue;
        };
        for (field, expected) in fields {
            let seen = seen.and_then(|seen| seen.get(field));
            if seen != Some(expected) {
                let seen = seen.map_or("nothing".to_owned(), Value::to_string);
                wrong.push(format!("{step}.{field}: expected {expected}, saw {seen}"));
            }
        }
    }
    wrong
}

#[test]
fn inside_the_process() {
    all(inside, None);
}

#[test]
fn in_a_namespace() {
    all(|| inside_in("eu"), None);
}

#[test]
fn over_tcp_to_posthouse() {
    let apache = crate::places::apache().then_some("5.3.3");
    all(over_tcp, apache);
}

#[test]
fn over_tcp_to_apache_5_3_3() {
    at_apache(Release::V5);
}

#[test]
fn over_tcp_to_apache_4_9_7() {
    at_apache(Release::V4);
}

fn at_apache(release: Release) {
    if let Some(why) = toolchain::missing(&["java", "mvn"]) {
        eprintln!("skipped: {why}");
        return;
    }
    let server: Server = servers::apache_of(release, Apache::Both);
    let namesrv = server.namesrv.clone();
    all(
        move || Client::new(Config::new(&namesrv)),
        Some(release.version()),
    );
    server.stop();
}

#[test]
fn a_difference_is_seen() {
    let value = |text| serde_json::from_str::<Map<String, Value>>(text).unwrap();
    let expected = value(r#"{"got": {"bodies": ["1"]}, "more": null}"#);
    let fine = value(r#"{"got": {"bodies": ["1"], "attempts": {}}}"#);
    assert!(differences(&expected, &fine).is_empty());
    for wrong in [
        r#"{}"#,
        r#"{"got": {"bodies": ["1", "1"]}}"#,
        r#"{"got": {"refused": 3}}"#,
        r#"{"got": {"bodies": ["1"]}, "more": {}}"#,
    ] {
        assert_eq!(differences(&expected, &value(wrong)).len(), 1, "{wrong}");
    }
}
