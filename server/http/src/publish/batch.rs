//! Many messages in one request: each succeeds or fails by itself, in order within its message group.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use posthouse_client::{Message, Producer, Sent};

use super::{Read, Target, answer, begin, read_body};
use crate::body::{Body, Response};
use crate::call::Call;
use crate::clock;
use crate::draft::{Draft, FIELDS};
use crate::idempotency::{self, Running};
use crate::json::{self, At, Faults, Value};
use crate::media;
use crate::node::Node;
use crate::problem::{self, Fault, Problem};
use crate::publisher::{self, Kind};
use crate::write::Object;

/// The most entries of a batch.
pub(crate) const ENTRIES_MAX: usize = 256;
/// The longest name that an entry may have for its caller.
pub(crate) const ID_MAX: usize = 255;

/// One entry, and what became of it.
pub(crate) struct Entry {
    id: Option<String>,
    kind: Kind,
    deliver_at: Option<i64>,
    /// Kept beside the message, which is given away when it is sent.
    group: Option<String>,
    message: Option<Message>,
    done: Option<Result<Sent, Problem>>,
}

pub(super) async fn publish(mut call: Call) -> Result<Response, Problem> {
    media::is_json(&call.headers)?;
    let (target, key, _held) = begin(&call)?;
    let (limits, now) = (&call.node.options.limits, clock::wall_ms());
    let (request, limit) = (limits.batch, limits.body);
    let body = call.body(request).await?;
    let (topic, of_all) = (target.topic.clone(), key.clone());
    let entries = read_body(body, move |body| {
        read(body, &topic, of_all.as_deref(), now, limit)
    })
    .await?;
    publish_all(&call.node, &target, key.as_deref(), entries, now).await
}

/// Sends what may be sent, and tells of each entry what became of it. `key`: the request's, which is being
/// answered.
///
/// # Errors
/// `topic-not-found`.
pub(crate) async fn publish_all(
    node: &Node,
    target: &Target,
    key: Option<&str>,
    mut entries: Vec<Entry>,
    now: i64,
) -> Result<Response, Problem> {
    // What the topic is is asked once; what it does not take fails entry by entry.
    let known = node.publisher.known(&node.client, &target.topic).await?;
    for entry in entries.iter_mut().filter(|entry| entry.done.is_none()) {
        let Some(message) = &entry.message else {
            continue;
        };
        if let Err(problem) = known.takes(message) {
            entry.done = Some(Err(problem));
        }
    }
    hold_back(&mut entries);
    let producer = node.publisher.producer(&node.client)?;
    let begin = |own: &str| match Some(own) == key {
        true => Ok(None),
        false => target.begin(node, Some(own)),
    };
    if tokio::time::timeout(target.timeout, send(producer, &mut entries, begin))
        .await
        .is_err()
    {
        node.publisher.forget(&target.topic);
    }
    Ok(shown(&entries, now))
}

/// The entries of a document. What is wrong with one entry is noted there.
fn read(
    body: &Bytes,
    topic: &Arc<str>,
    key: Option<&str>,
    now: i64,
    limit: usize,
) -> Result<Vec<Entry>, Problem> {
    let mut faults = Faults::default();
    let (at, mut items) = (At::Root, None);
    for (name, value) in faults.object(at, json::parse(body)?).into_iter().flatten() {
        match &*name {
            "messages" => items = faults.array(at.member("messages"), value),
            _ => faults.unknown(at, &name, &["messages"]),
        }
    }
    if items.is_none() && faults.is_empty() {
        faults.missing(at, "messages");
    }
    faults.check()?;
    let at = at.member("messages");
    let mut entries = Vec::new();
    let mut ids = HashSet::new();
    for (place, item) in items.into_iter().flatten().enumerate() {
        if place == ENTRIES_MAX {
            return Err(invalid(at, format!("at most {ENTRIES_MAX} messages")));
        }
        let at = at.item(place);
        let key = key.map(|key| idempotency::of_entry(key, place));
        let entry = entry(item, at, Draft::new(topic, now).within(body), key, limit);
        if let Some(id) = entry.id.clone()
            && !ids.insert(id)
        {
            return Err(invalid(at.member("id"), "another message has this id"));
        }
        entries.push(entry);
    }
    match entries.is_empty() {
        true => Err(invalid(at, "at least one message")),
        false => Ok(entries),
    }
}

impl Entry {
    /// An entry that was read elsewhere, or what is wrong with it.
    pub(crate) fn of(id: Option<String>, read: Result<Read, Problem>) -> Entry {
        let (read, done) = match read {
            Ok(read) => (Some(read), None),
            Err(problem) => (None, Some(Err(problem))),
        };
        let deliver_at = read.as_ref().and_then(|read| read.deliver_at);
        let message = read.map(|read| read.message);
        Entry {
            id,
            kind: message.as_ref().map_or(Kind::Normal, Kind::of),
            deliver_at,
            group: message.as_ref().and_then(|one| one.sharding_key.clone()),
            message,
            done,
        }
    }
}

pub(crate) fn invalid(at: At<'_>, detail: impl Into<String>) -> Problem {
    Problem::new(&problem::INVALID_BATCH).faults(vec![Fault::pointer(at.pointer(), detail)])
}

/// `key`: the entry's, unless it says its own.
fn entry<'a>(
    item: Value<'a>,
    at: At<'_>,
    mut draft: Draft<'a>,
    mut key: Option<String>,
    limit: usize,
) -> Entry {
    let mut faults = Faults::default();
    let mut id = None;
    for (name, value) in faults.object(at, item).into_iter().flatten() {
        let here = at.member(&name);
        if draft.field(&name, here, value, &mut faults) {
            continue;
        }
        match &*name {
            "id" => id = faults.text(here, value, ID_MAX).map(|id| id.into_owned()),
            "idempotency_key" => {
                let text = faults.string(here, value);
                match text {
                    Some(text) if idempotency::is_key(&text) => key = Some(text.into_owned()),
                    Some(_) => {
                        let kind = &problem::INVALID_IDEMPOTENCY_KEY;
                        faults.refuse(kind, here, idempotency::EXPECTED);
                    }
                    None => {}
                }
            }
            _ => faults.unknown(
                at,
                &name,
                &[&FIELDS[..], &["id", "idempotency_key"]].concat(),
            ),
        }
    }
    let group = draft.message.sharding_key.clone();
    // A body that is missing in what is no object was told already.
    let whole = faults.is_empty() || item.kind() == json::Kind::Object;
    let draft = whole
        .then(|| draft.finish(at, limit, &mut faults))
        .flatten();
    let done = faults.problem().map(Err);
    let deliver_at = draft.as_ref().and_then(|draft| draft.deliver_at);
    let message = draft.filter(|_| done.is_none()).map(|mut draft| {
        if let Some(key) = key {
            idempotency::name(&mut draft.message, key, &draft.said);
        }
        draft.message
    });
    Entry {
        id,
        kind: message.as_ref().map_or(Kind::Normal, Kind::of),
        deliver_at,
        group,
        message,
        done,
    }
}

/// Behind an entry that failed, those of its message group fail too: order has no holes.
fn hold_back(entries: &mut [Entry]) {
    let mut failed: HashSet<String> = HashSet::new();
    for entry in entries {
        let Some(group) = &entry.group else {
            continue;
        };
        if failed.contains(group) && entry.done.is_none() {
            entry.done = Some(Err(predecessor()));
        }
        if matches!(entry.done, Some(Err(_))) {
            failed.insert(group.clone());
        }
    }
}

fn predecessor() -> Problem {
    Problem::new(&problem::PREDECESSOR_FAILED)
        .detail("it was not sent: an earlier message of its group failed")
}

/// Sends what is not done: messages without order together, those of a group together; those for later, those
/// with a key and those of a group with such a one by one. `begin`: to answer a caller's own key.
async fn send(
    producer: &Producer,
    entries: &mut [Entry],
    begin: impl Fn(&str) -> Result<Option<Running>, Problem>,
) {
    let mut together: Vec<Vec<usize>> = Vec::new();
    let mut by_group: HashMap<Option<&str>, usize> = HashMap::new();
    let mut alone = Vec::new();
    let keyed = |entry: &Entry| {
        let named = |message: &Message| message.idempotency.is_some();
        entry.message.as_ref().is_some_and(named)
    };
    let groups = entries.iter().filter(|entry| keyed(entry));
    let in_steps: HashSet<String> = groups.filter_map(|entry| entry.group.clone()).collect();
    for (place, entry) in entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.done.is_none())
    {
        let of_steps = |group: &String| in_steps.contains(group);
        if entry.kind == Kind::Delay || keyed(entry) || entry.group.as_ref().is_some_and(of_steps) {
            alone.push(place);
            continue;
        }
        let next = together.len();
        let at = *by_group.entry(entry.group.as_deref()).or_insert(next);
        if at == next {
            together.push(Vec::new());
        }
        together[at].push(place);
    }
    for places in together {
        send_together(producer, entries, &places).await;
    }
    for place in alone {
        hold_back(entries);
        if entries[place].done.is_some() {
            continue;
        }
        let Some(message) = entries[place].message.take() else {
            continue;
        };
        let kind = entries[place].kind;
        // Those that the request's key names, and events, have names that no caller says.
        let own = message.idempotency.as_ref().map(|named| &*named.key);
        let own = own.filter(|key| idempotency::is_key(key));
        entries[place].done = Some(match own.map_or(Ok(None), &begin) {
            Err(problem) => Err(problem),
            Ok(_running) => {
                let sent = producer.send(message).await;
                sent.map_err(|error| publisher::failed(error, kind))
            }
        });
    }
}

async fn send_together(producer: &Producer, entries: &mut [Entry], places: &[usize]) {
    let messages: Vec<Message> = places
        .iter()
        .filter_map(|place| entries[*place].message.take())
        .collect();
    let (sent, error) = match messages.len() {
        1 => {
            let message = messages.into_iter().next();
            let sent = match message {
                Some(message) => producer.send(message).await,
                None => return,
            };
            match sent {
                Ok(sent) => (vec![sent], None),
                Err(error) => (Vec::new(), Some(error)),
            }
        }
        _ => match producer.send_batch(messages).await {
            Ok(sent) => (sent, None),
            Err(failed) => (failed.sent, Some(failed.error)),
        },
    };
    let mut places = places.iter();
    for (sent, place) in sent.into_iter().zip(&mut places) {
        entries[*place].done = Some(Ok(sent));
    }
    let Some(place) = places.next() else {
        return;
    };
    let problem = error.map(|error| publisher::failed(error, entries[*place].kind));
    let problem = problem.unwrap_or_else(|| Problem::new(&problem::INTERNAL));
    let kind = problem.kind();
    entries[*place].done = Some(Err(problem));
    for place in places {
        let in_order = entries[*place].group.is_some();
        entries[*place].done = Some(Err(match in_order {
            true => predecessor(),
            false => Problem::new(kind).detail("as the message before it"),
        }));
    }
}

fn shown(entries: &[Entry], now: i64) -> Response {
    let mut out = String::with_capacity(64 + entries.len() * 260);
    let mut failed = 0;
    let mut durability = None;
    let mut whole = Object::new(&mut out);
    let results = whole.value("results");
    results.push('[');
    for (place, entry) in entries.iter().enumerate() {
        if place > 0 {
            results.push(',');
        }
        let mut object = Object::new(results);
        object.number("index", place as u64);
        object.optional("id", entry.id.as_deref());
        match &entry.done {
            Some(Ok(sent)) => {
                object.number("status", answer::status(sent).as_u16().into());
                if sent.replayed {
                    object.value("replayed").push_str("true");
                }
                answer::sent(&mut object, sent, entry.kind, entry.deliver_at, || now);
                let told = sent.durability.as_deref().unwrap_or(answer::UNKNOWN);
                // What is not the same for all is said of none.
                let same = durability.is_none_or(|before| before == told);
                durability = Some(if same { told } else { answer::UNKNOWN });
            }
            done => {
                failed += 1;
                let unknown = Problem::new(&problem::PUBLISH_OUTCOME_UNKNOWN);
                let unsent = Problem::unavailable("the time was over before it was sent");
                let problem = match done {
                    Some(Err(problem)) => problem,
                    _ if entry.message.is_some() => &unsent,
                    _ => &unknown,
                };
                object.number("status", problem.kind().status.into());
                object
                    .value("problem")
                    .push_str(&problem.to_json(None).to_string());
            }
        }
        object.end();
    }
    results.push(']');
    whole.number("failed", failed);
    whole.end();
    let mut response = Response::new(Body::from(out));
    if failed > 0 {
        *response.status_mut() = StatusCode::MULTI_STATUS;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media::JSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(answer::DURABILITY.clone(), answer::durability(durability));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<Entry> {
        let body = Bytes::copy_from_slice(text.as_bytes());
        read(&body, &"t".into(), None, 0, 100).unwrap()
    }

    fn slugs(entries: &[Entry]) -> Vec<&'static str> {
        let slug = |entry: &Entry| match &entry.done {
            Some(Err(problem)) => problem.kind().slug,
            _ => "",
        };
        entries.iter().map(slug).collect()
    }

    #[test]
    fn behind_a_failed_entry_its_group_waits_and_no_other() {
        let mut entries = entries(
            r#"{"messages":[
                {"body":"1","message_group":"a"},
                {"body":"","message_group":"a"},
                {"body":"3","message_group":"a"},
                {"body":"4","message_group":"b"},
                {"body":"5"}
            ]}"#,
        );
        hold_back(&mut entries);
        assert_eq!(
            slugs(&entries),
            ["", "empty-body", "predecessor-failed", "", ""]
        );
    }

    #[test]
    fn a_batch_is_whole_or_nothing_is_read() {
        let refused = |text: &str| {
            let body = Bytes::copy_from_slice(text.as_bytes());
            read(&body, &"t".into(), None, 0, 100).err().unwrap()
        };
        for (text, slug) in [
            ("[]", "invalid-request"),
            ("{}", "invalid-request"),
            (r#"{"messages":{}}"#, "invalid-request"),
            (r#"{"messages":[],"x":1}"#, "invalid-request"),
            (r#"{"messages":[]}"#, "invalid-batch"),
            (
                r#"{"messages":[{"body":"1","id":"a"},{"body":"2","id":"a"}]}"#,
                "invalid-batch",
            ),
        ] {
            assert_eq!(refused(text).kind().slug, slug, "{text}");
        }
        let many = vec![r#"{"body":"x"}"#; 257].join(",");
        assert_eq!(
            refused(&format!(r#"{{"messages":[{many}]}}"#)).kind().slug,
            "invalid-batch"
        );
    }

    #[test]
    fn what_is_wrong_with_an_entry_is_told_there() {
        let entries = entries(r#"{"messages":[7,{"bdy":"x"},{"body":"x","tag":"a|b"}]}"#);
        assert_eq!(
            slugs(&entries),
            ["invalid-request", "invalid-request", "invalid-tag"]
        );
        let told = match &entries[2].done {
            Some(Err(problem)) => problem.to_json(None),
            _ => panic!("it is allowed"),
        };
        assert_eq!(told["errors"][0]["pointer"], "/messages/2/tag");
    }
}
