//! Requests and replies, at real servers.

use std::time::{Duration, Instant};

use posthouse_client::{
    Client, ConsumeFrom, Error, Filter, Message, MessageError, PushConsumer, PushOptions, Settle,
};

use crate::consume::topic;
use crate::places::{LIMIT, everywhere, fresh};

/// A consumer that replies `body!`, and to `silence` nothing.
async fn clerk(client: &Client, topic: &str) -> PushConsumer {
    let replier = client.producer(&fresh("clerk")).unwrap();
    let options = PushOptions {
        from: ConsumeFrom::First,
        ..PushOptions::default()
    };
    let (wanted, group) = ([(topic, Filter::All)], fresh("group"));
    let handler = move |question: posthouse_client::Received| {
        let replier = replier.clone();
        async move {
            if question.body != "silence" {
                let text = String::from_utf8(question.body.to_vec()).unwrap();
                let own = [("mood".to_owned(), "good".to_owned())];
                let reply = replier.reply_with(&question, text + "!", &own);
                reply.await.unwrap();
            }
            Settle::Ack
        }
    };
    let consumer = client.push_consumer(&group, &wanted, options, handler);
    consumer.await.unwrap()
}

#[test]
fn every_request_gets_its_own_reply() {
    everywhere(async |client| {
        let topic = topic(client, 3).await;
        let clerk = clerk(client, &topic).await;
        let producer = client.producer(&fresh("asking")).unwrap();
        let mut asks = tokio::task::JoinSet::new();
        for n in 0..20_u32 {
            let (producer, topic) = (producer.clone(), topic.clone());
            asks.spawn(async move {
                let question = Message::new(topic, n.to_string());
                let reply = producer.request(question, LIMIT).await.unwrap();
                assert_eq!(reply.body, format!("{n}!"));
                assert_eq!(reply.property("mood"), Some("good"));
            });
        }
        while let Some(asked) = asks.join_next().await {
            asked.unwrap();
        }
        clerk.shutdown().await;
    });
}

#[test]
fn a_request_without_a_reply_ends_in_time_and_says_so() {
    everywhere(async |client| {
        let topic = topic(client, 1).await;
        let clerk = clerk(client, &topic).await;
        let producer = client.producer(&fresh("asking")).unwrap();
        let limit = Duration::from_millis(300);
        let begun = Instant::now();
        let silence = Message::new(topic.as_str(), "silence");
        let none = producer.request(silence, limit).await;
        assert!(
            matches!(none, Err(Error::NoReply(given)) if given == limit),
            "{none:?}"
        );
        assert!(begun.elapsed() >= limit);
        // What asks for no reply gets none.
        let (offset, queue) = {
            let plain = Message::new(topic.as_str(), "silence");
            let sent = producer.send(plain).await.unwrap();
            (sent.queue_offset, sent.queue)
        };
        let pull = posthouse_client::Pull {
            hold: Duration::from_secs(5),
            ..Default::default()
        };
        let plain = client.pull(&queue, offset, &pull).await.unwrap();
        let refused = producer.reply(&plain.messages[0], "x").await;
        let refused = refused.unwrap_err();
        assert!(matches!(refused, Error::Message(MessageError::NoRequest)));
        clerk.shutdown().await;
    });
}
