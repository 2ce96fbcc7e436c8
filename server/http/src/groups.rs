//! Groups: made, shown, changed, deleted, listed.

mod members;
mod progress;
mod settings;
mod subscribed;

use hyper::StatusCode;
use hyper::header::{ETAG, HeaderValue, LOCATION};
use posthouse_client::{Admin, GroupConfig, GroupName};
use serde_json::{Value, json};

use crate::body::{Body, Response};
use crate::call::{Call, json_answer};
use crate::names;
use crate::node::Node;
use crate::operations::{Operation, row};
use crate::page::{self, Page};
use crate::parameters::{NAMESPACE, Parameters};
use crate::problem::{self, Fault, Problem};
use settings::Settings;

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(GET "/v1/groups" "listGroups" list, INVALID_PAGE_TOKEN, PAGE_TOKEN_EXPIRED),
    row!(
        PUT "/v1/groups/{group}" "putGroup" put,
        MALFORMED_JSON, INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE, INVALID_GROUP, INVALID_SETTING,
        ALREADY_EXISTS_DIFFERENTLY
    ),
    row!(GET "/v1/groups/{group}" "getGroup" get, INVALID_GROUP, GROUP_NOT_FOUND),
    row!(
        PATCH "/v1/groups/{group}" "patchGroup" patch,
        MALFORMED_JSON, INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE, INVALID_GROUP, INVALID_SETTING,
        GROUP_NOT_FOUND, PRECONDITION_FAILED
    ),
    row!(
        DELETE "/v1/groups/{group}" "deleteGroup" delete,
        INVALID_GROUP, GROUP_NOT_FOUND, CONFIRMATION_REQUIRED
    ),
    row!(
        GET "/v1/groups/{group}/offsets" "getGroupOffsets" progress::offsets,
        INVALID_GROUP, GROUP_NOT_FOUND, INVALID_TOPIC, RESERVED_TOPIC, TOPIC_NOT_FOUND
    ),
    row!(
        POST "/v1/groups/{group}/offsets:reset" "resetOffsets" progress::reset,
        MALFORMED_JSON, INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE, INVALID_GROUP, GROUP_NOT_FOUND,
        INVALID_TOPIC, RESERVED_TOPIC, TOPIC_NOT_FOUND, QUEUE_NOT_FOUND, INVALID_OFFSET
    ),
    row!(GET "/v1/groups/{group}/lag" "getGroupLag" progress::lag, INVALID_GROUP, GROUP_NOT_FOUND),
    row!(
        GET "/v1/groups/{group}/clients" "listGroupClients" members::clients,
        INVALID_GROUP, GROUP_NOT_FOUND
    ),
    row!(
        GET "/v1/groups/{group}/subscriptions" "listSubscriptions" subscribed::list,
        INVALID_GROUP, GROUP_NOT_FOUND, INVALID_PAGE_TOKEN, PAGE_TOKEN_EXPIRED
    ),
    row!(
        GET "/v1/groups/{group}/subscriptions/{topic}" "getSubscription" subscribed::get,
        INVALID_GROUP, GROUP_NOT_FOUND, INVALID_TOPIC, RESERVED_TOPIC, SUBSCRIPTION_NOT_FOUND
    ),
    row!(
        PUT "/v1/groups/{group}/subscriptions/{topic}" "putSubscription" subscribed::put,
        MALFORMED_JSON, INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE, INVALID_GROUP, GROUP_NOT_FOUND,
        INVALID_TOPIC, RESERVED_TOPIC, TOPIC_NOT_FOUND, TOPIC_NOT_WRITABLE, INVALID_FILTER,
        SUBSCRIPTION_MISMATCH, PRECONDITION_FAILED, PRECONDITION_REQUIRED
    ),
    row!(
        DELETE "/v1/groups/{group}/subscriptions/{topic}" "deleteSubscription" subscribed::delete,
        INVALID_GROUP, GROUP_NOT_FOUND, INVALID_TOPIC, RESERVED_TOPIC, SUBSCRIPTION_NOT_FOUND,
        PRECONDITION_FAILED
    ),
];

/// Makes a group, or finds it as the request wants it. What the request does not say, it does not ask for.
async fn put(mut call: Call) -> Result<Response, Problem> {
    let name = only_namespace(&call)?;
    let wanted = call.settings(Settings::parse).await?;
    let _turn = call.node.turns.of(name.as_str()).await;
    let admin = call.node.client.admin();
    if let Some(found) = find(&admin, &name).await? {
        let mut same = found.clone();
        wanted.change(&mut same);
        if same != found {
            let detail = "the group exists with other settings; PATCH changes them";
            return Err(Problem::new(&problem::ALREADY_EXISTS_DIFFERENTLY)
                .detail(detail)
                .with("current", settings::shown(&found)));
        }
        return Ok(answer(StatusCode::OK, &found));
    }
    if !names::is_plain(call.parameter(0)) {
        let what = "a new group's name has 1 to 120 ASCII letters, digits, _ and -";
        let faults = vec![Fault::parameter("group", what)];
        return Err(Problem::new(&problem::INVALID_GROUP).faults(faults));
    }
    let mut group = GroupConfig::new(name);
    wanted.change(&mut group);
    admin.put_group(&group).await?;
    let mut response = answer(StatusCode::CREATED, &group);
    let parameters = Parameters::new(call.query(), &[], &[]);
    let location = names::location(&["groups", call.parameter(0)], parameters.text(NAMESPACE));
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

async fn get(call: Call) -> Result<Response, Problem> {
    let name = only_namespace(&call)?;
    let group = existing(&call.node.client.admin(), &name).await?;
    Ok(answer(StatusCode::OK, &group))
}

/// Changes what the request says, if the group is still what the caller thinks it is.
async fn patch(mut call: Call) -> Result<Response, Problem> {
    let name = only_namespace(&call)?;
    let wanted = call.patch(Settings::parse).await?;
    let _turn = call.node.turns.of(name.as_str()).await;
    let admin = call.node.client.admin();
    let mut group = existing(&admin, &name).await?;
    call.if_match(&settings::etag(&group))?;
    wanted.change(&mut group);
    admin.put_group(&group).await?;
    Ok(answer(StatusCode::OK, &group))
}

async fn delete(call: Call) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(call.query(), &["confirm"], &[]);
    parameters.finish()?;
    let name = names::group(call.parameter(0), parameters.text(NAMESPACE))?;
    names::confirmed(&parameters, call.parameter(0))?;
    let _turn = call.node.turns.of(name.as_str()).await;
    let admin = call.node.client.admin();
    existing(&admin, &name).await?;
    // A group of this name that is made later begins anew.
    admin.delete_group(name.as_str(), true).await?;
    Ok(no_content())
}

async fn list(call: Call) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(call.query(), &["prefix", "limit", "page_token"], &[]);
    let asked = Page::asked(&mut parameters, &call.node)?;
    let namespace = parameters.text(NAMESPACE);
    let prefix = names::full(parameters.text("prefix").unwrap_or_default(), namespace);
    let groups = call.node.client.admin().groups().await?;
    let names = groups.iter().map(|group| group.name.as_str());
    let names = names.filter(|name| name.starts_with(&*prefix) && !names::is_system_group(name));
    let (names, next) = asked.take(names.map(str::to_owned).collect(), &call.node);
    let items: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    Ok(page::answer(&call, items, next))
}

/// The group of the path; the query says nothing but its namespace.
fn only_namespace(call: &Call) -> Result<GroupName, Problem> {
    let mut parameters = Parameters::new(call.query(), &[], &[]);
    parameters.finish()?;
    names::group(call.parameter(0), parameters.text(NAMESPACE))
}

/// A group's configuration, if it exists. Asked for one group alone, an Apache broker may make it.
async fn find(admin: &Admin, name: &GroupName) -> Result<Option<GroupConfig>, Problem> {
    let groups = admin.groups().await?;
    Ok(groups.into_iter().find(|group| group.name == *name))
}

/// A group's configuration.
///
/// # Errors
/// `group-not-found`.
pub(crate) async fn existing(admin: &Admin, name: &GroupName) -> Result<GroupConfig, Problem> {
    let found = find(admin, name).await?;
    found.ok_or_else(|| missing(name.as_str()))
}

/// A group's configuration for whoever consumes in it now, asked for alone: one small answer. An Apache broker
/// that makes groups for their consumers makes this one.
///
/// # Errors
/// `group-not-found`.
pub(crate) async fn to_consume(node: &Node, name: &str) -> Result<GroupConfig, Problem> {
    match node.client.admin().group(name).await? {
        Some(found) => Ok(found),
        None => {
            let named = GroupName::parse(name).map_err(|_| missing(name))?;
            made_by_use(node, named).await
        }
    }
}

/// A group's configuration for whoever subscribes in it.
///
/// # Errors
/// `group-not-found`.
async fn to_subscribe(node: &Node, name: &GroupName) -> Result<GroupConfig, Problem> {
    match find(&node.client.admin(), name).await? {
        Some(found) => Ok(found),
        None => made_by_use(node, name.clone()).await,
    }
}

/// A group that does not exist, where its first use makes it.
async fn made_by_use(node: &Node, name: GroupName) -> Result<GroupConfig, Problem> {
    if !node.options.makes_missing || !names::may_be_made(name.as_str()) {
        return Err(missing(name.as_str()));
    }
    let group = GroupConfig::new(name);
    node.client.admin().put_group(&group).await?;
    Ok(group)
}

fn missing(name: &str) -> Problem {
    let detail = format!("there is no group {name}");
    Problem::new(&problem::GROUP_NOT_FOUND).detail(detail)
}

fn answer(status: StatusCode, group: &GroupConfig) -> Response {
    let mut response = json_answer(status, &settings::shown(group));
    response.headers_mut().insert(ETAG, settings::etag(group));
    response
}

pub(crate) fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
