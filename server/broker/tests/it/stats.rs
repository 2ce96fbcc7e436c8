//! What administration tools are told.

use std::collections::BTreeMap;

use crate::house::{House, START, caller, consumer, from_start};

#[test]
fn every_queue_of_a_topic_is_listed_empty_ones_too() {
    let house = House::new();
    house.create("t", |topic| topic.write_queues = 2).unwrap();
    house.put("t", 1, "a", "");
    house.advance(5);
    house.put("t", 1, "b", "");
    let stats = house
        .run(caller(9), |caller| house.broker.topic_stats(caller, "t"))
        .unwrap();
    let lines: Vec<_> = (stats.queues.iter())
        .map(|stat| (stat.queue.queue, stat.min, stat.max, stat.updated_at))
        .collect();
    assert_eq!(
        lines,
        [
            (0, 0, 0, 0),
            (1, 0, 2, START + 5000),
            (2, 0, 0, 0),
            (3, 0, 0, 0)
        ]
    );
    assert_eq!(stats.queues[0].queue.broker, "broker-a");
    let missing = house.run(caller(9), |caller| house.broker.topic_stats(caller, "no"));
    assert_eq!(missing.unwrap_err().to_string(), "topic[no] not exist");
}

#[test]
fn a_groups_progress_names_every_queue_of_its_topics() {
    let house = House::new();
    for body in ["a", "b", "c"] {
        house.put("t", 0, body, "");
        house.advance(1);
    }
    house.pull(from_start("t")).unwrap();
    let commit = |offset| {
        house.run(caller(2), |c| {
            house.broker.set_offset(c, "g", "t", Some(0), Some(offset))
        })
    };
    commit(2).unwrap();
    let stats = |group: &str, topics: &[&str]| {
        let stats = house
            .run(caller(9), |c| house.broker.consume_stats(c, group, topics))
            .unwrap();
        let line = |q: &broker::QueueProgress| {
            (
                q.queue.queue,
                q.broker_offset,
                q.consumer_offset,
                q.pull_offset,
                q.consumed_at,
            )
        };
        stats.queues.iter().map(line).collect::<Vec<_>>()
    };
    let expected = [
        (0, 3, 2, 3, START + 1000),
        (1, 0, 0, 0, 0),
        (2, 0, 0, 0, 0),
        (3, 0, 0, 0, 0),
    ];
    assert_eq!(stats("g", &[]), expected);
    assert_eq!(stats("g", &["t"]), expected);
    assert!(stats("unknown", &[]).is_empty());
    house.beat(2, "c", vec![consumer("g", &[("another", "*", 1)])]);
    assert!(
        stats("g", &["t"]).is_empty(),
        "the live group does not want this topic"
    );
}

#[test]
fn who_consumes_a_topic_is_known_online_or_not() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    house.beat(2, "c", vec![consumer("online", &[("t", "*", 1)])]);
    house
        .pull(broker::Pull {
            group: "offline",
            ..from_start("t")
        })
        .unwrap();
    house
        .run(caller(2), |c| {
            house.broker.set_offset(c, "offline", "t", Some(0), Some(0))
        })
        .unwrap();
    let groups: Vec<String> = house
        .broker
        .consumed_by("t")
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        groups,
        ["offline", "online"],
        "and the topic's own name is none of them"
    );
    assert!(house.broker.consumed_by("nowhere").is_empty());
}

#[test]
fn the_runtime_table_has_all_that_tools_read() {
    let house = House::new();
    house.advance(1);
    for _ in 0..100 {
        house.put("t", 0, "x", "");
    }
    house.pull(from_start("t")).unwrap();
    house.advance(10);
    let table: BTreeMap<String, String> = house.broker.runtime().into_iter().collect();
    let recorded = "EndTransactionQueueSize EndTransactionThreadPoolQueueCapacity \
        ackThreadPoolQueueCapacity ackThreadPoolQueueHeadWaitTimeMills ackThreadPoolQueueSize \
        bootTimestamp brokerActive brokerVersion brokerVersionDesc commitLogDirCapacity \
        commitLogDiskRatio commitLogMaxOffset commitLogMinOffset consumeQueueDiskRatio \
        dispatchBehindBytes dispatchMaxBuffer earliestMessageTimeStamp getFoundTps \
        getMessageEntireTimeMax getMissTps getTotalTps getTransferredTps \
        litePullThreadPoolQueueCapacity litePullThreadPoolQueueHeadWaitTimeMills \
        litePullThreadPoolQueueSize msgGetTotalTodayMorning msgGetTotalTodayNow \
        msgGetTotalYesterdayMorning msgPutTotalTodayMorning msgPutTotalTodayNow \
        msgPutTotalYesterdayMorning pageCacheLockTimeMills pullThreadPoolQueueCapacity \
        pullThreadPoolQueueHeadWaitTimeMills pullThreadPoolQueueSize putLatency99 putLatency999 \
        putMessageAverageSize putMessageDistributeTime putMessageEntireTimeMax \
        putMessageFailedTimes putMessageSizeTotal putMessageTimesTotal putTps \
        queryThreadPoolQueueCapacity queryThreadPoolQueueHeadWaitTimeMills \
        queryThreadPoolQueueSize remainHowManyDataToFlush remainTransientStoreBufferNumbs runtime \
        sendThreadPoolQueueCapacity sendThreadPoolQueueHeadWaitTimeMills sendThreadPoolQueueSize \
        startAcceptSendRequestTimeStamp timerCongestNum timerDequeueTps timerEnqueueTps \
        timerOffsetBehind timerReadBehind";
    for name in recorded.split_whitespace() {
        assert!(table.contains_key(name), "{name}");
    }
    assert_eq!(table["putTps"], "10.0 10.0 10.0");
    assert!(
        table.contains_key("commitLogDiskRatio_memory"),
        "where the log is"
    );
    assert_eq!(table["putMessageTimesTotal"], "100");
    let size: f64 = table["putMessageSizeTotal"].parse().unwrap();
    let average: f64 = table["putMessageAverageSize"].parse().unwrap();
    assert!(
        (100.0..1000.0).contains(&average),
        "whole records: {average}"
    );
    assert_eq!(average, size / 100.0);
    let times = &table["putMessageDistributeTime"];
    assert!(times.starts_with("[<=0ms]:100 [0~10ms]:0 "), "{times}");
    assert_eq!(table["msgGetTotalTodayNow"], "32");
    assert_eq!(
        table["runtime"],
        "[ 0 days, 0 hours, 0 minutes, 11 seconds ]"
    );
    assert_eq!(
        table["earliestMessageTimeStamp"],
        (START + 1000).to_string()
    );
    assert_eq!(table["brokerVersionDesc"], "V5_3_3");
}

#[test]
fn rates_of_topics_and_groups_are_told() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    house.advance(10);
    for _ in 0..120 {
        house.put("t", 0, "x", "");
    }
    house.pull(from_start("t")).unwrap();
    house.advance(60);
    let stats = house
        .run(caller(9), |caller| house.broker.topic_stats(caller, "t"))
        .unwrap();
    assert_eq!(stats.put_tps, 2.0);
}

#[test]
fn the_configuration_is_shown_as_it_was_handed_in() {
    let shown = vec![("brokerName".to_owned(), "broker-a".to_owned())];
    let house = House::with(|options| options.shown = shown.clone());
    assert_eq!(house.broker.shown_config().0, shown);
}
