//! Transactions, at real servers. What nobody decides about is asked after 6 s.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use posthouse_client::{
    Begin, Client, Decision, Deliver, Error, Message, MessageError, ProducerOptions, Pull,
    Transaction,
};
use tokio::sync::mpsc::unbounded_channel;

use crate::consume::topic;
use crate::places::{apache, everywhere, fresh, over_tcp, run};

/// The bodies in the only queue of a topic, as soon as there are so many.
async fn bodies(client: &Client, topic: &str, count: u64) -> Vec<String> {
    let queue = client.admin().queues(topic).await.unwrap()[0].clone();
    let pull = Pull {
        hold: Duration::from_secs(5),
        ..Pull::default()
    };
    let (mut bodies, mut next) = (Vec::new(), 0);
    while next < count {
        let pulled = client.pull(&queue, next, &pull).await.unwrap();
        next = pulled.next;
        let text =
            |message: posthouse_client::Received| String::from_utf8(message.body.to_vec()).unwrap();
        bodies.extend(pulled.messages.into_iter().map(text));
    }
    bodies
}

#[test]
fn what_is_committed_is_seen_and_what_is_rolled_back_is_not() {
    everywhere(async |client| {
        let topic = topic(client, 1).await;
        let producer = client.producer(&fresh("shop")).unwrap();
        for (body, decision) in [
            ("no", Decision::Rollback),
            ("one", Decision::Commit),
            ("never", Decision::Unknown),
            ("two", Decision::Commit),
        ] {
            let message = Message::new(topic.as_str(), body).key(body);
            let ran = Arc::new(Mutex::new(None));
            let known = ran.clone();
            let (sent, decided) = producer
                .send_in_transaction(message, async |half| {
                    *known.lock().unwrap() = Some(half.sent.id.clone());
                    decision
                })
                .await
                .unwrap();
            assert_eq!(decided, decision);
            assert_eq!(ran.lock().unwrap().as_deref(), Some(sent.id.as_str()));
        }
        assert_eq!(bodies(client, &topic, 2).await, ["one", "two"]);
        let delayed = Message::new(topic.as_str(), "x").deliver(Deliver::Level(1));
        let refused = producer.begin(delayed, &Begin::default()).await;
        let refused = refused.unwrap_err();
        assert!(matches!(refused, Error::Message(MessageError::Transaction)));
    });
}

#[test]
fn whoever_has_the_text_decides_and_the_first_decision_counts() {
    run(async {
        let (one, other) = (over_tcp(), over_tcp());
        let topic = topic(&one, 1).await;
        // Nobody of this group is announced: nobody is asked.
        let options = ProducerOptions {
            announce: false,
            ..ProducerOptions::default()
        };
        let group = fresh("shop");
        let producer = one.producer_with(&group, options).unwrap();
        let begin = Begin {
            check_after: Some(Duration::from_secs(1)),
            ..Begin::default()
        };
        let message = Message::new(topic.as_str(), "late");
        let half = producer.begin(message, &begin).await.unwrap();
        let text = half.transaction.to_string();
        one.shutdown().await;

        let transaction: Transaction = text.parse().unwrap();
        assert_eq!(
            (transaction.group(), transaction.topic()),
            (&*group, &*topic)
        );
        assert_eq!(transaction.id(), half.sent.id);
        // After the time that was given it is for the check to decide, unless one insists. Apache's
        // brokers take that time for at least 6 s.
        if !apache() {
            tokio::time::sleep(Duration::from_millis(1_100)).await;
            let late = other.resolve(&transaction, Decision::Commit).await;
            assert_eq!(late.unwrap_err().code(), Some(604));
        }
        let insists = other.resolve_late(&transaction, Decision::Commit).await;
        insists.unwrap();
        assert_eq!(bodies(&other, &topic, 1).await, ["late"]);
        if !apache() {
            let contrary = other.resolve_late(&transaction, Decision::Rollback).await;
            assert_eq!(contrary.unwrap_err().code(), Some(604));
        }
        other.shutdown().await;
    });
}

#[test]
fn a_producer_is_asked_about_what_nobody_decided() {
    everywhere(async |client| {
        let (topic, group) = (topic(client, 1).await, fresh("shop"));
        let (asked, mut checks) = unbounded_channel();
        let options = ProducerOptions::default();
        let producer = client
            .transaction_producer(&group, options, move |check| {
                let decision = match check.message.body.as_ref() {
                    b"yes" => Decision::Commit,
                    b"no" => Decision::Rollback,
                    _ => Decision::Unknown,
                };
                let _ = asked.send(check);
                async move { decision }
            })
            .unwrap();
        for body in ["yes", "no", "by hand"] {
            let message = Message::new(topic.as_str(), body);
            let half = producer.begin(message, &Begin::default()).await.unwrap();
            let unknown = client.resolve(&half.transaction, Decision::Unknown).await;
            unknown.unwrap();
        }
        let mut by_hand = None;
        for _ in 0..3 {
            let check = checks.recv().await.unwrap();
            assert_eq!(&*check.message.topic, topic);
            if check.message.body == "by hand" {
                by_hand = Some(check.transaction);
            }
        }
        let by_hand: Transaction = by_hand.unwrap().to_string().parse().unwrap();
        client
            .resolve_late(&by_hand, Decision::Commit)
            .await
            .unwrap();
        let mut seen = bodies(client, &topic, 2).await;
        seen.sort();
        assert_eq!(seen, ["by hand", "yes"]);
        producer.shutdown().await;
    });
}
