//! What closes a connection: bytes that are no frame, and nothing else.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use remoting::Command;
use remoting::limits::Limits;

use crate::toy::{Client, Event, HOLD, STAGE, Setup, echo, request, serve, serve_with};

/// Sends a good request and then these bytes: the answer comes, then the end.
fn closes(bytes: &[u8]) {
    let served = serve();
    let mut client = served.connect();
    let mut all = echo(1, b"before").to_bytes();
    all.extend_from_slice(bytes);
    client.stream.write_all(&all).unwrap();
    // A reset may overtake the answer when bytes were left unread.
    if let Some(answer) = client.receive() {
        assert_eq!(answer.body, b"before");
        assert!(client.receive().is_none());
    }
    assert_eq!(served.connect().ask(&echo(2, b"alive")).body, b"alive");
}

fn frame(form: u8, header: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u32 + 4).to_be_bytes().to_vec();
    bytes.extend((header.len() as u32 | u32::from(form) << 24).to_be_bytes());
    bytes.extend(header);
    bytes
}

#[test]
fn a_header_that_is_no_json_closes() {
    closes(&frame(0, b"not JSON, but long enough"));
}

#[test]
fn an_unknown_header_form_closes() {
    closes(&frame(7, b"{\"code\":1,\"opaque\":1}"));
}

#[test]
fn a_header_length_of_nothing_closes() {
    closes(&[0, 0, 0, 8, 0, 0, 0, 0, 1, 2, 3, 4]);
}

#[test]
fn a_length_word_below_four_closes() {
    closes(&[0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_length_word_above_the_limit_closes_at_once() {
    closes(&(16 * 1024 * 1024u32 - 3).to_be_bytes());
}

#[test]
fn a_header_longer_than_its_frame_closes() {
    closes(&[0, 0, 0, 12, 0, 0, 0, 9, b'{', b'}', 0, 0, 0, 0, 0, 0]);
}

#[test]
fn an_http_request_closes() {
    closes(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

#[test]
fn a_tls_handshake_closes() {
    let served = serve();
    let mut client = served.connect();
    client
        .stream
        .write_all(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\x01")
        .unwrap();
    assert!(client.receive().is_none());
}

#[test]
fn a_broken_proxy_header_closes() {
    let served = serve();
    let mut client = served.connect();
    client
        .stream
        .write_all(b"PROXY TCP4 nowhere nothing 1 2\r\n")
        .unwrap();
    assert!(client.receive().is_none());
}

#[test]
fn nothing_is_judged_before_twelve_bytes() {
    let served = serve();
    let mut client = served.connect();
    client.stream.write_all(&[0xFF; 11]).unwrap();
    // Somebody else is served meanwhile: the bytes have been seen.
    assert_eq!(served.connect().ask(&echo(1, b"x")).body, b"x");
    client
        .stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let mut byte = [0];
    let nothing = std::io::Read::read(&mut client.stream, &mut byte);
    assert!(nothing.is_err(), "the connection is still open");
    client
        .stream
        .set_read_timeout(Some(crate::toy::LIMIT))
        .unwrap();
    client.stream.write_all(&[0xFF]).unwrap();
    assert!(client.receive().is_none());
}

#[test]
fn two_thousand_malformed_inputs_leave_it_alive() {
    let served = serve();
    let mut random = fastrand::Rng::with_seed(9876);
    let good = [
        echo(1, b"a body"),
        request(STAGE, 2).with("level", "appended"),
        Command {
            serialize: remoting::Serialize::Binary,
            ..echo(3, b"another").with("name", "value").remark("text")
        },
    ];
    for round in 0..2_000 {
        let mut bytes = random.choice(&good).unwrap().to_bytes();
        match round % 4 {
            0 => bytes = (0..random.usize(1..200)).map(|_| random.u8(..)).collect(),
            1 => bytes.truncate(random.usize(..bytes.len())),
            _ => {
                for _ in 0..random.usize(1..6) {
                    let at = random.usize(..bytes.len());
                    bytes[at] = random.u8(..);
                }
            }
        }
        let mut client = served.connect();
        let _ = client.stream.write_all(&bytes);
    }
    assert_eq!(served.connect().ask(&echo(7, b"alive")).body, b"alive");
    let until = Instant::now() + crate::toy::LIMIT;
    while served.toy.hub.connections() > 0 {
        assert!(Instant::now() < until, "connections are left");
        std::thread::yield_now();
    }
}

#[test]
fn an_idle_connection_is_closed() {
    let served = serve_with(Setup {
        limits: Limits {
            idle: Duration::from_millis(80),
            ..Limits::default()
        },
        ..Setup::default()
    });
    let begun = Instant::now();
    let mut client = served.connect();
    assert_eq!(client.ask(&echo(1, b"x")).body, b"x");
    assert!(client.receive().is_none());
    assert!(begun.elapsed() >= Duration::from_millis(70));
}

#[test]
fn a_shutdown_answers_what_is_in_flight_and_then_closes() {
    let served = serve();
    let mut parked = served.connect();
    parked.send_all(&[request(STAGE, 1).with("level", "flushed"), echo(2, b"")]);
    assert_eq!(parked.receive().unwrap().opaque, 2);
    let mut holding = served.connect();
    holding.send(&request(HOLD, 3));
    served.wait_held(1);
    let address = served.running.addresses()[0];
    let toy = served.toy.clone();
    let running = served.running;
    let ending = std::thread::spawn(move || running.shutdown(Duration::from_secs(10)));
    assert_eq!(
        holding.receive().unwrap().remark.as_deref(),
        Some("deadline")
    );
    assert!(holding.receive().is_none());
    toy.flushed.store(1, Ordering::SeqCst);
    toy.hub.marks_moved();
    assert_eq!(parked.receive().unwrap().opaque, 1);
    assert!(parked.receive().is_none());
    ending.join().unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn a_shutdown_does_not_wait_longer_than_it_was_told() {
    let served = serve();
    let mut parked = served.connect();
    parked.send_all(&[request(STAGE, 1).with("level", "flushed"), echo(2, b"")]);
    assert_eq!(parked.receive().unwrap().opaque, 2);
    let begun = Instant::now();
    served.running.shutdown(Duration::from_millis(50));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(50) && took < Duration::from_secs(3));
    assert!(parked.receive().is_none());
}

#[test]
fn dropping_a_server_tells_the_service_that_its_connections_are_gone() {
    let served = serve();
    let mut client: Client = served.connect();
    client.ask(&echo(1, b""));
    drop(served.running);
    let events: Vec<_> = served.events.try_iter().collect();
    assert!(events.iter().any(|event| matches!(event, Event::Closed(_))));
}
