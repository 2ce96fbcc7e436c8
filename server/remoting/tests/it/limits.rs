//! Limits of the serving end: slow readers, halves of frames, answers in flight, held requests.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use remoting::limits::Limits;

use crate::toy::{BIG, HOLD, STAGE, Setup, WAKE, echo, request, serve, serve_with};

#[test]
fn a_slow_reader_is_not_served_on_and_others_do_not_wait() {
    let served = serve();
    let mut slow = served.connect();
    // 400 answers of 1 MiB that nobody reads.
    let asks: Vec<_> = (0..400)
        .map(|n| request(BIG, n).with("size", 1 << 20))
        .collect();
    slow.send_all(&asks);
    let begun = Instant::now();
    let mut other = served.connect();
    for opaque in 0..100 {
        assert_eq!(other.ask(&echo(opaque, b"quick")).body, b"quick");
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    let calls = served.toy.calls.load(Ordering::Relaxed);
    assert!(
        calls < 100 + 30,
        "{calls} calls: the slow reader's answers pile up"
    );
    for opaque in 0..400 {
        let answer = slow.receive().unwrap();
        assert_eq!((answer.opaque, answer.body.len()), (opaque, 1 << 20));
    }
}

#[test]
fn an_answer_larger_than_the_buffers_limit_is_taken_whole() {
    let served = serve();
    let mut client = served.connect();
    let answer = client.ask(&request(BIG, 1).with("size", 12 << 20));
    assert_eq!(answer.body.len(), 12 << 20);
}

#[test]
fn a_reader_that_takes_nothing_is_closed() {
    let served = serve_with(Setup {
        limits: Limits {
            write_stall: Duration::from_millis(100),
            ..Limits::default()
        },
        ..Setup::default()
    });
    let mut slow = served.connect();
    let asks: Vec<_> = (0..40)
        .map(|n| request(BIG, n).with("size", 1 << 20))
        .collect();
    slow.send_all(&asks);
    served.wait_for(|event| matches!(event, crate::toy::Event::Closed(_)));
}

#[test]
fn a_frame_that_never_arrives_whole_is_given_up() {
    let served = serve_with(Setup {
        limits: Limits {
            frame_stall: Duration::from_millis(100),
            ..Limits::default()
        },
        ..Setup::default()
    });
    let mut client = served.connect();
    let bytes = echo(1, &[0; 1000]).to_bytes();
    client.stream.write_all(&bytes[..500]).unwrap();
    assert!(client.receive().is_none());
}

#[test]
fn answers_in_flight_stop_the_reading_until_they_leave() {
    let served = serve_with(Setup {
        limits: Limits {
            in_flight: 1000,
            ..Limits::default()
        },
        ..Setup::default()
    });
    let mut client = served.connect();
    let asks: Vec<_> = (0..500)
        .map(|n| request(STAGE, n).with("level", "flushed"))
        .collect();
    client.send_all(&asks);
    let mut received = 0;
    let mut answered = std::collections::HashSet::new();
    let until = Instant::now() + crate::toy::LIMIT;
    while received < 500 {
        assert!(Instant::now() < until);
        let staged = served.toy.staged.load(Ordering::SeqCst);
        // A tick of 32 frames is staged before the first of them is parked.
        assert!(
            staged as usize <= received + 20 + 32,
            "{staged} staged, {received} answered"
        );
        if staged as usize == received {
            std::thread::yield_now();
            continue;
        }
        served.toy.flushed.store(staged, Ordering::SeqCst);
        served.toy.hub.marks_moved();
        while received < staged as usize {
            answered.insert(client.receive().unwrap().opaque);
            received += 1;
        }
    }
    assert_eq!(answered.len(), 500);
}

#[test]
fn held_requests_do_not_count_as_in_flight() {
    let served = serve_with(Setup {
        limits: Limits {
            in_flight: 1000,
            ..Limits::default()
        },
        ..Setup::default()
    });
    let mut client = served.connect();
    let asks: Vec<_> = (0..200).map(|n| request(HOLD, n)).collect();
    client.send_all(&asks);
    served.wait_held(200);
    client.send(&echo(1000, b"still read"));
    assert_eq!(client.receive().unwrap().body, b"still read");
    client.send(&request(WAKE, 1001));
    let answers = client.receive_by_opaque(201);
    assert_eq!(answers[&199].remark.as_deref(), Some("woken"));
}

#[test]
fn too_many_bytes_of_held_requests_are_refused_as_busy() {
    let served = serve_with(Setup {
        limits: Limits {
            held: 1000,
            ..Limits::default()
        },
        ..Setup::default()
    });
    let mut client = served.connect();
    let asks: Vec<_> = (0..20)
        .map(|n| request(HOLD, n).body(vec![0; 200]))
        .collect();
    client.send_all(&asks);
    let answer = client.receive().unwrap();
    assert_eq!(answer.code, 2);
    assert!(
        answer
            .remark
            .unwrap()
            .starts_with("[OVERLOAD]system busy, start flow control")
    );
    assert_eq!(served.connect().ask(&echo(1, b"x")).body, b"x");
}

#[test]
fn held_answers_wait_for_a_slow_reader_too() {
    let served = serve();
    let mut slow = served.connect();
    let holds: Vec<_> = (0..50).map(|n| request(HOLD, n)).collect();
    slow.send_all(&holds);
    served.wait_held(50);
    slow.send_all(
        &(50..60)
            .map(|n| request(BIG, n).with("size", 2 << 20))
            .collect::<Vec<_>>(),
    );
    let mut other = served.connect();
    assert_eq!(other.ask(&request(WAKE, 1)).code, 0);
    let answers = slow.receive_by_opaque(60);
    assert_eq!(answers[&49].remark.as_deref(), Some("woken"));
    assert_eq!(answers[&59].body.len(), 2 << 20);
}

#[test]
fn one_connection_too_many_is_closed() {
    let served = serve_with(Setup {
        limits: Limits {
            connections: 2,
            ..Limits::default()
        },
        ..Setup::default()
    });
    let mut first = served.connect();
    let mut second = served.connect();
    first.ask(&echo(1, b""));
    second.ask(&echo(1, b""));
    assert!(served.connect().receive().is_none());
    assert_eq!(first.ask(&echo(2, b"x")).body, b"x");
}
