//! HTTP as the binary serves it: the banner, the ports, the end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::process::{LIMIT, Posthouse, command, output, stderr, timed};

/// Runs a line of shell and gives what it printed.
fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The part of a banner's line behind its label.
fn told(server: &Posthouse, label: &str) -> Option<String> {
    let mut lines = server.banner.lines().map(str::trim_start);
    lines.find_map(|line| Some(line.strip_prefix(label)?.trim_start().to_owned()))
}

/// Status line, headers and body of an answer without keep-alive.
fn request(address: SocketAddr, text: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

fn get(address: SocketAddr, path: &str) -> String {
    request(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
    )
}

pub fn address(server: &Posthouse, label: &str) -> SocketAddr {
    let told = told(server, label).unwrap_or_else(|| panic!("no {label}: {}", server.banner));
    let told = told.split_whitespace().next().unwrap();
    let told = told.strip_prefix("http://").unwrap();
    told.split('/').next().unwrap().parse().unwrap()
}

#[test]
fn the_line_to_try_works_on_an_empty_folder() {
    let data = tempfile::tempdir().unwrap();
    let server = Posthouse::standalone(data.path());
    let line = told(&server, "to try ").unwrap();
    assert!(line.starts_with("curl "), "{}", server.banner);
    let answer = shell(&line.replacen("curl", "curl -sS --fail-with-body", 1));
    assert!(answer.contains("\"name\":\"hello\""), "{answer}");
    assert!(answer.contains("\"send_status\":\"stored\""), "{answer}");
}

#[test]
fn for_trying_things_out_topics_and_groups_are_made_by_their_first_use() {
    let data = tempfile::tempdir().unwrap();
    let server = Posthouse::start("standalone", data.path(), &["--dev"]);
    let dev = told(&server, "dev ").unwrap_or_default();
    assert!(dev.contains("made by its first use"), "{}", server.banner);
    let line = told(&server, "to try ").unwrap();
    assert!(!line.contains("PUT"), "{line}");
    let curl = |line: &str| shell(&line.replacen("curl", "curl -sS --fail-with-body", 1));
    let told = curl(&line);
    assert!(told.contains("\"send_status\":\"stored\""), "{told}");
    let at = format!("http://{}/v1", address(&server, "HTTP "));
    let json = "-X POST -H 'Content-Type: application/json' -d";
    for (request, expected) in [
        (
            format!(
                "{json} '{{\"messages\":[{{\"body\":\"a\"}}]}}' {at}/topics/batched/messages:batch"
            ),
            "\"failed\":0",
        ),
        (
            format!("{json} '{{\"body\":\"a\"}}' {at}/topics/decided/transactions"),
            "\"state\":\"pending\"",
        ),
        (
            format!("-X PUT {at}/groups/readers/subscriptions/read"),
            "\"topic\":\"read\"",
        ),
        (
            format!("{json} '{{\"body\":\"a\"}}' '{at}/topics/read/messages?namespace=shop'"),
            "\"topic\":\"read\"",
        ),
        (
            format!("-X POST '{at}/groups/others/messages:receive?topic=unseen&tag=*&wait=0s'"),
            "\"messages\":[]",
        ),
        (
            format!("-X POST '{at}/groups/first/messages:receive?topic=hello&tag=*&wait=10s'"),
            "\"body\":\"hi\"",
        ),
        (format!("{at}/topics/unseen"), "\"message_type\":\"mixed\""),
    ] {
        let told = curl(&format!("curl {request}"));
        assert!(told.contains(expected), "{request}: {told}");
    }
    // Whoever only looks makes nothing, and what cannot be a name is refused as ever.
    let http = address(&server, "HTTP ");
    for (path, status) in [
        ("topics/never", "404"),
        ("topics/never/messages", "404"),
        ("topics/never/stream", "404"),
    ] {
        let answer = get(http, &format!("/v1/{path}"));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{path}: {answer}"
        );
    }
    let odd = format!(
        "POST /v1/topics/a%7Cb/messages HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\
        Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{{\"body\":\"a\"}}"
    );
    let odd = request(http, &odd);
    assert!(odd.starts_with("HTTP/1.1 404"), "{odd}");
}

#[test]
fn for_trying_things_out_is_for_this_machine_alone() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("none");
    let folder = folder.to_str().unwrap();
    for (option, what) in [("--http-addr", "HTTP"), ("--broker-addr", "the broker")] {
        let open = ["--dev", "--insecure", "--data", folder, option, "0.0.0.0:0"];
        let refused = output(&open);
        assert_eq!(refused.status.code(), Some(1));
        let why = stderr(&refused);
        let said = format!("--dev is for this machine alone, and {what} would listen on 0.0.0.0");
        assert!(why.contains(&said), "{why}");
        assert!(!Path::new(folder).exists(), "nothing was begun");
    }
}

/// README's tour: every line works, in this order, on an empty data folder.
#[test]
fn the_tour_with_curl_works_line_by_line() {
    let readme = include_str!("../../../../README.md");
    let tour = readme.split("With nothing but curl:").nth(1).unwrap();
    let tour = tour
        .split("```")
        .nth(1)
        .unwrap()
        .strip_prefix("sh\n")
        .unwrap();
    let data = tempfile::tempdir().unwrap();
    let server = Posthouse::standalone(data.path());
    let own = address(&server, "HTTP ").to_string();
    let expected = [
        r#""name":"orders""#,
        r#""send_status":"stored""#,
        r#""name":"billing""#,
        r#""body":"one parcel""#,
        r#""lag":1"#,
        r#""body":"one parcel""#,
    ];
    let lines: Vec<&str> = tour.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{tour}");
    for (line, expected) in lines.iter().zip(expected) {
        let line = line.replace("127.0.0.1:8090", &own);
        let answer = shell(&line.replacen("curl", "curl -sS --fail-with-body", 1));
        assert!(answer.contains(expected), "{line}: {answer}");
    }
}

#[test]
fn operators_have_their_own_port_in_every_role() {
    let data = tempfile::tempdir().unwrap();
    for role in ["standalone", "namesrv"] {
        let server = Posthouse::start(role, &data.path().join(role), &[]);
        let metrics = address(&server, "metrics");
        assert!(get(metrics, "/livez").starts_with("HTTP/1.1 200"), "{role}");
        assert!(
            get(metrics, "/readyz").starts_with("HTTP/1.1 200"),
            "{role}"
        );
        let text = get(metrics, "/metrics");
        assert!(
            text.contains("operation=\"readyz\",status=\"200\"} 1"),
            "{role}: {text}"
        );
        let topics = get(metrics, "/v1/topics");
        assert!(topics.starts_with("HTTP/1.1 404"), "{role}: {topics}");
        assert_eq!(told(&server, "HTTP ").is_some(), role == "standalone");
    }
}

#[test]
fn off_serves_nothing_and_a_taken_port_names_its_option() {
    let data = tempfile::tempdir().unwrap();
    let both_off = ["--http-addr", "off", "--metrics-addr", "off"];
    let server = Posthouse::start("standalone", &data.path().join("off"), &both_off);
    assert!(told(&server, "HTTP ").is_none() && told(&server, "metrics").is_none());
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    for option in ["--http-addr", "--metrics-addr"] {
        let folder = data.path().join("taken");
        let folder = folder.to_str().unwrap();
        let rest = [
            "--namesrv-addr",
            "127.0.0.1:0",
            "--broker-addr",
            "127.0.0.1:0",
        ];
        let first = ["standalone", "--data", folder, option, &taken];
        let refused = output(&[&first[..], &rest[..]].concat());
        let why = stderr(&refused);
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            why.contains(&format!("{option}: cannot listen on {taken}")),
            "{why}"
        );
        assert!(!Path::new(folder).exists(), "nothing was begun");
    }
    let open = output(&["gateway", "-n", "127.0.0.1:1", "--http-addr", "0.0.0.0:0"]);
    assert!(
        stderr(&open).contains("HTTP would listen on 0.0.0.0"),
        "{}",
        stderr(&open)
    );
}

#[test]
fn what_a_server_does_at_once_is_configured() {
    let data = tempfile::tempdir().unwrap();
    let conf = "http.limit.streams=1\nhttp.limit.pageTime=60000\nhttp.sse.maxAge=3600000\n";
    std::fs::write(data.path().join("broker.conf"), conf).unwrap();
    let server = Posthouse::victim(data.path(), None);
    let http = address(&server, "HTTP ");
    let at = format!("http://{http}/v1");
    let limits: serde_json::Value =
        serde_json::from_str(&shell(&format!("curl -sS {at}/cluster"))).unwrap();
    let limits = &limits["limits"];
    for (name, value) in [
        ("streams", serde_json::json!(1)),
        ("page_time", "1m".into()),
        ("stream_age", "1h".into()),
        // As they are by themselves.
        ("long_polls", 20_000.into()),
        ("publishes", 4_096.into()),
        ("body_bytes", (4 << 20).into()),
        ("batch_bytes", (8 << 20).into()),
        ("in_flight_bytes", (256 << 20).into()),
        ("headers", 64.into()),
        ("write_stall", "30s".into()),
    ] {
        assert_eq!(limits[name], value, "{name} of {limits}");
    }
    shell(&format!("curl -sS --fail -X PUT {at}/topics/one"));
    let head = format!("GET /v1/topics/one/stream HTTP/1.1\r\nHost: {http}\r\n");
    let mut first = TcpStream::connect(http).unwrap();
    first.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    let mut status = [0; 12];
    first.read_exact(&mut status).unwrap();
    let second = request(http, &format!("{head}Connection: close\r\n\r\n"));
    assert!(second.contains("/problems/quota-exceeded"), "{second}");
}

#[test]
fn a_gateway_serves_the_cluster_of_its_name_servers() {
    let data = tempfile::tempdir().unwrap();
    let server = Posthouse::standalone(data.path());
    let mut gateway = command();
    gateway.args(["gateway", "-n", &server.namesrv().to_string()]);
    let gateway = Posthouse::spawn(gateway);
    let (behind, before) = (address(&server, "HTTP "), address(&gateway, "HTTP "));
    shell(&format!(
        "curl -sS --fail -X PUT http://{before}/v1/topics/through"
    ));
    let topic = get(behind, "/v1/topics/through");
    assert!(topic.starts_with("HTTP/1.1 200"), "{topic}");
    assert!(get(before, "/readyz").starts_with("HTTP/1.1 200"));
    drop(server);
    assert!(get(before, "/readyz").starts_with("HTTP/1.1 503"));
    let missing = output(&["gateway"]);
    assert!(
        stderr(&missing).contains("a gateway needs a cluster"),
        "{}",
        stderr(&missing)
    );
}

#[test]
fn an_open_connection_does_not_hold_up_the_end() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Posthouse::standalone(data.path());
    let http = address(&server, "HTTP ");
    let mut idle = TcpStream::connect(http).unwrap();
    idle.set_read_timeout(Some(LIMIT)).unwrap();
    idle.write_all(format!("GET /livez HTTP/1.1\r\nHost: {http}\r\n\r\n").as_bytes())
        .unwrap();
    let mut idle = BufReader::new(idle);
    let mut status = String::new();
    idle.read_line(&mut status).unwrap();
    assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    server.signal(Signal::TERM);
    let ((status, log), took) = timed(|| server.ended());
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(!log.contains("cut off"), "{log}");
}

#[test]
fn a_transaction_outlives_the_broker_and_the_gateway_between_begin_and_decision() {
    let data = tempfile::tempdir().unwrap();
    let secret = data.path().join("secret");
    std::fs::write(&secret, format!("{}\n", "5a".repeat(32))).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).unwrap();
    let store = data.path().join("store");
    let mut server = Posthouse::standalone(&store);
    let [namesrv, broker] = [server.namesrv(), server.broker()].map(|at| at.to_string());
    let gateway = || {
        let mut gateway = command();
        gateway.args(["gateway", "-n", &namesrv, "--token-secret-file"]);
        Posthouse::spawn({
            gateway.arg(&secret);
            gateway
        })
    };
    let curl = |gateway: &Posthouse, arguments: &str, path: &str| {
        let at = address(gateway, "HTTP ");
        let text = shell(&format!(
            "curl -sS --fail-with-body {arguments} 'http://{at}/v1/{path}'"
        ));
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let mut first = gateway();
    curl(&first, "-X PUT", "topics/outlives");
    curl(&first, "-X PUT", "groups/outlives");
    let half = r#"--json '{"body":"x","check_after":"1h","timeout":"2h"}'"#;
    let begun = curl(&first, half, "topics/outlives/transactions");
    first.kill();
    server.kill();
    let again = ["--namesrv-addr", &namesrv, "--broker-addr", &broker];
    let mut restarted = command();
    restarted.arg("standalone").arg("--data").arg(&store);
    restarted.args(again);
    let _server = Posthouse::spawn(restarted);
    let second = gateway();
    let id = begun["transaction_id"].as_str().unwrap();
    let own = format!("topics/outlives/transactions/{id}");
    let state = curl(&second, "", &own);
    assert_eq!(state["state"], "pending");
    assert_eq!(state["expires_at"], begun["expires_at"]);
    let commit = r#"-X PUT --json '{"resolution":"commit"}'"#;
    for _ in 0..2 {
        let done = curl(&second, commit, &format!("{own}/resolution"));
        assert_eq!(done["state"], "committed");
    }
    assert_eq!(curl(&second, "", &own)["state"], "committed");
    let receive = "groups/outlives/messages:receive?topic=outlives&tag=*&wait=";
    let got = curl(&second, "-X POST", &format!("{receive}20s"));
    assert_eq!(got["messages"][0]["message_id"], begun["message_id"]);
    let more = curl(&second, "-X POST", &format!("{receive}0s"));
    assert_eq!(more["messages"], serde_json::json!([]));
}
