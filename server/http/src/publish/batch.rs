//! Many messages in one request: each succeeds or fails by itself, in order within its message group.

mod read;
mod shown;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use posthouse_client::{Message, Producer, Sent, SentTogether};

use super::{Read, Target, begin};
use crate::body::Response;
use crate::call::Call;
use crate::clock;
use crate::idempotency::{self, Running};
use crate::json::{At, Effort};
use crate::media;
use crate::node::Node;
use crate::problem::{self, Fault, Problem};
use crate::publisher::{self, Kind};

use read::Reading;

/// The most entries of a batch.
pub(crate) const ENTRIES_MAX: usize = 256;
/// The longest name that an entry may have for its caller.
pub(crate) const ID_MAX: usize = 255;
/// Bodies of this length on are read in the blocking pool without a try.
const LONG: usize = 128 << 10;
/// Behind a body of this length, others have their turn before it is sent.
const MUCH: usize = 32 << 10;

/// One entry, and what became of it.
pub(crate) struct Entry {
    id: Option<String>,
    kind: Kind,
    deliver_at: Option<i64>,
    message: Option<Message>,
    /// It was given to a broker: until something is told of it, nobody knows what became of it.
    under_way: bool,
    done: Option<Done>,
}

/// What became of an entry.
enum Done {
    /// It was sent together with others: in which request, and where in it.
    Together(usize, usize),
    Alone(Box<Sent>),
    Failed(Box<Problem>),
}

/// Entries, and what brokers said to those that were sent together.
struct Batch {
    entries: Vec<Entry>,
    together: Vec<SentTogether>,
}

pub(super) async fn publish(mut call: Call) -> Result<Response, Problem> {
    media::is_json(&call.headers)?;
    let (target, key, _held) = begin(&call)?;
    let (limits, now) = (&call.node.options.limits, clock::wall_ms());
    let (request, limit) = (limits.batch, limits.body);
    let body = call.body(request).await?;
    let reading = Reading {
        topic: target.topic.clone(),
        key: key.clone(),
        now,
        limit,
    };
    let entries = read_all(body, reading).await?;
    publish_all(&call.node, target, key, entries, now).await
}

/// Reads a document: here, if that is quickly done, and else in the blocking pool.
async fn read_all(body: Bytes, reading: Reading) -> Result<Vec<Entry>, Problem> {
    if body.len() <= LONG
        && let Some(entries) = reading.read(&body, Effort::Little)?
    {
        if body.len() >= MUCH {
            tokio::task::yield_now().await;
        }
        return Ok(entries);
    }
    let read = tokio::task::spawn_blocking(move || reading.read(&body, Effort::Any));
    // Only a panic ends it otherwise, and that is ours; with any effort there is always an end.
    let read = read.await.unwrap_or(Ok(None))?;
    read.ok_or_else(|| Problem::new(&problem::INTERNAL))
}

/// Sends what may be sent, and tells of each entry what became of it. `key`: the request's, which is being
/// answered.
///
/// # Errors
/// `topic-not-found`; `unavailable`.
pub(crate) async fn publish_all(
    node: &Arc<Node>,
    mut target: Target,
    key: Option<String>,
    entries: Vec<Entry>,
    now: i64,
) -> Result<Response, Problem> {
    let messages = entries.iter().filter_map(|entry| entry.message.as_ref());
    let length: usize = messages.map(|message| message.body.len()).sum();
    if length < publisher::LONG {
        return publish_here(node, &target, key.as_deref(), entries, now).await;
    }
    let _place = node.publisher.place(&mut target.timeout).await?;
    let node = node.clone();
    let all = async move { publish_here(&node, &target, key.as_deref(), entries, now).await };
    publisher::elsewhere(all).await?
}

async fn publish_here(
    node: &Node,
    target: &Target,
    key: Option<&str>,
    mut entries: Vec<Entry>,
    now: i64,
) -> Result<Response, Problem> {
    // What the topic is is asked once; what it does not take fails entry by entry.
    let mut left = target.timeout;
    let known = (node.publisher).known(&node.client, &target.topic, &mut left);
    let known = known.await?;
    let mut all_right = true;
    for entry in &mut entries {
        let open = entry.message.as_mut().filter(|_| entry.done.is_none());
        if let Some(message) = open {
            target.trace(message);
            if let Err(problem) = known.takes(message) {
                entry.fail(problem);
            }
        }
        all_right &= entry.done.is_none();
    }
    if !all_right {
        hold_back(&mut entries);
    }
    let together = Vec::new();
    let mut batch = Batch { entries, together };
    let producer = node.publisher.producer(&node.client)?;
    let begin = |own: &str| match Some(own) == key {
        true => Ok(None),
        false => target.begin(node, Some(own)),
    };
    if tokio::time::timeout(left, batch.send(producer, begin))
        .await
        .is_err()
    {
        node.publisher.forget(&target.topic);
    }
    Ok(shown::shown(&batch, now))
}

impl Entry {
    /// An entry that was read elsewhere, or what is wrong with it.
    pub(crate) fn of(id: Option<String>, read: Result<Read, Problem>) -> Entry {
        match read {
            Ok(read) => Entry {
                id,
                ..Entry::new(read.message, read.deliver_at)
            },
            Err(problem) => Entry {
                id,
                ..Entry::wrong(problem)
            },
        }
    }

    fn new(message: Message, deliver_at: Option<i64>) -> Entry {
        Entry {
            id: None,
            kind: Kind::of(&message),
            deliver_at,
            message: Some(message),
            under_way: false,
            done: None,
        }
    }

    /// An entry that is not even a message.
    fn wrong(problem: Problem) -> Entry {
        Entry {
            id: None,
            kind: Kind::Normal,
            deliver_at: None,
            message: None,
            under_way: false,
            done: Some(Done::Failed(Box::new(problem))),
        }
    }

    fn group(&self) -> Option<&str> {
        self.message.as_ref()?.sharding_key.as_deref()
    }

    fn is_keyed(&self) -> bool {
        let message = self.message.as_ref();
        message.is_some_and(|message| message.idempotency.is_some())
    }

    fn fail(&mut self, problem: Problem) {
        self.done = Some(Done::Failed(Box::new(problem)));
    }
}

pub(crate) fn invalid(at: At<'_>, detail: impl Into<String>) -> Problem {
    Problem::new(&problem::INVALID_BATCH).faults(vec![Fault::pointer(at.pointer(), detail)])
}

/// Behind an entry that failed, those of its message group fail too: order has no holes.
fn hold_back(entries: &mut [Entry]) {
    let mut failed: HashSet<String> = HashSet::new();
    for entry in entries {
        let Some(group) = entry.group() else {
            continue;
        };
        let is_failed = matches!(entry.done, Some(Done::Failed(_)));
        let behind = failed.contains(group);
        if is_failed && !behind {
            failed.insert(group.to_owned());
        }
        if behind && entry.done.is_none() {
            entry.fail(predecessor());
        }
    }
}

fn predecessor() -> Problem {
    Problem::new(&problem::PREDECESSOR_FAILED)
        .detail("it was not sent: an earlier message of its group failed")
}

/// What is sent how: places of entries.
#[derive(Default)]
struct Plan {
    /// What is sent together, request by request.
    together: Vec<Vec<usize>>,
    /// What is sent one by one, behind that.
    alone: Vec<usize>,
}

impl Plan {
    /// Messages without order go together, those of a group together; those for later, those with a key and those of
    /// a group with such a one by one.
    fn of(entries: &[Entry]) -> Plan {
        let groups = entries.iter().filter(|entry| entry.is_keyed());
        let in_steps: HashSet<&str> = groups.filter_map(Entry::group).collect();
        let mut plan = Plan::default();
        let mut of_none = None;
        let mut by_group: HashMap<&str, usize> = HashMap::new();
        let open = entries.iter().enumerate();
        for (place, entry) in open.filter(|(_, entry)| entry.done.is_none()) {
            let group = entry.group();
            let of_steps = group.is_some_and(|group| in_steps.contains(group));
            if entry.kind == Kind::Delay || entry.is_keyed() || of_steps {
                plan.alone.push(place);
                continue;
            }
            let next = plan.together.len();
            let at = match group {
                None => *of_none.get_or_insert(next),
                Some(group) => *by_group.entry(group).or_insert(next),
            };
            if at == next {
                // Mostly they are all without a group.
                let room = if group.is_none() { entries.len() } else { 0 };
                plan.together.push(Vec::with_capacity(room));
            }
            plan.together[at].push(place);
        }
        plan
    }
}

impl Batch {
    /// Sends what is not done. `begin`: to answer a caller's own key.
    async fn send(
        &mut self,
        producer: &Producer,
        begin: impl Fn(&str) -> Result<Option<Running>, Problem>,
    ) {
        let plan = Plan::of(&self.entries);
        for places in plan.together {
            match places[..] {
                [place] => self.send_alone(producer, place, &begin).await,
                _ => self.send_together(producer, &places).await,
            }
        }
        for place in plan.alone {
            hold_back(&mut self.entries);
            if self.entries[place].done.is_none() {
                self.send_alone(producer, place, &begin).await;
            }
        }
    }

    async fn send_alone(
        &mut self,
        producer: &Producer,
        place: usize,
        begin: impl Fn(&str) -> Result<Option<Running>, Problem>,
    ) {
        let entry = &mut self.entries[place];
        let Some(message) = entry.message.clone() else {
            return;
        };
        // Those that the request's key names, and events, have names that no caller says.
        let own = message.idempotency.as_ref().map(|named| named.key.clone());
        let own = own.filter(|key| idempotency::is_key(key));
        let running = match own.as_deref().map_or(Ok(None), begin) {
            Ok(running) => running,
            Err(problem) => return entry.fail(problem),
        };
        entry.under_way = true;
        let sent = producer.send(message).await;
        drop(running);
        entry.done = Some(match sent {
            Ok(sent) => Done::Alone(Box::new(sent)),
            Err(error) => Done::Failed(Box::new(publisher::failed(error, entry.kind))),
        });
    }

    async fn send_together(&mut self, producer: &Producer, places: &[usize]) {
        for place in places {
            self.entries[*place].under_way = true;
        }
        let message = |place: &usize| self.entries[*place].message.as_ref();
        let mut messages: Vec<&Message> = Vec::with_capacity(places.len());
        messages.extend(places.iter().filter_map(message));
        let (sent, end) = producer.send_together(&messages).await;
        let mut places = places.iter();
        for sent in sent {
            let request = self.together.len();
            for (at, place) in (0..sent.len()).zip(&mut places) {
                self.entries[*place].done = Some(Done::Together(request, at));
            }
            self.together.push(sent);
        }
        let Some(place) = places.next() else {
            return;
        };
        let first = &mut self.entries[*place];
        let problem = end.map_err(|error| publisher::failed(error, first.kind));
        let problem = problem
            .err()
            .unwrap_or_else(|| Problem::new(&problem::INTERNAL));
        let kind = problem.kind();
        first.fail(problem);
        for place in places {
            let entry = &mut self.entries[*place];
            entry.fail(match entry.group() {
                Some(_) => predecessor(),
                None => Problem::new(kind).detail("as the message before it"),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<Entry> {
        read(text).unwrap()
    }

    fn read(text: &str) -> Result<Vec<Entry>, Problem> {
        let body = Bytes::copy_from_slice(text.as_bytes());
        let read = reading().read(&body, Effort::Any)?;
        Ok(read.unwrap())
    }

    fn reading() -> Reading {
        Reading {
            topic: "t".into(),
            key: None,
            now: 0,
            limit: 100,
        }
    }

    fn slugs(entries: &[Entry]) -> Vec<&'static str> {
        let slug = |entry: &Entry| match &entry.done {
            Some(Done::Failed(problem)) => problem.kind().slug,
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
    fn what_is_digested_takes_longer() {
        let message = |more: &str| format!("{{\"body\":\"{}\"{more}}}", "x".repeat(1024));
        let batch = |own: &str| {
            let all = (0..64).map(|n| message(&own.replace('#', &n.to_string())));
            let all: Vec<_> = all.collect();
            Bytes::from(format!("{{\"messages\":[{}]}}", all.join(",")))
        };
        let read = |body: &Bytes, key: Option<&str>, effort| {
            let key = key.map(str::to_owned);
            let limit = 2_000;
            let reading = Reading {
                key,
                limit,
                ..reading()
            };
            reading.read(body, effort).unwrap()
        };
        let plain = batch("");
        let own = batch(",\"idempotency_key\":\"k#\"");
        assert!(read(&plain, None, Effort::Little).is_some());
        for (body, key) in [(&plain, Some("k")), (&own, None)] {
            assert!(read(body, key, Effort::Little).is_none());
            let entries = read(body, key, Effort::Any).unwrap();
            assert!(entries.len() == 64 && entries.iter().all(Entry::is_keyed));
        }
    }

    #[test]
    fn a_batch_is_whole_or_nothing_is_read() {
        let refused = |text: &str| read(text).err().unwrap();
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
            Some(Done::Failed(problem)) => problem.to_json(None),
            _ => panic!("it is allowed"),
        };
        assert_eq!(told["errors"][0]["pointer"], "/messages/2/tag");
    }
}
