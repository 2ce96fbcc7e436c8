//! Transactions: a half message that nobody sees until somebody decides about it, from anywhere.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION};
use posthouse_client::code::response::{ILLEGAL_OPERATION, SYSTEM_ERROR};
use posthouse_client::{
    Begin, Check, Decision, Deliver, Error, Expiry, GroupName, Message, Transaction,
    TransactionState,
};

use crate::body::{Body, Response};
use crate::call::Call;
use crate::clock;
use crate::draft::{Draft, FIELDS};
use crate::idempotency;
use crate::json::{self, At, Faults, Value};
use crate::media;
use crate::node::Node;
use crate::operations::{Operation, row};
use crate::problem::{self, Fault, Problem, UNSUPPORTED_BY_BROKER};
use crate::publish::{self, Target, read_json, replayed};
use crate::publisher::{self, Kind};
use crate::token;
use crate::write::Object;

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(POST "/v1/topics/{topic}/transactions" "beginTransaction" begin,
        MALFORMED_JSON, INVALID_REQUEST, INVALID_IDEMPOTENCY_KEY, IDEMPOTENCY_IN_PROGRESS, RESERVED_TOPIC,
        TOPIC_NOT_WRITABLE,
        TOPIC_NOT_FOUND, MESSAGE_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_TOPIC, INVALID_GROUP, EMPTY_BODY,
        INVALID_BASE64, INVALID_TAG, INVALID_KEY, INVALID_MESSAGE_GROUP, INVALID_PROPERTY, RESERVED_PROPERTY,
        PROPERTIES_TOO_LARGE, INVALID_DELIVERY_TIME, MESSAGE_TYPE_MISMATCH, IDEMPOTENCY_KEY_REUSED,
        PUBLISH_OUTCOME_UNKNOWN),
    row!(GET "/v1/topics/{topic}/transactions/{transaction_id}" "getTransaction" get,
        INVALID_TRANSACTION_ID, RESERVED_TOPIC, TOPIC_NOT_FOUND, TRANSACTION_NOT_FOUND, INVALID_TOPIC,
        BROKER_NOT_FOUND),
    row!(PUT "/v1/topics/{topic}/transactions/{transaction_id}/resolution" "resolveTransaction" resolve,
        MALFORMED_JSON, INVALID_REQUEST, INVALID_TRANSACTION_ID, RESERVED_TOPIC, TOPIC_NOT_FOUND,
        TRANSACTION_NOT_FOUND, TRANSACTION_ALREADY_RESOLVED, UNSUPPORTED_MEDIA_TYPE, INVALID_TOPIC,
        BROKER_NOT_FOUND),
];

/// When a half message that nobody decided about is asked about, unless its sender says.
const CHECK_AFTER: Duration = Duration::from_secs(6);
const CHECK_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// When one that nobody decided about is rolled back, unless its sender says.
const TIMEOUT: Duration = Duration::from_secs(3_600);
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(72 * 3_600);
const MORE: [&str; 3] = ["check_after", "timeout", "producer_group"];

/// A half message as a request says it.
struct Half {
    message: Message,
    check_after: Duration,
    timeout: Option<Duration>,
    group: Option<String>,
}

impl Half {
    /// What is said beside the message.
    fn said(&self) -> String {
        let group = self.group.as_deref().unwrap_or_default();
        let timeout = self.timeout.map(|timeout| timeout.as_millis());
        format!("{} {timeout:?} {group}", self.check_after.as_millis())
    }

    /// A limit that the caller asks for is kept, or nothing is begun.
    fn expiry(&self) -> Expiry {
        self.timeout
            .map_or(Expiry::AfterIfKept(TIMEOUT), Expiry::After)
    }
}

async fn begin(mut call: Call) -> Result<Response, Problem> {
    media::is_json(&call.headers)?;
    let (target, key, _held) = publish::begin(&call)?;
    let limits = &call.node.options.limits;
    let (request, limit) = (limits.request, limits.body);
    let body = call.body(request).await?;
    let topic = target.topic.clone();
    let mut half = read_json(body, move |body| {
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
    if half.message.when != Deliver::Now || half.message.sharding_key.is_some() {
        let detail =
            "a message of a transaction has neither a time of delivery nor a message_group";
        return Err(Problem::new(&problem::MESSAGE_TYPE_MISMATCH).detail(detail));
    }
    target.trace(&mut half.message);
    let node = &call.node;
    let mut left = target.timeout;
    let known = (node.publisher).known(&node.client, &target.topic, &mut left);
    known.await?.is_of(Kind::Transaction, &target.topic)?;
    let begin = Begin {
        check_after: Some(half.check_after),
        expiry: half.expiry(),
    };
    let (check_after, limit) = (half.check_after, half.timeout.unwrap_or(TIMEOUT));
    let group = half.group.unwrap_or_else(|| target.topic.to_string());
    let producer = node.client.producer_with(&group, publisher::options())?;
    let begun = producer.begin(half.message, &begin);
    let begun = match tokio::time::timeout(left, begun).await {
        Ok(begun) => begun.map_err(|error| publisher::failed(error, Kind::Transaction))?,
        Err(_) => return Err(publisher::unknown()),
    };
    let began = begun.sent.stored_at.unwrap_or_else(clock::wall_ms);
    let after = |wait: Duration| began + i64::try_from(wait.as_millis()).unwrap_or(0);
    let expires_at = match begun.expires_at {
        Some(_) if begun.sent.replayed => {
            let admin = node.client.admin();
            let state = admin.transaction_state(&begun.transaction);
            match target.in_time(state).await? {
                Ok(TransactionState::Pending { expires_at, .. }) => expires_at,
                // It is decided, or gone: what the first answer said is known nearly.
                _ => Some(after(limit)),
            }
        }
        expires_at => expires_at,
    };
    let named = Named {
        transaction: begun.transaction,
        expires_at,
    };
    let id = named.sign(node);
    let mut out = String::with_capacity(512);
    let mut object = Object::new(&mut out);
    object.string("transaction_id", &id);
    object.string("message_id", &begun.sent.id);
    object.string("state", "pending");
    object.time("check_after", after(check_after));
    expires(&mut object, expires_at);
    object.end();
    let mut response = answer(StatusCode::CREATED, out);
    let headers = response.headers_mut();
    headers.insert(
        "mq-durability",
        publish::durability(begun.sent.durability.as_deref()),
    );
    replayed(headers, &begun.sent);
    let location = publish::location(&target, "transactions", &id);
    if let Ok(location) = HeaderValue::try_from(location) {
        headers.insert(LOCATION, location);
    }
    Ok(response)
}

fn read(root: Value<'_>, topic: &Arc<str>, limit: usize, faults: &mut Faults) -> Option<Half> {
    let at = At::Root;
    let mut draft = Draft::new(topic, clock::wall_ms());
    let (mut check_after, mut group, mut timeout) = (CHECK_AFTER, None, None);
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
            "timeout" => match faults.duration(here, value) {
                Some(said) if !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&said) => {
                    let detail = "a duration from 1s to 72h expected";
                    faults.refuse(&problem::INVALID_DELIVERY_TIME, here, detail);
                }
                said => timeout = said,
            },
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
    draft.finish(at, limit, faults).then_some(Half {
        message: draft.message,
        check_after,
        timeout,
        group,
    })
}

/// A transaction as its `transaction_id` says it: it, and behind a blank when it is rolled back.
pub(crate) struct Named {
    transaction: Transaction,
    pub expires_at: Option<i64>,
}

/// When a half message expires, as our brokers keep it with the message.
const EXPIRES_AT: &str = "EXPIRES_AT";

impl Named {
    /// What a question is about.
    pub(crate) fn of_check(check: &Check) -> Named {
        let expires_at = check.message.property(EXPIRES_AT);
        Named {
            transaction: check.transaction.clone(),
            expires_at: expires_at.and_then(|at| at.parse().ok()),
        }
    }

    /// The name of the question that is asked about it for the nth time.
    pub(crate) fn check_id(&self, node: &Node, times: u32) -> String {
        let text = format!("{times} {}", self.transaction);
        node.tokens.sign(token::Kind::Check, text.as_bytes())
    }

    /// Whether this is the name of a question about it.
    fn is_asked_by(&self, node: &Node, check_id: &str) -> bool {
        let read = node.tokens.read(token::Kind::Check, check_id);
        let text = read.and_then(|bytes| String::from_utf8(bytes).ok());
        let own = self.transaction.to_string();
        text.is_some_and(|text| text.split_once(' ').is_some_and(|(_, text)| text == own))
    }

    pub(crate) fn sign(&self, node: &Node) -> String {
        let mut text = self.transaction.to_string();
        if let Some(at) = self.expires_at {
            text.push(' ');
            text.push_str(&at.to_string());
        }
        node.tokens.sign(token::Kind::Transaction, text.as_bytes())
    }

    /// # Errors
    /// `invalid-transaction-id`.
    fn read(node: &Node, id: &str, topic: &str) -> Result<Named, Problem> {
        let read = || {
            let text = String::from_utf8(node.tokens.read(token::Kind::Transaction, id)?).ok()?;
            let (transaction, expires_at) = match text.parse() {
                Ok(transaction) => (transaction, None),
                Err(_) => {
                    let (own, at) = text.rsplit_once(' ')?;
                    (own.parse::<Transaction>().ok()?, Some(at.parse().ok()?))
                }
            };
            (transaction.topic() == topic).then_some(Named {
                transaction,
                expires_at,
            })
        };
        read().ok_or_else(|| {
            let detail = "this is no transaction_id of this topic";
            Problem::new(&problem::INVALID_TRANSACTION_ID).detail(detail)
        })
    }

    /// Whether nobody can decide about it any more.
    fn is_over(&self) -> bool {
        self.expires_at.is_some_and(|at| at <= clock::wall_ms())
    }

    async fn state(&self, node: &Node) -> Result<TransactionState, Problem> {
        let admin = node.client.admin();
        let state = admin.transaction_state(&self.transaction).await;
        state.map_err(unknown)
    }
}

fn unknown(error: Error) -> Problem {
    match error.code() {
        Some(SYSTEM_ERROR) => {
            let detail = "its broker does not know this transaction, or not any more";
            Problem::new(&problem::TRANSACTION_NOT_FOUND).detail(detail)
        }
        _ => error.into(),
    }
}

/// When a transaction is rolled back; `null`: when the broker has asked in vain as often as it is configured to.
fn expires(object: &mut Object<'_>, at: Option<i64>) {
    match at {
        Some(at) => object.time("expires_at", at),
        None => object.value("expires_at").push_str("null"),
    }
}

fn word(state: TransactionState) -> &'static str {
    match state {
        TransactionState::Pending { .. } => "pending",
        TransactionState::Committed => "committed",
        TransactionState::RolledBack => "rolled_back",
        TransactionState::TimedOut => "timed_out",
    }
}

async fn get(call: Call) -> Result<Response, Problem> {
    let target = Target::of(&call)?;
    let id = call.parameter(1);
    let named = Named::read(&call.node, id, &target.topic)?;
    let state = target.in_time(named.state(&call.node)).await??;
    let mut out = String::with_capacity(512);
    let mut object = Object::new(&mut out);
    object.string("transaction_id", id);
    object.string("message_id", named.transaction.id());
    object.string("producer_group", named.transaction.group());
    object.string("state", word(state));
    match state {
        TransactionState::Pending { checks, .. } => object.number("checks", checks.into()),
        _ => object.value("checks").push_str("null"),
    }
    expires(&mut object, named.expires_at);
    object.end();
    Ok(answer(StatusCode::OK, out))
}

async fn resolve(mut call: Call) -> Result<Response, Problem> {
    media::is_json(&call.headers)?;
    let target = Target::of(&call)?;
    let body = call.body(call.node.options.limits.small).await?;
    let (decision, check_id) = decision(&body)?;
    let (id, node) = (call.parameter(1), &call.node);
    let named = Named::read(node, id, &target.topic)?;
    if check_id.is_some_and(|check| !named.is_asked_by(node, &check)) {
        let fault = Fault::pointer("/check_id", "a check_id of this transaction expected");
        return Err(Problem::new(&problem::INVALID_REQUEST).faults(vec![fault]));
    }
    // As if the broker had asked: a decision is welcome for as long as the half message is kept.
    let resolved = async {
        match node.client.resolve_late(&named.transaction, decision).await {
            // A rollback that comes behind the time limit changes nothing, and brokers let it pass.
            Ok(()) if named.is_over() && named.state(node).await? == TransactionState::TimedOut => {
                Err(resolved_before("timed_out"))
            }
            // Brokers let pass that somebody knows nothing of what is decided. Apache's cannot say how it stands.
            Ok(()) if decision == Decision::Unknown => match named.state(node).await {
                Ok(TransactionState::Pending { .. }) => Ok(()),
                Ok(decided) => Err(resolved_before(word(decided))),
                Err(problem) if problem.kind().slug == UNSUPPORTED_BY_BROKER.slug => Ok(()),
                Err(problem) => Err(problem),
            },
            Ok(()) => Ok(()),
            Err(error) if error.code() == Some(ILLEGAL_OPERATION) => {
                let over = match named.is_over() {
                    true => named.state(node).await.ok().map(word),
                    false => None,
                };
                Err(resolved_before(over.unwrap_or(match decision {
                    Decision::Commit => "rolled_back",
                    _ => "committed",
                })))
            }
            Err(error) => Err(unknown(error)),
        }
    };
    target.in_time(resolved).await??;
    let mut out = String::with_capacity(256);
    let mut object = Object::new(&mut out);
    object.string("transaction_id", id);
    object.string("message_id", named.transaction.id());
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

fn resolved_before(state: &str) -> Problem {
    let detail = match state {
        "timed_out" => "nobody decided in time: it was rolled back",
        _ => "it was decided before",
    };
    Problem::new(&problem::TRANSACTION_ALREADY_RESOLVED)
        .detail(detail)
        .with("state", state)
}

/// What is decided, and the question that this answers.
fn decision(body: &[u8]) -> Result<(Decision, Option<String>), Problem> {
    let (at, mut faults) = (At::Root, Faults::default());
    let (mut word, mut check_id) = (None, None);
    let root = json::parse(body)?;
    for (name, value) in faults.object(at, root).into_iter().flatten() {
        let here = at.member(&name);
        match &*name {
            "resolution" => word = faults.word(here, value, &["commit", "rollback", "unknown"]),
            "check_id" => check_id = faults.string(here, value).map(|id| id.into_owned()),
            _ => faults.unknown(at, &name, &["resolution", "check_id"]),
        }
    }
    if word.is_none() && faults.is_empty() {
        faults.missing(at, "resolution");
    }
    faults.check()?;
    let decision = match word {
        Some("commit") => Decision::Commit,
        Some("rollback") => Decision::Rollback,
        _ => Decision::Unknown,
    };
    Ok((decision, check_id))
}

fn answer(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media::JSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
