//! Topics, groups and offsets, at real servers.

use std::time::{Duration, SystemTime};

use posthouse_client::{
    Error, Filter, GroupConfig, GroupName, Message, PushOptions, Settle, TopicConfig, TopicName,
};

use crate::places::{everywhere, fresh, until};

#[test]
fn a_topic_is_made_changed_and_deleted() {
    everywhere(async |client| {
        let admin = client.admin();
        let name = fresh("topic");
        let mut topic = TopicConfig::new(TopicName::parse(&name).unwrap(), 3);
        topic
            .attributes
            .insert("message.type".into(), "FIFO".into());
        admin.put_topic(&topic).await.unwrap();
        assert_eq!(admin.topic(&name).await.unwrap(), topic);
        assert_eq!(admin.queues(&name).await.unwrap().len(), 3);
        assert!(admin.topics().await.unwrap().contains(&name));
        topic.read_queues = 5;
        topic.write_queues = 5;
        admin.put_topic(&topic).await.unwrap();
        assert_eq!(admin.queues(&name).await.unwrap().len(), 5);
        admin.delete_topic(&name).await.unwrap();
        assert!(matches!(admin.topic(&name).await, Err(Error::NoRoute(_))));
        let system = TopicConfig::new(TopicName::parse("SCHEDULE_TOPIC_XXXX").unwrap(), 1);
        let refused = admin.put_topic(&system).await.unwrap_err();
        assert_eq!(refused.code(), Some(29));
        assert!(refused.remark().unwrap().contains("system topic"));
    });
}

#[test]
fn a_group_is_made_changed_and_deleted() {
    everywhere(async |client| {
        let admin = client.admin();
        let name = fresh("group");
        let mut group = GroupConfig::new(GroupName::parse(&name).unwrap());
        group.retry_max_times = 3;
        admin.put_group(&group).await.unwrap();
        assert_eq!(admin.group(&name).await.unwrap(), Some(group.clone()));
        // Filters that are stored with the group come back too.
        let stored = r#"[{"expression":"a","expressionType":"TAG","topic":"t","version":7}]"#;
        group.subscriptions = Some(stored.to_owned());
        admin.put_group(&group).await.unwrap();
        assert_eq!(admin.group(&name).await.unwrap(), Some(group.clone()));
        assert!(admin.groups().await.unwrap().contains(&group));
        admin.delete_group(&name, true).await.unwrap();
    });
}

#[test]
fn offsets_are_those_of_the_queue_and_of_the_group() {
    everywhere(async |client| {
        let admin = client.admin();
        let (topic, group) = (fresh("offsets"), fresh("group"));
        let config = TopicConfig::new(TopicName::parse(&topic).unwrap(), 1);
        admin.put_topic(&config).await.unwrap();
        let config = GroupConfig::new(GroupName::parse(&group).unwrap());
        admin.put_group(&config).await.unwrap();
        let queue = admin.queues(&topic).await.unwrap()[0].clone();
        assert_eq!(admin.max_offset(&queue).await.unwrap(), 0);
        let producer = client.producer("shop").unwrap();
        for _ in 0..3 {
            producer
                .send(Message::new(topic.as_str(), "x"))
                .await
                .unwrap();
        }
        // Apache's broker counts a message a little later than it confirms it.
        let end = async || admin.max_offset(&queue).await.unwrap();
        assert_eq!(until(end, |end| *end == 3).await, 3);
        assert_eq!(admin.min_offset(&queue).await.unwrap(), 0);
        let hour = Duration::from_secs(3600);
        let now = SystemTime::now();
        assert_eq!(admin.offset_at(&queue, now - hour).await.unwrap(), 0);
        assert_eq!(admin.offset_at(&queue, now + hour).await.unwrap(), 3);
        admin.set_group_offset(&group, &queue, 2).await.unwrap();
        assert_eq!(admin.group_offset(&group, &queue).await.unwrap(), Some(2));
        assert_eq!(
            admin.group_members(&group, &topic).await.unwrap(),
            Vec::<String>::new()
        );
    });
}

#[test]
fn stats_say_how_far_queues_and_groups_are() {
    everywhere(async |client| {
        let admin = client.admin();
        let (topic, group) = (fresh("stats"), fresh("group"));
        let config = TopicConfig::new(TopicName::parse(&topic).unwrap(), 2);
        admin.put_topic(&config).await.unwrap();
        let config = GroupConfig::new(GroupName::parse(&group).unwrap());
        admin.put_group(&config).await.unwrap();
        let queues = admin.queues(&topic).await.unwrap();
        let producer = client.producer("shop").unwrap();
        for _ in 0..3 {
            let message = Message::new(topic.as_str(), "x");
            producer.send_to(&queues[1], message).await.unwrap();
        }
        let stats = async || admin.topic_stats(&topic).await.unwrap();
        let stats = until(stats, |stats| stats[1].end == 3).await;
        assert_eq!(stats[0].queue, queues[0]);
        assert_eq!((stats[0].end, stats[0].last_stored_at), (0, None));
        assert!(stats[1].last_stored_at.is_some());
        admin.set_group_offset(&group, &queues[1], 1).await.unwrap();
        let progress = async || admin.progress(&group, Some(&topic)).await.unwrap();
        let known = |all: &Vec<posthouse_client::Progress>| {
            all.iter()
                .any(|one| one.queue == queues[1] && one.committed == 1)
        };
        let progress = until(progress, known).await;
        let lag: u64 = progress.iter().map(|one| one.lag()).sum();
        assert_eq!(lag, 2, "{progress:?}");
        let all = admin.progress(&group, None).await.unwrap();
        assert!(all.iter().any(|one| one.queue == queues[1] && one.end == 3));
        assert!(admin.groups_of(&topic).await.unwrap().contains(&group));
        let nobody = admin.progress(&group, Some("no-such-topic")).await;
        assert!(matches!(nobody, Err(Error::NoRoute(_))));
    });
}

#[test]
fn members_are_listed_while_they_are_there() {
    everywhere(async |client| {
        let admin = client.admin();
        let (topic, group) = (fresh("members"), fresh("group"));
        let config = TopicConfig::new(TopicName::parse(&topic).unwrap(), 1);
        admin.put_topic(&config).await.unwrap();
        let nobody = admin.consumers(&group).await.unwrap();
        assert!(nobody.connection_set.is_empty());
        let wanted = [(topic.as_str(), Filter::tags("a"))];
        let consumer = client
            .push_consumer(&group, &wanted, PushOptions::default(), async |_| {
                Settle::Ack
            })
            .await
            .unwrap();
        let here = admin.consumers(&group).await.unwrap();
        assert_eq!(here.connection_set.len(), 1);
        assert_eq!(here.connection_set[0].client_id, client.id());
        assert_eq!(here.subscription_table[&topic].sub_string, "a");
        consumer.shutdown().await;
        let gone = async || admin.consumers(&group).await.unwrap();
        until(gone, |gone| gone.connection_set.is_empty()).await;
        assert!(
            admin
                .producers(&group)
                .await
                .unwrap()
                .connection_set
                .is_empty()
        );
    });
}
