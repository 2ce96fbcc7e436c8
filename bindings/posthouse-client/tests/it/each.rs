//! Many messages at once, each on its own; and many that are handed over and settled at once.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use posthouse_client::{
    Client, Config, ConsumeFrom, Each, Ends, Error, Filter, Handed, Message, ProducerOptions,
    PushOptions, Sent, Settle, Takes, settle_all,
};
use tokio::sync::Notify;

use crate::consume::topic;
use crate::places::{apache, everywhere, fresh, over_tcp, run, run_on_threads};
use crate::retry::{accepts, name_server, refuses};

/// What became of messages, by their places.
#[derive(Default)]
pub struct Told {
    all: Mutex<Vec<(usize, Result<Sent, Error>)>>,
    some: Notify,
}

impl Ends for Told {
    fn ended(&self, ended: Vec<(usize, Result<Sent, Error>)>) {
        self.all.lock().unwrap().extend(ended);
        self.some.notify_one();
    }
}

impl Told {
    pub async fn wait_for(&self, count: usize) -> Vec<Result<Sent, Error>> {
        while self.all.lock().unwrap().len() < count {
            self.some.notified().await;
        }
        let mut all = std::mem::take(&mut *self.all.lock().unwrap());
        all.sort_by_key(|(at, _)| *at);
        assert!(
            all.iter().map(|(at, _)| *at).eq(0..count),
            "each is told once"
        );
        all.into_iter().map(|(_, result)| result).collect()
    }
}

pub fn each(message: Message) -> Each {
    Each {
        message,
        queue: None,
    }
}

#[test]
fn many_are_stored_once_each_and_a_key_s_in_their_order() {
    everywhere(async |client| {
        let topic: Arc<str> = topic(client, 4).await.into();
        let producer = client.producer("shop").unwrap();
        let told = Arc::new(Told::default());
        let message = |n: usize| {
            let message = Message::new(topic.clone(), n.to_string());
            match n % 3 {
                0 => each(message.sharding_key("one")),
                // Nothing of it is sent; the others are.
                1 if n == 100 => each(Message::new(topic.clone(), "")),
                _ => each(message),
            }
        };
        let count = 1000;
        producer.send_each((0..count).map(message).collect(), None, told.clone());
        let results = told.wait_for(count).await;
        let mut places = BTreeMap::new();
        let mut last = None;
        for (n, result) in results.into_iter().enumerate() {
            if n == 100 {
                assert!(matches!(result, Err(Error::Message(_))));
                continue;
            }
            let sent = result.unwrap();
            let place = (sent.queue.id, sent.queue_offset);
            assert!(places.insert(place, n).is_none());
            if n % 3 == 0 {
                assert!(last < Some(place), "{n}");
                last = Some(place);
            }
            if n % 50 == 0 {
                let found = client.admin().message(&topic, &sent.offset_id).await;
                assert_eq!(found.unwrap().unwrap().body, n.to_string());
            }
        }
        assert_eq!(places.len(), count - 1);
    });
}

#[test]
fn bursts_that_wait_for_a_connection_leave_in_their_order() {
    run_on_threads(async {
        let maker = over_tcp();
        let topic: Arc<str> = topic(&maker, 1).await.into();
        // Nobody has connected it to the broker yet.
        let client = over_tcp();
        let producer = client.producer("shop").unwrap();
        let bursts: Vec<_> = (0..40).map(|_| Arc::new(Told::default())).collect();
        for told in &bursts {
            let message = |_| each(Message::new(topic.clone(), "x").sharding_key("one"));
            producer.send_each((0..10).map(message).collect(), None, told.clone());
        }
        let mut offsets = Vec::new();
        for told in &bursts {
            let sent = told.wait_for(10).await.into_iter();
            offsets.extend(sent.map(|sent| sent.unwrap().queue_offset));
        }
        assert_eq!(offsets, (0..400).collect::<Vec<_>>());
        client.shutdown().await;
        maker.shutdown().await;
    });
}

#[test]
fn sends_with_a_name_keep_their_place_among_others() {
    if apache() {
        return; // it keeps no names
    }
    everywhere(async |client| {
        let topic: Arc<str> = topic(client, 4).await.into();
        let producer = client.producer("shop").unwrap();
        let message = |n: usize| {
            let message = Message::new(topic.clone(), n.to_string()).sharding_key("one");
            match n % 2 {
                0 => message.idempotency_key(format!("{topic} {n}")),
                _ => message,
            }
        };
        // Of the first ones nobody knows yet whether the broker keeps names.
        for round in 0..2 {
            let told = Arc::new(Told::default());
            let burst = (0..200).map(|n| each(message(n))).collect();
            producer.send_each(burst, None, told.clone());
            let mut last = None;
            for (n, sent) in told.wait_for(200).await.into_iter().enumerate() {
                let sent = sent.unwrap();
                let again = n % 2 == 0 && round == 1;
                assert_eq!(sent.replayed, again, "{n}");
                if !again {
                    assert!(last < Some(sent.queue_offset), "{n}");
                    last = Some(sent.queue_offset);
                }
            }
        }
    });
}

#[test]
fn what_one_broker_refuses_goes_to_another() {
    run(async {
        let (bad, good) = (refuses(1), accepts());
        let servers = name_server(&[&bad, &good]);
        let client = Client::new(Config::new(&servers.address()));
        let producer = client.producer("shop").unwrap();
        let told = Arc::new(Told::default());
        let topic: Arc<str> = fresh("t").into();
        let message = |_| each(Message::new(topic.clone(), "x"));
        producer.send_each((0..50).map(message).collect(), None, told.clone());
        for result in told.wait_for(50).await {
            assert_eq!(&*result.unwrap().queue.broker, "b1");
        }
        assert_eq!(good.asked(310), 50);
        client.shutdown().await;
    });
}

#[test]
fn many_end_in_their_own_time_though_the_name_server_is_silent() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    run(async {
        let mut config = Config::new(&silent.local_addr().unwrap().to_string());
        config.timeout = Duration::from_secs(3600);
        let options = ProducerOptions {
            timeout: Duration::from_secs(3600),
            ..ProducerOptions::default()
        };
        let client = Client::new(config);
        let producer = client.producer_with("shop", options).unwrap();
        let (long, short) = (Arc::new(Told::default()), Arc::new(Told::default()));
        let one = || vec![each(Message::new("anywhere", "x"))];
        producer.send_each(one(), None, long.clone());
        let limit = Some(Duration::from_millis(100));
        producer.send_each(one(), limit, short.clone());
        let ended = short.wait_for(1).await.remove(0);
        assert!(ended.unwrap_err().is_timeout());
        assert!(long.all.lock().unwrap().is_empty(), "it has its own time");
    });
}

/// What was handed over and is not settled.
#[derive(Default)]
struct Taken {
    all: Mutex<Vec<Handed>>,
    /// How many came at once, at most.
    most: Mutex<usize>,
    some: Notify,
}

impl Takes for Taken {
    fn take(&self, messages: Vec<Handed>) {
        let mut most = self.most.lock().unwrap();
        *most = (*most).max(messages.len());
        self.all.lock().unwrap().extend(messages);
        self.some.notify_one();
    }
}

impl Taken {
    async fn next(&self) -> Vec<Handed> {
        loop {
            let taken = std::mem::take(&mut *self.all.lock().unwrap());
            if !taken.is_empty() {
                return taken;
            }
            self.some.notified().await;
        }
    }
}

#[test]
fn many_are_handed_over_at_once_and_what_is_not_done_comes_again() {
    everywhere(async |client| {
        let topic: Arc<str> = topic(client, 1).await.into();
        let producer = client.producer("shop").unwrap();
        let told = Arc::new(Told::default());
        let message = |n: usize| each(Message::new(topic.clone(), n.to_string()));
        producer.send_each((0..200).map(message).collect(), None, told.clone());
        told.wait_for(200).await;
        let options = PushOptions {
            from: ConsumeFrom::First,
            concurrency: 100,
            ..PushOptions::default()
        };
        let (taken, group) = (Arc::new(Taken::default()), fresh("takes"));
        let wanted = [(&*topic, Filter::All)];
        let consumer = client
            .push_consumer_taking(&group, &wanted, options, taken.clone())
            .await
            .unwrap();
        let mut seen = BTreeMap::<String, Vec<i32>>::new();
        while seen.len() < 200 || seen["7"].len() < 2 {
            let settled = taken.next().await.into_iter().map(|one| {
                let body = String::from_utf8(one.message.body.to_vec()).unwrap();
                let times = one.message.reconsume_times;
                let settle = match body == "7" && times == 0 {
                    true => Settle::Retry(Some(1)),
                    false => Settle::Ack,
                };
                seen.entry(body).or_default().push(times);
                (one.open, settle)
            });
            settle_all(settled.collect::<Vec<_>>());
        }
        assert!(*taken.most.lock().unwrap() > 1, "they come one by one");
        let twice = seen.iter().filter(|(_, times)| times.len() > 1);
        assert!(twice.map(|(body, _)| body).eq(["7"]));
        assert_eq!(seen["7"], [0, 1]);
        consumer.shutdown().await;
        // All of it is done: the group goes on behind it.
        let queue = producer.queues(&topic).await.unwrap().remove(0);
        let offset = client.admin().group_offset(&group, &queue).await.unwrap();
        assert_eq!(offset, Some(200));
    });
}

#[test]
fn the_end_waits_for_nothing_that_nobody_will_settle() {
    everywhere(async |client| gives_up(client, 20, 4).await);
}

#[test]
fn the_end_waits_for_no_place_that_nobody_will_give_back() {
    everywhere(async |client| gives_up(client, 10, 0).await);
}

/// A consumer that may have so many messages at once is handed ten, is done with so many, gives the others up, and ends.
async fn gives_up(client: &Client, concurrency: usize, done: usize) {
    let topic: Arc<str> = topic(client, 1).await.into();
    let producer = client.producer("shop").unwrap();
    let told = Arc::new(Told::default());
    let message = |n: usize| each(Message::new(topic.clone(), n.to_string()));
    producer.send_each((0..10).map(message).collect(), None, told.clone());
    told.wait_for(10).await;
    let options = PushOptions {
        from: ConsumeFrom::First,
        concurrency,
        grace: Duration::from_secs(3600),
        ..PushOptions::default()
    };
    let (taken, group) = (Arc::new(Taken::default()), fresh("gives-up"));
    let wanted = [(&*topic, Filter::All)];
    let consumer = client
        .push_consumer_taking(&group, &wanted, options, taken.clone())
        .await
        .unwrap();
    let mut all = Vec::new();
    while all.len() < 10 {
        all.extend(taken.next().await);
    }
    all.sort_by_key(|one| one.message.queue_offset);
    let given_up = all.split_off(done);
    settle_all(all.into_iter().map(|one| (one.open, Settle::Ack)));
    drop(given_up);
    let ended = tokio::time::timeout(Duration::from_secs(60), consumer.shutdown()).await;
    assert!(ended.is_ok(), "it waits for an hour");
    // What was not settled comes to the next member.
    let queue = producer.queues(&topic).await.unwrap().remove(0);
    let offset = client.admin().group_offset(&group, &queue).await.unwrap();
    assert_eq!(offset.unwrap_or(0), done as u64);
}
