//! Go beside Java at one broker: each asks and the other replies, and an administrator in Java looks after a running Go
//! consumer. Go's half is in `go/asked.go`, Java's in `java/common/Mixed.java` and `Overseeing.java`.
#![allow(clippy::unwrap_used)] // a test stops at the first surprise

use std::collections::BTreeMap;

use conformance::clients::Client;
use serde_json::Value;

use crate::java::{client_4_9_7, client_5_3_3};
use crate::{go, skipped, target};

const NEEDS: [&str; 3] = ["java", "mvn", "go"];

/// Plays a half with each, about the same topic and group; gives what each told, Go's first.
fn together(
    (go, go_half, go_more): (&Client, &str, &[(&str, &str)]),
    (java, java_half, java_more): (&Client, &str, &[(&str, &str)]),
    name: &str,
) -> (Vec<Value>, Vec<Value>) {
    let group = format!("{name}-group");
    let settings = [("topic", name), ("group", &group), ("target", target())];
    let go_settings = [&settings[..], go_more].concat();
    let java_settings = [&settings[..], java_more].concat();
    std::thread::scope(|scope| {
        let go = scope.spawn(|| go.play(go_half, &go_settings));
        let java = scope.spawn(|| java.play(java_half, &java_settings));
        // Java's first: it says more about what went wrong.
        let java = java.join();
        let go = go.join();
        match (go, java) {
            (Ok(go), Ok(java)) => (go, java),
            (_, Err(failed)) | (Err(failed), _) => std::panic::resume_unwind(failed),
        }
    })
}

/// The consumer gets its messages, and one of them again because it is told to, and all of them again because the group
/// is sent back.
pub fn oversee(go: &Client, java: &Client, name: &str) {
    java.play("oversee-topic", &[("topic", name), ("target", target())]);
    let (told, _) = together(
        (go, "mixed-member", &[("until", "first:2,asked:3")]),
        (
            java,
            "oversee",
            &[("language", "GO"), ("stack", "goroutine")],
        ),
        name,
    );
    let mut times = BTreeMap::new();
    for event in told.iter().filter(|event| event["event"] == "got") {
        *times.entry(event["body"].as_str().unwrap()).or_insert(0) += 1;
    }
    assert_eq!(times, BTreeMap::from([("first", 2), ("asked", 3)]));
}

#[test]
fn java_4_9_7_looks_after_go() {
    if !skipped(&NEEDS) {
        oversee(go::client(), client_4_9_7::client(), "overseen-4");
    }
}

#[test]
fn java_5_3_3_looks_after_go() {
    if !skipped(&NEEDS) {
        oversee(go::client(), client_5_3_3::client(), "overseen-5");
    }
}

fn replies<'a>(told: &'a [Value], what: &str) -> &'a str {
    let reply = told.iter().find(|event| event["event"] == "reply");
    reply.unwrap()["body"]
        .as_str()
        .unwrap_or_else(|| panic!("{what}: {told:?}"))
}

#[test]
fn java_replies_to_go() {
    for (java, name) in [
        (client_4_9_7::client as fn() -> &'static Client, "go-asks-4"),
        (client_5_3_3::client, "go-asks-5"),
    ] {
        if skipped(&NEEDS) {
            return;
        }
        let go = (go::client(), "mixed-request", &[][..]);
        let (told, _) = together(go, (java(), "mixed-reply", &[]), name);
        assert_eq!(replies(&told, name), "Java says from Go");
    }
}

#[test]
fn go_replies_to_java() {
    for (java, name) in [
        (
            client_4_9_7::client as fn() -> &'static Client,
            "java-asks-4",
        ),
        (client_5_3_3::client, "java-asks-5"),
    ] {
        if skipped(&NEEDS) {
            return;
        }
        let java = (java(), "mixed-request", &[("stop", "true")][..]);
        let (_, told) = together((go::client(), "mixed-reply", &[]), java, name);
        assert_eq!(replies(&told, name), "Go says from Java");
    }
}
