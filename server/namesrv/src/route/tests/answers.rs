//! What the tables answer after something was changed by hand or a master went away.

use super::*;
use crate::body::write_route;

#[test]
fn unregistering_takes_one_address_and_wipes_the_write_bit_where_a_slave_may_act() {
    check(
        "register a 0 h:1 acting=true T U
        register a 1 h:2 acting=true T U
        unregister a h:1
        route T
        acting-route T
        register a 1 h:2 v=2 acting=true T:6 U
        route T
        register a 0 h:1 v=3 acting=true T U
        acting-route T
        unregister nobody h:9",
        &expect![[r#"
            register a 0 h:1 acting=true T U
              Accepted(None)
            register a 1 h:2 acting=true T U
              Accepted(Some(Master { address: "h:1", ha_address: "ha-h:1" }))
            unregister a h:1
            route T
              a{1: "h:2"}, a perm 4
            acting-route T
              a{0: "h:2"}, a perm 4
            register a 1 h:2 v=2 acting=true T:6 U
              Accepted(None)
            route T
              a{1: "h:2"}, a perm 4
            register a 0 h:1 v=3 acting=true T U
              Accepted(None)
            acting-route T
              a{0: "h:1", 1: "h:2"}, a perm 6
            unregister nobody h:9
        "#]],
    );
}

#[test]
fn brokers_see_each_other_as_they_are_even_where_a_slave_acts() {
    check(
        "register a 1 h:2 acting=true rmq_sys_SYNC_BROKER_MEMBER_a T
        acting-route rmq_sys_SYNC_BROKER_MEMBER_a
        acting-route T",
        &expect![[r#"
            register a 1 h:2 acting=true rmq_sys_SYNC_BROKER_MEMBER_a T
              Accepted(None)
            acting-route rmq_sys_SYNC_BROKER_MEMBER_a
              a{1: "h:2"}, a perm 4
            acting-route T
              a{0: "h:2"}, a perm 4
        "#]],
    );
}

#[test]
fn a_wiped_write_permission_comes_back_with_the_next_changed_registration() {
    check(
        "register a 0 h:1 v=1 T U:7
        register b 0 h:2 v=1 T U
        wipe a
        route T
        route U
        register a 0 h:1 v=1 T U:7
        route U
        register a 0 h:1 v=2 T U:7
        route U
        add a
        route U
        wipe nobody",
        &expect![[r#"
            register a 0 h:1 v=1 T U:7
              Accepted(None)
            register b 0 h:2 v=1 T U
              Accepted(None)
            wipe a
              2
            route T
              a{0: "h:1"}, b{0: "h:2"}, a perm 4, b perm 6
            route U
              a{0: "h:1"}, b{0: "h:2"}, a perm 5, b perm 6
            register a 0 h:1 v=1 T U:7
              Accepted(None)
            route U
              a{0: "h:1"}, b{0: "h:2"}, a perm 5, b perm 6
            register a 0 h:1 v=2 T U:7
              Accepted(None)
            route U
              a{0: "h:1"}, b{0: "h:2"}, a perm 7, b perm 6
            add a
              2
            route U
              a{0: "h:1"}, b{0: "h:2"}, a perm 6, b perm 6
            wipe nobody
              0
        "#]],
    );
}

#[test]
fn a_topic_is_entered_for_known_brokers_and_deleted_of_one_cluster_or_all() {
    check(
        "register a 0 h:1 T U
        register b 0 h:2 cluster=d T U
        enter N a b
        enter M a nobody
        topics all
        enter T nobody
        delete N d
        route N
        delete N nowhere
        delete N c
        route N
        delete T
        topics-of c
        topics-of d
        topics-of nowhere",
        &expect![[r#"
            register a 0 h:1 T U
              Accepted(None)
            register b 0 h:2 cluster=d T U
              Accepted(None)
            enter N a b
            enter M a nobody
            topics all
              ["N", "T", "U"]
            enter T nobody
            delete N d
            route N
              a{0: "h:1"}, a perm 6
            delete N nowhere
            delete N c
            route N
              no route
            delete T
            topics-of c
              ["U"]
            topics-of d
              ["U"]
            topics-of nowhere
              []
        "#]],
    );
}

#[test]
fn unit_lists_go_by_the_system_flag() {
    check(
        "register a 0 h:1 plain:6:0 unit:6:1 sub:6:2 both:6:3
        topics unit
        topics sub
        topics sub-only
        system",
        &expect![[r#"
            register a 0 h:1 plain:6:0 unit:6:1 sub:6:2 both:6:3
              Accepted(None)
            topics unit
              ["both", "unit"]
            topics sub
              ["both", "sub"]
            topics sub-only
              ["sub"]
            system
              (["a", "c"], Some("h:1"))
        "#]],
    );
}

#[test]
fn a_zone_keeps_its_own_brokers_and_those_without_a_master() {
    check(
        "register a 0 h:1 zone=Z1 T U
        register b 0 h:2 zone=z2 T U
        register s 1 h:3 zone=z2 T U
        zone-route T z1",
        &expect![[r#"
            register a 0 h:1 zone=Z1 T U
              Accepted(None)
            register b 0 h:2 zone=z2 T U
              Accepted(None)
            register s 1 h:3 zone=z2 T U
              Accepted(None)
            zone-route T z1
              a{0: "h:1"}, s{1: "h:3"}, a perm 6, s perm 6
        "#]],
    );
}

#[test]
fn both_dialects_of_a_route() {
    let mut routes = Routes::default();
    let mut register = registration(&["register", "a", "0", "h:1", "zone=zürich", "T", "U"]);
    register.filter_servers = Some(vec!["f:1".to_owned()]);
    let mapping = serde_json::json!({"bname": "a", "topic": "T"});
    register.mappings = vec![("T".to_owned(), "a".to_owned(), mapping)];
    routes.register(&register, false, Duration::ZERO);
    let mut route = routes.route("T", false).unwrap();
    route.order_topic_conf = Some("a:4".to_owned());
    let text = |dialect| {
        let mut out = Vec::new();
        write_route(&route, dialect, &mut out);
        String::from_utf8(out).unwrap()
    };
    let standard = text(Dialect::Standard);
    assert!(serde_json::from_str::<serde_json::Value>(&standard).is_ok());
    expect![[r#"{"brokerDatas":[{"brokerAddrs":{"0":"h:1"},"brokerName":"a","cluster":"c","enableActingMaster":false,"zoneName":"z\u00FCrich"}],"filterServerTable":{"h:1":["f:1"]},"orderTopicConf":"a:4","queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}],"topicQueueMappingByBroker":{"a":{"bname":"a","topic":"T"}}}"#]]
    .assert_eq(&standard);
    let fastjson = text(Dialect::Fastjson);
    assert_eq!(
        fastjson,
        standard.replace("\"0\":", "0:").replace("\\u00FC", "ü")
    );
}
