//! The server inside another process: this one.

use std::time::Duration;

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
