//! What the binary says to files, options and variables.

use std::fs;
use std::path::PathBuf;

use crate::process::{command, output, stderr, stdout};

fn tutorial(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/tutorial");
    folder.join(name).display().to_string()
}

#[test]
fn each_file_of_the_tutorial_is_accepted_and_printed() {
    for name in [
        "broker-a.properties",
        "broker-b.properties",
        "broker-a-s.properties",
        "broker-b-s.properties",
    ] {
        let printed = output(&[
            "broker",
            "-c",
            &tutorial(name),
            "--broker-addr",
            "0.0.0.0:10911",
            "--insecure",
            "-p",
        ]);
        let text = stdout(&printed);
        for line in [
            "brokerClusterName=rocketmq-cluster",
            "maxMessageSize=65536",
            "deleteWhen=04",
        ] {
            assert!(
                text.lines().any(|printed| printed == line),
                "{name}: {text}{}",
                stderr(&printed)
            );
        }
        let is_slave = name.ends_with("-s.properties");
        assert_eq!(
            printed.status.success(),
            !is_slave,
            "{name}: {}",
            stderr(&printed)
        );
        assert_eq!(
            stderr(&printed).contains("there is no replication yet"),
            is_slave
        );
    }
}

#[test]
fn the_tutorials_master_says_why_it_does_not_start_on_loopback() {
    let refused = output(&["broker", "-c", &tutorial("broker-a.properties")]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("rocketmq-nameserver1:9876 is another machine"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn what_is_printed_is_a_file_that_means_the_same() {
    let data = tempfile::tempdir().unwrap();
    let first = output(&["-p"]);
    let file = data.path().join("printed.conf");
    fs::write(&file, &first.stdout).unwrap();
    let second = output(&["-c", file.to_str().unwrap(), "-p"]);
    assert_eq!(stdout(&first), stdout(&second), "{}", stderr(&second));
    assert!(stdout(&first).contains("flushDiskType=SYNC_FLUSH\n"));
}

#[test]
fn a_misspelt_key_and_value_end_the_start_with_what_is_right() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("broker.conf");
    fs::write(&file, "brokerRole=SYNC_MASTR\nbrokerNam=a\n").unwrap();
    let path = file.to_str().unwrap();
    let refused = output(&["broker", "-c", path]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        stderr(&refused),
        format!(
            "posthouse: {path}:1: brokerRole=SYNC_MASTR: allowed are ASYNC_MASTER, SYNC_MASTER, SLAVE\n\
             {path}:2: there is no key brokerNam; the nearest is brokerName\n"
        )
    );
}

#[test]
fn an_unknown_key_is_let_through_when_lenient() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("broker.conf");
    fs::write(&file, "noSuchKey=1\n").unwrap();
    let path = file.to_str().unwrap();
    assert!(!output(&["-c", path, "-p"]).status.success());
    assert!(
        output(&["-c", path, "-p", "--lenient-config"])
            .status
            .success()
    );
    let of_environment = command()
        .args(["-c", path, "-p"])
        .env("POSTHOUSE_LENIENT_CONFIG", "true")
        .output()
        .unwrap();
    assert!(of_environment.status.success());
}

#[test]
fn variables_stand_in_for_options() {
    let printed = command()
        .args(["broker", "-p"])
        .env("POSTHOUSE_DATA", "/from/variable")
        .env("POSTHOUSE_BROKER_ADDR", "127.0.0.1:20911")
        .env("NAMESRV_ADDR", "127.0.0.1:19876")
        .output()
        .unwrap();
    let text = stdout(&printed);
    for line in [
        "storePathRootDir=/from/variable",
        "listenPort=20911",
        "namesrvAddr=127.0.0.1:19876",
    ] {
        assert!(text.lines().any(|printed| printed == line), "{text}");
    }
}

#[test]
fn a_file_below_rocketmq_home_is_found_by_its_name() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("conf")).unwrap();
    fs::write(home.path().join("conf/mine.conf"), "brokerName=mine\n").unwrap();
    let printed = command()
        .args(["broker", "-c", "mine.conf", "-p"])
        .env("ROCKETMQ_HOME", home.path())
        .output()
        .unwrap();
    assert!(
        stdout(&printed).contains("brokerName=mine\n"),
        "{}",
        stderr(&printed)
    );
}

#[test]
fn leaving_loopback_says_what_that_means() {
    let refused = output(&["broker", "--broker-addr", "0.0.0.0:0"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused)
            .contains("whoever reaches that address can read, write and delete every message")
    );
}

#[test]
fn a_slave_is_refused_with_the_reason() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("slave.conf");
    for line in ["brokerRole=SLAVE", "brokerId=1"] {
        fs::write(&file, line).unwrap();
        let refused = output(&["broker", "-c", file.to_str().unwrap()]);
        assert!(
            stderr(&refused).contains(&format!("{line}: a slave copies its master's log")),
            "{}",
            stderr(&refused)
        );
    }
}
