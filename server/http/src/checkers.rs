//! Stored checkers: a URL that is called, for as long as it stands here, to ask what became of transactions.
//! Brokers keep them; every door calls for the questions that it is asked.

mod calls;
mod keep;

use hyper::StatusCode;
use hyper::header::{ETAG, HOST, HeaderValue, IF_MATCH, LOCATION};
use posthouse_client::code::response::SYSTEM_BUSY;
use posthouse_client::{CheckerInfo, Error, GroupName};
use serde_json::{Value, json};

use crate::body::Response;
use crate::call::{Call, json_answer};
use crate::groups::no_content;
use crate::json::{self, At, Faults};
use crate::node::Node;
use crate::operations::{Operation, row};
use crate::page::{self, Page};
use crate::parameters::{NAMESPACE, Parameters};
use crate::problem::{self, Fault, Problem};
use crate::publisher::Kind;
use crate::webhook::{self, Confirmed, Failed, Refused, Url};
use crate::{clock, etag, names, time, write};

pub(crate) use keep::{Called, keep};

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(PUT "/v1/topics/{topic}/transaction-checker" "putChecker" put,
        MALFORMED_JSON, INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE, RESERVED_TOPIC, TOPIC_NOT_FOUND,
        TOPIC_NOT_WRITABLE, INVALID_TOPIC, INVALID_GROUP, MESSAGE_TYPE_MISMATCH, FORBIDDEN_URL,
        WEBHOOK_NOT_CONFIRMED, PRECONDITION_FAILED, LIMIT_EXCEEDED),
    row!(GET "/v1/topics/{topic}/transaction-checker" "getChecker" get,
        RESERVED_TOPIC, TOPIC_NOT_FOUND, CHECKER_NOT_FOUND, INVALID_TOPIC),
    row!(DELETE "/v1/topics/{topic}/transaction-checker" "deleteChecker" delete,
        RESERVED_TOPIC, TOPIC_NOT_FOUND, CHECKER_NOT_FOUND, INVALID_TOPIC, PRECONDITION_FAILED),
    row!(GET "/v1/transaction-checkers" "listCheckers" list,
        INVALID_PAGE_TOKEN, PAGE_TOKEN_EXPIRED),
];

/// The topic in the path.
struct Named {
    topic: String,
    namespace: Option<String>,
}

impl Named {
    fn of(call: &Call) -> Result<Named, Problem> {
        let mut parameters = Parameters::new(call.query(), &[], &[]);
        parameters.finish()?;
        let namespace = parameters.text(NAMESPACE).map(str::to_owned);
        Ok(Named {
            topic: names::topic(call.parameter(0), namespace.as_deref())?.to_string(),
            namespace,
        })
    }

    async fn own(&self, node: &Node) -> Result<CheckerInfo, Problem> {
        let own = node.client.admin().checker(&self.topic).await?;
        own.ok_or_else(|| {
            let detail = format!("topic {} has no checker", self.topic);
            Problem::new(&problem::CHECKER_NOT_FOUND).detail(detail)
        })
    }
}

/// What a request says of a checker.
struct Wanted {
    url: String,
    group: Option<String>,
}

/// Makes a checker, or changes it. The secret is shown when it is made, and never again.
async fn put(mut call: Call) -> Result<Response, Problem> {
    let named = Named::of(&call)?;
    let limit = call.node.options.limits.small;
    let wanted = read(&call.json(limit, "application/json").await?)?;
    let node = call.node.clone();
    let url = node.webhooks.parse(&wanted.url).map_err(forbidden)?;
    let group = wanted.group.as_deref().unwrap_or(&named.topic);
    if GroupName::parse(group).is_err() {
        let detail = "1 to 120 ASCII letters, digits, _ and - expected";
        let fault = Fault::pointer("/producer_group", detail);
        return Err(Problem::new(&problem::INVALID_GROUP).faults(vec![fault]));
    }
    let (admin, namespace) = (node.client.admin(), named.namespace.as_deref());
    let kinds = [Kind::Transaction];
    node.publisher
        .check(&node.client, &named.topic, &kinds)
        .await?;
    let found = admin.checker(&named.topic).await?;
    may_replace(&call, found.as_ref())?;
    if found.is_none_or(|own| own.url != wanted.url) {
        // Nobody else waits for this receiver, who may be slow.
        let host = call.headers.get(HOST).and_then(|host| host.to_str().ok());
        let origin = host.unwrap_or("posthouse").to_owned();
        confirm(&node, &url, origin).await?;
    }
    let _turn = node.turns.of(&named.topic).await;
    let found = admin.checker(&named.topic).await?;
    may_replace(&call, found.as_ref())?;
    let same = |own: &&CheckerInfo| own.url == wanted.url && own.producer_group == group;
    if let Some(own) = found.as_ref().filter(same) {
        return Ok(answer(&node, StatusCode::OK, own, namespace, false));
    }
    // A receiver elsewhere must not know what the one before it believes.
    let kept = found.as_ref().filter(|own| own.url == wanted.url);
    let kept = kept.map(|own| own.secret.clone());
    let is_new_secret = kept.is_none();
    let after = found.as_ref().map_or(0, |own| own.created_at + 1);
    let new = CheckerInfo {
        created_at: clock::wall_ms().max(after),
        producer_group: group.to_owned(),
        secret: kept.map_or_else(new_secret, Ok)?,
        topic: named.topic.clone(),
        url: wanted.url,
    };
    let full = |error: Error| match error.code() {
        Some(SYSTEM_BUSY) => Problem::new(&problem::LIMIT_EXCEEDED)
            .detail("the brokers keep as many checkers as they may; delete one"),
        _ => error.into(),
    };
    admin.put_checker(&new).await.map_err(full)?;
    node.checkers.tell();
    if found.is_some() {
        return Ok(answer(
            &node,
            StatusCode::OK,
            &new,
            namespace,
            is_new_secret,
        ));
    }
    let mut response = answer(&node, StatusCode::CREATED, &new, namespace, true);
    let parts = ["topics", call.parameter(0), "transaction-checker"];
    if let Ok(location) = HeaderValue::try_from(names::location(&parts, namespace)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// Whether the caller's `If-Match`, if there is one, names what is there.
fn may_replace(call: &Call, found: Option<&CheckerInfo>) -> Result<(), Problem> {
    match found {
        Some(own) => call.if_match(&etag(own)),
        None if call.headers.contains_key(IF_MATCH) => {
            let detail = "there is no checker that could have this ETag";
            Err(Problem::new(&problem::PRECONDITION_FAILED).detail(detail))
        }
        None => Ok(()),
    }
}

fn new_secret() -> Result<String, Problem> {
    webhook::secret().map_err(|error| {
        tracing::error!(%error, "the system has no random bytes");
        Problem::new(&problem::INTERNAL)
    })
}

fn forbidden(refused: Refused) -> Problem {
    let fault = Fault::pointer("/url", refused.0);
    Problem::new(&problem::FORBIDDEN_URL).faults(vec![fault])
}

/// Nobody shall make this server call whom they like: a receiver says first that it wants to be called. Hosts
/// that the operator trusts are not asked.
async fn confirm(node: &Node, url: &Url, origin: String) -> Result<(), Problem> {
    if url.trusted {
        return Ok(());
    }
    let unconfirmed = |detail: String| {
        let fault = Fault::pointer("/url", detail);
        Problem::new(&problem::WEBHOOK_NOT_CONFIRMED).faults(vec![fault])
    };
    match node.webhooks.confirm(url, &origin).await {
        Ok(Confirmed::Yes) => Ok(()),
        Ok(Confirmed::No(status)) => Err(unconfirmed(format!(
            "it answered OPTIONS with {} and without WebHook-Allowed-Origin: {origin}",
            status.as_u16()
        ))),
        Err(Failed::Forbidden(_)) => Err(forbidden(Refused(
            "its name leads to an address that is private or local",
        ))),
        Err(error) => {
            tracing::info!(host = url.host, %error, "a webhook was not confirmed");
            let detail = "it could not be reached, or gave no answer";
            Err(unconfirmed(detail.to_owned()))
        }
    }
}

async fn get(call: Call) -> Result<Response, Problem> {
    let named = Named::of(&call)?;
    let own = named.own(&call.node).await?;
    let namespace = named.namespace.as_deref();
    Ok(answer(&call.node, StatusCode::OK, &own, namespace, false))
}

async fn delete(call: Call) -> Result<Response, Problem> {
    let named = Named::of(&call)?;
    let _turn = call.node.turns.of(&named.topic).await;
    let own = named.own(&call.node).await?;
    call.if_match(&etag(&own))?;
    let admin = call.node.client.admin();
    admin.delete_checker(&named.topic).await?;
    call.node.checkers.tell();
    Ok(no_content())
}

async fn list(call: Call) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(call.query(), &["limit", "page_token"], &[]);
    let asked = Page::asked(&mut parameters, &call.node)?;
    let namespace = parameters.text(NAMESPACE);
    let mut all = call.node.client.admin().checkers().await?;
    let prefix = names::full("", namespace);
    all.retain(|own| own.topic.starts_with(&*prefix));
    let topics = all.iter().map(|own| own.topic.clone()).collect();
    let (topics, next) = asked.take(topics, &call.node);
    let of = |topic: &String| {
        let own = all.iter().find(|own| own.topic == *topic);
        own.map(|own| shown(&call.node, own, namespace))
    };
    let items: Vec<Value> = topics.iter().filter_map(of).collect();
    Ok(page::answer(&call, items, next))
}

fn answer(
    node: &Node,
    status: StatusCode,
    own: &CheckerInfo,
    namespace: Option<&str>,
    with_secret: bool,
) -> Response {
    let mut shown = shown(node, own, namespace);
    if with_secret {
        shown["secret"] = json!(own.secret);
    }
    let mut response = json_answer(status, &shown);
    response.headers_mut().insert(ETAG, etag(own));
    response
}

fn shown(node: &Node, own: &CheckerInfo, namespace: Option<&str>) -> Value {
    json!({
        "topic": write::plain_topic(&own.topic, namespace),
        "url": own.url,
        "producer_group": own.producer_group,
        "created_at": time::format(own.created_at),
        "last_call": node.checkers.calls.shown(&own.topic),
    })
}

/// Changes whenever the checker does.
fn etag(own: &CheckerInfo) -> HeaderValue {
    etag::of((&own.url, &own.producer_group, own.created_at))
}

fn read(body: &[u8]) -> Result<Wanted, Problem> {
    let (mut faults, top) = (Faults::default(), At::Root);
    let (mut url, mut group) = (None, None);
    let members = faults.object(top, json::parse(body)?);
    let is_object = members.is_some();
    for (name, value) in members.into_iter().flatten() {
        let at = top.member(&name);
        match &*name {
            "url" => url = faults.string(at, value).map(|url| url.into_owned()),
            "producer_group" => {
                group = faults.string(at, value).map(|group| group.into_owned());
            }
            _ => faults.unknown(top, &name, &["url", "producer_group"]),
        }
    }
    if is_object && url.is_none() && faults.is_empty() {
        faults.missing(top, "url");
    }
    faults.check()?;
    Ok(Wanted {
        url: url.unwrap_or_default(),
        group,
    })
}
