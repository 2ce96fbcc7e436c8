//! Many requests at once: inside the process, and over a connection.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use remoting::client::{Answers, CallError, Client};
use remoting::local::Local;
use remoting::{Answer, Command};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::toy::{COLD, HOLD, LIMIT, PANIC, STAGE, echo, request, serve};

fn run<T>(scenario: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, scenario).await.unwrap() })
}

fn frames(requests: &[Command]) -> Vec<u8> {
    requests.iter().flat_map(Command::to_bytes).collect()
}

fn codes(told: Vec<Result<Option<Answer>, CallError>>) -> Vec<Option<i32>> {
    let code = |told: Result<Option<Answer>, CallError>| {
        let answer = told.unwrap();
        answer.map(|answer| answer.command().unwrap().code)
    };
    told.into_iter().map(code).collect()
}

#[test]
fn many_inside_the_process_run_in_order_and_share_a_commit() {
    let served = serve();
    let local = Local::open(served.toy.hub.clone(), served.toy.clone());
    let all = [
        request(STAGE, 1),
        echo(1, b"x"),
        request(STAGE, 1),
        echo(1, b"y").oneway(),
    ];
    let burst = local.begin(&frames(&all));
    let told = local.answers(burst).ok().expect("all of it may be told");
    let at = |n: usize| {
        told[n]
            .as_ref()
            .unwrap()
            .as_ref()
            .unwrap()
            .command()
            .unwrap()
    };
    assert_eq!(
        (at(0).field("at"), at(2).field("at")),
        (Some("1"), Some("2"))
    );
    assert_eq!(at(1).body, b"x");
    assert!(told[3].as_ref().unwrap().is_none());
    assert_eq!(served.toy.commits.load(Ordering::SeqCst), 1);
}

#[test]
fn nothing_of_many_is_told_before_it_is_safe() {
    let served = serve();
    let local = Local::open(served.toy.hub.clone(), served.toy.clone());
    run(async {
        let flushed = request(STAGE, 1).with("level", "flushed");
        let burst = local.begin(&frames(&[flushed, request(COLD, 1), request(STAGE, 1)]));
        let burst = local.answers(burst).expect_err("it is not flushed");
        let flush = async {
            tokio::task::yield_now().await;
            served.toy.flushed.store(1, Ordering::SeqCst);
            served.toy.hub.marks_moved();
        };
        let until = Instant::now() + LIMIT;
        let (told, ()) = tokio::join!(local.finish(burst, until), flush);
        assert_eq!(codes(told), [Some(0), Some(0), Some(0)]);
    });
}

#[test]
fn a_refused_commit_refuses_what_was_staged_and_nothing_else() {
    let served = serve();
    let local = Local::open(served.toy.hub.clone(), served.toy.clone());
    served.toy.refuses.store(true, Ordering::SeqCst);
    // The last one has nothing to wait for, but what it changed was staged as well.
    let last = request(STAGE, 1).with("level", "reached");
    let all = [request(STAGE, 1), echo(1, b"x"), last];
    let burst = local.begin(&frames(&all));
    let told = local.answers(burst).ok().expect("it is decided");
    assert_eq!(codes(told), [Some(14), Some(0), Some(14)]);
}

#[test]
fn a_panic_is_one_request_s() {
    let served = serve();
    let local = Local::open(served.toy.hub.clone(), served.toy.clone());
    let burst = local.begin(&frames(&[echo(1, b"x"), request(PANIC, 1), echo(1, b"y")]));
    let told = local.answers(burst).ok().expect("all of it may be told");
    assert!(matches!(told[1], Err(CallError::Panicked)));
    let last = told[2].as_ref().unwrap().as_ref().unwrap();
    assert_eq!(last.command().unwrap().body, b"y");
}

/// What came, by number.
#[derive(Default)]
struct Came {
    all: Mutex<Vec<(usize, Result<Answer, CallError>)>>,
    some: Notify,
}

impl Answers for Came {
    fn come(self: Arc<Self>, ended: Vec<(usize, Result<Answer, CallError>)>) {
        self.all.lock().unwrap().extend(ended);
        self.some.notify_one();
    }
}

impl Came {
    async fn wait_for(&self, count: usize) -> Vec<(usize, Result<Answer, CallError>)> {
        while self.all.lock().unwrap().len() < count {
            self.some.notified().await;
        }
        let mut all = std::mem::take(&mut *self.all.lock().unwrap());
        all.sort_by_key(|(number, _)| *number);
        all
    }
}

fn send(client: &Client, until: Instant, came: &Arc<Came>, requests: &[Command]) -> bool {
    let answers: Arc<dyn Answers> = came.clone();
    let encode = |number: usize, opaque: i32, out: &mut Vec<u8>| {
        let request = requests[number].clone();
        Command { opaque, ..request }.encode(out);
    };
    client.send_each(requests.len(), until, encode, &answers)
}

#[test]
fn many_over_a_connection_find_their_numbers_again() {
    let served = serve();
    let client = Client::new(served.running.addresses()[0]);
    run(async {
        let (until, came) = (Instant::now() + LIMIT, Arc::new(Came::default()));
        let all: Vec<Command> = (0..500_u32).map(|n| echo(0, &n.to_be_bytes())).collect();
        assert!(!send(&client, until, &came, &all), "nothing is connected");
        client.ready(until).await.unwrap();
        assert!(send(&client, until, &came, &all));
        for (number, answer) in came.wait_for(all.len()).await {
            let body = answer.unwrap().command().unwrap().body;
            assert_eq!(body, (number as u32).to_be_bytes());
        }
    });
}

#[test]
fn what_of_many_is_not_answered_ends_in_time_or_with_the_connection() {
    let served = serve();
    let client = Client::new(served.running.addresses()[0]);
    run(async {
        let came = Arc::new(Came::default());
        client.ready(Instant::now() + LIMIT).await.unwrap();
        let all = [request(HOLD, 0), echo(0, b"x")];
        let soon = Instant::now() + Duration::from_millis(50);
        assert!(send(&client, soon, &came, &all));
        let ended = came.wait_for(2).await;
        assert!(matches!(ended[0].1, Err(CallError::Timeout)));
        assert!(ended[1].1.is_ok());
        assert!(send(&client, Instant::now() + LIMIT, &came, &all));
        came.wait_for(1).await;
        let (connection, _) = served.toy.held.lock().unwrap()[0];
        served.toy.hub.close(connection);
        let ended = came.wait_for(1).await;
        assert!(matches!(ended[0], (0, Err(CallError::Broken(_)))));
    });
}
