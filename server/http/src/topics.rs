//! Topics: made, shown, changed, deleted, listed.

mod settings;

use axum::body::Body;
use axum::response::Response;
use hyper::StatusCode;
use hyper::header::{ETAG, HeaderValue, LOCATION};
use posthouse_client::{Admin, Error, TopicConfig, TopicName};
use serde_json::{Value, json};

use crate::call::{Call, json_answer};
use crate::names;
use crate::operations::{Operation, row};
use crate::problem::{self, Fault, Problem};
use settings::Settings;

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(GET "/v1/topics" "listTopics" list),
    row!(PUT "/v1/topics/{topic}" "putTopic" put,
        MALFORMED_JSON, INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE, INVALID_TOPIC, RESERVED_TOPIC,
        INVALID_SETTING, ALREADY_EXISTS_DIFFERENTLY),
    row!(GET "/v1/topics/{topic}" "getTopic" get, INVALID_TOPIC, RESERVED_TOPIC, TOPIC_NOT_FOUND),
    row!(DELETE "/v1/topics/{topic}" "deleteTopic" delete,
        INVALID_TOPIC, RESERVED_TOPIC, TOPIC_NOT_FOUND, CONFIRMATION_REQUIRED),
];

/// Makes a topic, or finds it as the request wants it. What the request does not say, it does not ask for.
async fn put(mut call: Call) -> Result<Response, Problem> {
    let name = names::topic(call.parameter(0), None)?;
    let wanted = Settings::read(&mut call).await?;
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
    if let Ok(location) = HeaderValue::try_from(format!("/v1/topics/{}", call.parameter(0))) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

async fn get(call: Call) -> Result<Response, Problem> {
    let name = names::topic(call.parameter(0), None)?;
    let admin = call.node.client.admin();
    let topic = existing(&admin, &name).await?;
    answer(&admin, StatusCode::OK, &topic).await
}

async fn delete(call: Call) -> Result<Response, Problem> {
    let name = names::topic(call.parameter(0), None)?;
    let admin = call.node.client.admin();
    existing(&admin, &name).await?;
    admin.delete_topic(name.as_str()).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

async fn list(call: Call) -> Result<Response, Problem> {
    let admin = call.node.client.admin();
    let mut topics = admin.topics().await?;
    let cluster = admin.cluster().await?;
    // Every cluster and every broker has a topic of its own name.
    let own = |topic: &String| {
        cluster.cluster_addr_table.contains_key(topic)
            || cluster.broker_addr_table.contains_key(topic)
    };
    topics.retain(|topic| !names::is_system(topic) && !own(topic));
    topics.sort_unstable();
    let items: Vec<Value> = topics.iter().map(|name| json!({"name": name})).collect();
    Ok(json_answer(
        StatusCode::OK,
        &json!({"items": items, "next_page_token": null}),
    ))
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
