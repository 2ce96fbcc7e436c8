//! Starting: the banner, the locks, the logs, and what is there after a kill.

use std::fs;
use std::net::{SocketAddr, TcpListener};

use remoting::Command;
use remoting::code::request;

use crate::client::Client;
use crate::process::{LIMIT, Posthouse, output, stderr, timed};
use rustix::process::Signal;

#[test]
fn the_banner_says_where_how_safe_and_what_to_try() {
    let data = tempfile::tempdir().unwrap();
    let server = Posthouse::standalone(data.path());
    let banner = &server.banner;
    assert!(banner.contains("standalone"), "{banner}");
    assert!(banner.contains("SYNC_FLUSH"), "{banner}");
    assert!(banner.contains(data.path().to_str().unwrap()), "{banner}");
    assert!(server.broker().ip().is_loopback());
    // The VIP port is there too.
    let broker = server.broker();
    Client::connect(SocketAddr::new(broker.ip(), broker.port() - 2)).unwrap();
}

#[test]
fn a_sync_master_starts_and_the_banner_warns() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("broker.conf");
    fs::write(&file, "brokerRole=SYNC_MASTER\n").unwrap();
    let server = Posthouse::start("standalone", data.path(), &["-c", file.to_str().unwrap()]);
    assert!(
        server.banner.contains("SLAVE_NOT_AVAILABLE"),
        "{}",
        server.banner
    );
    let mut client = Client::connect(server.broker()).unwrap();
    let answer = client
        .call(crate::client::send("t", 0, b"kept all the same"))
        .unwrap();
    assert_eq!(answer.code, 11);
    assert_eq!(client.pull_all("t", 0).unwrap().len(), 1);
}

#[test]
fn a_second_process_is_told_who_has_the_folder() {
    let data = tempfile::tempdir().unwrap();
    let server = Posthouse::standalone(data.path());
    for role in ["standalone", "broker", "namesrv"] {
        let folder = data.path().to_str().unwrap();
        let refused = output(&[
            role,
            "--data",
            folder,
            "--broker-addr",
            "127.0.0.1:0",
            "--namesrv-addr",
            "127.0.0.1:0",
        ]);
        assert_eq!(refused.status.code(), Some(1), "{role}");
        let text = stderr(&refused);
        assert!(
            text.contains(&format!("in use by process {}", server.pid())),
            "{role}: {text}"
        );
    }
}

#[test]
fn a_port_in_use_is_named() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let refused = output(&[
        "namesrv",
        "--data",
        data.path().to_str().unwrap(),
        "--namesrv-addr",
        &address,
    ]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains(&format!("cannot listen on {address}")),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn a_topic_is_routable_before_the_send_that_made_it_is_answered() {
    let data = tempfile::tempdir().unwrap();
    let server = Posthouse::standalone(data.path());
    let mut names = Client::connect(server.namesrv()).unwrap();
    let mut client = Client::connect(server.broker()).unwrap();
    let mut route = |topic: &str| {
        let request = Command::request(request::GET_ROUTEINFO_BY_TOPIC).with("topic", topic);
        names.call(request).unwrap()
    };
    assert_eq!(route("TBW102").code, 0);
    assert_eq!(route("made-by-a-send").code, 17);
    client.send("made-by-a-send", 0, b"x").unwrap();
    let answer = route("made-by-a-send");
    assert_eq!(answer.code, 0);
    let body = String::from_utf8(answer.body).unwrap();
    assert!(body.contains(&server.broker().to_string()), "{body}");
}

#[test]
fn log_files_get_what_the_error_stream_would() {
    let data = tempfile::tempdir().unwrap();
    let logs = data.path().join("logs");
    let folder = logs.to_str().unwrap().to_owned();
    let mut server = Posthouse::start(
        "standalone",
        data.path(),
        &[
            "--log-dir",
            &folder,
            "--log-format",
            "json",
            "--log-level",
            "debug",
        ],
    );
    let mut client = Client::connect(server.broker()).unwrap();
    client.send("logged", 0, b"x").unwrap();
    server.signal(Signal::TERM);
    let (status, log) = server.ended();
    assert_eq!(status.code(), Some(0));
    assert_eq!(log, "");
    assert!(logs.join("namesrv.log").exists());
    let broker = fs::read_to_string(logs.join("broker.log")).unwrap();
    assert!(broker.lines().count() > 0);
    assert!(
        broker
            .lines()
            .all(|line| line.starts_with("{\"timestamp\"")),
        "{broker}"
    );
}

#[test]
fn nothing_is_logged_per_message_at_info() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Posthouse::standalone(data.path());
    let mut client = Client::connect(server.broker()).unwrap();
    for n in 0..200_u32 {
        client.send("quiet", n % 4, &n.to_be_bytes()).unwrap();
    }
    server.signal(Signal::TERM);
    let (_, log) = server.ended();
    assert!(log.lines().count() < 60, "{log}");
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Posthouse::standalone(data.path());
    let mut client = Client::connect(server.broker()).unwrap();
    for n in 0..10_u32 {
        client.send("kept", 0, &n.to_be_bytes()).unwrap();
    }
    server.kill();
    let server = Posthouse::standalone(data.path());
    let mut client = Client::connect(server.broker()).unwrap();
    let kept = client.pull_all("kept", 0).unwrap();
    let expected: Vec<(u64, Vec<u8>)> = (0..10_u32)
        .map(|n| (n.into(), n.to_be_bytes().to_vec()))
        .collect();
    assert_eq!(kept, expected);
}

#[test]
fn a_start_is_quick() {
    let data = tempfile::tempdir().unwrap();
    let (_server, took) = timed(|| {
        let server = Posthouse::standalone(data.path());
        Client::connect(server.broker())
            .unwrap()
            .send("first", 0, b"x")
            .unwrap();
        server
    });
    // The goal is 50 ms in release on a quiet machine; here it must only not become seconds.
    assert!(took < LIMIT / 10, "{took:?}");
}

#[test]
fn an_empty_store_occupies_little() {
    let data = tempfile::tempdir().unwrap();
    let _server = Posthouse::standalone(data.path());
    let bytes = occupied(data.path());
    assert!(bytes < 100 << 20, "{bytes} bytes");
}

fn occupied(folder: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.metadata().unwrap() {
            data if data.is_dir() => occupied(&entry.path()),
            data => data.blocks() * 512,
        })
        .sum()
}

#[test]
fn the_configuration_in_force_is_answered_over_the_wire() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("broker.conf");
    fs::write(
        &file,
        "defaultTopicQueueNums=3\nsendMessageThreadPoolNums=128\n",
    )
    .unwrap();
    let server = Posthouse::start("standalone", data.path(), &["-c", file.to_str().unwrap()]);
    let mut client = Client::connect(server.broker()).unwrap();
    let answer = client
        .call(Command::request(request::GET_BROKER_CONFIG))
        .unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    for line in [
        "defaultTopicQueueNums=3",
        "sendMessageThreadPoolNums=128",
        "flushDiskType=SYNC_FLUSH",
        "brokerName=broker-a",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{text}");
    }
}

#[test]
fn a_broker_whose_name_servers_are_silent_serves_and_says_so() {
    let data = tempfile::tempdir().unwrap();
    // A port that no test picks, and where nobody listens.
    let address = "127.0.0.1:1";
    let broker = Posthouse::start("broker", data.path(), &["-n", address]);
    assert!(
        broker
            .banner
            .contains(&format!("no name server of {address} has answered yet")),
        "{}",
        broker.banner
    );
    let mut client = Client::connect(broker.broker()).unwrap();
    client.send("unheard", 0, b"x").unwrap();
}

#[test]
fn store_check_wants_a_stopped_broker_and_finds_nothing_wrong() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    let mut server = Posthouse::standalone(data.path());
    let mut client = Client::connect(server.broker()).unwrap();
    for n in 0..100_u32 {
        client.send("checked", n % 4, &n.to_be_bytes()).unwrap();
    }
    let refused = output(&["store", "check", "--data", folder]);
    assert!(
        stderr(&refused).contains("in use by process"),
        "{}",
        stderr(&refused)
    );
    server.kill();
    for chore in ["check", "rebuild", "check"] {
        let done = output(&["store", chore, "--data", folder]);
        assert!(done.status.success(), "{chore}: {}", stderr(&done));
    }
    let server = Posthouse::standalone(data.path());
    let mut client = Client::connect(server.broker()).unwrap();
    let kept: usize = (0..4)
        .map(|queue| client.pull_all("checked", queue).unwrap().len())
        .sum();
    assert_eq!(kept, 100);
}
