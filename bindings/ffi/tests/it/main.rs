//! Send and receive through the boundary's Rust half, against a real server in this process.
#![allow(clippy::unwrap_used)] // a broken test may panic

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ffi::{
    Access, Client, ClientOptions, Code, Credit, Done, EmbeddedOptions, Inbox, Outgoing, Producer,
    PushConsumer, Runtime, Server, Trust,
};
use posthouse_client::{
    ConsumeFrom, Deliver, Filter, Message, ProducerOptions, PushOptions, Receive, Settle,
};

const LIMIT: Duration = Duration::from_secs(30);

fn never() -> Result<(), ffi::Error> {
    Ok(())
}

fn memory() -> EmbeddedOptions {
    EmbeddedOptions::default()
}

fn client(server: &Arc<Server>) -> Client {
    Client::inside(server.clone(), &ClientOptions::default()).unwrap()
}

fn outgoing(id: u64, message: Message) -> Outgoing {
    Outgoing {
        id,
        message,
        queue: None,
        limit: None,
    }
}

/// Sends everything, in as many crossings as credit needs, and returns how many were stored.
fn send_all(producer: &Producer, messages: Vec<Outgoing>) -> usize {
    let mut messages = VecDeque::from(messages);
    let done = Arc::new(Inbox::<Done>::default());
    let (all, mut stored, mut ended) = (messages.len(), 0, 0);
    while ended < all {
        producer.submit(&mut messages, done.clone()).unwrap();
        for (_, result) in done.wait(1024, LIMIT) {
            result.unwrap();
            stored += 1;
            ended += 1;
        }
    }
    stored
}

#[test]
fn what_is_sent_in_slabs_is_popped_and_acked() {
    let server = Server::start(&memory()).unwrap();
    let client = client(&server);
    let credit = Credit::new(64, 1 << 20);
    let producer = Producer::open(&client, "p", ProducerOptions::default(), credit).unwrap();
    let all: Vec<_> = (0..1000)
        .map(|n| outgoing(n, Message::new("slabs", n.to_string())))
        .collect();
    assert_eq!(send_all(&producer, all), 1000);
    let consumer = client.get().unwrap().simple_consumer("g").unwrap();
    let runtime = client.runtime().clone();
    let popped = runtime.wait::<_, ffi::Error>(
        async move {
            let mut bodies = std::collections::BTreeSet::new();
            let receive = Receive {
                max: 32,
                ..Receive::default()
            };
            while bodies.len() < 1000 {
                for leased in consumer.receive("slabs", &receive).await.unwrap() {
                    consumer.ack(&leased.lease).await.unwrap();
                    bodies.insert(leased.message.body.to_vec());
                }
            }
            bodies.len()
        },
        never,
    );
    assert_eq!(popped.unwrap(), 1000);
    producer.close(LIMIT);
    client.close(LIMIT);
    server.close();
}

#[test]
fn a_broker_of_this_process_works_on_the_thread_that_waits() {
    let server = Server::start(&memory()).unwrap();
    let client = client(&server);
    let credit = Credit::new(64, 1 << 20);
    let producer = Producer::open(&client, "p", ProducerOptions::default(), credit).unwrap();
    let first = outgoing(0, Message::new("here", "first"));
    assert_eq!(send_all(&producer, vec![first]), 1, "the route is known");
    let done = Arc::new(Inbox::<Done>::default());
    // The runtime cannot do it.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (held, holds) = std::sync::mpsc::channel();
    drop(client.runtime().spawn(async move {
        held.send(()).unwrap();
        let _ = wait.recv();
    }));
    holds.recv().unwrap();
    let mut messages: VecDeque<_> = (1..4)
        .map(|n| outgoing(n, Message::new("here", n.to_string())))
        .collect();
    producer.submit_here(&mut messages, done.clone()).unwrap();
    assert!(messages.is_empty());
    let mut sent = done.take(8);
    sent.sort_by_key(|(id, _)| *id);
    let stored: Vec<_> = sent.iter().map(|(id, one)| (*id, one.is_ok())).collect();
    assert_eq!(stored, [(1, true), (2, true), (3, true)]);
    assert_eq!(producer.credit().in_flight(), 0);
    // Behind one that waits for the runtime, it waits too.
    for n in 4..6 {
        let mut one = VecDeque::from([outgoing(n, Message::new("here", n.to_string()))]);
        match n {
            4 => producer.submit(&mut one, done.clone()).unwrap(),
            _ => producer.submit_here(&mut one, done.clone()).unwrap(),
        }
    }
    assert!(done.is_empty());
    go.send(()).unwrap();
    let mut order = Vec::new();
    while order.len() < 2 {
        order.extend(done.wait(1, LIMIT).into_iter().map(|(id, _)| id));
    }
    assert_eq!(order, [4, 5]);
    producer.close(LIMIT);
    client.close(LIMIT);
    server.close();
}

#[test]
fn what_is_pushed_is_taken_and_settled() {
    let server = Server::start(&memory()).unwrap();
    let client = Arc::new(client(&server));
    let credit = Credit::new(64, 1 << 20);
    let producer = Producer::open(&client, "p", ProducerOptions::default(), credit).unwrap();
    let all = (0..100).map(|n| outgoing(n, Message::new("pushed", n.to_string())));
    assert_eq!(send_all(&producer, all.collect()), 100);
    let options = PushOptions {
        from: ConsumeFrom::First,
        ..PushOptions::default()
    };
    let wanted = vec![("pushed".to_owned(), Filter::All)];
    let opening = PushConsumer::open(client.clone(), "g".to_owned(), wanted, options);
    let runtime = client.runtime().clone();
    let opened = runtime.wait::<_, ffi::Error>(opening, never).unwrap();
    let consumer = opened.unwrap();
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 100 {
        for delivered in consumer.deliveries().ready.wait(8, LIMIT) {
            seen.insert(delivered.message.body.to_vec());
            consumer.deliveries().settle([(delivered.id, Settle::Ack)]);
        }
    }
    consumer.close(LIMIT);
    client.close(LIMIT);
}

#[test]
fn a_consumer_that_is_dropped_keeps_no_message_that_nobody_settled() {
    let server = Server::start(&memory()).unwrap();
    let client = Arc::new(client(&server));
    let credit = Credit::new(64, 1 << 20);
    let producer = Producer::open(&client, "p", ProducerOptions::default(), credit).unwrap();
    send_all(&producer, vec![outgoing(0, Message::new("left", "x"))]);
    let options = PushOptions {
        from: ConsumeFrom::First,
        ..PushOptions::default()
    };
    let wanted = vec![("left".to_owned(), Filter::All)];
    let opening = PushConsumer::open(client.clone(), "g".to_owned(), wanted, options);
    let runtime = client.runtime().clone();
    let opened = runtime.wait::<_, ffi::Error>(opening, never).unwrap();
    let consumer = opened.unwrap();
    assert_eq!(consumer.deliveries().ready.wait(1, LIMIT).len(), 1);
    let kept = Arc::downgrade(consumer.deliveries());
    drop(consumer);
    let end = std::time::Instant::now() + LIMIT;
    while kept.strong_count() > 0 {
        assert!(std::time::Instant::now() < end, "it is kept for ever");
        std::thread::yield_now();
    }
}

#[test]
fn what_only_a_connection_has_is_refused_inside_the_process() {
    let access = Access {
        key: "ak".to_owned(),
        secret: "hidden".to_owned(),
        token: Some("lent".to_owned()),
    };
    let told = format!("{access:?}");
    assert!(told.contains("ak"), "{told}");
    assert!(!told.contains("hidden") && !told.contains("lent"), "{told}");
    let url = Some("rocketmq://ak:hidden@a:1".to_owned());
    let told = format!(
        "{:?}",
        ClientOptions {
            url,
            ..ClientOptions::default()
        }
    );
    assert!(told.contains("a:1") && !told.contains("hidden"), "{told}");
    let (access, tls) = (Some(access), Some(Trust::Anybody));
    for (access, tls, what) in [(access, None, "credentials"), (None, tls, "tls")] {
        let options = ClientOptions {
            url: Some("embedded:".to_owned()),
            access,
            tls,
            ..ClientOptions::default()
        };
        let refused = [
            Client::open(&options),
            Client::inside(Server::start(&memory()).unwrap(), &options),
        ];
        for refused in refused {
            let error = refused.map(drop).unwrap_err();
            assert_eq!(error.code, Code::Config);
            assert!(error.message.starts_with(what), "{error}");
        }
    }
    let plain = ClientOptions {
        url: Some("embedded:".to_owned()),
        tls: Some(Trust::Plain),
        ..ClientOptions::default()
    };
    Client::open(&plain).unwrap();
}

#[test]
fn a_clock_moved_by_hand_delivers_what_waits() {
    let server = Server::start(&EmbeddedOptions {
        manual_clock: true,
        ..memory()
    })
    .unwrap();
    let client = client(&server);
    let credit = Credit::new(64, 1 << 20);
    let producer = Producer::open(&client, "p", ProducerOptions::default(), credit).unwrap();
    let hours = |n: u64| Duration::from_secs(n * 3600);
    let all = (1..=3).map(|n| {
        let message = Message::new("later", n.to_string()).deliver(Deliver::After(hours(n)));
        outgoing(n, message)
    });
    assert_eq!(send_all(&producer, all.collect()), 3);
    assert_eq!(server.advance(hours(2)).unwrap(), 2);
    assert_eq!(server.advance(hours(24 * 30)).unwrap(), 1);
    client.close(LIMIT);
    server.close();
    assert_eq!(server.advance(hours(1)).unwrap_err().code, Code::Closed);
}

#[test]
fn a_lease_ends_when_the_clock_says_so() {
    let server = Server::start(&EmbeddedOptions {
        manual_clock: true,
        ..memory()
    })
    .unwrap();
    let client = client(&server);
    let credit = Credit::new(64, 1 << 20);
    let producer = Producer::open(&client, "p", ProducerOptions::default(), credit).unwrap();
    send_all(&producer, vec![outgoing(1, Message::new("leased", "x"))]);
    let consumer = client.get().unwrap().simple_consumer("g").unwrap();
    let runtime = client.runtime().clone();
    let receive = move |wait: u64| {
        let consumer = consumer.clone();
        let receive = Receive {
            wait: Duration::from_secs(wait),
            ..Receive::default()
        };
        let receiving = async move { consumer.receive("leased", &receive).await.unwrap() };
        runtime.wait::<_, ffi::Error>(receiving, never).unwrap()
    };
    assert_eq!(receive(10).len(), 1);
    assert!(receive(0).is_empty());
    server.advance(Duration::from_secs(61)).unwrap();
    let again = receive(10);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].message.reconsume_times, 1);
}

#[test]
fn a_folder_has_one_server_and_its_clients_share_it() {
    let data = tempfile::tempdir().unwrap();
    let named = EmbeddedOptions {
        path: Some(data.path().to_owned()),
        ..memory()
    };
    let url = format!("embedded:{}", data.path().display());
    let open = || {
        Client::open(&ClientOptions {
            url: Some(url.clone()),
            ..ClientOptions::default()
        })
    };
    let (one, two) = (open().unwrap(), open().unwrap());
    let refused = Server::start(&named).err().unwrap();
    assert_eq!(refused.code, Code::Config);
    assert!(refused.message.contains("already"), "{refused}");
    one.close(LIMIT);
    two.get().unwrap();
    assert!(Server::start(&named).is_err());
    two.close(LIMIT);
    assert_eq!(two.get().err().unwrap().code, Code::Closed);
    Server::start(&named).unwrap().close();
}

#[test]
fn a_server_with_a_folder_flushes_before_it_answers_unless_told() {
    let flushes = |path: Option<&std::path::Path>, settings: &[(&str, &str)]| {
        let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        let server = Server::start(&EmbeddedOptions {
            path: path.map(Into::into),
            settings: settings.iter().map(owned).collect(),
            ..memory()
        })
        .unwrap();
        let client = client(&server);
        let inner = client.get().unwrap().clone();
        let asked = async move { inner.admin().broker_config("broker-a").await.unwrap() };
        let told = client
            .runtime()
            .wait::<_, ffi::Error>(asked, never)
            .unwrap();
        let flush = told["flushDiskType"].clone();
        client.close(LIMIT);
        server.close();
        flush
    };
    let data = tempfile::tempdir().unwrap();
    assert_eq!(flushes(Some(data.path()), &[]), "SYNC_FLUSH");
    let told = [("flushDiskType", "ASYNC_FLUSH")];
    assert_eq!(flushes(Some(data.path()), &told), "ASYNC_FLUSH");
    assert_eq!(flushes(None, &[]), "ASYNC_FLUSH");
}

#[test]
fn a_full_memory_refuses_and_says_so() {
    let server = Server::start(&EmbeddedOptions {
        memory_bytes: Some(64 << 20),
        ..memory()
    })
    .unwrap();
    let client = client(&server);
    let credit = Credit::new(8, 64 << 20);
    let options = ProducerOptions {
        compression: None,
        retries: 0,
        ..ProducerOptions::default()
    };
    let producer = Producer::open(&client, "p", options, credit).unwrap();
    let done = Arc::new(Inbox::<Done>::default());
    let body = vec![b'x'; 1 << 20];
    let refused = (0..4096).find_map(|n| {
        // What is to come later cannot go.
        let message =
            Message::new("full", body.clone()).deliver(Deliver::After(Duration::from_secs(3600)));
        producer
            .submit(&mut VecDeque::from([outgoing(n, message)]), done.clone())
            .unwrap();
        let mut ended = done.wait(1, LIMIT);
        ended.pop().unwrap().1.err()
    });
    let refused = refused.expect("4 GiB do not fit into 64 MiB");
    assert_eq!(
        (refused.code, refused.response_code),
        (Code::Throttled, Some(14))
    );
    assert!(refused.retryable);
}

#[test]
fn a_first_send_ends_in_its_own_time_though_the_name_server_is_silent() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::open(&ClientOptions {
        url: Some(silent.local_addr().unwrap().to_string()),
        request_timeout: Duration::from_secs(3600),
        ..ClientOptions::default()
    });
    let client = client.unwrap();
    let options = ProducerOptions {
        timeout: Duration::from_secs(3600),
        ..ProducerOptions::default()
    };
    let producer = Producer::open(&client, "p", options, Credit::new(8, 1 << 20)).unwrap();
    let done = Arc::new(Inbox::<Done>::default());
    // Behind one that has more time.
    let patient = outgoing(1, Message::new("anywhere", "x"));
    let hasty = Outgoing {
        limit: Some(Duration::from_millis(100)),
        ..outgoing(2, Message::new("anywhere", "x"))
    };
    let mut both = VecDeque::from([patient, hasty]);
    producer.submit(&mut both, done.clone()).unwrap();
    let (id, result) = done.wait(1, LIMIT).pop().expect("it ends");
    assert_eq!((id, result.unwrap_err().code), (2, Code::Timeout));
    assert_eq!(producer.credit().in_flight(), 1);
    producer.close(Duration::ZERO);
}

#[test]
fn what_is_interrupted_stops_waiting() {
    let runtime = Runtime::get().unwrap();
    let mut looks = 0;
    let stopped = runtime.wait(std::future::pending::<()>(), || {
        looks += 1;
        match looks < 2 {
            true => Ok(()),
            false => Err(ffi::Error::new(Code::Internal, "interrupted")),
        }
    });
    assert_eq!(stopped.unwrap_err().message, "interrupted");
}
