//! The cluster as a whole, its brokers' settings, who is connected, and who asks.

mod settings;

use hyper::StatusCode;
use posthouse_client::{BrokerData, BrokerState, Client};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::body::Response;
use crate::call::{Call, json_answer};
use crate::duration;
use crate::operations::{Operation, row};
use crate::page::{self, Page};
use crate::parameters::Parameters;
use crate::problem::{self, Problem};

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(GET "/v1/cluster" "getCluster" cluster),
    row!(GET "/v1/brokers" "listBrokers" brokers, INVALID_PAGE_TOKEN, PAGE_TOKEN_EXPIRED),
    row!(GET "/v1/brokers/{broker}" "getBroker" broker, BROKER_NOT_FOUND),
    row!(GET "/v1/brokers/{broker}/config" "getBrokerConfig" settings::get, BROKER_NOT_FOUND),
    row!(PATCH "/v1/brokers/{broker}/config" "patchBrokerConfig" settings::patch,
        MALFORMED_JSON, INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE, BROKER_NOT_FOUND, INVALID_SETTING, PRECONDITION_FAILED),
    row!(GET "/v1/clients" "listClients" clients, INVALID_PAGE_TOKEN, PAGE_TOKEN_EXPIRED),
    row!(GET "/v1/me" "whoAmI" me),
];

/// What the cluster is called, who is in it, and what this server takes.
async fn cluster(call: Call) -> Result<Response, Problem> {
    no_parameters(&call)?;
    let cluster = call.node.client.admin().cluster().await?;
    let names: Vec<&String> = cluster.cluster_addr_table.keys().collect();
    let brokers: Vec<&BrokerData> = cluster.broker_addr_table.values().collect();
    let states = states(&call.node.client, &brokers).await;
    let nodes = brokers.iter().map(|broker| broker.broker_addrs.len());
    let limits = &call.node.options.limits;
    let answer = json!({
        "names": names,
        "brokers": brokers.len(),
        "nodes": nodes.sum::<usize>(),
        "features": features(&states),
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
            "streams_per_address": limits.streams_of_one,
            "sql_streams": limits.sql_streams,
            "long_polls": limits.long_polls,
            "page_time": duration::format(limits.page_time),
            "stream_age": duration::format(limits.stream_age),
            "connections": limits.connections,
            "connections_per_address": limits.connections_of_one,
        },
    });
    Ok(json_answer(StatusCode::OK, &answer))
}

async fn brokers(call: Call) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(call.query(), &["limit", "page_token"], &[]);
    let asked = Page::asked(&mut parameters, &call.node)?;
    let cluster = call.node.client.admin().cluster().await?;
    let names = cluster.broker_addr_table.keys().cloned().collect();
    let (names, next) = asked.take(names, &call.node);
    let all = names
        .iter()
        .filter_map(|name| cluster.broker_addr_table.get(name));
    let all: Vec<&BrokerData> = all.collect();
    let states = states(&call.node.client, &all).await;
    let items = all.iter().zip(&states);
    let items = items.map(|(broker, state)| shown(broker, state.as_ref()));
    Ok(page::answer(&call, items.collect(), next))
}

async fn broker(call: Call) -> Result<Response, Problem> {
    no_parameters(&call)?;
    let cluster = call.node.client.admin().cluster().await?;
    let found = cluster.broker_addr_table.get(call.parameter(0));
    let missing = || Problem::new(&problem::BROKER_NOT_FOUND).detail("no broker has this name");
    let broker = found.ok_or_else(missing)?;
    let states = states(&call.node.client, &[broker]).await;
    let state = states.first().and_then(Option::as_ref);
    Ok(json_answer(StatusCode::OK, &shown(broker, state)))
}

/// How the master of each broker is; `None` of one that is away, or does not say. All are asked at once.
async fn states(client: &Client, brokers: &[&BrokerData]) -> Vec<Option<BrokerState>> {
    let mut asked = JoinSet::new();
    for (place, broker) in brokers.iter().enumerate() {
        if let Some(master) = broker.broker_addrs.get(&0).cloned() {
            let admin = client.admin();
            asked.spawn(async move { (place, admin.broker_state(&master).await.ok()) });
        }
    }
    let mut states = vec![None; brokers.len()];
    while let Some(told) = asked.join_next().await {
        let Ok((place, state)) = told else {
            continue;
        };
        if let Some(own) = states.get_mut(place) {
            *own = state;
        }
    }
    states
}

/// What can be done here: what this server does by itself, and what all brokers that answer can. What is told of
/// each stands in the contract.
fn features(states: &[Option<BrokerState>]) -> Vec<&'static str> {
    let mut features = vec![
        "batch",
        "cloudevents",
        "request-reply",
        "sse",
        "stream-tickets",
        "transactions",
    ];
    let mut told = states.iter().flatten().peekable();
    if told.peek().is_none() {
        return features;
    }
    let (mut five, mut own) = (true, true);
    for state in told {
        let version = state.version.as_deref().unwrap_or_default();
        five &= !version.starts_with("V4") && !version.starts_with("V3");
        own &= state.is_posthouse;
    }
    if five {
        features.extend(["delay", "leases", "subscriptions"]);
    }
    if own {
        features.extend([
            "durability",
            "idempotency",
            "recall",
            "redrive",
            "transaction-checkers",
            "transaction-timeout",
            "uncounted-release",
        ]);
    }
    features.sort_unstable();
    features
}

fn shown(broker: &BrokerData, state: Option<&BrokerState>) -> Value {
    let member = |(id, address): (&i64, &String)| {
        let role = if *id == 0 { "master" } else { "slave" };
        json!({"id": id, "role": role, "address": address})
    };
    let members: Vec<Value> = broker.broker_addrs.iter().map(member).collect();
    json!({
        "name": broker.broker_name,
        "cluster": broker.cluster,
        "members": members,
        "version": state.and_then(|state| state.version.as_deref()),
        "epoch": state.and_then(|state| state.epoch),
        "put_rate": state.and_then(|state| state.put_rate),
        "get_rate": state.and_then(|state| state.get_rate),
        "disk_used_ratio": state.and_then(|state| state.disk_used_ratio),
    })
}

/// Who is connected to the brokers.
async fn clients(call: Call) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(call.query(), &["limit", "page_token"], &[]);
    let asked = Page::asked(&mut parameters, &call.node)?;
    let all = call.node.client.admin().clients().await?;
    let names = all.iter().map(|one| one.connection.client_id.clone());
    let (names, next) = asked.take(names.collect(), &call.node);
    let one = |client: &posthouse_client::ClientInfo| {
        json!({
            "client_id": client.connection.client_id,
            "protocol": "remoting",
            "language": client.connection.language,
            "address": client.connection.client_addr,
            "consumes": client.consumes,
            "produces": client.produces,
        })
    };
    let on_page = all
        .iter()
        .filter(|client| names.contains(&client.connection.client_id));
    Ok(page::answer(&call, on_page.map(one).collect(), next))
}

/// Who asks: nobody has to say so yet.
async fn me(call: Call) -> Result<Response, Problem> {
    no_parameters(&call)?;
    Ok(json_answer(
        StatusCode::OK,
        &json!({"user": "anonymous", "auth": "off"}),
    ))
}

fn no_parameters(call: &Call) -> Result<(), Problem> {
    Parameters::new(call.query(), &[], &[]).finish()
}
