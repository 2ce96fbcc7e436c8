//! Dead letters sent again or given up: work that goes on at the brokers, followed and cancelled.

use std::time::{Duration, UNIX_EPOCH};

use hyper::StatusCode;
use hyper::header::{HeaderValue, LOCATION};
use posthouse_client::code::own_response::IDEMPOTENCY_DIFFERS;
use posthouse_client::code::response::SYSTEM_BUSY;
use posthouse_client::{Error, GroupName, OperationInfo, Redrive};
use serde_json::{Value, json};

use crate::body::Response;
use crate::call::{Call, json_answer};
use crate::idempotency::{self, Running};
use crate::json::{self, At, Faults};
use crate::operations::{Operation, row};
use crate::parameters::{NAMESPACE, Parameters};
use crate::problem::{self, Problem};
use crate::{groups, names, time};

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(POST "/v1/groups/{group}/dead-letters:redrive" "redriveDeadLetters" redrive,
        MALFORMED_JSON, INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE, INVALID_GROUP, GROUP_NOT_FOUND,
        INVALID_TOPIC, RESERVED_TOPIC, TOPIC_NOT_FOUND, INVALID_IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_REUSED,
        IDEMPOTENCY_IN_PROGRESS),
    row!(POST "/v1/groups/{group}/dead-letters:purge" "purgeDeadLetters" purge,
        MALFORMED_JSON, INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE, INVALID_GROUP, GROUP_NOT_FOUND,
        TOPIC_NOT_FOUND, CONFIRMATION_REQUIRED, INVALID_IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_REUSED,
        IDEMPOTENCY_IN_PROGRESS),
    row!(GET "/v1/operations/{operation}" "getOperation" get, OPERATION_NOT_FOUND),
    row!(DELETE "/v1/operations/{operation}" "cancelOperation" cancel, OPERATION_NOT_FOUND),
];

/// Between the names of the parts of an operation: each broker that has dead letters does one.
const PARTS: char = '.';
/// Operations with more parts than that are none of ours.
const PARTS_MAX: usize = 64;
/// `to` of a redrive: each letter to the topic it came from.
const ORIGIN: &str = "origin";

async fn redrive(mut call: Call) -> Result<Response, Problem> {
    let once = idempotency::key(&call.headers)?.map(str::to_owned);
    let wanted = call.settings(read_redrive).await?;
    let mut parameters = Parameters::new(call.query(), &[], &[]);
    parameters.finish()?;
    let namespace = parameters.text(NAMESPACE);
    let group = names::group(call.parameter(0), namespace)?;
    let topic = |name: Option<String>| {
        let name = name
            .map(|name| names::topic(&name, namespace))
            .transpose()?;
        Ok::<_, Problem>(name.map(|name| name.to_string()))
    };
    let redrive = Redrive {
        to: topic(wanted.to)?,
        from: topic(wanted.from)?,
        once,
        ..wanted
    };
    let admin = call.node.client.admin();
    let _running = begin(&call, &group, redrive.once.as_deref())?;
    groups::existing(&admin, &group).await?;
    if let Some(to) = &redrive.to {
        admin.queues(to).await?;
    }
    let begun = admin.redrive(group.as_str(), &redrive).await;
    accepted(&group, begun)
}

async fn purge(mut call: Call) -> Result<Response, Problem> {
    let once = idempotency::key(&call.headers)?.map(str::to_owned);
    let before = call.settings(read_purge).await?;
    let mut parameters = Parameters::new(call.query(), &["confirm"], &[]);
    parameters.finish()?;
    let group = names::group(call.parameter(0), parameters.text(NAMESPACE))?;
    names::confirmed(&parameters, call.parameter(0))?;
    let admin = call.node.client.admin();
    let _running = begin(&call, &group, once.as_deref())?;
    groups::existing(&admin, &group).await?;
    let before =
        before.map(|ms| UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
    let begun = admin.purge(group.as_str(), before, once.as_deref()).await;
    accepted(&group, begun)
}

/// Begins to answer a request with a key, which counts for the group's dead letters.
fn begin(call: &Call, group: &GroupName, key: Option<&str>) -> Result<Option<Running>, Problem> {
    let scope = format!("dead letters {group}");
    call.node.under_way.begin(&scope, key)
}

async fn get(call: Call) -> Result<Response, Problem> {
    Parameters::new(call.query(), &[], &[]).finish()?;
    let admin = call.node.client.admin();
    let mut parts = Vec::new();
    for id in ids(&call)? {
        parts.push(admin.operation(id).await?.ok_or_else(|| missing(&call))?);
    }
    Ok(json_answer(StatusCode::OK, &shown(&parts)))
}

/// Ends an operation; one that has ended stays as it was.
async fn cancel(call: Call) -> Result<Response, Problem> {
    Parameters::new(call.query(), &[], &[]).finish()?;
    let admin = call.node.client.admin();
    let mut parts = Vec::new();
    for id in ids(&call)? {
        let ended = admin.cancel_operation(id).await?;
        parts.push(ended.ok_or_else(|| missing(&call))?);
    }
    Ok(json_answer(StatusCode::OK, &shown(&parts)))
}

/// The names of the parts of the operation in the path.
fn ids(call: &Call) -> Result<Vec<&str>, Problem> {
    let ids: Vec<&str> = call.parameter(0).split(PARTS).collect();
    let plain = |id: &&str| {
        let digits = id.strip_prefix("op_").unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    match ids.len() <= PARTS_MAX && ids.iter().all(plain) {
        true => Ok(ids),
        false => Err(missing(call)),
    }
}

fn missing(call: &Call) -> Problem {
    let detail = format!("there is no operation {}, or no more", call.parameter(0));
    Problem::new(&problem::OPERATION_NOT_FOUND).detail(detail)
}

fn accepted(
    group: &GroupName,
    begun: posthouse_client::Result<Vec<OperationInfo>>,
) -> Result<Response, Problem> {
    let parts = match begun {
        Ok(parts) if parts.is_empty() => {
            let detail = format!("the group {group} has no dead letters");
            return Err(Problem::new(&problem::TOPIC_NOT_FOUND).detail(detail));
        }
        Ok(parts) => parts,
        Err(Error::Refused(refusal)) if refusal.code == SYSTEM_BUSY => {
            let detail = "another operation on these dead letters runs; wait for it, or cancel it";
            return Err(Problem::unavailable(detail));
        }
        Err(error) if error.code() == Some(IDEMPOTENCY_DIFFERS) => {
            let detail = "another request on these dead letters was made with this key";
            return Err(Problem::new(&problem::IDEMPOTENCY_KEY_REUSED).detail(detail));
        }
        Err(error) => return Err(error.into()),
    };
    let shown = shown(&parts);
    let mut response = json_answer(StatusCode::ACCEPTED, &shown);
    let location = format!(
        "/v1/operations/{}",
        shown["id"].as_str().unwrap_or_default()
    );
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    if parts.iter().all(|part| part.replayed) {
        idempotency::replayed(response.headers_mut());
    }
    Ok(response)
}

/// The parts as one operation: it runs while one of them does, and is done when all are.
fn shown(parts: &[OperationInfo]) -> Value {
    let ids: Vec<&str> = parts.iter().map(|part| part.id.as_str()).collect();
    let order = ["running", "failed", "cancelled"];
    let state = order
        .into_iter()
        .find(|state| parts.iter().any(|part| part.state == *state));
    let first = parts.first();
    json!({
        "id": ids.join("."),
        "kind": first.map(|part| &part.kind),
        "group": first.map(|part| &part.group),
        "state": state.unwrap_or("done"),
        "done": parts.iter().map(|part| part.done).sum::<u64>(),
        "total": parts.iter().map(|part| part.total).sum::<u64>(),
        "started_at": parts.iter().map(|part| part.started_at).min().map(time::format),
        "why": parts.iter().find_map(|part| part.why.as_deref()),
    })
}

fn read_redrive(body: &[u8]) -> Result<Redrive, Problem> {
    let (mut faults, top) = (Faults::default(), At::Root);
    let mut redrive = Redrive::default();
    let members = faults.object(top, json::parse(body)?);
    for (name, value) in members.into_iter().flatten() {
        let at = top.member(&name);
        match &*name {
            "to" => {
                let to = faults.string(at, value).map(|to| to.into_owned());
                redrive.to = to.filter(|to| to != ORIGIN);
            }
            "topic" => redrive.from = faults.string(at, value).map(|from| from.into_owned()),
            "limit" => match faults.number(at, value) {
                Some(0) => faults.add(at, "1 or more expected"),
                limit => redrive.limit = limit,
            },
            "rate" => {
                let Some(text) = faults.string(at, value) else {
                    continue;
                };
                redrive.per_second = read_rate(&text);
                if redrive.per_second.is_none() {
                    faults.add(at, "messages a second like \"100/s\" expected");
                }
            }
            _ => faults.unknown(top, &name, &["to", "topic", "limit", "rate"]),
        }
    }
    faults.check()?;
    Ok(redrive)
}

/// `100/s`, 1 to 999,999,999.
fn read_rate(text: &str) -> Option<u32> {
    let digits = text.strip_suffix("/s")?;
    let plain = (1..=9).contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

/// Only what was stored before this, ms since the Unix epoch.
fn read_purge(body: &[u8]) -> Result<Option<i64>, Problem> {
    let (mut faults, top) = (Faults::default(), At::Root);
    let mut before = None;
    let members = faults.object(top, json::parse(body)?);
    for (name, value) in members.into_iter().flatten() {
        let at = top.member(&name);
        match &*name {
            "before" => {
                let Some(text) = faults.string(at, value) else {
                    continue;
                };
                before = time::parse(&text);
                if before.is_none() {
                    faults.add(at, "a time like \"2026-11-23T08:00:00Z\" expected");
                }
            }
            _ => faults.unknown(top, &name, &["before"]),
        }
    }
    faults.check()?;
    Ok(before)
}
