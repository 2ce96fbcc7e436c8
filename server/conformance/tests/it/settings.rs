//! What needs settings that are not the default: a server of its own.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use conformance::clients::Client;
use conformance::servers::{self, Server, apache_stands_in};
use conformance::toolchain::Release;
use serde_json::Value;

use crate::{polyglot, skipped, target};

/// Resets are carried out by consumers, no message is so young that a new group begins at it, routes carry the order
/// of queues, and there is a topic for traces.
const SETTINGS: &str = "useServerSideResetOffset=false\naccessMessageInMemoryMaxRatio=0\n\
    orderMessageEnable=true\ntraceTopicEnable=true\n";

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| servers::standalone_with(SETTINGS))
}

fn client(release: Release) -> &'static Client {
    static CLIENTS: [OnceLock<Client>; 2] = [OnceLock::new(), OnceLock::new()];
    let (slot, name) = match release {
        Release::V4 => (&CLIENTS[0], "settings-4.9.7"),
        Release::V5 => (&CLIENTS[1], "settings-5.3.3"),
    };
    slot.get_or_init(|| Client::java(release, name, &[], &server().namesrv))
}

fn play(release: Release, scenario: &str) {
    if !skipped(&["java", "mvn"]) {
        client(release).play(scenario, &[("target", target())]);
    }
}

#[test]
fn reset_by_the_consumer_itself_4_9_7() {
    play(Release::V4, "reset-by-client");
}

#[test]
fn reset_by_the_consumer_itself_5_3_3() {
    play(Release::V5, "reset-by-client");
}

/// As above, of a consumer in Go: it drops its queues, waits ten seconds, and begins anew.
#[test]
fn reset_by_the_go_consumer_itself() {
    if !skipped(&["java", "mvn", "go"]) {
        let go = Client::go("settings-go", &server().namesrv);
        polyglot::oversee(&go, client(Release::V5), "overseen-reset");
    }
}

/// Not asked of Apache: whether a message is hot it finds out from the page cache, whatever the setting says.
#[test]
fn new_groups_begin_where_they_say() {
    if apache_stands_in() {
        return;
    }
    play(Release::V4, "from-where");
    play(Release::V5, "from-where");
}

#[test]
fn order_topics() {
    play(Release::V4, "order-topic");
    play(Release::V5, "order-topic");
}

/// Each tool shows the traces that any client wrote: who sent, who consumed, and that both went well.
#[test]
fn traces_are_shown_by_either_tool() {
    if skipped(&["java", "mvn", "go"]) {
        return;
    }
    // JVMs of their own: a tool takes the whole console.
    let start = |release, name| Client::java(release, name, &[], &server().namesrv);
    let tools = [
        start(Release::V4, "trace-4.9.7"),
        start(Release::V5, "trace-5.3.3"),
    ];
    let go = Client::go("trace-go", &server().namesrv);
    let traced = [&tools[0], &tools[1], &go].map(|client| {
        let events = client.play("trace", &[("target", target())]);
        let found = events.into_iter().find(|event| event["event"] == "traced");
        found.expect("a traced message")
    });
    for tool in &tools {
        for message in &traced {
            show(tool, message);
        }
    }
}

fn show(tool: &Client, traced: &Value) {
    let text = |name: &str| traced[name].as_str().expect("a text");
    let command = format!(
        "queryMsgTraceById\n-n\n{}\n-i\n{}\n-t\nRMQ_SYS_TRACE_TOPIC",
        server().namesrv,
        text("msgId")
    );
    let arguments = BASE64_STANDARD.encode(command);
    let lines = |kind: &str, printed: &str| -> Vec<String> {
        let lines = printed.lines().filter(|line| line.starts_with(kind));
        lines.map(str::to_owned).collect()
    };
    // A client writes its traces when it ends; the index follows.
    let end = Instant::now() + Duration::from_secs(60);
    let mut printed = String::new();
    while Instant::now() < end {
        let events = tool.play("mqadmin", &[("arguments", &arguments)]);
        let output = events.iter().find_map(|event| event["text"].as_str());
        printed = output.unwrap_or_default().to_owned();
        let (sent, got) = (lines("Pub ", &printed), lines("Sub ", &printed));
        if let ([sent], [got]) = (&sent[..], &got[..]) {
            assert!(
                sent.contains(text("producer")) && sent.contains("success"),
                "{printed}"
            );
            assert!(
                got.contains(text("consumer")) && got.contains("success"),
                "{printed}"
            );
            return;
        }
    }
    panic!("no trace of {traced}: {printed}");
}
