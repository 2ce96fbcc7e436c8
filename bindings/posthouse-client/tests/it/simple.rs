//! Messages on loan, at real servers.

use std::time::Duration;

use posthouse_client::{Filter, Lease, Leased, Receive, SimpleConsumer};

use crate::consume::{send, topic};
use crate::places::{everywhere, fresh, inside, run, until};

fn soon() -> Receive {
    Receive {
        wait: Duration::from_secs(10),
        ..Receive::default()
    }
}

async fn receive(
    consumer: &SimpleConsumer,
    topic: &str,
    what: &Receive,
    count: usize,
) -> Vec<Leased> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(consumer.receive(topic, what).await.unwrap());
    }
    all
}

#[test]
fn what_is_acked_does_not_come_again_and_the_rest_does() {
    everywhere(async |client| {
        let (topic, group) = (topic(client, 3).await, fresh("group"));
        send(client, &topic, 0..20).await;
        let consumer = client.simple_consumer(&group).unwrap();
        let brief = Receive {
            invisible: Duration::from_secs(2),
            ..soon()
        };
        let all = receive(&consumer, &topic, &brief, 20).await;
        assert_eq!(all.len(), 20);
        let (acked, rest) = all.split_at(15);
        for leased in acked {
            // The lease's text is all that it takes.
            let lease: Lease = leased.lease.to_string().parse().unwrap();
            consumer.ack(&lease).await.unwrap();
        }
        let again = receive(&consumer, &topic, &soon(), 5).await;
        let ids = |all: &[Leased]| {
            let mut ids: Vec<_> = all.iter().map(|leased| leased.message.id()).collect();
            ids.sort();
            ids
        };
        assert_eq!(ids(&again), ids(rest));
        for leased in again {
            assert_eq!(leased.message.reconsume_times, 1);
            assert_eq!(*leased.message.topic, topic);
            consumer.ack(&leased.lease).await.unwrap();
        }
        let brief = Receive {
            wait: Duration::from_millis(100),
            ..soon()
        };
        assert!(consumer.receive(&topic, &brief).await.unwrap().is_empty());
    });
}

#[test]
fn a_lease_is_extended_and_what_was_lent_for_a_moment_comes_at_once() {
    everywhere(async |client| {
        let (topic, group) = (topic(client, 1).await, fresh("group"));
        send(client, &topic, 0..2).await;
        let consumer = client.simple_consumer(&group).unwrap();
        let two = receive(&consumer, &topic, &soon(), 2).await;
        let kept = consumer
            .extend(&two[0].lease, Duration::from_secs(60))
            .await
            .unwrap();
        assert!(kept.ends_at() >= two[0].lease.ends_at());
        consumer
            .extend(&two[1].lease, Duration::from_millis(100))
            .await
            .unwrap();
        let again = receive(&consumer, &topic, &soon(), 1).await;
        assert_eq!(again[0].message.id(), two[1].message.id());
        consumer.ack(&again[0].lease).await.unwrap();
        consumer.ack(&kept).await.unwrap();
    });
}

#[test]
fn a_waiting_receive_gets_what_arrives_and_only_what_is_wanted() {
    everywhere(async |client| {
        let (topic, group) = (topic(client, 2).await, fresh("group"));
        let consumer = client.simple_consumer(&group).unwrap();
        let odd = Receive {
            filter: Filter::tags("odd"),
            ..soon()
        };
        let (found, ()) = tokio::join!(
            receive(&consumer, &topic, &odd, 2),
            send(client, &topic, 0..4)
        );
        assert!(
            found
                .iter()
                .all(|leased| leased.message.tag() == Some("odd"))
        );
    });
}

#[test]
fn a_dead_letter_lies_in_the_groups_topic() {
    run(async {
        let client = inside();
        let (topic, group) = (topic(&client, 1).await, fresh("group"));
        send(&client, &topic, 0..1).await;
        let consumer = client.simple_consumer(&group).unwrap();
        let one = receive(&consumer, &topic, &soon(), 1).await;
        consumer.dead_letter(&one[0]).await.unwrap();
        let dead = format!("%DLQ%{group}");
        let admin = client.admin();
        let queues = until(async || admin.queues(&dead).await, Result::is_ok)
            .await
            .unwrap();
        until(
            async || admin.max_offset(&queues[0]).await.unwrap(),
            |end| *end == 1,
        )
        .await;
        client.shutdown().await;
    });
}
