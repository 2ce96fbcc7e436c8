//! Sending, to real servers.

use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use posthouse_client::{
    Client, Compression, Config, Deliver, Error, Filter, Message, MessageError, Producer,
    ProducerOptions, Pull, SendStatus, SentTogether, TopicConfig, TopicName,
};

use crate::consume::topic;
use crate::places::{apache, everywhere, fresh, over_tcp, run, until};
use crate::retry::name_server_of;

/// A producer whose sends take 200 ms at most, of a client whose requests may take an hour.
fn hasty(name_server: &str) -> Producer {
    let mut config = Config::new(name_server);
    config.timeout = Duration::from_secs(3600);
    let options = ProducerOptions {
        timeout: Duration::from_millis(200),
        ..ProducerOptions::default()
    };
    Client::new(config).producer_with("shop", options).unwrap()
}

async fn ends_in_time<T: std::fmt::Debug>(sent: impl Future<Output = Result<T, Error>>) {
    let ended = tokio::time::timeout(Duration::from_secs(60), sent).await;
    let error = ended.expect("it ends").unwrap_err();
    assert!(error.is_timeout(), "{error}");
}

#[test]
fn a_send_ends_in_its_own_time_though_the_name_server_is_silent() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    run(async {
        let producer = hasty(&silent.local_addr().unwrap().to_string());
        ends_in_time(producer.send(Message::new("anywhere", "x"))).await;
    });
}

#[test]
fn a_send_with_a_name_ends_in_its_own_time_though_the_broker_is_silent() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    run(async {
        let servers = name_server_of(&[silent.local_addr().unwrap().to_string()]);
        let producer = hasty(&servers.address());
        let named = || Message::new("t", "x").idempotency_key("k");
        // Whether it keeps names is asked first.
        ends_in_time(producer.send(named())).await;
        ends_in_time(producer.send_oneway(named())).await;
    });
}

#[test]
fn a_message_is_sent_and_found_by_its_ids_and_keys() {
    everywhere(async |client| {
        let topic = fresh("sent");
        let producer = client.producer("shop").unwrap();
        // Apache's index counts in seconds.
        let before = SystemTime::now() - Duration::from_secs(60);
        let message = Message::new(topic.as_str(), "one parcel")
            .tag("eu")
            .key("k1")
            .key("k2")
            .property("colour", "red");
        let sent = producer.send(message).await.unwrap();
        assert_eq!(sent.status, SendStatus::Stored);
        assert_eq!(&*sent.queue.topic, topic);
        assert_eq!(sent.queue_offset, 0);

        let admin = client.admin();
        let lies = admin.message(&topic, &sent.offset_id).await.unwrap();
        let lies = lies.unwrap();
        assert_eq!(lies.body, "one parcel");
        assert_eq!((lies.tag(), lies.id()), (Some("eu"), sent.id.clone()));
        assert_eq!(lies.property("colour"), Some("red"));
        assert_eq!(lies.keys().collect::<Vec<_>>(), ["k1", "k2"]);
        // The index follows a little later.
        let by_id = async || admin.message(&topic, &sent.id).await.unwrap();
        let by_id = until(by_id, |found| found.is_some()).await.unwrap();
        assert_eq!(by_id.offset_id(), sent.offset_id);
        let after = SystemTime::now() + Duration::from_secs(60);
        let by_key = async || {
            let found = admin.messages_by_key(&topic, "k2", 10, (before, after));
            found.await.unwrap()
        };
        let another = Message::new(topic.as_str(), "another").key("k2");
        producer.send(another).await.unwrap();
        let by_key = until(by_key, |found| found.len() == 2).await;
        let bodies: Vec<_> = by_key.iter().map(|found| found.body.clone()).collect();
        assert_eq!(bodies, ["another", "one parcel"], "newest first");
        assert_eq!(
            admin
                .message(&topic, "unknown")
                .await
                .unwrap()
                .map(|m| m.id()),
            None
        );
    });
}

#[test]
fn a_batch_is_split_where_it_must_be_and_keeps_its_order() {
    everywhere(async |client| {
        let topic = fresh("batch");
        let producer = client.producer("shop").unwrap();
        let big = Bytes::from(vec![b'x'; 3 << 19]);
        let messages: Vec<_> = (0..5_u32)
            .map(|n| {
                Message::new(topic.as_str(), big.clone())
                    .sharding_key("one")
                    .key(n.to_string())
            })
            .collect();
        let sent = producer.send_batch(messages.clone()).await.unwrap();
        let offsets: Vec<_> = sent.iter().map(|sent| sent.queue_offset).collect();
        assert_eq!(offsets, [0, 1, 2, 3, 4]);
        for (n, sent) in sent.iter().enumerate() {
            let message = client.admin().message(&topic, &sent.offset_id).await;
            let message = message.unwrap().unwrap();
            assert_eq!(message.id(), sent.id);
            assert_eq!(message.keys().next(), Some(n.to_string().as_str()));
            assert_eq!(message.body.len(), big.len());
        }
        let kept: Vec<&Message> = messages.iter().collect();
        let (requests, end) = producer.send_together(&kept).await;
        end.unwrap();
        let sizes: Vec<_> = requests.iter().map(SentTogether::len).collect();
        assert_eq!(sizes, [2, 2, 1]);
        let mut offset = 5;
        for request in &requests {
            for (at, one) in request.each().enumerate() {
                let told = (request.id(at), request.queue_offset(at));
                assert_eq!((&*one.id, one.queue_offset), told);
                assert_eq!((told.1, &one.queue), (offset, &request.all().queue));
                let found = client.admin().message(&topic, &one.offset_id).await;
                assert_eq!(found.unwrap().unwrap().id(), one.id);
                offset += 1;
            }
        }
        assert!(producer.send_batch(Vec::new()).await.unwrap().is_empty());
    });
}

#[test]
fn each_message_of_a_batch_may_have_as_many_properties_as_any_other() {
    everywhere(async |client| {
        let topic = fresh("wide-batch");
        let producer = client.producer("shop").unwrap();
        // Those of all together are longer than those of one may be.
        let wide =
            |n: u32| Message::new(topic.as_str(), "x").property(format!("n{n}"), "y".repeat(1_000));
        let sent = producer
            .send_batch((0..100).map(wide).collect())
            .await
            .unwrap();
        assert_eq!(sent.len(), 100);
        for n in [0, 99] {
            let found = client.admin().message(&topic, &sent[n].offset_id).await;
            let found = found.unwrap().unwrap();
            assert_eq!(found.id(), sent[n].id);
            assert_eq!(found.property(&format!("n{n}")).map(str::len), Some(1_000));
        }
        let long = Message::new(topic.as_str(), "x").property("long", "y".repeat(32_767));
        let refused = producer.send_batch(vec![wide(0), long]).await.unwrap_err();
        let told = matches!(refused.error, Error::Message(MessageError::Properties(_)));
        assert!(told && refused.sent.is_empty(), "{refused}");
    });
}

#[test]
fn messages_of_a_batch_are_found_by_tag_key_and_id_as_any_others() {
    everywhere(async |client| {
        let topic = topic(client, 1).await;
        let plain = |body: &str| Message::new(topic.as_str(), body.to_owned());
        let batch = vec![
            plain("0").tag("red"),
            plain("1").tag("blue").property("colour", "red"),
            plain("2"),
            plain("3").tag("red").key("k3"),
            plain("4").tag("red").property("size", "4"),
        ];
        let producer = client.producer("shop").unwrap();
        let sent = producer.send_batch(batch).await.unwrap();
        // The broker passes over what has another tag, by what it knew of it as it came.
        let red = Pull {
            filter: Filter::tags("red"),
            hold: Duration::ZERO,
            ..Pull::default()
        };
        let pulled = client.pull(&sent[0].queue, 0, &red).await.unwrap();
        let bodies = pulled.messages.iter().map(|message| &message.body[..]);
        assert_eq!(bodies.collect::<Vec<_>>(), [b"0", b"3", b"4"]);
        let admin = client.admin();
        for (at, sent) in sent.iter().enumerate() {
            let found = async || admin.message(&topic, &sent.id).await.unwrap();
            let found = until(found, Option::is_some).await.unwrap();
            assert_eq!(found.body, at.to_string());
        }
        let day = Duration::from_secs(86_400);
        let between = (SystemTime::now() - day, SystemTime::now() + day);
        let by_key = async || {
            admin
                .messages_by_key(&topic, "k3", 9, between)
                .await
                .unwrap()
        };
        let found = until(by_key, |found| !found.is_empty()).await;
        assert_eq!((found.len(), &found[0].body[..]), (1, &b"3"[..]));
    });
}

#[test]
fn one_sharding_key_is_one_queue_and_no_key_is_all_of_them() {
    everywhere(async |client| {
        let topic = fresh("ordered");
        let config = TopicConfig::new(TopicName::parse(&topic).unwrap(), 8);
        client.admin().put_topic(&config).await.unwrap();
        let producer = client.producer("shop").unwrap();
        let send = |key: Option<&str>| {
            let mut message = Message::new(topic.as_str(), "x");
            message.sharding_key = key.map(str::to_owned);
            let producer = producer.clone();
            async move { producer.send(message).await.unwrap() }
        };
        let mut queues = std::collections::BTreeSet::new();
        for turn in 0..8 {
            let sent = send(Some("TagA")).await;
            // 2598919, Java's hash of it, modulo 8.
            assert_eq!((sent.queue.id, sent.queue_offset), (7, turn));
        }
        for _ in 0..8 {
            queues.insert(send(None).await.queue.id);
        }
        assert_eq!(queues.len(), 8);
        let third = producer.queues(&topic).await.unwrap()[3].clone();
        let message = Message::new(topic.as_str(), "x");
        assert_eq!(
            producer.send_to(&third, message).await.unwrap().queue,
            third
        );
    });
}

#[test]
fn compressed_bodies_come_back_as_they_were() {
    everywhere(async |client| {
        let topic = fresh("compressed");
        let body = "all work and no play ".repeat(1000);
        for kind in [Compression::Zlib, Compression::Lz4, Compression::Zstd] {
            let options = ProducerOptions {
                compression: Some(kind),
                ..ProducerOptions::default()
            };
            let producer = client.producer_with("shop", options).unwrap();
            let message = Message::new(topic.as_str(), body.clone());
            let sent = producer.send(message).await.unwrap();
            let message = client.admin().message(&topic, &sent.offset_id).await;
            let message = message.unwrap().unwrap();
            assert_eq!(message.body, body);
            assert_eq!(message.sys_flag & 0x701, kind.flag());
        }
    });
}

#[test]
fn a_message_without_an_answer_arrives_too() {
    everywhere(async |client| {
        let topic = fresh("oneway");
        let producer = client.producer("shop").unwrap();
        let sent = producer
            .send(Message::new(topic.as_str(), "x"))
            .await
            .unwrap();
        for _ in 0..10 {
            let message = Message::new(topic.as_str(), "x");
            producer.send_oneway(message).await.unwrap();
        }
        let admin = client.admin();
        let count = async || {
            let mut all = 0;
            for queue in admin.queues(&topic).await.unwrap() {
                all += admin.max_offset(&queue).await.unwrap();
            }
            all
        };
        assert_eq!(until(count, |count| *count == 11).await, 11);
        assert_eq!(sent.queue_offset, 0);
    });
}

#[test]
fn many_tasks_send_at_once() {
    everywhere(async |client| {
        let topic = fresh("many");
        let producer = client.producer("shop").unwrap();
        producer
            .send(Message::new(topic.as_str(), "first"))
            .await
            .unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let (producer, topic) = (producer.clone(), topic.clone());
            tasks.spawn(async move {
                for _ in 0..20 {
                    let message = Message::new(topic.as_str(), vec![b'x'; 1024]);
                    producer.send(message).await.unwrap();
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
        let mut all = 0;
        for queue in client.admin().queues(&topic).await.unwrap() {
            all += client.admin().max_offset(&queue).await.unwrap();
        }
        assert_eq!(all, 64 * 20 + 1);
    });
}

#[test]
fn what_no_broker_would_take_is_not_sent() {
    run(async {
        let client = over_tcp();
        let producer = client.producer("shop").unwrap();
        let topic = fresh("refused");
        let refused = async |message: Message| match producer.send(message).await {
            Err(Error::Message(error)) => error,
            other => panic!("{other:?}"),
        };
        let empty = refused(Message::new(topic.as_str(), "")).await;
        assert_eq!(empty, MessageError::EmptyBody);
        let long = Message::new(topic.as_str(), vec![0; (4 << 20) + 1]);
        assert!(matches!(refused(long).await, MessageError::TooLong(..)));
        let name = producer.send(Message::new("no/topic", "x")).await;
        assert!(matches!(name, Err(Error::Name(_))));
        let batch = vec![
            Message::new(topic.as_str(), "x"),
            Message::new(topic.as_str(), "x").deliver(Deliver::Level(1)),
        ];
        let batch = producer.send_batch(batch).await.unwrap_err();
        assert!(matches!(batch.error, Error::Message(MessageError::Batch)));
        client.shutdown().await;
        let closed = producer.send(Message::new(topic.as_str(), "x")).await;
        assert!(matches!(closed, Err(Error::Closed)));
    });
}

#[test]
fn a_send_with_a_name_is_stored_once() {
    everywhere(async |client| {
        let topic = topic(client, 2).await;
        let producer = client.producer(&fresh("named")).unwrap();
        let named = |body: &str| Message::new(topic.as_str(), body.to_owned()).idempotency_key("k");
        let first = match producer.send(named("x")).await {
            // Apache's brokers would pass over the name: they are not sent the message.
            Err(Error::Unsupported { .. }) if apache() => return,
            first => first.unwrap(),
        };
        let again = producer.send(named("x")).await.unwrap();
        assert_eq!((first.replayed, again.replayed), (false, true));
        assert_eq!((&again.id, &again.queue), (&first.id, &first.queue));
        assert_eq!(again.queue_offset, first.queue_offset);
        let other = producer.send(named("y")).await.unwrap_err();
        let differs = posthouse_client::code::own_response::IDEMPOTENCY_DIFFERS;
        assert_eq!(other.code(), Some(differs), "{other}");
        let batch = producer.send_batch(vec![named("x")]).await.unwrap_err();
        assert!(batch.error.to_string().contains("no idempotency key"));
    });
}
