//! What tools ask of running consumers, through real servers.

use std::time::{Duration, SystemTime};

use posthouse_client::{
    Client, Config, ConsumeFrom, DirectOutcome, Filter, Message, Pull, PushOptions, Received,
    ResetTo, Settle,
};
use remoting::Command;
use tokio::sync::mpsc::unbounded_channel;

use crate::consume::{send, topic};
use crate::places::{everywhere, fresh, run, until};
use crate::retry::name_server;
use crate::toy::serve;

#[test]
fn a_running_consumer_is_sent_back_shown_and_handed_one_message() {
    everywhere(async |client| {
        let (topic, group) = (topic(client, 1).await, fresh("group"));
        send(client, &topic, 0..3).await;
        let (sender, mut came) = unbounded_channel();
        let handler = move |message: Received| {
            let text = String::from_utf8(message.body.to_vec()).unwrap();
            assert_ne!(text, "panic", "as it was told to");
            let _ = sender.send(text);
            async { Settle::Ack }
        };
        let options = PushOptions {
            from: ConsumeFrom::First,
            ..PushOptions::default()
        };
        let wanted = [(topic.as_str(), Filter::All)];
        let consumer = client
            .push_consumer(&group, &wanted, options, handler)
            .await
            .unwrap();
        let three = async |came: &mut tokio::sync::mpsc::UnboundedReceiver<String>| {
            let mut all = Vec::new();
            while all.len() < 3 {
                all.push(came.recv().await.unwrap());
            }
            all.sort();
            all
        };
        assert_eq!(three(&mut came).await, ["0", "1", "2"]);

        let admin = client.admin();
        let queue = admin.queues(&topic).await.unwrap()[0].clone();
        let done = async || admin.running(&group, client.id()).await.unwrap();
        let info = until(done, |info| {
            let held = info
                .mq_table
                .0
                .iter()
                .find(|(queue, _)| queue.topic == topic);
            held.is_some_and(|(_, held)| held.commit_offset == 3)
        })
        .await;
        assert_eq!(info.properties["PROP_CONSUMEORDERLY"], "false");
        assert!(info.subscription_set.iter().any(|one| one.topic == topic));

        // Back to the start: everything comes again.
        let hour = SystemTime::now() - Duration::from_secs(3600);
        let to = admin
            .reset(&group, &topic, &ResetTo::Time(hour))
            .await
            .unwrap();
        assert_eq!(to, [(queue.clone(), 0)]);
        assert_eq!(three(&mut came).await, ["0", "1", "2"]);
        let one = ResetTo::Offset(queue.clone(), 2);
        admin.reset(&group, &topic, &one).await.unwrap();
        assert_eq!(came.recv().await.unwrap(), "2");

        // One message, past all queues; a handler that panics is told too.
        let producer = client.producer("shop").unwrap();
        let other = crate::consume::topic(client, 1).await;
        for (body, outcome) in [
            ("by hand", DirectOutcome::Success),
            ("panic", DirectOutcome::ThrowException),
        ] {
            let sent = producer
                .send(Message::new(other.as_str(), body))
                .await
                .unwrap();
            let hold = Duration::from_secs(5);
            let pull = Pull {
                hold,
                ..Pull::default()
            };
            let pulled = client
                .pull(&sent.queue, sent.queue_offset, &pull)
                .await
                .unwrap();
            let message = &pulled.messages[0];
            let result = admin.consume_directly(&group, client.id(), message).await;
            assert_eq!(result.unwrap().consume_result, outcome);
        }
        assert_eq!(came.recv().await.unwrap(), "by hand");
        consumer.shutdown().await;
    });
}

#[test]
fn offsets_are_set_for_a_broker_that_knows_none_of_the_group_and_for_no_other_refusal() {
    // As Apache 4.9.7 says it, and what else it says with the same code.
    let (reset, set) = (222, 15);
    for (remark, moves) in [
        ("THe consumer group <g> not exist", true),
        ("Can not reset offset in slave broker", false),
        (
            "[reset-offset] reset offset failed, no topic in this broker. topic=t",
            false,
        ),
        ("THe consumer group <g2> not exist", false),
    ] {
        run(async {
            let broker = serve(move |asked| match asked.code == reset {
                true => Command::response(0, 1).remark(remark),
                false => Command::response(0, 0).with("offset", 5),
            });
            let servers = name_server(&[&broker]);
            let client = Client::new(Config::new(&servers.address()));
            let answer = client.admin().reset("g", "t", &ResetTo::End).await;
            match moves {
                true => assert_eq!(answer.unwrap()[0].1, 5),
                false => assert_eq!(answer.unwrap_err().remark(), Some(remark)),
            }
            assert_eq!(broker.asked(set), usize::from(moves), "{remark}");
        });
    }
}
