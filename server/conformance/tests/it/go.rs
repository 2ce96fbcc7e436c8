//! Apache's Go client v2.1.2. What each scenario does and checks is in `go/`.

use std::sync::OnceLock;

use conformance::clients::Client;

use crate::{shared, skipped, target};

/// The process of these tests.
pub fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| Client::go("go", &shared().namesrv))
}

fn play(scenario: &str) {
    if !skipped(&["go"]) {
        client().play(scenario, &[("target", target())]);
    }
}

/// Which crashes are played again, and what is told of the others (`go/supervise.go`).
#[test]
fn the_runner_knows_whose_crash_it_was() {
    if skipped(&["go"]) {
        return;
    }
    let mut tests = std::process::Command::new("go");
    tests
        .args(["test", "."])
        .current_dir(conformance::home().join("go"));
    let ran = tests.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

macro_rules! scenarios {
    ($($test:ident: $scenario:literal,)*) => {
        $(#[test]
        fn $test() {
            play($scenario);
        })*
    };
}

scenarios! {
    retry_nothing_is_lost: "retry-not-lost",
    tutorial_4_3_scheduled: "scheduled",
    retry_ends_in_a_dead_letter: "retry-dead-letter",
    orderly_consumer_gives_up: "orderly-gives-up",
    timers_by_property: "timers",
    load_balancing: "load-balancing",
    broadcasting: "broadcasting",
    restarted_group_goes_on: "restart",
    sync_send: "sync-send",
    async_send: "async-send",
    oneway_send: "oneway-send",
    batch: "batch",
    compressed_body: "compressed",
    properties_and_checksum_tolerated: "properties",
    push_with_tags: "push-tags",
    tutorial_4_5_filtered: "sql-filter",
    orderly: "orderly",
    pull_consumer: "pull",
    pull_from_an_offset: "pull-from",
    transactions_and_check_back: "transaction",
    transaction_another_member_is_asked: "transaction-other-member",
    transaction_nobody_decides_is_found_again: "transaction-given-up",
    request_and_reply: "request-reply",
}
