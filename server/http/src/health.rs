//! Whether the process answers, whether it should be sent work, and what it did so far.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::json;

use crate::body::{Body, Response};
use crate::call::{Call, json_answer};
use crate::gauge::Gauge;
use crate::metrics::Now;
use crate::node::Node;
use crate::operations::{Operation, row};
use crate::problem::Problem;

pub(crate) const OPERATIONS: &[Operation] = &[
    row!(GET "/livez" "livez" live),
    row!(GET "/readyz" "readyz" ready),
];

/// The port for operators.
pub(crate) const MANAGEMENT: &[Operation] = &[
    row!(GET "/livez" "livez" live),
    row!(GET "/readyz" "readyz" ready),
    row!(GET "/metrics" "metrics" metrics),
];

/// A probe does not wait longer for the cluster.
const PATIENCE: Duration = Duration::from_secs(2);

/// The process answers.
async fn live(_call: Call) -> Result<Response, Problem> {
    Ok(json_answer(StatusCode::OK, &json!({"live": true})))
}

/// 503 while draining, while a broker of this process takes no messages, and while none can be reached. Reasons are not said here: a probe needs
/// none, and a stranger gets none.
async fn ready(call: Call) -> Result<Response, Problem> {
    let node = &call.node;
    let (options, ending) = (&node.options, node.is_draining());
    let ready = !ending && options.ready.holds();
    let ready = ready && (!options.needs_cluster || has_broker(node).await);
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok(json_answer(status, &json!({"ready": ready})))
}

async fn has_broker(node: &Node) -> bool {
    let cluster = tokio::time::timeout(PATIENCE, async { node.client.admin().cluster().await });
    matches!(cluster.await, Ok(Ok(cluster)) if !cluster.broker_addr_table.is_empty())
}

async fn metrics(call: Call) -> Result<Response, Problem> {
    let node = &call.node;
    let one = |name, help, gauge: &Gauge| Now {
        name,
        help,
        values: vec![(None, gauge.taken() as u64)],
    };
    let streams = [
        ("tail", &node.tails),
        ("group", &node.group_streams),
        ("checks", &node.check_streams),
    ];
    let of_kind = |(kind, gauge): (&str, &Gauge)| {
        let label = Some(("kind", kind.to_owned()));
        (label, gauge.taken() as u64)
    };
    let mut leases: BTreeMap<String, u64> = BTreeMap::new();
    for stream in node.listed.all() {
        let out = node.in_flight.count(&stream.window) as u64;
        *leases.entry(stream.group.clone()).or_default() += out;
    }
    let leases = leases.into_iter();
    let gauges = [
        Now {
            name: "rocketmq_http_streams",
            help: "Streams open now.",
            values: streams.map(of_kind).into(),
        },
        Now {
            name: "rocketmq_http_leases_in_flight",
            help: "Messages that streams have out on leases now.",
            values: leases
                .map(|(group, out)| (Some(("group", group)), out))
                .collect(),
        },
        one(
            "rocketmq_http_long_polls",
            "Requests that wait for messages now.",
            &node.long_polls,
        ),
        one(
            "rocketmq_http_publishes",
            "Publishes under way now.",
            &node.publishes,
        ),
        one(
            "rocketmq_http_body_bytes",
            "Bytes of request bodies held now.",
            &node.bodies,
        ),
    ];
    let mut response = Response::new(Body::from(node.metrics.text(&gauges)));
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    Ok(response)
}
