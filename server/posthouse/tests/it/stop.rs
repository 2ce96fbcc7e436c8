//! Signals and `posthouse stop`.

use std::time::Duration;

use rustix::process::Signal;

use crate::client::Client;
use crate::process::{Posthouse, output, stderr, stdout, timed};

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
