//! Bad input against the real binary: each kind has its documented answer or ends its own connection,
//! the server stays up, and its memory comes back.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use remoting::Command;
use remoting::code::request;

use crate::client::{Client, pull, send};
use crate::process::{LIMIT, Posthouse};

const TOPIC: &str = "nonsense";

/// A request that is answered with a code, on a connection that stays.
fn with_codes() -> Vec<(&'static str, i32, Command)> {
    let heartbeat = |body: &str| Command::request(request::HEART_BEAT).body(body.into());
    let group = |code, name: &str| Command::request(code).with("consumerGroup", name);
    let commit = group(request::UPDATE_CONSUMER_OFFSET, "nobody")
        .with("topic", TOPIC)
        .with("queueId", 0)
        .with("commitOffset", 1);
    vec![
        ("an unknown code", 3, Command::request(31_999)),
        ("no fields", 1, Command::request(request::SEND_MESSAGE_V2)),
        (
            "a queue that is no number",
            1,
            but(send(TOPIC, 0, b"x"), "e", "x"),
        ),
        ("a path for a topic", 29, send("../../x", 0, b"x")),
        ("a blank topic", 29, send(" ", 0, b"x")),
        ("a long topic", 29, send(&"t".repeat(128), 0, b"x")),
        ("an empty body", 1, send(TOPIC, 0, b"")),
        (
            "a long body",
            13,
            send(TOPIC, 0, &vec![b'x'; (4 << 20) + 1]),
        ),
        (
            "long properties",
            13,
            but(send(TOPIC, 0, b"x"), "i", &"p".repeat(33_000)),
        ),
        ("a queue too far", 29, send(TOPIC, 4, b"x")),
        ("any queue", 0, but(send(TOPIC, 0, b"x"), "e", "-1")),
        (
            "the broker's own topic",
            16,
            send("SCHEDULE_TOPIC_XXXX", 0, b"x"),
        ),
        ("a batch that ends early", 1, batch(&item(b"one")[..20])),
        ("a negative length in a batch", 1, batch(&[0xFF; 64])),
        ("a zero length in a batch", 1, batch(&[0; 64])),
        ("a wrong CRC in a batch", 13, {
            let mut item = item(b"one");
            item[8] ^= 1;
            batch(&item)
        }),
        ("a pull from a queue too far", 29, pull(TOPIC, 4, 0)),
        (
            "a pull from a negative queue",
            29,
            but(pull(TOPIC, 0, 0), "queueId", "-1"),
        ),
        ("a pull from a path", 17, pull("../../x", 0, 0)),
        (
            "a pull by a blank group",
            26,
            but(pull(TOPIC, 0, 0), "consumerGroup", " "),
        ),
        ("an unknown group's commit", 26, commit),
        (
            "an unknown group's members",
            1,
            group(request::GET_CONSUMER_LIST_BY_GROUP, "nobody"),
        ),
        (
            "an unknown group's connections",
            206,
            group(request::GET_CONSUMER_CONNECTION_LIST, "nobody"),
        ),
        ("a heartbeat of nothing", 1, heartbeat("")),
        (
            "a heartbeat that ends early",
            1,
            heartbeat(r#"{"clientID":"c","consumerDataSet":[{"#),
        ),
        (
            "a heartbeat of brackets",
            1,
            heartbeat(&"[".repeat(100_000)),
        ),
    ]
}

/// Bytes that are no frames: they end their connection.
fn that_end_it() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |length: u32, mark: u32, rest: &[u8]| {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&mark.to_be_bytes());
        bytes.extend_from_slice(rest);
        bytes
    };
    vec![
        ("a negative length", frame(u32::MAX, 0, b"")),
        ("an oversized frame", frame(17 << 20, 100, b"")),
        ("a frame of no length", frame(0, 0, b"")),
        (
            "a header longer than its frame",
            frame(14, 500, b"{\"code\":10"),
        ),
        ("no header", frame(4, 0, b"")),
        (
            "an unknown header form",
            frame(14, 10 | 9 << 24, b"{\"code\":10"),
        ),
        ("a header that is no JSON", frame(14, 10, b"{\"code\":x}")),
        (
            "a binary header that ends early",
            frame(14, 10 | 1 << 24, &[0; 10]),
        ),
        ("a web browser", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        (
            "half a frame",
            send(TOPIC, 0, b"x").to_bytes()[..40].to_vec(),
        ),
    ]
}

fn but(mut command: Command, name: &str, value: &str) -> Command {
    let mut fields = command.ext.iter_mut().flatten();
    fields.find(|field| field.0 == name).unwrap().1 = value.to_owned();
    command
}

/// One message of a batch, with the right CRC.
fn item(body: &[u8]) -> Vec<u8> {
    let crc = model::record::crc(body);
    let total = 22 + body.len() as u32;
    let mut bytes: Vec<u8> = [total, 0, crc, 0, body.len() as u32]
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect();
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&[0, 0]);
    bytes
}

fn batch(body: &[u8]) -> Command {
    but(send(TOPIC, 0, body), "m", "true")
}

/// Writes bytes and nothing more, and reads until the server ends the connection.
fn pour(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let mut answer = Vec::new();
    // The server may have ended it already: then there is nothing more to do.
    let said = socket
        .write_all(bytes)
        .and_then(|()| socket.shutdown(Shutdown::Write));
    match said.and_then(|()| socket.read_to_end(&mut answer)) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            panic!("the connection goes on")
        }
        _ => answer,
    }
}

/// Memory of the process that is no file's, in KiB.
fn anonymous(server: &Posthouse) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[test]
fn each_kind_of_bad_request_has_its_answer_on_a_connection_that_stays() {
    let data = tempfile::tempdir().unwrap();
    let server = Posthouse::standalone(data.path());
    let mut client = Client::connect(server.broker()).unwrap();
    client.send(TOPIC, 0, b"first").unwrap();
    for (what, code, request) in with_codes() {
        let answer = client.call(request).unwrap();
        assert_eq!(answer.code, code, "{what}: {:?}", answer.remark);
    }
    assert!(client.send(TOPIC, 0, b"last").is_ok());
}

#[test]
fn two_thousand_malformed_requests_leave_the_server_as_it_was() {
    let data = tempfile::tempdir().unwrap();
    let server = Posthouse::standalone(data.path());
    let broker = server.broker();
    let mut client = Client::connect(broker).unwrap();
    client.send(TOPIC, 0, b"first").unwrap();
    let (codes, ends) = (with_codes(), that_end_it());
    let whole = send(TOPIC, 0, &[b'x'; 64]).to_bytes();
    let mut rng = fastrand::Rng::with_seed(7);
    let mut ask = |round: usize| {
        let (what, code, request) = &codes[round % codes.len()];
        let answer = client.call(request.clone()).unwrap();
        assert_eq!(answer.code, *code, "{what}");
        let (what, bytes) = &ends[round % ends.len()];
        assert_eq!(pour(broker, bytes), b"", "{what}");
        let mut bytes = whole.clone();
        bytes.truncate(rng.usize(1..=whole.len()));
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(..bytes.len());
            bytes[at] = rng.u8(..);
        }
        pour(broker, &bytes);
    };
    // What is allocated once, such as buffers and tables, is there then.
    (0..60).for_each(&mut ask);
    let before = anonymous(&server);
    (60..60 + 667).for_each(&mut ask);
    // Nothing announces that memory was given back, which a server does that is at rest: so it is looked at, with a limit.
    let until = Instant::now() + LIMIT;
    while anonymous(&server) > before + before / 10 && Instant::now() < until {
        std::thread::yield_now();
    }
    let after = anonymous(&server);
    assert!(after <= before + before / 10, "{before} KiB became {after}");
    assert!(client.pull_all(TOPIC, 0).unwrap().len() > 1);
}

/// A send that never ends: the server holds what came of it.
fn half_a_send(address: SocketAddr, length: usize) -> TcpStream {
    let whole = send(TOPIC, 0, &vec![b'x'; 2 * length]).to_bytes();
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(&whole[..length]).unwrap();
    socket
}

#[test]
fn the_memory_of_hundreds_of_clients_comes_back_when_they_are_gone() {
    const CLIENTS: usize = 800;
    const EACH: usize = 120 << 10;
    let data = tempfile::tempdir().unwrap();
    let server = Posthouse::standalone(data.path());
    let mut client = Client::connect(server.broker()).unwrap();
    client.send(TOPIC, 0, b"first").unwrap();
    let before = anonymous(&server);
    let mut rng = fastrand::Rng::with_seed(7);
    let mut open: Vec<_> = (0..CLIENTS)
        .map(|_| half_a_send(server.broker(), rng.usize(EACH / 2..EACH)))
        .collect();
    let held = before + u64::try_from(CLIENTS * EACH / 2 / 1_024).unwrap();
    let until = Instant::now() + LIMIT;
    while anonymous(&server) < held {
        assert!(Instant::now() < until, "nothing is held");
        client.send(TOPIC, 0, b"meanwhile").unwrap();
    }
    rng.shuffle(&mut open);
    // One stays, as there is always somebody.
    open.truncate(1);
    let until = Instant::now() + LIMIT;
    let enough = before + (24 << 10);
    while anonymous(&server) > enough {
        let now = anonymous(&server);
        assert!(
            Instant::now() < until,
            "{before} KiB, held {held}, now {now}"
        );
        std::thread::yield_now();
    }
    assert!(client.send(TOPIC, 0, b"last").is_ok());
}
