//! Together with Apache's Java client 5.3.3, at one server.

use std::sync::OnceLock;

use conformance::clients::Client as Java;
use conformance::toolchain::{self, Release};
use posthouse_client::{ConsumeFrom, Error, Filter, Message, PushOptions, Settle};
use tokio::task::spawn_blocking;

use crate::consume::topic;
use crate::places::{fresh, namesrv, over_tcp, run};

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
            match producer
                .request(question, std::time::Duration::from_secs(5))
                .await
            {
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
