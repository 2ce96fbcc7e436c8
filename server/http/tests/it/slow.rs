//! Peers that dawdle are cut off: the times here really end something.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use http_door::{Limits, Options};
use serde_json::json;

use crate::door::{LIMIT, connect, own, read, send_to};
use crate::messages::{publish, topic};

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

/// A stream over HTTP/1.1, of which nothing is read.
fn stream_1(address: SocketAddr, target: &str) -> TcpStream {
    let mut socket = connect(address);
    let head =
        format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    socket
}

/// The same over HTTP/2 (RFC 9113): what streams may send is nothing at all, while the connection is well.
fn stream_2(address: SocketAddr, target: &str) -> TcpStream {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    // HPACK (RFC 7541): GET, http, then a path, an authority and an Accept that are in no table.
    let headers = [
        vec![0x82, 0x86, 0x04],
        text(target),
        vec![0x01],
        text(&address.to_string()),
        vec![0x0f, 0x04],
        text("text/event-stream"),
    ];
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let mut socket = connect(address);
    let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let request = frame(1, 0x5, 1, &headers.concat());
    let all = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &*settings, &request].concat();
    socket.write_all(&all).unwrap();
    let answering = socket.try_clone().unwrap();
    std::thread::spawn(move || answer_pings(answering));
    socket
}

/// As whoever is alive does.
fn answer_pings(mut socket: TcpStream) {
    let mut head = [0; 9];
    while socket.read_exact(&mut head).is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        let read = socket.read_exact(&mut payload);
        let is_ping = head[3] == 6 && head[4] == 0;
        head[4] = 1;
        if read.is_err() || is_ping && socket.write_all(&[&head[..], &payload].concat()).is_err() {
            return;
        }
    }
}

#[test]
fn who_reads_nothing_of_a_stream_does_not_keep_its_place() {
    let topic = topic("unread");
    let body = json!({"body": "x".repeat(60_000)});
    // More than lies between two sockets.
    for _ in 0..300 {
        publish(&topic, &body).expect(201);
    }
    for stream in [stream_1, stream_2] {
        let server = own(Options {
            limits: Limits {
                write_stall: SHORT,
                ..Limits::default()
            },
            ..Options::default()
        });
        let target = format!("/v1/topics/{topic}/stream?from=earliest");
        let socket = stream(server.address().unwrap(), &target);
        let management = server.management_address().unwrap();
        for count in [1, 0] {
            let line = format!("\nrocketmq_http_streams{{kind=\"tail\"}} {count}\n");
            let until = Instant::now() + LIMIT;
            loop {
                let text = send_to(management, "GET", "/metrics", &[], b"");
                let text = String::from_utf8(text.body).unwrap();
                if text.contains(&line) {
                    break;
                }
                assert!(Instant::now() < until, "not {count}: {text}");
            }
        }
        socket.shutdown(Shutdown::Both).unwrap();
        server.stop(LIMIT);
    }
}
