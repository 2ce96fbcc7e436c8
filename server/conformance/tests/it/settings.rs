//! What needs settings that are not the default: a server of its own.

use std::sync::OnceLock;

use conformance::clients::Client;
use conformance::servers::{self, Server, apache_stands_in};
use conformance::toolchain::Release;

use crate::{skipped, target};

/// Resets are carried out by consumers, and no message is so young that a new group begins at it.
const SETTINGS: &str = "useServerSideResetOffset=false\naccessMessageInMemoryMaxRatio=0\n";

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| servers::standalone_with(SETTINGS))
}

fn client(release: Release) -> &'static Client {
    static CLIENTS: [OnceLock<Client>; 2] = [OnceLock::new(), OnceLock::new()];
    let (slot, name) = match release {
        Release::V4 => (&CLIENTS[0], "settings-4.9.7"),
        Release::V5 => (&CLIENTS[1], "settings-5.3.3"),
    };
    slot.get_or_init(|| Client::java(release, name, &[], &server().namesrv))
}

fn play(release: Release, scenario: &str) {
    if !skipped(&["java", "mvn"]) {
        client(release).play(scenario, &[("target", target())]);
    }
}

#[test]
fn reset_by_the_consumer_itself_4_9_7() {
    play(Release::V4, "reset-by-client");
}

#[test]
fn reset_by_the_consumer_itself_5_3_3() {
    play(Release::V5, "reset-by-client");
}

/// Not asked of Apache: whether a message is hot it finds out from the page cache, whatever the setting says.
#[test]
fn new_groups_begin_where_they_say() {
    if apache_stands_in() {
        return;
    }
    play(Release::V4, "from-where");
    play(Release::V5, "from-where");
}
