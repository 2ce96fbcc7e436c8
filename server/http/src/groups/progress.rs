//! Where a group is, how far it lags, and going elsewhere.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::StatusCode;
use posthouse_client::{Admin, Client, Error, GroupName, Progress, Pull, Queue, ResetTo};
use serde_json::{Value, json};

use super::{existing, only_namespace};
use crate::body::Response;
use crate::call::{Call, json_answer};
use crate::json::{self, At, Faults};
use crate::parameters::{NAMESPACE, Parameters};
use crate::problem::{self, Problem};
use crate::{clock, duration, many, names, shown, time};

/// Where the group goes on in each queue.
pub(super) async fn offsets(call: Call) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(call.query(), &["topic"], &[]);
    parameters.finish()?;
    let namespace = parameters.text(NAMESPACE);
    let group = names::group(call.parameter(0), namespace)?;
    let topic = parameters
        .text("topic")
        .map(|topic| names::topic(topic, namespace));
    let topic = topic.transpose()?;
    let admin = call.node.client.admin();
    existing(&admin, &group).await?;
    let topic = topic.as_ref().map(|topic| topic.as_str());
    let mut all = admin.progress(group.as_str(), topic).await?;
    all.retain(|own| !names::is_system(&own.queue.topic));
    let client = &call.node.client;
    let items = many::each(all, |own| {
        let admin = client.admin();
        async move {
            Ok(json!({
                "topic": &*own.queue.topic,
                "queue": shown::queue(&own.queue),
                "min": admin.min_offset(&own.queue).await?,
                "committed": own.committed,
                "max": own.end,
                "last_consumed_at": own.last_stored_at.map(time::format),
            }))
        }
    });
    let items = items.await?;
    Ok(json_answer(
        StatusCode::OK,
        &json!({"items": items, "next_page_token": null}),
    ))
}

/// Messages that the group has not done with.
pub(super) async fn lag(call: Call) -> Result<Response, Problem> {
    let group = only_namespace(&call)?;
    let admin = call.node.client.admin();
    existing(&admin, &group).await?;
    let mut topics: BTreeMap<String, Lag> = BTreeMap::new();
    let mut whole = Lag::default();
    let client = &call.node.client;
    let oldest = many::each(admin.progress(group.as_str(), None).await?, |own| {
        let client = client.clone();
        async move { Ok((oldest_ready(&client, &own).await?, own)) }
    });
    for (oldest, own) in oldest.await? {
        whole.add(&own, oldest);
        topics
            .entry(own.queue.topic.to_string())
            .or_default()
            .add(&own, oldest);
    }
    let topics = topics.into_iter().map(|(topic, lag)| {
        let mut shown = lag.shown();
        shown["topic"] = topic.into();
        shown
    });
    let mut shown = whole.shown();
    shown["topics"] = topics.collect();
    Ok(json_answer(StatusCode::OK, &shown))
}

#[derive(Default)]
struct Lag {
    all: u64,
    in_flight: u64,
    oldest_ready: Option<Duration>,
}

impl Lag {
    fn add(&mut self, own: &Progress, oldest_ready: Option<Duration>) {
        self.oldest_ready = self.oldest_ready.max(oldest_ready);
        self.all += own.lag();
        self.in_flight += own.pulled.min(own.end).saturating_sub(own.committed);
    }

    fn shown(&self) -> Value {
        json!({
            "lag": self.all,
            "ready": self.all - self.in_flight.min(self.all),
            "in_flight": self.in_flight.min(self.all),
            "oldest_ready_age": self.oldest_ready.map(duration::format),
        })
    }
}

/// How long the oldest message of a queue lies there that the group may get now. A broker that does not say it is
/// asked for that message; then the clock of this machine counts.
async fn oldest_ready(client: &Client, own: &Progress) -> Result<Option<Duration>, Problem> {
    if own.ready_for.is_some() {
        return Ok(own.ready_for);
    }
    let one = Pull {
        max: 1,
        max_bytes: Some(1),
        ..Pull::default()
    };
    let mut from = own.pulled.max(own.committed);
    while from < own.end {
        let pulled = match client.pull(&own.queue, from, &one).await {
            Ok(pulled) => pulled,
            // What may not be read, or is deleted just now, nobody gets.
            Err(Error::Refused(_) | Error::NoRoute(_)) => break,
            Err(error) => return Err(error.into()),
        };
        if let Some(message) = pulled.messages.first() {
            let age = clock::wall_ms().saturating_sub(message.stored_at);
            return Ok(Some(Duration::from_millis(u64::try_from(age).unwrap_or(0))));
        }
        // What is that old may be gone.
        if pulled.next <= from {
            break;
        }
        from = pulled.next;
    }
    Ok(None)
}

/// Where a reset leads.
enum To {
    Earliest,
    Latest,
    Time(i64),
    Queues(Vec<(String, u64)>),
}

/// What a reset asks for.
struct Reset {
    topic: String,
    to: To,
    dry_run: bool,
}

/// Sends the group to another place in a topic. What was leased before is void.
pub(super) async fn reset(mut call: Call) -> Result<Response, Problem> {
    let group = only_namespace(&call)?;
    let asked = read(&mut call).await?;
    let mut parameters = Parameters::new(call.query(), &[], &[]);
    parameters.finish()?;
    let topic = names::topic(&asked.topic, parameters.text(NAMESPACE))?;
    let admin = call.node.client.admin();
    existing(&admin, &group).await?;
    let plan = plan(&admin, &group, topic.as_str(), &asked.to).await?;
    if !asked.dry_run {
        for to in steps(&asked.to, &plan) {
            admin.reset(group.as_str(), topic.as_str(), &to).await?;
        }
    }
    let queue = |(queue, from, to): &(Queue, Option<u64>, u64)| json!({"queue": shown::queue(queue), "from": from, "to": to});
    let queues: Vec<Value> = plan.iter().map(queue).collect();
    let answer = json!({"dry_run": asked.dry_run, "queues": queues});
    Ok(json_answer(StatusCode::OK, &answer))
}

/// What brokers are asked for: all queues at once, or each that is named.
fn steps(to: &To, plan: &[(Queue, Option<u64>, u64)]) -> Vec<ResetTo> {
    match to {
        To::Earliest => vec![ResetTo::Time(UNIX_EPOCH)],
        To::Latest => vec![ResetTo::End],
        To::Time(ms) => vec![ResetTo::Time(
            UNIX_EPOCH + Duration::from_millis(u64::try_from(*ms).unwrap_or(0)),
        )],
        To::Queues(_) => {
            let named =
                |(queue, _, to): &(Queue, Option<u64>, u64)| ResetTo::Offset(queue.clone(), *to);
            plan.iter().map(named).collect()
        }
    }
}

/// From where to where, for each queue that the reset is about.
async fn plan(
    admin: &Admin,
    group: &GroupName,
    topic: &str,
    to: &To,
) -> Result<Vec<(Queue, Option<u64>, u64)>, Problem> {
    let queues = admin.queues(topic).await?;
    let mut plan = Vec::new();
    if let To::Queues(named) = to {
        for (name, _) in named {
            if !queues.iter().any(|queue| shown::queue(queue) == *name) {
                let detail = format!("topic {topic} has no queue {name}");
                return Err(Problem::new(&problem::QUEUE_NOT_FOUND).detail(detail));
            }
        }
    }
    for queue in queues {
        let target = match to {
            To::Earliest => admin.min_offset(&queue).await?,
            To::Latest => admin.max_offset(&queue).await?,
            To::Time(ms) => {
                let since = Duration::from_millis(u64::try_from(*ms).unwrap_or(0));
                admin
                    .offset_at(&queue, SystemTime::UNIX_EPOCH + since)
                    .await?
            }
            To::Queues(named) => {
                let own = named.iter().find(|(name, _)| *name == shown::queue(&queue));
                let Some((name, offset)) = own else {
                    continue;
                };
                let (min, max) = (
                    admin.min_offset(&queue).await?,
                    admin.max_offset(&queue).await?,
                );
                if !(min..=max).contains(offset) {
                    let detail = format!("queue {name} has offsets from {min} to {max}");
                    return Err(Problem::new(&problem::INVALID_OFFSET).detail(detail));
                }
                *offset
            }
        };
        let from = admin.group_offset(group.as_str(), &queue).await?;
        plan.push((queue, from, target));
    }
    Ok(plan)
}

async fn read(call: &mut Call) -> Result<Reset, Problem> {
    let limit = call.node.options.limits.small;
    let body = call.json(limit, "application/json").await?;
    let (mut faults, top) = (Faults::default(), At::Root);
    let (mut topic, mut to, mut dry_run) = (None, None, false);
    let members = faults.object(top, json::parse(&body)?);
    for (name, value) in members.into_iter().flatten() {
        let at = top.member(&name);
        match &*name {
            "topic" => topic = faults.string(at, value).map(|topic| topic.into_owned()),
            "to" => to = read_to(&mut faults, at, value),
            "dry_run" => dry_run = faults.bool(at, value).unwrap_or_default(),
            _ => faults.unknown(top, &name, &["topic", "to", "dry_run"]),
        }
    }
    for (name, is_missing) in [("topic", topic.is_none()), ("to", to.is_none())] {
        if is_missing && faults.is_empty() {
            faults.missing(top, name);
        }
    }
    faults.check()?;
    match (topic, to) {
        (Some(topic), Some(to)) => Ok(Reset { topic, to, dry_run }),
        // What is missing was told above.
        _ => Err(Problem::new(&problem::INVALID_REQUEST)),
    }
}

fn read_to(faults: &mut Faults, at: At<'_>, value: json::Value<'_>) -> Option<To> {
    let mut found = Vec::new();
    for (name, value) in faults.object(at, value)? {
        let own = at.member(&name);
        match &*name {
            "position" => found.push(match faults.word(own, value, &["earliest", "latest"])? {
                "earliest" => To::Earliest,
                _ => To::Latest,
            }),
            "time" => {
                let text = faults.string(own, value)?;
                let Some(ms) = time::parse(&text) else {
                    faults.add(own, "a time like \"2026-11-23T08:00:00Z\" expected");
                    return None;
                };
                found.push(To::Time(ms));
            }
            "queues" => {
                let mut queues = Vec::new();
                for (name, value) in faults.object(own, value)? {
                    let offset = faults.number(own.member(&name), value)?;
                    queues.push((name.into_owned(), offset));
                }
                found.push(To::Queues(queues));
            }
            _ => faults.unknown(at, &name, &["position", "time", "queues"]),
        }
    }
    if found.len() != 1 {
        faults.add(at, "one of position, time and queues expected");
    }
    found.pop()
}
