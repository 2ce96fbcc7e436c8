//! Transactions: a half message that nobody sees until somebody decides about it, from anywhere.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION};
use posthouse_client::code::response::{ILLEGAL_OPERATION, SYSTEM_ERROR};
use posthouse_client::{Begin, Decision, Deliver, GroupName, Message, Transaction};

use crate::call::Call;
use crate::clock;
use crate::draft::{Draft, FIELDS};
use crate::idempotency;
use crate::json::{self, At, Faults, Value};
use crate::media;
use crate::operations::{Operation, row};
use crate::problem::{self, Problem};
use crate::publish::{Target, key, read_body, replayed};
use crate::publisher::{self, Kind};
use crate::token;
use crate::write::Object;

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(POST "/v1/topics/{topic}/transactions" "beginTransaction" begin,
        MALFORMED_JSON, INVALID_REQUEST, INVALID_IDEMPOTENCY_KEY, RESERVED_TOPIC, TOPIC_NOT_WRITABLE,
        TOPIC_NOT_FOUND, MESSAGE_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_TOPIC, INVALID_GROUP, EMPTY_BODY,
        INVALID_BASE64, INVALID_TAG, INVALID_KEY, INVALID_MESSAGE_GROUP, INVALID_PROPERTY, RESERVED_PROPERTY,
        PROPERTIES_TOO_LARGE, INVALID_DELIVERY_TIME, MESSAGE_TYPE_MISMATCH, IDEMPOTENCY_KEY_REUSED,
        PUBLISH_OUTCOME_UNKNOWN),
    row!(PUT "/v1/topics/{topic}/transactions/{transaction_id}/resolution" "resolveTransaction" resolve,
        MALFORMED_JSON, INVALID_REQUEST, INVALID_TRANSACTION_ID, RESERVED_TOPIC, TOPIC_NOT_FOUND,
        TRANSACTION_NOT_FOUND, TRANSACTION_ALREADY_RESOLVED, UNSUPPORTED_MEDIA_TYPE, INVALID_TOPIC,
        BROKER_NOT_FOUND),
];

/// When a half message that nobody decided about is asked about, unless its sender says.
const CHECK_AFTER: Duration = Duration::from_secs(6);
const CHECK_AFTER_MAX: Duration = Duration::from_secs(3_600);
const MORE: [&str; 3] = ["check_after", "timeout", "producer_group"];

/// A half message as a request says it.
struct Half {
    message: Message,
    check_after: Duration,
    group: Option<String>,
    has_end: bool,
}

impl Half {
    /// What is said beside the message.
    fn said(&self) -> String {
        let group = self.group.as_deref().unwrap_or_default();
        format!("{} {group}", self.check_after.as_millis())
    }
}

async fn begin(mut call: Call) -> Result<Response, Problem> {
    media::is_json(&call.headers)?;
    let target = Target::of(&call)?;
    let key = key(&call)?;
    let place = call.node.publishes.take(1);
    let _place =
        place.ok_or_else(|| Problem::unavailable("too many messages are being published"))?;
    let limits = &call.node.options.limits;
    let (request, limit) = (limits.request, limits.body);
    let body = call.body(request).await?;
    let topic = target.topic.clone();
    let half = read_body(body, move |body| {
        let mut faults = Faults::default();
        let half = read(json::parse(body)?, &topic, limit, &mut faults);
        faults.check()?;
        let half = half.map(|mut half| {
            if let Some(key) = key {
                let said = half.said();
                idempotency::name(&mut half.message, key, &said);
            }
            half
        });
        half.ok_or_else(|| Problem::new(&problem::INTERNAL))
    })
    .await?;
    if half.has_end {
        let detail = "the broker keeps no time limit of a transaction: nothing was begun; begin without timeout";
        return Err(Problem::new(&problem::UNSUPPORTED_BY_BROKER).detail(detail));
    }
    if half.message.when != Deliver::Now || half.message.sharding_key.is_some() {
        let detail =
            "a message of a transaction has neither a time of delivery nor a message_group";
        return Err(Problem::new(&problem::MESSAGE_TYPE_MISMATCH).detail(detail));
    }
    let node = &call.node;
    node.publisher
        .check(&node.client, &target.topic, &[Kind::Transaction])
        .await?;
    let group = half.group.unwrap_or_else(|| target.topic.to_string());
    let producer = node.client.producer_with(&group, publisher::options())?;
    let check_after = Some(half.check_after);
    let begin = Begin { check_after };
    let begun = producer.begin(half.message, &begin);
    let begun = match tokio::time::timeout(target.timeout, begun).await {
        Ok(begun) => begun.map_err(|error| publisher::failed(error, Kind::Transaction))?,
        Err(_) => return Err(publisher::unknown()),
    };
    let id = node.tokens.sign(
        token::Kind::Transaction,
        begun.transaction.to_string().as_bytes(),
    );
    let mut out = String::with_capacity(512);
    let mut object = Object::new(&mut out);
    object.string("transaction_id", &id);
    object.string("message_id", &begun.sent.id);
    object.string("state", "pending");
    let after = i64::try_from(half.check_after.as_millis()).unwrap_or(0);
    object.time("check_after", clock::wall_ms() + after);
    // It ends when the broker has asked in vain as often as it is configured to.
    object.value("expires_at").push_str("null");
    object.end();
    let mut response = answer(StatusCode::CREATED, out);
    let headers = response.headers_mut();
    headers.insert(
        "mq-durability",
        crate::publish::durability(begun.sent.durability.as_deref()),
    );
    replayed(headers, &begun.sent);
    let location = crate::publish::location(&target, "transactions", &id);
    if let Ok(location) = HeaderValue::try_from(location) {
        headers.insert(LOCATION, location);
    }
    Ok(response)
}

fn read(root: Value<'_>, topic: &Arc<str>, limit: usize, faults: &mut Faults) -> Option<Half> {
    let at = At::Root;
    let mut draft = Draft::new(topic, clock::wall_ms());
    let (mut check_after, mut group, mut has_end) = (CHECK_AFTER, None, false);
    for (name, value) in faults.object(at, root)? {
        let here = at.member(&name);
        if draft.field(&name, here, value, faults) {
            continue;
        }
        match &*name {
            "check_after" => match faults.duration(here, value) {
                Some(said) if said > CHECK_AFTER_MAX => {
                    faults.refuse(
                        &problem::INVALID_DELIVERY_TIME,
                        here,
                        "a duration up to 1h expected",
                    );
                }
                said => check_after = said.unwrap_or(check_after),
            },
            "timeout" => has_end = faults.duration(here, value).is_some(),
            "producer_group" => {
                let text = faults.string(here, value);
                let allowed = |text: &str| GroupName::parse(text).is_ok();
                match text {
                    Some(text) if allowed(&text) => group = Some(text.into_owned()),
                    Some(_) => {
                        let detail = "1 to 120 ASCII letters, digits, _ and - expected";
                        faults.refuse(&problem::INVALID_GROUP, here, detail);
                    }
                    None => {}
                }
            }
            _ => faults.unknown(at, &name, &[&FIELDS[..], &MORE[..]].concat()),
        }
    }
    let draft = draft.finish(at, limit, faults)?;
    Some(Half {
        message: draft.message,
        check_after,
        group,
        has_end,
    })
}

async fn resolve(mut call: Call) -> Result<Response, Problem> {
    media::is_json(&call.headers)?;
    let target = Target::of(&call)?;
    let body = call.body(call.node.options.limits.small).await?;
    let decision = decision(&body)?;
    let id = call.parameter(1);
    let node = &call.node;
    let read = || {
        let text = String::from_utf8(node.tokens.read(token::Kind::Transaction, id)?).ok()?;
        text.parse::<Transaction>()
            .ok()
            .filter(|own| own.topic() == &*target.topic)
    };
    let transaction = read().ok_or_else(|| {
        let detail = "this is no transaction_id of this topic";
        Problem::new(&problem::INVALID_TRANSACTION_ID).detail(detail)
    })?;
    // As if the broker had asked: a decision is welcome for as long as the half message is kept.
    let resolved = node.client.resolve_late(&transaction, decision);
    match target.in_time(resolved).await? {
        Ok(()) => {}
        Err(error) if error.code() == Some(ILLEGAL_OPERATION) => {
            let state = match decision {
                Decision::Commit => "rolled_back",
                _ => "committed",
            };
            return Err(Problem::new(&problem::TRANSACTION_ALREADY_RESOLVED)
                .detail("somebody decided otherwise before")
                .with("state", state));
        }
        Err(error) if error.code() == Some(SYSTEM_ERROR) => {
            let detail = "its broker does not know this transaction, or not any more";
            return Err(Problem::new(&problem::TRANSACTION_NOT_FOUND).detail(detail));
        }
        Err(error) => return Err(error.into()),
    }
    let mut out = String::with_capacity(256);
    let mut object = Object::new(&mut out);
    object.string("transaction_id", id);
    object.string("message_id", transaction.id());
    object.string(
        "state",
        match decision {
            Decision::Commit => "committed",
            Decision::Rollback => "rolled_back",
            Decision::Unknown => "pending",
        },
    );
    object.end();
    Ok(answer(StatusCode::OK, out))
}

fn decision(body: &[u8]) -> Result<Decision, Problem> {
    let (at, mut faults, mut word) = (At::Root, Faults::default(), None);
    let root = json::parse(body)?;
    for (name, value) in faults.object(at, root).into_iter().flatten() {
        let here = at.member(&name);
        match &*name {
            "resolution" => word = faults.word(here, value, &["commit", "rollback", "unknown"]),
            _ => faults.unknown(at, &name, &["resolution"]),
        }
    }
    if word.is_none() && faults.is_empty() {
        faults.missing(at, "resolution");
    }
    faults.check()?;
    Ok(match word {
        Some("commit") => Decision::Commit,
        Some("rollback") => Decision::Rollback,
        _ => Decision::Unknown,
    })
}

fn answer(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media::JSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
