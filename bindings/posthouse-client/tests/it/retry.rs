//! What a producer does when a broker says no, or nothing.

use posthouse_client::{Client, Config, Error, Message, ProducerOptions};
use remoting::Command;

use crate::places::{fresh, run};
use crate::toy::{Served, serve};

/// A name server that knows one topic: one queue on each of these brokers.
pub fn name_server(brokers: &[&Served]) -> Served {
    let addresses = brokers.iter().map(|broker| broker.address());
    name_server_of(&addresses.collect::<Vec<_>>())
}

/// The same, by their addresses.
pub fn name_server_of(brokers: &[String]) -> Served {
    let mut datas = Vec::new();
    let mut queues = Vec::new();
    for (n, address) in brokers.iter().enumerate() {
        // fastjson's dialect: a number as a key.
        datas.push(format!(
            r#"{{"brokerAddrs":{{0:"{address}"}},"brokerName":"b{n}","cluster":"c"}}"#
        ));
        queues.push(format!(
            r#"{{"brokerName":"b{n}","perm":6,"readQueueNums":1,"writeQueueNums":1}}"#
        ));
    }
    let route = format!(
        r#"{{"brokerDatas":[{}],"filterServerTable":{{}},"queueDatas":[{}]}}"#,
        datas.join(","),
        queues.join(",")
    );
    serve(move |_| Command::response(0, 0).body(route.clone().into_bytes()))
}

pub fn accepts() -> Served {
    serve(|_| {
        let answer = Command::response(0, 0).with("msgId", "x");
        answer.with("queueId", 0).with("queueOffset", 7)
    })
}

pub fn refuses(code: i32) -> Served {
    serve(move |_| Command::response(0, code).remark("not today"))
}

const SEND: i32 = 310;

#[test]
fn javas_codes_are_tried_at_another_broker_and_no_others() {
    for code in [17, 14, 1, 2, 16, 204, 205] {
        run(async {
            let (bad, good) = (refuses(code), accepts());
            let servers = name_server(&[&bad, &good]);
            let client = Client::new(Config::new(&servers.address()));
            let producer = client.producer("shop").unwrap();
            // Two sends: one of them begins at the broker that refuses.
            for _ in 0..2 {
                let sent = producer.send(Message::new(fresh("t"), "x")).await.unwrap();
                assert_eq!(
                    (&*sent.queue.broker, sent.queue_offset),
                    ("b1", 7),
                    "{code}"
                );
            }
            assert_eq!(good.asked(SEND), 2, "{code}");
        });
    }
    for code in [13, 29, 26] {
        run(async {
            let (bad, worse) = (refuses(code), refuses(code));
            let servers = name_server(&[&bad, &worse]);
            let client = Client::new(Config::new(&servers.address()));
            let producer = client.producer("shop").unwrap();
            let error = producer.send(Message::new("t", "x")).await.unwrap_err();
            assert_eq!(error.code(), Some(code));
            assert_eq!(error.remark(), Some("not today"));
            assert_eq!(bad.asked(SEND) + worse.asked(SEND), 1);
        });
    }
}

#[test]
fn tries_end_and_ordered_messages_have_only_one() {
    run(async {
        let (one, two) = (refuses(2), refuses(2));
        let servers = name_server(&[&one, &two]);
        let client = Client::new(Config::new(&servers.address()));
        let producer = client.producer("shop").unwrap();
        let error = producer.send(Message::new("t", "x")).await.unwrap_err();
        assert_eq!(error.code(), Some(2));
        assert_eq!(one.asked(SEND) + two.asked(SEND), 3);
        let ordered = Message::new("t", "x").sharding_key("k");
        producer.send(ordered).await.unwrap_err();
        assert_eq!(one.asked(SEND) + two.asked(SEND), 4);
    });
}

#[test]
fn a_broker_that_is_gone_is_left_alone_for_a_while() {
    run(async {
        let (gone, good) = (accepts(), accepts());
        let servers = name_server(&[&gone, &good]);
        drop(gone);
        let client = Client::new(Config::new(&servers.address()));
        let producer = client.producer("shop").unwrap();
        for _ in 0..10 {
            let sent = producer.send(Message::new("t", "x")).await.unwrap();
            assert_eq!(&*sent.queue.broker, "b1");
        }
        // The route is asked for at the start, and once more after the one failure.
        assert!(servers.asked(105) <= 2, "{}", servers.asked(105));
    });
}

#[test]
fn a_name_server_that_is_gone_is_passed_over() {
    run(async {
        let good = accepts();
        let servers = name_server(&[&good]);
        let gone = name_server(&[&good]);
        let both = format!("{};{}", gone.address(), servers.address());
        drop(gone);
        let client = Client::new(Config::new(&both));
        let producer = client.producer("shop").unwrap();
        producer.send(Message::new("t", "x")).await.unwrap();
    });
}

#[test]
fn without_an_answer_a_send_ends_in_time() {
    run(async {
        let silent = serve(|_| {
            // A toy answers at once or never: this one hangs up its thread for the time of the test.
            let (_sender, never) = std::sync::mpsc::channel::<()>();
            let _ = never.recv_timeout(std::time::Duration::from_millis(500));
            Command::response(0, 13)
        });
        let servers = name_server(&[&silent]);
        let client = Client::new(Config::new(&servers.address()));
        let options = ProducerOptions {
            timeout: std::time::Duration::from_millis(100),
            ..ProducerOptions::default()
        };
        let producer = client.producer_with("shop", options).unwrap();
        let error = producer.send(Message::new("t", "x")).await.unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    });
}
