//! What a header costs. Run it with
//! `cargo test --release -p remoting --test it speed -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::Instant;

use remoting::header::{PullHeader, SendHeader};
use remoting::{Command, Decoder, Head, Reply, Serialize};

use crate::golden::recorded;

fn nanoseconds(name: &str, mut work: impl FnMut()) {
    const ROUNDS: u32 = 200_000;
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            work();
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS));
    }
    println!("{name:<40} {best:7.1} ns");
}

#[test]
#[ignore = "a measurement"]
fn speed_of_headers() {
    let frames: Vec<Vec<u8>> = recorded().iter().map(|line| line.frame()).collect();
    let find = |code: i32| {
        let wanted = |frame: &&Vec<u8>| Command::decode(frame).unwrap().code == code;
        frames.iter().find(wanted).unwrap().clone()
    };
    let mut decoder = Decoder::new();
    for (name, json) in [("send", find(310)), ("pull", find(11))] {
        let mut command = Command::decode(&json).unwrap();
        command.serialize = Serialize::Binary;
        for (form, frame) in [("JSON", json), ("binary", command.to_bytes())] {
            nanoseconds(
                &format!("{name} {form}, {} bytes: decode", frame.len()),
                || {
                    black_box(decoder.decode(black_box(&frame)).unwrap());
                },
            );
            nanoseconds(&format!("{name} {form}: decode and header"), || {
                let frame = decoder.decode(black_box(&frame)).unwrap();
                if name == "send" {
                    black_box(SendHeader::read_letters(&frame).unwrap());
                } else {
                    black_box(PullHeader::read(&frame).unwrap());
                }
            });
        }
    }
    let mut out = Vec::with_capacity(1 << 16);
    for serialize in [Serialize::Json, Serialize::Binary] {
        nanoseconds(&format!("answer to a send, {serialize:?}"), || {
            out.clear();
            let head = Head {
                opaque: 123_456,
                serialize,
            };
            Reply::new(&mut out, head, 0)
                .field("msgId", "7F000001000051AF000000000000A775")
                .number("queueId", 3)
                .number("queueOffset", 1_234_567)
                .field("transactionId", "7F0000013E974E0E2F2A796841670002")
                .field("MSG_REGION", "DefaultRegion")
                .field("TRACE_ON", "true")
                .finish();
            black_box(&out);
        });
    }
    let body = vec![7u8; 32 * 1024];
    nanoseconds("answer to a pull, 32 KiB before its header", || {
        out.clear();
        out.extend_from_slice(&body);
        let head = Head {
            opaque: 123_456,
            serialize: Serialize::Json,
        };
        Reply::before(&mut out, 0, head, 0)
            .remark("FOUND")
            .number("suggestWhichBrokerId", 0)
            .number("nextBeginOffset", 1_234_567)
            .number("minOffset", 0)
            .number("maxOffset", 1_234_567)
            .finish();
        black_box(&out);
    });
}
