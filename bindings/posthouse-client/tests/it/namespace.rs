//! Clients of a namespace: they say short names, and see nothing of others.

use std::time::Duration;

use posthouse_client::{
    Client, ConsumeFrom, Message, PullOptions, PushConsumer, PushOptions, Receive, Received, Settle,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::places::{fresh, inside, inside_in, run};

async fn pushed(client: &Client, topic: &str) -> (PushConsumer, UnboundedReceiver<Received>) {
    let (came, coming) = unbounded_channel();
    let options = PushOptions {
        from: ConsumeFrom::First,
        ..PushOptions::default()
    };
    let wanted = [(topic, posthouse_client::Filter::All)];
    let handler = move |message| {
        let _ = came.send(message);
        async { Settle::Ack }
    };
    let consumer = client.push_consumer("g", &wanted, options, handler).await;
    (consumer.unwrap(), coming)
}

fn body(message: &Received) -> &str {
    std::str::from_utf8(&message.body).unwrap()
}

#[test]
fn two_namespaces_share_names_and_no_messages() {
    run(async {
        let topic = fresh("shared");
        let (eu, us, plain) = (inside_in("eu"), inside_in("us"), inside());
        for (client, body) in [(&eu, "from eu"), (&us, "from us"), (&plain, "from nowhere")] {
            let producer = client.producer("p").unwrap();
            let sent = producer
                .send(Message::new(topic.as_str(), body))
                .await
                .unwrap();
            assert_eq!((&*sent.queue.topic, producer.group()), (&*topic, "p"));
        }
        for (client, expected) in [(&eu, "from eu"), (&us, "from us"), (&plain, "from nowhere")] {
            let (consumer, mut coming) = pushed(client, &topic).await;
            let message = coming.recv().await.unwrap();
            assert_eq!(body(&message), expected);
            assert_eq!(
                (&message.topic, &message.queue.topic),
                (&topic.as_str().into(), &topic.as_str().into())
            );
            assert_eq!(consumer.group(), "g");
            let queues = consumer.queues();
            let own = |name: &str| name == topic || name == "%RETRY%g";
            assert!(queues.iter().all(|queue| own(&queue.topic)), "{queues:?}");
            consumer.shutdown().await;
            assert!(coming.try_recv().is_err());
        }
        // What others see of it.
        let admin = plain.admin();
        let full = format!("eu%{topic}");
        assert!(admin.topics().await.unwrap().contains(&full));
        assert!(admin.groups_of(&full).await.unwrap().contains("eu%g"));
        assert_eq!(eu.names().own(&full), Some(topic.clone()));
        assert_eq!(eu.names().own(&topic), None);
        for client in [eu, us, plain] {
            client.shutdown().await;
        }
    });
}

#[test]
fn queues_and_leases_of_a_namespace_have_short_names() {
    run(async {
        let (eu, topic) = (inside_in("eu"), fresh("queues"));
        let producer = eu.producer("p").unwrap();
        let first = producer
            .send(Message::new(topic.as_str(), "1"))
            .await
            .unwrap();
        let again = producer
            .send_to(&first.queue, Message::new(topic.as_str(), "2"))
            .await;
        assert_eq!(again.unwrap().queue, first.queue);
        assert!(
            producer
                .queues(&topic)
                .await
                .unwrap()
                .contains(&first.queue)
        );

        let pulls = eu.pull_consumer("pulls", PullOptions::default()).unwrap();
        pulls
            .assign(std::slice::from_ref(&first.queue))
            .await
            .unwrap();
        pulls.seek_to_begin(&first.queue).await.unwrap();
        let mut found = Vec::new();
        while found.len() < 2 {
            found.extend(pulls.poll(Duration::from_secs(60)).await.unwrap());
        }
        assert_eq!(found.iter().map(body).collect::<Vec<_>>(), ["1", "2"]);
        assert!(
            found
                .iter()
                .all(|one| one.queue == first.queue && *one.topic == *topic)
        );
        assert_eq!(pulls.queues(), std::slice::from_ref(&first.queue));
        pulls.commit().await.unwrap();
        assert_eq!(pulls.committed(&first.queue).await.unwrap(), Some(2));

        let pops = eu.simple_consumer("pops").unwrap();
        let mut acked = 0;
        while acked < 2 {
            for leased in pops.receive(&topic, &Receive::default()).await.unwrap() {
                assert_eq!(leased.message.queue.topic, first.queue.topic);
                pops.ack(&leased.lease).await.unwrap();
                acked += 1;
            }
        }
        eu.shutdown().await;
    });
}
