//! What a topic holds, where its queues begin and end, and who consumes it.

use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::body::Response;
use crate::call::{Call, json_answer};
use crate::page::{self, Page};
use crate::parameters::{NAMESPACE, Parameters};
use crate::problem::Problem;
use crate::{names, shown, time};

/// What the topic and each queue of it holds, what goes through, and what waits.
pub(super) async fn stats(call: Call) -> Result<Response, Problem> {
    let topic = super::only_namespace(&call)?;
    let admin = call.node.client.admin();
    let stats = admin.topic_figures(topic.as_str()).await?;
    let held = |from: u64, to: u64| to.saturating_sub(from);
    let queue = |own: &posthouse_client::QueueStats| {
        json!({
            "queue": shown::queue(&own.queue),
            "min": own.start,
            "max": own.end,
            "last_stored_at": own.last_stored_at.map(time::format),
        })
    };
    let all = stats.queues.iter();
    let messages: u64 = all.map(|own| held(own.start, own.end)).sum();
    let queues: Vec<Value> = stats.queues.iter().map(queue).collect();
    let answer = json!({
        "messages": messages,
        "bytes": stats.bytes,
        "publish_rate": stats.put_rate,
        "scheduled": stats.scheduled,
        "half": stats.half,
        "queues": queues,
    });
    Ok(json_answer(StatusCode::OK, &answer))
}

/// The first and the next offset of each queue, and that of a time.
pub(super) async fn offsets(call: Call) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(call.query(), &["time"], &[]);
    let at = parameters.time("time");
    parameters.finish()?;
    let topic = names::topic(call.parameter(0), parameters.text(NAMESPACE))?;
    let admin = call.node.client.admin();
    let mut items = Vec::new();
    for queue in admin.queues(topic.as_str()).await? {
        let mut item = json!({
            "queue": shown::queue(&queue),
            "min": admin.min_offset(&queue).await?,
            "max": admin.max_offset(&queue).await?,
        });
        if let Some(ms) = at {
            let since = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
            let offset = admin
                .offset_at(&queue, SystemTime::UNIX_EPOCH + since)
                .await?;
            item["offset_at_time"] = offset.into();
        }
        items.push(item);
    }
    Ok(json_answer(
        StatusCode::OK,
        &json!({"items": items, "next_page_token": null}),
    ))
}

/// The groups that have a position in a topic, or members that want it.
pub(super) async fn groups(call: Call) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(call.query(), &["limit", "page_token"], &[]);
    let asked = Page::asked(&mut parameters, &call.node)?;
    let topic = names::topic(call.parameter(0), parameters.text(NAMESPACE))?;
    let admin = call.node.client.admin();
    let groups = admin.groups_of(topic.as_str()).await?;
    let groups = groups
        .into_iter()
        .filter(|group| !names::is_system_group(group));
    let (groups, next) = asked.take(groups.collect(), &call.node);
    let mut items = Vec::new();
    for group in &groups {
        let progress = admin.progress(group, Some(topic.as_str())).await?;
        let lag: u64 = progress.iter().map(posthouse_client::Progress::lag).sum();
        items.push(json!({"group": group, "lag": lag}));
    }
    Ok(page::answer(&call, items, next))
}
