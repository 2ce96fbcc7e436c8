//! Who consumes in a group now.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use posthouse_client::code::response::REQUEST_CODE_NOT_SUPPORTED;
use posthouse_client::{Admin, Connection, Error, RunningInfo};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::{existing, only_namespace};
use crate::body::Response;
use crate::call::{Call, json_answer};
use crate::group_stream::OpenStream;
use crate::problem::Problem;
use crate::{many, names, time};

/// How long members have to say how they are.
const ASKED_FOR: Duration = Duration::from_secs(3);

/// Members that brokers know, and readers of streams of this server.
pub(super) async fn clients(call: Call) -> Result<Response, Problem> {
    let group = only_namespace(&call)?;
    let admin = call.node.client.admin();
    existing(&admin, &group).await?;
    let consumers = admin.consumers(group.as_str()).await?;
    let mut conflict = false;
    for topic in consumers.subscription_table.keys() {
        if names::is_system(topic) || admin.pullers(group.as_str(), topic).await?.is_empty() {
            continue;
        }
        conflict |= match admin.leases_out(group.as_str(), topic).await {
            // A broker that cannot say, or a topic that is gone: nothing is known to be out.
            Err(error) if error.code() == Some(REQUEST_CODE_NOT_SUPPORTED) => false,
            Err(Error::NoRoute(_)) => false,
            out => out? > 0,
        };
    }
    let node = &call.node;
    let until = Instant::now() + ASKED_FOR;
    let members = many::each(consumers.connection_set, |own| {
        let (admin, group) = (node.client.admin(), group.clone());
        async move {
            let told = told(&admin, group.as_str(), &own, until).await;
            Ok(member(&own, told.as_ref()))
        }
    });
    let mut items = members.await?;
    let stream = |(number, stream): (u64, Arc<OpenStream>)| {
        json!({
            "client_id": format!("http@{}@{number}", node.client.id()),
            "protocol": "http-stream",
            "address": stream.address.map(|address| address.to_string()).unwrap_or_default(),
            "since": time::format(stream.since),
            "in_flight": node.in_flight.count(&stream.window),
        })
    };
    items.extend(node.listed.of(group.as_str()).into_iter().map(stream));
    Ok(json_answer(
        StatusCode::OK,
        &json!({"conflict": conflict, "items": items, "next_page_token": null}),
    ))
}

/// What a member says of itself through its broker, if it does until then.
async fn told(
    admin: &Admin,
    group: &str,
    member: &Connection,
    until: Instant,
) -> Option<RunningInfo> {
    let told = timeout_at(until, admin.running(group, &member.client_id)).await;
    told.ok()?.ok()
}

fn member(own: &Connection, told: Option<&RunningInfo>) -> Value {
    json!({
        "client_id": own.client_id,
        "protocol": "remoting",
        "language": own.language,
        "address": own.client_addr,
        "since": told.and_then(RunningInfo::started_at).map(time::format),
        "in_flight": told.map(RunningInfo::in_hand),
    })
}
