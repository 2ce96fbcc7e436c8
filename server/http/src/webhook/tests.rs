//! Whom calls reach, on real sockets.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use super::*;

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work)
}

/// A stored URL may lead elsewhere by now: what counts is where it leads when it is called.
#[test]
fn an_address_of_this_machine_is_not_connected_to_whatever_its_name() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "localhost",
        "::ffff:127.0.0.1",
    ] {
        let url = Url {
            https: false,
            host: host.to_owned(),
            port,
            authority: host.to_owned(),
            target: "/".to_owned(),
            trusted: false,
        };
        let webhooks = Webhooks::new(&[], None);
        let called = run(webhooks.reach(&url));
        assert!(
            matches!(called, Err(Failed::Forbidden(_))),
            "{host}: {called:?}"
        );
    }
    assert!(listener.accept().is_err());
}

#[test]
fn a_receiver_confirms_by_naming_who_calls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url {
        https: false,
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
        authority: "shop.example".to_owned(),
        target: "/check".to_owned(),
        trusted: true,
    };
    let no = |status| Confirmed::No(StatusCode::from_u16(status).unwrap());
    for (head, confirmed) in [
        ("200 x\r\nWebHook-Allowed-Origin: *", Confirmed::Yes),
        (
            "204 x\r\nwebhook-allowed-origin: Broker.example",
            Confirmed::Yes,
        ),
        ("200 x\r\nWebHook-Allowed-Origin: other.example", no(200)),
        ("200 x", no(200)),
        ("405 x\r\nWebHook-Allowed-Origin: *", no(405)),
        (
            "302 x\r\nWebHook-Allowed-Origin: *\r\nLocation: /there",
            no(302),
        ),
    ] {
        let listener = listener.try_clone().unwrap();
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let asked: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let answer = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            asked
        });
        let webhooks = Webhooks::new(&[], None);
        assert_eq!(
            run(webhooks.confirm(&url, "broker.example")).unwrap(),
            confirmed
        );
        let asked = asked.join().unwrap();
        assert_eq!(asked[0], "OPTIONS /check HTTP/1.1");
        for line in [
            "host: shop.example",
            "webhook-request-origin: broker.example",
        ] {
            assert!(
                asked.iter().any(|own| own.eq_ignore_ascii_case(line)),
                "{asked:?}"
            );
        }
    }
}
