//! Queues read as nobody's consumer, at real servers.

use std::time::Duration;

use posthouse_client::{Filter, Message, Pull};

use crate::consume::{send, topic};
use crate::places::{everywhere, until};

#[test]
fn a_queue_is_read_from_any_offset_and_a_waiting_pull_gets_what_arrives() {
    everywhere(async |client| {
        let topic = topic(client, 1).await;
        send(client, &topic, 0..10).await;
        let queue = client.admin().queues(&topic).await.unwrap()[0].clone();
        let end = async || client.admin().max_offset(&queue).await.unwrap();
        until(end, |end| *end == 10).await;
        let three = Pull {
            max: 3,
            ..Pull::default()
        };
        let pulled = client.pull(&queue, 4, &three).await.unwrap();
        let offsets: Vec<u64> = pulled.messages.iter().map(|m| m.queue_offset).collect();
        assert_eq!(offsets, [4, 5, 6]);
        assert_eq!((pulled.next, pulled.start, pulled.end), (7, 0, 10));
        assert!(!pulled.moved);
        // A wrong offset is not silently another one.
        let wrong = client.pull(&queue, 99, &three).await.unwrap();
        assert!(wrong.messages.is_empty() && wrong.moved, "{wrong:?}");
        assert_eq!(wrong.next, 10);
        // At the end, it does not wait unless it is told to.
        let none = client.pull(&queue, 10, &three).await.unwrap();
        assert!(none.messages.is_empty());
        assert_eq!(none.next, 10);
        let waits = Pull {
            hold: Duration::from_secs(20),
            ..three
        };
        let (pulled, ()) = tokio::join!(
            client.pull(&queue, 10, &waits),
            send(client, &topic, 10..11)
        );
        assert_eq!(pulled.unwrap().messages[0].body, "10");
        // No group was made for it, and nobody's offset moved.
        let groups = client.admin().groups_of(&topic).await.unwrap();
        assert!(groups.is_empty(), "{groups:?}");
    });
}

#[test]
fn only_what_is_wanted_is_read() {
    everywhere(async |client| {
        let topic = topic(client, 1).await;
        let producer = client.producer("shop").unwrap();
        for n in 0..10_u32 {
            let message = Message::new(topic.as_str(), n.to_string())
                .tag(if n % 2 == 0 { "even" } else { "odd" })
                .property("n", n.to_string());
            producer.send(message).await.unwrap();
        }
        let queue = client.admin().queues(&topic).await.unwrap()[0].clone();
        for (filter, wanted) in [
            (Filter::tags("odd"), vec!["1", "3", "5", "7", "9"]),
            (Filter::sql("n > 6"), vec!["7", "8", "9"]),
        ] {
            client.admin().check_filter(&topic, &filter).await.unwrap();
            let pull = Pull {
                filter,
                hold: Duration::from_secs(5),
                ..Pull::default()
            };
            let (mut bodies, mut offset) = (Vec::new(), 0);
            while offset < 10 {
                let pulled = client.pull(&queue, offset, &pull).await.unwrap();
                assert!(pulled.next > offset);
                bodies.extend(
                    pulled
                        .messages
                        .into_iter()
                        .map(|message| message.body.clone()),
                );
                offset = pulled.next;
            }
            assert_eq!(bodies, wanted);
        }
        let wrong = Filter::sql("n >");
        let refused = client.admin().check_filter(&topic, &wrong).await;
        assert_eq!(refused.unwrap_err().code(), Some(23));
    });
}
