//! What a client has done, in numbers.

use std::sync::Arc;
use std::time::Duration;

use posthouse_client::{
    Client, Config, ConsumeFrom, Filter, Message, Metrics, PushOptions, Receive, Settle,
};
use tokio::sync::mpsc::unbounded_channel;

use crate::consume::{send, topic};
use crate::each::{Told, each};
use crate::places::{everywhere, fresh, inside, over_tcp, run, until};
use crate::retry::{accepts, name_server, refuses};

#[test]
fn what_is_sent_is_counted_whichever_way_it_goes() {
    everywhere(async |client| {
        let topic: Arc<str> = topic(client, 2).await.into();
        let message = |body: &'static str| Message::new(topic.clone(), body);
        let producer = client.producer("shop").unwrap();
        producer.send(message("one")).await.unwrap();
        producer.send(message("")).await.unwrap_err();
        producer.send_oneway(message("two")).await.unwrap();
        let batch = vec![message("three"), message("four"), message("five")];
        producer.send_batch(batch).await.unwrap();
        let told = Arc::new(Told::default());
        let many = (0..300).map(|n| each(message(if n == 7 { "" } else { "x" })));
        producer.send_each(many.collect(), None, told.clone());
        told.wait_for(300).await;
        let metrics = client.metrics();
        assert_eq!((metrics.sent, metrics.send_failures), (304, 2));
        assert_eq!((metrics.sends_in_flight, metrics.send_retries), (0, 0));
        let named = metrics.named();
        assert_eq!(named[0], ("sent", 304));
    });
}

#[test]
fn requests_that_are_made_again_are_counted() {
    run(async {
        let (bad, good) = (refuses(1), accepts());
        let servers = name_server(&[&bad, &good]);
        let client = Client::new(Config::new(&servers.address()));
        let producer = client.producer("shop").unwrap();
        for _ in 0..2 {
            producer.send(Message::new("t", "x")).await.unwrap();
        }
        let told = Arc::new(Told::default());
        let many = (0..20).map(|_| each(Message::new("t", "x")));
        producer.send_each(many.collect(), None, told.clone());
        told.wait_for(20).await;
        let metrics = client.metrics();
        assert_eq!(metrics.sent, 22);
        assert_eq!(metrics.send_retries as usize, bad.asked(310));
        assert!(metrics.connections >= 2);
        client.shutdown().await;
        assert_eq!(client.metrics().connections, 0);
    });
}

#[test]
fn what_handlers_do_is_counted_and_so_is_what_waits_for_them() {
    everywhere(async |client| {
        let (topic, group) = (topic(client, 1).await, fresh("group"));
        send(client, &topic, 0..10).await;
        let (sender, mut handled) = unbounded_channel();
        let watched = client.clone();
        let handler = move |message: posthouse_client::Received| {
            let _ = sender.send(watched.metrics());
            let first = message.reconsume_times == 0;
            async move {
                match &message.body[..] {
                    b"3" if first => Settle::RetryAfter(Duration::from_millis(10)),
                    b"5" => Settle::Reject,
                    _ => Settle::Ack,
                }
            }
        };
        let options = PushOptions {
            from: ConsumeFrom::First,
            ..PushOptions::default()
        };
        let wanted = [(&*topic, Filter::All)];
        let consumer = client.push_consumer(&group, &wanted, options, handler);
        let consumer = consumer.await.unwrap();
        for _ in 0..11 {
            let then = handled.recv().await.unwrap();
            assert!(then.buffered >= 1 && then.buffered_bytes > 0);
        }
        let done = |metrics: &Metrics| metrics.acknowledged == 9 && metrics.buffered == 0;
        let metrics = until(async || client.metrics(), done).await;
        assert_eq!((metrics.received, metrics.redelivered), (11, 1));
        assert_eq!((metrics.retried, metrics.rejected), (1, 1));
        assert_eq!(metrics.buffered_bytes, 0);
        consumer.shutdown().await;
    });
}

#[test]
fn what_is_on_loan_and_acked_is_counted() {
    everywhere(async |client| {
        let (topic, group) = (topic(client, 1).await, fresh("group"));
        send(client, &topic, 0..10).await;
        let consumer = client.simple_consumer(&group).unwrap();
        let soon = Receive {
            wait: Duration::from_secs(10),
            ..Receive::default()
        };
        let mut leases = Vec::new();
        while leases.len() < 10 {
            let leased = consumer.receive(&topic, &soon).await.unwrap();
            leases.extend(leased.into_iter().map(|one| one.lease));
        }
        assert_eq!(client.metrics().received, 10);
        consumer.ack(&leases[0]).await.unwrap();
        for outcome in consumer.ack_all(&leases[1..9]).await {
            outcome.unwrap();
        }
        assert_eq!(client.metrics().acknowledged, 9);
    });
}

#[test]
fn connections_stand_to_servers_elsewhere_and_none_to_one_inside() {
    run(async {
        for (client, connects) in [(over_tcp(), true), (inside(), false)] {
            assert_eq!(client.metrics().connections, 0);
            client.admin().topics().await.unwrap();
            assert_eq!(client.metrics().connections > 0, connects);
            client.shutdown().await;
        }
    });
}
