//! What a message costs in the door and the broker behind it, without sockets and on a disk in memory.
//! Run it with `cargo test --release -p endpoint --test it speed -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::Instant;

use remoting::server::{Door, Outcome, Run, Service};
use remoting::{Command, Decoder, Serialize};

use crate::say::{create_topic, pull, send_with};
use crate::world::{World, peer};

const RUN: Run = Run {
    again: None,
    ticket: 1,
};

fn nanoseconds(name: &str, messages: usize, mut work: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / messages as f64);
    }
    println!("{name:<44} {best:8.1} ns a message");
}

fn in_form(mut command: Command, serialize: Serialize) -> Vec<u8> {
    command.serialize = serialize;
    command.to_bytes()
}

#[test]
#[ignore = "a measurement"]
fn speed_of_sends_and_pulls() {
    const ROUNDS: usize = 400;
    let world = World::new();
    world.ask(create_topic("T", 1, 6));
    let peer = peer(1, Door::Main);
    let mut decoder = Decoder::new();
    let mut out = Vec::with_capacity(1 << 20);
    let properties =
        "UNIQ_KEY\u{1}7F000001F1A218B4AAC2000000000000\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}";
    let send = send_with("T", 0, properties, &[b'x'; 1024]);
    for serialize in [Serialize::Json, Serialize::Binary] {
        let frame = in_form(send.clone(), serialize);
        let name = format!("64 sends of 1 KiB, {serialize:?}, one commit");
        nanoseconds(&name, 64 * ROUNDS, || {
            for _ in 0..ROUNDS {
                out.clear();
                for _ in 0..64 {
                    let request = decoder.decode(&frame).unwrap();
                    let outcome = world.endpoint.call(&peer, &request, RUN, &mut out);
                    assert!(matches!(outcome, Outcome::After(_)));
                }
                world.endpoint.commit().unwrap();
                black_box(&out);
            }
        });
    }
    let end = world.broker.max_offset("T", 0);
    // The first pull makes the group.
    world.ask(pull("g", "T", 0, end - 40));
    for serialize in [Serialize::Json, Serialize::Binary] {
        let frame = in_form(pull("g", "T", 0, end - 40), serialize);
        let name = format!("pull of 32 x 1 KiB, {serialize:?}");
        nanoseconds(&name, 32 * ROUNDS, || {
            for _ in 0..ROUNDS {
                out.clear();
                let request = decoder.decode(&frame).unwrap();
                let outcome = world.endpoint.call(&peer, &request, RUN, &mut out);
                assert!(matches!(outcome, Outcome::Done));
                black_box(&out);
            }
        });
    }
}
