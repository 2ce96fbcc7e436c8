//! Statistics as `mqadmin statsAll`, `brokerConsumeStats` and exporters ask for them.

use std::time::Duration;

use remoting::Command;
use remoting::body::{self, BrokerConsumeStats, BrokerStatsData, KvTable};
use remoting::code::request::*;
use remoting::code::response::*;

use crate::say::{self, create_topic, pull, send};
use crate::world::{ADDRESS, World};

fn stats(world: &World, name: &str, key: &str) -> Command {
    let asked = Command::request(VIEW_BROKER_STATS_DATA);
    world.ask(asked.with("statsName", name).with("statsKey", key))
}

fn item(world: &World, name: &str, key: &str) -> BrokerStatsData {
    let answer = stats(world, name, key);
    assert_eq!(answer.code, SUCCESS, "{answer:?}");
    body::from_slice(&answer.body).unwrap()
}

/// A hundred messages in `T` within a minute, forty of which the group `G` got and ten of which it
/// committed.
fn loaded() -> World {
    let world = World::new();
    world.ask(create_topic("T", 1, 6));
    let tick = |seconds| {
        world.clock.advance(Duration::from_secs(seconds));
        world.broker.tick().unwrap();
    };
    tick(10);
    for _ in 0..100 {
        assert_eq!(world.ask(send("T", b"0123456789")).code, SUCCESS);
    }
    for (offset, max) in [(0, 32), (32, 8)] {
        let pull = say::but(pull("G", "T", 0, offset), "maxMsgNums", max);
        assert_eq!(world.ask(pull).code, SUCCESS);
    }
    let commit = say::queue(UPDATE_CONSUMER_OFFSET, "T", 0).with("consumerGroup", "G");
    assert_eq!(world.ask(commit.with("commitOffset", 10)).code, SUCCESS);
    tick(50);
    world
}

#[test]
fn statistics_items_over_the_wire_are_right_to_the_number() {
    let world = loaded();
    let put = item(&world, "TOPIC_PUT_NUMS", "T");
    assert_eq!((put.stats_minute.sum, put.stats_day.sum), (100, 100));
    assert_eq!(
        (put.stats_minute.tps, put.stats_minute.avgpt),
        (100.0 / 60.0, 1.0)
    );
    let got = item(&world, "GROUP_GET_NUMS", "T@G").stats_minute;
    assert_eq!((got.sum, got.avgpt), (40, 20.0));
    let size = item(&world, "TOPIC_PUT_SIZE", "T").stats_minute;
    let got = item(&world, "GROUP_GET_SIZE", "T@G").stats_minute;
    assert_eq!(size.sum * 40, got.sum * 100, "all of one size");
    for name in ["BROKER_PUT_NUMS", "BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC"] {
        assert_eq!(item(&world, name, "DefaultCluster").stats_minute.sum, 100);
    }
    let missing = stats(&world, "GROUP_GET_NUMS", "T@T");
    let remark = missing.remark.unwrap();
    assert_eq!(missing.code, SYSTEM_ERROR);
    assert_eq!(remark, "The stats <GROUP_GET_NUMS> <T@T> not exist");
}

#[test]
fn the_runtime_table_over_the_wire_is_right_to_the_number() {
    let world = loaded();
    let answer = world.ask(Command::request(GET_BROKER_RUNTIME_INFO));
    let table = body::from_slice::<KvTable>(&answer.body).unwrap().table;
    for (name, value) in [
        ("putMessageTimesTotal", "100"),
        ("msgPutTotalTodayNow", "100"),
        ("msgGetTotalTodayNow", "40"),
        ("msgPutTotalTodayMorning", "0"),
        ("putMessageFailedTimes", "0"),
    ] {
        assert_eq!(table[name], value, "{name}");
    }
    let size = item(&world, "TOPIC_PUT_SIZE", "T").stats_day.sum;
    assert_eq!(table["putMessageSizeTotal"], size.to_string());
    let average = format!("{:?}", size as f64 / 100.0);
    assert_eq!(table["putMessageAverageSize"], average);
    // 4.9 and 5.x spell it differently.
    assert_eq!(table["getTransferedTps"], table["getTransferredTps"]);
}

#[test]
fn the_lag_of_every_group_is_exact() {
    let world = loaded();
    let asked = |order| Command::request(GET_BROKER_CONSUME_STATS).with("isOrder", order);
    let answer = world.ask(asked(false));
    let stats: BrokerConsumeStats = body::from_slice(&answer.body).unwrap();
    assert_eq!(stats.broker_addr, ADDRESS);
    assert_eq!((stats.total_diff, stats.total_inflight_diff), (90, 30));
    let mut groups = stats.consume_stats_list.iter().flatten();
    let (_, topics) = groups.find(|(group, _)| *group == "G").unwrap();
    let (queue, progress) = &topics[0].offset_table.0[0];
    assert_eq!((queue.topic.as_str(), queue.queue_id), ("T", 0));
    let place = (
        progress.broker_offset,
        progress.consumer_offset,
        progress.pull_offset,
    );
    assert_eq!(place, (100, 10, 40));
    assert!(progress.last_timestamp > 0);
    let ordered: BrokerConsumeStats = body::from_slice(&world.ask(asked(true)).body).unwrap();
    assert_eq!(ordered.total_diff, 0, "T is not ordered");
}
