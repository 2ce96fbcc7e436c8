//! Requests over real sockets: pipelined, cut in pieces, large, one-way, unknown, held, cold.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use remoting::{Command, Serialize};

use crate::toy::{
    COLD, COLD_PANIC, Event, HOLD, PANIC, PUSH, STAGE, Setup, WAKE, WHO, echo, request, serve,
    serve_with,
};

#[test]
fn pipelined_requests_are_answered_in_one_go_with_their_own_opaque() {
    let served = serve();
    let mut client = served.connect();
    let opaques = [7, -1, i32::MIN, i32::MAX, 0];
    client.send_all(&opaques.map(|opaque| echo(opaque, &opaque.to_be_bytes())));
    for opaque in opaques {
        let answer = client.receive().unwrap();
        assert_eq!((answer.opaque, answer.flag, answer.code), (opaque, 1, 0));
        assert_eq!(answer.body, opaque.to_be_bytes());
    }
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let served = serve();
    let mut client = served.connect();
    for byte in echo(5, b"slow").to_bytes() {
        client.stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(client.receive().unwrap().body, b"slow");
}

#[test]
fn a_frame_larger_than_the_read_buffer_arrives_whole() {
    let served = serve();
    let mut client = served.connect();
    let body: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    let answer = client.ask(&echo(5, &body));
    assert!(answer.body == body);
    assert_eq!(client.ask(&echo(6, b"after")).body, b"after");
}

#[test]
fn answers_have_the_header_form_of_their_request() {
    let served = serve();
    let mut client = served.connect();
    let binary = Command {
        serialize: Serialize::Binary,
        ..echo(1, b"")
    };
    client.send_all(&[binary, echo(2, b"")]);
    assert_eq!(client.receive().unwrap().serialize, Serialize::Binary);
    assert_eq!(client.receive().unwrap().serialize, Serialize::Json);
}

#[test]
fn a_oneway_request_is_answered_with_nothing() {
    let served = serve();
    let mut client = served.connect();
    client.send_all(&[
        echo(1, b"").oneway(),
        request(PANIC, 2).oneway(),
        request(99, 3).oneway(),
        request(STAGE, 4).oneway(),
        echo(5, b""),
    ]);
    assert_eq!(client.receive().unwrap().opaque, 5);
    assert_eq!(served.toy.staged.load(Ordering::SeqCst), 1);
    assert_eq!(served.toy.commits.load(Ordering::SeqCst), 1);
}

#[test]
fn an_unknown_code_is_answered_and_the_connection_stays() {
    let served = serve();
    let mut client = served.connect();
    let answer = client.ask(&request(99, 1));
    assert_eq!(answer.code, 3);
    assert_eq!(answer.remark.unwrap(), " request type 99 not supported");
    assert_eq!(client.ask(&echo(2, b"x")).body, b"x");
}

#[test]
fn a_held_request_lets_later_ones_pass_and_is_answered_when_woken() {
    let served = serve();
    let mut client = served.connect();
    client.send_all(&[request(HOLD, 1), echo(2, b"")]);
    assert_eq!(client.receive().unwrap().opaque, 2);
    client.send(&request(WAKE, 3));
    let answers = client.receive_by_opaque(2);
    assert_eq!(answers[&1].remark.as_deref(), Some("woken"));
    assert_eq!(answers[&3].code, 0);
}

#[test]
fn a_held_request_can_be_woken_from_any_thread() {
    let served = serve_with(Setup {
        threads: 2,
        ..Setup::default()
    });
    let mut clients = [served.connect(), served.connect(), served.connect()];
    for client in &mut clients {
        client.send(&request(HOLD, 1));
    }
    served.wait_held(3);
    let held = std::mem::take(&mut *served.toy.held.lock().unwrap());
    served.toy.hub.wake(&held);
    // Tickets that are gone are nobody's.
    served.toy.hub.wake(&held);
    served.toy.hub.wake(&[(1, 1), (u64::MAX, 0)]);
    for client in &mut clients {
        assert_eq!(client.receive().unwrap().remark.as_deref(), Some("woken"));
    }
}

#[test]
fn a_held_request_is_answered_when_its_time_is_over() {
    let served = serve();
    let mut client = served.connect();
    let begun = Instant::now();
    client.send(&request(HOLD, 1).with("ms", 60_000));
    client.send(&request(HOLD, 2).with("ms", 30));
    let answer = client.receive().unwrap();
    assert_eq!(
        (answer.opaque, answer.remark.as_deref()),
        (2, Some("deadline"))
    );
    assert!(begun.elapsed() >= Duration::from_millis(30));
}

#[test]
fn a_cold_request_runs_again_when_its_job_is_done() {
    let served = serve();
    let mut client = served.connect();
    client.send_all(&[request(COLD, 1), request(COLD_PANIC, 2)]);
    let answers = client.receive_by_opaque(2);
    assert_eq!(answers[&1].remark.as_deref(), Some("warm"));
    assert_eq!(answers[&2].code, 1);
}

#[test]
fn a_panic_costs_one_request() {
    let served = serve();
    let mut client = served.connect();
    client.send_all(&[echo(1, b"a"), request(PANIC, 2), echo(3, b"b")]);
    assert_eq!(client.receive().unwrap().body, b"a");
    let answer = client.receive().unwrap();
    assert_eq!((answer.opaque, answer.code), (2, 1));
    assert!(answer.remark.is_some());
    assert_eq!(client.receive().unwrap().body, b"b");
}

#[test]
fn a_client_is_pushed_to_and_its_answer_reaches_the_service() {
    let served = serve();
    let mut client = served.connect();
    client.send(&request(PUSH, 1));
    let mut frames = [client.receive().unwrap(), client.receive().unwrap()];
    frames.sort_by_key(|frame| frame.code);
    assert_eq!(frames[0].field("taken"), Some("true"));
    assert_eq!((frames[1].code, frames[1].flag), (40, 2));
    client.send(&Command::response(9, 77));
    served.wait_for(|event| *event == Event::Answered(77));
}

#[test]
fn pushes_to_a_closed_connection_are_refused() {
    let served = serve();
    let mut client = served.connect();
    client.send(&request(HOLD, 1));
    served.wait_held(1);
    let (connection, _) = served.toy.held.lock().unwrap()[0];
    drop(client);
    served.wait_for(|event| matches!(event, Event::Closed(_)));
    assert!(!served.toy.hub.push(connection, vec![0; 8]));
    served.toy.hub.close(connection);
}

#[test]
fn each_door_is_told_to_the_service() {
    let served = serve();
    let main = served.connect().ask(&request(WHO, 1));
    assert_eq!(main.field("door"), Some("main"));
    let mut vip = served.connect_vip();
    let answer = vip.ask(&request(WHO, 1));
    assert_eq!(answer.field("door"), Some("vip"));
    let local = vip.stream.local_addr().unwrap().to_string();
    assert_eq!(answer.field("remote"), Some(local.as_str()));
}

#[test]
fn the_address_in_a_proxy_header_is_the_clients() {
    let served = serve();
    let mut v1 = served.connect();
    v1.stream
        .write_all(b"PROXY TCP4 10.1.2.3 127.0.0.1 40000 10911\r\n")
        .unwrap();
    let answer = v1.ask(&request(WHO, 1));
    assert_eq!(answer.field("remote"), Some("10.1.2.3:40000"));
    let mut v2 = served.connect();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([10, 9, 8, 7, 127, 0, 0, 1, 0, 80, 0, 81]);
    request(WHO, 1).encode(&mut header);
    v2.stream.write_all(&header).unwrap();
    assert_eq!(v2.receive().unwrap().field("remote"), Some("10.9.8.7:80"));
}

#[test]
fn connections_are_spread_over_the_threads() {
    let served = serve_with(Setup {
        threads: 2,
        ..Setup::default()
    });
    let mut clients: Vec<_> = (0..8).map(|_| served.connect()).collect();
    for client in &mut clients {
        client.send(&request(HOLD, 1));
    }
    served.wait_held(8);
    let held = served.toy.held.lock().unwrap();
    let first = held
        .iter()
        .filter(|(connection, _)| connection & 0xFF == 0)
        .count();
    assert_eq!(first, 4);
}
