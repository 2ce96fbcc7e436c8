//! Topics followed over SSE.

use std::collections::BTreeMap;

use http_door::{Limits, Options};
use posthouse_client::{Client, Message, Producer, Queue};
use serde_json::json;

use crate::door::{ask, ask_json, client, fresh, own, send, send_to};
use crate::events::{Stream, open, open_at};

/// Somebody who publishes to a topic of one or more queues.
struct Publisher {
    runtime: tokio::runtime::Runtime,
    _client: Client,
    producer: Producer,
    topic: String,
}

impl Publisher {
    fn new(name: &str, queues: u32) -> Publisher {
        let topic = fresh(name);
        ask_json(
            "PUT",
            &format!("/v1/topics/{topic}"),
            &json!({"queues": queues}),
        )
        .expect(201);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let client = client();
        let producer = runtime.block_on(async { client.producer("tests").unwrap() });
        Publisher {
            runtime,
            _client: client,
            producer,
            topic,
        }
    }

    fn send(&self, queue: u32, message: Message) {
        let queue = Queue::new(&*self.topic, "broker-a", queue);
        self.runtime
            .block_on(self.producer.send_to(&queue, message))
            .unwrap();
    }

    fn publish(&self, queue: u32, body: &str) {
        self.send(queue, Message::new(&*self.topic, body.to_owned()));
    }

    fn path(&self, query: &str) -> String {
        format!("/v1/topics/{}/stream?{query}", self.topic)
    }
}

#[test]
fn what_is_published_comes_at_once_with_all_it_has() {
    let to = Publisher::new("live", 1);
    to.publish(0, "before");
    let mut stream = open(&to.path(""), None);
    assert_eq!(
        (stream.status, &*stream.content_type),
        (200, "text/event-stream")
    );
    let message = Message::new(&*to.topic, "line one\nline two")
        .tag("paid")
        .key("o-17");
    to.send(0, message.property("region", "hz"));
    let event = stream.next().unwrap();
    let data = &event.data;
    assert_eq!(data["body"], "line one\nline two");
    assert_eq!(data["body_encoding"], "utf8");
    assert_eq!(
        (&data["tag"], &data["keys"]),
        (&json!("paid"), &json!(["o-17"]))
    );
    assert_eq!(data["properties"], json!({"region": "hz"}));
    assert_eq!(
        (&data["queue"], &data["offset"]),
        (&json!("broker-a:0"), &json!(1))
    );
    assert!(event.id.len() < 200, "{}", event.id);
}

#[test]
fn earliest_reads_everything_and_goes_on_live() {
    let to = Publisher::new("replayed", 3);
    for n in 0..100 {
        to.publish(n % 3, &n.to_string());
    }
    let mut stream = open(&to.path("from=earliest"), None);
    let mut all: Vec<u32> = stream
        .bodies(100)
        .iter()
        .map(|body| body.parse().unwrap())
        .collect();
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..100), "{all:?}");
    to.publish(1, "live");
    assert_eq!(stream.bodies(1), ["live"]);
}

#[test]
fn who_reads_late_holds_up_nobody_and_loses_nothing() {
    const MESSAGES: usize = 200;
    // All of them are more than lies between two sockets, and more than is kept for who is behind.
    let long = "x".repeat(60_000);
    let to = Publisher::new("late", 1);
    let (mut late, mut early) = (open(&to.path(""), None), open(&to.path(""), None));
    let publish = |from: usize, count: usize, early: &mut Stream| {
        for n in from..from + count {
            to.publish(0, &format!("{n} {long}"));
            assert_eq!(early.bodies(1), [format!("{n} {long}")]);
        }
    };
    let in_order = |stream: &mut Stream, from: usize, count: usize| {
        for n in from..from + count {
            assert_eq!(stream.bodies(1), [format!("{n} {long}")]);
        }
    };
    publish(0, MESSAGES, &mut early);
    in_order(&mut late, 0, MESSAGES);
    // They go on side by side.
    for n in MESSAGES..MESSAGES + 5 {
        publish(n, 1, &mut early);
        in_order(&mut late, n, 1);
    }
    // And from where each of them is.
    let ids = [late.cut(), early.cut()];
    to.publish(0, "last");
    for id in ids {
        assert_eq!(open(&to.path(""), Some(&id)).bodies(1), ["last"]);
    }
}

#[test]
fn a_hundred_disconnects_lose_and_repeat_nothing() {
    const MESSAGES: usize = 2_000;
    let to = Publisher::new("resumed", 4);
    let target = to.path("");
    let mut stream = open(&target, None);
    to.publish(0, "0");
    let mut seen = stream.bodies(1);
    let sending = std::thread::spawn(move || {
        for n in 1..MESSAGES {
            to.publish(n as u32 % 4, &n.to_string());
        }
    });
    let mut cuts = 0;
    while seen.len() < MESSAGES {
        let last = stream.cut();
        cuts += 1;
        stream = open(&target, Some(&last));
        let some = (MESSAGES / 110).min(MESSAGES - seen.len());
        seen.extend(stream.bodies(some));
    }
    sending.join().unwrap();
    assert!(cuts >= 100, "{cuts}");
    let mut numbers: Vec<usize> = seen.iter().map(|body| body.parse().unwrap()).collect();
    let mut by_queue: BTreeMap<usize, usize> = BTreeMap::new();
    for n in &numbers {
        let before = by_queue.insert(n % 4, *n);
        assert!(
            before.is_none_or(|before| before < *n),
            "the order of a queue: {before:?} {n}"
        );
    }
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..MESSAGES), "lost or repeated");
}

#[test]
fn a_stream_that_is_cut_before_its_first_message_goes_on_from_where_it_began() {
    let to = Publisher::new("cut-early", 2);
    let target = to.path("");
    let mut stream = open(&target, None);
    let begun = stream.begun();
    drop(stream);
    to.publish(1, "in between");
    assert_eq!(open(&target, Some(&begun)).bodies(1), ["in between"]);
}

#[test]
fn a_filter_and_queues_choose_and_the_place_moves_on_all_the_same() {
    let to = Publisher::new("chosen", 2);
    let tagged = |queue, tag: &str, body: &str| {
        to.send(
            queue,
            Message::new(&*to.topic, body.to_owned())
                .tag(tag)
                .property("n", body),
        );
    };
    let mut by_tag = open(&to.path("tag=a||c"), None);
    let mut by_queue = open(&to.path("queue=broker-a:1"), None);
    let mut by_sql = open(&to.path("sql=n%20%3E%202"), None);
    for (n, tag) in ["a", "b", "c", "d"].iter().enumerate() {
        tagged(n as u32 % 2, tag, &(n + 1).to_string());
    }
    let sorted = |mut bodies: Vec<String>| {
        bodies.sort();
        bodies
    };
    assert_eq!(sorted(by_tag.bodies(2)), ["1", "3"]);
    assert_eq!(sorted(by_queue.bodies(2)), ["2", "4"]);
    assert_eq!(sorted(by_sql.bodies(2)), ["3", "4"]);
    let mut replayed = open(&to.path("from=earliest&tag=b&max_events=1"), None);
    assert_eq!(replayed.bodies(1), ["2"]);
    assert!(replayed.next().is_none(), "max_events ends it");
}

#[test]
fn streams_that_want_different_things_follow_side_by_side_and_go_on_from_where_they_are() {
    const MESSAGES: usize = 400;
    let to = Publisher::new("side-by-side", 2);
    let queries = [
        "",
        "tag=a",
        "tag=a||c",
        "queue=broker-a:1",
        "tag=b&queue=broker-a:0",
        "tag=e",
    ];
    let wants = |query: usize, n: usize| match query {
        0 => true,
        1 => n.is_multiple_of(4),
        2 => n.is_multiple_of(2),
        3 => n % 2 == 1,
        _ => false,
    };
    let publish = |from: usize, count: usize| {
        for n in from..from + count {
            let tag = ["a", "b", "c", "d"][n % 4];
            let message = Message::new(&*to.topic, n.to_string()).tag(tag);
            to.send(n as u32 % 2, message);
        }
    };
    let check = |streams: &mut [Stream], from: usize, count: usize| {
        for (query, stream) in streams.iter_mut().enumerate() {
            let wanted = (from..from + count).filter(|n| wants(query, *n));
            let mut wanted: Vec<String> = wanted.map(|n| n.to_string()).collect();
            let mut got = stream.bodies(wanted.len());
            // Between queues there is no order.
            wanted.sort();
            got.sort();
            assert_eq!(got, wanted, "{}", queries[query]);
        }
    };
    let mut streams = queries.map(|query| open(&to.path(query), None));
    for stream in &mut streams {
        stream.begun();
    }
    publish(0, MESSAGES);
    check(&mut streams, 0, MESSAGES);
    // One after the other, so that all wait in between.
    for n in MESSAGES..MESSAGES + 8 {
        publish(n, 1);
        check(&mut streams, n, 1);
    }
    // With their last event, or with where they began if there was none.
    let ids = streams.map(Stream::cut);
    publish(MESSAGES + 8, 8);
    let again = queries.iter().zip(&ids);
    let again = again.map(|(query, id)| open(&to.path(query), Some(id)));
    check(&mut again.collect::<Vec<_>>(), MESSAGES + 8, 8);
}

#[test]
fn a_stream_of_a_cluster_that_is_away_is_refused_so_that_browsers_come_back() {
    let door = crate::door::away();
    let at = door.address().unwrap();
    let stream = [("Accept", "text/event-stream")];
    for path in [
        "topics/t/stream",
        "topics/t/stream?from=earliest&tag=a",
        "topics/t/stream?sql=n%20=%201",
        "groups/g/stream",
        "topics/t/transaction-checks/stream",
    ] {
        let answer = send_to(at, "GET", &format!("/v1/{path}"), &stream, b"").expect(200);
        let text = String::from_utf8(answer.body).unwrap();
        assert!(text.starts_with("retry: "), "{path}: {text}");
        assert!(text.contains("event: problem\n"), "{path}: {text}");
        assert!(text.contains("/problems/unavailable"), "{path}: {text}");
    }
    let plain = send_to(at, "GET", "/v1/topics", &[], b"").expect(503);
    assert_eq!(plain.problem(), "unavailable");
}

#[test]
fn what_is_wrong_with_a_stream_is_said_before_it_begins() {
    let to = Publisher::new("refused", 1);
    let refused = |query: &str| ask("GET", &to.path(query));
    for (query, status, problem) in [
        ("from=c1.nonsense", 400, "invalid-cursor"),
        ("from=yesterday", 400, "invalid-cursor"),
        ("max_events=0", 400, "invalid-parameter"),
        ("tga=a", 400, "invalid-parameter"),
        ("max_duration=1x", 400, "invalid-parameter"),
        ("tag=a&sql=n%20=%201", 422, "invalid-filter"),
        ("tag=a||", 422, "invalid-filter"),
        ("tag=a|b", 422, "invalid-filter"),
        ("sql=n%20LIKE%20'x'", 422, "invalid-filter"),
        ("queue=broker-a:9", 404, "queue-not-found"),
    ] {
        let answer = refused(query).expect(status);
        assert_eq!(answer.problem(), problem, "{query}");
    }
    let other = Publisher::new("other", 1);
    let mut stream = open(&other.path(""), None);
    other.publish(0, "x");
    let cursor = stream.next().unwrap().id;
    assert_eq!(
        refused(&format!("from={cursor}")).expect(400).problem(),
        "invalid-cursor"
    );
    assert_eq!(
        ask("GET", "/v1/topics/none-such/stream")
            .expect(404)
            .problem(),
        "topic-not-found"
    );
    // Whoever comes back with what is no id was here before: to begin with the latest would lose messages.
    for ids in [vec!["é"], vec!["x"], vec![&*cursor, &*cursor]] {
        let ids: Vec<_> = ids.iter().map(|id| ("Last-Event-ID", *id)).collect();
        let garbled = send("GET", &to.path(""), &ids, b"").expect(400);
        assert_eq!(garbled.problem(), "invalid-cursor");
    }
    let json = [("Accept", "application/json")];
    let unwilling = send("GET", &to.path(""), &json, b"").expect(406);
    assert_eq!(unwilling.problem(), "not-acceptable");
}

#[test]
fn a_full_house_is_told_in_a_way_that_browsers_come_back_from() {
    let to = Publisher::new("full", 1);
    let server = own(Options {
        limits: Limits {
            streams: 1,
            ..Limits::default()
        },
        ..Options::default()
    });
    let at = server.address().unwrap();
    let _first = open_at(at, &to.path(""), None);
    let mut second = open_at(at, &to.path(""), None);
    assert_eq!(
        (second.status, &*second.content_type),
        (200, "text/event-stream")
    );
    let event = second.next().unwrap();
    assert_eq!(
        (&*event.name, &event.data["status"]),
        ("problem", &json!(429))
    );
    assert!(second.next().is_none());
}

#[test]
fn streams_that_brokers_filter_for_have_a_limit_of_their_own() {
    let to = Publisher::new("full-sql", 1);
    let server = own(Options {
        limits: Limits {
            sql_streams: 1,
            ..Limits::default()
        },
        ..Options::default()
    });
    let at = server.address().unwrap();
    let by_sql = to.path("sql=n%20=%201");
    let first = open_at(at, &by_sql, None);
    let mut second = open_at(at, &by_sql, None);
    let event = second.next().unwrap();
    assert_eq!(
        (&*event.name, &event.data["status"]),
        ("problem", &json!(429))
    );
    let mut other = open_at(at, &to.path("tag=a"), None);
    other.begun();
    // A place that is given up is another one's.
    first.cut();
    let end = std::time::Instant::now() + crate::door::LIMIT;
    loop {
        to.send(0, Message::new(&*to.topic, "x").property("n", "1"));
        let mut again = open_at(at, &to.path("sql=n%20=%201&from=earliest"), None);
        if again.next().unwrap().name != "problem" {
            break;
        }
        assert!(std::time::Instant::now() < end, "its place is kept");
    }
}

#[test]
fn the_end_of_the_server_ends_streams_and_says_so() {
    let to = Publisher::new("ended", 1);
    let server = own(Options::default());
    let at = server.address().unwrap();
    let mut stream = open_at(at, &to.path(""), None);
    let mut idle = open_at(at, &to.path("tag=none"), None);
    to.publish(0, "last");
    assert_eq!(stream.bodies(1), ["last"]);
    server.stop(crate::door::LIMIT);
    for stream in [&mut stream, &mut idle] {
        let event = stream.next().unwrap();
        assert_eq!(
            (&*event.name, &event.data),
            ("drain", &json!({"reason": "shutdown"}))
        );
        assert!(stream.next().is_none());
    }
}

#[test]
fn what_was_deleted_before_it_was_read_is_a_gap_and_the_stream_goes_on() {
    let (server, door) = crate::door::small();
    let at = door.address().unwrap();
    let json = [("Content-Type", "application/json")];
    send_to(at, "PUT", "/v1/topics/full", &json, b"{\"queues\":1}").expect(201);
    let publish = |body: &str| {
        let body = json!({ "body": body }).to_string();
        let sent = send_to(
            at,
            "POST",
            "/v1/topics/full/messages",
            &json,
            body.as_bytes(),
        );
        sent.expect(201).json()["offset"].as_u64().unwrap()
    };
    let path = "/v1/topics/full/stream";
    let mut stream = open_at(at, path, None);
    publish("first");
    let cursor = stream.next().unwrap().id;
    stream.cut();
    let first_kept = || {
        let offsets = send_to(at, "GET", "/v1/topics/full/offsets", &[], b"").expect(200);
        offsets.json()["items"][0]["min"].as_u64().unwrap()
    };
    let long = "x".repeat(3 << 20);
    let end = std::time::Instant::now() + crate::door::LIMIT;
    while first_kept() <= 1 {
        publish(&long);
        assert!(std::time::Instant::now() < end, "it keeps everything");
    }
    let last = publish("last");
    let mut back = open_at(at, path, Some(&cursor));
    let gap = back.next().unwrap();
    assert_eq!(gap.name, "gap", "{gap:?}");
    let kept = gap.data["resumed_at"].as_u64().unwrap();
    let told = json!({"queue": "broker-a:0", "lost_from": 1, "resumed_at": kept});
    assert_eq!(gap.data, told);
    assert!(kept > 1 && kept <= last, "{kept}");
    crate::contract::valid_as("Gap", &gap.data);
    // What is left comes in order, the end of it too.
    for offset in kept..=last {
        assert_eq!(back.next().unwrap().data["offset"], offset);
    }
    // The gap's own id is a place as well: behind it nothing is lost again.
    let mut again = open_at(at, path, Some(&gap.id));
    let next = again.next().unwrap();
    assert_eq!((&*next.name, &next.data["offset"]), ("", &json!(kept)));
    drop((back, again));
    door.stop(crate::door::LIMIT);
    drop(server);
}

#[test]
fn what_nobody_may_see_yet_is_in_no_stream() {
    let to = Publisher::new("unseen", 1);
    let mut stream = open(&to.path(""), None);
    let path = format!("/v1/topics/{}", to.topic);
    let begin = |body: &str| {
        let half = json!({ "body": body });
        let begun = ask_json("POST", &format!("{path}/transactions"), &half).expect(201);
        begun.json()["transaction_id"].as_str().unwrap().to_owned()
    };
    let decide = |id: &str, word: &str| {
        let target = format!("{path}/transactions/{id}/resolution");
        ask_json("PUT", &target, &json!({ "resolution": word })).expect(200);
    };
    let (never, then) = (begin("never"), begin("then"));
    let later = json!({"body": "later", "delay": "1h"});
    ask_json("POST", &format!("{path}/messages"), &later).expect(201);
    to.publish(0, "plain");
    decide(&never, "rollback");
    decide(&then, "commit");
    assert_eq!(stream.bodies(2), ["plain", "then"]);
}

#[test]
fn a_script_gets_an_end() {
    let to = Publisher::new("short", 1);
    let mut stream = open(&to.path("max_duration=50ms"), None);
    assert!(stream.next().is_none());
}
