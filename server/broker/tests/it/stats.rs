//! What administration tools are told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use store::Flush;

use crate::house::{House, START, caller, consumer, from_start, message, options};
use crate::popping;
use crate::stubborn::Stubborn;

#[test]
fn every_queue_of_a_topic_is_listed_empty_ones_too() {
    let house = House::new();
    house.create("t", |topic| topic.write_queues = 2).unwrap();
    house.put("t", 1, "a", "");
    house.advance(5);
    house.put("t", 1, "b", "");
    let stats = house
        .run(caller(9), |caller| {
            house.broker.topic_stats(caller, "t", false)
        })
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
    let missing = house.run(caller(9), |caller| {
        house.broker.topic_stats(caller, "no", false)
    });
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
            .run(caller(9), |c| {
                house.broker.consume_stats(c, group, topics, false)
            })
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
        .run(caller(9), |caller| {
            house.broker.topic_stats(caller, "t", false)
        })
        .unwrap();
    assert_eq!(stats.put_tps, 2.0);
}

#[test]
fn the_configuration_is_shown_as_it_was_handed_in() {
    let shown = vec![("brokerName".to_owned(), "broker-a".to_owned())];
    let house = House::with(|options| options.shown = shown.clone());
    assert_eq!(house.broker.shown_config().0, shown);
}

fn item(house: &House, name: &str, key: &str) -> [(u64, f64, f64); 3] {
    let item = house.broker.stats_item(name, key).unwrap();
    [item.minute, item.hour, item.day].map(|window| (window.sum, window.tps, window.average))
}

#[test]
fn statistics_items_are_right_to_the_number_after_a_known_load() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    house.advance(10);
    for _ in 0..120 {
        house.put("t", 0, "x", "");
    }
    for offset in [0, 32, 64, 96] {
        let pull = broker::Pull {
            offset,
            ..from_start("t")
        };
        house.pull(pull).unwrap();
    }
    (0..6).for_each(|_| house.advance(10));
    let all = [(120, 2.0, 1.0); 3];
    assert_eq!(item(&house, "TOPIC_PUT_NUMS", "t")[0], all[0]);
    let got = item(&house, "GROUP_GET_NUMS", "t@g")[0];
    assert_eq!(got, (120, 2.0, 30.0), "four pulls");
    assert_eq!(item(&house, "BROKER_PUT_NUMS", "DefaultCluster")[0], all[0]);
    assert_eq!(item(&house, "BROKER_GET_NUMS", "DefaultCluster")[0].0, 120);
    let stored = house.broker.metrics().bytes_in;
    assert_eq!(item(&house, "TOPIC_PUT_SIZE", "t")[0].0, stored);
    assert_eq!(item(&house, "GROUP_GET_SIZE", "t@g")[0].0, stored);
    // An hour and more on, the minute is empty and the day is not.
    for _ in 0..800 {
        house.advance(10);
    }
    let [minute, hour, day] = item(&house, "TOPIC_PUT_NUMS", "t").map(|window| window.0);
    assert_eq!((minute, hour, day), (0, 0, 120));
    house.put("t", 0, "x", "");
    let [minute, hour, day] = item(&house, "TOPIC_PUT_NUMS", "t").map(|window| window.0);
    assert_eq!((minute, hour, day), (1, 1, 121), "counted at once");
}

#[test]
fn a_batch_is_one_request_of_a_topics_statistics() {
    let house = House::new();
    let batch = crate::produce::batch(&[("a", ""), ("b", ""), ("c", "")]);
    let send = broker::Produce {
        batch: true,
        body: &batch,
        ..message("t")
    };
    house.send(send).unwrap();
    house.put("t", 0, "d", "");
    let [(sum, _, average), ..] = item(&house, "TOPIC_PUT_NUMS", "t");
    assert_eq!((sum, average), (4, 2.0));
}

#[test]
fn what_was_never_counted_does_not_exist() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    for (name, key) in [
        ("TOPIC_PUT_NUMS", "t"),
        ("TOPIC_PUT_NUMS", "nowhere"),
        ("GROUP_GET_NUMS", "t@g"),
        ("GROUP_GET_NUMS", "t"),
        ("BROKER_PUT_NUMS", "another cluster"),
        ("NO_SUCH", "t"),
    ] {
        let error = house.broker.stats_item(name, key).unwrap_err();
        let text = format!("The stats <{name}> <{key}> not exist");
        assert_eq!(error.to_string(), text);
    }
    house.put("t", 0, "x", "");
    assert_eq!(item(&house, "TOPIC_PUT_NUMS", "t")[0].0, 1);
    let delete = |caller: &_| house.broker.delete_topic(caller, "t");
    house.run(caller(9), delete).unwrap();
    assert!(house.broker.stats_item("TOPIC_PUT_NUMS", "t").is_err());
}

#[test]
fn the_brokers_own_topics_are_not_in_the_totals_of_the_day() {
    let house = House::new();
    house.put("t", 0, "x", "");
    house.put("BenchmarkTest", 0, "x", "");
    let table: BTreeMap<String, String> = house.broker.runtime().into_iter().collect();
    assert_eq!(table["putMessageTimesTotal"], "2");
    assert_eq!(table["msgPutTotalTodayNow"], "1");
    assert_eq!(table["getTransferedTps"], table["getTransferredTps"]);
    let key = "DefaultCluster";
    assert_eq!(item(&house, "BROKER_PUT_NUMS", key)[0].0, 2);
    let users = item(&house, "BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC", key);
    assert_eq!(users[0].0, 1);
}

#[test]
fn every_groups_lag_is_told_topic_by_topic() {
    let house = House::new();
    house.create("o", |topic| topic.order = true).unwrap();
    for (topic, messages) in [("t", 5), ("o", 2)] {
        for _ in 0..messages {
            house.put(topic, 0, "x", "");
        }
        house.pull(from_start(topic)).unwrap();
        let commit = |c: &_| house.broker.set_offset(c, "g", topic, Some(0), Some(1));
        house.run(caller(2), commit).unwrap();
    }
    let told = |ordered| {
        let all = |c: &_| house.broker.all_consume_stats(c, ordered);
        let groups = house.run(caller(9), all).unwrap();
        let topics = groups
            .into_iter()
            .filter(|group| group.group.as_str() == "g");
        let topics = topics.flat_map(|group| group.topics);
        topics
            .map(|topic| {
                (
                    topic.queues[0].queue.topic.clone(),
                    topic.lag(),
                    topic.in_flight(),
                )
            })
            .collect::<Vec<_>>()
    };
    let (o, t) = (("o".to_owned(), 1, 1), ("t".to_owned(), 4, 4));
    assert_eq!(told(false), [o.clone(), t]);
    assert_eq!(told(true), [o]);
}

#[test]
fn what_is_sent_back_and_what_dies_is_counted_for_its_topic_and_group() {
    let house = House::new();
    house.put("t", 0, "x", "");
    let mut out = Vec::new();
    let pull = from_start("t");
    house
        .run(caller(2), |c| house.broker.pull(c, &pull, &mut out))
        .unwrap();
    let back = broker::SendBack {
        group: "g",
        offset: crate::house::records(&out)[0].log_offset().0 as i64,
        level: -1,
        after: None,
        max: None,
        unit_mode: false,
    };
    house
        .run(caller(2), |c| house.broker.send_back(c, &back))
        .unwrap();
    assert_eq!(item(&house, "SNDBCK_PUT_NUMS", "t@g")[0].0, 1);
    assert_eq!(item(&house, "DLQ_PUT_NUMS", "t@g")[0].0, 1);
    assert_eq!(item(&house, "TOPIC_PUT_NUMS", "%DLQ%g")[0].0, 1);
}

#[test]
fn messages_popped_and_acked_are_counted_where_they_were_sent() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    for text in ["a", "b", "c"] {
        house.put("t", 0, text, "");
    }
    let got = popping::pop(&house, popping::all("t"));
    popping::ack(&house, &got[0]);
    popping::ack(&house, &got[0]);
    // What comes back is counted with its topic again.
    popping::pass(&house, 10_000);
    for got in popping::pop(&house, popping::all("t")) {
        popping::ack(&house, &got);
    }
    assert_eq!(item(&house, "GROUP_CK_NUMS", "t@g")[0].0, 5);
    assert_eq!(item(&house, "GROUP_ACK_NUMS", "t@g")[0].0, 3);
    assert_eq!(item(&house, "BROKER_CK_NUMS", "DefaultCluster")[0].0, 5);
    assert_eq!(item(&house, "BROKER_ACK_NUMS", "DefaultCluster")[0].0, 3);
}

fn runtime(house: &House) -> BTreeMap<String, String> {
    house.broker.runtime().into_iter().collect()
}

#[test]
fn the_runtime_table_says_how_far_levels_and_timers_are() {
    let house = House::new();
    house.create("t", |_| ()).unwrap();
    house.advance(1);
    for _ in 0..3 {
        house.put("t", 0, "x", "DELAY\u{1}1\u{2}");
        house.clock.advance(Duration::from_millis(400));
    }
    house.put("t", 0, "x", "DELAY\u{1}3\u{2}");
    for _ in 0..6 {
        house.put("t", 0, "x", "TIMER_DELAY_MS\u{1}1000\u{2}");
    }
    let table = runtime(&house);
    assert_eq!(table["scheduleMessageOffset_1"], "0,3");
    assert_eq!(table["scheduleMessageOffset_3"], "0,1");
    assert!(!table.contains_key("scheduleMessageOffset_2"));
    assert_eq!(table["timerDequeueTps"], "0.0");
    house.broker.deadlines_step().unwrap();
    assert_eq!(runtime(&house)["scheduleMessageOffset_1"], "1,3");
    house.clock.advance(Duration::from_secs(2));
    house.broker.deadlines_step().unwrap();
    house.broker.commit().unwrap();
    for _ in 0..40 {
        house.advance(1);
    }
    let table = runtime(&house);
    assert_eq!(table["scheduleMessageOffset_1"], "3,3");
    assert_eq!(table["scheduleMessageOffset_3"], "0,1");
    let rate = |name: &str| table[name].parse::<f64>().unwrap();
    assert!((0.1..=0.2).contains(&rate("timerEnqueueTps")));
    assert!((0.1..=0.2).contains(&rate("timerDequeueTps")));
    // A start finds the same.
    let house = house.killed();
    assert_eq!(runtime(&house)["scheduleMessageOffset_1"], "3,3");
}

#[test]
fn the_longest_pull_is_told() {
    let disk = Stubborn::default();
    let moods = Arc::clone(&disk.moods);
    let house = House::open_with(options(), Flush::Async, Arc::new(disk), START, |store| {
        store.tail_max = 0;
    });
    house.put("t", 0, "x", "");
    house.pull(from_start("t")).unwrap();
    assert_eq!(runtime(&house)["getMessageEntireTimeMax"], "0");
    let clock = Arc::clone(&house.clock);
    moods.meanwhile(move || clock.advance(Duration::from_millis(30)));
    house.pull(from_start("t")).unwrap();
    assert_eq!(runtime(&house)["getMessageEntireTimeMax"], "30");
}

#[test]
fn what_is_flushed_before_its_answer_is_counted_with_its_flush() {
    let house = House::synchronous();
    house.create("t", |_| ()).unwrap();
    let send = house.broker.produce(&caller(1), &message("t"));
    assert!(send.is_ok());
    house.broker.commit().unwrap();
    house.clock.advance(Duration::from_millis(30));
    assert_eq!(runtime(&house)["putMessageEntireTimeMax"], "0");
    house.store.flush_step().unwrap();
    house.broker.flushed();
    let table = runtime(&house);
    assert_eq!(table["putMessageEntireTimeMax"], "30");
    assert!(table["putMessageDistributeTime"].contains("[10~50ms]:1 "));
    assert_eq!(table["putLatency99"], "32.77");
}
