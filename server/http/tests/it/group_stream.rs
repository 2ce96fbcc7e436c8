//! Groups consumed over SSE.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use http_door::{Options, Ports, Secret};
use serde_json::{Value, json};

use crate::door::{LIMIT, address, ask, ask_json, client, send, send_to};
use crate::events::{self, Stream};
use crate::members::busy_member;
use crate::messages::{group, lease, publish, receive, run, settle, topic};

/// A topic, and a group that wants it.
fn pair(name: &str) -> (String, String) {
    let (topic, group) = (topic(name), group(name));
    assert_eq!(receive(&group, &topic, "&wait=0s").len(), 0);
    (topic, group)
}

fn open(group: &str, more: &str) -> Stream {
    let stream = events::open(&format!("/v1/groups/{group}/stream?{more}"), None);
    assert_eq!(
        (stream.status, stream.content_type.as_str()),
        (200, "text/event-stream")
    );
    stream
}

/// The next message of a stream, which must be one.
fn next(stream: &mut Stream) -> Value {
    let event = stream.next().unwrap();
    assert_eq!((event.name.as_str(), event.id.as_str()), ("", ""));
    event.data
}

fn body(message: &Value) -> &str {
    message["body"].as_str().unwrap()
}

#[test]
fn a_stream_has_no_more_out_than_its_reader_wants_and_leases_outlive_it() {
    let (topic, group) = pair("window");
    for n in 0..4 {
        publish(
            &topic,
            &json!({"body": n.to_string(), "message_group": "g"}),
        )
        .expect(201);
    }
    let mut stream = open(&group, "max_in_flight=2&lease=10m");
    let (first, second) = (next(&mut stream), next(&mut stream));
    assert_eq!(first["delivery_attempt"], 1);
    assert_eq!([body(&first), body(&second)], ["0", "1"]);
    // What is acked makes room; so does what is given back.
    settle(&group, "ack", &[lease(&first)], json!({})).expect(200);
    let third = next(&mut stream);
    assert_eq!(body(&third), "2");
    // A lease that is extended is still out.
    let extended = settle(&group, "extend", &[lease(&second)], json!({"lease": "20m"}));
    let extended = extended.expect(200).json()["results"][0]["lease_id"].clone();
    settle(&group, "dead-letter", &[lease(&third)], json!({})).expect(200);
    let fourth = next(&mut stream);
    assert_eq!(body(&fourth), "3");
    stream.cut();
    assert_eq!(receive(&group, &topic, "&wait=0s").len(), 0);
    let left = [extended.as_str().unwrap(), lease(&fourth)];
    let acked = settle(&group, "ack", &left, json!({})).expect(200).json();
    assert_eq!(acked["failed"], 0);
}

#[test]
fn who_reads_a_groups_stream_is_one_of_its_clients() {
    let (topic, group) = pair("listed");
    // Only the server that has the stream knows it.
    let server = crate::door::own(crate::door::options());
    let at = server.address().unwrap();
    let clients = || {
        let target = format!("/v1/groups/{group}/clients");
        let answer = send_to(at, "GET", &target, &[], b"").expect(200).json();
        answer["items"].as_array().unwrap().clone()
    };
    assert_eq!(clients(), Vec::<Value>::new());
    let target = format!("/v1/groups/{group}/stream?lease=10m");
    let mut stream = events::open_at(at, &target, None);
    let own = clients();
    assert_eq!(own.len(), 1, "{own:?}");
    assert_eq!(
        (&own[0]["protocol"], &own[0]["in_flight"]),
        (&json!("http-stream"), &json!(0))
    );
    assert_eq!(own[0]["address"], stream.local_address().to_string());
    assert!(
        own[0]["since"].as_str().unwrap().starts_with("20"),
        "{own:?}"
    );
    for n in 0..2 {
        publish(&topic, &json!({"body": n.to_string()})).expect(201);
    }
    let (first, _second) = (next(&mut stream), next(&mut stream));
    assert_eq!(clients()[0]["in_flight"], 2);
    let metrics = server.management_address().unwrap();
    let metrics = send_to(metrics, "GET", "/metrics", &[], b"").expect(200);
    let metrics = String::from_utf8(metrics.body).unwrap();
    for line in [
        "rocketmq_http_streams{kind=\"group\"} 1".to_owned(),
        "rocketmq_http_streams{kind=\"tail\"} 0".to_owned(),
        format!("rocketmq_http_leases_in_flight{{group=\"{group}\"}} 2"),
    ] {
        assert!(
            metrics.contains(&format!("\n{line}\n")),
            "{line}: {metrics}"
        );
    }
    let body = json!({"lease_ids": [lease(&first)]}).to_string();
    let kind = [("Content-Type", "application/json")];
    let ack = format!("/v1/groups/{group}/leases:ack");
    send_to(at, "POST", &ack, &kind, body.as_bytes()).expect(200);
    let now = clients();
    assert_eq!(
        (&now[0]["in_flight"], &now[0]["client_id"]),
        (&json!(1), &own[0]["client_id"])
    );
    let another = events::open_at(at, &target, None);
    assert_eq!(clients().len(), 2);
    another.cut();
    stream.cut();
    let end = Instant::now() + LIMIT;
    while !clients().is_empty() {
        assert!(Instant::now() < end, "{:?}", clients());
    }
}

#[test]
fn streams_and_callers_of_a_group_share_it_and_each_message_comes_once() {
    let (topic, group) = pair("shared");
    const ALL: usize = 60;
    let (from, own) = (topic.clone(), group.clone());
    let streaming = |max: usize| {
        let group = own.clone();
        std::thread::spawn(move || {
            let mut stream = open(&group, &format!("max_events={max}&max_in_flight=5"));
            let mut got = Vec::new();
            while let Some(event) = stream.next() {
                settle(&group, "ack", &[lease(&event.data)], json!({})).expect(200);
                got.push(body(&event.data).to_owned());
            }
            got
        })
    };
    let streams = [streaming(20), streaming(20)];
    for n in 0..ALL {
        publish(&from, &json!({"body": n.to_string()})).expect(201);
    }
    let mut got: Vec<String> = Vec::new();
    let end = Instant::now() + LIMIT;
    while got.len() < ALL - 40 {
        assert!(Instant::now() < end, "{} came", got.len());
        for message in receive(&group, &topic, "&wait=1s&max=1") {
            settle(&group, "ack", &[lease(&message)], json!({})).expect(200);
            got.push(body(&message).to_owned());
        }
    }
    for stream in streams {
        let more = stream.join().unwrap();
        assert_eq!(more.len(), 20);
        got.extend(more);
    }
    assert_eq!(got.len(), ALL);
    assert_eq!(got.into_iter().collect::<BTreeSet<_>>().len(), ALL);
    assert_eq!(receive(&group, &topic, "&wait=0s").len(), 0);
}

#[test]
fn an_ack_at_another_node_makes_room_too() {
    let (topic, group) = pair("nodes");
    let secret = Secret::fresh().unwrap();
    let door = || {
        let port = || Some(TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = Ports {
            public: port(),
            management: port(),
        };
        http_door::Server::start(ports, Options::default(), &secret, client()).unwrap()
    };
    let (one, other) = (door(), door());
    for n in 0..3 {
        publish(&topic, &json!({"body": n.to_string()})).expect(201);
    }
    let target = format!("/v1/groups/{group}/stream?max_in_flight=1&lease=10m");
    let mut stream = events::open_at(one.address().unwrap(), &target, None);
    for _ in 0..3 {
        let message = next(&mut stream);
        let acked = send_to(
            other.address().unwrap(),
            "POST",
            &format!("/v1/groups/{group}/leases:ack"),
            &[("Content-Type", "application/json")],
            json!({"lease_ids": [lease(&message)]})
                .to_string()
                .as_bytes(),
        );
        acked.expect(200);
    }
    drop(stream);
    for door in [one, other] {
        door.stop(Duration::from_secs(5));
    }
}

#[test]
fn a_stream_ends_when_a_member_pulls_beside_it() {
    let (topic, group) = pair("conflict");
    publish(&topic, &json!({"body": "x"})).expect(201);
    let mut stream = open(&group, "lease=10m");
    let message = next(&mut stream);
    let clients = format!("/v1/groups/{group}/clients");
    assert_eq!(ask("GET", &clients).expect(200).json()["conflict"], false);
    run(async {
        let client = client();
        let (member, go_on) = busy_member(&client, &group, &topic).await;
        let told = tokio::task::spawn_blocking(move || {
            let end = stream.next().unwrap();
            assert!(stream.next().is_none(), "it goes on");
            end
        });
        let end = told.await.unwrap();
        assert_eq!(end.name, "problem");
        assert_eq!(end.data["type"], "/problems/group-consumed-by-pull");
        assert_eq!(end.data["conflict"], true);
        assert_eq!(end.data["client_ids"], json!([client.id()]));
        let now = ask("GET", &clients).expect(200).json();
        assert_eq!(now["conflict"], true);
        // What is opened now is refused with a status that browsers take for the last word.
        let accept = [("Accept", "text/event-stream")];
        let refused = send("GET", &format!("/v1/groups/{group}/stream"), &accept, b"");
        assert_eq!(refused.expect(409).problem(), "group-consumed-by-pull");
        go_on.send_replace(true);
        member.shutdown().await;
        client.shutdown().await;
    });
    settle(&group, "ack", &[lease(&message)], json!({})).expect(200);
    publish(&topic, &json!({"body": "y"})).expect(201);
    assert_eq!(body(&next(&mut open(&group, ""))), "y");
}

#[test]
fn a_stream_is_of_topics_that_the_group_wants() {
    let (topic, group) = pair("topics");
    let second = crate::messages::topic("topics-second");
    assert_eq!(receive(&group, &second, "&wait=0s").len(), 0);
    for topic in [&topic, &second] {
        publish(topic, &json!({"body": topic})).expect(201);
    }
    let mut both = open(&group, "max_events=2&body=base64");
    let got: BTreeSet<String> = (0..2)
        .map(|_| next(&mut both)["topic"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(got, [topic.clone(), second.clone()].into());
    assert!(both.next().is_none(), "two were wanted");
    let other = crate::messages::topic("topics-unwanted");
    let accept = [("Accept", "text/event-stream")];
    let many: String = (0..17).map(|n| format!("topic=t{n}&")).collect();
    let nobody = crate::door::fresh("nobody");
    for (target, status, slug) in [
        (
            format!("{group}/stream?topic={other}"),
            404,
            "subscription-not-found",
        ),
        (
            format!("{nobody}/stream?topic={other}"),
            404,
            "group-not-found",
        ),
        (
            format!("{group}/stream?max_in_flight=0"),
            400,
            "invalid-parameter",
        ),
        (
            format!("{group}/stream?max_in_flight=1001"),
            400,
            "invalid-parameter",
        ),
        (
            format!("{group}/stream?lease=13h"),
            422,
            "invalid-lease-duration",
        ),
        (format!("{group}/stream?{many}"), 422, "limit-exceeded"),
    ] {
        let refused = send("GET", &format!("/v1/groups/{target}"), &accept, b"");
        assert_eq!(refused.expect(status).problem(), slug, "{target}");
    }
    // Neither a crawler nor a look at the head takes anything.
    publish(&topic, &json!({"body": "z"})).expect(201);
    let target = format!("/v1/groups/{group}/stream?topic={topic}");
    assert_eq!(ask("GET", &target).expect(406).problem(), "not-acceptable");
    send("HEAD", &target, &accept, b"").expect(200);
    assert_eq!(body(&receive(&group, &topic, "&wait=20s")[0]), "z");
}

#[test]
fn a_ticket_opens_the_stream_it_is_for_and_no_other() {
    let (topic, group) = pair("ticket");
    let path = format!("/v1/groups/{group}/stream");
    let ticket = |path: &str| {
        let told = ask_json("POST", "/v1/stream-tickets", &json!({"path": path})).expect(201);
        told.json()["ticket"].as_str().unwrap().to_owned()
    };
    let own = ticket(&path);
    let opened = |path: &str, ticket: &str, origin: Option<&str>| {
        let mut headers = vec![("Accept", "text/event-stream")];
        headers.extend(origin.map(|origin| ("Origin", origin)));
        let target = format!("{path}?ticket={ticket}&max_duration=0s");
        send("GET", &target, &headers, b"")
    };
    opened(&path, &own, None).expect(200);
    let tail = format!("/v1/topics/{topic}/stream");
    let checks = format!("/v1/topics/{topic}/transaction-checks/stream");
    for other in [&tail, &checks] {
        assert_eq!(opened(other, &own, None).expect(403).problem(), "forbidden");
        opened(other, &ticket(other), None).expect(200);
    }
    for wrong in ["st_AAEC", "", &own.replace("st_", "le_")] {
        let refused = opened(&path, wrong, None).expect(403);
        assert_eq!(refused.problem(), "forbidden", "{wrong}");
    }
    // One that a page of ours asked for is for our pages, which name no origin when they come back.
    let page = format!("http://{}", address());
    let headers = [
        ("Content-Type", "application/json"),
        ("Origin", page.as_str()),
    ];
    let asked = json!({"path": path}).to_string();
    let told = send("POST", "/v1/stream-tickets", &headers, asked.as_bytes()).expect(201);
    let of_page = told.json()["ticket"].as_str().unwrap().to_owned();
    opened(&path, &of_page, None).expect(200);
    opened(&path, &of_page, Some(&page)).expect(200);
    assert_eq!(
        opened(&path, &own, Some(&page)).expect(403).problem(),
        "forbidden"
    );
}
