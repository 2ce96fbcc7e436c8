//! What becomes of received messages: done, given back, kept for longer, dead. Many at once; each by itself.

use std::time::Duration;

use hyper::StatusCode;
use posthouse_client::code::own_response::IDEMPOTENCY_DIFFERS;
use posthouse_client::{Error, SimpleConsumer};

use crate::body::Response;
use crate::call::Call;
use crate::clock;
use crate::groups;
use crate::idempotency;
use crate::json::{self, At, Faults, Value};
use crate::lease::Held;
use crate::media;
use crate::names;
use crate::node::Node;
use crate::operations::{Operation, row};
use crate::parameters::{NAMESPACE, Parameters};
use crate::problem::{self, Fault, Problem};
use crate::receive::{LEASE_RANGE, allowed_lease};
use crate::write::Object;

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(POST "/v1/groups/{group}/leases:ack" "ackLeases" ack,
        MALFORMED_JSON, INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE, INVALID_GROUP, INVALID_BATCH),
    row!(POST "/v1/groups/{group}/leases:release" "releaseLeases" release,
        MALFORMED_JSON, INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE, INVALID_GROUP, INVALID_BATCH,
        INVALID_DELIVERY_TIME, GROUP_NOT_FOUND),
    row!(POST "/v1/groups/{group}/leases:extend" "extendLeases" extend,
        MALFORMED_JSON, INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE, INVALID_GROUP, INVALID_BATCH,
        INVALID_LEASE_DURATION, INVALID_IDEMPOTENCY_KEY, IDEMPOTENCY_IN_PROGRESS),
    row!(POST "/v1/groups/{group}/leases:dead-letter" "deadLetterLeases" dead_letter,
        MALFORMED_JSON, INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE, INVALID_GROUP, INVALID_BATCH),
];

/// The most leases of a request.
const LEASES_MAX: usize = 256;
/// What is longer was never handed out, and is not sent back either.
const LEASE_ID_MAX: usize = 4096;
/// The longest that a message may be held back: as long as a lease may be.
const DELAY_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// The longest reason of a dead letter, in characters.
const REASON_MAX: usize = 256;
/// What is due at once is due so soon: brokers take no shorter time.
const SOON: Duration = Duration::from_millis(1);
/// Milliseconds of the delay levels that a group without a policy of its own waits (Apache
/// `messageDelayLevel`), the first being level 1.
const LEVELS_MS: [i64; 18] = [
    1_000, 5_000, 10_000, 30_000, 60_000, 120_000, 180_000, 240_000, 300_000, 360_000, 420_000,
    480_000, 540_000, 600_000, 1_200_000, 1_800_000, 3_600_000, 7_200_000,
];

/// A lease of the request, and what became of it.
struct Entry {
    id: String,
    held: Option<Held>,
    /// The id of the lease that stands in its place.
    renewed: Option<String>,
    wrong: Option<Problem>,
}

/// Leases of one group.
struct Leases {
    group: String,
    consumer: SimpleConsumer,
    entries: Vec<Entry>,
}

impl Leases {
    /// Reads a request. `more` takes the fields that are not `lease_ids`; `false`: there is no such field.
    async fn read(
        call: &mut Call,
        known: &[&str],
        mut more: impl FnMut(&str, At<'_>, Value<'_>, &mut Faults) -> bool,
    ) -> Result<Leases, Problem> {
        media::is_json(&call.headers)?;
        let mut parameters = Parameters::new(call.query(), &[], &[]);
        parameters.finish()?;
        let group = names::group(call.parameter(0), parameters.text(NAMESPACE))?
            .as_str()
            .to_owned();
        let consumer = call.node.client.simple_consumer(&group)?;
        let body = call.body(call.node.options.limits.leases).await?;
        let root = json::parse(&body)?;
        let (at, mut faults, mut ids) = (At::Root, Faults::default(), None);
        for (name, value) in faults.object(at, root).into_iter().flatten() {
            let here = at.member(&name);
            match &*name {
                "lease_ids" => ids = faults.array(here, value),
                name if more(name, here, value, &mut faults) => {}
                name => faults.unknown(at, name, &[&["lease_ids"], known].concat()),
            }
        }
        if ids.is_none() && faults.is_empty() {
            faults.missing(at, "lease_ids");
        }
        let here = at.member("lease_ids");
        let mut texts = Vec::new();
        for (place, item) in ids.into_iter().flatten().take(LEASES_MAX + 1).enumerate() {
            texts.extend(faults.text(here.item(place), item, LEASE_ID_MAX));
        }
        faults.check()?;
        if !(1..=LEASES_MAX).contains(&texts.len()) {
            let fault = Fault::pointer("/lease_ids", format!("1 to {LEASES_MAX} leases"));
            return Err(Problem::new(&problem::INVALID_BATCH).faults(vec![fault]));
        }
        let (tokens, now) = (&call.node.tokens, clock::wall_ms());
        let entry = |id: std::borrow::Cow<'_, str>| {
            let read = Held::read(tokens, &id, &group, now);
            let (held, wrong) = match read {
                Ok(held) => (Some(held), None),
                Err(problem) => (None, Some(problem)),
            };
            Entry {
                id: id.into_owned(),
                held,
                renewed: None,
                wrong,
            }
        };
        let entries = texts.into_iter().map(entry).collect();
        Ok(Leases {
            group,
            consumer,
            entries,
        })
    }

    fn answer(&self, node: &Node) -> Response {
        let settled = self.entries.iter().filter(|entry| entry.wrong.is_none());
        for held in settled.filter_map(|entry| entry.held.as_ref()) {
            node.in_flight.settled(&held.lease);
        }
        let mut out = String::with_capacity(32 + self.entries.len() * 220);
        let mut failed = 0;
        let mut whole = Object::new(&mut out);
        let results = whole.value("results");
        results.push('[');
        for (place, entry) in self.entries.iter().enumerate() {
            if place > 0 {
                results.push(',');
            }
            let mut object = Object::new(results);
            object.string("lease_id", entry.renewed.as_deref().unwrap_or(&entry.id));
            if entry.renewed.is_some() {
                object.string("replaces", &entry.id);
            }
            object.number(
                "status",
                entry
                    .wrong
                    .as_ref()
                    .map_or(200, |problem| problem.kind().status.into()),
            );
            if let Some(problem) = &entry.wrong {
                failed += 1;
                object
                    .value("problem")
                    .push_str(&problem.to_json(None).to_string());
            }
            object.end();
        }
        results.push(']');
        whole.number("failed", failed);
        whole.end();
        let mut response = Response::new(out.into());
        if failed > 0 {
            *response.status_mut() = StatusCode::MULTI_STATUS;
        }
        let headers = response.headers_mut();
        let json = hyper::header::HeaderValue::from_static(media::JSON);
        headers.insert(hyper::header::CONTENT_TYPE, json);
        let no_store = hyper::header::HeaderValue::from_static("no-store");
        headers.insert(hyper::header::CACHE_CONTROL, no_store);
        response
    }
}

/// The messages are done.
async fn ack(mut call: Call) -> Result<Response, Problem> {
    let mut leases = Leases::read(&mut call, &[], |_, _, _, _| false).await?;
    let held = leases
        .entries
        .iter()
        .filter_map(|entry| Some(&entry.held.as_ref()?.lease));
    let acked = leases.consumer.ack_all(held).await;
    let held = leases
        .entries
        .iter_mut()
        .filter(|entry| entry.held.is_some());
    for (entry, acked) in held.zip(acked) {
        entry.wrong = ended(acked);
    }
    Ok(leases.answer(&call.node))
}

/// The messages come again, to any member.
async fn release(mut call: Call) -> Result<Response, Problem> {
    let (mut delay, mut count) = (None, true);
    let more = |name: &str, at: At<'_>, value: Value<'_>, faults: &mut Faults| {
        match name {
            "delay" => match faults.duration(at, value) {
                Some(said) if said > DELAY_MAX => {
                    faults.refuse(
                        &problem::INVALID_DELIVERY_TIME,
                        at,
                        "a duration up to 12h expected",
                    );
                }
                said => delay = said,
            },
            "count_attempt" => count = faults.bool(at, value).unwrap_or(true),
            _ => return false,
        }
        true
    };
    let mut leases = Leases::read(&mut call, &["delay", "count_attempt"], more).await?;
    let policy = match delay {
        Some(_) => None,
        // What does not count waits for nothing.
        None if !count => None,
        None => {
            let group = groups::to_consume(&call.node, &leases.group).await?;
            Some(group.retry_policy)
        }
    };
    for entry in &mut leases.entries {
        let Some(held) = &entry.held else {
            continue;
        };
        let by_policy = || {
            let policy = policy.as_ref()?;
            let level = usize::try_from(model::group::RetryPolicy::level(held.times)).ok()?;
            let of_level = LEVELS_MS
                .get(level.saturating_sub(1))
                .or(LEVELS_MS.last())
                .copied();
            let wait = policy.wait(held.times).or(of_level)?;
            Some(Duration::from_millis(u64::try_from(wait).unwrap_or(0)))
        };
        let wait = delay.or_else(by_policy).unwrap_or_default();
        entry.wrong = match count {
            true => {
                let released = leases.consumer.extend(&held.lease, wait.max(SOON)).await;
                released.err().map(Problem::from)
            }
            false => {
                let released = leases.consumer.release(&held.lease, wait, false).await;
                ended(released)
            }
        };
    }
    Ok(leases.answer(&call.node))
}

/// The messages stay with the caller for longer. Each has a new lease; the old one is worth nothing.
async fn extend(mut call: Call) -> Result<Response, Problem> {
    let key = idempotency::key(&call.headers)?.map(str::to_owned);
    let mut lease = None;
    let more = |name: &str, at: At<'_>, value: Value<'_>, faults: &mut Faults| {
        if name == "lease" {
            lease = faults.duration(at, value);
        }
        name == "lease"
    };
    let mut leases = Leases::read(&mut call, &["lease"], more).await?;
    let Some(lease) = lease else {
        let mut faults = Faults::default();
        faults.missing(At::Root, "lease");
        faults.check()?;
        return Err(Problem::new(&problem::INTERNAL));
    };
    allowed_lease(lease, Fault::pointer("/lease", LEASE_RANGE))?;
    let scope = format!("extend {}", leases.group);
    let _running = call.node.under_way.begin(&scope, key.as_deref())?;
    let mut again = 0;
    for entry in &mut leases.entries {
        let Some(held) = &entry.held else {
            continue;
        };
        let renewed = match &key {
            Some(key) => leases.consumer.extend_once(&held.lease, lease, key).await,
            None => (leases.consumer.extend(&held.lease, lease).await).map(|own| (own, false)),
        };
        match renewed {
            Ok((renewed, replayed)) => {
                again += usize::from(replayed);
                call.node.in_flight.extended(&held.lease, &renewed);
                let new = Held {
                    lease: renewed,
                    ..held.clone()
                };
                let mut id = String::new();
                new.push(&call.node.tokens, &mut id);
                entry.renewed = Some(id);
            }
            Err(error) if error.code() == Some(IDEMPOTENCY_DIFFERS) => {
                let detail = "another request was made about this lease with this key";
                entry.wrong = Some(Problem::new(&problem::IDEMPOTENCY_KEY_REUSED).detail(detail));
            }
            Err(error) => entry.wrong = Some(error.into()),
        }
    }
    let mut response = leases.answer(&call.node);
    if again == leases.entries.len() {
        idempotency::replayed(response.headers_mut());
    }
    Ok(response)
}

/// The messages go to the group's dead letters at once.
async fn dead_letter(mut call: Call) -> Result<Response, Problem> {
    let mut reason = None;
    let more = |name: &str, at: At<'_>, value: Value<'_>, faults: &mut Faults| {
        if name == "reason" {
            reason = faults.string(at, value).map(|reason| reason.into_owned());
            let length = reason.as_ref().map_or(1, |reason| reason.chars().count());
            if !(1..=REASON_MAX).contains(&length) {
                faults.add(at, format!("1 to {REASON_MAX} characters expected"));
            }
        }
        name == "reason"
    };
    let mut leases = Leases::read(&mut call, &["reason"], more).await?;
    for entry in &mut leases.entries {
        let Some(held) = &entry.held else {
            continue;
        };
        let consumer = &leases.consumer;
        entry.wrong = match &reason {
            Some(reason) => ended(consumer.dead_letter_because(&held.lease, reason).await),
            None => {
                let (at, id) = (held.log_offset, &held.message_id);
                let dead = consumer.dead_letter_at(&held.lease, at, id).await;
                dead.err().map(Problem::from)
            }
        };
    }
    Ok(leases.answer(&call.node))
}

/// What a broker that says whether a lease still lived means by its answer.
fn ended(held: Result<bool, Error>) -> Option<Problem> {
    match held {
        Ok(true) => None,
        Ok(false) => Some(Error::LeaseEnded.into()),
        Err(error) => Some(error.into()),
    }
}
