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
    let broker = servers::apache(Apache::Broker(&names.namesrv));
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
    let broker = servers::posthouse(Posthouse::Broker(&names.namesrv));
    for (release, name) in [
        (Release::V4, "cross-theirs-4.9.7"),
        (Release::V5, "cross-theirs-5.3.3"),
    ] {
        Client::java(release, name, &[], &names.namesrv).play("through", &[]);
    }
    broker.stop();
}
