//! What a group wants of topics: one filter a topic, kept with the group, the same for every member.

use std::time::{Duration, UNIX_EPOCH};

use hyper::StatusCode;
use hyper::header::{ETAG, HeaderValue, IF_MATCH, LOCATION};
use posthouse_client::{Admin, Filter, GroupConfig, GroupName};
use serde_json::{Value, json};

use super::{existing, no_content, to_subscribe};
use crate::body::Response;
use crate::call::{Call, json_answer};
use crate::json::{self, At, Faults};
use crate::page::{self, Page};
use crate::parameters::{NAMESPACE, Parameters};
use crate::problem::{self, Problem};
use crate::subscriptions::{self, Subscription};
use crate::tail::{EXPRESSION_MAX, TAGS_EXPECTED, TOO_LONG, tags};
use crate::{clock, etag, names, time, write};

/// Where a group begins in a topic that it never consumed.
#[derive(Debug, Default, Clone, Copy)]
enum Start {
    #[default]
    Earliest,
    Latest,
    Time(i64),
}

/// What a request says of a subscription.
#[derive(Debug, Default)]
struct Wanted {
    filter: Filter,
    start: Start,
}

/// The names in a path, as brokers know them.
struct Named {
    group: GroupName,
    topic: String,
    namespace: Option<String>,
}

impl Named {
    fn of(call: &Call) -> Result<Named, Problem> {
        let mut parameters = Parameters::new(call.query(), &[], &[]);
        parameters.finish()?;
        let namespace = parameters.text(NAMESPACE).map(str::to_owned);
        Ok(Named {
            group: names::group(call.parameter(0), namespace.as_deref())?,
            topic: names::topic(call.parameter(1), namespace.as_deref())?.to_string(),
            namespace,
        })
    }

    fn own(&self, group: &GroupConfig) -> Option<Subscription> {
        let mut all = subscriptions::of(group).into_iter();
        all.find(|own| own.topic == self.topic)
    }

    fn missing(&self) -> Problem {
        subscriptions::missing(self.group.as_str(), &self.topic)
    }

    fn answer(&self, status: StatusCode, own: &Subscription) -> Response {
        let mut response = json_answer(status, &shown(own, self.namespace.as_deref()));
        response.headers_mut().insert(ETAG, etag(own));
        response
    }
}

pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(call.query(), &["limit", "page_token"], &[]);
    let asked = Page::asked(&mut parameters, &call.node)?;
    let namespace = parameters.text(NAMESPACE);
    let name = names::group(call.parameter(0), namespace)?;
    let group = existing(&call.node.client.admin(), &name).await?;
    let all = subscriptions::of(&group);
    let topics = all.iter().map(|own| own.topic.clone()).collect();
    let (topics, next) = asked.take(topics, &call.node);
    let of = |topic: &String| {
        let own = all.iter().find(|own| own.topic == *topic);
        own.map(|own| shown(own, namespace))
    };
    let items: Vec<Value> = topics.iter().filter_map(of).collect();
    Ok(page::answer(&call, items, next))
}

pub(super) async fn get(call: Call) -> Result<Response, Problem> {
    let named = Named::of(&call)?;
    let group = existing(&call.node.client.admin(), &named.group).await?;
    let own = named.own(&group).ok_or_else(|| named.missing())?;
    Ok(named.answer(StatusCode::OK, &own))
}

/// Makes a subscription, or finds it as the request wants it; another filter needs to name the one it
/// replaces, since what that skipped stays skipped.
pub(super) async fn put(mut call: Call) -> Result<Response, Problem> {
    let named = Named::of(&call)?;
    let wanted = call.settings(read).await?;
    let node = &call.node;
    let admin = node.client.admin();
    let _turn = node.turns.of(named.group.as_str()).await;
    let mut group = to_subscribe(node, &named.group).await?;
    node.publisher
        .check(&node.client, &named.topic, &[])
        .await?;
    // Where nothing is lent, no subscription is kept either: nothing is changed there.
    let consumer = node.client.simple_consumer(named.group.as_str())?;
    consumer.check_lends(&named.topic).await?;
    let found = named.own(&group);
    if let Some(own) = &found {
        call.if_match(&etag(own))?;
        if own.is(&wanted.filter) {
            return Ok(named.answer(StatusCode::OK, own));
        }
        if !call.headers.contains_key(IF_MATCH) {
            let detail =
                "the subscription has another filter: name its ETag with If-Match to change it";
            return Err(Problem::new(&problem::PRECONDITION_REQUIRED)
                .detail(detail)
                .with("current", shown(own, named.namespace.as_deref())));
        }
    } else if call.headers.contains_key(IF_MATCH) {
        let detail = "there is no subscription that could have this ETag";
        return Err(Problem::new(&problem::PRECONDITION_FAILED).detail(detail));
    }
    if let Filter::Sql(_) = &wanted.filter {
        admin.check_filter(&named.topic, &wanted.filter).await?;
    }
    agreed(&admin, &named, &wanted.filter).await?;
    let new = Subscription::new(&named.topic, &wanted.filter, clock::wall_ms());
    if found.is_none() {
        begin(&admin, &named, wanted.start).await?;
    }
    subscriptions::put(&mut group, new.clone());
    admin.put_group(&group).await?;
    kept(&admin, &named, Some(&wanted.filter)).await?;
    let status = match found {
        Some(_) => StatusCode::OK,
        None => StatusCode::CREATED,
    };
    let mut response = named.answer(status, &new);
    let (group, topic) = (call.parameter(0), call.parameter(1));
    let parts = ["groups", group, "subscriptions", topic];
    let location = names::location(&parts, named.namespace.as_deref());
    if found.is_none()
        && let Ok(location) = HeaderValue::try_from(location)
    {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

pub(super) async fn delete(call: Call) -> Result<Response, Problem> {
    let named = Named::of(&call)?;
    let _turn = call.node.turns.of(named.group.as_str()).await;
    let admin = call.node.client.admin();
    let mut group = existing(&admin, &named.group).await?;
    let own = named.own(&group).ok_or_else(|| named.missing())?;
    call.if_match(&etag(&own))?;
    subscriptions::remove(&mut group, &named.topic);
    admin.put_group(&group).await?;
    kept(&admin, &named, None).await?;
    Ok(no_content())
}

/// Whether the brokers keep what a group wants.
async fn kept(admin: &Admin, named: &Named, filter: Option<&Filter>) -> Result<(), Problem> {
    let group = existing(admin, &named.group).await?;
    let own = named.own(&group);
    let same = match filter {
        Some(filter) => own.is_some_and(|own| own.is(filter)),
        None => own.is_none(),
    };
    match (same, &group.subscriptions) {
        (true, _) => Ok(()),
        (false, None) => {
            let detail = "the broker keeps no subscriptions of groups";
            Err(Problem::new(&problem::UNSUPPORTED_BY_BROKER).detail(detail))
        }
        // It keeps others.
        (false, Some(_)) => {
            let detail =
                "somebody else changed the group at the same time, elsewhere; say it again";
            Err(Problem::unavailable(detail))
        }
    }
}

/// Members that are there want the same: otherwise each would miss what the other skips.
async fn agreed(admin: &Admin, named: &Named, filter: &Filter) -> Result<(), Problem> {
    let members = admin.consumers(named.group.as_str()).await?;
    let Some(theirs) = members.subscription_table.get(&named.topic) else {
        return Ok(());
    };
    let own = Subscription {
        topic: named.topic.clone(),
        expression_type: theirs
            .expression_type
            .clone()
            .unwrap_or_else(|| "TAG".to_owned()),
        expression: theirs.sub_string.clone(),
        version: 0,
    };
    match own.is(filter) {
        true => Ok(()),
        false => Err(Problem::new(&problem::SUBSCRIPTION_MISMATCH)
            .detail("members that are connected want something else of this topic")
            .with("filter", own.expression)),
    }
}

/// Where the group begins: its place in queues that it consumed before stays.
async fn begin(admin: &Admin, named: &Named, start: Start) -> Result<(), Problem> {
    if let Start::Earliest = start {
        return Ok(()); // as brokers begin
    }
    let group = named.group.as_str();
    for queue in admin.queues(&named.topic).await? {
        if admin.group_offset(group, &queue).await?.is_some() {
            continue;
        }
        let offset = match start {
            Start::Time(ms) => {
                let since = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
                admin.offset_at(&queue, UNIX_EPOCH + since).await?
            }
            _ => admin.max_offset(&queue).await?,
        };
        admin.set_group_offset(group, &queue, offset).await?;
    }
    Ok(())
}

fn shown(own: &Subscription, namespace: Option<&str>) -> Value {
    let (kind, expression) = match own.filter() {
        Filter::All => ("tag", "*".to_owned()),
        Filter::Tags(tags) => ("tag", tags),
        Filter::Sql(expression) => ("sql", expression),
    };
    json!({
        "topic": write::plain_topic(&own.topic, namespace),
        "filter": {"type": kind, "expression": expression},
    })
}

/// Changes whenever the filter does.
fn etag(own: &Subscription) -> HeaderValue {
    etag::of((&own.expression_type, &own.expression, own.version))
}

fn read(body: &[u8]) -> Result<Wanted, Problem> {
    let (mut faults, top) = (Faults::default(), At::Root);
    let mut wanted = Wanted::default();
    let members = faults.object(top, json::parse(body)?);
    for (name, value) in members.into_iter().flatten() {
        let at = top.member(&name);
        match &*name {
            "filter" => wanted.filter = read_filter(&mut faults, at, value).unwrap_or_default(),
            "start" => {
                let Some(text) = faults.string(at, value) else {
                    continue;
                };
                match (&*text, time::parse(&text)) {
                    ("earliest", _) => wanted.start = Start::Earliest,
                    ("latest", _) => wanted.start = Start::Latest,
                    (_, Some(ms)) => wanted.start = Start::Time(ms),
                    _ => faults.add(at, "earliest, latest or a time expected"),
                }
            }
            _ => faults.unknown(top, &name, &["filter", "start"]),
        }
    }
    faults.check()?;
    Ok(wanted)
}

fn read_filter(faults: &mut Faults, at: At<'_>, value: json::Value<'_>) -> Option<Filter> {
    let (mut kind, mut expression) = (Some("tag"), None);
    for (name, value) in faults.object(at, value)? {
        let own = at.member(&name);
        match &*name {
            "type" => kind = faults.word(own, value, &["tag", "sql"]),
            "expression" => expression = faults.string(own, value),
            _ => faults.unknown(at, &name, &["type", "expression"]),
        }
    }
    let Some(text) = expression else {
        if faults.is_empty() {
            faults.missing(at, "expression");
        }
        return None;
    };
    let (read, expected) = match kind? {
        _ if text.chars().count() > EXPRESSION_MAX => (None, TOO_LONG),
        "sql" => (
            (!text.trim().is_empty()).then(|| Filter::sql(&*text)),
            "an SQL92 expression expected",
        ),
        _ => (tags(&text), TAGS_EXPECTED),
    };
    if read.is_none() {
        faults.refuse(&problem::INVALID_FILTER, at.member("expression"), expected);
    }
    read
}
