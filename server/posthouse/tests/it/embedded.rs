//! The server inside another process: this one.

use std::time::Duration;

use posthouse::Embedded;
use posthouse::config::Config;
use posthouse::server::{Server, StartError};

use crate::client::Client;

const GRACE: Duration = Duration::from_secs(2);

#[test]
fn a_server_starts_stops_and_starts_again_in_one_process() {
    let data = tempfile::tempdir().unwrap();
    let config = Config::embedded(data.path(), "").unwrap();
    for life in 0..3_u8 {
        let server = Server::start(&config).unwrap();
        let mut client = Client::connect(server.broker().unwrap().address()).unwrap();
        client.send("embedded", 0, &[life]).unwrap();
        let kept = client.pull_all("embedded", 0).unwrap();
        assert_eq!(kept.len(), usize::from(life) + 1);
        server.stop(GRACE);
    }
}

#[test]
fn two_servers_run_side_by_side_but_not_on_one_folder() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = Config::embedded(one.path(), "").unwrap();
    let first = Server::start(&config).unwrap();
    assert!(matches!(Server::start(&config), Err(StartError::Lock(_))));
    let second = Server::start(&Config::embedded(two.path(), "").unwrap()).unwrap();
    assert_ne!(first.namesrv_address(), second.namesrv_address());
    first.stop(GRACE);
    second.stop(GRACE);
}

#[test]
fn what_is_refused_on_the_command_line_is_refused_here() {
    let data = tempfile::tempdir().unwrap();
    let config = Config::embedded(data.path(), "brokerRole=SLAVE").unwrap();
    assert!(matches!(
        Server::start(&config),
        Err(StartError::Refused(_))
    ));
}

#[test]
fn a_server_in_memory_has_no_file_and_joins_who_connects() {
    let here = std::env::current_dir().unwrap();
    let files = || std::fs::read_dir(&here).unwrap().count();
    let before = files();
    let listening = Embedded {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        ..Embedded::default()
    };
    let server = Server::embedded(&listening).unwrap();
    let mut client = Client::connect(server.broker().unwrap().address()).unwrap();
    client.send("embedded", 0, b"one").unwrap();
    assert_eq!(client.pull_all("embedded", 0).unwrap().len(), 1);
    assert_eq!(server.doors().len(), 2);
    server.stop(GRACE);
    assert_eq!(files(), before);
}

#[test]
fn a_server_that_does_not_listen_cannot_be_dialled() {
    let server = Server::embedded(&Embedded::default()).unwrap();
    assert_eq!(server.namesrv_address().unwrap().port(), 0);
    assert_eq!(server.broker().unwrap().advertised().port(), 0);
    server.stop(GRACE);
}

#[test]
fn a_folder_is_one_servers_until_that_ends() {
    let data = tempfile::tempdir().unwrap();
    let embedded = Embedded {
        path: Some(data.path().to_owned()),
        ..Embedded::default()
    };
    let server = Server::embedded(&embedded).unwrap();
    assert!(matches!(
        Server::embedded(&embedded),
        Err(StartError::Lock(_))
    ));
    server.stop(GRACE);
    Server::embedded(&embedded).unwrap().stop(GRACE);
}

#[test]
fn a_setting_that_nobody_knows_is_named() {
    let embedded = Embedded {
        settings: vec![("flushDisk".to_owned(), "x".to_owned())],
        ..Embedded::default()
    };
    let error = Server::embedded(&embedded).err().unwrap().to_string();
    assert!(error.contains("flushDisk"), "{error}");
}
