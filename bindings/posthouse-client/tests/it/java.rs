//! Together with Apache's Java client 5.3.3, at one server.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use conformance::clients::Client as Java;
use conformance::toolchain::{self, Release};
use posthouse_client::{
    ConsumeFrom, Error, Filter, Message, PushOptions, Settle, TopicConfig, TopicName,
};
use tokio::task::spawn_blocking;

use crate::consume::topic;
use crate::places::{fresh, namesrv, over_tcp, run, until};

/// The one JVM of these tests; `None` on a machine without Java.
fn java() -> Option<&'static Java> {
    static JAVA: OnceLock<Option<Java>> = OnceLock::new();
    let start = || match toolchain::missing(&["java", "mvn"]) {
        None => Some(Java::java(Release::V5, "rust-and-java", &[], namesrv())),
        Some(why) => {
            eprintln!("skipped: {why}");
            None
        }
    };
    JAVA.get_or_init(start).as_ref()
}

#[test]
fn java_replies_to_rust() {
    let Some(java) = java() else { return };
    run(async {
        let client = over_tcp();
        let topic = topic(&client, 1).await;
        let settings = topic.clone();
        let replies = spawn_blocking(move || java.play("mixed-reply", &[("topic", &settings)]));
        let producer = client.producer(&fresh("asking")).unwrap();
        // A request that lay there before the consumer came is answered too late; the next one is not.
        let reply = loop {
            let question = Message::new(topic.as_str(), "from Rust");
            match producer.request(question, Duration::from_secs(5)).await {
                Ok(reply) => break reply,
                Err(Error::NoReply(_)) => {}
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(reply.body, "Java says from Rust");
        let stop = Message::new(topic.as_str(), "stop");
        producer.send(stop).await.unwrap();
        replies.await.unwrap();
        client.shutdown().await;
    });
}

#[test]
fn rust_replies_to_java() {
    let Some(java) = java() else { return };
    run(async {
        let client = over_tcp();
        let topic = topic(&client, 1).await;
        let replier = client.producer(&fresh("clerk")).unwrap();
        let options = PushOptions {
            from: ConsumeFrom::First,
            ..PushOptions::default()
        };
        let (wanted, group) = ([(topic.as_str(), Filter::All)], fresh("group"));
        let handler = move |question: posthouse_client::Received| {
            let replier = replier.clone();
            async move {
                let text = String::from_utf8(question.body.to_vec()).unwrap();
                // Java asks again until it gets an answer; one that comes too late is no harm.
                let replied = replier.reply(&question, format!("Rust says {text}")).await;
                if let Err(error) = replied {
                    eprintln!("{error}");
                }
                Settle::Ack
            }
        };
        let consumer = client.push_consumer(&group, &wanted, options, handler);
        let consumer = consumer.await.unwrap();
        let settings = topic.clone();
        let played = spawn_blocking(move || java.play("mixed-request", &[("topic", &settings)]));
        let events = played.await.unwrap();
        let reply = events.iter().find(|event| event["event"] == "reply");
        assert_eq!(reply.unwrap()["body"], "Rust says from Java");
        consumer.shutdown().await;
        client.shutdown().await;
    });
}

#[test]
fn java_and_rust_share_a_group_and_rust_takes_over_when_java_leaves() {
    let Some(java) = java() else { return };
    run(async {
        let client = over_tcp();
        let (topic, group) = (topic(&client, 8).await, fresh("group"));
        let stop = TopicName::parse(&format!("{topic}-stop")).unwrap();
        let admin = client.admin();
        admin
            .put_topic(&TopicConfig::new(stop.clone(), 1))
            .await
            .unwrap();
        let (sender, mut came) = tokio::sync::mpsc::unbounded_channel();
        let options = PushOptions {
            from: ConsumeFrom::First,
            rebalance_period: Duration::from_secs(1),
            ..PushOptions::default()
        };
        let wanted = [(topic.as_str(), Filter::All)];
        let consumer = client
            .push_consumer(&group, &wanted, options, move |message| {
                let text = String::from_utf8(message.body.to_vec()).unwrap();
                let _ = sender.send((message.queue.id, text));
                async { Settle::Ack }
            })
            .await
            .unwrap();
        let own = || {
            let queues = consumer.queues();
            queues.iter().filter(|queue| *queue.topic == topic).count()
        };
        until(async || own(), |own| *own == 8).await;
        let settings = (topic.clone(), group.clone());
        let member = spawn_blocking(move || {
            let (topic, group) = &settings;
            java.play("mixed-member", &[("topic", topic), ("group", group)])
        });
        // Each computes by itself whose the queues are: both must come to the same.
        until(async || own(), |own| *own == 4).await;
        let producer = client.producer("shop").unwrap();
        let mut sent = BTreeSet::new();
        for n in 0..64 {
            let message = Message::new(topic.as_str(), n.to_string());
            producer.send(message).await.unwrap();
            sent.insert(n.to_string());
        }
        let mut ours = Vec::new();
        while ours.len() < 32 {
            ours.push(came.recv().await.unwrap());
        }
        let committed = async || admin.progress(&group, Some(&topic)).await.unwrap();
        let done = |all: &Vec<posthouse_client::Progress>| {
            let own = all.iter().filter(|one| *one.queue.topic == topic);
            own.map(|one| one.committed).sum::<u64>() == 64
        };
        until(committed, done).await;
        producer
            .send(Message::new(stop.as_str(), "stop"))
            .await
            .unwrap();
        let events = member.await.unwrap();
        let theirs = events.iter().filter(|event| event["event"] == "got");
        let theirs: Vec<(u32, String)> = theirs
            .map(|event| {
                let queue = event["queue"].as_u64().unwrap() as u32;
                (queue, event["body"].as_str().unwrap().to_owned())
            })
            .collect();
        let queues = |all: &[(u32, String)]| -> BTreeSet<u32> {
            all.iter().map(|(queue, _)| *queue).collect()
        };
        assert!(queues(&ours).is_disjoint(&queues(&theirs)));
        let both: Vec<_> = ours.into_iter().chain(theirs).collect();
        assert_eq!(both.len(), 64, "each once");
        let bodies: BTreeSet<String> = both.into_iter().map(|(_, body)| body).collect();
        assert_eq!(bodies, sent);

        until(async || own(), |own| *own == 8).await;
        for n in 64..72 {
            let message = Message::new(topic.as_str(), n.to_string());
            producer.send(message).await.unwrap();
        }
        for _ in 64..72 {
            came.recv().await.unwrap();
        }
        consumer.shutdown().await;
        client.shutdown().await;
    });
}
