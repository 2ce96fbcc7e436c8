//! Peers that dawdle are cut off: the times here really end something.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use http_door::{Limits, Options};

use crate::door::{LIMIT, connect, own, read};

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn a_header_that_never_ends_is_not_waited_for() {
    let server = own(Options {
        limits: Limits {
            header_time: SHORT,
            ..Limits::default()
        },
        ..Options::default()
    });
    let mut socket = connect(server.address().unwrap());
    let begun = Instant::now();
    socket
        .write_all(b"GET /livez HTTP/1.1\r\nHost: 127")
        .unwrap();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).unwrap();
    assert!(begun.elapsed() >= SHORT && begun.elapsed() < LIMIT);
    let text = String::from_utf8_lossy(&rest);
    assert!(
        rest.is_empty() || text.starts_with("HTTP/1.1 408"),
        "{text}"
    );
}

#[test]
fn a_body_that_pauses_or_trickles_is_answered_408() {
    let paused = Limits {
        body_pause: SHORT,
        ..Limits::default()
    };
    // One byte each 20 ms never pauses, and is still slower than a KiB a second.
    let trickling = Limits {
        body_grace: SHORT,
        ..Limits::default()
    };
    for (limits, trickle) in [(paused, false), (trickling, true)] {
        let server = own(Options {
            limits,
            ..Options::default()
        });
        let address = server.address().unwrap();
        let mut socket = connect(address);
        let head = format!(
            "PUT /v1/topics/t HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
        );
        socket.write_all(head.as_bytes()).unwrap();
        let writing = trickle.then(|| {
            let mut socket = socket.try_clone().unwrap();
            std::thread::spawn(move || {
                let (_alive, pause) = std::sync::mpsc::channel::<()>();
                for _ in 0..900 {
                    if socket.write_all(b" ").is_err() {
                        break;
                    }
                    let _ = pause.recv_timeout(Duration::from_millis(20));
                }
            })
        });
        let answer = read(&mut socket, false);
        assert_eq!(answer.status, 408, "{answer:?}");
        assert_eq!(answer.problem(), "request-timeout");
        assert_eq!(answer.header("connection"), "close");
        drop(socket);
        if let Some(writing) = writing {
            writing.join().unwrap();
        }
    }
}

#[test]
fn a_peer_that_never_says_anything_is_let_go() {
    let server = own(Options {
        limits: Limits {
            header_time: SHORT,
            ..Limits::default()
        },
        ..Options::default()
    });
    let mut socket = connect(server.address().unwrap());
    let begun = Instant::now();
    assert_eq!(socket.read(&mut [0]).unwrap(), 0, "it was answered");
    assert!(begun.elapsed() < LIMIT);
}
