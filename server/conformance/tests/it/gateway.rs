//! `server/docs/gateway.md` is what a gateway does: each operation is run in front of Posthouse and of both of
//! Apache's releases, and its cells must say how they differ.
#![allow(clippy::unwrap_used)] // a test stops at the first surprise

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use conformance::home;
use conformance::servers::{self, Apache, Extra};
use conformance::toolchain::Release;
use serde_json::{Value, json};

use crate::web::serving;

const PAGE: &str = include_str!("../../../docs/gateway.md");
/// What needs no broker.
const OF_THE_DOOR: [&str; 11] = [
    "livez",
    "readyz",
    "getOpenapiJson",
    "getOpenapiYaml",
    "getProblem",
    "getPage",
    "getPageStyle",
    "getPageScript",
    "getDocs",
    "getDocsStyle",
    "getDocsScript",
];

/// A reply needs a question that somebody received; the others ask with private codes.
const NOT_RUN: [&str; 5] = [
    "sendReply",
    "redriveDeadLetters",
    "purgeDeadLetters",
    "getOperation",
    "cancelOperation",
];

/// One door, and what each operation came to there.
struct Door {
    base: String,
    seen: BTreeMap<&'static str, String>,
    /// The body of that answer; of a stream, what its last event told.
    told: BTreeMap<&'static str, Value>,
    /// An answer of the last call.
    body: Value,
}

impl Door {
    fn new(base: &str) -> Door {
        Door {
            base: base.to_owned(),
            seen: BTreeMap::new(),
            told: BTreeMap::new(),
            body: Value::Null,
        }
    }

    /// Calls, and gives the status.
    fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> String {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-m", "90", "-X", method, "-w", "\n%{http_code}"]);
        if path.contains("/stream?") {
            curl.args(["-H", "Accept: text/event-stream"]);
        }
        if path.ends_with(":raw") {
            curl.args(["-H", "Mq-Delay: 1h"]);
        }
        if let Some(body) = body {
            let kind = match method {
                "PATCH" => "application/merge-patch+json",
                _ if path.contains("/events") => "application/cloudevents+json",
                _ => "application/json",
            };
            curl.args(["-H", &format!("Content-Type: {kind}"), "-d"]);
            curl.arg(body.to_string());
        }
        let output = curl.arg(format!("{}{path}", self.base));
        let output = output.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        let event = body
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("data: "));
        self.body = serde_json::from_str(event.unwrap_or(body)).unwrap_or(Value::Null);
        status.to_owned()
    }

    /// Calls, and notes the status as what the operation came to.
    fn run(&mut self, operation: &'static str, method: &str, path: &str, body: Option<&Value>) {
        let status = self.call(method, path, body);
        self.note(operation, status);
    }

    fn note(&mut self, operation: &'static str, status: String) {
        self.seen.insert(operation, status);
        self.told.insert(operation, self.body.clone());
    }

    /// Notes a value of the last answer beside the status.
    fn also(&mut self, operation: &'static str, what: &Value) {
        let seen = self.seen.get_mut(operation).unwrap();
        seen.push_str(&format!(" {what}"));
    }

    /// Settles a lease; what became of it is what the operation came to.
    fn settle(&mut self, operation: &'static str, verb: &str, lease: &str, mut more: Value) {
        more["lease_ids"] = json!([lease]);
        let path = format!("/v1/groups/table/leases:{verb}");
        let status = self.call("POST", &path, Some(&more));
        let entry = self.body["results"][0]["status"].as_u64();
        let status = entry.map_or(status, |status| status.to_string());
        self.note(operation, status);
    }
}

fn topics(door: &mut Door) {
    let topic = "/v1/topics/table";
    assert_eq!(door.call("PUT", topic, None), "201");
    for (operation, path) in [
        ("listTopics", "/v1/topics"),
        ("getTopic", topic),
        ("getTopicStats", "/v1/topics/table/stats"),
        ("getTopicOffsets", "/v1/topics/table/offsets"),
        ("listTopicGroups", "/v1/topics/table/groups"),
        ("getCluster", "/v1/cluster"),
        ("listBrokers", "/v1/brokers"),
        ("getBroker", "/v1/brokers/broker-a"),
        ("listClients", "/v1/clients"),
        ("whoAmI", "/v1/me"),
    ] {
        door.run(operation, "GET", path, None);
    }
    let config = json!({"transaction_check_max": 16});
    let path = "/v1/brokers/broker-a/config";
    for (operation, method, body) in [
        ("getBrokerConfig", "GET", None),
        ("patchBrokerConfig", "PATCH", Some(&config)),
    ] {
        let status = door.call(method, path, body);
        // Which settings there are is the broker's business.
        door.body = json!({"broker_name": door.body["broker_name"]});
        door.note(operation, status);
    }
    door.run("putTopic", "PUT", topic, None);
    let queues = json!({"queues": 4});
    door.run("patchTopic", "PATCH", topic, Some(&queues));
    assert_eq!(door.call("PUT", "/v1/topics/table-gone", None), "201");
    let gone = "/v1/topics/table-gone?confirm=table-gone";
    door.run("deleteTopic", "DELETE", gone, None);
    let ticket = json!({"path": "/v1/topics/table/stream"});
    door.run(
        "createStreamTicket",
        "POST",
        "/v1/stream-tickets",
        Some(&ticket),
    );
}

fn groups(door: &mut Door) {
    let retry = json!({"retry": {"steps": ["1s", "2s"]}});
    assert_eq!(door.call("PUT", "/v1/groups/table", None), "201");
    assert_eq!(door.call("PUT", "/v1/groups/retries", Some(&retry)), "201");
    door.run("putGroup", "PUT", "/v1/groups/retries", Some(&retry));
    door.run("getGroup", "GET", "/v1/groups/retries", None);
    let shown = door.body["retry"].clone();
    door.also("getGroup", &shown);
    let other = json!({"retry": {"steps": ["3s"]}});
    door.run("patchGroup", "PATCH", "/v1/groups/retries", Some(&other));
    door.call("GET", "/v1/groups/retries", None);
    let shown = door.body["retry"].clone();
    door.also("patchGroup", &shown);
    for (operation, path) in [
        ("listGroups", "/v1/groups"),
        ("getGroupOffsets", "/v1/groups/table/offsets"),
        ("getGroupLag", "/v1/groups/table/lag"),
        ("listGroupClients", "/v1/groups/table/clients"),
        ("browseDeadLetters", "/v1/groups/table/dead-letters"),
    ] {
        door.run(operation, "GET", path, None);
    }
    let to = json!({"topic": "table", "to": {"position": "earliest"}});
    let reset = "/v1/groups/retries/offsets:reset";
    door.run("resetOffsets", "POST", reset, Some(&to));
    let own = "/v1/groups/retries/subscriptions/table";
    let filter = json!({"filter": {"type": "tag", "expression": "a || b"}, "start": "latest"});
    door.run("putSubscription", "PUT", own, Some(&filter));
    door.run("getSubscription", "GET", own, None);
    let all = "/v1/groups/retries/subscriptions";
    door.run("listSubscriptions", "GET", all, None);
    door.run("deleteSubscription", "DELETE", own, None);
    let gone = "/v1/groups/retries?confirm=retries";
    door.run("deleteGroup", "DELETE", gone, None);
}

/// Gives the handle of a delayed message, if there is one.
fn messages(door: &mut Door) -> Option<String> {
    let topic = "/v1/topics/table";
    let path = format!("{topic}/messages");
    assert_eq!(door.call("POST", &path, Some(&json!({"body": "x"}))), "201");
    let id = door.body["message_id"].as_str().unwrap().to_owned();
    // Brokers index what they stored a little later.
    let end = Instant::now() + Duration::from_secs(30);
    while !door.seen.contains_key("getMessage")
        || (door.seen["getMessage"] == "404" && Instant::now() < end)
    {
        door.run("getMessage", "GET", &format!("{path}/{id}"), None);
    }
    door.run("browseMessages", "GET", &path, None);
    let stream = format!("{topic}/stream?from=earliest&max_events=1&max_duration=30s");
    door.run("tailTopic", "GET", &stream, None);
    let later = json!({"body": "x", "delay": "1h"});
    let batch = json!({"messages": [later, {"body": "y"}, {"body": "z"}]});
    let all = format!("{path}:batch");
    door.run("publishBatch", "POST", &all, Some(&batch));
    let told = door.body["results"][0]["recall_handle"].is_string();
    door.also("publishBatch", &json!(told));
    door.run("publishMessage", "POST", &path, Some(&later));
    let handle = door.body["recall_handle"].as_str().map(str::to_owned);
    door.also("publishMessage", &json!(handle.is_some()));
    let ask = format!("{path}:request?timeout=50ms");
    door.run("requestReply", "POST", &ask, Some(&json!({"body": "q"})));
    let raw = format!("{path}:raw");
    door.run("publishRaw", "POST", &raw, Some(&json!("bytes")));
    let told = door.body["recall_handle"].is_string();
    door.also("publishRaw", &json!(told));
    let event =
        json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"n": 1}});
    // In a topic of their own: which message a group gets first is chance, and an event has more properties.
    assert_eq!(door.call("PUT", "/v1/topics/table-events", None), "201");
    let events = "/v1/topics/table-events/events";
    let unnamed = format!("{events}?idempotency=none");
    assert_eq!(door.call("POST", &unnamed, Some(&event)), "201");
    door.run("publishEvents", "POST", events, Some(&event));
    let begin = format!("{topic}/transactions");
    let half = json!({"body": "half"});
    door.run("beginTransaction", "POST", &begin, Some(&half));
    let id = door.body["transaction_id"].as_str().unwrap();
    let half = format!("{begin}/{id}");
    door.run("getTransaction", "GET", &half, None);
    checks(door, topic);
    let resolve = format!("{half}/resolution");
    let commit = json!({"resolution": "commit"});
    assert_eq!(door.call("PUT", &resolve, Some(&commit)), "200");
    let opposite = json!({"resolution": "rollback"});
    door.run("resolveTransaction", "PUT", &resolve, Some(&opposite));
    handle
}

/// Brokers ask about the half message that was begun before.
fn checks(door: &mut Door, topic: &str) {
    let receive = format!("{topic}/transaction-checks:receive?wait=30s");
    let stream = format!("{topic}/transaction-checks/stream?max_duration=1s");
    let end = Instant::now() + Duration::from_secs(120);
    let mut came = false;
    while !came && Instant::now() < end {
        door.run("receiveChecks", "POST", &receive, None);
        came = door.body["checks"][0]["check_id"].is_string();
    }
    door.also("receiveChecks", &json!(came));
    door.run("streamChecks", "GET", &stream, None);
    let checker = format!("{topic}/transaction-checker");
    // A name that nobody has: no receiver is called anywhere.
    let wanted = json!({"url": "https://receiver.invalid/"});
    door.run("putChecker", "PUT", &checker, Some(&wanted));
    door.run("getChecker", "GET", &checker, None);
    door.run("deleteChecker", "DELETE", &checker, None);
    door.run("listCheckers", "GET", "/v1/transaction-checkers", None);
}

/// Gives four leases, if any.
fn receive(door: &mut Door) -> Vec<String> {
    let path = "/v1/groups/table/messages:receive?topic=table&tag=*&max=4&wait=0s&lease=10m";
    door.run("receiveMessages", "POST", path, None);
    let mut leases = Vec::new();
    while leases.len() < 4 && door.seen["receiveMessages"] == "200" {
        let more = "/v1/groups/table/messages:receive?topic=table&max=4&wait=20s&lease=10m";
        let messages = door.body["messages"].as_array().unwrap();
        let ids = messages.iter().map(|one| one["lease_id"].as_str().unwrap());
        leases.extend(ids.map(str::to_owned));
        door.call("POST", more, None);
    }
    let stream = "/v1/groups/table/stream?topic=table&max_duration=1s";
    door.run("streamGroup", "GET", stream, None);
    leases
}

#[test]
fn a_gateways_page_is_what_it_does() {
    if super::skipped(&["java", "mvn", "curl"]) {
        return;
    }
    let (five, four) = (
        servers::apache(Apache::Both),
        servers::apache_of(Release::V4, Apache::Both),
    );
    let secret = conformance::workshop().join(format!("gateway-{}.secret", std::process::id()));
    std::fs::write(&secret, format!("{}\n", "5a".repeat(32))).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).unwrap();
    let own = servers::standalone();
    let gateway = |namesrv: &str| {
        let secret = secret.display().to_string();
        serving(
            &["gateway", "-n", namesrv, "--token-secret-file", &secret],
            None,
        )
    };
    let running = [&own.namesrv, &five.namesrv, &four.namesrv].map(|namesrv| gateway(namesrv));
    let mut doors = [0, 1, 2].map(|place| Door::new(&running[place].1));
    let mut handles = Vec::new();
    let mut leases = Vec::new();
    for door in &mut doors {
        topics(door);
        groups(door);
        handles.push(messages(door));
        leases.push(receive(door));
    }
    for (place, door) in doors.iter_mut().enumerate() {
        // 4.9.7 gives no handle and no leases: those of 5.3.3 show what it does with them.
        let from = if place == 2 { 1 } else { place };
        let handle = handles[from].as_deref().unwrap();
        let recall = format!("/v1/topics/table/scheduled-messages/{handle}");
        door.run("recallMessage", "DELETE", &recall, None);
        let leases = &leases[from];
        door.settle(
            "extendLeases",
            "extend",
            &leases[0],
            json!({"lease": "50s"}),
        );
        door.settle("ackLeases", "ack", &leases[1], json!({}));
        door.settle(
            "releaseLeases",
            "release",
            &leases[2],
            json!({"delay": "1s"}),
        );
        door.settle("deadLetterLeases", "dead-letter", &leases[3], json!({}));
    }
    let _ = std::fs::remove_file(&secret);
    for (door, kept) in doors.iter_mut().zip(["201", "501", "501"]) {
        let half = json!({"body": "half", "timeout": "1h"});
        let begun = door.call("POST", "/v1/topics/table/transactions", Some(&half));
        assert_eq!(begun, kept, "a time limit of a transaction: {}", door.body);
    }
    compare(&doors);
}

/// Where two bodies are not of one shape: other members, or values of other types. `null` may stand for anything,
/// and of two lists the first items count.
fn difference(ours: &Value, other: &Value, at: &str) -> Option<String> {
    match (ours, other) {
        (Value::Null, _) | (_, Value::Null) => None,
        (Value::Object(ours), Value::Object(other)) => {
            let names = |of: &serde_json::Map<String, Value>| {
                of.keys()
                    .cloned()
                    .collect::<std::collections::BTreeSet<_>>()
            };
            if let Some(name) = names(ours).symmetric_difference(&names(other)).next() {
                return Some(format!("{at}/{name} is only in one"));
            }
            let mut members = ours.iter();
            members
                .find_map(|(name, value)| difference(value, &other[name], &format!("{at}/{name}")))
        }
        (Value::Array(ours), Value::Array(other)) => {
            let (ours, other) = (ours.first()?, other.first()?);
            difference(ours, other, &format!("{at}/0"))
        }
        _ => {
            let same = std::mem::discriminant(ours) == std::mem::discriminant(other);
            (!same).then(|| format!("{at} is {ours} and {other}"))
        }
    }
}

#[test]
fn a_difference_of_shape_is_seen() {
    let ours = json!({"items": [{"name": "a", "at": null}], "next": "x"});
    let same = json!({"items": [{"name": "b", "at": 7}, {}], "next": null});
    assert_eq!(difference(&ours, &same, ""), None);
    for (other, told) in [
        (json!({"items": [], "next": 1}), "/next is \"x\" and 1"),
        (json!({"items": []}), "/next is only in one"),
        (
            json!({"items": [{"name": "a"}], "next": "x"}),
            "/items/0/at is only in one",
        ),
    ] {
        assert_eq!(difference(&ours, &other, "").as_deref(), Some(told));
    }
}

/// Every cell against what was seen.
fn compare(doors: &[Door; 3]) {
    let document = std::fs::read_to_string(home().join("../../openapi/openapi.yaml")).unwrap();
    let operations = document
        .lines()
        .filter_map(|line| line.trim().strip_prefix("operationId: "));
    let mut wrong = Vec::new();
    for operation in operations.filter(|operation| !OF_THE_DOOR.contains(operation)) {
        let named = format!("`{operation}`");
        let rows: Vec<Vec<&str>> = PAGE
            .lines()
            .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>())
            .filter(|cells| cells.len() == 5 && cells[1].split(' ').any(|word| word == named))
            .collect();
        let [row] = rows.as_slice() else {
            wrong.push(format!("{operation} has {} rows", rows.len()));
            continue;
        };
        if NOT_RUN.contains(&operation) {
            continue;
        }
        let Some(ours) = doors[0].seen.get(operation) else {
            wrong.push(format!("{operation} was not run"));
            continue;
        };
        for (door, cell) in doors[1..].iter().zip(&row[2..4]) {
            let seen = &door.seen[operation];
            let holds = match cell {
                cell if cell.starts_with("same") => seen == ours,
                cell if cell.starts_with("501") => seen.split(' ').next() == Some("501"),
                _ => seen != ours,
            };
            if !holds {
                wrong.push(format!("{operation}: \"{cell}\", but {seen}; ours {ours}"));
            }
            let (told, own) = (&door.told[operation], &doors[0].told[operation]);
            // Nothing else is 501: whoever reads the type knows why.
            let why = "\"/problems/unsupported-by-broker\"";
            if seen.starts_with("501") && !told.to_string().contains(why) {
                wrong.push(format!("{operation}: 501 of another type: {told}"));
            }
            if cell.starts_with("same")
                && let Some(why) = difference(own, told, "")
            {
                wrong.push(format!("{operation}: \"{cell}\", but {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_gateway_has_the_rights_of_the_user_it_signs_for() {
    if super::skipped(&["java", "mvn", "curl"]) {
        return;
    }
    let extra = Extra {
        broker: servers::AUTH,
        ..Extra::default()
    };
    let apache = servers::apache_with(Release::V5, Apache::Both, &extra);
    let file = conformance::workshop().join(format!("gateway-{}.conf", std::process::id()));
    let mode: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    let path = file.display().to_string();
    let mut doors = Vec::new();
    for user in [
        "",
        "accessKey=rocketmq\nsecretKey=12345678\n",
        "accessKey=rocketmq\nsecretKey=another\n",
    ] {
        std::fs::write(&file, user).unwrap();
        std::fs::set_permissions(&file, mode.clone()).unwrap();
        doors.push(serving(
            &["gateway", "-n", &apache.namesrv, "-c", &path],
            None,
        ));
    }
    let _ = std::fs::remove_file(&file);
    let mut doors = doors.iter().map(|(_, base)| Door::new(base));
    let mut door = || doors.next().unwrap();
    let (mut nobody, mut user, mut impostor) = (door(), door(), door());
    let (topic, message) = ("/v1/topics/guarded", json!({"body": "x"}));
    let messages = format!("{topic}/messages");
    assert_eq!(nobody.call("PUT", topic, None), "403");
    assert_eq!(user.call("PUT", topic, None), "201");
    assert_eq!(user.call("POST", &messages, Some(&message)), "201");
    for refused in [&mut nobody, &mut impostor] {
        assert_eq!(refused.call("POST", &messages, Some(&message)), "403");
        assert_eq!(
            refused.call("DELETE", "/v1/topics/guarded?confirm=guarded", None),
            "403"
        );
    }
    assert_eq!(user.call("GET", &messages, None), "200");
    assert_eq!(user.body["messages"].as_array().unwrap().len(), 1);
    apache.stop();
}
