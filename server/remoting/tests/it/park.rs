//! Answers that wait for a mark: committed in batches, overtaken, late, refused.

use std::sync::atomic::Ordering;
use std::time::Duration;

use remoting::{Command, Serialize};

use crate::toy::{STAGE, Setup, echo, request, serve, serve_with};

fn flushed(opaque: i32) -> Command {
    request(STAGE, opaque).with("level", "flushed")
}

#[test]
fn one_commit_covers_a_batch() {
    let served = serve();
    let mut client = served.connect();
    let batch: Vec<_> = (0..40).map(|opaque| request(STAGE, opaque)).collect();
    client.send_all(&batch);
    assert_eq!(client.receive_by_opaque(40).len(), 40);
    let commits = served.toy.commits.load(Ordering::SeqCst);
    assert!((1..=2).contains(&commits), "{commits} commits");
}

#[test]
fn many_connections_share_commits_and_all_are_answered() {
    let served = serve();
    let mut clients: Vec<_> = (0..32).map(|_| served.connect()).collect();
    for round in 0..20 {
        for client in &mut clients {
            client.send(&request(STAGE, round));
        }
        for client in &mut clients {
            assert_eq!(client.receive().unwrap().opaque, round);
        }
    }
    assert_eq!(served.toy.staged.load(Ordering::SeqCst), 32 * 20);
}

#[test]
fn an_answer_waits_for_its_mark_and_later_ones_overtake_it() {
    let served = serve();
    let mut client = served.connect();
    client.send_all(&[flushed(1), echo(2, b""), request(STAGE, 3)]);
    let first = client.receive_by_opaque(2);
    assert!(first.contains_key(&2) && first.contains_key(&3));
    served.toy.flushed.store(1, Ordering::SeqCst);
    served.toy.hub.marks_moved();
    let answer = client.receive().unwrap();
    assert_eq!((answer.opaque, answer.field("at")), (1, Some("1")));
}

#[test]
fn answers_leave_in_the_order_of_their_marks() {
    let served = serve();
    let mut client = served.connect();
    client.send_all(&[flushed(1), flushed(2), flushed(3), echo(4, b"")]);
    assert_eq!(client.receive().unwrap().opaque, 4);
    served.toy.flushed.store(2, Ordering::SeqCst);
    served.toy.hub.marks_moved();
    assert_eq!(client.receive().unwrap().opaque, 1);
    assert_eq!(client.receive().unwrap().opaque, 2);
    served.toy.flushed.store(3, Ordering::SeqCst);
    served.toy.hub.marks_moved();
    assert_eq!(client.receive().unwrap().opaque, 3);
}

#[test]
fn an_answer_whose_mark_does_not_come_leaves_with_the_late_code() {
    let served = serve_with(Setup {
        slow_mark: Duration::from_millis(30),
        ..Setup::default()
    });
    let mut client = served.connect();
    let binary = Command {
        serialize: Serialize::Binary,
        ..flushed(2)
    };
    client.send_all(&[flushed(1), binary]);
    for opaque in [1, 2] {
        let answer = client.receive().unwrap();
        assert_eq!((answer.opaque, answer.code), (opaque, 10));
        assert_eq!(answer.field("at"), Some(opaque.to_string().as_str()));
    }
}

#[test]
fn a_failed_commit_refuses_what_was_staged_and_nothing_else() {
    let served = serve();
    served.toy.refuses.store(true, Ordering::SeqCst);
    let mut client = served.connect();
    client.send_all(&[
        echo(1, b"x"),
        request(STAGE, 2),
        echo(3, b"y"),
        request(STAGE, 4).oneway(),
        flushed(5),
    ]);
    for opaque in [1, 2, 3, 5] {
        let answer = client.receive().unwrap();
        assert_eq!(answer.opaque, opaque);
        if opaque % 2 == 1 && opaque < 5 {
            assert_eq!(answer.code, 0);
        } else {
            assert_eq!(answer.code, 14);
            assert_eq!(answer.remark.as_deref(), Some("the disk is full"));
            assert_eq!(answer.field("at"), None);
        }
    }
    served.toy.refuses.store(false, Ordering::SeqCst);
    assert_eq!(client.ask(&request(STAGE, 6)).code, 0);
}
