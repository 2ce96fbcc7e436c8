//! Delayed messages called back, at real servers.

use std::time::Duration;

use posthouse_client::{Client, Deliver, Error, Message};

use crate::consume::topic;
use crate::places::{apache, everywhere, fresh, inside, over_tcp, run, until};

#[test]
fn a_delayed_message_is_called_back_and_the_answer_says_whether_in_time() {
    for (client, says) in [(over_tcp(), !apache()), (inside(), true)] {
        run(recall(client, says));
    }
}

/// `says`: the broker says whether a recall was in time.
async fn recall(client: Client, says: bool) {
    let topic = topic(&client, 1).await;
    let producer = client.producer("shop").unwrap();
    let later = |ms| {
        let message = Message::new(topic.as_str(), "later");
        message.deliver(Deliver::After(Duration::from_millis(ms)))
    };
    let waits = producer.send(later(60_000)).await.unwrap();
    let handle = waits.recall_handle.unwrap();
    let recalled = producer.recall(&handle).await.unwrap();
    assert_eq!(recalled.id, waits.id);
    assert_eq!(recalled.recalled, says.then_some(true));
    if !says {
        return client.shutdown().await;
    }
    let twice = producer.recall(&handle).await.unwrap();
    assert_eq!(twice.recalled, Some(true), "as before");

    let soon = producer.send(later(50)).await.unwrap();
    let queue = client.admin().queues(&topic).await.unwrap()[0].clone();
    let end = async || client.admin().max_offset(&queue).await.unwrap();
    until(end, |end| *end == 1).await;
    let late = producer.recall(&soon.recall_handle.unwrap()).await;
    match late {
        Ok(late) => assert_eq!(late.recalled, Some(false)),
        Err(error) => assert_eq!(error.code(), Some(604), "{error}"),
    }
    client.shutdown().await;
}

#[test]
fn what_is_no_recall_handle_goes_nowhere() {
    everywhere(async |client| {
        let producer = client.producer(&fresh("shop")).unwrap();
        for handle in ["", "nonsense", "djIgdCBiIDEgaWQ=", "djEgdA=="] {
            let refused = producer.recall(handle).await;
            assert!(matches!(refused, Err(Error::Handle(_))), "{refused:?}");
        }
    });
}
