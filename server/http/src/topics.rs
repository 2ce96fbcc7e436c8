//! Topics: made, shown, changed, deleted, listed.

mod figures;
mod settings;

use hyper::StatusCode;
use hyper::header::{ETAG, HeaderValue, LOCATION};
use posthouse_client::{Admin, Error, TopicConfig, TopicName};
use serde_json::{Value, json};

use crate::body::{Body, Response};
use crate::call::{Call, json_answer};
use crate::names;
use crate::operations::{Operation, row};
use crate::page::{self, Page};
use crate::parameters::{NAMESPACE, Parameters};
use crate::problem::{self, Fault, Problem};
use settings::Settings;

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(GET "/v1/topics" "listTopics" list, INVALID_PAGE_TOKEN, PAGE_TOKEN_EXPIRED),
    row!(PUT "/v1/topics/{topic}" "putTopic" put,
        MALFORMED_JSON, INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE, INVALID_TOPIC, RESERVED_TOPIC,
        INVALID_SETTING, ALREADY_EXISTS_DIFFERENTLY),
    row!(GET "/v1/topics/{topic}" "getTopic" get, INVALID_TOPIC, RESERVED_TOPIC, TOPIC_NOT_FOUND),
    row!(
        GET "/v1/topics/{topic}/stats" "getTopicStats" figures::stats,
        INVALID_TOPIC, RESERVED_TOPIC, TOPIC_NOT_FOUND
    ),
    row!(
        GET "/v1/topics/{topic}/offsets" "getTopicOffsets" figures::offsets,
        INVALID_TOPIC, RESERVED_TOPIC, TOPIC_NOT_FOUND
    ),
    row!(
        GET "/v1/topics/{topic}/groups" "listTopicGroups" figures::groups,
        INVALID_TOPIC, RESERVED_TOPIC, TOPIC_NOT_FOUND, INVALID_PAGE_TOKEN, PAGE_TOKEN_EXPIRED
    ),
    row!(
        PATCH "/v1/topics/{topic}" "patchTopic" patch,
        MALFORMED_JSON, INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE, INVALID_TOPIC, RESERVED_TOPIC,
        INVALID_SETTING, TOPIC_NOT_FOUND, PRECONDITION_FAILED
    ),
    row!(DELETE "/v1/topics/{topic}" "deleteTopic" delete,
        INVALID_TOPIC, RESERVED_TOPIC, TOPIC_NOT_FOUND, CONFIRMATION_REQUIRED),
];

/// Makes a topic, or finds it as the request wants it. What the request does not say, it does not ask for.
async fn put(mut call: Call) -> Result<Response, Problem> {
    let name = only_namespace(&call)?;
    let wanted = call.settings(Settings::parse).await?;
    let admin = call.node.client.admin();
    if let Some(found) = find(&admin, &name).await? {
        if !wanted.describe(&found) {
            let detail = "the topic exists with other settings; PATCH changes them";
            return Err(Problem::new(&problem::ALREADY_EXISTS_DIFFERENTLY)
                .detail(detail)
                .with("current", settings::shown(&found)));
        }
        return answer(&admin, StatusCode::OK, &found).await;
    }
    if !names::is_plain(call.parameter(0)) {
        let what = "a new topic's name has 1 to 127 ASCII letters, digits, _ and -";
        let faults = vec![Fault::parameter("topic", what)];
        return Err(Problem::new(&problem::INVALID_TOPIC).faults(faults));
    }
    let topic = wanted.create(name);
    admin.put_topic(&topic).await?;
    let mut response = answer(&admin, StatusCode::CREATED, &topic).await?;
    let parameters = Parameters::new(call.query(), &[], &[]);
    let location = names::location(&["topics", call.parameter(0)], parameters.text(NAMESPACE));
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// What a topic is that its first use makes, where that is asked for: as a request that says nothing makes it.
pub(crate) fn made_by_use(name: &str) -> Option<TopicConfig> {
    let name = TopicName::parse(name).ok()?;
    names::may_be_made(name.as_str()).then(|| Settings::default().create(name))
}

/// The topic of the path; the query says nothing but its namespace.
fn only_namespace(call: &Call) -> Result<TopicName, Problem> {
    let mut parameters = Parameters::new(call.query(), &[], &[]);
    parameters.finish()?;
    names::topic(call.parameter(0), parameters.text(NAMESPACE))
}

async fn get(call: Call) -> Result<Response, Problem> {
    let name = only_namespace(&call)?;
    let admin = call.node.client.admin();
    let topic = existing(&admin, &name).await?;
    answer(&admin, StatusCode::OK, &topic).await
}

/// Changes what the request says, if the topic is still what the caller thinks it is.
async fn patch(mut call: Call) -> Result<Response, Problem> {
    let name = only_namespace(&call)?;
    let wanted = call.patch(Settings::parse).await?;
    let admin = call.node.client.admin();
    let mut topic = existing(&admin, &name).await?;
    call.if_match(&settings::etag(&topic))?;
    wanted.change(&mut topic);
    admin.put_topic(&topic).await?;
    answer(&admin, StatusCode::OK, &topic).await
}

async fn delete(call: Call) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(call.query(), &["confirm"], &[]);
    parameters.finish()?;
    let name = names::topic(call.parameter(0), parameters.text(NAMESPACE))?;
    names::confirmed(&parameters, call.parameter(0))?;
    let admin = call.node.client.admin();
    existing(&admin, &name).await?;
    admin.delete_topic(name.as_str()).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

async fn list(call: Call) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(call.query(), &["prefix", "limit", "page_token"], &[]);
    let asked = Page::asked(&mut parameters, &call.node)?;
    let namespace = parameters.text(NAMESPACE);
    let prefix = names::full(parameters.text("prefix").unwrap_or_default(), namespace);
    let admin = call.node.client.admin();
    let mut topics = admin.topics().await?;
    let cluster = admin.cluster().await?;
    // Every cluster and every broker has a topic of its own name.
    let own = |topic: &String| {
        cluster.cluster_addr_table.contains_key(topic)
            || cluster.broker_addr_table.contains_key(topic)
    };
    topics.retain(|topic| topic.starts_with(&*prefix) && !names::is_system(topic) && !own(topic));
    let (topics, next) = asked.take(topics, &call.node);
    let items: Vec<Value> = topics.iter().map(|name| json!({"name": name})).collect();
    Ok(page::answer(&call, items, next))
}

/// A topic's configuration, if it exists.
async fn find(admin: &Admin, name: &TopicName) -> Result<Option<TopicConfig>, Problem> {
    match admin.topic(name.as_str()).await {
        Ok(topic) => Ok(Some(topic)),
        Err(Error::NoRoute(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn existing(admin: &Admin, name: &TopicName) -> Result<TopicConfig, Problem> {
    let found = find(admin, name).await?;
    found.ok_or_else(|| Error::NoRoute(name.to_string()).into())
}

async fn answer(
    admin: &Admin,
    status: StatusCode,
    topic: &TopicConfig,
) -> Result<Response, Problem> {
    let mut shown = settings::shown(topic);
    // A topic that was just made may not be in every name server's table yet.
    let queues = admin.queues(topic.name.as_str()).await.unwrap_or_default();
    let mut brokers: Vec<&str> = queues.iter().map(|queue| &*queue.broker).collect();
    brokers.dedup();
    shown["brokers"] = json!(brokers);
    let mut response = json_answer(status, &shown);
    response.headers_mut().insert(ETAG, settings::etag(topic));
    Ok(response)
}
