//! The table of all request codes in `docs/protocol.md` says what a broker does with each.

use std::collections::BTreeMap;

use remoting::Command;
use remoting::code::request;
use remoting::code::response::REQUEST_CODE_NOT_SUPPORTED;
use remoting::server::{Again, Door};

use crate::world::{Said, World, peer};

/// Name and what a broker does, by code.
fn table() -> BTreeMap<i32, (String, String)> {
    let page = include_str!("../../../docs/protocol.md");
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, code, name, broker, _, _, _] = cells[..] else {
            return None;
        };
        Some((code.parse().ok()?, (name.to_owned(), broker.to_owned())))
    });
    rows.collect()
}

#[test]
fn every_request_code_is_served_or_refused_as_the_documentation_says() {
    let table = table();
    for &(code, name) in request::ALL {
        let (documented, broker) = table
            .get(&code)
            .unwrap_or_else(|| panic!("docs/protocol.md has no row for {code}"));
        assert_eq!(documented, name, "the name of {code}");
        // A world of its own: nothing that one request leaves behind is seen by the next.
        let world = World::new();
        let request = Command::request(code).to_bytes();
        let answer = match world.send(&peer(1, Door::Main), &request) {
            Said::Answer(answer) => answer,
            Said::Held(held) => world.again(&held, Again::Deadline),
        };
        let served = answer.code != REQUEST_CODE_NOT_SUPPORTED;
        assert_eq!(
            served,
            broker.starts_with("served"),
            "{code} {name}: {answer:?}"
        );
    }
    let known = |code: &&i32| request::name_of(**code).is_none();
    assert_eq!(
        table.keys().find(known),
        None,
        "a row for a code that there is not"
    );
}
