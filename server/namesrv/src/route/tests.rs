//! Transcripts: a line is a request, the lines under it are what it did.

use expect_test::{Expect, expect};

use remoting::body::{Dialect, TopicRoute, write};

use super::*;

mod answers;

/// Runs a script. `register BROKER ID ADDRESS [key=value…] TOPIC[:PERM[:SYSFLAG]]…`; time stands still
/// unless `at SECONDS` moves it.
fn check(script: &str, expected: &Expect) {
    let mut routes = Routes::default();
    let mut now = 0;
    let mut out = String::new();
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let words: Vec<&str> = line.split(' ').collect();
        out += &format!("{line}\n");
        let said = match words[..] {
            ["at", seconds] => {
                now = seconds.parse().unwrap();
                continue;
            }
            ["register", ..] => {
                let drop_missing = words.contains(&"drop");
                let taken = routes.register(&registration(&words), drop_missing, secs(now));
                format!("{taken:?}")
            }
            ["unregister", broker, address] => {
                routes.unregister("c", address, broker);
                continue;
            }
            ["close", connection] => {
                routes.closed(connection.parse().unwrap());
                continue;
            }
            ["touch", address] => format!("{}", routes.touch("c", address, secs(now))),
            ["expire"] => format!("{:?}", routes.expire(secs(now))),
            ["wipe", broker] => format!("{}", routes.wipe_write(broker)),
            ["add", broker] => format!("{}", routes.add_write(broker)),
            ["enter", topic, ..] => {
                let queues: Vec<_> = words[2..]
                    .iter()
                    .map(|b| (b.to_string(), data(6, 0)))
                    .collect();
                routes.add_topic(topic, &queues);
                continue;
            }
            ["delete", topic] => {
                routes.delete_topic(topic, None);
                continue;
            }
            ["delete", topic, cluster] => {
                routes.delete_topic(topic, Some(cluster));
                continue;
            }
            ["version", address] => {
                format!("{:?}", routes.version("c", address).map(|v| v.counter))
            }
            ["route", topic] => show(routes.route(topic, false)),
            ["acting-route", topic] => show(routes.route(topic, true)),
            ["zone-route", topic, zone] => {
                let mut route = routes.route(topic, false);
                route.iter_mut().for_each(|route| keep_zone(route, zone));
                show(route)
            }
            ["topics", which] => {
                let which = match which {
                    "unit" => Topics::Unit,
                    "sub" => Topics::UnitSub,
                    "sub-only" => Topics::UnitSubOnly,
                    _ => Topics::All,
                };
                format!("{:?}", routes.topics(which))
            }
            ["topics-of", cluster] => format!("{:?}", routes.topics_of(cluster)),
            ["system"] => format!("{:?}", routes.system_topics()),
            ["members", broker] => format!("{:?}", routes.members(broker)),
            ["cluster"] => {
                let mut text = Vec::new();
                write(&routes.cluster_info(), Dialect::Fastjson, &mut text);
                String::from_utf8(text).unwrap()
            }
            _ => panic!("{line}"),
        };
        out += &format!("  {said}\n");
    }
    expected.assert_eq(&out);
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn data(perm: u32, sys_flag: i32) -> QueueData {
    QueueData {
        read_queues: 4,
        write_queues: 4,
        perm,
        sys_flag,
    }
}

fn registration(words: &[&str]) -> Registration {
    let value = |key: &str| {
        let prefix = format!("{key}=");
        words
            .iter()
            .find_map(|word| word.strip_prefix(prefix.as_str()))
    };
    let number = |key, otherwise| value(key).map_or(otherwise, |v: &str| v.parse().unwrap());
    let topic = |word: &&str| {
        let mut parts = word.split(':');
        let name = parts.next().unwrap().to_owned();
        let perm = parts.next().map_or(6, |perm| perm.parse().unwrap());
        let sys_flag = parts.next().map_or(0, |flag| flag.parse().unwrap());
        (name, data(perm, sys_flag))
    };
    let is_topic = |word: &&&str| !word.contains('=') && !matches!(**word, "drop" | "partial");
    Registration {
        cluster: value("cluster").unwrap_or("c").to_owned(),
        broker: words[1].to_owned(),
        id: words[2].parse().unwrap(),
        address: words[3].to_owned(),
        ha_address: format!("ha-{}", words[3]),
        zone: value("zone").map(str::to_owned),
        timeout: value("timeout").map(|t| secs(t.parse().unwrap())),
        acting_master: match value("acting") {
            Some("none") => None,
            acting => Some(acting == Some("true")),
        },
        version: DataVersion {
            state_version: number("state", 0),
            timestamp: 0,
            counter: number("v", 1),
        },
        topics: words[4..].iter().filter(is_topic).map(topic).collect(),
        partial: words.contains(&"partial"),
        mappings: Vec::new(),
        filter_servers: None,
        link: Link::Connection(u64::try_from(number("conn", 1)).unwrap()),
    }
}

/// `broker(ids)perm` of each broker.
fn show(route: Option<TopicRoute>) -> String {
    let Some(route) = route else {
        return "no route".to_owned();
    };
    let brokers = route.broker_datas.iter();
    let brokers = brokers.map(|b| format!("{}{:?}", b.broker_name, b.broker_addrs));
    let queues = route.queue_datas.iter();
    let queues = queues.map(|q| format!("{} perm {}", q.broker_name, q.perm));
    let both: Vec<_> = brokers.chain(queues).collect();
    both.join(", ")
}

#[test]
fn topics_of_a_broker_are_merged_and_a_missing_one_stays() {
    check(
        "register a 0 h:1 v=1 T U
        register a 0 h:1 v=2 V W
        topics all
        register a 0 h:1 v=3 drop partial X
        topics all
        register a 0 h:1 v=4 drop V W
        topics all",
        &expect![[r#"
            register a 0 h:1 v=1 T U
              Accepted(None)
            register a 0 h:1 v=2 V W
              Accepted(None)
            topics all
              ["T", "U", "V", "W"]
            register a 0 h:1 v=3 drop partial X
              Accepted(None)
            topics all
              ["T", "U", "V", "W", "X"]
            register a 0 h:1 v=4 drop V W
              Accepted(None)
            topics all
              ["V", "W"]
        "#]],
    );
}

#[test]
fn queue_data_is_only_rewritten_under_another_data_version() {
    check(
        "register a 0 h:1 v=1 T U
        register a 0 h:1 v=1 T:4 U:4 V
        route T
        route V
        register a 0 h:1 v=2 T:4
        route T
        version h:1",
        &expect![[r#"
            register a 0 h:1 v=1 T U
              Accepted(None)
            register a 0 h:1 v=1 T:4 U:4 V
              Accepted(None)
            route T
              a{0: "h:1"}, a perm 6
            route V
              a{0: "h:1"}, a perm 6
            register a 0 h:1 v=2 T:4
              Accepted(None)
            route T
              a{0: "h:1"}, a perm 4
            version h:1
              Some(2)
        "#]],
    );
}

#[test]
fn a_stranger_with_one_topic_is_refused_and_leaves_no_trace() {
    check(
        "register a 0 h:1 T
        cluster
        topics all
        register a 0 h:1 T U
        register a 0 h:1 v=2 V
        topics all
        register a 1 h:2 T
        members a",
        &expect![[r#"
            register a 0 h:1 T
              Refused
            cluster
              {"brokerAddrTable":{},"clusterAddrTable":{}}
            topics all
              []
            register a 0 h:1 T U
              Accepted(None)
            register a 0 h:1 v=2 V
              Accepted(None)
            topics all
              ["T", "U", "V"]
            register a 1 h:2 T
              Refused
            members a
              {0: "h:1"}
        "#]],
    );
}

#[test]
fn an_older_state_version_does_not_replace_a_living_holder_of_its_id() {
    check(
        "register a 0 h:1 state=2 T U
        register a 0 h:2 state=1 V W
        members a
        topics all
        register a 0 h:2 state=2 V W
        members a",
        &expect![[r#"
            register a 0 h:1 state=2 T U
              Accepted(None)
            register a 0 h:2 state=1 V W
              Ignored
            members a
              {0: "h:1"}
            topics all
              ["T", "U"]
            register a 0 h:2 state=2 V W
              Accepted(None)
            members a
              {0: "h:2"}
        "#]],
    );
}

#[test]
fn an_address_has_one_id_so_a_promoted_slave_leaves_its_old_one() {
    check(
        "register a 0 h:1 T U
        register a 1 h:2 conn=2 T U
        members a
        close 1
        members a
        register a 0 h:2 conn=2 v=2 T U
        members a
        route T",
        &expect![[r#"
            register a 0 h:1 T U
              Accepted(None)
            register a 1 h:2 conn=2 T U
              Accepted(Some(Master { address: "h:1", ha_address: "ha-h:1" }))
            members a
              {0: "h:1", 1: "h:2"}
            close 1
            members a
              {1: "h:2"}
            register a 0 h:2 conn=2 v=2 T U
              Accepted(None)
            members a
              {0: "h:2"}
            route T
              a{0: "h:2"}, a perm 6
        "#]],
    );
}

#[test]
fn a_slaves_topics_are_not_taken_unless_it_is_the_lowest_id_of_a_new_broker() {
    check(
        "register a 0 h:1 T U
        register a 1 h:2 S R
        topics all
        register b 1 h:3 acting=none S R
        topics all
        register b 1 h:3 acting=false S R
        topics all
        register b 2 h:4 Q P
        topics all",
        &expect![[r#"
            register a 0 h:1 T U
              Accepted(None)
            register a 1 h:2 S R
              Accepted(Some(Master { address: "h:1", ha_address: "ha-h:1" }))
            topics all
              ["T", "U"]
            register b 1 h:3 acting=none S R
              Accepted(None)
            topics all
              ["T", "U"]
            register b 1 h:3 acting=false S R
              Accepted(None)
            topics all
              ["R", "S", "T", "U"]
            register b 2 h:4 Q P
              Accepted(None)
            topics all
              ["R", "S", "T", "U"]
        "#]],
    );
}

#[test]
fn a_broker_goes_when_its_connection_closes_and_its_topics_with_its_last_address() {
    check(
        "register a 0 h:1 conn=1 T U
        register a 1 h:2 conn=2 T U
        register b 0 h:3 conn=3 T U
        close 1
        route T
        close 2
        route T
        cluster
        close 3
        topics all
        cluster",
        &expect![[r#"
            register a 0 h:1 conn=1 T U
              Accepted(None)
            register a 1 h:2 conn=2 T U
              Accepted(Some(Master { address: "h:1", ha_address: "ha-h:1" }))
            register b 0 h:3 conn=3 T U
              Accepted(None)
            close 1
            route T
              a{1: "h:2"}, b{0: "h:3"}, a perm 6, b perm 6
            close 2
            route T
              b{0: "h:3"}, b perm 6
            cluster
              {"brokerAddrTable":{"b":{"brokerAddrs":{0:"h:3"},"brokerName":"b","cluster":"c","enableActingMaster":false}},"clusterAddrTable":{"c":["b"]}}
            close 3
            topics all
              []
            cluster
              {"brokerAddrTable":{},"clusterAddrTable":{}}
        "#]],
    );
}

#[test]
fn the_close_of_an_old_connection_does_not_remove_a_broker_that_came_back() {
    check(
        "register a 0 h:1 conn=1 T U
        register a 0 h:1 conn=2 T U
        close 1
        members a",
        &expect![[r#"
            register a 0 h:1 conn=1 T U
              Accepted(None)
            register a 0 h:1 conn=2 T U
              Accepted(None)
            close 1
            members a
              {0: "h:1"}
        "#]],
    );
}

#[test]
fn a_broker_expires_120_seconds_after_it_was_heard_or_when_it_said() {
    check(
        "register a 0 h:1 conn=1 T U
        register b 0 h:2 conn=2 timeout=10 T U
        at 10
        expire
        at 11
        expire
        route T
        at 100
        touch h:1
        touch h:2
        at 220
        expire
        at 221
        expire
        topics all",
        &expect![[r#"
            register a 0 h:1 conn=1 T U
              Accepted(None)
            register b 0 h:2 conn=2 timeout=10 T U
              Accepted(None)
            at 10
            expire
              []
            at 11
            expire
              [2]
            route T
              a{0: "h:1"}, a perm 6
            at 100
            touch h:1
              true
            touch h:2
              false
            at 220
            expire
              []
            at 221
            expire
              [1]
            topics all
              []
        "#]],
    );
}

#[test]
fn an_address_that_its_broker_left_expires_without_harm() {
    check(
        "register a 0 h:1 conn=1 T U
        register a 0 h:2 conn=2 T U
        at 100
        register a 0 h:2 conn=2 T U
        at 130
        expire
        expire
        members a",
        &expect![[r#"
            register a 0 h:1 conn=1 T U
              Accepted(None)
            register a 0 h:2 conn=2 T U
              Accepted(None)
            at 100
            register a 0 h:2 conn=2 T U
              Accepted(None)
            at 130
            expire
              [1]
            expire
              []
            members a
              {0: "h:2"}
        "#]],
    );
}
