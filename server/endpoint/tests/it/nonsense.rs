//! Requests that no client would send: each is answered with a code that Apache has, none does harm,
//! and the broker serves on as before.

use std::sync::OnceLock;

use remoting::code::request::END_TRANSACTION;
use remoting::code::response;
use remoting::server::{Again, Door};
use remoting::{Command, Serialize};

use crate::recorded::requests;
use crate::say::{pull, send};
use crate::world::{Said, World, peer};

/// Values that have surprised somebody before.
const ODD: [&str; 16] = [
    "",
    "-1",
    "0",
    "2147483647",
    "-2147483648",
    "9223372036854775807",
    "-9223372036854775808",
    "99999999999999999999",
    "null",
    "true",
    "../../x",
    "%RETRY%",
    "\u{0}\u{1}\u{2}",
    "测试",
    "a || b",
    "1 OR (",
];

fn distort(rng: &mut fastrand::Rng, command: &mut Command) {
    for _ in 0..rng.usize(1..4) {
        let fields = command.ext.get_or_insert_default();
        let count = fields.len();
        match rng.usize(0..8) {
            0..4 if count > 0 => {
                fields[rng.usize(0..count)].1 = ODD[rng.usize(0..ODD.len())].to_owned();
            }
            4 if count > 0 => drop(fields.remove(rng.usize(0..count))),
            5 => command.body.truncate(rng.usize(0..=command.body.len())),
            6 if !command.body.is_empty() => {
                let at = rng.usize(0..command.body.len());
                command.body[at] = rng.u8(..);
            }
            7 => command.body = vec![rng.u8(..); rng.usize(0..64)],
            _ => command.flag ^= 1 << rng.u8(0..8),
        }
    }
    // An answer would not reach the service.
    command.flag &= !1;
}

fn known(code: i32) -> bool {
    response::name_of(code).is_some()
}

#[test]
fn two_thousand_requests_of_nonsense_are_answered_and_do_no_harm() {
    static REQUESTS: OnceLock<Vec<Command>> = OnceLock::new();
    let requests = REQUESTS.get_or_init(requests);
    let world = World::new();
    let mut rng = fastrand::Rng::with_seed(7);
    let (mut good, mut bad) = (0, 0);
    for round in 0..2000 {
        let mut request = requests[rng.usize(0..requests.len())].clone();
        if request.body.len() > 1 << 20 {
            continue;
        }
        distort(&mut rng, &mut request);
        if round % 3 == 0 && request.code < 1 << 15 {
            request.serialize = Serialize::Binary;
        }
        let door = [Door::Main, Door::Vip][round % 2];
        let peer = peer(1 + round as u64 % 5, door);
        // Without a decision it is not answered.
        if request.code == END_TRANSACTION {
            world.tell(&peer, &request.to_bytes());
            continue;
        }
        let answer = match world.send(&peer, &request.to_bytes()) {
            Said::Answer(answer) => answer,
            Said::Held(held) => world.again(&held, Again::Deadline),
        };
        assert!(known(answer.code), "{request:?}: {answer:?}");
        assert_eq!((answer.flag, answer.opaque), (1, request.opaque));
        match answer.code {
            0 => good += 1,
            _ => bad += 1,
        }
    }
    assert!(good > 200 && bad > 200, "{good} {bad}");
    let answer = world.ask(send("StillThere", b"x"));
    assert_eq!(answer.code, response::SUCCESS);
    assert_eq!(
        world.ask(pull("g", "StillThere", 0, 0)).code,
        response::SUCCESS
    );
}
