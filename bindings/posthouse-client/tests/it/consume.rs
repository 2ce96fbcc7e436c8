//! Push consumers, at real servers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use posthouse_client::{
    Client, Config, ConsumeFrom, Error, Filter, Message, Model, Observer, PushConsumer,
    PushOptions, Received, Sent, Settle, Strategy, TopicConfig, TopicName,
};
use remoting::Command;
use remoting::code::request;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::places::{everywhere, fresh, inside, namesrv, over_tcp, run, until};
use crate::retry::name_server;
use crate::toy::serve;

/// Makes a topic with so many queues.
pub async fn topic(client: &Client, queues: u32) -> String {
    let name = fresh("consumed");
    let config = TopicConfig::new(TopicName::parse(&name).unwrap(), queues);
    client.admin().put_topic(&config).await.unwrap();
    name
}

/// Sends messages with the bodies `0`, `1` …
pub async fn send(client: &Client, topic: &str, range: std::ops::Range<u32>) {
    let producer = client.producer("shop").unwrap();
    for n in range {
        let message =
            Message::new(topic, n.to_string()).tag(if n % 2 == 0 { "even" } else { "odd" });
        producer.send(message).await.unwrap();
    }
}

fn first() -> PushOptions {
    PushOptions {
        from: ConsumeFrom::First,
        rebalance_period: Duration::from_secs(1),
        ..PushOptions::default()
    }
}

/// A consumer whose messages come out of a channel.
async fn consume(
    client: &Client,
    group: &str,
    topic: &str,
    filter: Filter,
    options: PushOptions,
) -> (PushConsumer, UnboundedReceiver<Received>) {
    let (sender, messages) = unbounded_channel();
    let handler = move |message: Received| {
        let _ = sender.send(message);
        async { Settle::Ack }
    };
    let wanted = [(topic, filter)];
    let consumer = client.push_consumer(group, &wanted, options, handler).await;
    (consumer.unwrap(), messages)
}

fn number(message: &Received) -> u32 {
    std::str::from_utf8(&message.body).unwrap().parse().unwrap()
}

/// The numbers of the next messages, sorted.
async fn numbers(messages: &mut UnboundedReceiver<Received>, count: usize) -> Vec<u32> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        numbers.push(number(&messages.recv().await.unwrap()));
    }
    numbers.sort_unstable();
    numbers
}

#[test]
fn every_message_comes_once_and_the_next_consumer_goes_on() {
    everywhere(async |client| {
        let (topic, group) = (topic(client, 4).await, fresh("group"));
        send(client, &topic, 0..50).await;
        let (consumer, mut messages) = consume(client, &group, &topic, Filter::All, first()).await;
        let twice = [(topic.as_str(), Filter::All)];
        let twice = client
            .push_consumer(&group, &twice, first(), async |_| Settle::Ack)
            .await;
        assert!(matches!(twice.map(drop), Err(Error::GroupInUse(_))));
        assert_eq!(
            numbers(&mut messages, 50).await,
            (0..50).collect::<Vec<_>>()
        );
        consumer.shutdown().await;
        for queue in client.admin().queues(&topic).await.unwrap() {
            let end = client.admin().max_offset(&queue).await.unwrap();
            let done = client.admin().group_offset(&group, &queue).await.unwrap();
            assert_eq!(done, Some(end), "{queue}");
        }
        send(client, &topic, 50..60).await;
        let (consumer, mut messages) = consume(client, &group, &topic, Filter::All, first()).await;
        assert_eq!(
            numbers(&mut messages, 10).await,
            (50..60).collect::<Vec<_>>()
        );
        // A long poll is answered when there is something.
        send(client, &topic, 60..61).await;
        assert_eq!(numbers(&mut messages, 1).await, [60]);
        consumer.shutdown().await;
    });
}

#[test]
fn a_first_message_that_comes_while_a_group_asks_where_to_begin_is_not_passed_over() {
    run(async {
        let (sender, mut places) = unbounded_channel();
        let id = Arc::new(OnceLock::<String>::new());
        let told = id.clone();
        let was_asked = AtomicBool::new(false);
        let field = |asked: &Command, wanted: &str| {
            let fields = asked.ext.clone().unwrap_or_default();
            let field = fields.into_iter().find(|(name, _)| name == wanted);
            field.map(|(_, value)| value).unwrap_or_default()
        };
        // The queue is empty when its group is asked for, and holds one message ever after: as Apache 5 says it.
        let broker = serve(move |asked| match asked.code {
            request::GET_CONSUMER_LIST_BY_GROUP => {
                let list = format!(r#"{{"consumerIdList":["{}"]}}"#, told.get().unwrap());
                Command::response(0, 0).body(list.into_bytes())
            }
            request::HEART_BEAT => Command::response(0, 0),
            _ if field(asked, "topic") != "t" => Command::response(0, 1),
            request::QUERY_CONSUMER_OFFSET => match was_asked.swap(true, Ordering::AcqRel) {
                true => Command::response(0, 0).with("offset", 0),
                false => Command::response(0, 22).remark("maybe this group consumer boot first"),
            },
            request::GET_MAX_OFFSET => Command::response(0, 0).with("offset", 1),
            request::PULL_MESSAGE => {
                let _ = sender.send(field(asked, "queueOffset"));
                Command::response(0, 1).remark("that is all")
            }
            _ => Command::response(0, 0),
        });
        let servers = name_server(&[&broker]);
        let client = Client::new(Config::new(&servers.address()));
        id.set(client.id().to_owned()).unwrap();
        let options = PushOptions {
            from: ConsumeFrom::Last,
            ..PushOptions::default()
        };
        let (consumer, _messages) = consume(&client, "g", "t", Filter::All, options).await;
        assert_eq!(places.recv().await.unwrap(), "0");
        consumer.shutdown().await;
    });
}

#[test]
fn members_share_the_queues_and_take_over_from_who_leaves() {
    for strategy in [
        Strategy::Average,
        Strategy::AverageByCircle,
        Strategy::ConsistentHash,
    ] {
        run(async {
            let (one, two) = (over_tcp(), over_tcp());
            let (topic, group) = (topic(&one, 8).await, fresh("group"));
            let options = PushOptions {
                strategy,
                ..first()
            };
            let (first, mut ones) =
                consume(&one, &group, &topic, Filter::All, options.clone()).await;
            until(async || first.queues().len(), |count| *count >= 8).await;
            // The broker tells the first member of the second one at once.
            let (second, mut twos) = consume(&two, &group, &topic, Filter::All, options).await;
            let of = |consumer: &PushConsumer| -> Vec<u32> {
                let queues = consumer.queues();
                let own = queues.iter().filter(|queue| *queue.topic == topic);
                own.map(|queue| queue.id).collect()
            };
            let shared = |(a, b): &(Vec<u32>, Vec<u32>)| {
                let mut all = [a.as_slice(), b.as_slice()].concat();
                all.sort_unstable();
                all == (0..8).collect::<Vec<_>>() && !a.is_empty() && !b.is_empty()
            };
            until(async || (of(&first), of(&second)), shared).await;
            send(&one, &topic, 0..64).await;
            let mut all = Vec::new();
            while all.len() < 64 {
                tokio::select! {
                    Some(message) = ones.recv() => all.push(number(&message)),
                    Some(message) = twos.recv() => all.push(number(&message)),
                }
            }
            all.sort_unstable();
            assert_eq!(all, (0..64).collect::<Vec<_>>());
            second.shutdown().await;
            until(async || of(&first).len(), |count| *count == 8).await;
            one.shutdown().await;
            two.shutdown().await;
        });
    }
}

#[test]
fn only_wanted_tags_come() {
    everywhere(async |client| {
        let (topic, group) = (topic(client, 2).await, fresh("group"));
        send(client, &topic, 0..20).await;
        let filter = Filter::tags("odd || other");
        let (consumer, mut messages) = consume(client, &group, &topic, filter, first()).await;
        let odd: Vec<u32> = (0..20).filter(|n| n % 2 == 1).collect();
        assert_eq!(numbers(&mut messages, 10).await, odd);
        consumer.shutdown().await;
        assert!(messages.try_recv().is_err());
    });
}

#[test]
fn a_broadcast_reaches_every_member() {
    run(async {
        let (one, two) = (over_tcp(), over_tcp());
        let (topic, group) = (topic(&one, 3).await, fresh("group"));
        send(&one, &topic, 0..12).await;
        let options = PushOptions {
            model: Model::Broadcasting,
            ..first()
        };
        let (_first, mut ones) = consume(&one, &group, &topic, Filter::All, options.clone()).await;
        let (_second, mut twos) = consume(&two, &group, &topic, Filter::All, options).await;
        let all: Vec<u32> = (0..12).collect();
        assert_eq!(numbers(&mut ones, 12).await, all);
        assert_eq!(numbers(&mut twos, 12).await, all);
        one.shutdown().await;
        two.shutdown().await;
    });
}

#[test]
fn a_broadcasting_member_begins_behind_what_was_there() {
    everywhere(async |client| {
        let (topic, group) = (topic(client, 1).await, fresh("group"));
        send(client, &topic, 0..3).await;
        let options = PushOptions {
            model: Model::Broadcasting,
            from: ConsumeFrom::Last,
            ..first()
        };
        let (member, mut messages) = consume(client, &group, &topic, Filter::All, options).await;
        // Nobody says when it has found the end.
        let mut next = 3;
        let first = loop {
            send(client, &topic, next..next + 1).await;
            next += 1;
            if let Ok(message) = messages.try_recv() {
                break message;
            }
        };
        assert!(number(&first) >= 3, "{first:?}");
        member.shutdown().await;
    });
}

#[test]
fn a_broadcasting_member_goes_on_where_its_file_says() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = folder.path().join("group/offsets.json");
    everywhere(async |client| {
        let (topic, group) = (topic(client, 1).await, fresh("group"));
        let options = || PushOptions {
            model: Model::Broadcasting,
            offsets_file: Some(file.clone()),
            ..first()
        };
        for round in [0..3, 3..5] {
            send(client, &topic, round.clone()).await;
            let consumed = consume(client, &group, &topic, Filter::All, options());
            let (consumer, mut messages) = consumed.await;
            let expected: Vec<u32> = round.collect();
            assert_eq!(numbers(&mut messages, expected.len()).await, expected);
            consumer.shutdown().await;
        }
        // As Java's clients write it.
        let text = std::fs::read_to_string(&file).unwrap();
        let own = format!("\"queueId\":0,\"topic\":\"{topic}\"}}:5");
        assert!(
            text.starts_with("{\"offsetTable\":{{\"brokerName\":"),
            "{text}"
        );
        assert!(text.contains(&own), "{text}");
        std::fs::write(&file, "nonsense").unwrap();
        let wanted = [(topic.as_str(), Filter::All)];
        let refused = client
            .push_consumer(&group, &wanted, options(), async |_| Settle::Ack)
            .await;
        assert!(matches!(refused.map(drop), Err(Error::OffsetsFile { .. })));
        std::fs::remove_file(&file).unwrap();
    });
}

#[test]
fn a_message_whose_handler_panics_comes_again() {
    run(async {
        let client = inside();
        let (topic, group) = (topic(&client, 1).await, fresh("group"));
        let (sender, mut attempts) = unbounded_channel();
        let handler = move |message: Received| {
            let attempt = message.reconsume_times;
            let _ = sender.send(attempt);
            async move {
                assert_ne!(attempt, 0, "as it was told to");
                Settle::Ack
            }
        };
        let options = PushOptions {
            orderly: true,
            suspend: Duration::from_millis(10),
            ..first()
        };
        let wanted = [(topic.as_str(), Filter::All)];
        let consumer = client
            .push_consumer(&group, &wanted, options, handler)
            .await
            .unwrap();
        send(&client, &topic, 0..1).await;
        assert_eq!(attempts.recv().await, Some(0));
        assert_eq!(attempts.recv().await, Some(1));
        consumer.shutdown().await;
        client.shutdown().await;
    });
}

#[test]
fn an_orderly_consumer_keeps_the_order_whatever_fails() {
    everywhere(async |client| {
        let (topic, group) = (topic(client, 3).await, fresh("group"));
        send(client, &topic, 0..60).await;
        let (sender, mut messages) = unbounded_channel();
        let failed = Mutex::new(BTreeMap::<u64, u32>::new());
        let handler = move |message: Received| {
            let mut failed = failed.lock().unwrap();
            let times = failed.entry(message.log_offset).or_default();
            *times += 1;
            // Every seventh message fails the first time.
            let fails = number(&message).is_multiple_of(7) && *times == 1;
            if !fails {
                assert_eq!(message.reconsume_times, *times as i32 - 1);
                let _ = sender.send(message);
            }
            async move {
                if fails {
                    Settle::Retry(None)
                } else {
                    Settle::Ack
                }
            }
        };
        let options = PushOptions {
            orderly: true,
            suspend: Duration::from_millis(10),
            ..first()
        };
        let wanted = [(topic.as_str(), Filter::All)];
        let consumer = client
            .push_consumer(&group, &wanted, options, handler)
            .await
            .unwrap();
        let mut last = BTreeMap::new();
        for _ in 0..60 {
            let message = messages.recv().await.unwrap();
            let before = last.insert(message.queue.id, message.queue_offset);
            assert_eq!(message.queue_offset, before.map_or(0, |before| before + 1));
        }
        consumer.shutdown().await;
    });
}

#[test]
fn an_orderly_consumer_that_waits_to_try_again_can_leave() {
    everywhere(async |client| {
        let (topic, group) = (topic(client, 1).await, fresh("group"));
        send(client, &topic, 0..1).await;
        let options = PushOptions {
            orderly: true,
            grace: Duration::from_secs(3600),
            ..first()
        };
        let (sender, mut tried) = unbounded_channel();
        let handler = move |message: Received| {
            let _ = sender.send(message);
            async { Settle::RetryAfter(Duration::from_secs(3600)) }
        };
        let wanted = [(topic.as_str(), Filter::All)];
        let consumer = client
            .push_consumer(&group, &wanted, options, handler)
            .await
            .unwrap();
        tried.recv().await.unwrap();
        let left = tokio::time::timeout(Duration::from_secs(30), consumer.shutdown()).await;
        left.expect("it does not wait for the hour to be over");
        let options = PushOptions {
            orderly: true,
            ..first()
        };
        let (next, mut messages) = consume(client, &group, &topic, Filter::All, options).await;
        assert_eq!(numbers(&mut messages, 1).await, [0]);
        next.shutdown().await;
    });
}

#[test]
fn an_orderly_queue_has_one_owner() {
    run(async {
        let (one, two) = (over_tcp(), over_tcp());
        let (topic, group) = (topic(&one, 1).await, fresh("group"));
        let options = PushOptions {
            orderly: true,
            ..first()
        };
        let (first, _ones) = consume(&one, &group, &topic, Filter::All, options.clone()).await;
        let of = |consumer: &PushConsumer| {
            let queues = consumer.queues();
            queues.iter().filter(|queue| *queue.topic == topic).count()
        };
        until(async || of(&first), |count| *count == 1).await;
        let (second, mut twos) = consume(&two, &group, &topic, Filter::All, options).await;
        // Whichever of the two the strategy likes, it is one of them.
        until(async || of(&first) + of(&second), |count| *count == 1).await;
        first.shutdown().await;
        until(async || of(&second), |count| *count == 1).await;
        send(&one, &topic, 0..1).await;
        assert_eq!(numbers(&mut twos, 1).await, [0]);
        one.shutdown().await;
        two.shutdown().await;
    });
}

#[test]
fn a_message_sent_back_comes_again_and_a_rejected_one_is_dead() {
    run(async {
        let client = inside();
        let (topic, group) = (topic(&client, 1).await, fresh("group"));
        let (sender, mut messages) = unbounded_channel();
        let handler = move |message: Received| {
            let settle = match (number(&message), message.reconsume_times) {
                // After the first delay level, a second.
                (0, 0) => Settle::Retry(Some(1)),
                (1, _) => Settle::Reject,
                _ => Settle::Ack,
            };
            let _ = sender.send(message);
            async move { settle }
        };
        let wanted = [(topic.as_str(), Filter::All)];
        let consumer = client
            .push_consumer(&group, &wanted, first(), handler)
            .await
            .unwrap();
        send(&client, &topic, 0..2).await;
        let mut came = Vec::new();
        for _ in 0..3 {
            let message = messages.recv().await.unwrap();
            assert_eq!(*message.topic, topic);
            came.push((number(&message), message.reconsume_times));
        }
        came.sort_unstable();
        assert_eq!(came, [(0, 0), (0, 1), (1, 0)]);
        let dead = format!("%DLQ%{group}");
        let admin = client.admin();
        let route = async || admin.queues(&dead).await;
        let queue = until(route, Result::is_ok).await.unwrap()[0].clone();
        until(
            async || admin.max_offset(&queue).await.unwrap(),
            |end| *end == 1,
        )
        .await;
        consumer.shutdown().await;
        client.shutdown().await;
    });
}

#[derive(Default)]
struct Watches(Mutex<Vec<String>>);

impl Watches {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }
}

impl Observer for Watches {
    fn sending(&self, message: &mut Message) {
        let context = ("traceparent".to_owned(), "00-1-1-01".to_owned());
        message.properties.push(context);
        self.note("sending".to_owned());
    }

    fn sent(&self, _: &str, result: Result<&Sent, &Error>, _: Duration) {
        self.note(format!("sent {}", result.is_ok()));
    }

    fn consuming(&self, _: &str, message: &Received) {
        let context = message.property("traceparent").unwrap();
        self.note(format!("consuming {context}"));
    }

    fn consumed(&self, _: &str, _: &Received, settle: Settle, _: Duration) {
        self.note(format!("consumed {settle:?}"));
    }
}

#[test]
fn who_watches_is_told_and_adds_its_own() {
    run(async {
        let watches = Arc::new(Watches::default());
        let config = Config::new(namesrv()).observer(watches.clone());
        let client = Client::new(config);
        let (topic, group) = (topic(&client, 1).await, fresh("group"));
        send(&client, &topic, 0..1).await;
        let (consumer, mut messages) = consume(&client, &group, &topic, Filter::All, first()).await;
        messages.recv().await.unwrap();
        consumer.shutdown().await;
        let producer = client.producer("shop").unwrap();
        producer
            .send(Message::new("no-such/topic", "x"))
            .await
            .unwrap_err();
        let two = vec![
            Message::new(topic.as_str(), "x"),
            Message::new(topic.as_str(), "y"),
        ];
        producer.send_batch(two).await.unwrap();
        let told = watches.0.lock().unwrap().join(", ");
        let expected =
            "sending, sent true, consuming 00-1-1-01, consumed Ack, sending, sending, sent true";
        assert_eq!(told, expected);
        client.shutdown().await;
    });
}
