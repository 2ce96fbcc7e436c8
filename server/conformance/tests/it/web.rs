//! HTTP judged by other people's tools: a linter, a browser; and as a gateway to Apache.
#![allow(clippy::unwrap_used)] // a test stops at the first surprise

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use conformance::process::Process;
use conformance::servers::{self, Apache};
use conformance::{home, toolchain, workshop};

const LIMIT: Duration = Duration::from_secs(60);

fn document() -> PathBuf {
    home().join("../../openapi/openapi.yaml")
}

/// A process that serves HTTP, and where.
pub fn serving(arguments: &[&str], scratch: Option<&Path>) -> (Process, String) {
    let mut all: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    all.extend(["--metrics-addr".to_owned(), "off".to_owned()]);
    if !arguments.contains(&"--http-addr") {
        all.extend(["--http-addr".to_owned(), "127.0.0.1:0".to_owned()]);
    }
    let process = Process::hold(&servers::binary(), &all, scratch);
    let base = process.line(LIMIT, |line| {
        let words = line.trim_start().strip_prefix("HTTP ")?;
        words.split_whitespace().next().map(str::to_owned)
    });
    let base = base.unwrap_or_else(|why| panic!("{arguments:?} serves no HTTP: {why}"));
    // Behind the last line of the banner everything is open.
    process
        .line(LIMIT, |line| line.contains("to try").then_some(()))
        .unwrap();
    (process, base)
}

fn succeeds(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{command:?}:\n{said}");
    said
}

/// Asks with curl, and gives the body; the status must be a success.
fn curl(arguments: &[&str]) -> String {
    succeeds(
        Command::new("curl")
            .args(["-sS", "--fail-with-body"])
            .args(arguments),
    )
}

#[test]
fn a_linter_finds_nothing_in_the_document() {
    if super::skipped(&["node", "npm"]) {
        return;
    }
    let modules = toolchain::node();
    let lint = modules.join(".bin/redocly");
    let rules = home().join("node/redocly.yaml");
    succeeds(
        Command::new(lint)
            .arg("lint")
            .arg(document())
            .arg("--config")
            .arg(rules),
    );
}

#[test]
fn the_page_works_in_a_browser_and_survives_a_restart() {
    if super::skipped(&["node", "npm", "chromium"]) {
        return;
    }
    let modules = toolchain::node();
    let folder = workshop().join("page");
    std::fs::create_dir_all(&folder).unwrap();
    let data = workshop().join(format!("web-page-{}", std::process::id()));
    let (http, remoting) = (servers::free_ports(1), servers::free_ports(5));
    let [http, namesrv, broker] =
        [http, remoting, remoting + 3].map(|port| format!("127.0.0.1:{port}"));
    let store = data.display().to_string();
    let start = || {
        let arguments = [
            "standalone",
            "--data",
            &store,
            "--http-addr",
            &http,
            "--namesrv-addr",
            &namesrv,
            "--broker-addr",
            &broker,
        ];
        serving(&arguments, None)
    };
    let (server, base) = start();
    let mut script = Command::new("node");
    script.arg(home().join("node/page.mjs"));
    script
        .args([&base, "/usr/bin/chromium"])
        .arg(&modules)
        .arg(&folder);
    let mut script = Process::start(script);
    let heard = |script: &Process, what: &str| {
        let line = script.line(3 * LIMIT, |line| (line == what).then_some(()));
        line.unwrap_or_else(|why| panic!("the browser did not come to {what}: {why}"));
    };
    heard(&script, "stop");
    server.stop();
    script.say("\n");
    heard(&script, "start");
    let (_server, _) = start();
    script.say("\n");
    heard(&script, "done");
    let _ = std::fs::remove_dir_all(&data);
}

/// Its own way of coming back, not ours: it waits for `retry`, and says where it was.
#[test]
fn a_browsers_event_source_resumes_over_a_hundred_cuts() {
    if super::skipped(&["node", "npm", "chromium"]) {
        return;
    }
    let modules = toolchain::node();
    let folder = workshop().join(format!("web-cuts-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (data, config) = (folder.join("data"), folder.join("posthouse.conf"));
    std::fs::write(&config, "http.sse.retry=50\n").unwrap();
    let port = servers::free_ports(5);
    let [namesrv, broker] = [port, port + 3].map(|port| format!("127.0.0.1:{port}"));
    let [data, config] = [data, config].map(|path| path.display().to_string());
    let arguments = [
        "standalone",
        "-c",
        &config,
        "--data",
        &data,
        "--namesrv-addr",
        &namesrv,
        "--broker-addr",
        &broker,
    ];
    let (_server, base) = serving(&arguments, Some(&folder));
    let mut script = Command::new("node");
    script.arg(home().join("node/eventsource.mjs"));
    script.arg(&base).arg("/usr/bin/chromium").arg(&modules);
    let said = succeeds(script.arg("100"));
    assert!(said.contains("done"), "{said}");
}

/// What README shows with curl, through a gateway: the cluster is Apache's.
#[test]
fn a_gateway_serves_apaches_cluster() {
    if super::skipped(&["java", "mvn", "curl"]) {
        return;
    }
    let apache = servers::apache(Apache::Both);
    let (_gateway, base) = serving(&["gateway", "-n", &apache.namesrv], None);
    let topic = format!("{base}/v1/topics/through-the-gateway");
    let made = curl(&["-X", "PUT", &topic]);
    assert!(made.contains("\"message_type\":\"mixed\""), "{made}");
    assert_eq!(curl(&["-X", "PUT", &topic]), made);
    let listed = curl(&[&format!("{base}/v1/topics?prefix=through")]);
    assert!(listed.contains("through-the-gateway"), "{listed}");
    let body = r#"{"body":"hello Apache","tag":"greeting","keys":["k-1"]}"#;
    let sent = curl(&["--json", body, &format!("{topic}/messages")]);
    assert!(sent.contains("\"send_status\":\"stored\""), "{sent}");
    let stream = format!("{topic}/stream?from=earliest&max_events=1&tag=greeting");
    let event = curl(&["-N", &stream]);
    assert!(event.contains("hello Apache"), "{event}");
    let group = format!("{base}/v1/groups/curl-readers");
    curl(&["-X", "PUT", &group]);
    let received = curl(&[
        "-X",
        "POST",
        &format!("{group}/messages:receive?topic=through-the-gateway&tag=*&wait=20s"),
    ]);
    assert!(received.contains("hello Apache"), "{received}");
    let lease = received
        .split("\"lease_id\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap();
    let acked = curl(&[
        "--json",
        &format!(r#"{{"lease_ids":["{lease}"]}}"#),
        &format!("{group}/leases:ack"),
    ]);
    assert!(acked.contains("\"failed\":0"), "{acked}");
    let lag = curl(&[&format!("{group}/lag")]);
    assert!(lag.contains("\"lag\":0"), "{lag}");
}
