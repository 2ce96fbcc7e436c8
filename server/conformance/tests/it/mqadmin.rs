//! The mqadmins of rocketmq-tools 4.9.7 and 5.3.3, each against a server of its own: their output shows all topics.

use conformance::clients::Client;
use conformance::toolchain::Release;
use conformance::{home, mqadmin, servers};

use crate::skipped;

fn prints_what_it_prints_against_apache(release: Release, name: &'static str) {
    if skipped(&["java", "mvn"]) {
        return;
    }
    let server = servers::standalone();
    let tool = Client::java(release, name, &[], &server.namesrv);
    assert_eq!(
        mqadmin::forgotten(&tool),
        [""; 0],
        "commands that nobody runs"
    );
    let different = mqadmin::differences(&server, release, &tool);
    assert!(
        different.is_empty(),
        "{} commands differ:\n{}",
        different.len(),
        different.join("\n")
    );
}

#[test]
fn mqadmin_4_9_7_prints_what_it_prints_against_apache() {
    prints_what_it_prints_against_apache(Release::V4, "mqadmin-4.9.7");
}

#[test]
fn mqadmin_5_3_3_prints_what_it_prints_against_apache() {
    prints_what_it_prints_against_apache(Release::V5, "mqadmin-5.3.3");
}

#[test]
fn every_deviation_has_its_reason() {
    let reasons = std::fs::read_to_string(home().join("testdata/deviations.md")).unwrap();
    for name in mqadmin::deviating() {
        assert!(
            reasons.contains(&format!("`{name}`")),
            "testdata/deviations.md does not explain `{name}`"
        );
    }
}
