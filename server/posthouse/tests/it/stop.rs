//! Signals and `posthouse stop`.

use std::time::Duration;

use rustix::process::Signal;

use crate::client::{Client, pull};
use crate::process::{LIMIT, Posthouse, output, stderr, stdout, timed};

#[test]
fn either_signal_ends_it_in_order_within_five_seconds() {
    for signal in [Signal::TERM, Signal::INT] {
        let data = tempfile::tempdir().unwrap();
        let mut server = Posthouse::standalone(data.path());
        let mut client = Client::connect(server.broker()).unwrap();
        client.send("ends", 0, b"one").unwrap();
        server.signal(signal);
        let ((status, log), took) = timed(|| server.ended());
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn an_ended_broker_is_no_longer_registered() {
    let data = tempfile::tempdir().unwrap();
    let namesrv = Posthouse::start("namesrv", data.path(), &[]);
    let address = namesrv.namesrv().to_string();
    let mut broker = Posthouse::start("broker", data.path(), &["-n", &address]);
    let mut client = Client::connect(namesrv.namesrv()).unwrap();
    let mut route = || {
        let request = remoting::Command::request(remoting::code::request::GET_ROUTEINFO_BY_TOPIC);
        client.call(request.with("topic", "TBW102")).unwrap().code
    };
    assert_eq!(route(), 0);
    broker.signal(Signal::TERM);
    assert_eq!(broker.ended().0.code(), Some(0));
    assert_eq!(route(), 17);
}

#[test]
fn stop_waits_for_the_end_and_knows_the_roles_apart() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    let nothing = output(&["stop", "--data", folder]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(stderr(&nothing).contains(&format!("no posthouse runs on {folder}")));

    let mut server = Posthouse::standalone(data.path());
    let half = output(&["stop", "broker", "--data", folder]);
    assert!(
        stderr(&half).contains("is a standalone"),
        "{}",
        stderr(&half)
    );
    let stopped = output(&["stop", "standalone", "--data", folder]);
    assert_eq!(
        stdout(&stopped),
        format!("process {} has ended\n", server.pid()),
        "{}",
        stderr(&stopped)
    );
    assert_eq!(server.ended().0.code(), Some(0));

    let mut namesrv = Posthouse::start("namesrv", data.path(), &[]);
    let stopped = output(&["stop", "namesrv", "--data", folder]);
    assert!(stopped.status.success(), "{}", stderr(&stopped));
    assert_eq!(namesrv.ended().0.code(), Some(0));
}

#[test]
fn a_waiting_pull_does_not_hold_up_the_end() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Posthouse::standalone(data.path());
    let mut client = Client::connect(server.broker()).unwrap();
    client.send("waits", 0, b"one").unwrap();
    let address = server.broker();
    let (sent, is_sent) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn(move || {
        let mut client = Client::connect(address).unwrap();
        let request = pull("waits", 0, 1)
            .with("sysFlag", 6)
            .with("suspendTimeoutMillis", 60_000);
        client.post(request).unwrap();
        sent.send(()).unwrap();
        client.next()
    });
    is_sent.recv_timeout(LIMIT).unwrap();
    // An answer on another connection of the same thread says that the pull was read before.
    client.pull("waits", 0, 0).unwrap();
    server.signal(Signal::TERM);
    let ((status, log), took) = timed(|| server.ended());
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    // It is answered that there is nothing, or its connection closes: either way the client asks again.
    if let Ok(answer) = waiting.join().unwrap() {
        assert_eq!(answer.code, remoting::code::response::PULL_NOT_FOUND);
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_second_signal_ends_it_at_once() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Posthouse::seeded(data.path(), "never-ends");
    server.signal(Signal::TERM);
    // The second signal must find the first one read, or both are one.
    server.wait_for_log("ending");
    server.signal(Signal::INT);
    let ((status, _), took) = timed(|| server.ended());
    assert_eq!(status.code(), Some(130));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[cfg(debug_assertions)]
#[test]
fn an_end_that_does_not_come_is_cut_within_ten_seconds() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Posthouse::seeded(data.path(), "never-ends");
    server.signal(Signal::TERM);
    let ((status, log), took) = timed(|| server.ended());
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(took < Duration::from_secs(12), "{took:?}");
    assert!(log.contains("could not be ended"), "{log}");
}
