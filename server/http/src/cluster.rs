//! The cluster as a whole, who asks, and tickets for streams.

use axum::response::Response;
use hyper::StatusCode;
use hyper::header::{HeaderName, ORIGIN};
use serde_json::{Value, json};

use crate::call::{Call, json_answer};
use crate::duration;
use crate::json::{self, At, Faults};
use crate::operations::{Operation, row};
use crate::page::{self, Page};
use crate::parameters::Parameters;
use crate::problem::{self, Problem};
use crate::token::Kind;
use crate::{clock, time};

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(GET "/v1/cluster" "getCluster" cluster),
    row!(GET "/v1/brokers" "listBrokers" brokers, INVALID_PAGE_TOKEN, PAGE_TOKEN_EXPIRED),
    row!(GET "/v1/brokers/{broker}" "getBroker" broker, BROKER_NOT_FOUND),
    row!(GET "/v1/me" "whoAmI" me),
    row!(
        POST "/v1/stream-tickets" "createStreamTicket" ticket,
        MALFORMED_JSON, INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE, INVALID_SETTING
    ),
];

/// How long a ticket may be good, and how long it usually is, in milliseconds.
const TICKET_MOST: i64 = 15 * 60_000;
const TICKET_USUAL: i64 = 10 * 60_000;

/// What the cluster is called, who is in it, and what this server takes.
async fn cluster(call: Call) -> Result<Response, Problem> {
    no_parameters(&call)?;
    let cluster = call.node.client.admin().cluster().await?;
    let names: Vec<&String> = cluster.cluster_addr_table.keys().collect();
    let limits = &call.node.options.limits;
    let answer = json!({
        "names": names,
        "brokers": cluster.broker_addr_table.len(),
        "role": call.node.options.role,
        "version": env!("CARGO_PKG_VERSION"),
        "limits": {
            "body_bytes": limits.body,
            "request_bytes": limits.request,
            "batch_bytes": limits.batch,
            "target_bytes": limits.target,
            "header_bytes": limits.header_bytes,
            "headers": limits.headers,
            "header_time": duration::format(limits.header_time),
            "body_pause": duration::format(limits.body_pause),
            "body_floor_bytes_per_second": limits.body_floor,
            "write_stall": duration::format(limits.write_stall),
            "in_flight_bytes": limits.in_flight_bytes,
            "publishes": limits.publishes,
            "streams": limits.streams,
            "sql_streams": limits.sql_streams,
            "long_polls": limits.long_polls,
            "connections": limits.connections,
            "connections_per_address": limits.connections_of_one,
        },
    });
    Ok(json_answer(StatusCode::OK, &answer))
}

async fn brokers(call: Call) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(&call.query, &["limit", "page_token"], &[]);
    let asked = Page::asked(&mut parameters, &call.node)?;
    let cluster = call.node.client.admin().cluster().await?;
    let names = cluster.broker_addr_table.keys().cloned().collect();
    let (names, next) = asked.take(names, &call.node);
    let all = names
        .iter()
        .filter_map(|name| cluster.broker_addr_table.get(name));
    let items: Vec<Value> = all.map(shown).collect();
    Ok(page::answer(&call, items, next))
}

async fn broker(call: Call) -> Result<Response, Problem> {
    no_parameters(&call)?;
    let cluster = call.node.client.admin().cluster().await?;
    let found = cluster.broker_addr_table.get(call.parameter(0));
    let missing = || Problem::new(&problem::BROKER_NOT_FOUND).detail("no broker has this name");
    Ok(json_answer(
        StatusCode::OK,
        &shown(found.ok_or_else(missing)?),
    ))
}

fn shown(broker: &posthouse_client::BrokerData) -> Value {
    let member = |(id, address): (&i64, &String)| {
        let role = if *id == 0 { "master" } else { "slave" };
        json!({"id": id, "role": role, "address": address})
    };
    let members: Vec<Value> = broker.broker_addrs.iter().map(member).collect();
    json!({"name": broker.broker_name, "cluster": broker.cluster, "members": members})
}

/// Who asks: nobody has to say so yet.
async fn me(call: Call) -> Result<Response, Problem> {
    no_parameters(&call)?;
    Ok(json_answer(
        StatusCode::OK,
        &json!({"user": "anonymous", "auth": "off"}),
    ))
}

/// The right to open one stream for a while, for who can set no header.
async fn ticket(mut call: Call) -> Result<Response, Problem> {
    no_parameters(&call)?;
    let limit = call.node.options.limits.small;
    let body = call.json(limit, "application/json").await?;
    let (mut faults, top) = (Faults::default(), At::Root);
    let (mut path, mut ttl) = (None, TICKET_USUAL);
    let members = faults.object(top, json::parse(&body)?);
    for (name, value) in members.into_iter().flatten() {
        let at = top.member(&name);
        match &*name {
            "path" => path = faults.string(at, value),
            "ttl" => {
                let given = faults.duration(at, value).map_or(ttl, |ttl| {
                    i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)
                });
                if !(1_000..=TICKET_MOST).contains(&given) {
                    faults.refuse(&problem::INVALID_SETTING, at, "1s to 15m");
                }
                ttl = given;
            }
            _ => faults.unknown(top, &name, &["path", "ttl"]),
        }
    }
    match &path {
        Some(path) if !(path.starts_with("/v1/") && path.ends_with("/stream")) => {
            faults.refuse(
                &problem::INVALID_SETTING,
                top.member("path"),
                "the path of a stream expected",
            );
        }
        None if faults.is_empty() => faults.missing(top, "path"),
        _ => {}
    }
    faults.check()?;
    let until = clock::wall_ms() + ttl;
    let origin = call
        .headers
        .get(ORIGIN)
        .map(|origin| origin.as_bytes())
        .unwrap_or_default();
    let path = path.unwrap_or_default();
    let payload = [&until.to_be_bytes(), path.as_bytes(), b"\0", origin].concat();
    let ticket = call.node.tokens.sign(Kind::Ticket, &payload);
    let answer = json!({"ticket": ticket, "expires_at": time::format(until)});
    let mut response = json_answer(StatusCode::CREATED, &answer);
    let name = HeaderName::from_static("referrer-policy");
    response
        .headers_mut()
        .insert(name, hyper::header::HeaderValue::from_static("no-referrer"));
    Ok(response)
}

fn no_parameters(call: &Call) -> Result<(), Problem> {
    Parameters::new(&call.query, &[], &[]).finish()
}
