//! Half Posthouse, half Apache: each broker registers at the other's name server, and a Java client sends through both.

use conformance::clients::Client;
use conformance::servers::{self, Apache, Posthouse};
use conformance::toolchain::Release;

use crate::{skipped, target};

#[test]
fn apaches_broker_registers_with_our_name_server() {
    if skipped(&["java", "mvn"]) || target() == "apache" {
        return;
    }
    let names = servers::posthouse(Posthouse::NameServer);
    let broker = servers::apache(Apache::Broker("broker-a", &names.namesrv));
    for (release, name) in [
        (Release::V4, "cross-ours-4.9.7"),
        (Release::V5, "cross-ours-5.3.3"),
    ] {
        Client::java(release, name, &[], &names.namesrv).play("through", &[]);
    }
    broker.stop();
}

#[test]
fn our_broker_registers_with_apaches_name_server() {
    if skipped(&["java", "mvn"]) || target() == "apache" {
        return;
    }
    let names = servers::apache(Apache::NameServer);
    let broker = servers::posthouse(Posthouse::Broker("broker-a", &names.namesrv));
    for (release, name) in [
        (Release::V4, "cross-theirs-4.9.7"),
        (Release::V5, "cross-theirs-5.3.3"),
    ] {
        Client::java(release, name, &[], &names.namesrv).play("through", &[]);
    }
    broker.stop();
}

/// Two brokers at one name server: a group whose queues the brokers share out gets those of both.
#[test]
fn brokers_share_out_each_others_queues() {
    if skipped(&["java", "mvn"]) {
        return;
    }
    let (names, brokers) = match target() {
        "apache" => {
            let names = servers::apache(Apache::NameServer);
            let broker = |name| servers::apache(Apache::Broker(name, &names.namesrv));
            let brokers = ["broker-a", "broker-b"].map(broker);
            (names, brokers)
        }
        _ => {
            let names = servers::posthouse(Posthouse::NameServer);
            let broker = |name| servers::posthouse(Posthouse::Broker(name, &names.namesrv));
            let brokers = ["broker-a", "broker-b"].map(broker);
            (names, brokers)
        }
    };
    let client = Client::java(Release::V5, "cross-shared-out", &[], &names.namesrv);
    client.play("shared-out", &[("target", target())]);
    for broker in brokers {
        broker.stop();
    }
}
