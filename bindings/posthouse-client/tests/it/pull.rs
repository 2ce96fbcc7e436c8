//! Pull consumers, at real servers.

use std::time::{Duration, SystemTime};

use posthouse_client::{
    Client, ConsumeFrom, Error, Filter, Model, PullConsumer, PullOptions, Queue, Received,
};

use crate::consume::{send, topic};
use crate::places::{everywhere, fresh};

const SOON: Duration = Duration::from_secs(10);

fn first() -> PullOptions {
    PullOptions {
        from: ConsumeFrom::First,
        ..PullOptions::default()
    }
}

/// A queue with twenty messages, and a consumer that commits when it is told to.
async fn of_twenty(client: &Client) -> (Queue, PullConsumer) {
    let (topic, group) = (topic(client, 1).await, fresh("group"));
    send(client, &topic, 0..20).await;
    let queue = client.admin().queues(&topic).await.unwrap()[0].clone();
    let manual = PullOptions {
        auto_commit: false,
        ..first()
    };
    (queue, client.pull_consumer(&group, manual).unwrap())
}

async fn poll(consumer: &PullConsumer, count: usize) -> Vec<Received> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(consumer.poll(SOON).await.unwrap());
    }
    all
}

fn offsets(messages: &[Received]) -> Vec<u64> {
    messages
        .iter()
        .map(|message| message.queue_offset)
        .collect()
}

#[test]
fn an_assigned_queue_is_read_sought_paused_and_committed() {
    everywhere(async |client| {
        let (queue, consumer) = of_twenty(client).await;
        let elsewhere = Queue::new("other", "b", 0);
        assert!(matches!(
            consumer.seek(&elsewhere, 0),
            Err(Error::NotAssigned(_))
        ));
        consumer.assign(std::slice::from_ref(&queue)).await.unwrap();
        assert_eq!(consumer.queues(), std::slice::from_ref(&queue));
        assert_eq!(
            offsets(&poll(&consumer, 20).await),
            (0..20).collect::<Vec<_>>()
        );
        assert_eq!(consumer.committed(&queue).await.unwrap().unwrap_or(0), 0);
        consumer.seek(&queue, 15).unwrap();
        assert_eq!(offsets(&poll(&consumer, 5).await), [15, 16, 17, 18, 19]);
        consumer.seek_to_begin(&queue).await.unwrap();
        let ten = poll(&consumer, 10).await;
        assert_eq!(offsets(&ten)[..10], (0..10).collect::<Vec<_>>()[..]);
        consumer.commit().await.unwrap();
        assert_eq!(
            consumer.committed(&queue).await.unwrap(),
            Some(ten.len() as u64)
        );
        consumer.seek_to_end(&queue).await.unwrap();
        send(client, &queue.topic, 20..21).await;
        assert_eq!(offsets(&poll(&consumer, 1).await), [20]);
        consumer.pause(std::slice::from_ref(&queue));
        send(client, &queue.topic, 21..22).await;
        assert!(
            consumer
                .poll(Duration::from_millis(50))
                .await
                .unwrap()
                .is_empty()
        );
        consumer.resume(std::slice::from_ref(&queue));
        assert_eq!(offsets(&poll(&consumer, 1).await), [21]);
        let future = SystemTime::now() + Duration::from_secs(3600);
        consumer.seek_to_time(&queue, future).await.unwrap();
        assert!(
            consumer
                .poll(Duration::from_millis(50))
                .await
                .unwrap()
                .is_empty()
        );
        consumer.shutdown().await;
        assert!(matches!(consumer.poll(SOON).await, Err(Error::Closed)));
    });
}

#[test]
fn who_takes_messages_one_by_one_may_stop_at_any() {
    everywhere(async |client| {
        let (queue, consumer) = of_twenty(client).await;
        assert_eq!(consumer.position(&queue), None, "it is not its own");
        consumer.assign(std::slice::from_ref(&queue)).await.unwrap();
        assert_eq!(consumer.position(&queue), Some(0));
        let mut got = Vec::new();
        while got.len() < 7 {
            match consumer.poll_one().unwrap() {
                Some(message) => got.push(message),
                // Nothing is here yet.
                None => got.extend(consumer.poll_up_to(1, SOON).await.unwrap()),
            }
        }
        assert_eq!(offsets(&got), (0..7).collect::<Vec<_>>());
        assert_eq!(consumer.position(&queue), Some(7));
        consumer.commit().await.unwrap();
        assert_eq!(consumer.committed(&queue).await.unwrap(), Some(7));
        assert_eq!(offsets(&poll(&consumer, 13).await)[0], 7);
        assert!(consumer.poll_one().unwrap().is_none());
        assert_eq!(consumer.position(&queue), Some(20));
        consumer.seek(&queue, 15).unwrap();
        assert_eq!(consumer.position(&queue), Some(15));
        consumer.shutdown().await;
        assert!(matches!(consumer.poll_one(), Err(Error::Closed)));
    });
}

#[test]
fn a_queue_that_is_never_empty_takes_no_other_ones_turn() {
    everywhere(async |client| {
        let topic = topic(client, 2).await;
        send(client, &topic, 0..300).await;
        for one_by_one in [true, false] {
            let consumer = client.pull_consumer(&fresh("group"), first()).unwrap();
            consumer.subscribe(&topic, &Filter::All).await.unwrap();
            let all_are_here = async {
                while client.metrics().buffered < 300 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(SOON, all_are_here).await.unwrap();
            let mut of_queues = [0; 2];
            for _ in 0..140 {
                let message = match one_by_one {
                    true => consumer.poll_one().unwrap(),
                    false => consumer.poll_up_to(1, SOON).await.unwrap().pop(),
                };
                of_queues[message.unwrap().queue.id as usize] += 1;
            }
            assert!(of_queues.iter().all(|&count| count >= 64), "{of_queues:?}");
            consumer.shutdown().await;
        }
    });
}

#[test]
fn a_subscription_is_filtered_and_committed_by_itself() {
    everywhere(async |client| {
        let (topic, group) = (topic(client, 3).await, fresh("group"));
        send(client, &topic, 0..40).await;
        let consumer = client.pull_consumer(&group, first()).unwrap();
        consumer.subscribe(&topic, &Filter::All).await.unwrap();
        poll(&consumer, 40).await;
        consumer.shutdown().await;
        let admin = client.admin();
        for queue in admin.queues(&topic).await.unwrap() {
            let end = admin.max_offset(&queue).await.unwrap();
            let done = admin.group_offset(&group, &queue).await.unwrap();
            assert_eq!(done, Some(end), "{queue}");
        }
        let consumer = client.pull_consumer(&fresh("group"), first()).unwrap();
        let even = Filter::tags("even");
        consumer.subscribe(&topic, &even).await.unwrap();
        let messages = poll(&consumer, 20).await;
        assert!(messages.iter().all(|message| message.tag() == Some("even")));
        assert_eq!(messages.len(), 20);
        consumer.shutdown().await;
    });
}

#[test]
fn polls_that_were_ended_take_nothing_and_what_is_given_back_is_the_groups() {
    everywhere(async |client| {
        let (topic, group) = (topic(client, 1).await, fresh("group"));
        send(client, &topic, 0..5).await;
        let consumer = client.pull_consumer(&group, first()).unwrap();
        consumer.subscribe(&topic, &Filter::All).await.unwrap();
        let queue = poll(&consumer, 5).await[0].queue.clone();
        let waiting = {
            let consumer = consumer.clone();
            tokio::spawn(async move { consumer.poll(Duration::from_secs(600)).await })
        };
        tokio::task::yield_now().await;
        consumer.end_polls();
        assert!(matches!(waiting.await.unwrap(), Err(Error::Closed)));
        assert!(matches!(consumer.poll(SOON).await, Err(Error::Closed)));
        consumer.seek(&queue, 3).unwrap();
        consumer.shutdown().await;
        let next = client.pull_consumer(&group, first()).unwrap();
        next.subscribe(&topic, &Filter::All).await.unwrap();
        assert_eq!(offsets(&poll(&next, 2).await), [3, 4]);
        next.shutdown().await;
    });
}

#[test]
fn a_broadcasting_member_reads_all_and_counts_by_itself_what_it_has_done() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = folder.path().join("group/offsets.json");
    everywhere(async |client| {
        let (topic, group) = (topic(client, 1).await, fresh("group"));
        send(client, &topic, 0..10).await;
        let queue = client.admin().queues(&topic).await.unwrap()[0].clone();
        let options = || PullOptions {
            model: Model::Broadcasting,
            offsets_file: Some(file.clone()),
            auto_commit: false,
            ..first()
        };
        for done in [3, 10] {
            let consumer = client.pull_consumer(&group, options()).unwrap();
            consumer.subscribe(&topic, &Filter::All).await.unwrap();
            let start = consumer.committed(&queue).await.unwrap();
            let rest: Vec<u64> = (start.unwrap_or(0)..10).collect();
            assert_eq!(offsets(&poll(&consumer, rest.len()).await), rest);
            assert_eq!(consumer.committed(&queue).await.unwrap(), start);
            match done {
                10 => consumer.commit().await.unwrap(),
                offset => consumer.commit_at(&queue, offset).await.unwrap(),
            }
            assert_eq!(consumer.committed(&queue).await.unwrap(), Some(done));
            consumer.shutdown().await;
            let text = std::fs::read_to_string(&file).unwrap();
            let own = format!("\"queueId\":0,\"topic\":\"{topic}\"}}:{done}");
            assert!(text.contains(&own), "{text}");
        }
        // No broker was told.
        let told = client.admin().group_offset(&group, &queue).await.unwrap();
        assert_eq!(told.unwrap_or(0), 0);
        std::fs::remove_file(&file).unwrap();
    });
}
