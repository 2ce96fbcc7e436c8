//! Answers that are lost on their way, and the callers that ask again with the same key.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::dead_letters::{die, ended, letters};
use crate::door::{LIMIT, address, ask, connect};
use crate::messages::{group, publish, receive, topic};

/// One answer of so many is lost.
const LOST: u32 = 20;

/// Stands before a server and lets one of twenty answers get lost, after the server gave it.
struct Lossy {
    address: SocketAddr,
    lost: Arc<AtomicU32>,
}

impl Lossy {
    fn new(server: SocketAddr) -> Lossy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (lost, answers) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let counted = lost.clone();
        // It ends with the process of the tests.
        std::thread::spawn(move || {
            for caller in listener.incoming().map_while(Result::ok) {
                let (answers, lost) = (answers.clone(), counted.clone());
                std::thread::spawn(move || {
                    let whole = exchange(server, &caller);
                    // Which ones is fixed, so that a run is like the other.
                    if answers.fetch_add(1, Ordering::Relaxed) % LOST == LOST / 2 {
                        lost.fetch_add(1, Ordering::Relaxed);
                        let _ = caller.shutdown(Shutdown::Both);
                    } else {
                        let _ = (&caller).write_all(&whole);
                        // The end is what the caller waits for; another handle is still open.
                        let _ = caller.shutdown(Shutdown::Write);
                    }
                });
            }
        });
        Lossy { address, lost }
    }
}

/// Hands a request over and gives its whole answer: callers say that the connection closes behind it.
fn exchange(server: SocketAddr, caller: &TcpStream) -> Vec<u8> {
    let mut upstream = connect(server);
    let mut request = caller.try_clone().unwrap();
    let mut up = upstream.try_clone().unwrap();
    std::thread::spawn(move || std::io::copy(&mut request, &mut up));
    let mut whole = Vec::new();
    upstream.read_to_end(&mut whole).unwrap();
    whole
}

/// Asks until there is an answer; how often it took.
fn asked(
    to: SocketAddr,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: &Value,
) -> (Value, u32) {
    asked_as(to, method, path, key, "application/json", &body.to_string())
}

fn asked_as(
    to: SocketAddr,
    method: &str,
    path: &str,
    key: Option<&str>,
    kind: &str,
    body: &str,
) -> (Value, u32) {
    let key = key.map_or(String::new(), |key| format!("Idempotency-Key: {key}\r\n"));
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n{key}\
         Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut times = 1;
    while times < 10 {
        let mut socket = TcpStream::connect(to).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        if socket.read_to_string(&mut answer).is_ok()
            && let Some((head, body)) = answer.split_once("\r\n\r\n")
        {
            // The first of them is under way.
            if head.starts_with("HTTP/1.1 409") && body.contains("/idempotency-in-progress") {
                continue;
            }
            assert!(head.starts_with("HTTP/1.1 2"), "{answer}");
            return (serde_json::from_str(body).unwrap(), times);
        }
        times += 1;
    }
    panic!("no answer to {path}")
}

/// The bodies that a topic has, and how many messages.
fn stored(topic: &str) -> (BTreeSet<String>, usize) {
    let (mut bodies, mut count, mut token) = (BTreeSet::new(), 0, String::new());
    loop {
        let target = format!("/v1/topics/{topic}/messages?limit=64{token}");
        let page = ask("GET", &target).expect(200).json();
        for message in page["messages"].as_array().unwrap() {
            bodies.insert(message["body"].as_str().unwrap().to_owned());
            count += 1;
        }
        match page["next_page_token"].as_str() {
            Some(next) => token = format!("&page_token={next}"),
            None => return (bodies, count),
        }
    }
}

#[test]
fn lost_answers_cost_no_message_and_make_none() {
    let (single, halves) = (topic("lost"), topic("lost-halves"));
    let door = Lossy::new(address());
    let to = door.address;
    let each = 100;
    let work = |caller: u32| {
        let (single, halves) = (single.clone(), halves.clone());
        std::thread::spawn(move || {
            let mut repeats = 0;
            for place in 0..each {
                let name = format!("{caller}-{place}");
                let path = format!("/v1/topics/{single}/messages");
                let sent = asked(to, "POST", &path, Some(&name), &json!({"body": name}));
                repeats += sent.1 - 1;
                if place % 5 == 0 {
                    let begin = format!("/v1/topics/{halves}/transactions");
                    let half = asked(to, "POST", &begin, Some(&name), &json!({"body": name}));
                    let id = half.0["transaction_id"].as_str().unwrap();
                    let path = format!("{begin}/{id}/resolution");
                    // A decision is the same however often it is told.
                    let decided = asked(to, "PUT", &path, None, &json!({"resolution": "commit"}));
                    assert_eq!(decided.0["state"], "committed");
                    repeats += half.1 + decided.1 - 2;
                }
            }
            repeats
        })
    };
    let callers: Vec<_> = (0..4).map(work).collect();
    let repeats: u32 = callers
        .into_iter()
        .map(|caller| caller.join().unwrap())
        .sum();
    assert_eq!(repeats, door.lost.load(Ordering::Relaxed));
    assert!(repeats >= 20, "only {repeats} answers were lost");
    for (topic, wanted) in [(single, 4 * each), (halves, 4 * each / 5)] {
        let (bodies, count) = stored(&topic);
        assert_eq!(
            (bodies.len(), count),
            (wanted as usize, wanted as usize),
            "{topic}"
        );
    }
}

#[test]
fn at_the_other_doors_they_make_none_either() {
    let topic = topic("lost-doors");
    let to = Lossy::new(address()).address;
    let path = format!("/v1/topics/{topic}");
    let mut repeats = 0;
    for n in 0..60 {
        let key = format!("k-{n}");
        let (key, raw) = (Some(&*key), format!("{path}/messages:raw"));
        let own = format!("raw-{n}");
        let told = asked_as(to, "POST", &raw, key, "application/octet-stream", &own);
        let batch = json!({"messages": [{"body": format!("a-{n}")}, {"body": format!("b-{n}")}]});
        let many = asked(to, "POST", &format!("{path}/messages:batch"), key, &batch);
        assert_eq!(many.0["failed"], 0);
        // It is named by source and id.
        let event = json!({"specversion": "1.0", "id": n.to_string(), "source": "/shop", "type": "t", "data": n});
        let kind = "application/cloudevents+json";
        let (events, event) = (format!("{path}/events"), event.to_string());
        let event = asked_as(to, "POST", &events, None, kind, &event);
        repeats += told.1 + many.1 + event.1 - 3;
    }
    assert!(repeats >= 6, "only {repeats} answers were lost");
    let (bodies, count) = stored(&topic);
    assert_eq!((bodies.len(), count), (240, 240));
}

#[test]
fn who_consumes_gets_each_message_once_all_the_same() {
    let (topic, group) = (topic("lost-receive"), group("lost-receive"));
    receive(&group, &topic, "&wait=0s");
    for n in 0..200 {
        publish(&topic, &json!({"body": n.to_string()})).expect(201);
    }
    let door = Lossy::new(address());
    let to = door.address;
    let asks = format!("/v1/groups/{group}/messages:receive?topic={topic}&max=4&wait=10s&lease=5m");
    let leases = format!("/v1/groups/{group}/leases");
    let (mut bodies, mut repeats) = (BTreeSet::new(), 0);
    for turn in 0.. {
        if bodies.len() == 200 {
            break;
        }
        let key = format!("k-{turn}");
        let got = asked_as(to, "POST", &asks, Some(&key), "text/plain", "");
        let messages = got.0["messages"].as_array().unwrap();
        assert!(!messages.is_empty(), "only {} came", bodies.len());
        for message in messages {
            let body = message["body"].as_str().unwrap().to_owned();
            assert_eq!(message["delivery_attempt"], 1, "{message}");
            assert!(bodies.insert(body), "it came twice: {message}");
        }
        let held: Vec<&Value> = messages.iter().map(|one| &one["lease_id"]).collect();
        let longer = json!({"lease_ids": held, "lease": "10m"});
        let longer = asked(to, "POST", &format!("{leases}:extend"), Some(&key), &longer);
        let results = longer.0["results"].as_array().unwrap();
        let held: Vec<&Value> = results.iter().map(|one| &one["lease_id"]).collect();
        let acked = json!({ "lease_ids": held });
        let acked = asked(to, "POST", &format!("{leases}:ack"), None, &acked);
        repeats += got.1 + longer.1 + acked.1 - 3;
    }
    assert_eq!(repeats, door.lost.load(Ordering::Relaxed));
    assert!(repeats >= 5, "only {repeats} answers were lost");
    assert!(receive(&group, &topic, "&wait=0s").is_empty());
}

#[test]
fn dead_letters_are_sent_again_or_given_up_once() {
    let (from, into, group) = (topic("lost-dead"), topic("lost-again"), group("lost-dead"));
    let to = Lossy::new(address()).address;
    let path = format!("/v1/groups/{group}/dead-letters");
    let (mut repeats, mut sent) = (0, 0);
    for turn in 0..12 {
        die(&from, &group, &[&format!("a-{turn}"), &format!("b-{turn}")]);
        let key = format!("k-{turn}");
        let redrive = format!("{path}:redrive");
        let only = json!({"to": into, "limit": 1});
        let again = asked(to, "POST", &redrive, Some(&key), &only);
        assert_eq!(ended(&again.0)["done"], 1);
        sent += 1;
        let purge = format!("{path}:purge?confirm={group}");
        let rest = asked(to, "POST", &purge, Some(&format!("p-{turn}")), &json!({}));
        assert_eq!(ended(&rest.0)["done"], 1);
        repeats += again.1 + rest.1 - 2;
    }
    assert!(repeats > 0, "no answer was lost");
    assert_eq!(stored(&into).1, sent);
    assert!(letters(&group).is_empty());
}

#[test]
fn sixteen_that_say_the_same_at_once_store_one_message() {
    let topic = topic("at-once");
    let path = format!("/v1/topics/{topic}/messages");
    for round in 0..10 {
        let key = format!("k-{round}");
        let body = json!({"body": key});
        let start = std::sync::Barrier::new(16);
        let say = || {
            start.wait();
            asked(address(), "POST", &path, Some(&key), &body).0
        };
        let answers: Vec<Value> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..16).map(|_| scope.spawn(say)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "{answers:?}"
        );
    }
    assert_eq!(stored(&topic).1, 10);
}
