//! Calls over a client connection: matched by opaque, timed out, healed, answered the other way round.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use remoting::client::{CallError, Client};
use remoting::local::Local;
use remoting::server::{Outcome, Peer, Run, Service};
use remoting::{Command, Frame, Head, Payload, Reply};
use tokio::runtime::Runtime;

use crate::toy::{COLD, ECHO, Event, HOLD, LIMIT, PUSH, STAGE, WAKE, echo, request, serve};

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

#[test]
fn calls_find_their_answers_whatever_the_order() {
    let served = serve();
    let client = Client::new(served.running.addresses()[0]);
    runtime().block_on(async {
        let held = client.invoke(request(HOLD, 0), LIMIT);
        let rest = async {
            while served.toy.held.lock().unwrap().is_empty() {
                let answer = client.invoke(echo(0, b"x"), LIMIT).await.unwrap();
                assert_eq!(answer.body, b"x");
            }
            client.invoke(request(WAKE, 0), LIMIT).await.unwrap()
        };
        let (held, _) = tokio::join!(held, rest);
        assert_eq!(held.unwrap().remark.as_deref(), Some("woken"));
    });
}

#[test]
fn a_call_without_an_answer_times_out_and_the_connection_lives() {
    let served = serve();
    let client = Client::new(served.running.addresses()[0]);
    let runtime = runtime();
    runtime.block_on(async {
        let short = Duration::from_millis(20);
        let nothing = client.invoke(request(HOLD, 0), short).await;
        assert!(matches!(nothing, Err(CallError::Timeout)));
        client.invoke_oneway(request(STAGE, 0)).await.unwrap();
        let answer = client.invoke(echo(0, b"x"), LIMIT).await.unwrap();
        assert_eq!(answer.body, b"x");
    });
    assert_eq!(served.toy.staged.load(Ordering::SeqCst), 1);
    assert_eq!(served.toy.hub.connections(), 1);
}

#[test]
fn a_broken_connection_fails_its_calls_and_is_made_again() {
    let served = serve();
    let client = Client::new(served.running.addresses()[0]);
    runtime().block_on(async {
        let held = client.invoke(request(HOLD, 0), LIMIT);
        let cut = async {
            while served.toy.held.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            let (connection, _) = served.toy.held.lock().unwrap()[0];
            served.toy.hub.close(connection);
        };
        let (held, ()) = tokio::join!(held, cut);
        assert!(matches!(held, Err(CallError::Broken(_))));
        let answer = client.invoke(echo(0, b"again"), LIMIT).await.unwrap();
        assert_eq!(answer.body, b"again");
    });
}

#[test]
fn nobody_there_is_an_error() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let client = Client::new(address);
    let answer = runtime().block_on(client.invoke(echo(0, b""), LIMIT));
    assert!(matches!(answer, Err(CallError::Connect(_, _))));
}

#[test]
fn requests_of_the_server_reach_the_callback_and_are_answered() {
    let served = serve();
    let codes = Arc::new(Mutex::new(Vec::new()));
    let seen = codes.clone();
    let incoming = Arc::new(move |command: Command| {
        seen.lock().unwrap().push(command.code);
        Some(Command::response(0, 5)).into()
    });
    let client = Client::with_incoming(served.running.addresses()[0], incoming);
    runtime().block_on(async {
        client.invoke(request(PUSH, 0), LIMIT).await.unwrap();
        let (hub, id) = (&served.toy.hub, {
            let held = client.invoke(request(HOLD, 0), Duration::from_millis(20));
            assert!(held.await.is_err());
            served.toy.held.lock().unwrap()[0].0
        });
        assert!(hub.push(id, request(307, 9).to_bytes()));
        client.invoke(echo(0, b""), LIMIT).await.unwrap();
        client.invoke(echo(0, b""), LIMIT).await.unwrap();
        client.close().await;
    });
    served.wait_for(|event| *event == Event::Answered(5));
    assert_eq!(*codes.lock().unwrap(), [40, 307]);
}

#[test]
fn a_service_is_called_inside_the_process() {
    let served = serve();
    let local = Local::open(served.toy.hub.clone(), served.toy.clone());
    runtime().block_on(async {
        let ask = |command: Command| {
            let local = &local;
            async move { local.invoke(&command, LIMIT).await.unwrap() }
        };
        assert_eq!(ask(echo(1, b"x")).await.unwrap().body, b"x");
        assert!(ask(echo(1, b"x").oneway()).await.is_none());
        assert_eq!(ask(request(COLD, 1)).await.unwrap().remark.unwrap(), "warm");
        assert_eq!(ask(request(STAGE, 1)).await.unwrap().code, 0);
        let held = ask(request(HOLD, 1));
        let (held, _) = tokio::join!(held, ask(request(WAKE, 1)));
        assert_eq!(held.unwrap().remark.as_deref(), Some("woken"));
        let held = ask(request(HOLD, 1).with("ms", 10)).await;
        assert_eq!(held.unwrap().remark.as_deref(), Some("deadline"));
        let flushed = ask(request(STAGE, 2).with("level", "flushed"));
        let flush = async {
            tokio::task::yield_now().await;
            let staged = served.toy.staged.load(Ordering::SeqCst);
            served.toy.flushed.store(staged, Ordering::SeqCst);
            served.toy.hub.marks_moved();
        };
        let (flushed, ()) = tokio::join!(flushed, flush);
        assert_eq!(flushed.unwrap().field("at"), Some("2"));
    });
}

/// A service that says where the body lies that it was given.
struct Where;

impl Service for Where {
    fn call(&self, _: &Peer, request: &Frame<'_>, _: Run, out: &mut Vec<u8>) -> Outcome {
        let head = Head {
            opaque: request.opaque,
            serialize: request.serialize,
        };
        let at = request.body.as_ptr() as i64;
        Reply::new(out, head, 0).number("at", at).finish();
        Outcome::Done
    }
}

#[test]
fn a_message_is_read_where_it_lies_and_never_held() {
    let served = serve();
    let head = |code| request(code, 1).to_bytes();
    runtime().block_on(async {
        let local = Local::open(served.toy.hub.clone(), Arc::new(Where));
        let body = vec![b'x'; 1024];
        let answer = local
            .send(head(ECHO), Payload::Body(&body), LIMIT)
            .await
            .unwrap()
            .unwrap();
        let at = (body.as_ptr() as i64).to_string();
        assert_eq!(answer.command().unwrap().field("at"), Some(&*at));
        let local = Local::open(served.toy.hub.clone(), served.toy.clone());
        let send = async |code| {
            let answer = local
                .send(head(code), Payload::Body(&body), LIMIT)
                .await
                .unwrap();
            answer.unwrap().command().unwrap()
        };
        assert_eq!(send(ECHO).await.body, body);
        assert_eq!(send(STAGE).await.code, 0);
        assert_eq!(send(COLD).await.remark.as_deref(), Some("warm"));
        assert_eq!(send(HOLD).await.remark.as_deref(), Some("deadline"));
    });
}

#[test]
fn what_many_callers_stage_finds_its_callers_again() {
    let served = serve();
    let client = Client::new(served.running.addresses()[0]);
    runtime().block_on(async {
        let mut calls = tokio::task::JoinSet::new();
        let client = Arc::new(client);
        for number in 0..500_u32 {
            let client = client.clone();
            calls.spawn(async move {
                let body = number.to_be_bytes();
                let answer = client.invoke(echo(0, &body), LIMIT).await.unwrap();
                assert_eq!(answer.body, body);
            });
        }
        while let Some(call) = calls.join_next().await {
            call.unwrap();
        }
    });
}

#[test]
fn a_client_outlives_the_runtime_it_was_connected_on() {
    let served = serve();
    let client = Client::new(served.running.addresses()[0]);
    for _ in 0..2 {
        let answer = runtime().block_on(client.invoke(echo(0, b"x"), LIMIT));
        assert_eq!(answer.unwrap().body, b"x");
    }
}

#[test]
fn what_is_pushed_reaches_a_caller_inside_the_process() {
    let served = serve();
    let (local, pushed) = Local::open_with_pushes(served.toy.hub.clone(), served.toy.clone());
    runtime().block_on(async {
        let (sender, mut codes) = tokio::sync::mpsc::unbounded_channel();
        let incoming = move |command: Command| {
            let _ = sender.send(command.code);
            Some(Command::response(0, 7)).into()
        };
        let pump = tokio::spawn(pushed.run(Arc::new(incoming)));
        assert!(
            local
                .invoke(&request(HOLD, 0).with("ms", 1), LIMIT)
                .await
                .is_ok()
        );
        let id = served.toy.held.lock().unwrap()[0].0;
        assert!(served.toy.hub.push(id, request(307, 9).to_bytes()));
        assert_eq!(codes.recv().await, Some(307));
        served.wait_for(|event| *event == Event::Answered(7));
        drop(local);
        pump.await.unwrap();
        assert!(!served.toy.hub.push(id, request(307, 9).to_bytes()));
    });
}
