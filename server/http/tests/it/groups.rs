//! Groups, their positions, and the cluster by HTTP.

use std::time::Instant;

use posthouse_client::{Filter, Message, PullOptions, Queue};
use serde_json::{Value, json};

use crate::door::{ask, ask_json, client, fresh, send};
use crate::messages::run;

fn topic(name: &str) -> String {
    let topic = fresh(name);
    ask_json("PUT", &format!("/v1/topics/{topic}"), &json!({"queues": 1})).expect(201);
    topic
}

fn group(name: &str) -> String {
    let group = fresh(name);
    ask("PUT", &format!("/v1/groups/{group}")).expect(201);
    group
}

/// Stores so many messages in the topic's only queue.
fn store(topic: &str, count: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = client();
        let producer = client.producer("tests").unwrap();
        for n in 0..count {
            producer
                .send(Message::new(topic, n.to_string()))
                .await
                .unwrap();
        }
        client.shutdown().await;
    });
}

fn commit(group: &str, topic: &str, offset: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = client();
        let queue = Queue::new(topic, "broker-a", 0);
        client
            .admin()
            .set_group_offset(group, &queue, offset)
            .await
            .unwrap();
        client.shutdown().await;
    });
}

#[test]
fn a_group_is_made_changed_and_deleted() {
    let name = fresh("billing");
    let path = format!("/v1/groups/{name}");
    let retry = json!({"initial": "1s", "max": "1m", "multiplier": 2});
    let wanted = json!({"ordered": true, "max_attempts": 5, "retry": retry});
    let made = ask_json("PUT", &path, &wanted).expect(201);
    assert_eq!(made.header("location"), path);
    assert_eq!(made.json()["retry"], retry);
    ask_json("PUT", &path, &wanted).expect(200);
    let other = ask_json("PUT", &path, &json!({"max_attempts": 6})).expect(409);
    assert_eq!(other.problem(), "already-exists-differently");
    let kind = ("Content-Type", "application/merge-patch+json");
    let steps = json!({"retry": {"steps": ["10s", "30s", "1m"]}}).to_string();
    let changed = send("PATCH", &path, &[kind], steps.as_bytes())
        .expect(200)
        .json();
    assert_eq!(changed["retry"]["steps"], json!(["10s", "30s", "1m"]));
    assert_eq!(
        (&changed["ordered"], &changed["max_attempts"]),
        (&json!(true), &json!(5))
    );
    let listed = ask("GET", &format!("/v1/groups?prefix={name}"))
        .expect(200)
        .json();
    assert_eq!(listed["items"], json!([{"name": name}]));
    assert_eq!(
        ask("DELETE", &path).expect(422).problem(),
        "confirmation-required"
    );
    ask("DELETE", &format!("{path}?confirm={name}")).expect(204);
    assert_eq!(ask("GET", &path).expect(404).problem(), "group-not-found");
    let both = json!({"retry": {"steps": ["1s"], "initial": "1s"}});
    assert_eq!(
        ask_json("PUT", &path, &both).expect(422).problem(),
        "invalid-setting"
    );
    assert_eq!(
        ask("PUT", "/v1/groups/a%20b").expect(422).problem(),
        "invalid-group"
    );
}

#[test]
fn a_brokers_settings_are_shown_and_what_cannot_be_changed_is_told() {
    let path = "/v1/brokers/broker-a/config";
    let shown = ask("GET", path).expect(200);
    let settings = shown.json();
    assert_eq!(settings["broker_name"], "broker-a");
    assert_eq!(settings["transaction_check_interval"], 1000);
    assert_eq!(settings["flush_disk_type"], "ASYNC_FLUSH");
    assert!(settings.get("secret_key").is_none(), "{settings}");
    let kind = ("Content-Type", "application/merge-patch+json");
    let patch = |body: Value, more: &[(&str, &str)]| {
        let headers = [&[kind], more].concat();
        send("PATCH", path, &headers, body.to_string().as_bytes())
    };
    let etag = shown.header("etag");
    let same = json!({"transaction_check_interval": 1000, "flushDiskType": "ASYNC_FLUSH"});
    let unchanged = patch(same.clone(), &[("If-Match", etag)]).expect(200);
    assert_eq!(
        (unchanged.header("etag"), unchanged.json()),
        (etag, settings)
    );
    let stale = patch(same, &[("If-Match", "\"stale\"")]).expect(412);
    assert_eq!(stale.problem(), "precondition-failed");
    for (body, status, slug, detail) in [
        (
            json!({"flush_disk_type": "SYNC_FLUSH", "max_transfer_count_on_message_in_memory": 32}),
            422,
            "invalid-setting",
            "only read when the broker starts",
        ),
        (
            json!({"transaction_check_max": 0}),
            422,
            "invalid-setting",
            "a whole number from 1 to 10000 expected",
        ),
        (
            json!({"transaction_chek_interval": 1}),
            422,
            "invalid-setting",
            "did you mean \"transaction_check_interval\"?",
        ),
        (
            json!({"secret_key": "x"}),
            422,
            "invalid-setting",
            "no such setting",
        ),
        (
            json!({"broker_name": null}),
            400,
            "invalid-request",
            "a string",
        ),
        (
            json!({"broker_name": {}}),
            400,
            "invalid-request",
            "a string",
        ),
        (json!([]), 400, "invalid-request", "an object expected"),
    ] {
        let refused = patch(body.clone(), &[]).expect(status);
        assert_eq!(refused.problem(), slug, "{body}");
        let told = refused.json()["errors"][0]["detail"]
            .to_string()
            .replace("\\\"", "\"");
        assert!(told.contains(detail), "{body}: {told}");
        assert_eq!(refused.json()["errors"].as_array().unwrap().len(), 1);
    }
    // Nothing of what was refused was changed; what may be is, at once.
    let before = shown.json()["max_transfer_count_on_message_in_memory"].clone();
    assert_eq!(before, 1024);
    let change = json!({"litePullMessageEnable": false, "timer_max_delay_sec": 259_201});
    let changed = patch(change, &[("If-Match", etag)]).expect(200);
    assert_ne!(changed.header("etag"), etag);
    let now = changed.json();
    assert_eq!(now["lite_pull_message_enable"], false);
    assert_eq!(now["timer_max_delay_sec"], 259_201);
    assert_eq!(now["max_transfer_count_on_message_in_memory"], before);
    assert_eq!(ask("GET", path).expect(200).json(), now);
    let back = json!({"lite_pull_message_enable": true, "timer_max_delay_sec": 259_200});
    assert_eq!(patch(back, &[]).expect(200).json(), shown.json());
    for method in ["GET", "PATCH"] {
        let body: &[u8] = if method == "PATCH" { b"{}" } else { b"" };
        let nobody = send(method, "/v1/brokers/none/config", &[kind], body).expect(404);
        assert_eq!(nobody.problem(), "broker-not-found");
    }
}

#[test]
fn who_is_connected_is_listed_with_its_groups() {
    let (topic, name) = (topic("connected"), group("connected"));
    let listed = |id: &str| {
        let mut next = String::new();
        loop {
            let page = ask("GET", &format!("/v1/clients?limit=1{next}"))
                .expect(200)
                .json();
            let items = page["items"].as_array().unwrap();
            if let Some(own) = items.iter().find(|own| own["client_id"] == id) {
                return Some(own.clone());
            }
            next = format!("&page_token={}", page["next_page_token"].as_str()?);
        }
    };
    run(async {
        let client = client();
        let producer = client.producer(&name).unwrap();
        producer
            .send(Message::new(topic.as_str(), "x"))
            .await
            .unwrap();
        let consumer = client.pull_consumer(&name, PullOptions::default()).unwrap();
        consumer.subscribe(&topic, &Filter::All).await.unwrap();
        let id = client.id().to_owned();
        let end = Instant::now() + crate::door::LIMIT;
        let own = loop {
            let own = listed(&id).unwrap_or_default();
            if own["consumes"] == json!([name]) && own["produces"] == json!([name]) {
                break own;
            }
            assert!(Instant::now() < end, "{own}");
            tokio::task::yield_now().await;
        };
        assert_eq!(
            (&own["protocol"], &own["language"]),
            (&json!("remoting"), &json!("RUST"))
        );
        client.shutdown().await;
    });
    let none = ask("GET", "/v1/clients?page_token=pt_x").expect(400);
    assert_eq!(none.problem(), "invalid-page-token");
}

#[test]
fn nobodys_typo_makes_a_group() {
    let (topic, name) = (topic("typo"), fresh("typo"));
    let group = format!("/v1/groups/{name}");
    for (method, target) in [
        (
            "POST",
            format!("{group}/messages:receive?topic={topic}&wait=0s"),
        ),
        (
            "POST",
            format!("{group}/messages:receive?topic={topic}&wait=0s&tag=*"),
        ),
        ("GET", format!("{group}/dead-letters")),
        ("GET", format!("{group}/lag")),
        ("GET", format!("{group}/stream?max_duration=1ms")),
    ] {
        let headers = [("Accept", "application/json, text/event-stream")];
        let answer = send(method, &target, &headers, b"").expect(404);
        assert_eq!(answer.problem(), "group-not-found", "{target}");
        assert_eq!(ask("GET", &group).expect(404).problem(), "group-not-found");
    }
}

#[test]
fn a_group_is_seen_to_lag_and_sent_elsewhere() {
    let (topic, group) = (topic("counted"), group("counters"));
    store(&topic, 10);
    commit(&group, &topic, 4);
    let lag = ask("GET", &format!("/v1/groups/{group}/lag"))
        .expect(200)
        .json();
    assert_eq!(lag["lag"], 6, "{lag}");
    let offsets = ask("GET", &format!("/v1/groups/{group}/offsets?topic={topic}"))
        .expect(200)
        .json();
    let own = &offsets["items"][0];
    assert_eq!(
        (&own["committed"], &own["max"], &own["min"]),
        (&json!(4), &json!(10), &json!(0))
    );
    let groups = ask("GET", &format!("/v1/topics/{topic}/groups"))
        .expect(200)
        .json();
    assert_eq!(groups["items"], json!([{"group": group, "lag": 6}]));

    let path = format!("/v1/groups/{group}/offsets:reset");
    let reset = |to: Value, dry: bool| {
        let body = json!({"topic": topic, "to": to, "dry_run": dry});
        ask_json("POST", &path, &body)
    };
    let committed = || {
        let offsets = ask("GET", &format!("/v1/groups/{group}/offsets?topic={topic}"));
        offsets.expect(200).json()["items"][0]["committed"].clone()
    };
    let dry = reset(json!({"position": "earliest"}), true)
        .expect(200)
        .json();
    assert_eq!(
        dry["queues"],
        json!([{"queue": "broker-a:0", "from": 4, "to": 0}])
    );
    assert_eq!(committed(), 4);
    reset(json!({"position": "earliest"}), false).expect(200);
    assert_eq!(committed(), 0);
    reset(json!({"position": "latest"}), false).expect(200);
    assert_eq!(committed(), 10);
    reset(json!({"queues": {"broker-a:0": 7}}), false).expect(200);
    assert_eq!(committed(), 7);
    reset(json!({"time": "2020-01-01T00:00:00Z"}), false).expect(200);
    assert_eq!(committed(), 0);
    let beyond = reset(json!({"queues": {"broker-a:0": 11}}), false).expect(422);
    assert_eq!(beyond.problem(), "invalid-offset");
    let nowhere = reset(json!({"queues": {"broker-b:0": 1}}), false).expect(404);
    assert_eq!(nowhere.problem(), "queue-not-found");
    assert_eq!(
        reset(json!({}), false).expect(400).problem(),
        "invalid-request"
    );
    let members = ask("GET", &format!("/v1/groups/{group}/clients"))
        .expect(200)
        .json();
    assert_eq!(members["items"], json!([]));
}

#[test]
fn the_age_of_what_a_group_may_get_is_told() {
    let (topic, group) = (topic("aged"), group("aged"));
    let lag = || {
        ask("GET", &format!("/v1/groups/{group}/lag"))
            .expect(200)
            .json()
    };
    let age = || {
        let lag = lag();
        let topics = lag["topics"].as_array().unwrap();
        let of_topic = topics.iter().find(|own| own["topic"] == *topic);
        let of_topic = of_topic.map(|own| own["oldest_ready_age"].clone());
        let of_topic = of_topic.unwrap_or_default();
        (lag["oldest_ready_age"].clone(), of_topic)
    };
    let nothing = (Value::Null, Value::Null);
    crate::messages::receive(&group, &topic, "&wait=0s");
    assert_eq!(age(), nothing);
    store(&topic, 1);
    let first = Instant::now();
    while age().0.as_str().is_none_or(|age| ms(age) < 3_000) {
        assert!(first.elapsed() < crate::door::LIMIT, "{}", lag());
    }
    let (all, own) = age();
    assert!(ms(own.as_str().unwrap()) >= 3_000, "{all} {own}");
    let got = crate::messages::receive(&group, &topic, "&wait=10s&lease=10m");
    assert_eq!(age(), nothing, "what is out on a lease is not ready");
    let second = Instant::now();
    store(&topic, 1);
    let young = ms(age().0.as_str().unwrap());
    // The broker's clock is another one: a second between them is much.
    assert!(young < since(second) + 1_000, "{young}");
    // What comes back in its place is as old as it is.
    let back = json!({"count_attempt": false});
    crate::messages::settle(&group, "release", &[crate::messages::lease(&got[0])], back)
        .expect(200);
    let at_least = since(first);
    let old = ms(age().0.as_str().unwrap());
    assert!(old + 1_000 > at_least, "{old} of {at_least}");
}

fn since(at: Instant) -> u64 {
    u64::try_from(at.elapsed().as_millis()).unwrap()
}

/// Milliseconds of a duration as `1m1s500ms`.
fn ms(text: &str) -> u64 {
    let mut total = 0;
    let mut rest = text;
    while let Some(unit) = rest.find(|c: char| !c.is_ascii_digit()) {
        let end = rest[unit..].find(|c: char| c.is_ascii_digit());
        let end = end.map_or(rest.len(), |more| unit + more);
        let factor = match &rest[unit..end] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            other => panic!("{other} of {text}"),
        };
        total += rest[..unit].parse::<u64>().unwrap() * factor;
        rest = &rest[end..];
    }
    total
}

#[test]
fn a_topic_tells_what_it_holds() {
    let topic = topic("held");
    store(&topic, 3);
    let stats = ask("GET", &format!("/v1/topics/{topic}/stats"))
        .expect(200)
        .json();
    assert_eq!(stats["messages"], 3);
    assert_eq!(
        (&stats["scheduled"], &stats["half"]),
        (&json!(0), &json!(0))
    );
    let at = |time: &str| {
        let path = format!("/v1/topics/{topic}/offsets?time={time}");
        ask("GET", &path).expect(200).json()["items"][0]["offset_at_time"].clone()
    };
    assert_eq!(
        (at("2020-01-01T00:00:00Z"), at("2100-01-01T00:00:00Z")),
        (json!(0), json!(3))
    );
    for part in ["stats", "offsets", "groups"] {
        let path = format!("/v1/topics/none-such/{part}");
        assert_eq!(ask("GET", &path).expect(404).problem(), "topic-not-found");
    }
}

#[test]
fn a_topic_tells_how_much_it_holds_and_what_waits_for_it() {
    let topic = topic("waited");
    let path = format!("/v1/topics/{topic}");
    let stats = || ask("GET", &format!("{path}/stats")).expect(200).json();
    let publish = |more: Value| {
        let mut body = json!({"body": "x".repeat(1000)});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        ask_json("POST", &format!("{path}/messages"), &body)
            .expect(201)
            .json()
    };
    assert_eq!(stats()["bytes"], 0);
    publish(json!({}));
    let one = stats()["bytes"].as_u64().unwrap();
    assert!((1_000..2_000).contains(&one), "{one}");
    // More than a queue keeps as its newest: the length of what lies behind is known too.
    let batch: Vec<Value> = (0..200)
        .map(|_| json!({"body": "x".repeat(1000)}))
        .collect();
    for _ in 0..3 {
        let batch = json!({"messages": batch});
        ask_json("POST", &format!("{path}/messages:batch"), &batch).expect(200);
    }
    let all = stats();
    assert_eq!(all["messages"], 601);
    let each = all["bytes"].as_u64().unwrap() / 601;
    assert!(each.abs_diff(one) < 100, "{each} and {one}");

    let handle = publish(json!({"delay": "1h"}))["recall_handle"].clone();
    publish(json!({"delay_level": 18}));
    let half = || {
        let begun = ask_json(
            "POST",
            &format!("{path}/transactions"),
            &json!({"body": "half"}),
        );
        begun.expect(201).json()["transaction_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (kept, given_up) = (half(), half());
    let waiting = || {
        let told = stats();
        (
            told["scheduled"].as_u64(),
            told["half"].as_u64(),
            told["messages"].as_u64(),
        )
    };
    assert_eq!(waiting(), (Some(2), Some(2), Some(601)));
    let other = self::topic("unwaited");
    let told = ask("GET", &format!("/v1/topics/{other}/stats")).json();
    assert_eq!((&told["scheduled"], &told["half"]), (&json!(0), &json!(0)));

    let recalled = format!("{path}/scheduled-messages/{}", handle.as_str().unwrap());
    ask("DELETE", &recalled).expect(204);
    for (id, resolution) in [(kept, "commit"), (given_up, "rollback")] {
        let target = format!("{path}/transactions/{id}/resolution");
        ask_json("PUT", &target, &json!({"resolution": resolution})).expect(200);
    }
    assert_eq!(waiting(), (Some(1), Some(0), Some(602)));

    // Sampled every ten seconds: whoever publishes has a rate by then.
    let end = Instant::now() + crate::door::LIMIT;
    while stats()["publish_rate"].as_f64().unwrap() <= 0.0 {
        publish(json!({}));
        assert!(Instant::now() < end, "{}", stats());
    }
}

#[test]
fn the_cluster_the_caller_and_tickets_are_told() {
    let cluster = ask("GET", "/v1/cluster").expect(200).json();
    assert_eq!(cluster["names"], json!(["DefaultCluster"]));
    assert_eq!(cluster["limits"]["body_bytes"], 4 << 20);
    assert_eq!(
        (&cluster["brokers"], &cluster["nodes"]),
        (&json!(1), &json!(1))
    );
    let features = cluster["features"].as_array().unwrap();
    for able in ["sse", "leases", "idempotency", "transaction-timeout"] {
        assert!(features.contains(&json!(able)), "{able}: {cluster}");
    }
    assert_eq!(
        ask("GET", "/v1/brokers/none").expect(404).problem(),
        "broker-not-found"
    );
    assert_eq!(
        ask("GET", "/v1/me").expect(200).json(),
        json!({"user": "anonymous", "auth": "off"})
    );
    let wanted = json!({"path": "/v1/groups/ui/stream", "ttl": "10m"});
    let ticket = ask_json("POST", "/v1/stream-tickets", &wanted)
        .expect(201)
        .json();
    assert!(
        ticket["ticket"].as_str().unwrap().starts_with("st_"),
        "{ticket}"
    );
    for (wrong, problem) in [
        (json!({"path": "/v1/topics"}), "invalid-setting"),
        (
            json!({"path": "/v1/groups/ui/stream", "ttl": "16m"}),
            "invalid-setting",
        ),
        (json!({"ttl": "1m"}), "invalid-request"),
    ] {
        assert_eq!(
            ask_json("POST", "/v1/stream-tickets", &wrong).problem(),
            problem
        );
    }
}

#[test]
fn a_broker_tells_what_goes_through_it_and_how_full_its_disk_is() {
    let (topic, group) = (topic("rates"), group("rates"));
    crate::messages::receive(&group, &topic, "&wait=0s");
    let end = Instant::now() + crate::door::LIMIT;
    let above_zero = |rate: &Value| rate.as_f64().unwrap() > 0.0;
    let broker = loop {
        store(&topic, 3);
        crate::messages::receive(&group, &topic, "&wait=10s");
        let broker = ask("GET", "/v1/brokers/broker-a").expect(200).json();
        if above_zero(&broker["put_rate"]) && above_zero(&broker["get_rate"]) {
            break broker;
        }
        assert!(Instant::now() < end, "{broker}");
    };
    let used = broker["disk_used_ratio"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&used), "{broker}");
    assert_eq!(
        (&broker["version"], &broker["epoch"]),
        (&json!("V5_3_3"), &Value::Null)
    );
    assert_eq!(broker["members"][0]["role"], "master");
    let listed = ask("GET", "/v1/brokers").expect(200).json();
    let listed = &listed["items"][0];
    assert_eq!(
        (&listed["name"], &listed["members"]),
        (&json!("broker-a"), &broker["members"])
    );
    assert!(above_zero(&listed["put_rate"]), "{listed}");
}

#[test]
fn people_get_a_page_and_programs_get_links() {
    let html = send("GET", "/", &[("Accept", "text/html,*/*;q=0.8")], b"").expect(200);
    assert!(
        html.header("content-security-policy")
            .contains("default-src 'none'")
    );
    assert!(
        String::from_utf8(html.body)
            .unwrap()
            .contains("<title>Posthouse</title>")
    );
    let links = ask("GET", "/").expect(200).json();
    assert_eq!(links["openapi"], "/openapi.json");
    for (path, kind) in [("/page.css", "text/css"), ("/page.js", "text/javascript")] {
        assert!(
            ask("GET", path)
                .expect(200)
                .header("content-type")
                .starts_with(kind)
        );
    }
    // A link from elsewhere leads here; anything else from elsewhere does not.
    let visit = [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "navigate"),
    ];
    send("GET", "/", &visit, b"").expect(200);
    send("GET", "/v1/topics", &visit, b"").expect(403);
}
