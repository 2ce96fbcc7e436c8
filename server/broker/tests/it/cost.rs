//! What a message costs in here, without sockets and parsing. Run it in release:
//! `cargo test --release -p broker --test it cost -- --ignored --nocapture`

use std::hint::black_box;
use std::time::Instant;

use broker::{Answer, Produce, Pull};

use crate::house::{House, caller, consumer, from_start, message};

const MESSAGES: u32 = 400_000;
/// What a Java producer of 5.3.3 sends with a message.
const PROPERTIES: &str = "UNIQ_KEY\u{1}7F0000013E974E0E2F2A796841670002\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}KEYS\u{1}order-4711\u{2}";

fn each(what: &str, count: u32, work: impl FnOnce()) {
    let began = Instant::now();
    work();
    let cost = began.elapsed() / count;
    println!("{what}: {cost:?} each");
}

#[test]
#[ignore = "a measurement"]
fn a_send_and_a_pull() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    let body = [b'x'; 1024];
    let send = Produce {
        body: &body,
        properties: PROPERTIES,
        ..message("t")
    };
    let caller = caller(2);
    for batch in [1, 16, 64] {
        each(&format!("send, {batch} a commit"), MESSAGES, || {
            for n in 0..MESSAGES {
                black_box(house.broker.produce(&caller, &send).unwrap());
                if n % batch == batch - 1 {
                    house.broker.commit().unwrap();
                }
            }
        });
        house.broker.commit().unwrap();
    }
    let queue = house.store.find_queue("t", 0).unwrap();
    let draft = store::Draft {
        queue: &queue,
        flag: 0,
        sys_flag: 0,
        born_at: 0,
        born_host: caller.remote,
        reconsume_times: 0,
        prepared_offset: 0,
        body: &body,
        properties: PROPERTIES,
        tags_code: 2_598_919,
        keys: store::Keys::Unread,
    };
    each("of this the store, 64 a commit", MESSAGES, || {
        for n in 0..MESSAGES {
            black_box(house.store.stage(&draft).unwrap());
            if n % 64 == 63 {
                house.store.write_out().unwrap();
                house.store.dispatch(&mut |_| ());
            }
        }
    });
    house.broker.commit().unwrap();
    house.beat(2, "c", vec![consumer("g", &[("t", "TagA", 1)])]);
    let mut out = Vec::with_capacity(1 << 20);
    for (what, expression) in [("all", Some("*")), ("of a heartbeat's tag", None)] {
        let end = house.broker.max_offset("t", 0) as u32;
        // Near the end, where the records are in memory.
        let from = end - 20_000;
        each(&format!("pull, {what}"), 20 * (end - from), || {
            for _ in 0..20 {
                let mut at = i64::from(from);
                while at < i64::from(end) {
                    out.clear();
                    let pull = Pull {
                        offset: at,
                        expression,
                        ..from_start("t")
                    };
                    match house.broker.pull(&caller, &pull, &mut out).unwrap() {
                        Answer::Ready(pulled) | Answer::After(_, pulled) => {
                            at = pulled.next.0 as i64;
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
        });
    }
}

/// What a filtered pull costs for each message it looks at, by how many of a hundred it takes.
#[test]
#[ignore = "a measurement"]
fn a_filtered_pull() {
    const COUNT: u32 = 20_000;
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    let body = [b'x'; 256];
    for n in 0..COUNT {
        let properties = format!("{PROPERTIES}a\u{1}{}\u{2}", n % 100);
        let send = Produce {
            body: &body,
            properties: &properties,
            ..message("t")
        };
        house.broker.produce(&caller(2), &send).unwrap();
        if n % 64 == 63 {
            house.broker.commit().unwrap();
        }
    }
    house.broker.commit().unwrap();
    let mut out = Vec::with_capacity(1 << 20);
    for percent in [1, 10, 50] {
        let expression = format!("a < {percent} AND TAGS = 'TagA' AND a >= 0");
        let mut pulls = 0;
        each(&format!("filtered, {percent} %"), 20 * COUNT, || {
            for _ in 0..20 {
                let mut at = 0;
                while at < i64::from(COUNT) {
                    out.clear();
                    let pull = Pull {
                        offset: at,
                        expression: Some(&expression),
                        expression_kind: Some("SQL92"),
                        ..from_start("t")
                    };
                    match house.broker.pull(&caller(2), &pull, &mut out).unwrap() {
                        Answer::Ready(pulled) | Answer::After(_, pulled) => {
                            at = pulled.next.0 as i64;
                            pulls += 1;
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
        });
        println!("  in {} pulls a round", pulls / 20);
    }
}
